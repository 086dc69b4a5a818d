//! One suite for both implementations of the four ports: two instances that share them, in process and through a real Redis.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use shared::{
    Cached, Event, LEASES, MAX_CHANNEL, MAX_FACTS, MAX_KEY, MAX_MESSAGE, MAX_NAME, MAX_PER_USER, MAX_TTL, MAX_USER,
    MAX_VALUE, Session, SessionSecret, Shared, SharedError, Subscription, Terms, Token,
};
use support::{PATIENCE, Redis, until};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(200);
const NONE: Token = Token(0);

/// Runs a part of the suite on two instances of each implementation.
macro_rules! conformance {
    ($($part:ident),* $(,)?) => {
        mod in_process {
            $(#[tokio::test] async fn $part() {
                let shared = shared::Shared::in_process();
                assert!(!shared.spans_instances());
                super::$part(&shared.clone(), &shared).await;
            })*
        }
        mod on_redis {
            $(#[tokio::test] async fn $part() {
                let Some(redis) = super::Redis::start() else { return };
                let (one, two) = (redis.open(), redis.open());
                assert!(one.spans_instances());
                super::$part(&one, &two).await;
            })*
        }
    };
}

conformance!(
    values_are_there_for_their_time,
    an_answer_is_made_once_for_all_who_ask,
    an_answer_that_cannot_be_made_is_everybodys_own,
    sessions_are_found_and_revoked_everywhere,
    sessions_end,
    a_user_has_so_many_sessions_and_no_more,
    one_has_the_lock_and_tokens_rise,
    a_lease_runs_out,
    messages_come_in_order_to_who_listens,
    a_slow_listener_has_a_gap,
    limits_are_kept,
);

fn refused<T: std::fmt::Debug>(outcome: Result<T, SharedError>) {
    assert!(matches!(outcome, Err(SharedError::Refused { .. })), "{outcome:?}");
}

async fn values_are_there_for_their_time(one: &Shared, two: &Shared) {
    let (one, two) = (&one.cache, &two.cache);
    assert_eq!(one.get("k").await.unwrap(), None);
    let value = Bytes::from_static(b"\0\xff binary \r\n");
    one.put("k", value.clone(), LONG).await.unwrap();
    assert_eq!(two.get("k").await.unwrap(), Some(value));
    two.put("k", Bytes::new(), LONG).await.unwrap();
    assert_eq!(
        one.get("k").await.unwrap(),
        Some(Bytes::new()),
        "replaced, and empty is a value"
    );
    one.remove("k").await.unwrap();
    one.remove("k").await.unwrap();
    assert_eq!(two.get("k").await.unwrap(), None);
    one.put("short", Bytes::from_static(b"v"), SHORT).await.unwrap();
    one.put("long", Bytes::from_static(b"v"), LONG).await.unwrap();
    until("the short one to be over", async || {
        two.get("short").await.unwrap().is_none()
    })
    .await;
    assert!(two.get("long").await.unwrap().is_some());

    assert!(one.claim("c", LONG).await.unwrap());
    assert!(!two.claim("c", LONG).await.unwrap());
    one.put("c", Bytes::from_static(b"v"), LONG).await.unwrap();
    assert!(two.claim("c", LONG).await.unwrap(), "a value ends the claim");
    one.remove("c").await.unwrap();
    assert!(one.claim("c", SHORT).await.unwrap(), "and so does removing");
    until("the claim to be over", async || two.claim("c", LONG).await.unwrap()).await;
}

async fn an_answer_is_made_once_for_all_who_ask(one: &Shared, two: &Shared) {
    let instances = [one, two].map(|shared| Arc::new(Cached::new(shared.cache.clone(), LONG, PATIENCE)));
    let made = Arc::new(AtomicUsize::new(0));
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..20 {
        let (cached, made) = (instances[n % 2].clone(), made.clone());
        asking.spawn(async move {
            let make = async {
                made.fetch_add(1, Ordering::SeqCst);
                // Long enough that the others come while it is made.
                tokio::time::sleep(SHORT).await;
                Ok::<_, ()>(Bytes::from_static(b"answer"))
            };
            cached.get_or("q", make).await
        });
    }
    while let Some(answer) = asking.join_next().await {
        assert_eq!(answer.unwrap().unwrap(), "answer");
    }
    assert_eq!(made.load(Ordering::SeqCst), 1);
    // Without a time to live nothing is kept.
    let fresh = Cached::new(one.cache.clone(), Duration::ZERO, PATIENCE);
    let other = fresh
        .get_or("q", async { Ok::<_, ()>(Bytes::from_static(b"newer")) })
        .await;
    assert_eq!(other.unwrap(), "newer");
}

