//! The same on a real API server with its controllers, scheduler and roles (`make test-kubernetes`): what the stand-in may have got
//! wrong. Each test has a namespace of its own.

use std::collections::BTreeSet;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use world::real::{RealCluster, WATCHES};

use super::support::site::PATIENCE;
use super::support::{Aegis, http_get, wait_for};
use super::text;

/// Of objects that are watched, each by a connection of its own.
const KINDS: usize = 6;

/// An Aegis that watches a real cluster.
struct Watch {
    aegis: Aegis,
    cluster: RealCluster,
    namespace: &'static str,
    /// What it connects through.
    gate: Gate,
    folder: tempfile::TempDir,
}

impl Watch {
    /// Not started yet; with the role of the guide. `more`: of `[sources.kubernetes]`.
    fn prepared(namespace: &'static str, more: &str) -> Option<Self> {
        let cluster = RealCluster::opted_in()?;
        cluster.fresh_namespace(namespace).unwrap();
        cluster.grant().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        cluster.token(WATCHES, &token).unwrap();
        let gate = Gate::open(cluster.url.trim_start_matches("https://").parse().unwrap());
        let settings = format!(
            "[correlate]\ngap = \"3s\"\nlateness = \"1s\"\n[progress]\nlateness = \"1s\"\n[crew]\nenabled = false\n[sources.kubernetes]\n\
             cluster = \"real\"\nurl = \"https://{}\"\ntoken_file = \"{}\"\nca_file = \"{}\"\nstable_s = 1\nmax_backoff_s = 2\n{more}",
            gate.address,
            token.display(),
            cluster.ca_file().display()
        );
        Some(Watch {
            aegis: Aegis::new(folder.path(), &settings),
            cluster,
            namespace,
            gate,
            folder,
        })
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let arguments = [&["-n", self.namespace], arguments].concat();
        self.cluster.kubectl(&arguments, "").unwrap()
    }

    /// A Deployment whose pods are there.
    fn deploy(&self, name: &str, image: &str, change: impl FnOnce(&mut Value)) {
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": self.namespace, "labels": {"app": name}},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": name, "image": image}]},
            }},
        });
        change(&mut object);
        self.cluster.apply(&object.to_string()).unwrap();
    }

    fn rolled_out(&self, name: &str) {
        self.kubectl(&["rollout", "status", &format!("deployment/{name}"), "--timeout=180s"]);
    }

    fn pods(&self, app: &str) -> Vec<String> {
        let pods = self.cluster.pods(self.namespace, app).unwrap();
        pods.iter()
            .map(|pod| text(&pod["metadata"], "name").to_owned())
            .collect()
    }

    /// Until every kind of objects is watched.
    fn watched(&self) {
        wait_for("the watch", PATIENCE, || {
            (self.aegis.metric("aegis_kubernetes_up") == KINDS as f64).then_some(())
        });
    }

    /// Rows of table `signals` of the namespace.
    fn signals(&self, kind: &str) -> Vec<Value> {
        self.aegis.sql(&format!(
            "select distinct id, title, description, service, severity, state from signals where kind = '{kind}' and source = \
             'kubernetes' and namespace = '{}'",
            self.namespace
        ))
    }

    fn signal(&self, kind: &str, title: &str) -> Value {
        wait_for(title, PATIENCE, || {
            let rows = self.signals(kind);
            rows.into_iter().find(|row| text(row, "title") == title)
        })
    }

    /// The member of an incident with this title, once it has ended or while it has not.
    fn member(&self, title: &str, ended: bool) -> Value {
        let what = format!("{title}, {}", if ended { "ended" } else { "open" });
        wait_for(&what, PATIENCE, || {
            let rows = self.aegis.sql(
                "select m.title as title, m.ends_at as ends_at, i.service as service, i.severity as severity from incident_members m \
                 join incidents i on i.id = m.incident_id where m.source = 'kubernetes' and i.merged_into is null",
            );
            rows.into_iter()
                .find(|row| text(row, "title").starts_with(title) && row["ends_at"].is_null() != ended)
        })
    }

    /// What `/readyz` says is not as it should be.
    fn degraded(&self) -> Option<serde_json::Map<String, Value>> {
        let (status, body) = http_get(self.aegis.gateway, "/readyz")?;
        let report: Value = serde_json::from_str(&body).ok()?;
        assert_eq!(report["ready"], status == 200, "{report}");
        Some(report["degraded"].as_object().cloned().unwrap_or_default())
    }

    fn warn(&self, messages: impl IntoIterator<Item = String>, sent: &mut BTreeSet<String>) {
        let about = self
            .cluster
            .json(&["-n", self.namespace, "get", "deployment", "checkout"])
            .unwrap();
        for message in messages {
            self.cluster.say(&about, "Warning", "FailedMount", &message).unwrap();
            sent.insert(message);
        }
    }

    /// Until every warning is a signal; each is one.
    fn heard(&self, sent: &BTreeSet<String>) {
        wait_for("every warning", PATIENCE, || {
            let rows = self.signals("cluster_event");
            let heard: Vec<&str> = rows
                .iter()
                .map(|row| text(row, "description"))
                .filter(|text| text.starts_with("warning"))
                .collect();
            assert!(heard.len() <= sent.len(), "told twice: {heard:?}");
            let distinct: BTreeSet<String> = heard.iter().map(|text| (*text).to_owned()).collect();
            (distinct == *sent).then_some(())
        });
    }

    fn books_balance(&self) {
        let (code, out, err) = self.aegis.run(&["audit", "conservation"]);
        assert_eq!(code, 0, "{out}{err}");
    }
}

