//! Slack's Web API, as far as messages go: `chat.postMessage`, `chat.update`, `conversations.history` and `conversations.replies`. Like Slack, it answers 200 with `ok: false`.

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::World;

/// The messages of a workspace, oldest first.
pub struct Workspace {
    pub messages: Vec<Message>,
    /// Most messages of a page, whatever is asked for.
    pub page: usize,
}

impl Default for Workspace {
    fn default() -> Self {
        Workspace {
            messages: Vec::new(),
            page: 999,
        }
    }
}

/// A message as it reads now.
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    pub channel: String,
    pub ts: String,
    /// The whole request that made it what it is.
    pub content: Value,
    /// How often it was changed.
    pub updates: u32,
    pub changed_at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct Arguments {
    channel: Option<String>,
    ts: Option<String>,
    text: Option<String>,
    blocks: Option<Value>,
    attachments: Option<Value>,
}

pub(crate) fn router() -> Router<World> {
    Router::new()
        .route("/api/chat.postMessage", post(post_message))
        .route("/api/chat.update", post(update))
        .route("/api/conversations.history", get(history))
        .route("/api/conversations.replies", get(replies))
}

/// The arguments and the content, or Slack's word for what is wrong.
fn read(headers: &HeaderMap, body: &[u8]) -> Result<(Arguments, Value), &'static str> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    if text(AUTHORIZATION).strip_prefix("Bearer ").is_none_or(str::is_empty) {
        return Err("not_authed");
    }
    if !text(CONTENT_TYPE).starts_with("application/json") {
        return Err("invalid_post_type");
    }
    let content: Value = serde_json::from_slice(body).map_err(|_| "invalid_json")?;
    let arguments: Arguments = serde_json::from_value(content.clone()).map_err(|_| "invalid_arguments")?;
    if arguments.text.is_none() && arguments.blocks.is_none() && arguments.attachments.is_none() {
        return Err("no_text");
    }
    Ok((arguments, content))
}

fn answer(result: Result<Value, &'static str>) -> Json<Value> {
    Json(result.unwrap_or_else(|error| json!({"ok": false, "error": error})))
}

async fn post_message(State(world): State<World>, headers: HeaderMap, body: Bytes) -> Json<Value> {
    answer(read(&headers, &body).and_then(|(arguments, content)| {
        let channel = arguments
            .channel
            .filter(|channel| !channel.is_empty())
            .ok_or("channel_not_found")?;
        let mut state = world.state();
        // Slack's ts is seconds and a counter; it names the message within its channel.
        let ts = format!("{}.{:06}", Utc::now().timestamp(), state.slack.messages.len() + 1);
        state.slack.messages.push(Message {
            channel: channel.clone(),
            ts: ts.clone(),
            content: content.clone(),
            updates: 0,
            changed_at: Utc::now(),
        });
        Ok(json!({"ok": true, "channel": channel, "ts": ts, "message": content}))
    }))
}

async fn update(State(world): State<World>, headers: HeaderMap, body: Bytes) -> Json<Value> {
    answer(read(&headers, &body).and_then(|(arguments, content)| {
        let mut state = world.state();
        let known = state.slack.messages.iter_mut().find(|message| {
            Some(&message.channel) == arguments.channel.as_ref() && Some(&message.ts) == arguments.ts.as_ref()
        });
        let message = known.ok_or("message_not_found")?;
        message.content = content.clone();
        message.updates += 1;
        message.changed_at = Utc::now();
        Ok(json!({"ok": true, "channel": message.channel, "ts": message.ts, "message": content}))
    }))
}

#[derive(Deserialize)]
struct Asked {
    channel: Option<String>,
    /// Of the message that the lines stand below.
    ts: Option<String>,
    cursor: Option<String>,
    #[serde(default)]
    include_all_metadata: bool,
    oldest: Option<String>,
    latest: Option<String>,
    limit: Option<usize>,
}

/// Messages of a channel, newest first, without the lines below them; both ends are left out, as Slack does.
async fn history(State(world): State<World>, headers: HeaderMap, Query(asked): Query<Asked>) -> Json<Value> {
    listed(
        &world,
        &headers,
        &asked,
        |message| message.content["thread_ts"].is_null(),
        true,
    )
}

/// A message and the lines below it, oldest first.
async fn replies(State(world): State<World>, headers: HeaderMap, Query(asked): Query<Asked>) -> Json<Value> {
    let Some(ts) = asked.ts.clone() else {
        return answer(Err("invalid_arguments"));
    };
    let below = |message: &Message| message.ts == ts || message.content["thread_ts"] == ts.as_str();
    listed(&world, &headers, &asked, below, false)
}

fn listed(
    world: &World,
    headers: &HeaderMap,
    asked: &Asked,
    shown: impl Fn(&Message) -> bool,
    newest_first: bool,
) -> Json<Value> {
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if authorization
        .and_then(|value| value.strip_prefix("Bearer "))
        .is_none_or(str::is_empty)
    {
        return answer(Err("not_authed"));
    }
    let seconds = |ts: &str| ts.parse::<f64>().ok();
    let (from, to) = (
        asked.oldest.as_deref().and_then(seconds).unwrap_or(0.0),
        asked.latest.as_deref().and_then(seconds).unwrap_or(f64::MAX),
    );
    let state = world.state();
    let within = |message: &&Message| {
        let at = seconds(&message.ts).unwrap_or_default();
        Some(&message.channel) == asked.channel.as_ref() && at > from && at < to && shown(message)
    };
    let mut found: Vec<&Message> = state.slack.messages.iter().filter(within).collect();
    if newest_first {
        found.reverse();
    }
    let limit = asked.limit.unwrap_or(100).min(state.slack.page);
    let from: usize = asked
        .cursor
        .as_deref()
        .and_then(|cursor| cursor.parse().ok())
        .unwrap_or(0);
    let shown = found.iter().skip(from).take(limit).map(|message| {
        let mut shown =
            json!({"type": "message", "user": message.content["user"], "text": message.content["text"], "ts": message.ts});
        if asked.include_all_metadata && message.content["metadata"].is_object() {
            shown["metadata"] = message.content["metadata"].clone();
        }
        shown
    });
    let shown: Vec<Value> = shown.collect();
    let more = found.len() > from + limit;
    let next = if more {
        (from + limit).to_string()
    } else {
        String::new()
    };
    answer(Ok(
        json!({"ok": true, "messages": shown, "has_more": more, "response_metadata": {"next_cursor": next}}),
    ))
}
