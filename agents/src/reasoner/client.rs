//! One question to an OpenAI-compatible endpoint (`POST /chat/completions`,
//! <https://platform.openai.com/docs/api-reference/chat/create>). No streaming, no tools, no redirects.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::json;

use super::prompt::Prompt;
use super::{ModelSettings, NoWords};
use crate::text;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub content: String,
    /// As the endpoint counts them.
    pub tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Reply {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    total_tokens: u64,
}

/// Has no timeout of its own: the caller drops it.
pub async fn ask(settings: &ModelSettings, prompt: &Prompt) -> Result<Answer, NoWords> {
    let unreachable = |cause: &dyn std::fmt::Display| NoWords::Unreachable(text::line(&cause.to_string(), 200));
    let body = json!({
        "model": settings.model,
        "messages": [
            { "role": "system", "content": prompt.system },
            { "role": "user", "content": prompt.user },
        ],
        "temperature": 0,
        "max_tokens": prompt.reply_tokens,
        "stream": false,
    });
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(settings.endpoint().map_err(NoWords::Unreachable)?)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json");
    if !settings.key.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", settings.key.expose()));
    }
    // An error of the builder may quote the header, which is the key.
    let request = request
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(|_| NoWords::Unreachable("the question cannot be written as HTTP: see model.key".to_owned()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(provider)
        .map_err(|error| unreachable(&error))?
        .https_or_http()
        .enable_http1()
        .build();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let response = client.request(request).await.map_err(|error| unreachable(&error))?;
    if response.status() != StatusCode::OK {
        return Err(NoWords::Status(response.status().as_u16()));
    }
    let limit = settings.max_reply;
    let bytes = Limited::new(response.into_body(), limit.as_usize())
        .collect()
        .await
        .map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => NoWords::TooLong(limit.get()),
            None => unreachable(&error),
        })?
        .to_bytes();
    let reply: Reply =
        serde_json::from_slice(&bytes).map_err(|problem| NoWords::Malformed(text::line(&problem.to_string(), 200)))?;
    let content = reply.choices.into_iter().find_map(|choice| choice.message.content);
    Ok(Answer {
        content: content.ok_or_else(|| NoWords::Malformed("it has no message".to_owned()))?,
        tokens: reply.usage.map(|usage| usage.total_tokens),
    })
}