/// A door between Aegis and the API server, which can be shut: connections break, new ones too.
struct Gate {
    address: SocketAddr,
    shut: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
}

impl Gate {
    fn open(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gate = Gate {
            address: listener.local_addr().unwrap(),
            shut: Arc::default(),
            connections: Arc::default(),
        };
        let (shut, connections) = (gate.shut.clone(), gate.connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Dropped, and so closed.
                if !shut.load(Ordering::SeqCst) {
                    let _ = passed_on(stream, to, &connections);
                }
            }
        });
        gate
    }

    fn shut(&self) {
        self.shut.store(true, Ordering::SeqCst);
        for stream in self.connections.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn reopen(&self) {
        self.shut.store(false, Ordering::SeqCst);
    }
}

fn passed_on(from: TcpStream, to: SocketAddr, connections: &Mutex<Vec<TcpStream>>) -> io::Result<()> {
    let to = TcpStream::connect(to)?;
    connections.lock().unwrap().extend([from.try_clone()?, to.try_clone()?]);
    for (mut read, mut write) in [(from.try_clone()?, to.try_clone()?), (to, from)] {
        std::thread::spawn(move || {
            let _ = io::copy(&mut read, &mut write);
            let _ = write.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

#[test]
fn a_rollout_is_a_change() {
    let Some(mut watch) = Watch::prepared("rollouts", "not_ready_s = 3600\n") else {
        return;
    };
    watch.deploy("checkout", "registry.example/checkout:v1", |_| {});
    watch.rolled_out("checkout");
    watch.aegis.start();
    watch.watched();
    watch.kubectl(&[
        "set",
        "image",
        "deployment/checkout",
        "checkout=registry.example/checkout:v2",
    ]);
    let done = watch.signal("change", "Rollout of checkout to revision 2 (checkout:v2): completed");
    assert_eq!(
        (&done["service"], &done["severity"]),
        (&json!("checkout"), &json!("info"))
    );
    watch.signal("change", "Rollout of checkout to revision 2 (checkout:v2)");
    watch.kubectl(&["rollout", "undo", "deployment/checkout"]);
    watch.signal("change", "Rollout of checkout to revision 3 (checkout:v1): completed");
    watch.kubectl(&["scale", "deployment/checkout", "--replicas=3"]);
    watch.signal("change", "checkout scaled from 2 to 3");
    // What was there before is told too, once; and nothing else.
    let titles: BTreeSet<String> = watch
        .signals("change")
        .iter()
        .map(|row| text(row, "title").to_owned())
        .collect();
    let begun = |revision: u32, image: &str| format!("Rollout of checkout to revision {revision} (checkout:{image})");
    let mut expected: BTreeSet<String> = [(1, "v1"), (2, "v2"), (3, "v1")]
        .iter()
        .flat_map(|(revision, image)| [begun(*revision, image), begun(*revision, image) + ": completed"])
        .collect();
    expected.insert("checkout scaled from 2 to 3".to_owned());
    assert_eq!(titles, expected);
    assert_eq!(watch.signals("change").len(), expected.len(), "each is one signal");
    // The controllers' own Events.
    wait_for("the Events of the rollout", PATIENCE, || {
        let rows = watch.signals("cluster_event");
        let scaled = rows
            .iter()
            .filter(|row| text(row, "title").contains("ScalingReplicaSet"));
        (scaled.filter(|row| row["service"] == "checkout").count() >= 3).then_some(())
    });
    watch.books_balance();
}

#[test]
fn what_is_wrong_with_pods_is_an_alert_until_it_is_mended() {
    let Some(mut watch) = Watch::prepared("failures", "not_ready_s = 2\n") else {
        return;
    };
    watch.deploy("checkout", "registry.example/checkout:v1", |_| {});
    watch.rolled_out("checkout");
    watch.aegis.start();
    watch.watched();
    let pod = watch.pods("checkout").remove(0);
    watch.cluster.crash(watch.namespace, &pod, "Error").unwrap();
    let crash = format!("CrashLoopBackOff of pod {pod} (container checkout)");
    let open = watch.member(&crash, false);
    assert_eq!(
        (&open["service"], &open["severity"]),
        (&json!("checkout"), &json!("critical"))
    );
    watch.cluster.recover(watch.namespace, &pod).unwrap();
    watch.member(&crash, true);

    // No node has the label that these ask for: the scheduler says so, and after a while the controller gives up.
    watch.deploy("search", "registry.example/search:v1", |object| {
        object["spec"]["progressDeadlineSeconds"] = json!(4);
        object["spec"]["template"]["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    });
    let stuck = watch.pods_of_new("search");
    let lost = format!("Unschedulable of pod {stuck}");
    let late = "ProgressDeadlineExceeded of deployment search";
    watch.member(&lost, false);
    let open = watch.member(late, false);
    assert_eq!(open["service"], "search");
    watch.signal(
        "change",
        "Rollout of search to revision 1 (search:v1): progress deadline exceeded",
    );
    watch
        .cluster
        .kubectl(&["label", "nodes", "--all", "disk=ssd", "--overwrite"], "")
        .unwrap();
    watch.member(&lost, true);
    watch.member(late, true);
    watch
        .cluster
        .kubectl(&["label", "nodes", "--all", "disk-"], "")
        .unwrap();

    // No pods may be made any more.
    watch.kubectl(&["create", "quota", "none", "--hard=pods=0"]);
    wait_for("the quota to be counted", PATIENCE, || {
        let quota = watch
            .cluster
            .json(&["-n", watch.namespace, "get", "quota", "none"])
            .ok()?;
        quota["status"]["hard"]["pods"].is_string().then_some(())
    });
    watch.deploy("billing", "registry.example/billing:v1", |_| {});
    watch.member("ReplicaFailure of deployment billing", false);
    watch.kubectl(&["delete", "deployment", "billing"]);
    watch.member("ReplicaFailure of deployment billing", true);
    watch.books_balance();
}

impl Watch {
    /// The first pod of a Deployment that was made a moment ago.
    fn pods_of_new(&self, app: &str) -> String {
        wait_for("a pod", PATIENCE, || self.pods(app).into_iter().next())
    }
}

/// The server's own words, and what to do; and that it was done is noticed without a restart.
#[test]
fn what_the_role_lacks_is_said_and_noticed_when_it_is_granted() {
    let Some(mut watch) = Watch::prepared("roles", "watch_s = 3\n") else {
        return;
    };
    watch
        .cluster
        .kubectl(&["delete", "clusterrolebinding", "aegis-watch"], "")
        .unwrap();
    watch.aegis.start();
    let said = wait_for("a refusal of each kind", PATIENCE, || {
        let said = watch.degraded()?;
        let refused = said
            .values()
            .filter(|what| what.as_str().is_some_and(|what| what.contains("status 403")));
        (refused.count() == KINDS).then_some(said)
    });
    for (resource, group) in [
        ("events", "events.k8s.io"),
        ("pods", ""),
        ("deployments", "apps"),
        ("replicasets", "apps"),
        ("statefulsets", "apps"),
        ("daemonsets", "apps"),
    ] {
        let said = said[&format!("kubernetes {resource} *")].as_str().unwrap();
        let server = format!("cannot list resource \"{resource}\" in API group \"{group}\" at the cluster scope");
        let ours = format!("The service account may not list and watch {resource} of ");
        for part in [
            "system:serviceaccount:aegis:aegis",
            &server,
            &ours,
            "in all namespaces: bind the role of docs/guides/kubernetes.md",
        ] {
            assert!(said.contains(part), "{part:?} is missing: {said}");
        }
    }
    watch.cluster.grant().unwrap();
    watch.watched();

    // A verb is taken away while it is used: the watch that runs is not ended for it, the next one is refused.
    let without = json!([{"apiGroups": [""], "resources": ["events", "pods"], "verbs": ["list"]},
        {"apiGroups": ["apps"], "resources": ["deployments", "replicasets", "statefulsets", "daemonsets"], "verbs": ["list", "watch"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["list", "watch"]}]);
    let patch = json!({ "rules": without }).to_string();
    watch
        .cluster
        .kubectl(
            &["patch", "clusterrole", "aegis-watch", "--type=merge", "-p", &patch],
            "",
        )
        .unwrap();
    // The others go on.
    wait_for("the refusal of a watch, and of nothing else", PATIENCE, || {
        let said = watch.degraded()?;
        let pods = said.get("kubernetes pods *")?.as_str()?;
        (said.len() == 1 && pods.contains("cannot watch resource \"pods\"")).then_some(())
    });
    watch.cluster.grant().unwrap();
    watch.watched();

    // An account that is made anew has another token: the old one is refused until the file holds the new one.
    watch
        .cluster
        .kubectl(&["-n", "aegis", "delete", "serviceaccount", "aegis"], "")
        .unwrap();
    watch.cluster.grant().unwrap();
    wait_for("the token to be refused", PATIENCE, || {
        let said = watch.degraded()?;
        let refused = |what: &Value| {
            what.as_str()
                .is_some_and(|what| what.contains("401") && what.contains("renew it"))
        };
        said.values()
            .all(refused)
            .then_some(())
            .filter(|()| said.len() == KINDS)
    });
    watch
        .cluster
        .token(WATCHES, &watch.folder.path().join("token"))
        .unwrap();
    watch.watched();
}

/// It dies and comes back; and what happens while Aegis cannot reach it, and is forgotten by the server before it can, is not missed.
#[test]
fn the_api_server_is_killed_and_forgets() {
    let Some(mut watch) = Watch::prepared("outages", "not_ready_s = 3600\n") else {
        return;
    };
    watch.deploy("checkout", "registry.example/checkout:v1", |_| {});
    watch.rolled_out("checkout");
    watch.aegis.start();
    watch.watched();
    let mut sent = BTreeSet::new();
    watch.warn((0..10).map(|n| format!("warning {n}")), &mut sent);
    watch.cluster.kill("kube-apiserver").unwrap();
    wait_for("the outage to be said", PATIENCE, || {
        let said = watch.degraded()?;
        let away = |what: &Value| what.as_str().is_some_and(|what| what.contains("cannot be reached"));
        (said.values().filter(|what| away(what)).count() == KINDS).then_some(())
    });
    watch.cluster.run("kube-apiserver").unwrap();
    watch.warn((10..20).map(|n| format!("warning {n}")), &mut sent);
    watch.watched();
    watch.heard(&sent);

    let pods = watch.pods("checkout");
    for pod in &pods {
        watch.cluster.crash(watch.namespace, pod, "Error").unwrap();
    }
    let title = |pod: &String| format!("CrashLoopBackOff of pod {pod} (container checkout)");
    pods.iter().for_each(|pod| drop(watch.member(&title(pod), false)));
    watch.gate.shut();
    watch.warn((20..30).map(|n| format!("warning {n}")), &mut sent);
    // One recovers, one is deleted, a release comes; and the server remembers none of it.
    watch.cluster.recover(watch.namespace, &pods[0]).unwrap();
    watch.kubectl(&["delete", "pod", &pods[1]]);
    watch.kubectl(&[
        "set",
        "image",
        "deployment/checkout",
        "checkout=registry.example/checkout:v2",
    ]);
    watch.rolled_out("checkout");
    watch.cluster.forget_history().unwrap();
    watch.cluster.kill("kube-apiserver").unwrap();
    watch.cluster.run("kube-apiserver").unwrap();
    watch.gate.reopen();
    pods.iter().for_each(|pod| drop(watch.member(&title(pod), true)));
    watch.signal("change", "Rollout of checkout to revision 2 (checkout:v2): completed");
    watch.heard(&sent);
    for resource in ["events", "pods", "deployments", "replicasets"] {
        let lists = format!("aegis_kubernetes_lists_total{{resource=\"{resource}\",cause=\"gone\"}}");
        assert!(watch.aegis.metric(&lists) >= 1.0, "{resource} were listed anew");
    }
    let twice = watch.aegis.sql(
        "select m.episode as episode, count(*) as n from incident_members m join incidents i on i.id = m.incident_id \
         where i.merged_into is null group by m.episode having count(*) > 1",
    );
    assert!(twice.is_empty(), "{twice:?}");
    watch.books_balance();
}
