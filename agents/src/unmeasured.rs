//! Why nothing could be measured: the metric store does not reach the service, or cannot evaluate the rule that made the alert.

use model::investigation::Evidence;

use crate::gather::Gather;
use crate::subject::Subject;
use crate::text;

/// What the metric store says about its targets and about the alert's rule, for people; nothing where all is well, or nobody can say.
pub async fn why(evidence: &Evidence, tools: &mut Gather<'_>) -> Vec<String> {
    let mut said = Vec::new();
    let subject = Subject::of(evidence);
    if let Some(service) = subject.service
        && let Ok(answer) = tools.broken_targets(service).await
        && answer.down > 0
    {
        let error = answer.targets.iter().find_map(|target| target.last_error.as_deref());
        let error = error
            .map(|error| format!(": {}", text::line(error, 200)))
            .unwrap_or_default();
        said.push(format!(
            "why nothing is measured: {} of {} targets of the job {} do not answer{error}",
            answer.down,
            answer.up + answer.down,
            text::line(service, 80)
        ));
    }
    let name = evidence.members.first().map(|member| member.title.as_str());
    if let Some(name) = name.filter(|name| alert_name(name))
        && let Ok(rules) = tools.alert_rules(name).await
        && let Some(rule) = rules.iter().find(|rule| rule.health == "err")
    {
        let error = text::line(rule.last_error.as_deref().unwrap_or("no reason is told"), 200);
        said.push(format!(
            "whether {name} still holds: its rule cannot be evaluated: {error}"
        ));
    }
    said
}

/// The name of an alert, as rules have it, and no sentence.
fn alert_name(title: &str) -> bool {
    let first = title
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first
        && title.len() <= 120
        && title
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_:-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_alerts() {
        for name in ["HighMemory", "kube_pod:oom", "Disk-Full"] {
            assert!(alert_name(name), "{name}");
        }
        for sentence in ["High memory", "", "7up", "x{job=\"a\"}", "../rules"] {
            assert!(!alert_name(sentence), "{sentence}");
        }
    }
}
