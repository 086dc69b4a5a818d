//! Slack: `POST /slack/interactivity`, the buttons approve and deny, and `POST /slack/commands`, the command `/aegis`.
//!
//! The signature is checked on the raw bytes before anything is parsed (<https://docs.slack.dev/authentication/verifying-requests-from-slack>),
//! in constant time, five minutes both ways. Being in the channel is no authority: the Slack user must be named in the configuration with a
//! role that may approve. What a click or a command means is [`Answers`]'s business, which the pipeline implements; it is asked within Slack's
//! three seconds, and what is to be said goes to the person alone: in the answer where there is time, else through the `response_url` that Slack
//! signed, if it begins as configured.
//!
//! Nothing of either reaches `events.raw`.

mod click;
mod command;
mod signature;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::secret::Secret;
use stream::time::Clock;
use tokio::time::Instant;
use uuid::Uuid;

use super::problem::Refusal;
use super::{body, form};
use click::Payload;
use command::Form;
pub use command::Wish;
use signature::Signatures;

/// Bytes of a payload. Slack's are below 100 kB (a message with its blocks).
const LARGEST: usize = 1 << 20;
/// Time for the body and the answer: Slack shows an error after three seconds.
const IN_TIME: Duration = Duration::from_millis(2_500);

/// What Slack sends: buttons and the command `/aegis`. Without signing secrets the endpoints do not exist.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SlackSettings {
    /// Signing secrets of the Slack app; several, so that one can be changed.
    pub signing_secrets: Vec<Secret>,
    /// Who may press buttons and give commands: Slack user id (`U…`) to name and role.
    pub users: BTreeMap<String, SlackUser>,
    /// What a `response_url` must start with, up to a slash; nothing else is called.
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
        let whole_host = |url: &str| {
            let rest = url.strip_prefix("https://").or(url.strip_prefix("http://"));
            rest.is_some_and(|rest| rest.find('/').is_some_and(|at| at > 0) && url.ends_with('/'))
        };
        if !whole_host(&self.response_urls) {
            faults.push(
                "slack.response_urls must be an address with a host that ends with a slash, else another host could be called: write `https://hooks.slack.com/`"
                    .to_owned(),
            );
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

/// A command of somebody who may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub wish: Wish,
    /// Of this very request, made of what Slack signed; good for one change.
    pub nonce: Uuid,
    /// `human:NAME`.
    pub by: String,
    pub role: SlackRole,
}

/// Gives the order that a click or a command means, and speaks to who gave it.
#[async_trait]
pub trait Answers: Send + Sync + 'static {
    /// What became of it, in a sentence for the person.
    async fn answer(&self, click: Click) -> String;

    /// What there is to say, in Slack's markup; for a wish that changes something, what became of it.
    async fn command(&self, command: Command) -> String;

    /// Posts `text` to `response_url`, for the person alone.
    async fn tell(&self, response_url: String, text: String);
}

struct Desk {
    signatures: Signatures,
    settings: SlackSettings,
    answers: Arc<dyn Answers>,
    clock: Arc<dyn Clock>,
}

/// The routes, without the limits on connections and heads (those are the server's); none without signing secrets.
pub fn routes(settings: &SlackSettings, answers: Option<Arc<dyn Answers>>, clock: Arc<dyn Clock>) -> Router {
    let Some(answers) = answers.filter(|_| !settings.signing_secrets.is_empty()) else {
        return Router::new();
    };
    let desk = Desk {
        signatures: Signatures::new(&settings.signing_secrets),
        settings: settings.clone(),
        answers,
        clock,
    };
    let desk = Arc::new(desk);
    Router::new()
        .route("/slack/interactivity", post(take).with_state(desk.clone()))
        .route("/slack/commands", post(take_command).with_state(desk))
}

async fn take_command(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let deadline = Instant::now() + IN_TIME;
    let (word, response) = match desk.command(request, deadline).await {
        Ok((word, text)) => (word, axum::Json(private(&text)).into_response()),
        Err(refusal) => (refusal.reason, refusal.into_response()),
    };
    metrics::counter!("aegis_slack_commands_total", "outcome" => word).increment(1);
    response
}

