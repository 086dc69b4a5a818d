//! The two requests that are made of an API server: a page of a list, and a watch. kube connects, speaks TLS and renews credentials.

use std::error::Error;
use std::time::Duration;

use http::header::{ACCEPT, RETRY_AFTER};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};
use url::form_urlencoded;

use super::settings::KubernetesWatchSettings;
use super::wire::{Page, WatchReader, Word, page};

/// Objects of one page. More: fewer requests, larger answers.
const PAGE: &str = "250";

/// Bytes read of a refusal.
const REFUSAL_BYTES: usize = 64 << 10;

/// Longest cause told, in characters.
const CAUSE_CHARS: usize = 300;

/// Why there is no answer to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The settings lead to no client: a kubeconfig that cannot be read, a token file that is not there.
    Settings(String),
    /// No connection, or one that broke.
    Away(String),
    /// No answer in time.
    Silent(String),
    /// Another status than 2xx.
    Refused {
        status: u16,
        message: String,
        retry_after: Option<Duration>,
    },
    /// 410: the version asked for is older than what the server remembers.
    Gone,
    /// An answer that is not what the API says.
    Garbled(String),
    TooLarge(usize),
}

impl Failure {
    /// A word for metrics.
    pub fn cause(&self) -> &'static str {
        match self {
            Failure::Settings(_) => "settings",
            Failure::Away(_) => "away",
            Failure::Silent(_) => "silent",
            Failure::Refused { status: 401, .. } => "unauthorized",
            Failure::Refused { status: 403, .. } => "forbidden",
            Failure::Refused { status: 404, .. } => "not_served",
            Failure::Refused { status: 429, .. } => "too_many_requests",
            Failure::Refused { status: 500.., .. } => "server",
            Failure::Refused { .. } => "refused",
            Failure::Gone => "gone",
            Failure::Garbled(_) => "garbled",
            Failure::TooLarge(_) => "too_large",
        }
    }

    /// How long the server wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Failure::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Settings(cause) => f.write_str(cause),
            Failure::Away(cause) => write!(f, "the API server cannot be reached: {cause}"),
            Failure::Silent(cause) => write!(f, "the API server does not answer: {cause}"),
            Failure::Refused { status, message, .. } if message.is_empty() => {
                write!(f, "the API server answers with status {status}")
            }
            Failure::Refused { status, message, .. } => {
                write!(f, "the API server answers with status {status}: {message}")
            }
            Failure::Gone => f.write_str("the API server has forgotten the version asked for"),
            Failure::Garbled(cause) => write!(f, "the answer is not one of an API server: {cause}"),
            Failure::TooLarge(limit) => write!(f, "an object or a page is larger than max_answer_bytes ({limit})"),
        }
    }
}

/// One API server.
#[derive(Clone)]
pub struct Api {
    client: Client,
    timeout: Duration,
    limit: usize,
}

impl Api {
    /// Reads the credentials; nothing is asked of the server yet.
    pub async fn connect(settings: &KubernetesWatchSettings) -> Result<Self, Failure> {
        let mut config = config(settings).await?;
        config.connect_timeout = Some(settings.timeout());
        // What is tried again, and when, is decided in one place: `watch.rs`.
        config.default_retry = false;
        let client = Client::try_from(config)
            .map_err(|fault| Failure::Settings(format!("no client can be made: {}", causes(&fault))))?;
        Ok(Api {
            client,
            timeout: settings.timeout(),
            limit: settings.max_answer_bytes,
        })
    }

    /// One page of the list at `path`; `next` empty for the first.
    pub async fn list(&self, path: &str, selectors: &[(&str, &str)], next: &str) -> Result<Page, Failure> {
        let mut parameters = vec![("limit", PAGE)];
        if !next.is_empty() {
            parameters.push(("continue", next));
        }
        let response = self.ask(&target(path, selectors, &parameters)).await?;
        let whole = timeout(self.timeout, Limited::new(response, self.limit).collect()).await;
        let body = match whole {
            Err(_) => return Err(silent(self.timeout)),
            Ok(Err(fault)) if fault.is::<LengthLimitError>() => return Err(Failure::TooLarge(self.limit)),
            Ok(Err(fault)) => return Err(Failure::Away(format!("the answer broke off: {}", causes(&*fault)))),
            Ok(Ok(body)) => body.to_bytes(),
        };
        page(&body)
    }

    /// Watches the list at `path` from `version`, for `length`.
    pub async fn watch(
        &self,
        path: &str,
        selectors: &[(&str, &str)],
        version: &str,
        length: Duration,
    ) -> Result<Watch, Failure> {
        let seconds = length.as_secs().to_string();
        let parameters = [
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", seconds.as_str()),
        ];
        let body = self.ask(&target(path, selectors, &parameters)).await?;
        Ok(Watch {
            body,
            reader: WatchReader::new(self.limit),
            // The server ends it after `length`; one that has said nothing for as long again is dead.
            silent_for: length + self.timeout,
            began_at: Instant::now(),
            heard_at: Instant::now(),
        })
    }

