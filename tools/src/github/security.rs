//! What GitHub knows of weaknesses: its alerts of code scanning, of dependencies (Dependabot) and of secrets
//! (<https://docs.github.com/en/rest/code-scanning/code-scanning>, <https://docs.github.com/en/rest/dependabot/alerts>,
//! <https://docs.github.com/en/rest/secret-scanning/secret-scanning>), and the secrets that a change adds.
//!
//! A token needs read access to the alerts, and to contents for changes. A secret is never read: the field is not taken in, and GitHub is
//! asked to leave it out (`hide_secret`). What a change adds is searched here, and of what is found only detector, place and length leave.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::LINK;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Github, TOOL, advice, commit_name};
use crate::ToolError;
use crate::redact::{Sighting, in_diff, redact, shorten};

/// Alerts of one page; GitHub's most.
const PAGE: &str = "100";
/// Most alerts of one answer. More: more pages than a step has time for.
const MOST: u32 = 500;
/// Most sightings of one change handed on.
const SIGHTINGS: usize = 50;
/// Most characters of a text handed on.
const SHOWN: usize = 300;

/// Which of GitHub's lists an alert stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    CodeScanning,
    /// A dependency with a known weakness.
    Dependabot,
    SecretScanning,
}

impl AlertKind {
    pub const ALL: [AlertKind; 3] = [
        AlertKind::CodeScanning,
        AlertKind::Dependabot,
        AlertKind::SecretScanning,
    ];

    fn path(self) -> &'static str {
        match self {
            AlertKind::CodeScanning => "code-scanning",
            AlertKind::Dependabot => "dependabot",
            AlertKind::SecretScanning => "secret-scanning",
        }
    }

    /// As the webhook of such an alert is called.
    pub fn event(self) -> &'static str {
        match self {
            AlertKind::CodeScanning => "code_scanning_alert",
            AlertKind::Dependabot => "dependabot_alert",
            AlertKind::SecretScanning => "secret_scanning_alert",
        }
    }
}

/// Which alerts are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertQuery {
    /// `owner/name`, one of those that may be read.
    pub repository: String,
    pub kind: AlertKind,
    /// Only those that are open.
    pub open: bool,
    /// Most alerts of the answer, at most 500, newest first.
    pub limit: u32,
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneAlert {
    /// `owner/name`, one of those that may be read.
    pub repository: String,
    pub kind: AlertKind,
    pub number: u64,
}

/// A weakness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecurityAlert {
    pub number: u64,
    pub kind: AlertKind,
    /// `open`, `fixed`, `dismissed`, `resolved`, `auto_dismissed`.
    pub state: String,
    /// `critical`, `high`, `medium`, `low`, `error`, `warning`, `note`; absent where GitHub grades nothing (secrets).
    pub severity: Option<String>,
    /// Untrusted text.
    pub title: String,
    /// The rule (`js/xss`) or the type of secret (`github_personal_access_token`).
    pub rule: Option<String>,
    pub package: Option<String>,
    /// The versions that are affected, as the advisory writes them: `< 4.17.21`.
    pub affected: Option<String>,
    pub fixed_in: Option<String>,
    pub cve: Option<String>,
    pub ghsa: Option<String>,
    /// The file, or the manifest that names the package.
    pub path: Option<String>,
    pub line: Option<u64>,
    /// The commit that it was seen in.
    pub commit: Option<String>,
    pub created_at: Option<DateTime<Utc>>,
}

/// The answer to an [`AlertQuery`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertAnswer {
    pub repository: String,
    pub alerts: Vec<SecurityAlert>,
    /// There were more than the limit.
    pub cut: bool,
}

/// Two commits of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// `owner/name`, one of those that may be read.
    pub repository: String,
    /// The earlier commit.
    pub base: String,
    /// The later commit.
    pub head: String,
}

/// What a change adds that looks like a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeSecrets {
    pub repository: String,
    pub base: String,
    pub head: String,
    pub sightings: Vec<Sighting>,
    /// Files whose added lines were searched.
    pub files: u32,
    /// Files that GitHub shows no lines of: binary, or too large.
    pub unseen: u32,
    /// There are more files or sightings than are told.
    pub cut: bool,
}

/// Who knows of weaknesses in code.
#[async_trait]
pub trait Security: Send + Sync {
    /// The repository may be asked about.
    fn knows(&self, repository: &str) -> bool;

    async fn alerts(&self, query: &AlertQuery) -> Result<AlertAnswer, ToolError>;

    /// With the place where it was seen.
    async fn alert(&self, one: &OneAlert) -> Result<SecurityAlert, ToolError>;

    /// Searches the lines that are added between two commits.
    async fn secrets_in_change(&self, change: &Change) -> Result<ChangeSecrets, ToolError>;
}

