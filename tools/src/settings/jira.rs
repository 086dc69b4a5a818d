//! `[tools.jira]`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::secret::Secret;

use super::{project_key, token_fault, url_fault, write_faults, zeros};

/// A Jira: which tickets are open about a service; and, where `write` names a project, tickets, comments and changes of status, once
/// somebody granted them.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JiraSettings {
    /// Address: `https://example.atlassian.net`, or that of a Data Center. Empty: there is none.
    pub url: String,
    /// Jira Cloud: the mail address that the API token belongs to. Empty: a Data Center, whose tokens stand alone.
    pub user: String,
    /// API token (Cloud), or personal access token (Data Center).
    pub token: Option<Secret>,
    /// Token that the executor alone uses, of the same `user`. Absent: `token` is used.
    pub write_token: Option<Secret>,
    /// Keys of the projects that may be read, such as `OPS`. No others are, whoever asks.
    pub projects: Vec<String>,
    /// Those of `projects` in which something may be proposed and, once granted, done. Empty: nothing is written.
    pub write: Vec<String>,
    /// The project, one of `write`, into which the postmortem writer proposes to write what is to be done after an incident. Empty: it
    /// proposes nothing.
    pub follow_ups: String,
    /// Issue type of such a ticket.
    pub issue_type: String,
    /// Seconds that one question may take.
    pub timeout_s: u64,
    /// Most bytes taken in of one answer. Larger answers are refused.
    pub max_answer_bytes: usize,
    /// Most tickets handed on.
    #[schemars(range(min = 1, max = 100))]
    pub max_tickets: u32,
}

impl Default for JiraSettings {
    fn default() -> Self {
        JiraSettings {
            url: String::new(),
            user: String::new(),
            token: None,
            write_token: None,
            projects: Vec::new(),
            write: Vec::new(),
            follow_ups: String::new(),
            issue_type: "Task".to_owned(),
            timeout_s: 10,
            max_answer_bytes: 4 << 20,
            max_tickets: 20,
        }
    }
}

impl JiraSettings {
    /// Whether anybody wrote where it is.
    pub fn configured(&self) -> bool {
        !self.url.is_empty() || self.token.is_some() || !self.user.is_empty() || !self.projects.is_empty()
    }

    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        faults.extend(url_fault(
            "url",
            &self.url,
            self.token.is_some() || self.write_token.is_some(),
        ));
        faults.extend(token_fault(self.token.as_ref()));
        if !self.user.is_empty() && self.token.is_none() {
            faults.push("token is missing: write a reference to the API token of `user`".to_owned());
        }
        if self.user.contains(':') || self.user.chars().any(char::is_control) {
            faults.push("user holds a colon or control characters: write the mail address alone".to_owned());
        }
        if self.projects.is_empty() {
            faults.push("projects is empty: write the keys of the projects that may be read".to_owned());
        }
        for key in self.projects.iter().filter(|key| !project_key(key)) {
            faults.push(format!(
                "projects holds `{key}`, which is no key of a project: they look like OPS"
            ));
        }
        faults.extend(write_faults("projects", &self.projects, &self.write));
        if !self.write.is_empty() && self.token.is_none() && self.write_token.is_none() {
            faults.push(
                "write_token is missing: nobody writes into Jira without a token; write a reference to one".to_owned(),
            );
        }
        if !self.follow_ups.is_empty() && !self.write.contains(&self.follow_ups) {
            faults.push(format!(
                "follow_ups is `{}`, which is not one of `write`: add it there, or leave follow_ups out",
                self.follow_ups
            ));
        }
        if self.issue_type.trim().is_empty() || self.issue_type.chars().count() > 60 {
            faults.push("issue_type must be the name of an issue type, such as Task".to_owned());
        }
        faults.extend(token_fault(self.write_token.as_ref()).map(|fault| format!("write_{fault}")));
        faults.extend(zeros(&[
            ("timeout_s", self.timeout_s),
            ("max_answer_bytes", self.max_answer_bytes as u64),
            ("max_tickets", self.max_tickets.into()),
        ]));
        faults
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }
}
