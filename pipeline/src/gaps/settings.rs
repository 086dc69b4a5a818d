//! `[gaps]`: whose missed deliveries are fetched.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::HumanDuration;
use stream::secret::Secret;
use tools::ToolError;
use tools::github::hooks::{Hook, Owner};
use tools::settings::{repository_name, url_fault};

use super::{doubled, plain_name};

/// Bytes taken in of one answer. GitHub's payloads have at most 25 MB, and are written with white space.
const LARGEST_ANSWER: usize = 64 << 20;

/// Deliveries that a sender could not get through, and that are fetched afterwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GapSettings {
    /// How often it is looked. Shorter: gaps close sooner, and more of the sender's limit of requests is used.
    pub every: HumanDuration,
    /// How far it is looked back. GitHub keeps deliveries for three days.
    pub within: HumanDuration,
    /// Webhooks of GitHub by name. Names are of lower-case letters, digits and `-`.
    pub github: BTreeMap<String, GithubHook>,
}

/// A webhook of a repository or of an organisation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GithubHook {
    /// Address of the REST API; of an Enterprise Server `https://HOST/api/v3`.
    pub url: String,
    /// Token that may read the webhook (`Webhooks: read`; of an organisation `Organization webhooks: read`).
    pub token: Secret,
    /// The repository, as `owner/name`.
    pub repository: String,
    /// The organisation, instead of a repository.
    pub organization: String,
    /// The webhook's number: the last part of its page's address.
    pub hook: u64,
    /// How long one question may take.
    pub timeout: HumanDuration,
}

impl Default for GapSettings {
    fn default() -> Self {
        GapSettings {
            every: HumanDuration::from_secs(5 * 60),
            within: HumanDuration::from_secs(3 * 86_400),
            github: BTreeMap::new(),
        }
    }
}

impl Default for GithubHook {
    fn default() -> Self {
        GithubHook {
            url: "https://api.github.com".to_owned(),
            token: Secret::default(),
            repository: String::new(),
            organization: String::new(),
            hook: 0,
            timeout: HumanDuration::from_secs(30),
        }
    }
}

impl GithubHook {
    /// A client for it.
    pub fn connect(&self) -> Result<Hook, ToolError> {
        let owner = match self.repository.is_empty() {
            true => Owner::Organization(self.organization.clone()),
            false => Owner::Repository(self.repository.clone()),
        };
        let (token, timeout) = (self.token.clone(), self.timeout.get());
        Hook::new(&self.url, token, &owner, self.hook, timeout, LARGEST_ANSWER)
    }
}

impl GapSettings {
    /// Every fault, as key below `gaps` and problem.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        for (key, span) in [("every", self.every), ("within", self.within)] {
            if span.get().is_zero() {
                faults.push((key.to_owned(), "it is 0: write for example \"5m\"".to_owned()));
            }
        }
        for (name, hook) in &self.github {
            let mut fault = |field: &str, problem: String| {
                let dot = if field.is_empty() { "" } else { "." };
                faults.push((format!("github.{name}{dot}{field}"), problem));
            };
            if !plain_name(name) {
                let problem = "the name may have lower-case letters, digits and `-` only";
                fault("", problem.to_owned());
            }
            if let Some(problem) = url_fault("it", &hook.url, true) {
                fault("url", problem);
            }
            if hook.token.is_empty() {
                let problem = "missing: write a reference to a token that may read the webhook";
                fault("token", problem.to_owned());
            }
            match (hook.repository.is_empty(), hook.organization.is_empty()) {
                (false, true) if !repository_name(&hook.repository) => {
                    fault("repository", "no repository: they look like `owner/name`".to_owned());
                }
                (true, false) if !repository_name(&format!("{}/x", hook.organization)) => {
                    fault("organization", "no name of an organisation".to_owned());
                }
                (false, true) | (true, false) => {}
                _ => fault("repository", "write either repository or organization".to_owned()),
            }
            if hook.hook == 0 {
                fault("hook", "missing: write the webhook's number".to_owned());
            }
            if hook.timeout.get().is_zero() {
                fault("timeout", "it is 0: write for example \"30s\"".to_owned());
            }
        }
        for name in doubled(&self.github) {
            let problem = "another entry is of the same webhook: remove one of them";
            faults.push((format!("github.{name}.hook"), problem.to_owned()));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults() {
        let check = |change: &dyn Fn(&mut GithubHook), expected: &[&str]| {
            let mut hook = GithubHook {
                token: "hunter2".into(),
                repository: "shop/api-server".into(),
                hook: 7,
                ..GithubHook::default()
            };
            change(&mut hook);
            let settings = GapSettings {
                github: [("shop".to_owned(), hook)].into(),
                ..GapSettings::default()
            };
            let keys: Vec<String> = settings.faults().into_iter().map(|(key, _)| key).collect();
            assert_eq!(
                keys,
                expected
                    .iter()
                    .map(|key| format!("github.shop.{key}"))
                    .collect::<Vec<_>>()
            );
            assert!(!format!("{settings:?} {:?}", settings.faults()).contains("hunter2"));
        };
        check(&|_| (), &[]);
        check(&|hook| hook.token = Secret::default(), &["token"]);
        check(&|hook| hook.repository.clear(), &["repository"]);
        check(&|hook| hook.repository = "shop".into(), &["repository"]);
        check(&|hook| hook.organization = "shop".into(), &["repository"]);
        check(
            &|hook| (hook.repository, hook.organization) = (String::new(), "shop".into()),
            &[],
        );
        check(&|hook| hook.hook = 0, &["hook"]);
        check(&|hook| hook.url = "http://github.example".into(), &["url"]);
        check(&|hook| hook.timeout = HumanDuration::from_secs(0), &["timeout"]);
        let hook = GithubHook {
            token: "t".into(),
            repository: "shop/a".into(),
            hook: 7,
            ..GithubHook::default()
        };
        let twice = GapSettings {
            github: [("a".to_owned(), hook.clone()), ("b".to_owned(), hook)].into(),
            ..GapSettings::default()
        };
        assert_eq!(twice.faults().len(), 1);
    }
}
