//! What the cluster's pods use and serve, in the text format of Prometheus: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write as _;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::World;
use crate::kubernetes::{Cluster, Requests, Usage};
use crate::scenario::Workload;

pub(crate) fn router() -> Router<World> {
    Router::new().route("/metrics", get(metrics))
}

/// Names and types as cAdvisor, kube-state-metrics and the services themselves give them.
pub(crate) const FAMILIES: [(&str, &str); 6] = [
    ("container_memory_usage_bytes", "gauge"),
    ("container_memory_working_set_bytes", "gauge"),
    ("container_spec_memory_limit_bytes", "gauge"),
    ("kube_pod_container_resource_limits", "gauge"),
    ("kube_pod_container_status_restarts_total", "counter"),
    (REQUESTS, "counter"),
];

const REQUESTS: &str = "http_requests_total";

/// The samples of one family: labels as they stand between the braces, and the value.
pub(crate) fn samples(family: &str, usage: &[Usage], requests: &[(&Workload, Requests)]) -> Vec<(String, u64)> {
    if family == REQUESTS {
        let of = |(service, requests): &(&Workload, Requests)| {
            [("200", requests.good), ("500", requests.bad)].map(|(status, count)| {
                let (namespace, name) = (&service.namespace, &service.name);
                let labels = format!(r#"namespace="{namespace}",service="{name}",status="{status}""#);
                (labels, count.floor() as u64)
            })
        };
        return requests.iter().flat_map(of).collect();
    }
    let of = |usage: &Usage| {
        let (value, more) = match family {
            // The page cache is counted in here.
            "container_memory_usage_bytes" => (usage.memory_bytes + usage.memory_bytes / 50, ""),
            "container_memory_working_set_bytes" => (usage.memory_bytes, ""),
            "container_spec_memory_limit_bytes" => (usage.limit_bytes, ""),
            "kube_pod_container_resource_limits" => (usage.limit_bytes, r#",resource="memory",unit="byte""#),
            _ => (usage.restarts, ""),
        };
        let (namespace, pod, container) = (&usage.namespace, &usage.pod, &usage.container);
        let labels = format!(r#"namespace="{namespace}",pod="{pod}",container="{container}"{more}"#);
        (labels, value)
    };
    usage.iter().map(of).collect()
}

fn text(cluster: &Cluster) -> String {
    let usage = cluster.usage();
    let requests: Vec<_> = cluster.requests().collect();
    let mut text = String::new();
    for (family, kind) in FAMILIES {
        let _ = writeln!(text, "# TYPE {family} {kind}");
        for (labels, value) in samples(family, &usage, &requests) {
            let _ = writeln!(text, "{family}{{{labels}}} {value}");
        }
    }
    text
}

async fn metrics(State(world): State<World>) -> impl IntoResponse {
    let text = text(&world.state().kubernetes);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
