//! `[policy]`: where the rules about remediations stand. They are read when the configuration is, so that a faulty one stops the start
//! and not the first fix.

use std::path::PathBuf;

use model::approval::{Policy, Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rules about what may be done to the world. Without a file a human is asked about everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PolicySettings {
    /// A TOML file of `[[rule]]` tables: `name`, `effect` (`allow`, `ask`, `forbid`), `actions` (`restart`, `rollback`, `scale`,
    /// `github_issue`, `github_comment`, `github_rerun`, `jira_issue`, `jira_comment`, `jira_transition`), `namespaces` (for GitHub
    /// repositories, for Jira projects), `workloads` (for GitHub the number of the issue or run, for Jira the ticket), `environments`,
    /// `budget`, `must_match`, `must_not_match`. The strictest rule that matches wins. One that allows must name actions and namespaces and
    /// have a `budget` of `executions`, `per_seconds` and, for workloads, `pods`. `docs/policy.toml` has a rule for each action. Empty: no
    /// rules.
    pub file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Rule>,
}

impl PolicySettings {
    /// The rules, or what is wrong with them.
    pub fn load(&self) -> Result<Policy, Vec<String>> {
        if self.file.as_os_str().is_empty() {
            return Ok(Policy::default());
        }
        let shown = self.file.display();
        let text = std::fs::read_to_string(&self.file).map_err(|e| vec![format!("{shown} cannot be read: {e}")])?;
        let file: File = toml_edit::de::from_str(&text).map_err(|e| vec![format!("{shown}: {e}")])?;
        Policy::new(file.rule).map_err(|faults| faults.iter().map(|fault| format!("{shown}: {fault}")).collect())
    }

    /// The rules of settings that were checked. Should the file have gone since, nothing is allowed.
    pub fn rules(&self) -> Policy {
        self.load().unwrap_or_else(|faults| {
            tracing::error!(
                ?faults,
                "the policy cannot be read any more: a human is asked about everything"
            );
            Policy::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use model::ActionKind;
    use model::approval::Effect;

    use super::*;

    fn load(text: &str) -> Result<Policy, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.toml");
        std::fs::write(&file, text).unwrap();
        PolicySettings { file }.load()
    }

    const ALLOW: &str = r#"
[[rule]]
name = "restarts"
effect = "allow"
actions = ["restart"]
namespaces = ["staging"]
budget = { executions = 3, per_seconds = 3600, pods = 10 }
must_match = [{ action = "restart", namespace = "staging" }]
must_not_match = [{ action = "scale", namespace = "staging" }, { action = "restart", namespace = "production" }]
"#;

    #[test]
    fn rules_are_read_with_their_examples() {
        assert_eq!(load(ALLOW).unwrap().rules().len(), 1);
        assert_eq!(PolicySettings::default().load().unwrap(), Policy::default());
    }

    #[test]
    fn faults_name_rule_and_field() {
        let check = |text: &str, words: &[&str]| {
            let faults = load(text).unwrap_err().join("\n");
            assert!(words.iter().all(|word| faults.contains(word)), "{faults}");
        };
        check(
            &ALLOW.replace("namespaces = [\"staging\"]", "namespaces = [\"*\"]"),
            &["restarts", "namespaces"],
        );
        check(
            &ALLOW.replace("action = \"scale\"", "action = \"restart\""),
            &["restarts", "must_not_match"],
        );
        check(&ALLOW.replace("effect", "efect"), &["efect"]);
        check(&ALLOW.replace("\"restart\"]", "\"delete\"]"), &["delete"]);
    }

    /// Every action has its rule, with examples, and is asked about.
    #[test]
    fn the_shipped_policy_asks_about_every_action() {
        let policy = load(include_str!("../../../docs/policy.toml")).unwrap();
        for kind in ActionKind::ALL {
            let own: Vec<&Rule> = policy.rules().iter().filter(|rule| rule.actions == [*kind]).collect();
            assert_eq!(own.len(), 1, "{}", kind.as_str());
            assert_eq!(own[0].effect, Effect::Ask, "{}", kind.as_str());
            assert!(
                !own[0].must_match.is_empty() && !own[0].must_not_match.is_empty(),
                "{}",
                kind.as_str()
            );
        }
    }

    #[test]
    fn a_rule_for_what_touches_no_pods_needs_no_pods() {
        let comments = ALLOW
            .replace("restart", "jira_comment")
            .replace("staging", "OPS")
            .replace(", pods = 10", "");
        assert_eq!(load(&comments).unwrap().rules().len(), 1);
        let pods = ALLOW.replace(", pods = 10", "");
        assert!(load(&pods).unwrap_err()[0].contains("budget"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let settings = PolicySettings {
            file: "/nowhere/policy.toml".into(),
        };
        assert!(settings.load().unwrap_err()[0].contains("/nowhere/policy.toml"));
    }
}
