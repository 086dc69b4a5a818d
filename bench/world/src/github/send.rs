//! Sending a webhook as GitHub does: one POST, a signature over the body, ten seconds, no second try.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use ring::hmac;
use tokio::net::TcpStream;
use uuid::Uuid;

use super::Hook;

/// What GitHub waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
const NOBODY_THERE: u16 = 502;
const NO_ANSWER: u16 = 504;

/// `X-Hub-Signature-256`.
pub fn signature(secret: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, body.as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

/// The status that the receiver answered, or GitHub's own.
pub async fn post(hook: &Hook, guid: Uuid, event: &str, body: &str, signature: &str) -> u16 {
    let answered = tokio::time::timeout(PATIENCE, exchange(hook, guid, event, body, signature));
    match answered.await {
        Ok(status) => status.unwrap_or(NOBODY_THERE),
        Err(_) => NO_ANSWER,
    }
}

async fn exchange(hook: &Hook, guid: Uuid, event: &str, body: &str, signature: &str) -> Option<u16> {
    let (address, path) = hook.url.strip_prefix("http://")?.split_once('/')?;
    let address: SocketAddr = address.parse().ok()?;
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let connection = tokio::spawn(connection);
    let request = Request::post(format!("/{path}"))
        .header("host", address.to_string())
        .header("content-type", "application/json")
        .header("user-agent", "GitHub-Hookshot/0000000")
        .header("x-github-event", event)
        .header("x-github-delivery", guid.to_string())
        .header("x-github-hook-id", hook.id)
        .header("x-hub-signature-256", signature)
        .body(Full::new(Bytes::from(body.to_owned())))
        .ok()?;
    let answer = sender.send_request(request).await;
    let status = match answer {
        Ok(answer) => {
            let status = answer.status().as_u16();
            // The status is what counts, also where the body breaks off.
            let _ = answer.into_body().collect().await;
            Some(status)
        }
        Err(_) => None,
    };
    connection.abort();
    status
}
