//! GitHub, as far as Aegis asks it: commits, comparisons, deployments, pull requests, issues and comments, workflow runs, and webhooks that are really sent, signed, and whose deliveries are
//! kept, listed by pages and sent again.
//!
//! It stands below `/github`, as the API of an Enterprise Server stands below `/api/v3`. Like the real one it never sends again by
//! itself, and writes a payload anew when it is asked for a delivery: the same JSON, in other bytes.

mod issues;
mod routes;
mod runs;
mod security;
mod send;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::World;

pub use issues::{Comment, Issue, Pull};
pub use runs::{Job, Run};

/// Everything below `/github`.
pub(crate) fn router() -> axum::Router<World> {
    routes::router().merge(security::router())
}

/// Everything that it knows.
pub struct Forge {
    /// By `owner/name`.
    pub repositories: BTreeMap<String, Repository>,
    pub hooks: Vec<Hook>,
    /// Alerts of scanners by `owner/name/kind` (`dependabot`), oldest first, as GitHub writes them.
    pub alerts: BTreeMap<String, Vec<Value>>,
    /// What a comparison shows of a file, by its name.
    pub patches: BTreeMap<String, String>,
    /// Most entries of a page, whatever is asked for.
    pub page: usize,
    /// Questions that are still answered, and when there are new ones; without end where it is `None`.
    pub budget: Option<(u32, DateTime<Utc>)>,
    /// Tokens that may look and not write.
    pub readers: Vec<String>,
    last_id: u64,
}

impl Default for Forge {
    fn default() -> Self {
        Forge {
            repositories: BTreeMap::new(),
            hooks: Vec::new(),
            alerts: BTreeMap::new(),
            patches: BTreeMap::new(),
            page: 100,
            budget: None,
            readers: Vec::new(),
            last_id: 1_000,
        }
    }
}

/// A repository with one branch, `main`.
#[derive(Clone, Debug, Default)]
pub struct Repository {
    /// Oldest first.
    pub commits: Vec<Commit>,
    pub deployments: Vec<Deployment>,
    /// Oldest first; pull requests are none of these.
    pub issues: Vec<Issue>,
    pub pulls: Vec<Pull>,
    /// Oldest first.
    pub runs: Vec<Run>,
    pub archived: bool,
    pub issues_off: bool,
}

#[derive(Clone, Debug)]
pub struct Commit {
    pub sha: String,
    pub message: String,
    pub author: String,
    pub at: DateTime<Utc>,
    pub files: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Deployment {
    pub id: u64,
    pub sha: String,
    pub environment: String,
    pub created_at: DateTime<Utc>,
    /// State and time, oldest first.
    pub statuses: Vec<(String, DateTime<Utc>)>,
}

/// A webhook of a repository.
#[derive(Clone, Debug)]
pub struct Hook {
    pub id: u64,
    pub repository: String,
    /// `http://ADDRESS/path`.
    pub url: String,
    pub secret: String,
    /// Events that it is sent for; all where it is empty.
    pub events: Vec<String>,
    /// Oldest first.
    pub deliveries: Vec<Delivery>,
}

/// One attempt.
#[derive(Clone, Debug, Serialize)]
pub struct Delivery {
    pub id: u64,
    pub guid: Uuid,
    pub at: DateTime<Utc>,
    pub redelivery: bool,
    pub event: String,
    /// The signed bytes.
    pub body: String,
    pub signature: String,
    /// What was answered; GitHub's own 502 where nobody listened and 504 where nobody answered.
    pub status_code: u16,
}

impl Forge {
    /// A repository with commits of these messages, an hour apart, the last one at `at`; their hashes are [`sha`] of 1, 2, ….
    pub fn repository(&mut self, name: &str, at: DateTime<Utc>, messages: &[&str]) -> &mut Repository {
        let count = messages.len();
        let commit = |(index, message): (usize, &&str)| Commit {
            sha: sha(index + 1),
            message: (*message).to_owned(),
            author: "kim".to_owned(),
            at: at - TimeDelta::hours((count - 1 - index) as i64),
            files: vec![format!("src/part{}.rs", index + 1)],
        };
        let repository = Repository {
            commits: messages.iter().enumerate().map(commit).collect(),
            ..Repository::default()
        };
        self.repositories.insert(name.to_owned(), repository);
        self.repositories.entry(name.to_owned()).or_default()
    }

    /// A webhook; its number.
    pub fn hook(&mut self, repository: &str, url: &str, secret: &str, events: &[&str]) -> u64 {
        let id = self.next_id();
        self.hooks.push(Hook {
            id,
            repository: repository.to_owned(),
            url: url.to_owned(),
            secret: secret.to_owned(),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            deliveries: Vec::new(),
        });
        id
    }

