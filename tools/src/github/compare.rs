//! Commits, and what lies between two: <https://docs.github.com/en/rest/commits/commits>.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;

use super::{Account, Api, TOOL, check_commit, shown, within_a_page};
use crate::ToolError;
use crate::observe::{Commit, CommitQuery, Comparison, Diff, FileDiff};
use crate::redact::redact;

/// Files that a comparison or a diff names. More is a list for machines.
const FILES: usize = 50;
/// Longest path or branch that is asked for.
const NAME_CHARS: usize = 250;

/// Repository, earlier and later commit.
type Range<'a> = (&'a str, &'a str, &'a str);

pub(super) async fn commits(api: &Api, query: &CommitQuery) -> Result<Vec<Commit>, ToolError> {
    let count = within_a_page("commits", query.limit)?;
    for (field, text) in [("from", &query.from), ("path", &query.path)] {
        let fits = |text: &String| {
            !text.is_empty() && text.chars().count() <= NAME_CHARS && !text.chars().any(char::is_control)
        };
        if text.as_ref().is_some_and(|text| !fits(text)) {
            let cause = format!("{field} has 1 to {NAME_CHARS} characters, and no control characters");
            return Err(ToolError::refused(TOOL, cause));
        }
    }
    let instant = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let (since, until) = (query.since.map(instant), query.until.map(instant));
    let mut parameters = vec![("per_page", count.as_str())];
    let optional = [
        ("sha", &query.from),
        ("path", &query.path),
        ("since", &since),
        ("until", &until),
    ];
    parameters.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?))),
    );
    let path = format!("/repos/{}/commits", query.repository);
    let found: Vec<Entry> = api.ask(&path, &parameters).await?;
    Ok(found.into_iter().take(query.limit as usize).map(commit).collect())
}

pub(super) async fn compare(api: &Api, range: Range<'_>, max_commits: usize) -> Result<Comparison, ToolError> {
    let answer = between(api, range, max_commits.min(100)).await?;
    let (repository, base, head) = range;
    let files = answer.files.unwrap_or_default();
    Ok(Comparison {
        repository: repository.to_owned(),
        base: base.to_owned(),
        head: head.to_owned(),
        total: answer.total_commits,
        cut: answer.total_commits > max_commits as u64 || files.len() > FILES,
        commits: answer.commits.into_iter().take(max_commits).map(commit).collect(),
        files: files
            .into_iter()
            .take(FILES)
            .map(|file| shown(&file.filename, 200))
            .collect(),
    })
}

/// `max_chars`: of all patches together.
pub(super) async fn diff(api: &Api, range: Range<'_>, max_chars: usize) -> Result<Diff, ToolError> {
    // The files come with the first page, whatever its size.
    let answer = between(api, range, 1).await?;
    let (repository, base, head) = range;
    let files = answer.files.unwrap_or_default();
    let mut cut = files.len() > FILES;
    let mut left = max_chars;
    let mut told = Vec::new();
    for file in files.into_iter().take(FILES) {
        let patch = file.patch.as_deref().map(|patch| {
            let (part, whole) = lines_within(&redact(patch), left);
            cut |= !whole;
            left -= part.chars().count();
            part
        });
        told.push(FileDiff {
            path: shown(&file.filename, 200),
            status: shown(&file.status, 20),
            additions: file.additions,
            deletions: file.deletions,
            patch: patch.filter(|patch| !patch.is_empty()),
        });
    }
    Ok(Diff {
        repository: repository.to_owned(),
        base: base.to_owned(),
        head: head.to_owned(),
        files: told,
        cut,
    })
}

async fn between(api: &Api, (repository, base, head): Range<'_>, commits: usize) -> Result<Compared, ToolError> {
    check_commit("base", base)?;
    check_commit("head", head)?;
    let path = format!("/repos/{repository}/compare/{base}...{head}");
    api.ask(&path, &[("per_page", &commits.to_string())]).await
}

/// As many whole lines as fit into `limit` characters, and whether those are all.
fn lines_within(text: &str, limit: usize) -> (String, bool) {
    let mut part = String::new();
    let mut chars = 0;
    for line in text.lines() {
        chars += line.chars().count() + 1;
        if chars > limit {
            return (part, false);
        }
        part.push_str(line);
        part.push('\n');
    }
    (part, true)
}

fn commit(entry: Entry) -> Commit {
    let written = entry.commit.author;
    let (name, at) = written.map_or((None, None), |written| (written.name, written.date));
    let first = entry.commit.message.lines().next().unwrap_or_default();
    Commit {
        sha: entry.sha,
        title: shown(first, 200),
        author: Account::name(entry.author).or(name.map(|name| shown(&name, 80))),
        at,
    }
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
    date: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct File {
    filename: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    additions: u64,
    #[serde(default)]
    deletions: u64,
    patch: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::github::example;

    #[test]
    fn published_examples() {
        let listed: Vec<Entry> = example("commits");
        let first = commit(listed.into_iter().next().unwrap());
        assert_eq!(
            (first.title.as_str(), first.author.as_deref()),
            ("Fix all the bugs", Some("octocat"))
        );
        let compared: Compared = example("compare");
        let file = &compared.files.unwrap()[0];
        assert_eq!((file.filename.as_str(), file.additions), ("file1.txt", 103));
        assert!(file.patch.as_ref().unwrap().starts_with("@@"));
    }

    #[test]
    fn whole_lines_within_a_limit() {
        assert_eq!(lines_within("+ab\n+cd", 8), ("+ab\n+cd\n".to_owned(), true));
        assert_eq!(lines_within("+ab\n+cd", 7), ("+ab\n".to_owned(), false));
        assert_eq!(lines_within("+äb", 4), ("+äb\n".to_owned(), true));
        assert_eq!(lines_within("+ab", 0), (String::new(), false));
    }
}
