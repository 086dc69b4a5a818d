//! The watch of Kubernetes through the real program, beside a cluster that is a stand-in: a rollout is a suspect of what breaks after it,
//! a failing pod is an incident until it is well, a killed process loses nothing and tells nothing twice, and a role that lacks a
//! verb is said.

mod support;

#[path = "kubernetes/real.rs"]
mod real_api_server;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::site::{PATIENCE, Site};
use support::{http, http_get, wait_for};

const PRODUCTION: &str = "production";

fn site() -> Site {
    let extra = |url: &str| {
        format!(
            "[correlate]\ngap = \"3s\"\nlateness = \"1s\"\n[crew]\nenabled = false\n[sources.kubernetes]\nurl = \"{url}\"\nstable_s = 1\n\
             not_ready_s = 3600\nmax_backoff_s = 1\n"
        )
    };
    Site::prepared("", extra, |scenario| scenario.bookmark_every_ms = 100)
}

fn pods(site: &Site, of: &str) -> Vec<String> {
    let state = site.world.state();
    let pods = state.kubernetes.list("pods", Some(PRODUCTION)).into_iter();
    pods.filter(|pod| pod["metadata"]["labels"]["app"] == of)
        .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Until every kind of objects is watched.
fn watched(site: &Site) {
    wait_for("the watch", PATIENCE, || {
        let up = site.aegis.metric("aegis_kubernetes_up");
        (up == 6.0).then_some(())
    });
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_default()
}

#[test]
fn a_rollout_is_a_suspect_of_what_breaks_after_it() {
    let mut site = site();
    site.aegis.start();
    watched(&site);
    let template = json!({"spec": {"template": {"spec": {"containers": [{"name": "checkout", "image": "registry.example/checkout:v10"}]}}}});
    let port = site.url.rsplit(':').next().unwrap().parse().unwrap();
    let path = format!("/apis/apps/v1/namespaces/{PRODUCTION}/deployments/checkout");
    let merge = "Content-Type: application/merge-patch+json\r\n";
    let answer = http(port, "PATCH", &path, merge, &template.to_string()).expect("an answer");
    assert_eq!(answer.0, 200, "{}", answer.1);
    wait_for("the rollout", PATIENCE, || {
        let rows = site
            .aegis
            .sql("select title from signals where kind = 'change' and source = 'kubernetes'");
        let done = "Rollout of checkout to revision 4 (checkout:v10): completed";
        rows.iter().any(|row| row["title"] == done).then_some(())
    });
    // The clock of the cluster tells seconds.
    let began = chrono::Utc::now() + chrono::Duration::seconds(1);
    let labels = json!({"alertname": "CheckoutFails", "service": "checkout", "severity": "critical"});
    site.post(
        "/webhooks/alertmanager",
        &json!({"version": "4", "groupKey": "k", "status": "firing", "receiver": "r", "groupLabels": {}, "commonLabels": {},
            "commonAnnotations": {}, "externalURL": "http://a", "alerts": [{"status": "firing", "labels": labels, "annotations": {},
            "startsAt": began.to_rfc3339(), "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "f"}]}),
    );
    let incident = wait_for("the incident with its suspects", PATIENCE, || {
        let rows = site
            .aegis
            .sql("select id from incidents where title like 'CheckoutFails%'");
        let id = text(rows.first()?, "id").to_owned();
        let (code, out, _) = site.aegis.run(&["incidents", &id]);
        (code == 0 && out.matches("suspect_found").count() >= 2).then_some(out)
    });
    assert!(
        incident.contains("Rollout of checkout to revision 4 (checkout:v10)"),
        "{incident}"
    );
    assert!(incident.contains("kubernetes"), "{incident}");
    site.books_balance();
}

#[test]
fn a_failing_pod_is_an_incident_until_it_is_well() {
    let mut site = site();
    site.aegis.start();
    watched(&site);
    let pod = pods(&site, "checkout").remove(0);
    site.world.state().kubernetes.crash(PRODUCTION, &pod, "Error");
    let title = format!("CrashLoopBackOff of pod {pod} (container checkout)");
    let status = |wanted: &str| {
        wait_for(&format!("the incident to be {wanted}"), PATIENCE, || {
            let rows = site
                .aegis
                .sql("select title, status, service, severity from incidents where source = 'kubernetes'");
            let row = rows.into_iter().find(|row| row["title"] == *title)?;
            (row["status"] == wanted).then_some(row)
        })
    };
    let open = status("open");
    assert_eq!(
        (&open["service"], &open["severity"]),
        (&json!("checkout"), &json!("critical"))
    );
    site.world.state().kubernetes.recover(PRODUCTION, &pod);
    status("resolved");
    // A pushed Event is heard by the same normalizer, under the same limits.
    let event = json!({"kind": "Event", "type": "Warning", "reason": "FailedMount", "message": "no volume",
        "metadata": {"uid": "pushed", "creationTimestamp": chrono::Utc::now().to_rfc3339()},
        "involvedObject": {"kind": "Deployment", "name": "checkout", "namespace": PRODUCTION}});
    site.post("/webhooks/kubernetes", &json!({"kind": "EventList", "items": [event]}));
    wait_for("the pushed Event", PATIENCE, || {
        let rows = site
            .aegis
            .sql("select service from signals where dedup_key = 'kube:default:event:pushed'");
        rows.iter().any(|row| row["service"] == "checkout").then_some(())
    });
    site.books_balance();
}

#[test]
fn killed_in_the_middle_of_a_watch() {
    let mut site = site();
    site.aegis.start();
    watched(&site);
    let pods = pods(&site, "api-server");
    for pod in &pods {
        site.world.state().kubernetes.crash(PRODUCTION, pod, "Error");
    }
    let incidents = |site: &Site, wanted: &str| {
        let rows = site.aegis.sql(
            "select m.title as title, m.ends_at as ends_at from incident_members m join incidents i on i.id = m.incident_id \
             where m.source = 'kubernetes' and m.dedup_key like '%:CrashLoopBackOff:%' and i.merged_into is null",
        );
        let open = rows.iter().filter(|row| row["ends_at"].is_null()).count();
        let titles: BTreeSet<String> = rows.iter().map(|row| text(row, "title").to_owned()).collect();
        assert!(titles.len() <= 3, "{titles:?}");
        match wanted {
            "open" => (open == 3 && rows.len() == 3).then_some(()),
            _ => (open == 0 && rows.len() == 3).then_some(()),
        }
    };
    wait_for("three crash loops", PATIENCE, || incidents(&site, "open"));

    // Events come all the time; the process dies between two of them, twice.
    let mut sent = BTreeSet::new();
    let warn = |site: &Site, sent: &mut BTreeSet<String>, n: usize| {
        let message = format!("warning {n}");
        let mut state = site.world.state();
        state
            .kubernetes
            .warn("deployments", PRODUCTION, "checkout", "FailedMount", &message);
        sent.insert(message);
    };
    for n in 0..60 {
        warn(&site, &mut sent, n);
        match n {
            20 => site.aegis.kill(),
            30 => site.aegis.spawn(),
            33 => site.aegis.kill(),
            40 => site.aegis.start(),
            _ => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    }
    site.aegis.kill();
    // What happens while nobody watches: one pod recovers, one goes away, one goes on.
    {
        let mut state = site.world.state();
        state.kubernetes.recover(PRODUCTION, &pods[0]);
        state.kubernetes.delete_pod(PRODUCTION, &pods[1]);
        state.kubernetes.forget_history();
    }
    site.aegis.start();
    watched(&site);
    site.world.state().kubernetes.recover(PRODUCTION, &pods[2]);
    wait_for("every crash loop to be over", PATIENCE, || incidents(&site, "over"));

    let heard = |site: &Site| -> Vec<String> {
        let rows = site.aegis.sql(
            "select distinct id, description from signals where source = 'kubernetes' and description like 'warning %'",
        );
        rows.iter().map(|row| text(row, "description").to_owned()).collect()
    };
    wait_for("every warning", PATIENCE, || {
        let found: BTreeSet<String> = heard(&site).into_iter().collect();
        (found == sent).then_some(())
    });
    assert_eq!(heard(&site).len(), sent.len(), "each is one signal");
    let members = site.aegis.sql(
        "select m.episode as episode, count(*) as n from incident_members m join incidents i on i.id = m.incident_id \
         where i.merged_into is null group by m.episode having count(*) > 1",
    );
    assert!(members.is_empty(), "{members:?}");
    site.books_balance();
}

#[test]
fn a_role_that_lacks_a_verb_is_said_and_nothing_else_waits() {
    let mut site = site();
    let forbidden = ("list".to_owned(), "pods".to_owned());
    site.world.state().kubernetes.forbidden.insert(forbidden);
    site.aegis.start();
    let report = wait_for("the refusal", PATIENCE, || {
        let (status, body) = http_get(site.aegis.gateway, "/readyz")?;
        let report: Value = serde_json::from_str(&body).ok()?;
        let only_pods = report["degraded"]
            .as_object()
            .is_some_and(|degraded| degraded.len() == 1);
        (status == 200 && only_pods && body.contains("403")).then_some(report)
    });
    let said = text(&report["degraded"], "kubernetes pods *");
    assert!(
        said.contains("list and watch pods of the core group in all namespaces"),
        "{said}"
    );
    assert!(said.contains("cannot list resource \"pods\""), "{said}");
    assert_eq!(report["ready"], true, "{report}");
    assert!(
        site.aegis
            .metric("aegis_kubernetes_errors_total{resource=\"pods\",cause=\"forbidden\"}")
            >= 1.0
    );
    // Webhooks and the other kinds go on.
    site.alert();
    wait_for("the alert", PATIENCE, || {
        let rows = site
            .aegis
            .sql("select title from incidents where service = 'api-server'");
        (!rows.is_empty()).then_some(())
    });
    site.world.state().kubernetes.forbidden.clear();
    watched(&site);
}
