//! Deployments, releases, runs, checks, pull requests, pushes, and what we know nothing of.

use model::{SignalKind, SignalState};
use sha2::{Digest, Sha256};

use super::Story;
use super::body::Body;
use super::kind::Kind;
use crate::normalize::fault::Fault;

/// Conclusions of runs and checks that somebody may want to know of.
const FAILED: &[&str] = &["failure", "timed_out", "startup_failure", "action_required"];
/// States of a deployment after which it goes on by itself.
const UNDER_WAY: &[&str] = &["pending", "queued", "in_progress", "waiting"];

pub fn story(kind: Kind, body: &Body<'_>, text: &str) -> Result<Story, Fault> {
    Ok(match kind {
        Kind::Deployment => deployment(body)?,
        Kind::DeploymentStatus => deployment_status(body)?,
        Kind::Release => release(body)?,
        Kind::WorkflowRun => run(body, kind, "/workflow_run", "Workflow")?,
        Kind::WorkflowJob => run(body, kind, "/workflow_job", "Job")?,
        Kind::CheckRun => run(body, kind, "/check_run", "Check")?,
        Kind::CheckSuite => run(body, kind, "/check_suite", "Checks")?,
        Kind::PullRequest => pull_request(body)?,
        Kind::Push => push(body)?,
        _ => other(kind, body, text),
    })
}

fn happened(kind: Kind, key: Vec<String>, rule: &'static str, at: Option<i64>, title: String) -> Story {
    Story {
        kind: SignalKind::Alert,
        state: SignalState::Event,
        key: std::iter::once(kind.name().to_owned()).chain(key).collect(),
        rule,
        at,
        ends_at: None,
        severity: Some("info".into()),
        title,
        description: None,
        environment: None,
        labels: Vec::new(),
    }
}

fn short(sha: &str) -> String {
    sha.chars().take(7).collect()
}

/// `main (1a2b3c4)`, or what there is of it.
fn version(body: &Body<'_>, at: &str) -> String {
    let branch = body.text(&format!("{at}/ref"));
    let sha = body.text(&format!("{at}/sha")).map(short);
    match (branch, sha) {
        (Some(branch), Some(sha)) if !branch.starts_with(&sha) => format!("{branch} ({sha})"),
        (_, Some(sha)) => sha,
        (Some(branch), None) => branch.to_owned(),
        (None, None) => "an unnamed version".to_owned(),
    }
}

fn of_commit(body: &Body<'_>, pointers: &[&str]) -> Option<(&'static str, String)> {
    body.first_text(pointers).map(|sha| ("commit", sha.to_owned()))
}

fn deployment(body: &Body<'_>) -> Result<Story, Fault> {
    let environment = body.text("/deployment/environment").map(str::to_owned);
    let to = environment.as_deref().unwrap_or("an unnamed environment");
    let title = format!("Deployment of {} to {to} created", version(body, "/deployment"));
    Ok(Story {
        kind: SignalKind::Change,
        description: body.text("/deployment/description").map(str::to_owned),
        labels: of_commit(body, &["/deployment/sha"]).into_iter().collect(),
        environment,
        ..happened(
            Kind::Deployment,
            vec![body.id("/deployment/id")?],
            "github/deployment@1",
            body.time("/deployment/created_at")?,
            title,
        )
    })
}

/// A deployment that has come to an end is a change; one under way is something that happened.
fn deployment_status(body: &Body<'_>) -> Result<Story, Fault> {
    let state = body.text("/deployment_status/state").unwrap_or("unknown");
    let environment = body
        .first_text(&["/deployment_status/environment", "/deployment/environment"])
        .map(str::to_owned);
    let to = environment.as_deref().unwrap_or("an unnamed environment");
    let title = format!("Deployment of {} to {to}: {state}", version(body, "/deployment"));
    let failed = matches!(state, "failure" | "error");
    Ok(Story {
        kind: if UNDER_WAY.contains(&state) {
            SignalKind::Alert
        } else {
            SignalKind::Change
        },
        severity: Some(if failed { "warning" } else { "info" }.into()),
        description: body.text("/deployment_status/description").map(str::to_owned),
        labels: of_commit(body, &["/deployment/sha"]).into_iter().collect(),
        environment,
        ..happened(
            Kind::DeploymentStatus,
            vec![body.id("/deployment/id")?, body.id("/deployment_status/id")?],
            "github/deployment_status@1",
            body.time("/deployment_status/created_at")?,
            title,
        )
    })
}

