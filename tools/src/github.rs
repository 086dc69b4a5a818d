//! What was deployed and what changed with it, by GitHub's REST API: <https://docs.github.com/en/rest/deployments/deployments>,
//! <https://docs.github.com/en/rest/commits/commits#compare-two-commits>; and the deliveries of a webhook
//! ([`hooks`]).
//!
//! Reads the repositories that are configured and no others, whoever asks. A fine-grained token with read access to contents and
//! deployments is enough. What people wrote into commits is untrusted text.
//!
//! Where GitHub says that enough was asked (`x-ratelimit-remaining: 0`, `retry-after`), nothing more is asked until the time that
//! it names: every question until then fails at once.

pub mod hooks;
mod limit;

use async_trait::async_trait;
use http::header::{ACCEPT, HeaderName, HeaderValue, USER_AGENT};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use stream::secret::Secret;
use tokio::time::Instant;

use crate::ToolError;
use crate::observe::{Code, Commit, Comparison, Deployment, Deployments};
use crate::redact::{redact, shorten};
use crate::settings::GithubSettings;
use crate::wire::{Failure, Http};
use hooks::Delivery;
use limit::Limit;

pub(crate) const TOOL: &str = "github";

/// Files that a comparison names. More is a list for machines.
const FILES: usize = 50;

/// The REST API with the headers that it wants.
pub(crate) struct Api {
    http: Http,
    limit: Limit,
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
            http,
            limit: Limit::default(),
        })
    }

    /// The JSON at `path`, and the headers around it.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<(T, http::HeaderMap), Failure> {
        self.limit.pass(Instant::now())?;
        let (headers, body) = self.http.bytes(path, query).await;
        let body = self.limit.after(&headers, body, Instant::now())?;
        let read = serde_json::from_slice(&body).map_err(|fault| Failure::Garbled(fault.to_string()))?;
        Ok((read, headers))
    }
}

/// A GitHub.
pub struct Github {
    api: Api,
    repositories: Vec<String>,
    max_commits: usize,
}

impl Github {
    pub fn new(settings: &GithubSettings) -> Result<Self, ToolError> {
        Ok(Github {
            api: Api::new(
                &settings.url,
                settings.token.clone(),
                settings.timeout(),
                settings.max_answer_bytes,
            )?,
            repositories: settings.repositories.clone(),
            max_commits: settings.max_commits,
        })
    }

    fn known(&self, repository: &str) -> Result<(), ToolError> {
        if self.repositories.iter().any(|known| known == repository) {
            return Ok(());
        }
        let known = self.repositories.join(", ");
        Err(ToolError::refused(
            TOOL,
            format!("only these repositories are read: {known}"),
        ))
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, ToolError> {
        let answer = self.api.get(path, query).await;
        answer
            .map(|(read, _)| read)
            .map_err(|failure| failure.of_a_question(TOOL))
    }

    /// How a deployment ended last; `None` where nobody said.
    async fn state(&self, repository: &str, id: u64) -> Result<Option<String>, ToolError> {
        let path = format!("/repos/{repository}/deployments/{id}/statuses");
        let statuses: Vec<Status> = self.ask(&path, &[("per_page", "1")]).await?;
        Ok(statuses
            .into_iter()
            .next()
            .map(|status| shorten(&redact(&status.state), 40)))
    }

    fn commit(&self, entry: Entry) -> Commit {
        let author = entry.author.and_then(|author| author.login);
        let written = entry.commit.author;
        let (name, at) = written.map_or((None, None), |written| (written.name, written.date));
        let first = entry.commit.message.lines().next().unwrap_or_default();
        Commit {
            sha: entry.sha,
            // Hidden before it is cut: a token cut in half is no longer recognised.
            title: shorten(&redact(first), 200),
            author: author.or(name).map(|name| shorten(&redact(&name), 80)),
            at,
        }
    }
}

#[async_trait]
impl Code for Github {
    fn repository_of(&self, service: &str) -> Option<&str> {
        let named = |repository: &&String| repository.rsplit('/').next() == Some(service);
        self.repositories.iter().find(named).map(String::as_str)
    }

