//! Two `aegis run` on one Kafka, one PostgreSQL and one Redis: they share sessions, signals and duties. Redis is killed in the middle, and so is
//! the instance whose turn it is.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use support::alerts::alert;
use support::server::Server;
use support::{Aegis, database, http, http_get, required, wait_for};

const PATIENCE: Duration = Duration::from_secs(120);

struct Answer {
    status: u16,
    head: String,
    body: Value,
}

/// A request to the API; with the head of the answer, where cookies are.
fn ask(port: u16, method: &str, path: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the gateway listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "{method} /api/v1{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it takes the request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    Answer {
        status: head
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .expect("a status"),
        head: head.to_owned(),
        body: serde_json::from_str(body).unwrap_or(Value::Null),
    }
}

const ROSA: &str = "Authorization: Bearer token-of-rosa\r\n";

fn process(folder: &Path, snapshots: &Path, kafka: &str, prefix: &str, store: &str, redis: &str) -> Aegis {
    let extra = format!(
        "[snapshots]\nurl = \"file://{}\"\n[log]\nkind = \"kafka\"\n[log.kafka]\nbootstrap_servers = [\"{kafka}\"]\n\
         topic_prefix = \"{prefix}\"\nsession_timeout_ms = 6000\n[topics]\npartitions = 2\n[store]\nurl = \"{store}\"\n\
         [store.retention]\nsignals = \"3650d\"\n[gateway.tokens.rosa]\ntoken = \"token-of-rosa\"\nrole = \"responder\"\n\
         [shared]\nredis_url = {{ env = \"THE_REDIS\" }}\nprefix = \"{prefix}\"\n",
        snapshots.display()
    );
    Aegis::new(folder, &extra).env("THE_REDIS", redis)
}

fn send(aegis: &Aegis, number: usize) {
    let json = "Content-Type: application/json\r\n";
    let (status, said) =
        http(aegis.dispatcher, "POST", "/webhooks/alertmanager", json, &alert(number)).expect("an answer");
    assert!((200..300).contains(&status), "{status} {said}");
}

/// Both instances show the incident of the alert.
fn shown(instances: [&Aegis; 2], number: usize) {
    for aegis in instances {
        wait_for(&format!("alert {number}"), PATIENCE, || {
            let answer = ask(aegis.gateway, "GET", &format!("/incidents?service=s{number}"), ROSA);
            // A busy store may have no connection for a moment.
            if answer.status == 503 {
                return None;
            }
            assert_eq!(answer.status, 200, "{}", answer.body);
            (!answer.body["incidents"].as_array()?.is_empty()).then_some(())
        });
    }
}

fn held(aegis: &Aegis) -> f64 {
    aegis.metric("aegis_duty_held{job=\"retention\"}")
}

