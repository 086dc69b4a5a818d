//! Slack's interactivity: `POST /slack/interactivity`, the buttons approve and deny.
//!
//! The signature is checked on the raw bytes before anything is parsed (<https://docs.slack.dev/authentication/verifying-requests-from-slack>),
//! in constant time, five minutes both ways. Being in the channel is no authority: the Slack user must be named in the configuration with a
//! role that may approve. What the click means is [`Answers`]'s business, which the pipeline implements; it is asked within Slack's three
//! seconds, and what is to be said goes to the person alone, through the `response_url` that Slack signed.
//!
//! Nothing of a click reaches `events.raw`.

mod click;
mod signature;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::secret::Secret;
use stream::time::Clock;
use tokio::time::Instant;
use uuid::Uuid;

use super::body;
use super::problem::Refusal;
use click::Payload;
use signature::Signatures;

/// Bytes of a payload. Slack's are below 100 kB (a message with its blocks).
const LARGEST: usize = 1 << 20;
/// Time for the body and the answer: Slack shows an error after three seconds.
const IN_TIME: Duration = Duration::from_millis(2_500);

/// Slack's interactivity. Without signing secrets the endpoint does not exist.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SlackSettings {
    /// Signing secrets of the Slack app; several, so that one can be changed.
    pub signing_secrets: Vec<Secret>,
    /// Who may press buttons: Slack user id (`U…`) to name and role.
    pub users: BTreeMap<String, SlackUser>,
    /// What a `response_url` must start with; nothing else is called.
    pub response_urls: String,
}

/// A person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SlackUser {
    /// As facts name the person: `human:NAME`.
    pub name: String,
    /// What the person may.
    pub role: SlackRole,
}

/// The gateway's roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SlackRole {
    /// Reads.
    #[default]
    Viewer,
    /// Leads incidents.
    Responder,
    /// Approves and denies remediations.
    Approver,
    /// Everything.
    Admin,
}

impl Default for SlackSettings {
    fn default() -> Self {
        SlackSettings {
            signing_secrets: Vec::new(),
            users: BTreeMap::new(),
            response_urls: "https://hooks.slack.com/".to_owned(),
        }
    }
}

impl SlackSettings {
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.signing_secrets.iter().any(Secret::is_empty) {
            faults.push("slack.signing_secrets: a secret is empty".to_owned());
        }
        if !self.users.is_empty() && self.signing_secrets.is_empty() {
            faults.push("slack.signing_secrets is empty, so nobody in slack.users can press a button".to_owned());
        }
        for (id, user) in &self.users {
            if user.name.is_empty() {
                faults.push(format!("slack.users.{id}.name is empty: write the person's name"));
            }
        }
        if self.response_urls.is_empty() {
            faults.push("slack.response_urls is empty: anything could be called".to_owned());
        }
        faults
    }
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Approve,
    Deny,
}

/// A click of somebody who may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Click {
    pub verb: Verb,
    pub remediation: Uuid,
    pub plan_hash: String,
    /// Of the pair of buttons; good for one click.
    pub nonce: Uuid,
    /// `human:NAME`.
    pub by: String,
}

/// Gives the order that a click means, and speaks to who clicked.
#[async_trait]
pub trait Answers: Send + Sync + 'static {
    /// What became of it, in a sentence for the person.
    async fn answer(&self, click: Click) -> String;

    /// Posts `text` to `response_url`, for the person alone.
    async fn tell(&self, response_url: String, text: String);
}

struct Desk {
    signatures: Signatures,
    settings: SlackSettings,
    answers: Arc<dyn Answers>,
    clock: Arc<dyn Clock>,
}

/// The route; none without signing secrets.
pub(super) fn routes(settings: &SlackSettings, answers: Option<Arc<dyn Answers>>, clock: Arc<dyn Clock>) -> Router {
    let Some(answers) = answers.filter(|_| !settings.signing_secrets.is_empty()) else {
        return Router::new();
    };
    let desk = Desk {
        signatures: Signatures::new(&settings.signing_secrets),
        settings: settings.clone(),
        answers,
        clock,
    };
    Router::new().route("/slack/interactivity", post(take).with_state(Arc::new(desk)))
}

async fn take(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let deadline = Instant::now() + IN_TIME;
    let (word, response) = match desk.take(request, deadline).await {
        Ok(word) => (word, StatusCode::OK.into_response()),
        Err(refusal) => (refusal.reason, refusal.into_response()),
    };
    metrics::counter!("aegis_slack_interactions_total", "outcome" => word).increment(1);
    response
}

impl Desk {
    async fn take(&self, request: Request, deadline: Instant) -> Result<&'static str, Refusal> {
        let (head, body) = request.into_parts();
        let body = body::read(body, LARGEST, deadline).await?;
        let now = self.clock.now();
        let fresh = self.signatures.check(&head.headers, &body, now).map_err(|stranger| {
            tracing::warn!(reason = %stranger, "an interaction that Slack did not sign was refused");
            Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", "").closing()
        })?;
        if !fresh {
            // Looks like a redelivery, which is fine and means nothing new.
            return Ok("seen");
        }
        let payload = Payload::read(&body).map_err(|detail| Refusal::bad("malformed", detail))?;
        let url = payload
            .response_url
            .clone()
            .filter(|url| url.starts_with(&self.settings.response_urls));
        let user = self.settings.users.get(&payload.user);
        let Some(answer) = payload.answer else {
            return Ok("ignored");
        };
        let Some(user) = user.filter(|user| user.role >= SlackRole::Approver) else {
            tracing::warn!(user = payload.user, "a click of somebody who may not");
            self.tell(url, "You cannot do this.".to_owned());
            return Ok("forbidden");
        };
        let click = Click {
            verb: answer.verb,
            remediation: answer.remediation,
            plan_hash: answer.plan_hash,
            nonce: answer.nonce,
            by: format!("human:{}", user.name),
        };
        // On its own: an order is not left half given because Slack's time is over.
        let answers = self.answers.clone();
        let given = tokio::spawn(async move {
            let text = answers.answer(click).await;
            if let Some(url) = url {
                answers.tell(url, text).await;
            }
        });
        let _ = tokio::time::timeout_at(deadline, given).await;
        Ok("answered")
    }

    fn tell(&self, url: Option<String>, text: String) {
        if let Some(url) = url {
            let answers = self.answers.clone();
            tokio::spawn(async move { answers.tell(url, text).await });
        }
    }
}
