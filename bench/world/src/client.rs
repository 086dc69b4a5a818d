//! One request over HTTP/1.1, and its answer.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

const JSON: &str = "application/json";

/// Status and body.
pub async fn ask(to: SocketAddr, method: Method, path: &str) -> anyhow::Result<(u16, Bytes)> {
    send(to, method, path, String::new()).await
}

async fn send(to: SocketAddr, method: Method, path: &str, body: String) -> anyhow::Result<(u16, Bytes)> {
    let what = format!("{method} http://{to}{path}");
    let stream = TcpStream::connect(to).await.with_context(|| what.clone())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", to.to_string())
        .header("content-type", JSON)
        .body(Full::new(Bytes::from(body)))?;
    let answer = sender.send_request(request).await.with_context(|| what.clone())?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.with_context(|| what)?.to_bytes();
    connection.abort();
    Ok((status, body))
}

/// Posts JSON; anything but success is an error.
pub async fn post(to: SocketAddr, path: &str, body: &Value) -> anyhow::Result<()> {
    let (status, answer) = send(to, Method::POST, path, body.to_string()).await?;
    let answer = String::from_utf8_lossy(&answer);
    ensure!((200..300).contains(&status), "POST {path}: {status} {answer}");
    Ok(())
}

/// The JSON at `path`.
pub async fn get(from: SocketAddr, path: &str) -> anyhow::Result<Value> {
    let (status, answer) = ask(from, Method::GET, path).await?;
    let text = String::from_utf8_lossy(&answer);
    ensure!(status == 200, "GET {path}: {status} {text}");
    serde_json::from_str(&text).with_context(|| format!("GET {path}: {text}"))
}
