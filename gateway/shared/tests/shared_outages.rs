//! A Redis that is killed, forgets, stands still, does not know the password, or is something else altogether.

mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use shared::{Cached, Event, SessionSecret, Shared, SharedError, SharedSettings, Subscription, Terms, Token};
use stream::human::HumanDuration;
use support::{PATIENCE, Redis, until};
use tokio::io::AsyncWriteExt as _;

const LONG: Duration = Duration::from_secs(600);
const NONE: Token = Token(0);

fn unavailable<T: std::fmt::Debug>(outcome: Result<T, SharedError>) -> String {
    match outcome {
        Err(SharedError::Unavailable { cause, .. }) => cause,
        other => panic!("{other:?}"),
    }
}

async fn back(shared: &Shared) {
    until("the server to be there", async || shared.probe().await.is_none()).await;
}

async fn session(shared: &Shared) -> shared::SessionId {
    let id = SessionSecret::new().unwrap().id();
    let terms = Terms {
        idle: LONG,
        absolute: LONG,
    };
    shared.sessions.create(&id, "rosa", "", terms).await.unwrap();
    id
}

/// The next event that is a message, and how many gaps came before it.
async fn heard(listener: &mut Subscription) -> (usize, Bytes) {
    let mut gaps = 0;
    loop {
        let event = tokio::time::timeout(PATIENCE, listener.next()).await;
        match event.expect("something to hear").expect("open") {
            Event::Gap => gaps += 1,
            Event::Message(bytes) => return (gaps, bytes),
        }
    }
}

/// Everything fails closed, and an answer is made by whoever asks.
async fn without(shared: &Shared, id: &shared::SessionId) {
    unavailable(shared.cache.get("k").await);
    unavailable(shared.sessions.look_up(id).await);
    unavailable(shared.locks.acquire("free", LONG, NONE).await);
    unavailable(shared.pubsub.publish("news", Bytes::new()).await);
    assert!(shared.probe().await.is_some());
    let cached = Arc::new(Cached::new(shared.cache.clone(), LONG, PATIENCE));
    let made = Arc::new(AtomicUsize::new(0));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (cached, made) = (cached.clone(), made.clone());
        asking.spawn(async move {
            let make = async {
                made.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok::<_, ()>(Bytes::from_static(b"made"))
            };
            cached.get_or("without", make).await
        });
    }
    while let Some(answer) = asking.join_next().await {
        assert_eq!(answer.unwrap().unwrap(), "made");
    }
    let made = made.load(Ordering::SeqCst);
    assert!((1..=10).contains(&made), "{made}");
}

#[tokio::test]
async fn killed_and_back_with_its_memory() {
    let Some(redis) = Redis::start() else { return };
    let (one, two) = (redis.open(), redis.open());
    let id = session(&one).await;
    let revoked = session(&one).await;
    assert!(two.sessions.revoke(&revoked).await.unwrap());
    let held = one.locks.acquire("job", LONG, NONE).await.unwrap().unwrap();
    let mut listener = two.pubsub.subscribe("news").unwrap();
    assert_eq!(listener.next().await, Some(Event::Gap));
    redis.ask("crash");
    without(&one, &id).await;
    without(&two, &id).await;
    let unknown = unavailable(one.locks.renew(&held, LONG).await);
    assert!(!unknown.contains("aegis-redis-test"), "{unknown}");
    redis.ask("revive");
    back(&one).await;
    back(&two).await;
    assert!(two.sessions.extend(&id).await.unwrap().is_some());
    assert_eq!(
        two.sessions.look_up(&revoked).await.unwrap(),
        None,
        "what was revoked stays so"
    );
    assert_eq!(two.locks.acquire("job", LONG, NONE).await.unwrap(), None);
    assert!(one.locks.renew(&held, LONG).await.unwrap().is_some());
    // Until it listens again, what is said is not heard.
    let mut listening = false;
    let mut gaps = 0;
    while !listening {
        one.pubsub.publish("news", Bytes::from_static(b"hello")).await.unwrap();
        while let Ok(event) = tokio::time::timeout(Duration::from_millis(50), listener.next()).await {
            match event.unwrap() {
                Event::Gap => gaps += 1,
                Event::Message(_) => listening = true,
            }
        }
    }
    assert!(gaps >= 1, "the loss shows");
}