#[async_trait]
impl Security for Github {
    fn knows(&self, repository: &str) -> bool {
        self.repositories.readable(repository).is_ok()
    }

    async fn alerts(&self, query: &AlertQuery) -> Result<AlertAnswer, ToolError> {
        self.repositories.readable(&query.repository)?;
        if !(1..=MOST).contains(&query.limit) {
            return Err(ToolError::refused(TOOL, format!("limit: ask for 1 to {MOST} alerts")));
        }
        let path = format!("/repos/{}/{}/alerts", query.repository, query.kind.path());
        let mut alerts = Vec::new();
        let mut next: Option<(String, String)> = None;
        loop {
            let mut parameters = vec![("per_page", PAGE)];
            parameters.extend(query.open.then_some(("state", "open")));
            parameters.extend((query.kind == AlertKind::SecretScanning).then_some(("hide_secret", "true")));
            parameters.extend(next.as_ref().map(|(name, value)| (name.as_str(), value.as_str())));
            let (page, headers) = self.page::<Vec<Written>>(&path, &parameters).await?;
            alerts.extend(page.into_iter().map(|one| one.alert(query.kind)));
            let following = next_page(&headers);
            // A link that leads nowhere new would be followed for ever.
            let turns = following.is_some() && following == next;
            next = following;
            if next.is_none() || turns || alerts.len() > query.limit as usize {
                break;
            }
        }
        let cut = alerts.len() > query.limit as usize || next.is_some();
        alerts.truncate(query.limit as usize);
        Ok(AlertAnswer {
            repository: query.repository.clone(),
            alerts,
            cut,
        })
    }

    async fn alert(&self, one: &OneAlert) -> Result<SecurityAlert, ToolError> {
        self.repositories.readable(&one.repository)?;
        let path = format!("/repos/{}/{}/alerts/{}", one.repository, one.kind.path(), one.number);
        let hidden: &[(&str, &str)] = match one.kind {
            AlertKind::SecretScanning => &[("hide_secret", "true")],
            _ => &[],
        };
        let mut alert = self.api.ask::<Written>(&path, hidden).await?.alert(one.kind);
        if one.kind == AlertKind::SecretScanning {
            let places: Vec<Location> = self
                .api
                .ask(&format!("{path}/locations"), &[("per_page", "10")])
                .await?;
            if let Some(details) = places.into_iter().find_map(|place| place.details) {
                alert.path = details.path.map(|path| shown(&path));
                alert.line = details.start_line;
                alert.commit = details.commit_sha.filter(|sha| commit_name(sha));
            }
        }
        Ok(alert)
    }

    async fn secrets_in_change(&self, change: &Change) -> Result<ChangeSecrets, ToolError> {
        let Change { repository, base, head } = change;
        self.repositories.readable(repository)?;
        for (name, sha) in [("base", base), ("head", head)] {
            if !commit_name(sha) {
                let cause = format!("{name} is no commit: 7 to 64 hexadecimal digits");
                return Err(ToolError::refused(TOOL, cause));
            }
        }
        let path = format!("/repos/{repository}/compare/{base}...{head}");
        let (compared, headers) = self.page::<Compared>(&path, &[("per_page", "1")]).await?;
        let mut found = ChangeSecrets {
            repository: repository.clone(),
            base: base.clone(),
            head: head.clone(),
            sightings: Vec::new(),
            files: 0,
            unseen: 0,
            // GitHub lists 300 files of a comparison, whatever its page of commits is.
            cut: compared.files.len() >= 300 && next_page(&headers).is_some(),
        };
        for file in compared.files {
            match file.patch {
                Some(patch) => {
                    found.files += 1;
                    found.sightings.extend(in_diff(&patch, &shown(&file.filename)));
                }
                None => found.unseen += 1,
            }
        }
        found.cut |= found.sightings.len() > SIGHTINGS;
        found.sightings.truncate(SIGHTINGS);
        Ok(found)
    }
}

impl Github {
    async fn page<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<(T, HeaderMap), ToolError> {
        let answer = self.api.get(path, query).await;
        answer.map_err(|failure| failure.advised(advice).of_a_question(TOOL))
    }
}