    /// A deployment that ended with `state` at `at`, of which nobody is told. The successful ones before it are inactive from then on.
    pub fn deployed(&mut self, repository: &str, sha: &str, environment: &str, state: &str, at: DateTime<Utc>) -> u64 {
        let id = self.next_id();
        let deployments = &mut self.repositories.entry(repository.to_owned()).or_default().deployments;
        let of_it = deployments.iter_mut().filter(|one| one.environment == environment);
        for one in of_it.filter(|one| state == "success" && one.statuses.last().is_some_and(|last| last.0 == "success"))
        {
            one.statuses.push(("inactive".to_owned(), at));
        }
        deployments.push(Deployment {
            id,
            sha: sha.to_owned(),
            environment: environment.to_owned(),
            created_at: at - TimeDelta::seconds(20),
            statuses: vec![(state.to_owned(), at)],
        });
        id
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

/// The hash of the nth commit of a repository; also its first seven digits are its own.
pub fn sha(number: usize) -> String {
    format!("{:07x}{number:033x}", (number * 0x0135_79bd) & 0x0fff_ffff)
}

impl World {
    /// Deploys, and tells whoever wants to hear of it.
    pub async fn deploy(&self, repository: &str, sha: &str, environment: &str, at: DateTime<Utc>) {
        let id = self
            .state()
            .github
            .deployed(repository, sha, environment, "success", at);
        let name = repository.rsplit('/').next().unwrap_or(repository);
        let payload = json!({
            "action": "created",
            "repository": {"id": 7, "name": name, "full_name": repository, "default_branch": "main"},
            "sender": {"login": "kim"},
            "deployment": {"id": id, "sha": sha, "ref": "main", "task": "deploy", "environment": environment,
                           "created_at": at - TimeDelta::seconds(20)},
            "deployment_status": {"id": id + 1_000_000, "state": "success", "environment": environment, "created_at": at},
        });
        self.tell(repository, "deployment_status", &payload.to_string()).await;
    }

    /// Sends `body` to the webhooks of a repository that want `event`; each attempt is kept, however it ends.
    pub async fn tell(&self, repository: &str, event: &str, body: &str) {
        let guid = Uuid::new_v4();
        let wanting: Vec<Hook> = {
            let state = self.state();
            let wants = |hook: &&Hook| {
                hook.repository == repository && (hook.events.is_empty() || hook.events.iter().any(|one| one == event))
            };
            state.github.hooks.iter().filter(wants).cloned().collect()
        };
        for hook in wanting {
            self.attempt(&hook, guid, event, body, false).await;
        }
    }

    /// Sends the delivery `id` of `hook` once more, as somebody who presses "Redeliver"; whether there is one.
    pub async fn redeliver(&self, hook: u64, id: u64) -> bool {
        let found = {
            let state = self.state();
            let hook = state.github.hooks.iter().find(|one| one.id == hook);
            hook.and_then(|hook| {
                let delivery = hook.deliveries.iter().find(|one| one.id == id)?;
                Some((hook.clone(), delivery.clone()))
            })
        };
        let Some((hook, sent)) = found else { return false };
        self.attempt(&hook, sent.guid, &sent.event, &sent.body, true).await;
        true
    }

    async fn attempt(&self, hook: &Hook, guid: Uuid, event: &str, body: &str, redelivery: bool) {
        let signature = send::signature(&hook.secret, body);
        let status_code = send::post(hook, guid, event, body, &signature).await;
        let mut state = self.state();
        let id = state.github.next_id();
        if let Some(hook) = state.github.hooks.iter_mut().find(|one| one.id == hook.id) {
            hook.deliveries.push(Delivery {
                id,
                guid,
                at: Utc::now(),
                redelivery,
                event: event.to_owned(),
                body: body.to_owned(),
                signature,
                status_code,
            });
        }
    }
}

/// A delivery in a list.
fn listed(delivery: &Delivery) -> Value {
    let status = match delivery.status_code {
        200..300 => "OK",
        502 => "failed to connect to host",
        504 => "timed out",
        _ => "Invalid HTTP Response",
    };
    json!({
        "id": delivery.id, "guid": delivery.guid, "delivered_at": delivery.at, "redelivery": delivery.redelivery,
        "duration": 0.03, "status": status, "status_code": delivery.status_code, "event": delivery.event,
        "action": "created", "installation_id": null, "repository_id": 7,
    })
}