#[tokio::test]
async fn killed_and_back_without_its_memory() {
    let Some(redis) = Redis::start() else { return };
    let (one, two) = (redis.open(), redis.open());
    let id = session(&one).await;
    one.cache.put("k", Bytes::from_static(b"v"), LONG).await.unwrap();
    let mut last = NONE;
    for _ in 0..3 {
        let held = one
            .locks
            .acquire("job", LONG, NONE)
            .await
            .unwrap()
            .expect("it is free, or was forgotten");
        assert!(held.token > last, "{held:?} after {last:?}");
        last = held.token;
        redis.ask("crash");
        redis.ask("forget");
        unavailable(one.locks.renew(&held, LONG).await);
        redis.ask("revive");
        back(&one).await;
        assert_eq!(
            one.locks.renew(&held, LONG).await.unwrap(),
            None,
            "it is no longer held"
        );
    }
    back(&two).await;
    // As after its clock was set back too: the fenced resource has seen more than the server knows.
    let seen = Token(last.0 + 3_600_000_000);
    let held = two
        .locks
        .acquire("job", LONG, seen)
        .await
        .unwrap()
        .expect("it was forgotten");
    assert!(held.token > seen);
    assert_eq!(two.sessions.look_up(&id).await.unwrap(), None);
    assert_eq!(two.cache.get("k").await.unwrap(), None);
    session(&two).await;
}

#[tokio::test]
async fn standing_still() {
    let Some(redis) = Redis::start() else { return };
    let mut settings = redis.settings();
    settings.call_timeout = HumanDuration::from_millis(300);
    settings.connect_timeout = HumanDuration::from_millis(300);
    let shared = Shared::open(&settings).unwrap();
    back(&shared).await;
    let id = session(&shared).await;
    for n in 0..20 {
        let value = Bytes::from(format!("value {n}"));
        shared.cache.put(&format!("key {n}"), value, LONG).await.unwrap();
    }
    let mut listener = shared.pubsub.subscribe("news").unwrap();
    assert_eq!(listener.next().await, Some(Event::Gap));
    let lease = Duration::from_secs(2);
    let held = shared.locks.acquire("job", lease, NONE).await.unwrap().unwrap();
    redis.ask("freeze");
    let late = unavailable(shared.locks.renew(&held, lease).await);
    assert!(
        late.contains("no answer within") || late.contains("timed out"),
        "{late}"
    );
    without(&shared, &id).await;
    until("the holder to know that his lease is over", async || !held.good()).await;
    redis.ask("thaw");
    back(&shared).await;
    // Answers that came late are nobody's.
    for n in 0..20 {
        let found = shared.cache.get(&format!("key {n}")).await.unwrap();
        assert_eq!(found.unwrap(), format!("value {n}"));
    }
    assert!(shared.sessions.look_up(&id).await.unwrap().is_some());
    let next = {
        let mut next = None;
        until("the lock", async || {
            next = shared.locks.acquire("job", lease, NONE).await.unwrap();
            next.is_some()
        })
        .await;
        next.unwrap()
    };
    assert!(next.token > held.token);
    assert!(!shared.locks.release(&held).await.unwrap());
    let saying = tokio::spawn(async move {
        loop {
            let _ = shared.pubsub.publish("news", Bytes::from_static(b"hello")).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_eq!(heard(&mut listener).await.1, "hello");
    saying.abort();
}

#[tokio::test]
async fn a_wrong_password_until_it_is_right() {
    let Some(redis) = Redis::start() else { return };
    let mut settings = redis.settings();
    settings.redis_url = redis.url.replace("aegis-redis-test", "s3cret-w0rd").into();
    let shared = Shared::open(&settings).unwrap();
    let mut listener = shared.pubsub.subscribe("news").unwrap();
    let id = SessionSecret::new().unwrap().id();
    let told = unavailable(shared.sessions.look_up(&id).await);
    assert!(
        told.to_lowercase().contains("auth") || told.contains("WRONGPASS"),
        "{told}"
    );
    without(&shared, &id).await;
    for text in [told, shared.probe().await.unwrap(), format!("{settings:?}")] {
        assert!(
            !text.contains("s3cret-w0rd") && !text.contains("aegis-redis-test"),
            "{text}"
        );
    }
    let port = redis.url.rsplit_once(':').unwrap().1.trim_end_matches("/0").to_owned();
    let changed = Command::new("redis-cli")
        .env("REDISCLI_AUTH", "aegis-redis-test")
        .args(["-p", &port, "config", "set", "requirepass", "s3cret-w0rd"])
        .output()
        .expect("redis-cli");
    assert!(String::from_utf8_lossy(&changed.stdout).contains("OK"), "{changed:?}");
    back(&shared).await;
    assert_eq!(shared.sessions.look_up(&id).await.unwrap(), None);
    let gap = tokio::time::timeout(PATIENCE, listener.next()).await;
    assert_eq!(gap.expect("it listens at last"), Some(Event::Gap));
}

/// Answers every connection with `words`, whatever it is asked, and keeps it open or not.
async fn something_else(words: &'static [u8], keep: bool) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut connection, _)) = listener.accept().await {
            let _ = connection.write_all(words).await;
            if keep {
                open.push(connection);
            }
        }
    });
    format!("redis://:s3cret-w0rd@127.0.0.1:{port}/0")
}