async fn an_answer_that_cannot_be_made_is_everybodys_own(one: &Shared, two: &Shared) {
    let one = Cached::new(one.cache.clone(), LONG, PATIENCE);
    let two = Cached::new(two.cache.clone(), LONG, PATIENCE);
    assert_eq!(one.get_or("q", async { Err("no") }).await, Err("no"));
    let answer = two
        .get_or("q", async { Ok::<_, &str>(Bytes::from_static(b"yes")) })
        .await;
    assert_eq!(answer.unwrap(), "yes");
    assert_eq!(one.get_or("q", async { Err("no") }).await.unwrap(), "yes");
    // One that is too large for the cache is answered all the same.
    let large = Bytes::from(vec![b'x'; MAX_VALUE + 1]);
    assert_eq!(
        one.get_or("large", async { Ok::<_, &str>(large.clone()) })
            .await
            .unwrap(),
        large
    );
}

fn terms(idle: Duration, absolute: Duration) -> Terms {
    Terms { idle, absolute }
}

async fn new_session(shared: &Shared, user: &str) -> Session {
    let id = SessionSecret::new().unwrap().id();
    let made = shared.sessions.create(&id, user, "facts", terms(LONG, LONG)).await;
    made.unwrap()
}

async fn sessions_are_found_and_revoked_everywhere(one: &Shared, two: &Shared) {
    let id = SessionSecret::new().unwrap().id();
    let facts = "{\"näme\": \"\r\n\"}";
    let made = one
        .sessions
        .create(&id, "rosa", facts, terms(SHORT * 1_000, LONG))
        .await
        .unwrap();
    assert_eq!((made.user.as_str(), made.facts.as_str()), ("rosa", facts));
    assert_eq!(
        (made.ends_at - made.created_at, made.used_at),
        (600_000, made.created_at)
    );
    assert_eq!(two.sessions.look_up(&id).await.unwrap(), Some(made.clone()));
    refused(two.sessions.create(&id, "ada", "", terms(LONG, LONG)).await);
    let used = two.sessions.extend(&id).await.unwrap().unwrap();
    assert!(used.used_at >= made.used_at);
    assert_eq!(
        (&used.id, used.created_at, used.ends_at),
        (&made.id, made.created_at, made.ends_at)
    );

    let other = new_session(one, "rosa").await;
    let third = new_session(two, "ada").await;
    let ids = |found: Vec<Session>| found.into_iter().map(|one| one.id).collect::<Vec<_>>();
    assert_eq!(
        ids(two.sessions.list("rosa").await.unwrap()),
        [id.clone(), other.id.clone()]
    );
    assert_eq!(ids(two.sessions.list("nobody").await.unwrap()), []);

    assert!(two.sessions.revoke(&id).await.unwrap());
    assert!(!one.sessions.revoke(&id).await.unwrap(), "once");
    assert_eq!(one.sessions.look_up(&id).await.unwrap(), None);
    assert_eq!(one.sessions.extend(&id).await.unwrap(), None);
    assert_eq!(
        ids(one.sessions.list("rosa").await.unwrap()),
        std::slice::from_ref(&other.id)
    );
    new_session(one, "rosa").await;
    assert_eq!(two.sessions.revoke_user("rosa").await.unwrap(), 2);
    assert_eq!(one.sessions.look_up(&other.id).await.unwrap(), None);
    assert_eq!(one.sessions.revoke_user("rosa").await.unwrap(), 0);
    assert!(
        one.sessions.look_up(&third.id).await.unwrap().is_some(),
        "somebody else's"
    );
}

async fn sessions_end(one: &Shared, two: &Shared) {
    let [idle, absolute, kept] = [(); 3].map(|()| SessionSecret::new().unwrap().id());
    one.sessions
        .create(&idle, "rosa", "", terms(SHORT, LONG))
        .await
        .unwrap();
    one.sessions
        .create(&absolute, "rosa", "", terms(LONG, SHORT * 2))
        .await
        .unwrap();
    one.sessions.create(&kept, "rosa", "", terms(LONG, LONG)).await.unwrap();
    until("the idle one to end", async || {
        two.sessions.look_up(&idle).await.unwrap().is_none()
    })
    .await;
    // Looked at and used all the time.
    until("the other to end", async || {
        two.sessions.extend(&absolute).await.unwrap().is_none()
    })
    .await;
    assert_eq!(one.sessions.extend(&idle).await.unwrap(), None, "it does not come back");
    assert!(!one.sessions.revoke(&idle).await.unwrap());
    let left = two.sessions.list("rosa").await.unwrap();
    assert_eq!(left.iter().map(|one| &one.id).collect::<Vec<_>>(), [&kept]);

    // Used in time, it lives longer than its idle time.
    let used = SessionSecret::new().unwrap().id();
    let idle_for = Duration::from_secs(3);
    let made = one
        .sessions
        .create(&used, "rosa", "", terms(idle_for, LONG))
        .await
        .unwrap();
    until("it to be older than its idle time", async || {
        let seen = two.sessions.extend(&used).await.unwrap().expect("it is in use");
        seen.used_at - made.used_at > idle_for.as_millis() as i64
    })
    .await;
}