fn release(body: &Body<'_>) -> Result<Story, Fault> {
    let name = body
        .first_text(&["/release/tag_name", "/release/name"])
        .unwrap_or("unnamed");
    // Drafts and edits change nothing that runs.
    let kind = match body.action() {
        "published" | "released" | "prereleased" => SignalKind::Change,
        _ => SignalKind::Alert,
    };
    let title = format!("Release {name} {}", body.action()).trim_end().to_owned();
    Ok(Story {
        kind,
        ..happened(
            Kind::Release,
            vec![body.id("/release/id")?, body.action().to_owned()],
            "github/release@1",
            body.first_time(&["/release/published_at", "/release/created_at"])?,
            title,
        )
    })
}

/// Runs, jobs, checks and suites of them: one story from its start, whose outcome comes later.
fn run(body: &Body<'_>, kind: Kind, at: &str, what: &str) -> Result<Story, Fault> {
    let place = |member: &str| format!("{at}/{member}");
    let name = body
        .first_text(&[&place("name"), &place("app/name")])
        .unwrap_or("unnamed");
    let branch = body
        .first_text(&[&place("head_branch"), &place("check_suite/head_branch")])
        .map(str::to_owned);
    let outcome = body
        .first_text(&[&place("conclusion"), &place("status")])
        .unwrap_or("unknown");
    let failed = FAILED.contains(&outcome) && body.is_default(branch.as_deref());
    let on = branch
        .as_deref()
        .map(|branch| format!(" on {branch}"))
        .unwrap_or_default();
    // A run that is started again is another story.
    let attempt = body.id(&place("run_attempt")).unwrap_or_else(|_| "1".into());
    Ok(Story {
        severity: Some(if failed { "warning" } else { "info" }.into()),
        labels: of_commit(body, &[&place("head_sha")]).into_iter().collect(),
        ..happened(
            kind,
            vec![body.id(&place("id"))?, attempt],
            "github/run@1",
            body.first_time(&[&place("run_started_at"), &place("created_at"), &place("started_at")])?,
            format!("{what} {name}{on}: {outcome}"),
        )
    })
}

fn pull_request(body: &Body<'_>) -> Result<Story, Fault> {
    let number = body.id("/pull_request/number").or_else(|_| body.id("/number"))?;
    let merged = body.action() == "closed" && body.is_true("/pull_request/merged");
    let action = if merged { "merged" } else { body.action() };
    let title = body.text("/pull_request/title").unwrap_or("untitled");
    Ok(Story {
        labels: of_commit(body, &["/pull_request/merge_commit_sha", "/pull_request/head/sha"])
            .into_iter()
            .collect(),
        ..happened(
            Kind::PullRequest,
            vec![number.clone()],
            "github/pull_request@1",
            body.time("/pull_request/created_at")?,
            format!("Pull request #{number} {action}: {title}"),
        )
    })
}

fn push(body: &Body<'_>) -> Result<Story, Fault> {
    let name = body.text("/ref").unwrap_or_default();
    let branch = name
        .strip_prefix("refs/heads/")
        .or(name.strip_prefix("refs/tags/"))
        .unwrap_or(name);
    let by = body
        .first_text(&["/pusher/name", "/sender/login"])
        .unwrap_or("somebody");
    let title = if body.is_true("/deleted") {
        format!("{by} deleted {branch}")
    } else {
        let after = body.text("/after").map(short).unwrap_or_default();
        format!("{by} pushed {after} to {branch}")
    };
    Ok(Story {
        description: body.text("/head_commit/message").map(str::to_owned),
        labels: of_commit(body, &["/after"]).into_iter().collect(),
        ..happened(
            Kind::Push,
            vec![name.to_owned(), body.id("/before")?, body.id("/after")?],
            "github/push@1",
            // A head commit tells when it was made, which may be years ago; the repository tells when it was pushed.
            body.time("/repository/pushed_at")?,
            title,
        )
    })
}

/// Kept under a key made of the body: nothing else of it is known, and headers are not signed.
fn other(kind: Kind, body: &Body<'_>, text: &str) -> Story {
    let digest: String = Sha256::digest(text.as_bytes())[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let title = match (kind, body.text("/action")) {
        (Kind::Ping, _) => "GitHub knows this webhook (ping)".to_owned(),
        (_, Some(action)) => format!("GitHub event ({action})"),
        (_, None) => "GitHub event".to_owned(),
    };
    happened(kind, vec![digest], "github/body@1", None, title)
}