    /// Until the answer begins.
    async fn ask(&self, uri: &str) -> Result<Body, Failure> {
        let request = http::Request::get(uri)
            .header(ACCEPT, "application/json")
            .body(Body::empty())
            .map_err(|fault| Failure::Settings(format!("no request can be made of it: {fault}")))?;
        let response = match timeout(self.timeout, self.client.send(request)).await {
            Err(_) => return Err(silent(self.timeout)),
            Ok(Err(fault @ kube::Error::Auth(_))) => {
                return Err(Failure::Settings(format!("no credentials: {}", causes(&fault))));
            }
            Ok(Err(fault)) => return Err(Failure::Away(causes(&fault))),
            Ok(Ok(response)) => response,
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let seconds = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let read = timeout(
            self.timeout,
            Limited::new(response.into_body(), REFUSAL_BYTES).collect(),
        )
        .await;
        let body = read.ok().and_then(Result::ok).map(|body| body.to_bytes());
        Err(match status.as_u16() {
            410 => Failure::Gone,
            status => Failure::Refused {
                status,
                message: message(&body.unwrap_or_default()),
                retry_after: seconds.map(Duration::from_secs),
            },
        })
    }
}

/// A running watch.
pub struct Watch {
    body: Body,
    reader: WatchReader,
    silent_for: Duration,
    began_at: Instant,
    heard_at: Instant,
}

impl Watch {
    pub fn began_at(&self) -> Instant {
        self.began_at
    }

    /// The next word; `None` when the server has ended the watch, as it does from time to time. May be dropped before it answers.
    pub async fn next(&mut self) -> Result<Option<Word>, Failure> {
        loop {
            if let Some(word) = self.reader.next_word()? {
                return Ok(Some(word));
            }
            let frame = match timeout_at(self.heard_at + self.silent_for, self.body.frame()).await {
                Err(_) => return Err(silent(self.silent_for)),
                Ok(None) => return self.reader.last_word(),
                Ok(Some(Err(fault))) => return Err(Failure::Away(format!("the watch broke off: {}", causes(&fault)))),
                Ok(Some(Ok(frame))) => frame,
            };
            self.heard_at = Instant::now();
            if let Some(data) = frame.data_ref() {
                self.reader.push(data);
            }
        }
    }
}

/// Path and query; an empty selector is none.
fn target(path: &str, selectors: &[(&str, &str)], parameters: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let given = selectors.iter().filter(|(_, value)| !value.is_empty());
    query.extend_pairs(given).extend_pairs(parameters);
    format!("{path}?{}", query.finish())
}

fn silent(after: Duration) -> Failure {
    Failure::Silent(format!("nothing for {} s", after.as_secs()))
}

/// What a `Status` says; nothing of a page or of other text.
fn message(body: &[u8]) -> String {
    let status: Value = serde_json::from_slice(body).unwrap_or_default();
    shorten(status["message"].as_str().unwrap_or_default())
}

/// The errors of the chain, each once.
fn causes(fault: &dyn Error) -> String {
    let mut text = fault.to_string();
    let mut next = fault.source();
    while let Some(one) = next {
        let cause = one.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        next = one.source();
    }
    shorten(&text)
}

pub(super) fn shorten(text: &str) -> String {
    text.chars().take(CAUSE_CHARS).collect()
}

async fn config(settings: &KubernetesWatchSettings) -> Result<Config, Failure> {
    let text = |path: &std::path::PathBuf| path.to_string_lossy().into_owned();
    if let Some(path) = &settings.kubeconfig {
        let unusable = |cause: String| Failure::Settings(format!("kubeconfig {}: {cause}", path.display()));
        let file = Kubeconfig::read_from(path).map_err(|fault| unusable(causes(&fault)))?;
        let options = KubeConfigOptions {
            context: settings.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = Config::from_custom_kubeconfig(file, &options).await;
        return config.map_err(|fault| unusable(causes(&fault)));
    }
    if settings.in_cluster {
        // By its name: the environment is read by the configuration alone.
        return Config::incluster_dns().map_err(|fault| Failure::Settings(format!("in_cluster: {}", causes(&fault))));
    }
    let url = settings.url.as_deref().unwrap_or_default();
    let url = url
        .parse()
        .map_err(|fault| Failure::Settings(format!("url is no address: {fault}")))?;
    let mut config = Config::new(url);
    config.auth_info.token_file = settings.token_file.as_ref().map(text);
    config.root_cert_file = settings.ca_file.clone();
    Ok(config)
}
