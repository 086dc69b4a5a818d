//! GitHub's REST API: <https://docs.github.com/en/rest>.
//!
//! [`Github`] looks: commits, comparisons and diffs, deployments, pull requests, workflow runs, and the deliveries of a webhook
//! ([`hooks`]). [`Planner`] says what an action would write or start, [`Writer`] does it.
//!
//! ```text
//! look   GET …                                            ──► answer, cut and without secrets
//! plan   GET repository | issue | run                     ──► TargetState, and the whole text that would be written
//! act    GET the same, as approved? ── POST, once, marked ──► Executed
//! settle GET issues | comments since then, run            ──► is the mark there, did a later attempt begin?
//! ```
//!
//! Reads the repositories that are configured and no others, whoever asks, and writes into those of `write` alone. What people wrote is
//! untrusted text.
//!
//! GitHub takes no key that would make a request happen once. An issue or a comment therefore bears a mark in its text that no reader
//! sees (`marks`); it is looked for before anything is written. What is left: a proxy that sends a request twice leaves two issues;
//! the note of the execution names both.
//!
//! Where GitHub says that enough was asked (`x-ratelimit-remaining: 0`, `retry-after`), nothing more is asked until the time that
//! it names: every question until then fails at once.

mod act;
mod compare;
mod deployments;
pub mod hooks;
mod marks;
mod plans;
mod pulls;
mod runs;
pub mod security;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, HeaderName, HeaderValue, USER_AGENT};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stream::secret::Secret;

use crate::ToolError;
use crate::observe::{
    Code, Commit, CommitQuery, Comparison, Deployment, Deployments, Diff, PullQuery, PullRequest, RunQuery, WorkflowRun,
};
use crate::redact::{redact, shorten};
use crate::settings::GithubSettings;
use crate::wire::{Failure, Http, Patient};
pub use act::Writer;
use hooks::Delivery;
pub use plans::Planner;

pub(crate) const TOOL: &str = "github";

/// Most that one page holds.
const PAGE: u32 = 100;

/// The REST API with the headers that it wants.
pub(crate) struct Api {
    http: Patient,
}

impl Api {
    pub fn new(
        url: &str,
        token: Option<Secret>,
        timeout: std::time::Duration,
        max_answer_bytes: usize,
    ) -> Result<Self, ToolError> {
        let agent = HeaderValue::from_static(concat!("aegis/", env!("CARGO_PKG_VERSION")));
        let http = Http::new(TOOL, url, token, timeout, max_answer_bytes)?
            .with_header(ACCEPT, HeaderValue::from_static("application/vnd.github+json"))
            .with_header(
                HeaderName::from_static("x-github-api-version"),
                HeaderValue::from_static("2022-11-28"),
            )
            // GitHub answers nobody without a name.
            .with_header(USER_AGENT, agent);
        Ok(Api {
            http: Patient::new(http),
        })
    }

    /// The JSON at `path`, and the headers around it.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<(T, http::HeaderMap), Failure> {
        self.http.get(path, query).await
    }

    /// Sends `body` to `path`, once.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Bytes, Failure> {
        self.http.post(path, body).await
    }

    /// A question of a tool: the answer alone.
    async fn ask<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, ToolError> {
        let answer = self.get(path, query).await;
        answer
            .map(|(read, _)| read)
            .map_err(|failure| failure.advised(advice).of_a_question(TOOL))
    }
}

/// Looks at a GitHub.
pub struct Github {
    api: Api,
    repositories: Repositories,
    max_commits: usize,
    max_diff_chars: usize,
}

/// Which repositories may be read, and which written to.
struct Repositories {
    read: Vec<String>,
    write: Vec<String>,
}

impl Repositories {
    fn of(settings: &GithubSettings) -> Self {
        Repositories {
            read: settings.repositories.clone(),
            write: settings.write.clone(),
        }
    }

    fn readable(&self, repository: &str) -> Result<(), ToolError> {
        among(&self.read, repository, "read")
    }

    fn writable(&self, repository: &str) -> Result<(), ToolError> {
        among(&self.write, repository, "written to (tools.github.write)")
    }
}

fn among(known: &[String], repository: &str, what: &str) -> Result<(), ToolError> {
    if known.iter().any(|known| known == repository) {
        return Ok(());
    }
    let known = known.join(", ");
    Err(ToolError::refused(
        TOOL,
        format!("only these repositories are {what}: {known}"),
    ))
}

impl Github {
    pub fn new(settings: &GithubSettings) -> Result<Self, ToolError> {
        Ok(Github {
            api: reader(settings)?,
            repositories: Repositories::of(settings),
            max_commits: settings.max_commits,
            max_diff_chars: settings.max_diff_chars,
        })
    }
}

