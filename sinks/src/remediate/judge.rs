//! What a check after the execution sees: pure.

use model::proposal::{Proposal, TargetState};
use model::remediation::Health;
use model::{Action, Workload};
use tools::observe::{ActiveAlert, Pod};

/// Restarts of a new pod from which on things are worse than before.
const CRASHES: u32 = 2;

/// What the pods and the alerts say.
///
/// Recovered: every wanted pod is ready, for a restart or rollback none of them is older than the plan, and no alert about the workload
/// fires. Worse: fewer are ready than before, and a pod that began since crashed again and again.
pub(super) fn judge(
    proposal: &Proposal,
    workload: &Workload,
    before: &TargetState,
    state: &TargetState,
    pods: &[Pod],
    alerts: Option<Result<Vec<ActiveAlert>, String>>,
) -> (Health, String) {
    let replaces = !matches!(proposal.action, Action::Scale { .. });
    // A cluster tells whole seconds.
    let planned_at = proposal.proposed_at.timestamp();
    let old = |pod: &&Pod| pod.started_at.is_none_or(|at| at.timestamp() < planned_at);
    let fresh: Vec<&Pod> = pods.iter().filter(|pod| !old(pod)).collect();
    let crashing = fresh.iter().filter(|pod| pod.restarts >= CRASHES).count();
    let ready = pods.iter().filter(|pod| pod.ready).count();
    let told = format!("{ready} of {} pods ready, {} began since", state.replicas, fresh.len());
    if crashing > 0 && state.ready < before.ready {
        return (Health::Worse, format!("{told}, {crashing} of them crash"));
    }
    let replaced = !replaces || pods.iter().filter(old).count() == 0;
    if state.ready < state.replicas || ready < state.replicas as usize || !replaced {
        return (Health::NotYet, told);
    }
    match alerts {
        None => (
            Health::Recovered,
            format!("{told}; no metrics are configured to see the alert by"),
        ),
        Some(Err(cause)) => (Health::NotYet, format!("{told}; the alerts cannot be seen: {cause}")),
        Some(Ok(alerts)) => {
            let namespace = Some(workload.namespace.as_str());
            match firing(&alerts, &workload.name, namespace) {
                0 => (Health::Recovered, format!("{told}; no alert about it fires")),
                n => (Health::NotYet, format!("{told}; {n} alerts about it still fire")),
            }
        }
    }
}

/// What became of an action outside the cluster, held against the alerts: a deployment that was run again helped only where no alert about the
/// service fires any more. What is only written is done when it stands.
pub(super) fn beside_alerts(
    action: &Action,
    (health, note): (Health, String),
    alerts: Option<Result<Vec<ActiveAlert>, String>>,
) -> (Health, String) {
    let (Action::GithubRerun { repository, .. }, Health::Recovered) = (action, health) else {
        return (health, note);
    };
    // A service's repository is the one that is called like it.
    let service = repository.rsplit('/').next().unwrap_or(repository);
    match alerts {
        None => (health, note),
        Some(Err(cause)) => (Health::NotYet, format!("{note}; the alerts cannot be seen: {cause}")),
        Some(Ok(alerts)) => match firing(&alerts, service, None) {
            0 => (health, format!("{note}; no alert about {service} fires")),
            n => (Health::NotYet, format!("{note}; {n} alerts about {service} still fire")),
        },
    }
}

/// Alerts that fire about a workload or a service: by their labels for service, workload or pod, in the same namespace where both name one.
fn firing(alerts: &[ActiveAlert], name: &str, namespace: Option<&str>) -> usize {
    let about = |alert: &&ActiveAlert| {
        let label = |name: &str| alert.labels.get(name).map(String::as_str);
        let same_namespace = namespace.is_none_or(|own| label("namespace").is_none_or(|other| other == own));
        let names = [
            "service",
            "app",
            "deployment",
            "statefulset",
            "daemonset",
            "container",
            "job",
        ];
        let named = names.iter().any(|label_name| label(label_name) == Some(name));
        let pod = label("pod").is_some_and(|pod| pod.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')));
        alert.state == "firing" && same_namespace && (named || pod)
    };
    alerts.iter().filter(about).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(labels: &[(&str, &str)], state: &str) -> ActiveAlert {
        ActiveAlert {
            labels: labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            state: state.to_owned(),
            active_at: None,
        }
    }

    #[test]
    fn alerts_about_a_service() {
        let alerts = [
            alert(&[("service", "api")], "firing"),
            alert(&[("app", "api"), ("namespace", "staging")], "firing"),
            alert(&[("pod", "api-7d-x")], "firing"),
            alert(&[("pod", "apiary-7d-x")], "firing"),
            alert(&[("service", "api")], "pending"),
        ];
        assert_eq!(firing(&alerts, "api", Some("production")), 2);
        assert_eq!(firing(&alerts, "api", None), 3);
    }

    #[test]
    fn a_deployment_that_was_run_again_helped_when_no_alert_fires() {
        let rerun = Action::GithubRerun {
            repository: "shop/api".to_owned(),
            run: 7,
            attempt: 1,
        };
        let check = |action: &Action, health: Health, alerts: Option<Result<Vec<ActiveAlert>, String>>, expected| {
            let (found, note) = beside_alerts(action, (health, "attempt 2 succeeded".to_owned()), alerts);
            assert_eq!(found, expected, "{note}");
        };
        let fires = || Some(Ok(vec![alert(&[("service", "api")], "firing")]));
        check(&rerun, Health::Recovered, None, Health::Recovered);
        check(&rerun, Health::Recovered, Some(Ok(Vec::new())), Health::Recovered);
        check(&rerun, Health::Recovered, fires(), Health::NotYet);
        check(&rerun, Health::Recovered, Some(Err("gone".to_owned())), Health::NotYet);
        check(&rerun, Health::Worse, Some(Ok(Vec::new())), Health::Worse);
        let comment = Action::GithubComment {
            repository: "shop/api".to_owned(),
            number: 1,
            body: "b".to_owned(),
        };
        check(&comment, Health::Recovered, fires(), Health::Recovered);
    }
}