/// How the page behind this one is asked for: `page=2`, or `after=CURSOR`.
fn next_page(headers: &HeaderMap) -> Option<(String, String)> {
    let links = headers.get(LINK)?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains(r#"rel="next""#))?;
    let address = next.split('<').nth(1)?.split('>').next()?;
    let url = Url::parse(address).ok()?;
    let found = url.query_pairs().find(|(name, _)| name == "page" || name == "after")?;
    Some((found.0.into_owned(), found.1.into_owned()))
}

fn shown(text: &str) -> String {
    shorten(&redact(text), SHOWN)
}

/// An alert of any of the lists. What is not here, the secret above all, is not taken in.
#[derive(Deserialize)]
struct Written {
    number: u64,
    state: String,
    created_at: Option<DateTime<Utc>>,
    rule: Option<Rule>,
    most_recent_instance: Option<Instance>,
    secret_type: Option<String>,
    secret_type_display_name: Option<String>,
    dependency: Option<Dependency>,
    security_advisory: Option<Advisory>,
    security_vulnerability: Option<Vulnerability>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rule {
    id: Option<String>,
    severity: Option<String>,
    security_severity_level: Option<String>,
    description: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Instance {
    commit_sha: Option<String>,
    location: Option<Spot>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spot {
    path: Option<String>,
    start_line: Option<u64>,
    commit_sha: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Location {
    details: Option<Spot>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Dependency {
    package: Option<Package>,
    manifest_path: Option<String>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Advisory {
    ghsa_id: Option<String>,
    cve_id: Option<String>,
    summary: Option<String>,
    severity: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Vulnerability {
    severity: Option<String>,
    vulnerable_version_range: Option<String>,
    first_patched_version: Option<Patched>,
}

#[derive(Deserialize)]
struct Patched {
    identifier: String,
}

#[derive(Deserialize)]
struct Compared {
    #[serde(default)]
    files: Vec<File>,
    /// Every comparison has it; without, the answer is something else.
    #[serde(rename = "total_commits")]
    _total: u64,
}

#[derive(Deserialize)]
struct File {
    filename: String,
    patch: Option<String>,
}

impl Written {
    fn alert(self, kind: AlertKind) -> SecurityAlert {
        let rule = self.rule.unwrap_or_default();
        let instance = self.most_recent_instance.unwrap_or_default();
        let spot = instance.location.unwrap_or_default();
        let dependency = self.dependency.unwrap_or_default();
        let advisory = self.security_advisory.unwrap_or_default();
        let vulnerability = self.security_vulnerability.unwrap_or_default();
        let title = [
            advisory.summary,
            rule.description,
            self.secret_type_display_name,
            self.secret_type.clone(),
        ];
        let severity = [
            rule.security_severity_level,
            rule.severity,
            vulnerability.severity,
            advisory.severity,
        ];
        SecurityAlert {
            number: self.number,
            kind,
            state: shorten(&redact(&self.state), 40),
            severity: severity
                .into_iter()
                .flatten()
                .next()
                .map(|word| shorten(&redact(&word), 40)),
            title: title
                .into_iter()
                .flatten()
                .next()
                .map(|text| shown(&text))
                .unwrap_or_default(),
            rule: rule.id.or(self.secret_type).map(|id| shown(&id)),
            package: dependency.package.map(|package| shown(&package.name)),
            affected: vulnerability.vulnerable_version_range.map(|range| shown(&range)),
            fixed_in: vulnerability
                .first_patched_version
                .map(|fixed| shown(&fixed.identifier)),
            cve: advisory.cve_id.map(|id| shown(&id)),
            ghsa: advisory.ghsa_id.map(|id| shown(&id)),
            path: spot.path.or(dependency.manifest_path).map(|path| shown(&path)),
            line: spot.start_line,
            commit: instance.commit_sha.filter(|sha| commit_name(sha)),
            created_at: self.created_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pages() {
        let check = |link: &str, expected: Option<(&str, &str)>| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, link.parse().unwrap());
            let found = next_page(&headers);
            assert_eq!(
                found.as_ref().map(|(a, b)| (a.as_str(), b.as_str())),
                expected,
                "{link}"
            );
        };
        let page = |name: &str, rel: &str| format!(r#"<https://api.github.com/x?per_page=1&{name}>; rel="{rel}""#);
        check(&page("page=2", "next"), Some(("page", "2")));
        check(
            &format!("{}, {}", page("before=a", "prev"), page("after=Y3V%3D", "next")),
            Some(("after", "Y3V=")),
        );
        check(&page("page=2", "last"), None);
        check("nonsense; rel=\"next\"", None);
    }

    #[test]
    fn a_secret_is_not_taken_in() {
        let written = json!({"number": 2, "state": "open", "secret": "hunter2hunter2", "secret_type": "x_token",
            "secret_type_display_name": "X Token", "created_at": "2026-11-20T10:00:00Z"});
        let alert = serde_json::from_value::<Written>(written)
            .unwrap()
            .alert(AlertKind::SecretScanning);
        assert_eq!(
            (alert.title.as_str(), alert.rule.as_deref()),
            ("X Token", Some("x_token"))
        );
        assert!(!format!("{alert:?}").contains("hunter2"));
    }
}
