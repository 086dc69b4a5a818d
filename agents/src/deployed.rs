//! What a suspect deployment brought: its commits, by the code host.
//!
//! Which deployment it was, the host says. The title of the change, which anybody could have written, only picks among the host's own
//! deployments: the one that was made before the change was told, and whose commit the title names. Compared is with the deployment
//! before it that came to run.

use chrono::{DateTime, TimeDelta, Utc};
use model::Suspect;
use model::evidence::Citation;
use model::investigation::Evidence;
use tools::observe::{Commit, Comparison, Deployment, Deployments};

use crate::gather::{Asked, Gather};
use crate::subject::Subject;
use crate::text;

/// Where changes come from that the code host knows.
const SOURCE: &str = "github";
/// Deployments looked through, newest first. More: a question more for each. Fewer: one that was deployed over soon is not found.
const LOOKED_AT: u32 = 10;
/// Digits of a commit that a title shows.
const SHORT: usize = 7;
/// A deployment that is told longer than this after it was made is another one.
const TOLD_WITHIN: TimeDelta = TimeDelta::hours(24);
/// Commits that a sentence names.
const NAMED: usize = 3;
/// Commits and files that a citation names.
const CITED: usize = 10;

/// What is known of one suspect's content.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployed {
    pub suspect: model::SignalId,
    pub brought: Asked<Result<Brought, String>>,
}

/// A deployment and what lies between it and the one before.
#[derive(Clone, Debug, PartialEq)]
pub struct Brought {
    pub deployment: Deployment,
    pub before: Deployment,
    pub comparison: Comparison,
}

/// Asks about the nearest suspect that the code host can know; `None` where there is none, or no code host that knows the service.
pub async fn gather(evidence: &Evidence, tools: &mut Gather<'_>) -> Option<Deployed> {
    let suspect = nearest(evidence)?.signal;
    let (repository, pair) = pair(evidence, tools).await?;
    Some(Deployed {
        suspect,
        brought: brought(&repository, pair, tools).await,
    })
}

/// The repository, and the suspected deployment with the one that ran before it; the text says why there are none.
pub async fn pair(evidence: &Evidence, tools: &mut Gather<'_>) -> Option<(String, Asked<Result<Pair, String>>)> {
    let subject = Subject::of(evidence);
    let repository = tools.repository_of(subject.service?)?;
    let suspect = nearest(evidence)?;
    let environment = &evidence.incident.environment;
    let query = Deployments {
        repository: repository.clone(),
        environment: Some(environment.clone()).filter(|name| !name.is_empty()),
        limit: LOOKED_AT,
        states: true,
    };
    let picked = |listed: Vec<Deployment>| pick(suspect, &listed).map(|(one, before)| (one.clone(), before.clone()));
    let found = tools.deployments(&query).await.map(picked);
    Some((repository, found))
}

/// A deployment, and the one that ran before it.
pub type Pair = (Deployment, Deployment);

fn nearest(evidence: &Evidence) -> Option<&Suspect> {
    evidence.suspects.iter().find(|suspect| suspect.source == SOURCE)
}

async fn brought(
    repository: &str,
    pair: Asked<Result<Pair, String>>,
    tools: &mut Gather<'_>,
) -> Asked<Result<Brought, String>> {
    let (deployment, before) = match pair? {
        Ok(found) => found,
        Err(why) => return Ok(Err(why)),
    };
    let comparison = tools.compare(repository, &before.commit, &deployment.commit).await?;
    Ok(Ok(Brought {
        deployment,
        before,
        comparison,
    }))
}

/// The suspect's deployment, and the one that ran before it. `listed`: newest first.
fn pick<'a>(suspect: &Suspect, listed: &'a [Deployment]) -> Result<(&'a Deployment, &'a Deployment), String> {
    let named = |one: &Deployment| {
        let short = one.commit.get(..SHORT).unwrap_or(&one.commit);
        let age = suspect.at - one.created_at;
        suspect.title.contains(short) && TimeDelta::zero() <= age && age <= TOLD_WITHIN
    };
    let Some(place) = listed.iter().position(named) else {
        return Err(format!("none of the last {} deployments is it", listed.len()));
    };
    let deployment = &listed[place];
    // A deployment that was replaced is inactive. Where nobody told how one ended, it is taken to have run.
    let ran = |one: &&Deployment| {
        let state = one.state.as_deref();
        one.commit != deployment.commit && matches!(state, None | Some("success" | "inactive"))
    };
    let before = listed[place + 1..].iter().find(ran);
    let before = before.ok_or_else(|| "no deployment before it is known".to_owned())?;
    Ok((deployment, before))
}

