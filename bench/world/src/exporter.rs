//! What the cluster's pods use and serve, in the text format of Prometheus: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write as _;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::World;

pub(crate) fn router() -> Router<World> {
    Router::new().route("/metrics", get(metrics))
}

/// Names and types as cAdvisor, kube-state-metrics and the services themselves give them.
const FAMILIES: [(&str, &str); 6] = [
    ("container_memory_usage_bytes", "gauge"),
    ("container_memory_working_set_bytes", "gauge"),
    ("container_spec_memory_limit_bytes", "gauge"),
    ("kube_pod_container_resource_limits", "gauge"),
    ("kube_pod_container_status_restarts_total", "counter"),
    ("http_requests_total", "counter"),
];

async fn metrics(State(world): State<World>) -> impl IntoResponse {
    let state = world.state();
    let cluster = &state.kubernetes;
    let mut text = String::new();
    for (family, kind) in FAMILIES {
        let _ = writeln!(text, "# TYPE {family} {kind}");
        if family == "http_requests_total" {
            for (service, requests) in cluster.requests() {
                for (status, count) in [("200", requests.good), ("500", requests.bad)] {
                    let _ = writeln!(
                        text,
                        "{family}{{namespace=\"{}\",service=\"{}\",status=\"{status}\"}} {}",
                        service.namespace,
                        service.name,
                        count.floor()
                    );
                }
            }
            continue;
        }
        for usage in cluster.usage() {
            let (value, more) = match family {
                // The page cache is counted in here.
                "container_memory_usage_bytes" => (usage.memory_bytes + usage.memory_bytes / 50, ""),
                "container_memory_working_set_bytes" => (usage.memory_bytes, ""),
                "container_spec_memory_limit_bytes" => (usage.limit_bytes, ""),
                "kube_pod_container_resource_limits" => (usage.limit_bytes, ",resource=\"memory\",unit=\"byte\""),
                _ => (usage.restarts, ""),
            };
            let _ = writeln!(
                text,
                "{family}{{namespace=\"{}\",pod=\"{}\",container=\"{}\"{more}}} {value}",
                usage.namespace, usage.pod, usage.container
            );
        }
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