fn reader(settings: &GithubSettings) -> Result<Api, ToolError> {
    let (token, limit) = (settings.token.clone(), settings.max_answer_bytes);
    Api::new(&settings.url, token, settings.timeout(), limit)
}

#[async_trait]
impl Code for Github {
    fn repository_of(&self, service: &str) -> Option<&str> {
        let named = |repository: &&String| repository.rsplit('/').next() == Some(service);
        self.repositories.read.iter().find(named).map(String::as_str)
    }

    fn writable(&self, repository: &str) -> bool {
        self.repositories.writable(repository).is_ok()
    }

    async fn deployments(&self, query: &Deployments) -> Result<Vec<Deployment>, ToolError> {
        self.repositories.readable(&query.repository)?;
        deployments::list(&self.api, query).await
    }

    async fn deliveries(&self, repository: &str, hook: u64) -> Result<Vec<Delivery>, ToolError> {
        self.repositories.readable(repository)?;
        let path = format!("/repos/{repository}/hooks/{hook}/deliveries");
        let mut found: Vec<Delivery> = self.api.ask(&path, &[("per_page", "100")]).await?;
        for delivery in &mut found {
            delivery.event = shown(&delivery.event, 80);
        }
        Ok(found)
    }

    async fn commits(&self, query: &CommitQuery) -> Result<Vec<Commit>, ToolError> {
        self.repositories.readable(&query.repository)?;
        compare::commits(&self.api, query).await
    }

    async fn compare(&self, repository: &str, base: &str, head: &str) -> Result<Comparison, ToolError> {
        self.repositories.readable(repository)?;
        compare::compare(&self.api, (repository, base, head), self.max_commits).await
    }

    async fn diff(&self, repository: &str, base: &str, head: &str) -> Result<Diff, ToolError> {
        self.repositories.readable(repository)?;
        compare::diff(&self.api, (repository, base, head), self.max_diff_chars).await
    }

    async fn pull_requests(&self, query: &PullQuery) -> Result<Vec<PullRequest>, ToolError> {
        self.repositories.readable(&query.repository)?;
        pulls::list(&self.api, query).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<WorkflowRun>, ToolError> {
        self.repositories.readable(&query.repository)?;
        runs::list(&self.api, query).await
    }
}

/// What to do about a refusal.
fn advice(status: u16) -> Option<String> {
    let advice = match status {
        401 => {
            "GitHub does not know the token: it has expired or was revoked; make a new one and set tools.github.token"
        }
        403 => {
            "the token may not do this: docs/guides/github.md lists the permissions, and an organisation may have to approve it"
        }
        404 => "it is not there, or the token may not see it: a fine-grained token must name the repository",
        410 => "issues are switched off in this repository",
        422 => "GitHub does not take it as it is written",
        _ => return None,
    };
    Some(advice.to_owned())
}

/// How many may be asked for.
fn within_a_page(what: &str, limit: u32) -> Result<String, ToolError> {
    match (1..=PAGE).contains(&limit) {
        true => Ok(limit.to_string()),
        false => Err(ToolError::refused(TOOL, format!("limit: ask for 1 to {PAGE} {what}"))),
    }
}

/// A name that is a commit and nothing else: a branch could be called `main...evil`.
pub(crate) fn commit_name(sha: &str) -> bool {
    (7..=64).contains(&sha.len()) && sha.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn check_commit(name: &str, sha: &str) -> Result<(), ToolError> {
    match commit_name(sha) {
        true => Ok(()),
        false => Err(ToolError::refused(
            TOOL,
            format!("{name} is no commit: 7 to 64 hexadecimal digits"),
        )),
    }
}

/// Text of others. Hidden before it is cut: a token cut in half is no longer recognised.
fn shown(text: &str, limit: usize) -> String {
    shorten(&redact(text), limit)
}

#[derive(Deserialize)]
struct Account {
    login: Option<String>,
}

impl Account {
    fn name(account: Option<Account>) -> Option<String> {
        account?.login.map(|login| shown(&login, 80))
    }
}

/// The examples of GitHub's own description of its API.
#[cfg(test)]
pub(crate) fn example<T: DeserializeOwned>(name: &str) -> T {
    let examples: Value = serde_json::from_str(include_str!("../tests/fixtures/github/examples.json")).unwrap();
    serde_json::from_value(examples[name].clone()).unwrap_or_else(|fault| panic!("{name}: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits() {
        for good in ["0123456", "0123456789abcdef0123456789abcdef01234567"] {
            assert!(commit_name(good), "{good}");
        }
        for bad in ["", "012345", "main", "0123456...main", "0123456/..", "ä123456"] {
            assert!(!commit_name(bad), "{bad}");
        }
    }
}
