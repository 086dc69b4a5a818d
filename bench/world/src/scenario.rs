//! What a world begins with.

use serde::{Deserialize, Serialize};

/// A cluster's workloads and how fast it moves.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    pub workloads: Vec<Workload>,
    /// Milliseconds between two pods that a rollout replaces.
    pub replace_every_ms: u64,
    /// Milliseconds until a new pod is ready.
    pub ready_after_ms: u64,
    /// Milliseconds after which a rollout that is not done has failed.
    pub progress_deadline_ms: u64,
    /// Milliseconds between two bookmarks of a watch.
    pub bookmark_every_ms: u64,
    /// Bearer token that the API server asks for; any where `None`.
    pub token: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

/// A workload as it stands at the start: at its last image, all pods running.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
    /// One a revision, oldest first.
    pub images: Vec<String>,
    pub replicas: u32,
    pub memory_limit_bytes: u64,
    /// How long ago the last image was released, and its pods began; the images before it each a day earlier.
    pub released_minutes_ago: u32,
    /// The pods that run at the start have used up their memory, and have been killed for it. Pods started later have not.
    pub leaks: bool,
    /// Images whose pods answer a fifth of the requests with 500.
    pub failing_images: Vec<String>,
    /// Images whose pods never become ready.
    pub broken_images: Vec<String>,
    /// Variables of the container.
    pub env: Vec<(String, String)>,
}

impl Default for Workload {
    fn default() -> Self {
        Workload {
            kind: Kind::Deployment,
            namespace: "production".to_owned(),
            name: "api-server".to_owned(),
            images: vec!["registry.example/api-server:v1".to_owned()],
            replicas: 1,
            memory_limit_bytes: 512 << 20,
            released_minutes_ago: 60,
            leaks: false,
            failing_images: Vec::new(),
            broken_images: Vec::new(),
            env: Vec::new(),
        }
    }
}

/// A service that runs out of memory, one whose newest release fails, a database and an agent on every node.
impl Default for Scenario {
    fn default() -> Self {
        let workload = |kind, name: &str, versions: &[&str], replicas| Workload {
            kind,
            name: name.to_owned(),
            images: versions
                .iter()
                .map(|version| format!("registry.example/{name}:{version}"))
                .collect(),
            replicas,
            ..Workload::default()
        };
        let mut api = workload(Kind::Deployment, "api-server", &["v1.41", "v1.42"], 3);
        api.leaks = true;
        api.env = vec![
            ("REGION".to_owned(), "eu-west-1".to_owned()),
            ("DB_PASSWORD".to_owned(), "hunter2".to_owned()),
        ];
        let mut checkout = workload(Kind::Deployment, "checkout", &["v7", "v8", "v9"], 2);
        checkout.failing_images = vec!["registry.example/checkout:v9".to_owned()];
        Scenario {
            workloads: vec![
                api,
                checkout,
                workload(Kind::StatefulSet, "postgres", &["15", "16"], 2),
                workload(Kind::DaemonSet, "node-agent", &["v1", "v2"], 2),
            ],
            replace_every_ms: 2_000,
            ready_after_ms: 3_000,
            progress_deadline_ms: 600_000,
            bookmark_every_ms: 1_000,
            token: None,
        }
    }
}

impl Scenario {
    /// The same, as fast as a test wants it.
    pub fn fast() -> Self {
        Scenario {
            replace_every_ms: 20,
            ready_after_ms: 20,
            ..Scenario::default()
        }
    }
}