impl Brought {
    pub fn cite(&self) -> Citation {
        let Comparison {
            repository, base, head, ..
        } = &self.comparison;
        let commits: Vec<String> = self.comparison.commits.iter().rev().take(CITED).map(named).collect();
        let files: Vec<String> = self
            .comparison
            .files
            .iter()
            .take(CITED)
            .map(|file| text::line(file, 80))
            .collect();
        let excerpt = format!(
            "{} to {}: {}; {}; files: {}",
            short(&self.before.commit),
            short(&self.deployment.commit),
            counted(self.comparison.total),
            commits.join("; "),
            files.join(", ")
        );
        let span: (DateTime<Utc>, DateTime<Utc>) = (
            self.before.created_at,
            self.deployment.created_at.max(self.before.created_at),
        );
        Citation::new(
            "github",
            format!("/repos/{repository}/compare/{base}...{head}"),
            span,
            &excerpt,
        )
    }

    /// `2 commits: 1a2b3c4 Keep reports in memory (kim); …`, newest first.
    pub fn sentence(&self) -> String {
        let commits: Vec<String> = self.comparison.commits.iter().rev().take(NAMED).map(named).collect();
        let more = if self.comparison.total > commits.len() as u64 {
            "; …"
        } else {
            ""
        };
        format!("{}: {}{more}", counted(self.comparison.total), commits.join("; "))
    }
}

fn counted(commits: u64) -> String {
    match commits {
        1 => "1 commit".to_owned(),
        commits => format!("{commits} commits"),
    }
}

fn named(commit: &Commit) -> String {
    let by = commit
        .author
        .as_deref()
        .map(|author| format!(" ({})", text::line(author, 40)))
        .unwrap_or_default();
    format!("{} {}{by}", short(&commit.sha), text::line(&commit.title, 80))
}

fn short(sha: &str) -> String {
    text::line(sha.get(..SHORT).unwrap_or(sha), SHORT)
}

#[cfg(test)]
mod tests {
    use model::SignalId;

    use super::*;

    fn minutes(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    fn deployment(commit: &str, at: i64, state: Option<&str>) -> Deployment {
        Deployment {
            id: 1,
            commit: commit.repeat(10),
            reference: "main".into(),
            environment: "prod".into(),
            created_at: minutes(at),
            state: state.map(Into::into),
        }
    }

    #[test]
    fn picks() {
        let check = |listed: &[Deployment], title: &str, expected: Result<(i64, i64), &str>| {
            let suspect = Suspect {
                signal: SignalId::of(&[b"1"]),
                source: "github".into(),
                title: title.into(),
                service: "api".into(),
                at: minutes(100),
                before_ms: 0,
            };
            let found = pick(&suspect, listed);
            match (found, expected) {
                (Ok((found, before)), Ok((at, before_at))) => {
                    assert_eq!((found.created_at, before.created_at), (minutes(at), minutes(before_at)));
                }
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                (found, expected) => panic!("{found:?}, not {expected:?}"),
            }
        };
        let (a, b, c) = ("aaaa", "bbbb", "cccc");
        let old = deployment(a, 10, Some("inactive"));
        let new = deployment(b, 99, Some("success"));
        let title = "Deployment of main (bbbbbbb) to prod: success";
        check(&[new.clone(), old.clone()], title, Ok((99, 10)));
        check(&[deployment(b, 99, None), deployment(a, 10, None)], title, Ok((99, 10)));
        // One that failed never ran; the same commit once more is no change.
        let failed = deployment(c, 50, Some("failure"));
        check(
            &[new.clone(), failed, deployment(b, 40, Some("inactive")), old.clone()],
            title,
            Ok((99, 10)),
        );
        // A later one is not it, nor one of another commit, nor one of days ago.
        let later = deployment(b, 101, Some("success"));
        check(&[later, new.clone(), old.clone()], title, Ok((99, 10)));
        check(std::slice::from_ref(&old), title, Err("none of the last 1"));
        check(
            &[deployment(b, -2_000, Some("success")), old.clone()],
            title,
            Err("none of the last 2"),
        );
        check(std::slice::from_ref(&new), title, Err("no deployment before it"));
        check(&[new, old], "Release v2 published", Err("none of the last 2"));
        check(&[], title, Err("none of the last 0"));
    }
}
