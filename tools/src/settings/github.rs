//! `[tools.github]`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::secret::Secret;

use super::{repository_name, token_fault, url_fault, write_faults, zeros};

/// GitHub, or a GitHub Enterprise Server: what changed, what was deployed, what the workflows made of it; and, where `write` names a
/// repository, issues, comments and failed jobs that are run again, once somebody granted it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GithubSettings {
    /// Address of the REST API; of an Enterprise Server `https://HOST/api/v3`.
    pub url: String,
    /// Token that may read the repositories: contents, deployments, actions, pull requests, issues.
    pub token: Option<Secret>,
    /// Token that the executor alone uses; it may write issues and actions. Absent: `token` is used.
    pub write_token: Option<Secret>,
    /// Repositories that may be read, as `owner/name`. No others are, whoever asks. A service's repository is the one that is called
    /// like it.
    pub repositories: Vec<String>,
    /// Those of `repositories` in which something may be proposed and, once granted, done. Empty: nothing is written.
    pub write: Vec<String>,
    /// Seconds that one question may take.
    pub timeout_s: u64,
    /// Most bytes taken in of one answer. Larger answers are refused.
    pub max_answer_bytes: usize,
    /// Most commits of one comparison handed on.
    #[schemars(range(min = 1, max = 100))]
    pub max_commits: usize,
    /// Most characters of a diff handed on, all files together.
    #[schemars(range(min = 1, max = 200_000))]
    pub max_diff_chars: usize,
}

impl Default for GithubSettings {
    fn default() -> Self {
        GithubSettings {
            url: "https://api.github.com".to_owned(),
            token: None,
            write_token: None,
            repositories: Vec::new(),
            write: Vec::new(),
            timeout_s: 10,
            max_answer_bytes: 8 << 20,
            max_commits: 50,
            max_diff_chars: 20_000,
        }
    }
}

impl GithubSettings {
    /// Whether anybody wrote what may be read.
    pub fn configured(&self) -> bool {
        self.token.is_some() || !self.repositories.is_empty() || !self.write.is_empty()
    }

    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        faults.extend(url_fault(
            "url",
            &self.url,
            self.token.is_some() || self.write_token.is_some(),
        ));
        faults.extend(token_fault(self.token.as_ref()));
        if self.repositories.is_empty() {
            faults.push("repositories is empty: write the repositories that may be read, as `owner/name`".to_owned());
        }
        for name in self.repositories.iter().filter(|name| !repository_name(name)) {
            faults.push(format!(
                "repositories holds `{name}`, which is no repository: they look like `owner/name`"
            ));
        }
        faults.extend(write_faults("repositories", &self.repositories, &self.write));
        if !self.write.is_empty() && self.token.is_none() && self.write_token.is_none() {
            faults.push(
                "write_token is missing: nobody writes into GitHub without a token; write a reference to one"
                    .to_owned(),
            );
        }
        faults.extend(token_fault(self.write_token.as_ref()).map(|fault| format!("write_{fault}")));
        faults.extend(zeros(&[
            ("timeout_s", self.timeout_s),
            ("max_answer_bytes", self.max_answer_bytes as u64),
            ("max_commits", self.max_commits as u64),
            ("max_diff_chars", self.max_diff_chars as u64),
        ]));
        faults
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }
}