#[tokio::test]
async fn something_else_on_the_port() {
    const KINDS: &[(&[u8], bool)] = &[
        (b"", true),
        (b"", false),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", true),
        (b"\x16\x03\x01\x00\xff\xfe garbage \x00\x00", true),
        (
            b"-ERR unknown command\r\n-ERR unknown command\r\n-ERR unknown command\r\n",
            true,
        ),
        (b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n", true),
        (b"+OK\r\n+OK\r\n+OK\r\n:7\r\n:7\r\n:7\r\n", true),
        (b"$100000000\r\nshort", true),
        (b"*2147483647\r\n", true),
        (b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", true),
        (
            b"+OK\r\n+OK\r\n+OK\r\n*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n",
            true,
        ),
    ];
    for (words, keep) in KINDS {
        let settings = SharedSettings {
            redis_url: something_else(words, *keep).await.into(),
            call_timeout: HumanDuration::from_millis(200),
            connect_timeout: HumanDuration::from_millis(200),
            ..SharedSettings::default()
        };
        let shared = Shared::open(&settings).unwrap();
        let _listener = shared.pubsub.subscribe("news").unwrap();
        let id = SessionSecret::new().unwrap().id();
        // More than once: also what is tried anew comes to an end.
        for _ in 0..3 {
            let found = shared.sessions.look_up(&id).await;
            assert!(!matches!(found, Ok(Some(_))), "{words:?}: {found:?}");
            let lock = shared.locks.acquire("job", LONG, NONE).await;
            assert!(!matches!(lock, Ok(Some(_))), "{words:?}: {lock:?}");
            let told = shared
                .probe()
                .await
                .unwrap_or_else(|| panic!("{words:?} passes for a server"));
            assert!(!told.contains("s3cret-w0rd"), "{told}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let cached = Cached::new(shared.cache.clone(), LONG, Duration::from_millis(100));
        let made = cached
            .get_or("k", async { Ok::<_, ()>(Bytes::from_static(b"made")) })
            .await;
        // Whoever speaks the protocol may say that it holds something: what it is worth, who reads it finds out.
        assert!(made.is_ok());
    }
}

#[tokio::test]
async fn nobody_is_there_yet() {
    let Some(redis) = Redis::start() else { return };
    redis.ask("crash");
    // Starts all the same, and needs no restart afterwards.
    let shared = redis.open();
    assert!(shared.probe().await.is_some());
    redis.ask("revive");
    back(&shared).await;
    session(&shared).await;
}
