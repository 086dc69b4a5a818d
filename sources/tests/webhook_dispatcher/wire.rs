//! Over real TCP: what only shows on a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use sources::webhook::{WebhookError, WebhookSettings, WebhookSource};
use stream::Source;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::support::{FaultyLog, ingress, within};

pub struct Running {
    pub address: SocketAddr,
    stop: CancellationToken,
    source: JoinHandle<Result<(), String>>,
}

/// A dispatcher on a free port.
pub async fn start(log: &Arc<FaultyLog>, settings: WebhookSettings) -> Running {
    let source = WebhookSource::bind(WebhookSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        ..settings
    })
    .await
    .unwrap();
    let (address, stop) = (source.local_addr(), CancellationToken::new());
    let source = tokio::spawn(Box::new(source).run(ingress(log, 64 << 20).await, stop.clone()));
    Running { address, stop, source }
}

impl Running {
    /// Sends `text`, leaving the connection open.
    pub async fn connect(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    pub async fn stop(self) {
        self.stop.cancel();
        within(self.source).await.unwrap().unwrap();
    }
}

/// What comes until the server closes the connection.
pub async fn answer(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn head(length: usize) -> String {
    format!("POST /webhooks/alertmanager HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n")
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn a_delivery_over_tcp() {
    let log = FaultyLog::new([]);
    let running = start(&log, WebhookSettings::default()).await;
    let body = r#"{"alerts":[]}"#;
    let answer = answer(running.connect(&format!("{}{body}", head(body.len()))).await).await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    assert_eq!(log.events().await.len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_100_mb_is_413_and_not_kept_in_memory() {
    const SIZE: usize = 100 << 20;
    let log = FaultyLog::new([]);
    let running = start(&log, WebhookSettings::default()).await;
    let before = resident_bytes();
    let chunk = vec![b'x'; 1 << 20];
    for chunked in [false, true] {
        let chunked_head =
            "POST /webhooks/alertmanager HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
        let mut stream = running.connect(&if chunked { chunked_head } else { head(SIZE) }).await;
        let (mut read, mut write) = stream.split();
        // The server may close before it has read everything: then writing fails, and the answer is there.
        let writing = async {
            for _ in 0..SIZE / chunk.len() {
                if chunked {
                    write.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
                }
                write.write_all(&chunk).await?;
                if chunked {
                    write.write_all(b"\r\n").await?;
                }
            }
            write.write_all(if chunked { b"0\r\n\r\n" } else { b"" }).await
        };
        let mut start_of_answer = vec![0; 12];
        let (_, received) = within(async { tokio::join!(writing, read.read_exact(&mut start_of_answer)) }).await;
        received.unwrap();
        assert_eq!(
            String::from_utf8_lossy(&start_of_answer),
            "HTTP/1.1 413",
            "chunked: {chunked}"
        );
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 50 << 20, "grew by {grown} bytes over bodies of {SIZE}");
    assert!(log.events().await.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_sender_that_asks_first_is_spared_the_body() {
    let running = start(&FaultyLog::new([]), WebhookSettings::default()).await;
    let asking = head(100 << 20).replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");
    let answer = answer(running.connect(&asking).await).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn slow_bodies_and_heads_are_cut() {
    let log = FaultyLog::new([]);
    let settings = WebhookSettings {
        request_timeout_s: 1,
        header_timeout_s: 1,
        ..Default::default()
    };
    let running = start(&log, settings).await;
    let body = running.connect(&format!("{}{{\"alerts\":", head(13))).await;
    let head = running.connect("POST /webhooks/alertmanager HTTP/1.1\r\nhost:").await;
    let body_answer = answer(body).await;
    assert!(
        body_answer.starts_with("HTTP/1.1 503 ") && body_answer.contains("retry-after: 1"),
        "{body_answer}"
    );
    let head_answer = answer(head).await;
    assert!(!head_answer.starts_with("HTTP/1.1 2"), "{head_answer}");
    assert!(log.events().await.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn connections_are_bounded() {
    let log = FaultyLog::new([]);
    let running = start(
        &log,
        WebhookSettings {
            max_connections: 1,
            header_timeout_s: 1,
            ..Default::default()
        },
    )
    .await;
    let body = r#"{"alerts":[]}"#;
    let idle = running.connect("POST").await;
    let waiting = running.connect(&format!("{}{body}", head(body.len()))).await;
    // The idle one is cut, which frees the only seat.
    let _ = answer(idle).await;
    assert!(answer(waiting).await.starts_with("HTTP/1.1 202 "));
    running.stop().await;
}

#[tokio::test]
async fn stopping_finishes_what_is_in_flight() {
    let log = FaultyLog::gated();
    let running = start(&log, WebhookSettings::default()).await;
    let body = r#"{"alerts":[]}"#;
    let in_flight = running.connect(&format!("{}{body}", head(body.len()))).await;
    let idle = TcpStream::connect(running.address).await.unwrap();
    log.arrived(1).await;
    running.stop.cancel();
    assert_eq!(answer(idle).await, "", "an idle connection is closed without an answer");
    while TcpStream::connect(running.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!running.source.is_finished(), "stopped before its request was answered");
    log.gate.add_permits(1);
    assert!(answer(in_flight).await.starts_with("HTTP/1.1 202 "));
    within(running.source).await.unwrap().unwrap();
    assert_eq!(log.events().await.len(), 1);
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let first = WebhookSource::bind(WebhookSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        ..Default::default()
    })
    .await
    .unwrap();
    let second = WebhookSource::bind(WebhookSettings {
        listen: first.local_addr(),
        ..Default::default()
    })
    .await;
    let error = second.err().expect("two listeners on one port").to_string();
    assert!(
        error.contains(&first.local_addr().to_string()) && error.contains("set another `listen`"),
        "{error}"
    );
}

#[tokio::test]
async fn open_endpoints_are_for_loopback_only() {
    let everywhere = WebhookSettings {
        listen: ([0, 0, 0, 0], 0).into(),
        ..Default::default()
    };
    match WebhookSource::bind(everywhere).await {
        Err(WebhookError::Settings(faults)) => assert_eq!(faults.len(), 8, "{faults:?}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("listens for everybody"),
    }
}
