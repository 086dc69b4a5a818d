//! The policy: rules that allow, ask or forbid. The strictest that matches wins; where none does, a human is asked.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::action::{ActionKind, hex};
use crate::proposal::Proposal;

/// What a rule says. The order is from mild to strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Allow,
    Ask,
    Forbid,
}

/// How much a rule allows, per namespace, repository or project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Executions within `per_seconds`.
    pub executions: u32,
    pub per_seconds: u32,
    /// Most pods that one execution may touch. May be left out where no action of the rule touches pods.
    #[serde(default)]
    pub pods: u32,
}

/// A case that a rule must, or must not, match: checked when the policy is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    pub action: ActionKind,
    pub namespace: String,
    #[serde(default)]
    pub workload: String,
    #[serde(default)]
    pub environment: String,
}

/// A rule. An empty list means "any", except in a rule that allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub name: String,
    pub effect: Effect,
    #[serde(default)]
    pub actions: Vec<ActionKind>,
    /// Namespaces; for actions on GitHub repositories (`owner/name`), for actions on Jira keys of projects.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Names of workloads; for actions on GitHub the number of the issue, pull request or run, for actions on Jira the ticket's key.
    /// Nothing has a name where something new is written.
    #[serde(default)]
    pub workloads: Vec<String>,
    #[serde(default)]
    pub environments: Vec<String>,
    /// Needed to allow.
    #[serde(default)]
    pub budget: Option<Budget>,
    #[serde(default)]
    pub must_match: Vec<Example>,
    #[serde(default)]
    pub must_not_match: Vec<Example>,
}

/// The rules, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
}

/// What is wrong with a policy, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule:?}: {field}: {problem}")]
pub struct PolicyFault {
    pub rule: String,
    pub field: &'static str,
    pub problem: String,
}

/// What was executed under which rule, for budgets. Times are when the grant was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage(pub Vec<(String, DateTime<Utc>)>);

/// What the policy says about a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub effect: Effect,
    /// The rule that decided; `None` where no rule matches.
    pub rule: Option<String>,
    /// For people.
    pub why: String,
}

impl Policy {
    /// Checks every rule and its examples.
    pub fn new(rules: Vec<Rule>) -> Result<Self, Vec<PolicyFault>> {
        let mut faults = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for rule in &rules {
            let mut fault = |field, problem: String| {
                faults.push(PolicyFault {
                    rule: rule.name.clone(),
                    field,
                    problem,
                });
            };
            if rule.name.is_empty() || !seen.insert(&rule.name) {
                fault("name", "every rule needs a name of its own".to_owned());
            }
            if rule.effect == Effect::Allow {
                if rule.actions.is_empty() {
                    fault("actions", "a rule that allows must name its actions".to_owned());
                }
                if rule.namespaces.is_empty() || rule.namespaces.iter().any(|name| name.contains('*')) {
                    fault(
                        "namespaces",
                        "a rule that allows must name its namespaces, without *".to_owned(),
                    );
                }
                match rule.budget {
                    None => fault("budget", "a rule that allows needs a budget".to_owned()),
                    Some(budget) if budget.executions == 0 || budget.per_seconds == 0 => {
                        fault("budget", "every number of a budget must be above 0".to_owned());
                    }
                    Some(budget) if budget.pods == 0 && rule.actions.iter().any(|kind| kind.on_workloads()) => {
                        fault("budget", "every number of a budget must be above 0".to_owned());
                    }
                    Some(_) => {}
                }
            }
            for example in &rule.must_match {
                if !rule.matches(example) {
                    fault("must_match", format!("the rule does not match {}", example.describe()));
                }
            }
            for example in &rule.must_not_match {
                if rule.matches(example) {
                    fault("must_not_match", format!("the rule matches {}", example.describe()));
                }
            }
        }
        if faults.is_empty() {
            Ok(Policy { rules })
        } else {
            Err(faults)
        }
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Hex SHA-256: which policy decided.
    pub fn hash(&self) -> String {
        // A list of structs of words and numbers always encodes.
        hex(&Sha256::digest(serde_json::to_vec(&self.rules).unwrap_or_default()))
    }

    /// The strictest rule that matches decides. A budget that is used up turns "allow" into "ask", and so does a proposer that is no
    /// agent: a rule allows what our own agents propose on cited evidence, not what anybody says over an API.
    pub fn decide(&self, proposal: &Proposal, usage: &Usage, now: DateTime<Utc>) -> Decision {
        let place = proposal.action.place();
        let case = Example {
            action: proposal.action.kind(),
            namespace: place.scope,
            workload: place.name,
            environment: proposal.environment.clone(),
        };
        let matching: Vec<&Rule> = self.rules.iter().filter(|rule| rule.matches(&case)).collect();
        let Some(strictest) = matching.iter().map(|rule| rule.effect).max() else {
            return Decision {
                effect: Effect::Ask,
                rule: None,
                why: "no rule matches, and nothing is allowed unless a rule says so".to_owned(),
            };
        };
        let mut spent = None;
        for rule in matching.into_iter().filter(|rule| rule.effect == strictest) {
            match rule.budget.filter(|_| strictest == Effect::Allow) {
                None => {
                    return Decision {
                        effect: strictest,
                        rule: Some(rule.name.clone()),
                        why: format!("rule {} says so", rule.name),
                    };
                }
                Some(budget) => match budget.refuses(&rule.name, proposal, usage, now) {
                    None if !proposal.by_agent() => {
                        return Decision {
                            effect: Effect::Ask,
                            rule: Some(rule.name.clone()),
                            why: format!(
                                "rule {} allows it to agents, and {} is none",
                                rule.name, proposal.proposed_by
                            ),
                        };
                    }
                    None => {
                        return Decision {
                            effect: Effect::Allow,
                            rule: Some(rule.name.clone()),
                            why: format!("rule {} allows it within its budget", rule.name),
                        };
                    }
                    Some(why) => spent = Some((rule.name.clone(), why)),
                },
            }
        }
        let (rule, why) = spent.unzip();
        Decision {
            effect: Effect::Ask,
            rule,
            why: why.unwrap_or_default(),
        }
    }
}

impl Rule {
    fn matches(&self, case: &Example) -> bool {
        let any = |list: &[String], word: &str| list.is_empty() || list.iter().any(|one| one == "*" || one == word);
        (self.actions.is_empty() || self.actions.contains(&case.action))
            && any(&self.namespaces, &case.namespace)
            && any(&self.workloads, &case.workload)
            && any(&self.environments, &case.environment)
    }
}

impl Budget {
    fn refuses(&self, rule: &str, proposal: &Proposal, usage: &Usage, now: DateTime<Utc>) -> Option<String> {
        let pods = proposal.blast_radius.pods;
        if pods > self.pods {
            return Some(format!("it touches {pods} pods, rule {rule} allows {}", self.pods));
        }
        let since = now - TimeDelta::seconds(i64::from(self.per_seconds));
        let used = usage.0.iter().filter(|(name, at)| name == rule && *at > since).count();
        (used >= self.executions as usize).then(|| {
            format!(
                "the budget of rule {rule} is used up: {used} of {} in {} s",
                self.executions, self.per_seconds
            )
        })
    }
}

impl Example {
    fn describe(&self) -> String {
        format!(
            "{} of {:?} in {:?}",
            self.action.as_str(),
            self.workload,
            self.namespace
        )
    }
}
