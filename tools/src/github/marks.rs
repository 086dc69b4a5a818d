//! The mark of an attempt in what it wrote: an HTML comment, which GitHub shows to nobody who reads.
//!
//! It is looked for in the list of issues or comments, which shows what was written at once (the search of GitHub does not).

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use model::Action;
use serde::Deserialize;
use uuid::Uuid;

use super::Api;
use crate::wire::Failure;

/// How far the clocks of GitHub and of this machine may differ.
const SKEW: TimeDelta = TimeDelta::minutes(5);
/// Pages of 100 looked through. A repository that gets more in the life of a grant cannot be looked through: then nothing is written.
const PAGES: u32 = 10;

/// What stands at the end of a text that `attempt` wrote.
pub(super) fn mark(attempt: Uuid) -> String {
    format!("<!-- aegis attempt {attempt} -->")
}

/// The text of `action` with its mark.
pub(super) fn marked(body: &str, attempt: Uuid) -> String {
    format!("{}\n\n{}", body.trim_end(), mark(attempt))
}

/// An issue or a comment that bears a mark.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Found {
    /// Of an issue; a comment has none.
    pub number: Option<u64>,
    pub html_url: String,
    body: Option<String>,
    created_at: DateTime<Utc>,
}

/// What `attempt` of `action` wrote after `since`, oldest first. Nothing where the action writes no text.
pub(super) async fn find(
    api: &Api,
    action: &Action,
    attempt: Uuid,
    since: DateTime<Utc>,
) -> Result<Vec<Found>, Failure> {
    let path = match action {
        Action::GithubIssue { repository, .. } => format!("/repos/{repository}/issues"),
        Action::GithubComment { repository, number, .. } => format!("/repos/{repository}/issues/{number}/comments"),
        _ => return Ok(Vec::new()),
    };
    let (mark, from) = (mark(attempt), since - SKEW);
    // Changed since then; what was written since then is among it.
    let after = from.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut found = Vec::new();
    for page in 1..=PAGES {
        let page = page.to_string();
        let parameters = [
            ("state", "all"),
            ("sort", "created"),
            ("direction", "desc"),
            ("since", after.as_str()),
            ("per_page", "100"),
            ("page", &page),
        ];
        // Comments of one issue are always listed oldest first.
        let parameters = match action {
            Action::GithubIssue { .. } => &parameters[..],
            _ => &parameters[3..],
        };
        let (listed, _): (Vec<Found>, _) = api.get(&path, parameters).await?;
        let last = listed.len() < 100;
        let older = listed.iter().any(|one| one.created_at < from) && matches!(action, Action::GithubIssue { .. });
        found.extend(listed.into_iter().filter(|one| one.bears(&mark)));
        if last || older {
            found.sort_by_key(|one| one.created_at);
            return Ok(found);
        }
    }
    Err(Failure::TooMany { limit: 1_000 })
}

impl Found {
    fn bears(&self, mark: &str) -> bool {
        self.body.as_deref().is_some_and(|body| body.contains(mark))
    }

    /// `#12`, or the address of a comment.
    pub fn name(&self) -> String {
        self.number
            .map_or_else(|| self.html_url.clone(), |number| format!("#{number}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::github::example;

    #[test]
    fn published_examples() {
        for name in ["issues", "comments"] {
            let listed: Vec<Found> = example(name);
            assert!(!listed.is_empty() && !listed[0].bears(&mark(Uuid::nil())), "{name}");
        }
        let issues: Vec<Found> = example("issues");
        assert_eq!(issues[0].name(), "#1347");
    }

    #[test]
    fn a_text_bears_its_own_mark_alone() {
        let one = |body: String| Found {
            number: None,
            html_url: String::new(),
            body: Some(body),
            created_at: DateTime::UNIX_EPOCH,
        };
        let text = one(marked("Heap grows\n", Uuid::from_u128(1)));
        assert!(text.bears(&mark(Uuid::from_u128(1))) && !text.bears(&mark(Uuid::from_u128(2))));
        assert_eq!(
            text.body.unwrap(),
            "Heap grows\n\n<!-- aegis attempt 00000000-0000-0000-0000-000000000001 -->"
        );
    }
}