    async fn deployments(&self, query: &Deployments) -> Result<Vec<Deployment>, ToolError> {
        self.known(&query.repository)?;
        if !(1..=100).contains(&query.limit) {
            return Err(ToolError::refused(TOOL, "limit: ask for 1 to 100 deployments"));
        }
        let count = query.limit.to_string();
        let mut parameters = vec![("per_page", count.as_str())];
        parameters.extend(query.environment.as_deref().map(|name| ("environment", name)));
        let path = format!("/repos/{}/deployments", query.repository);
        let found: Vec<Deployed> = self.ask(&path, &parameters).await?;
        let mut deployments = Vec::new();
        for one in found.into_iter().take(query.limit as usize) {
            let state = match query.states {
                true => self.state(&query.repository, one.id).await?,
                false => None,
            };
            deployments.push(Deployment {
                id: one.id,
                commit: one.sha,
                reference: shorten(&redact(&one.reference), 200),
                environment: shorten(&redact(&one.environment), 200),
                created_at: one.created_at,
                state,
            });
        }
        Ok(deployments)
    }

    async fn deliveries(&self, repository: &str, hook: u64) -> Result<Vec<Delivery>, ToolError> {
        self.known(repository)?;
        let path = format!("/repos/{repository}/hooks/{hook}/deliveries");
        let mut found: Vec<Delivery> = self.ask(&path, &[("per_page", "100")]).await?;
        for delivery in &mut found {
            delivery.event = shorten(&redact(&delivery.event), 80);
        }
        Ok(found)
    }

    async fn compare(&self, repository: &str, base: &str, head: &str) -> Result<Comparison, ToolError> {
        self.known(repository)?;
        for (name, sha) in [("base", base), ("head", head)] {
            if !commit_name(sha) {
                let cause = format!("{name} is no commit: 7 to 64 hexadecimal digits");
                return Err(ToolError::refused(TOOL, cause));
            }
        }
        let path = format!("/repos/{repository}/compare/{base}...{head}");
        let count = self.max_commits.min(100).to_string();
        let answer: Compared = self.ask(&path, &[("per_page", &count)]).await?;
        let files = answer.files.unwrap_or_default();
        Ok(Comparison {
            repository: repository.to_owned(),
            base: base.to_owned(),
            head: head.to_owned(),
            total: answer.total_commits,
            cut: answer.total_commits > self.max_commits as u64 || files.len() > FILES,
            commits: answer
                .commits
                .into_iter()
                .take(self.max_commits)
                .map(|entry| self.commit(entry))
                .collect(),
            files: files
                .into_iter()
                .take(FILES)
                .map(|file| shorten(&redact(&file.filename), 200))
                .collect(),
        })
    }
}

/// A name that is a commit and nothing else: a branch could be called `main...evil`.
pub(crate) fn commit_name(sha: &str) -> bool {
    (7..=64).contains(&sha.len()) && sha.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[derive(Deserialize)]
struct Deployed {
    id: u64,
    sha: String,
    #[serde(rename = "ref", default)]
    reference: String,
    #[serde(default)]
    environment: String,
    created_at: chrono::DateTime<chrono::Utc>,
}

#[derive(Deserialize)]
struct Status {
    state: String,
}

#[derive(Deserialize)]
struct Compared {
    total_commits: u64,
    commits: Vec<Entry>,
    files: Option<Vec<File>>,
}

#[derive(Deserialize)]
struct Entry {
    sha: String,
    commit: Written,
    author: Option<Account>,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    message: String,
    author: Option<Person>,
}

#[derive(Deserialize)]
struct Person {
    name: Option<String>,
    date: Option<chrono::DateTime<chrono::Utc>>,
}

#[derive(Deserialize)]
struct Account {
    login: Option<String>,
}

#[derive(Deserialize)]
struct File {
    filename: String,
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
