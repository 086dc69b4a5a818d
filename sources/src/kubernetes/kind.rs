//! What is watched, and what must be allowed for it.

use model::kubernetes::rollout::Workload;

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Event,
    Pod,
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
}

/// What the service account needs: the ClusterRole in `docs/guides/kubernetes.md` says the same, and a test holds both together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub group: &'static str,
    pub resource: &'static str,
    pub verbs: &'static [&'static str],
}

const READ: &[&str] = &["list", "watch"];

/// Everything that is ever asked of the API server. Events of the core group only where `events.k8s.io` is not served.
pub const RULES: &[Rule] = &[
    Rule {
        group: "events.k8s.io",
        resource: "events",
        verbs: READ,
    },
    Rule {
        group: "",
        resource: "events",
        verbs: READ,
    },
    Rule {
        group: "",
        resource: "pods",
        verbs: READ,
    },
    Rule {
        group: "apps",
        resource: "deployments",
        verbs: READ,
    },
    Rule {
        group: "apps",
        resource: "replicasets",
        verbs: READ,
    },
    Rule {
        group: "apps",
        resource: "statefulsets",
        verbs: READ,
    },
    Rule {
        group: "apps",
        resource: "daemonsets",
        verbs: READ,
    },
];

impl Kind {
    pub const ALL: [Kind; 6] = [
        Kind::Event,
        Kind::Pod,
        Kind::Deployment,
        Kind::ReplicaSet,
        Kind::StatefulSet,
        Kind::DaemonSet,
    ];

    /// What is rolled out.
    pub fn workload(self) -> Option<Workload> {
        Workload::of_kind(self.name())
    }

    /// Plural, as paths, RBAC and metrics name it.
    pub fn resource(self) -> &'static str {
        match self {
            Kind::Event => "events",
            Kind::Pod => "pods",
            Kind::Deployment => "deployments",
            Kind::ReplicaSet => "replicasets",
            Kind::StatefulSet => "statefulsets",
            Kind::DaemonSet => "daemonsets",
        }
    }

    /// As objects name their kind.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Event => "Event",
            Kind::Pod => "Pod",
            Kind::Deployment => "Deployment",
            Kind::ReplicaSet => "ReplicaSet",
            Kind::StatefulSet => "StatefulSet",
            Kind::DaemonSet => "DaemonSet",
        }
    }

    /// Groups that serve it with their versions, the best first.
    pub fn groups(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Kind::Event => &[("events.k8s.io", "/apis/events.k8s.io/v1"), ("", "/api/v1")],
            Kind::Pod => &[("", "/api/v1")],
            Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet | Kind::DaemonSet => &[("apps", "/apis/apps/v1")],
        }
    }

    /// The collection's path below the API server's address; `None`: all namespaces.
    pub fn path(self, group: usize, namespace: Option<&str>) -> String {
        let base = self.groups()[group].1;
        match namespace {
            Some(namespace) => format!("{base}/namespaces/{namespace}/{}", self.resource()),
            None => format!("{base}/{}", self.resource()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_allowed_by_a_rule() {
        for kind in Kind::ALL {
            for (index, (group, _)) in kind.groups().iter().enumerate() {
                let rule = RULES
                    .iter()
                    .find(|rule| (rule.group, rule.resource) == (*group, kind.resource()));
                assert_eq!(rule.unwrap().verbs, READ, "{}", kind.path(index, None));
            }
        }
        assert_eq!(Kind::Pod.path(0, Some("a")), "/api/v1/namespaces/a/pods");
        assert_eq!(Kind::Event.path(1, None), "/api/v1/events");
    }
}
