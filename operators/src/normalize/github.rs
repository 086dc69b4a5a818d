//! GitHub's webhook events: <https://docs.github.com/en/webhooks/webhook-events-and-payloads>.
//!
//! What kind of event a body is, its shape decides (`kind`): the header `X-GitHub-Event` is not signed. Where the header names
//! another known event than the body is of, the body is refused; where it names one that we know nothing of, it is kept, under a key made of
//! the body.
//!
//! | event | signal |
//! |---|---|
//! | `deployment`, `deployment_status` with an outcome, `release` published | a change of the service named like the repository |
//! | `code_scanning_alert`, `secret_scanning_alert`, `dependabot_alert` | a security signal that fires and is resolved |
//! | `repository_vulnerability_alert`, `security_advisory` | a security signal |
//! | all others | something that happened: `info`, a failed run on the default branch `warning` |
//!
//! GitHub gives no order. A run, a check or an alert has one key and one start for all of its events, so later ones update it.
//! Of `repository`, `organization`, `enterprise`, `installation` and `sender` only what names them is kept; all other members go to `extra`.

mod body;
mod kind;
mod security;
mod story;

use model::{RawEvent, SignalState};

use self::body::Body;
use self::kind::Kind;
use super::core::{Draft, Lane};
use super::extra::Extra;
use super::fault::Fault;
use super::json::Pairs;

pub const SOURCE: &str = "github";
/// Where the dispatcher keeps the header that names the event.
pub const EVENT_HEADER: &str = "http-x-github-event";

/// What an event says, before it is a signal.
struct Story {
    kind: model::SignalKind,
    state: SignalState,
    /// Behind `gh:REPOSITORY`.
    key: Vec<String>,
    rule: &'static str,
    /// `None`: GitHub did not say; the time of arrival is taken.
    at: Option<i64>,
    ends_at: Option<i64>,
    severity: Option<String>,
    title: String,
    description: Option<String>,
    environment: Option<String>,
    labels: Vec<(&'static str, String)>,
}

pub fn decode(event: &RawEvent, text: &str, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    let mut body = Body::read(text)?;
    let named = event.headers.iter().find(|(name, _)| name == EVENT_HEADER);
    let named = named.map(|(_, value)| value.as_str());
    let kind = Kind::of(&body);
    if let (Some(name), false) = (named, kind.goes_with(named)) {
        let shown: String = name.chars().take(40).collect();
        let detail = format!(
            "the header X-GitHub-Event says {shown:?}, and the body is of {}: headers are not signed, so the body is not believed either",
            kind.name()
        );
        return Err(Fault::new("bad_value", "", detail));
    }
    let repository = body.repository();
    let story = match kind {
        Kind::CodeScanning
        | Kind::SecretScanning
        | Kind::Dependabot
        | Kind::RepositoryVulnerability
        | Kind::Advisory => security::story(kind, &body)?,
        _ => story::story(kind, &body, text)?,
    };
    let mut labels = vec![("event", kind.name().to_owned())];
    labels.extend(repository.full_name.iter().map(|name| ("repository", name.clone())));
    labels.extend(body.text("/sender/login").map(|login| ("actor", login.to_owned())));
    labels.extend(story.labels);
    let mut extra = Extra::default();
    // A header that anybody can change must not make another statement of the same body.
    if let (Kind::Other, Some(name)) = (kind, named) {
        extra.text("event", name.chars().take(80).collect::<String>(), false);
    }
    body.keep(&mut extra);
    let event_at = story.at.unwrap_or_else(|| {
        extra.text("time_from", "received_at", false);
        lane.observed_at
    });
    let place = repository.full_name.as_deref().unwrap_or("");
    let key: Vec<&str> = std::iter::once(place)
        .chain(story.key.iter().map(String::as_str))
        .collect();
    let labels = Pairs::made(labels);
    let draft = Draft {
        source: SOURCE,
        kind: story.kind,
        state: story.state,
        prefix: &["gh"],
        key: &key,
        rule: story.rule,
        event_at,
        ends_at: (story.state == SignalState::Resolved).then(|| story.ends_at.unwrap_or(lane.observed_at)),
        severity: story.severity.as_deref(),
        title: Some(&story.title),
        description: story.description.as_deref(),
        service: repository.name.as_deref(),
        environment: story.environment.as_deref(),
        group: None,
        labels: &labels,
        annotations: &Pairs::default(),
        extra: &mut extra,
    };
    // One sender for all of GitHub: an event says nothing about the progress of another repository, and a quiet one is quiet.
    lane.emit(draft, &[SOURCE])
}