#[test]
fn two_instances_share_what_is_shared_and_do_without_it() {
    let (Some(kafka), Some(postgres), Some(_)) = (
        required("AEGIS_TEST_KAFKA"),
        required("AEGIS_TEST_POSTGRES"),
        required("AEGIS_TEST_REDIS"),
    ) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    // Of its own: it dies.
    let (redis, redis_url) = Server::start("redis", folder.path(), "AEGIS_TEST_REDIS");
    let redis_url = redis_url.trim_matches('\'');
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(database(&postgres, "shared"));
    let prefix = format!("{}.", uuid::Uuid::new_v4().simple());
    let new = |name: &str| {
        let snapshots = folder.path().join("snapshots");
        process(
            &folder.path().join(name),
            &snapshots,
            &kafka,
            &prefix,
            &store,
            redis_url,
        )
    };
    let (mut one, mut two) = (new("one"), new("two"));
    one.start();
    two.start();

    // Signed in at one, known at both.
    let signed = ask(one.gateway, "POST", "/sessions", ROSA);
    assert_eq!(signed.status, 201, "{}", signed.body);
    let csrf = signed.body["csrf"].as_str().unwrap().to_owned();
    let line = signed.head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = line
        .and_then(|line| line.split(';').next())
        .expect("a cookie")
        .to_owned();
    let with_cookie = format!("Cookie: {cookie}\r\n");
    let with_both = format!("{with_cookie}X-Aegis-Csrf: {csrf}\r\n");
    let own = ask(two.gateway, "GET", "/sessions/current", &with_cookie);
    assert_eq!((own.status, own.body["role"].as_str()), (200, Some("responder")));

    // Who waits at one instance is told of what came in by the other.
    send(&one, 1);
    shown([&one, &two], 1);
    let mark = ask(two.gateway, "GET", "/changes", &with_cookie).body["mark"]
        .as_str()
        .unwrap()
        .to_owned();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            ask(
                two.gateway,
                "GET",
                &format!("/changes?after={mark}&wait=60"),
                &with_cookie,
            )
        });
        send(&one, 2);
        let told = waiting.join().unwrap();
        assert_eq!((told.status, told.body["changed"].as_bool()), (200, Some(true)));
    });
    shown([&one, &two], 2);

    let one_has_it = |one: &Aegis, two: &Aegis| {
        wait_for("one of them to have the duty", PATIENCE, || {
            (held(one) + held(two) == 1.0).then_some(())
        });
    };
    one_has_it(&one, &two);

    // Without Redis incidents flow, tokens work, nobody has the duty; sessions cannot be looked up.
    let number = std::cell::Cell::new(10);
    redis.outage(|| {
        number.set(number.get() + 1);
        send(&one, number.get());
        shown([&one, &two], number.get());
        for aegis in [&one, &two] {
            assert_eq!(ask(aegis.gateway, "GET", "/incidents", &with_cookie).status, 503);
        }
        let ready = [&one, &two].map(|aegis| http_get(aegis.gateway, "/readyz").unwrap_or_default());
        held(&one) + held(&two) == 0.0
            && ready
                .iter()
                .all(|(status, body)| *status == 200 && body.contains("Redis is unavailable"))
    });
    println!(
        "{} alerts became incidents on both instances while Redis was away",
        number.get() - 10
    );
    for aegis in [&one, &two] {
        assert!(aegis.metric("aegis_shared_calls_total{part=\"sessions\",outcome=") > 0.0);
        assert!(aegis.metric("aegis_shared_calls_total{part=\"locks\",outcome=") > 0.0);
        // Back by itself, with the session.
        wait_for("the session to be found again", PATIENCE, || {
            (ask(aegis.gateway, "GET", "/incidents", &with_cookie).status == 200).then_some(())
        });
        wait_for("the gauge to say so", PATIENCE, || {
            (aegis.metric("aegis_shared_up") == 1.0).then_some(())
        });
    }
    one_has_it(&one, &two);

    // Signed out at one, unknown at the other at once.
    assert_eq!(ask(two.gateway, "DELETE", "/sessions/current", &with_both).status, 204);
    assert_eq!(ask(one.gateway, "GET", "/incidents", &with_cookie).status, 401);

    // Who has the duty dies; the other takes over.
    let (mut dies, lives) = if held(&one) == 1.0 { (one, two) } else { (two, one) };
    dies.kill();
    wait_for("the other to take over", PATIENCE, || {
        (held(&lives) == 1.0).then_some(())
    });
    send(&lives, 3);
    wait_for("the incident", PATIENCE, || {
        let answer = ask(lives.gateway, "GET", "/incidents?service=s3", ROSA);
        (!answer.body["incidents"].as_array()?.is_empty()).then_some(())
    });
    let mut lives = lives;
    let program = lives.program.as_mut().unwrap();
    assert_eq!(program.terminate(), Some(0));
    let secret = cookie.split_once('=').unwrap().1;
    for log in [
        program.log(),
        std::fs::read_to_string(dies.folder.join("aegis.log")).unwrap(),
    ] {
        for word in [secret, &csrf, "aegis-redis-test", "token-of-rosa"] {
            assert!(!log.contains(word), "{word} is in the log");
        }
    }
}

#[test]
fn check_names_what_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let check = |url: &str, word: &str| {
        let aegis = Aegis::new(folder.path(), "[shared]\nredis_url = { env = \"THE_REDIS\" }\n").env("THE_REDIS", url);
        let (code, out, err) = aegis.run(&["check"]);
        let said = format!("{out}{err}");
        assert!(!said.contains("hunter2"), "{said}");
        match word {
            "" => assert_eq!(code, 0, "{said}"),
            word => assert!(
                code == 3 && said.contains("shared.redis_url") && said.contains(word),
                "{said}"
            ),
        }
    };
    check("redis://:hunter2@127.0.0.1:6379/0", "");
    check("rediss://:hunter2@redis:6379/0", "TLS");
    check("redis://redis:6379/0", "no password");
    check("hunter2", "redis://");
}
