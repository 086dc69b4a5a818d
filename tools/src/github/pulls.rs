//! Pull requests: <https://docs.github.com/en/rest/pulls/pulls>, and those of a commit
//! (<https://docs.github.com/en/rest/commits/commits#list-pull-requests-associated-with-a-commit>).

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Account, Api, check_commit, shown, within_a_page};
use crate::ToolError;
use crate::observe::{PullQuery, PullRequest};

/// Labels of a pull request that are handed on.
const LABELS: usize = 20;

pub(super) async fn list(api: &Api, query: &PullQuery) -> Result<Vec<PullRequest>, ToolError> {
    let count = within_a_page("pull requests", query.limit)?;
    let repository = &query.repository;
    let found: Vec<Pull> = match &query.commit {
        Some(sha) => {
            check_commit("commit", sha)?;
            let path = format!("/repos/{repository}/commits/{sha}/pulls");
            api.ask(&path, &[("per_page", &count)]).await?
        }
        None => {
            let parameters = [
                ("state", "open"),
                ("sort", "updated"),
                ("direction", "desc"),
                ("per_page", &count),
            ];
            api.ask(&format!("/repos/{repository}/pulls"), &parameters).await?
        }
    };
    Ok(found.into_iter().take(query.limit as usize).map(pull_request).collect())
}

fn pull_request(pull: Pull) -> PullRequest {
    PullRequest {
        number: pull.number,
        title: shown(&pull.title, 200),
        author: Account::name(pull.user),
        state: shown(&pull.state, 20),
        merged_at: pull.merged_at,
        updated_at: pull.updated_at,
        labels: pull
            .labels
            .iter()
            .take(LABELS)
            .map(|label| shown(&label.name, 60))
            .collect(),
    }
}

#[derive(Deserialize)]
struct Pull {
    number: u64,
    title: String,
    state: String,
    user: Option<Account>,
    merged_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    #[serde(default)]
    labels: Vec<Label>,
}

#[derive(Deserialize)]
struct Label {
    #[serde(default)]
    name: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::github::example;

    #[test]
    fn published_examples() {
        for name in ["pulls", "commit_pulls"] {
            let pulls: Vec<Pull> = example(name);
            let first = pull_request(pulls.into_iter().next().unwrap());
            assert_eq!(
                (first.number, first.state.as_str(), first.author.as_deref()),
                (1347, "open", Some("octocat")),
                "{name}"
            );
            assert_eq!(
                (first.title.as_str(), first.labels),
                ("Amazing new feature", vec!["bug".to_owned()])
            );
        }
    }
}