async fn a_user_has_so_many_sessions_and_no_more(one: &Shared, two: &Shared) {
    let mut all = Vec::new();
    for n in 0..=MAX_PER_USER {
        all.push(new_session(if n % 2 == 0 { one } else { two }, "script").await.id);
    }
    let left: Vec<_> = one
        .sessions
        .list("script")
        .await
        .unwrap()
        .into_iter()
        .map(|one| one.id)
        .collect();
    assert_eq!(left, all[1..]);
    assert_eq!(two.sessions.look_up(&all[0]).await.unwrap(), None, "the oldest went");
}

async fn one_has_the_lock_and_tokens_rise(one: &Shared, two: &Shared) {
    let (one, two) = (&one.locks, &two.locks);
    let first = one.acquire("job", LONG, NONE).await.unwrap().expect("it is free");
    assert!(first.good());
    assert_eq!(two.acquire("job", LONG, NONE).await.unwrap(), None);
    assert_eq!(one.acquire("job", LONG, NONE).await.unwrap(), None, "not twice either");
    assert!(two.acquire("other", LONG, NONE).await.unwrap().is_some());
    let renewed = two.renew(&first, LONG).await.unwrap().expect("by token, whoever asks");
    assert_eq!(renewed.token, first.token);
    let mut forged = first.clone();
    forged.token = Token(first.token.0 + 1);
    assert!(!two.release(&forged).await.unwrap());
    assert_eq!(two.renew(&forged, LONG).await.unwrap(), None);
    assert!(two.acquire("job", LONG, NONE).await.unwrap().is_none(), "still held");
    assert!(one.release(&first).await.unwrap());
    assert!(!one.release(&first).await.unwrap(), "once");
    assert_eq!(one.renew(&first, LONG).await.unwrap(), None);
    let mut last = first.token;
    for n in 0..50 {
        let taken = if n % 2 == 0 { two } else { one };
        let held = taken.acquire("job", LONG, NONE).await.unwrap().expect("it was let go");
        assert!(held.token > last, "{held:?} after {last:?}");
        last = held.token;
        assert!(taken.release(&held).await.unwrap());
    }
    // The fenced resource has seen a later one than the server remembers.
    let seen = Token(last.0 + 1_000_000_000_000);
    let held = one.acquire("job", LONG, seen).await.unwrap().expect("it was let go");
    assert_eq!(held.token, Token(seen.0 + 1));
    one.release(&held).await.unwrap();
    let held = one.acquire("job", LONG, NONE).await.unwrap().expect("it was let go");
    assert_eq!(held.token, Token(seen.0 + 2), "and remembers it now");
}

async fn a_lease_runs_out(one: &Shared, two: &Shared) {
    let dead = one
        .locks
        .acquire("job", SHORT, NONE)
        .await
        .unwrap()
        .expect("it is free");
    let mut next = None;
    until("the lease to be over", async || {
        next = two.locks.acquire("job", LONG, NONE).await.unwrap();
        next.is_some()
    })
    .await;
    let next = next.unwrap();
    assert!(next.token > dead.token);
    assert!(!dead.good(), "who had it knows so without asking");
    assert_eq!(one.locks.renew(&dead, LONG).await.unwrap(), None);
    assert!(
        !one.locks.release(&dead).await.unwrap(),
        "what somebody else has by now"
    );
    assert_eq!(one.locks.acquire("job", LONG, NONE).await.unwrap(), None);
}

async fn next(listener: &mut Subscription) -> Event {
    let event = tokio::time::timeout(PATIENCE, listener.next()).await;
    event.expect("something to hear").expect("open")
}

fn message(text: &str) -> Event {
    Event::Message(Bytes::copy_from_slice(text.as_bytes()))
}

