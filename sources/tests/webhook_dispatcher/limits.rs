//! What bounds strangers, on real sockets: header lines, nesting, rate, connections of one address, slow heads and bodies. Sizes and slowness of
//! single requests are in `wire.rs`, unpacked sizes in `logs.rs`.

use std::net::Ipv4Addr;

use sources::webhook::WebhookSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::support::{FaultyLog, within};
use super::wire::{Running, answer, start};

const BODY: &str = r#"{"alerts":[]}"#;

fn request(path: &str, more: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n{more}\r\n{body}",
        body.len()
    )
}

async fn sent(running: &Running, text: &str) -> String {
    answer(running.connect(text).await).await
}

#[tokio::test]
async fn header_lines() {
    for (most, lines, status) in [(100, 90, "202"), (100, 101, "431"), (20, 10, "202"), (20, 21, "431")] {
        let settings = WebhookSettings {
            max_headers: most,
            ..Default::default()
        };
        let log = FaultyLog::new([]);
        let running = start(&log, settings).await;
        let more: String = (0..lines).map(|n| format!("x-{n}: 1\r\n")).collect();
        let answer = sent(&running, &request("/webhooks/alertmanager", &more, BODY)).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{most} {lines}: {answer}"
        );
        running.stop().await;
    }
}

#[tokio::test]
async fn nesting() {
    let settings = WebhookSettings {
        max_depth: 20,
        ..Default::default()
    };
    let log = FaultyLog::new([]);
    let running = start(&log, settings).await;
    for (depth, status) in [(18, "202"), (19, "400"), (100_000, "400")] {
        let body = format!("{{\"alerts\":[{}{}]}}", "[".repeat(depth), "]".repeat(depth));
        let answer = sent(&running, &request("/webhooks/alertmanager", "", &body)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{depth}: {answer}");
        assert_eq!(answer.contains("nested more than 20 levels"), status == "400");
    }
    assert_eq!(log.events().await.len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn the_rate_of_one_address_and_what_makes_each_sender_come_again() {
    // One a second: the second of each endpoint is too many.
    let settings = WebhookSettings {
        rate_per_s: 1,
        rate_burst: 1,
        ..Default::default()
    };
    let running = start(&FaultyLog::new([]), settings).await;
    let event = r#"{"event_action":"resolve","dedup_key":"k"}"#;
    let cloud = "content-type: application/cloudevents+json\r\n";
    let cloud_event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    for (path, more, body, status) in [
        ("/webhooks/alertmanager", "", BODY, "503"),
        ("/api/v2/alerts", "", "[]", "503"),
        ("/webhooks/grafana", "", BODY, "503"),
        ("/v2/enqueue", "", event, "429"),
        ("/webhooks/events", cloud, cloud_event, "429"),
    ] {
        let text = request(path, more, body);
        // On a slow machine a token may come back in between: the limit must show within a few.
        let mut answers = Vec::new();
        for _ in 0..5 {
            answers.push(sent(&running, &text).await);
        }
        assert!(answers[0].starts_with("HTTP/1.1 20"), "{path}: {}", answers[0]);
        let refused = answers
            .iter()
            .find(|answer| answer.starts_with(&format!("HTTP/1.1 {status} ")));
        let refused = refused.unwrap_or_else(|| panic!("{path}: {answers:?}"));
        assert!(refused.contains("retry-after: 1"), "{refused}");
    }
    // Another address has a bucket of its own.
    let mut other = from(Ipv4Addr::new(127, 0, 0, 2), &running).await;
    other
        .write_all(request("/webhooks/alertmanager", "", BODY).as_bytes())
        .await
        .unwrap();
    assert!(answer(other).await.starts_with("HTTP/1.1 202 "));
    running.stop().await;
}

/// A connection from another address of this machine.
async fn from(address: Ipv4Addr, running: &Running) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    socket.connect(running.address).await.unwrap()
}

#[tokio::test]
async fn slow_strangers_of_one_address_do_not_hold_up_the_others() {
    const MOST: usize = 8;
    let settings = WebhookSettings {
        max_connections: 2 * MOST,
        max_connections_per_address: MOST,
        // Longer than the test: none of the slow ones is cut before it ends.
        header_timeout_s: 600,
        request_timeout_s: 600,
        ..Default::default()
    };
    let log = FaultyLog::new([]);
    let running = start(&log, settings).await;
    // Half of them dawdle over the head, half over the body.
    let slow_head = "POST /webhooks/alertmanager HTTP/1.1\r\nhost: x\r\nx-slow:";
    let slow_body = "POST /webhooks/alertmanager HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{";
    let mut slow = Vec::new();
    for n in 0..MOST {
        slow.push(running.connect(if n % 2 == 0 { slow_head } else { slow_body }).await);
    }
    // One more of theirs is closed at once.
    let mut rest = Vec::new();
    let mut ninth = running.connect(slow_head).await;
    // A reset, if what it wrote was never read.
    let _ = within(ninth.read_to_end(&mut rest)).await;
    assert!(rest.is_empty(), "{rest:?}");
    let mut honest = from(Ipv4Addr::new(127, 0, 0, 2), &running).await;
    honest
        .write_all(request("/webhooks/alertmanager", "", BODY).as_bytes())
        .await
        .unwrap();
    assert!(answer(honest).await.starts_with("HTTP/1.1 202 "));
    // Those that leave make room.
    drop(slow);
    let mut tries = 0;
    while !sent_or_closed(&running).await.starts_with("HTTP/1.1 202 ") {
        tries += 1;
        assert!(tries < 1_000, "no room was made");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    running.stop().await;
}

async fn sent_or_closed(running: &Running) -> String {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let mut answer = Vec::new();
    let text = request("/webhooks/alertmanager", "", BODY);
    if stream.write_all(text.as_bytes()).await.is_ok() {
        let _ = within(stream.read_to_end(&mut answer)).await;
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_slow_body_is_cut_though_it_never_stops() {
    let settings = WebhookSettings {
        request_timeout_s: 1,
        ..Default::default()
    };
    let log = FaultyLog::new([]);
    let running = start(&log, settings).await;
    let head = "POST /webhooks/alertmanager HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 100000\r\n\r\n";
    let (mut read, mut write) = running.connect(head).await.into_split();
    // A byte at a time, as slowloris sends: no single wait is long.
    let dribble = tokio::spawn(async move {
        while write.write_all(b" ").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    let mut start_of_answer = [0; 12];
    within(read.read_exact(&mut start_of_answer)).await.unwrap();
    assert_eq!(&start_of_answer, b"HTTP/1.1 503");
    drop(read);
    within(dribble).await.unwrap();
    running.stop().await;
}