/// A message that only who asked sees.
fn private(text: &str) -> serde_json::Value {
    serde_json::json!({"response_type": "ephemeral", "text": text})
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
    /// The body of a request that Slack signed, its headers, and whether it is new.
    async fn signed(&self, request: Request, deadline: Instant) -> Result<(HeaderMap, Bytes, bool), Refusal> {
        let (head, body) = request.into_parts();
        let body = body::read(body, LARGEST, deadline).await?;
        let now = self.clock.now();
        let fresh = self.signatures.check(&head.headers, &body, now).map_err(|stranger| {
            tracing::warn!(reason = %stranger, "a request that Slack did not sign was refused");
            Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", "").closing()
        })?;
        Ok((head.headers, body, fresh))
    }

    /// A `response_url` that may be called.
    fn callable(&self, url: Option<String>) -> Option<String> {
        url.filter(|url| url.starts_with(&self.settings.response_urls))
    }

    async fn command(&self, request: Request, deadline: Instant) -> Result<(&'static str, String), Refusal> {
        let (headers, body, fresh) = self.signed(request, deadline).await?;
        if !fresh {
            return Ok(("seen", "This was answered already.".to_owned()));
        }
        if form::fields(&body).is_some_and(|fields| fields.iter().any(|(name, _)| name == "ssl_check")) {
            return Ok(("checked", String::new()));
        }
        let form = Form::read(&body).map_err(|detail| Refusal::bad("malformed", detail))?;
        let Some(user) = self.settings.users.get(&form.user) else {
            tracing::warn!(user = form.user, "a command of somebody who is not known");
            let text = "Aegis does not know you. Who runs it can list your Slack user id in `dispatcher.slack.users`.";
            return Ok(("forbidden", text.to_owned()));
        };
        let wish = match Wish::read(&form.text) {
            Ok(wish) => wish,
            Err(told) => return Ok(("misunderstood", told)),
        };
        if user.role < wish.needs() {
            tracing::warn!(user = form.user, ?wish, "a command of somebody who may not");
            let needs = format!("{:?}", wish.needs()).to_ascii_lowercase();
            return Ok(("forbidden", format!("You cannot do this: it takes the role `{needs}`.")));
        }
        let command = Command {
            wish,
            nonce: nonce(&headers, &body),
            by: format!("human:{}", user.name),
            role: user.role,
        };
        // On its own: an order is not left half given because Slack's time is over.
        let answers = self.answers.clone();
        let mut given = tokio::spawn(async move { answers.command(command).await });
        match tokio::time::timeout_at(deadline, &mut given).await {
            Ok(Ok(text)) => Ok(("answered", text)),
            Ok(Err(_)) => Ok(("failed", "Something went wrong here, and is in the log.".to_owned())),
            Err(_) => {
                let (answers, url) = (self.answers.clone(), self.callable(form.response_url));
                tokio::spawn(async move {
                    if let (Ok(text), Some(url)) = (given.await, url) {
                        answers.tell(url, text).await;
                    }
                });
                Ok(("later", "I am looking; the answer comes in a moment.".to_owned()))
            }
        }
    }

    async fn take(&self, request: Request, deadline: Instant) -> Result<&'static str, Refusal> {
        let (_, body, fresh) = self.signed(request, deadline).await?;
        if !fresh {
            // Looks like a redelivery, which is fine and means nothing new.
            return Ok("seen");
        }
        let payload = Payload::read(&body).map_err(|detail| Refusal::bad("malformed", detail))?;
        let url = self.callable(payload.response_url.clone());
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

/// A name for what Slack signed: its time and the body, in which Slack puts a `trigger_id` that is new each time.
fn nonce(headers: &HeaderMap, body: &[u8]) -> Uuid {
    let time = headers
        .get("x-slack-request-timestamp")
        .map_or(&b""[..], |value| value.as_bytes());
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &[b"slack:", time, b":", body].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_is_called() {
        let faults = |urls: &str| {
            let settings = SlackSettings {
                response_urls: urls.to_owned(),
                ..SlackSettings::default()
            };
            settings.faults().len()
        };
        assert_eq!(faults("https://hooks.slack.com/"), 0);
        assert_eq!(faults("http://127.0.0.1:9/"), 0);
        for open in [
            "",
            "https://",
            "https:///",
            "https://hooks.slack.com",
            "https://hooks.slack.com/x",
            "hooks.slack.com/",
        ] {
            assert_eq!(faults(open), 1, "{open}");
        }
    }
}
