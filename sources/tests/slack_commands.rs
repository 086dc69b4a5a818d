//! Slack's commands at the dispatcher: in time, also when the answer takes longer, and never to an address of a stranger's choice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ring::hmac;
use sources::webhook::slack::{Answers, Click, Command, SlackRole, SlackUser, Wish};
use sources::webhook::{WebhookSettings, WebhookSource};
use stream::log::memory::MemoryLog;
use stream::log::{Log, Retention, TopicSpec};
use stream::{Ingress, Source as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers `status` at once, and everything else when it is let.
struct Slow {
    let_go: Notify,
    told: mpsc::UnboundedSender<(String, String)>,
}

#[async_trait]
impl Answers for Slow {
    async fn answer(&self, _click: Click) -> String {
        String::new()
    }

    async fn command(&self, command: Command) -> String {
        if command.wish != Wish::Status {
            self.let_go.notified().await;
        }
        format!("for {}: {}", command.by, command.nonce)
    }

    async fn tell(&self, response_url: String, text: String) {
        let _ = self.told.send((response_url, text));
    }
}

async fn post(to: std::net::SocketAddr, body: &str) -> (u16, String) {
    let at = chrono::Utc::now().timestamp();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hmac::sign(&key, format!("v0:{at}:{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut stream = tokio::net::TcpStream::connect(to).await.unwrap();
    let request = format!(
        "POST /slack/commands HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Slack-Request-Timestamp: {at}\r\nX-Slack-Signature: v0={hex}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split_whitespace().nth(1).unwrap().parse().unwrap();
    (status, answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_answers_come_later_and_to_slack_alone() {
    let (told, mut heard) = mpsc::unbounded_channel();
    let answers = Arc::new(Slow {
        let_go: Notify::new(),
        told,
    });
    let mut settings = WebhookSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        ..WebhookSettings::default()
    };
    settings.slack.signing_secrets = vec![SECRET.into()];
    let user = SlackUser {
        name: "ada".to_owned(),
        role: SlackRole::Responder,
    };
    settings.slack.users.insert("U1".to_owned(), user);
    let log = MemoryLog::new();
    let topic = TopicSpec {
        name: model::topics::EVENTS_RAW.into(),
        partitions: 1,
        retention: Retention::default(),
    };
    log.ensure_topics(&[topic]).await.unwrap();
    let ingress = Ingress::open(Arc::new(log.clone()), model::topics::EVENTS_RAW, 1 << 20)
        .await
        .unwrap();
    let source = WebhookSource::bind(settings)
        .await
        .unwrap()
        .with_answers(answers.clone());
    let address = source.local_addr();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(Box::new(source).run(ingress, stop.clone()));

    let (status, body) = post(address, "user_id=U1&text=status&trigger_id=1").await;
    assert!(status == 200 && body.contains("for human:ada"), "{body}");
    // Bytes that are no form, a form of nobody, a check of Slack's.
    for (body, expected) in [
        ("x", 400),
        ("text=status", 400),
        ("user_id=U1&user_id=U2&text=status", 400),
        ("ssl_check=1", 200),
    ] {
        assert_eq!(post(address, body).await.0, expected, "{body}");
    }

    let slow = |url: &str, trigger: u32| {
        let encoded: String = url.bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("user_id=U1&text=ack+ab12&trigger_id={trigger}&response_url={encoded}")
    };
    let elsewhere = [
        "http://127.0.0.1:6379/",
        "https://hooks.slack.com.example/x",
        "https://hooks.slack.com@example/x",
        "http://hooks.slack.com/x",
        "file:///etc/passwd",
    ];
    for (trigger, url) in elsewhere.into_iter().enumerate() {
        let (status, body) = post(address, &slow(url, trigger as u32 + 10)).await;
        assert!(status == 200 && body.contains("in a moment"), "{url}: {body}");
        answers.let_go.notify_one();
    }
    let (status, body) = post(address, &slow("https://hooks.slack.com/commands/1", 99)).await;
    assert!(status == 200 && body.contains("in a moment"), "{body}");
    answers.let_go.notify_one();
    let first = tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    assert_eq!(first.0, "https://hooks.slack.com/commands/1", "nobody else was called");
    assert!(first.1.contains("for human:ada"), "{}", first.1);
    assert!(heard.try_recv().is_err());
    stop.cancel();
    serving.await.unwrap().unwrap();
}