async fn messages_come_in_order_to_who_listens(one: &Shared, two: &Shared) {
    one.pubsub
        .publish("news", Bytes::from_static(b"nobody listens"))
        .await
        .unwrap();
    let mut here = one.pubsub.subscribe("news").unwrap();
    let mut there = two.pubsub.subscribe("news").unwrap();
    let mut other = two.pubsub.subscribe("other").unwrap();
    for listener in [&mut here, &mut there, &mut other] {
        assert_eq!(next(listener).await, Event::Gap, "first of all");
    }
    for n in 0..100 {
        one.pubsub.publish("news", Bytes::from(n.to_string())).await.unwrap();
    }
    two.pubsub
        .publish("other", Bytes::from_static(b"\0\xff"))
        .await
        .unwrap();
    for n in 0..100 {
        assert_eq!(next(&mut here).await, message(&n.to_string()));
        assert_eq!(next(&mut there).await, message(&n.to_string()));
    }
    assert_eq!(next(&mut other).await, Event::Message(Bytes::from_static(b"\0\xff")));
    // One more of this channel, which is listened to already.
    let mut late = two.pubsub.subscribe("news").unwrap();
    assert_eq!(next(&mut late).await, Event::Gap);
    one.pubsub.publish("news", Bytes::from_static(b"last")).await.unwrap();
    for listener in [&mut here, &mut there, &mut late] {
        assert_eq!(next(listener).await, message("last"));
    }
}

async fn a_slow_listener_has_a_gap(one: &Shared, two: &Shared) {
    let mut slow = two.pubsub.subscribe("flood").unwrap();
    assert_eq!(next(&mut slow).await, Event::Gap);
    for n in 0..2_000 {
        one.pubsub.publish("flood", Bytes::from(n.to_string())).await.unwrap();
    }
    let mut heard = Vec::new();
    let mut gaps = 0;
    loop {
        match next(&mut slow).await {
            Event::Gap => gaps += 1,
            Event::Message(bytes) => heard.push(String::from_utf8(bytes.to_vec()).unwrap().parse::<u32>().unwrap()),
        }
        if heard.last() == Some(&1_999) {
            break;
        }
    }
    assert!(heard.is_sorted(), "{heard:?}");
    assert!(
        heard.len() == 2_000 || gaps > 0,
        "{} messages without a gap",
        heard.len()
    );
}

async fn limits_are_kept(one: &Shared, _: &Shared) {
    let long = |most: usize| "x".repeat(most + 1);
    let just = |most: usize| "x".repeat(most);
    let value = Bytes::from_static(b"v");
    refused(one.cache.get("").await);
    refused(one.cache.put(&long(MAX_KEY), value.clone(), LONG).await);
    refused(one.cache.put("k", Bytes::from(vec![0; MAX_VALUE + 1]), LONG).await);
    refused(one.cache.put("k", value.clone(), Duration::ZERO).await);
    refused(one.cache.put("k", value.clone(), MAX_TTL + LONG).await);
    refused(one.cache.claim("k", Duration::ZERO).await);
    one.cache
        .put(&just(MAX_KEY), Bytes::from(vec![0; MAX_VALUE]), MAX_TTL)
        .await
        .unwrap();

    let id = SessionSecret::new().unwrap().id();
    let good = terms(LONG, LONG);
    refused(one.sessions.create(&id, "", "", good).await);
    refused(one.sessions.create(&id, &long(MAX_USER), "", good).await);
    refused(one.sessions.create(&id, "rosa", &long(MAX_FACTS), good).await);
    refused(one.sessions.create(&id, "rosa", "", terms(Duration::ZERO, LONG)).await);
    refused(one.sessions.create(&id, "rosa", "", terms(LONG, Duration::ZERO)).await);
    one.sessions
        .create(&id, &just(MAX_USER), &just(MAX_FACTS), good)
        .await
        .unwrap();

    refused(one.locks.acquire("", LONG, NONE).await);
    refused(one.locks.acquire(&long(MAX_NAME), LONG, NONE).await);
    refused(one.locks.acquire("job", LEASES.0 / 2, NONE).await);
    refused(one.locks.acquire("job", LEASES.1 * 2, NONE).await);
    let held = one
        .locks
        .acquire(&just(MAX_NAME), LEASES.1, NONE)
        .await
        .unwrap()
        .unwrap();
    refused(one.locks.renew(&held, Duration::ZERO).await);

    refused(one.pubsub.publish("", value.clone()).await);
    refused(one.pubsub.publish(&long(MAX_CHANNEL), value).await);
    refused(one.pubsub.publish("news", Bytes::from(vec![0; MAX_MESSAGE + 1])).await);
    refused(one.pubsub.subscribe(&long(MAX_CHANNEL)));
    let mut listener = one.pubsub.subscribe(&just(MAX_CHANNEL)).unwrap();
    assert_eq!(next(&mut listener).await, Event::Gap);
    let most = Bytes::from(vec![7; MAX_MESSAGE]);
    one.pubsub.publish(&just(MAX_CHANNEL), most.clone()).await.unwrap();
    assert_eq!(next(&mut listener).await, Event::Message(most));
}
