//! The watch of Kubernetes, on the stand-in cluster: what is written, how often, and what becomes of it when the API server misbehaves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use model::kubernetes::{HEADER, Says, Sighting};
use model::{RawEvent, topics};
use serde_json::{Value, json};
use sources::kubernetes::{KubernetesSource, KubernetesWatchSettings, RULES, Recollection, StillOpen};
use stream::health::Health;
use stream::log::memory::MemoryLog;
use stream::log::{Log, Offset, Retention, TopicPartition, TopicSpec};
use stream::{Ingress, Source as _};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use world::{Fault, FaultKind, Running, Scenario, System, World};

/// Far more than anything here takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PRODUCTION: &str = "production";
/// Kinds of objects that are watched.
const KINDS: usize = 6;

/// What the tables are said to hold.
#[derive(Default)]
struct Tables(Mutex<Vec<StillOpen>>);

#[async_trait]
impl Recollection for Tables {
    async fn open(&self, _cluster: &str) -> Result<Vec<StillOpen>, String> {
        Ok(self.0.lock().unwrap().clone())
    }
}

/// A cluster, a log, and one watch between them.
struct Rig {
    world: World,
    running: Running,
    log: MemoryLog,
    health: Health,
    tables: Arc<Tables>,
    settings: KubernetesWatchSettings,
    watch: Option<(CancellationToken, JoinHandle<Result<(), String>>)>,
}

impl Rig {
    async fn new(change: impl FnOnce(&mut Scenario)) -> Self {
        let mut scenario = Scenario::fast();
        scenario.bookmark_every_ms = 50;
        change(&mut scenario);
        let world = World::new(scenario);
        let running = world.start("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let log = MemoryLog::new();
        let topic = TopicSpec {
            name: topics::EVENTS_RAW.into(),
            partitions: 3,
            retention: Retention::default(),
        };
        log.ensure_topics(&[topic]).await.unwrap();
        let settings = KubernetesWatchSettings {
            url: Some(running.url()),
            timeout_s: 2,
            watch_s: 2,
            max_backoff_s: 1,
            stable_s: 0,
            not_ready_s: 3_600,
            ..KubernetesWatchSettings::default()
        };
        Rig {
            world,
            running,
            log,
            health: Health::default(),
            tables: Arc::default(),
            settings,
            watch: None,
        }
    }

    /// One more watch of the same cluster.
    async fn another(&self) -> (CancellationToken, JoinHandle<Result<(), String>>) {
        let source = KubernetesSource::new(self.settings.clone(), self.tables.clone(), self.health.clone());
        let ingress = Ingress::open(Arc::new(self.log.clone()), topics::EVENTS_RAW, 1 << 20)
            .await
            .unwrap();
        let stop = CancellationToken::new();
        (stop.clone(), tokio::spawn(Box::new(source).run(ingress, stop)))
    }

    /// Until everything was listed, and is watched from there.
    async fn start(&mut self) {
        let watches = |rig: &Rig| {
            let state = rig.world.state();
            state
                .requests
                .iter()
                .filter(|seen| seen.uri.contains("watch=1"))
                .count()
        };
        let before = watches(self);
        self.watch = Some(self.another().await);
        self.until("every watch", || watches(self) >= before + KINDS).await;
        self.well().await;
    }

    async fn stop(&mut self) {
        if let Some((stop, task)) = self.watch.take() {
            stop.cancel();
            task.await.unwrap().unwrap();
        }
    }

    /// Until every kind is watched.
    async fn well(&self) {
        self.until("every kind to be watched", || self.health.degradations().is_empty())
            .await;
    }

    async fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !done() {
            assert!(
                tokio::time::Instant::now() < deadline,
                "waited for {what}; degraded: {:?}",
                self.health.degradations()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn records(&self) -> Vec<(RawEvent, Sighting, Value)> {
        let mut found = Vec::new();
        for partition in 0..3 {
            let at = TopicPartition::new(topics::EVENTS_RAW, partition);
            let end = self.log.bounds(&at).await.unwrap().end;
            let (mut reader, mut next) = (self.log.reader(&at, Offset(0)).await.unwrap(), Offset(0));
            while next < end {
                let (records, then) = reader.read(1000, Duration::from_secs(5)).await.unwrap();
                next = then;
                for record in records {
                    let event = RawEvent::from_record(&record.headers, record.value, record.timestamp.0);
                    let header = event.headers.iter().find(|(name, _)| name == HEADER).unwrap();
                    let sighting = serde_json::from_str(&header.1).unwrap();
                    let object = serde_json::from_slice(&event.body).unwrap();
                    found.push((event, sighting, object));
                }
            }
        }
        found
    }

    /// Kind, name of the object, and what was said, for everything but Events; sorted.
    async fn told(&self) -> Vec<String> {
        let mut told: Vec<String> = Vec::new();
        for (_, sighting, object) in self.records().await {
            let what = match &sighting.says {
                Says::Event { .. } => continue,
                Says::Began { trouble } => format!("began {}", trouble.kind.as_str()),
                Says::Ended { trouble, .. } => format!("ended {}", trouble.kind.as_str()),
                Says::Scaled { from } => format!("scaled from {from}"),
                other => format!("{other:?}"),
            };
            let name = object["metadata"]["name"].as_str().unwrap_or("?").to_owned();
            told.push(format!("{name}: {what}"));
        }
        told.sort();
        told
    }

    async fn tells(&self, expected: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let told = self.told().await;
            if told.iter().any(|one| one.contains(expected)) {
                return;
            }
            let degraded = self.health.degradations();
            assert!(
                tokio::time::Instant::now() < deadline,
                "{expected}: {told:#?} {degraded:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Names of the pods of a workload.
    fn pods(&self, of: &str) -> Vec<String> {
        let state = self.world.state();
        let pods = state.kubernetes.list("pods", Some(PRODUCTION)).into_iter();
        pods.filter(|pod| pod["metadata"]["labels"]["app"] == of)
            .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn patch(&self, deployment: &str, patch: &Value) {
        self.patch_of("deployments", deployment, patch).await;
    }

    async fn patch_of(&self, plural: &str, name: &str, patch: &Value) {
        let path = format!("/apis/apps/v1/namespaces/{PRODUCTION}/{plural}/{name}");
        let request = axum::http::Request::patch(path)
            .header("content-type", "application/merge-patch+json")
            .body(axum::body::Body::from(patch.to_string()))
            .unwrap();
        let answer = tower::ServiceExt::oneshot(self.world.router(), request).await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    fn warn(&self, message: &str) {
        let mut state = self.world.state();
        state
            .kubernetes
            .warn("deployments", PRODUCTION, "checkout", "FailedMount", message);
    }

    /// How often each delivery stands in the log.
    async fn deliveries(&self) -> BTreeMap<String, usize> {
        let mut counted = BTreeMap::new();
        for (event, _, _) in self.records().await {
            *counted.entry(event.delivery).or_default() += 1;
        }
        counted
    }

    /// Until an Event with this message stands in the log; how often it does.
    async fn warned(&self, message: &str) -> usize {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let records = self.records().await;
            let matching = |object: &Value| object["note"] == message || object["message"] == message;
            match records.iter().filter(|(_, _, object)| matching(object)).count() {
                0 => {
                    let degraded = self.health.degradations();
                    assert!(tokio::time::Instant::now() < deadline, "{message}: {degraded:?}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                found => return found,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rollouts_troubles_and_events_are_written_once() {
    let mut rig = Rig::new(|_| ()).await;
    rig.start().await;
    let at_first = rig.told().await;
    let expected = ["api-server", "checkout", "node-agent", "postgres"];
    let expected = expected.map(|name| [format!("{name}: RolloutBegan"), format!("{name}: RolloutCompleted")]);
    assert_eq!(
        at_first,
        expected.concat(),
        "what runs well is told by its rollout alone"
    );

    let template = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "checkout", "image": "registry.example/checkout:v10", "env": [{"name": "TOKEN", "value": "hunter2"}]}]}}}});
    rig.patch("checkout", &template).await;
    rig.tells("checkout: RolloutCompleted").await;
    rig.patch("checkout", &json!({"spec": {"replicas": 4}})).await;
    rig.tells("checkout: scaled from 2").await;
    let pod = rig.pods("api-server").remove(0);
    rig.world.state().kubernetes.crash(PRODUCTION, &pod, "OOMKilled");
    rig.tells(&format!("{pod}: began CrashLoopBackOff")).await;
    rig.tells(&format!("{pod}: began OOMKilled")).await;
    rig.world.state().kubernetes.recover(PRODUCTION, &pod);
    rig.tells(&format!("{pod}: ended CrashLoopBackOff")).await;
    rig.tells(&format!("{pod}: ended OOMKilled")).await;
    rig.warn("no volume");
    assert_eq!(rig.warned("no volume").await, 1);
    rig.warn("no volume");
    rig.warn("and another");
    rig.warned("and another").await;
    assert_eq!(rig.warned("no volume").await, 2, "one occurrence each");

    let told = rig.told().await;
    assert_eq!(
        told.iter().filter(|one| **one == "checkout: RolloutBegan").count(),
        2,
        "{told:#?}"
    );
    let all = rig.records().await;
    let before: Vec<Option<u64>> = all
        .iter()
        .filter(|(_, _, object)| object["note"] == "no volume")
        .map(|(_, sighting, _)| match sighting.says {
            Says::Event { before } => before,
            _ => None,
        })
        .collect();
    assert_eq!(before, [Some(0), Some(1)]);
    assert!(rig.deliveries().await.values().all(|count| *count == 1));
    for (event, sighting, _) in &all {
        let text = String::from_utf8_lossy(&event.body);
        assert!(!text.contains("hunter2"), "a secret of an environment: {text}");
        assert_eq!(
            (sighting.cluster.as_str(), event.sender.as_str(), event.verdict.as_str()),
            ("default", "kubernetes", "watch")
        );
    }
    rig.stop().await;
}

/// They have no conditions: their counts of pods tell, and a pod that comes and goes is no rollout.
#[tokio::test(flavor = "multi_thread")]
async fn stateful_sets_and_daemon_sets_are_rolled_out() {
    let mut rig = Rig::new(|_| ()).await;
    rig.start().await;
    let image = |name: &str, version: &str| {
        let image = format!("registry.example/{name}:{version}");
        json!({"spec": {"template": {"spec": {"containers": [{"name": name, "image": image, "env": [{"name": "T", "value": "hunter2"}]}]}}}})
    };
    let counted = async |said: &str| rig.told().await.iter().filter(|one| *one == said).count();
    for (plural, name) in [("statefulsets", "postgres"), ("daemonsets", "node-agent")] {
        let (began, completed) = (format!("{name}: RolloutBegan"), format!("{name}: RolloutCompleted"));
        // There, and back again: that is a third rollout.
        for (version, so_far) in [("new", 2), ("old", 3), ("new", 4)] {
            rig.patch_of(plural, name, &image(name, version)).await;
            let deadline = tokio::time::Instant::now() + PATIENCE;
            while counted(&completed).await < so_far {
                assert!(tokio::time::Instant::now() < deadline, "{completed} {so_far}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!((counted(&began).await, counted(&completed).await), (so_far, so_far));
        }
        let pod = rig.pods(name).remove(0);
        rig.world.state().kubernetes.crash(PRODUCTION, &pod, "Error");
        rig.tells(&format!("{pod}: began CrashLoopBackOff")).await;
        rig.world.state().kubernetes.recover(PRODUCTION, &pod);
        rig.tells(&format!("{pod}: ended CrashLoopBackOff")).await;
    }
    rig.patch_of("statefulsets", "postgres", &json!({"spec": {"replicas": 3}}))
        .await;
    rig.tells("postgres: scaled from 2").await;
    for name in ["postgres", "node-agent"] {
        assert_eq!(counted(&format!("{name}: RolloutCompleted")).await, 4, "{name}");
    }
    let records = rig.records().await;
    assert!(
        records
            .iter()
            .all(|(event, _, _)| !String::from_utf8_lossy(&event.body).contains("hunter2"))
    );
    rig.stop().await;
}

/// Bookmarks carry the version over a forgotten history; what came in between is listed, and nothing stands there twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_version_leads_to_a_list_and_nothing_twice() {
    let mut rig = Rig::new(|_| ()).await;
    rig.start().await;
    rig.warn("before");
    rig.warned("before").await;
    rig.world.state().kubernetes.cut_watches();
    rig.warn("while it was cut");
    rig.warned("while it was cut").await;
    let lists = |rig: &Rig| {
        let state = rig.world.state();
        let asked = state.requests.iter();
        asked
            .filter(|seen| seen.uri.contains("/events?") && !seen.uri.contains("watch=1"))
            .count()
    };
    assert_eq!(lists(&rig), 1, "a watch that broke goes on from where it was");
    {
        let mut state = rig.world.state();
        state.kubernetes.forget_history();
    }
    rig.until("another list", || lists(&rig) == 2).await;
    rig.warn("after");
    rig.warned("after").await;
    assert!(rig.deliveries().await.values().all(|count| *count == 1));
    for message in ["before", "while it was cut", "after"] {
        assert_eq!(rig.warned(message).await, 1, "{message}");
    }
    rig.stop().await;
}

/// Whatever the API server does, the watch says it, and goes on when it is over.
#[tokio::test(flavor = "multi_thread")]
async fn faults_are_said_and_survived() {
    let status = r#"{"kind":"Status","code":500,"message":"etcd is away"}"#;
    let error = |code, body: &str| Fault::new(System::Kubernetes, FaultKind::Error).answer(code, body);
    let kind = |kind| Fault::new(System::Kubernetes, kind);
    for (fault, said) in [
        (error(500, status), "status 500: etcd is away"),
        (error(503, "<html>"), "status 503"),
        (error(429, ""), "status 429"),
        (error(401, ""), "renew it"),
        (kind(FaultKind::Hang), "does not answer"),
        (kind(FaultKind::Rubbish), "not one of an API server"),
        (kind(FaultKind::Huge), "max_answer_bytes"),
        (kind(FaultKind::Cut), "cannot be reached"),
    ] {
        let mut rig = Rig::new(|_| ()).await;
        rig.settings.max_answer_bytes = 1 << 20;
        // From the beginning, and in the middle.
        rig.world.fail(fault.clone());
        rig.watch = Some(rig.another().await);
        let says = |rig: &Rig| {
            let degraded = rig.health.degradations();
            degraded.len() == KINDS && degraded.values().all(|problem| problem.contains(said))
        };
        rig.until(said, || says(&rig)).await;
        rig.world.heal();
        rig.well().await;
        rig.warn("between");
        rig.warned("between").await;
        rig.world.fail(fault);
        rig.world.state().kubernetes.cut_watches();
        rig.until(said, || says(&rig)).await;
        rig.warn("meanwhile");
        rig.world.heal();
        assert_eq!(rig.warned("meanwhile").await, 1, "{said}");
        rig.well().await;
        assert!(rig.deliveries().await.values().all(|count| *count == 1), "{said}");
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_not_there() {
    let mut rig = Rig::new(|_| ()).await;
    rig.settings.url = Some("http://127.0.0.1:1".to_owned());
    rig.watch = Some(rig.another().await);
    rig.until("the refusal", || {
        let degraded = rig.health.degradations();
        degraded.len() == KINDS && degraded.values().all(|problem| problem.contains("cannot be reached"))
    })
    .await;
    rig.stop().await;
    rig.settings.url = None;
    rig.settings.kubeconfig = Some("/none/of/this/name".into());
    rig.watch = Some(rig.another().await);
    rig.until("the kubeconfig", || {
        rig.health
            .degradations()
            .values()
            .all(|problem| problem.contains("/none/of/this/name"))
    })
    .await;
    rig.stop().await;
}

/// What the role lacks is named, and the other kinds are watched all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_verb_and_resource() {
    let mut rig = Rig::new(|_| ()).await;
    rig.world.state().kubernetes.forbidden.extend([
        ("list".to_owned(), "pods".to_owned()),
        ("watch".to_owned(), "deployments".to_owned()),
    ]);
    rig.watch = Some(rig.another().await);
    rig.until("both refusals", || {
        let degraded = rig.health.degradations();
        let says = |name: &str, words: &[&str]| {
            degraded
                .get(name)
                .is_some_and(|problem| words.iter().all(|word| problem.contains(word)))
        };
        degraded.len() == 2
            && says(
                "kubernetes pods *",
                &[
                    "cannot list resource \"pods\"",
                    "list and watch pods of the core group in all namespaces",
                ],
            )
            && says(
                "kubernetes deployments *",
                &["cannot watch resource \"deployments\"", "docs/guides/kubernetes.md"],
            )
    })
    .await;
    rig.warn("heard");
    rig.warned("heard").await;
    rig.world.state().kubernetes.forbidden.clear();
    rig.well().await;
    rig.stop().await;
}

/// An older API server.
#[tokio::test(flavor = "multi_thread")]
async fn core_events_where_there_are_no_newer_ones() {
    let mut rig = Rig::new(|_| ()).await;
    rig.world.state().kubernetes.unserved.insert("events.k8s.io".to_owned());
    rig.start().await;
    rig.warn("heard");
    rig.warned("heard").await;
    let records = rig.records().await;
    let heard = records
        .iter()
        .find(|(_, _, object)| object["message"] == "heard")
        .unwrap();
    assert_eq!(heard.2["apiVersion"], "v1");
    rig.stop().await;
}

/// The tables remember what a memory that is gone had told: what recovered or vanished meanwhile is ended, what goes on is not told
/// again.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_ends_what_is_over() {
    let mut rig = Rig::new(|_| ()).await;
    let pods = rig.pods("api-server");
    for pod in &pods {
        rig.world.state().kubernetes.crash(PRODUCTION, pod, "Error");
    }
    rig.start().await;
    for pod in &pods {
        rig.tells(&format!("{pod}: began CrashLoopBackOff")).await;
    }
    rig.stop().await;
    let open = rig
        .records()
        .await
        .into_iter()
        .filter_map(|(_, sighting, object)| match sighting.says {
            Says::Began { trouble } => Some(StillOpen {
                key: format!(
                    "kube:default:pod:{}:{}:{}",
                    object["metadata"]["uid"].as_str().unwrap(),
                    trouble.kind.as_str(),
                    trouble.container.unwrap()
                ),
                since: trouble.since,
                namespace: Some(PRODUCTION.to_owned()),
                labels: json!({"pod": object["metadata"]["name"], "app": "api-server"}).to_string(),
            }),
            _ => None,
        });
    let open: Vec<StillOpen> = open.collect();
    assert_eq!(open.len(), 3);
    *rig.tables.0.lock().unwrap() = open;
    let before = rig.told().await;
    {
        let mut state = rig.world.state();
        state.kubernetes.recover(PRODUCTION, &pods[0]);
        state.kubernetes.delete_pod(PRODUCTION, &pods[1]);
    }
    rig.start().await;
    rig.tells(&format!("{}: ended CrashLoopBackOff", pods[0])).await;
    rig.tells(&format!("{}: ended CrashLoopBackOff", pods[1])).await;
    let mut after = rig.told().await;
    for known in before {
        let at = after.iter().position(|one| *one == known).unwrap();
        after.remove(at);
    }
    // The rollouts are seen again, under the keys that they had.
    let again: Vec<String> = after.into_iter().filter(|one| !one.contains("Rollout")).collect();
    assert_eq!(again.len(), 2, "{again:#?}");
    rig.stop().await;
}

/// Until `said` stands in the log, and each delivery twice.
async fn twice(rig: &Rig, said: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let told = rig.told().await.iter().any(|one| one.contains(said));
        let counted = rig.deliveries().await;
        if told && counted.values().all(|count| *count == 2) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{said}: {counted:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Two instances: two records of one delivery, which is one signal.
#[tokio::test(flavor = "multi_thread")]
async fn several_instances_say_the_same() {
    let mut rig = Rig::new(|_| ()).await;
    rig.start().await;
    let (stop, other) = rig.another().await;
    // What the second lists has the versions that the first saw: nothing has changed yet.
    twice(&rig, "RolloutCompleted").await;
    rig.warn("seen by both");
    let pod = rig.pods("api-server").remove(0);
    rig.world.state().kubernetes.crash(PRODUCTION, &pod, "Error");
    twice(&rig, "began").await;
    stop.cancel();
    other.await.unwrap().unwrap();
    rig.stop().await;
}

/// The ClusterRole of the guide, the list in the code, and what is really asked: all three are the same.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_asked_than_the_role_allows() {
    let guide = include_str!("../../docs/guides/kubernetes.md");
    let role = guide.split("rules:\n").nth(1).unwrap().split("---").next().unwrap();
    let words = |line: &str| -> Vec<String> {
        let list = line.split('[').nth(1).unwrap().split(']').next().unwrap();
        list.split(',')
            .map(|word| word.trim().trim_matches('"').to_owned())
            .collect()
    };
    let mut granted = BTreeSet::new();
    let lines: Vec<&str> = role.lines().filter(|line| line.contains('[')).collect();
    for rule in lines.chunks(3) {
        for group in words(rule[0]) {
            for resource in words(rule[1]) {
                for verb in words(rule[2]) {
                    granted.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    let listed: BTreeSet<_> = RULES
        .iter()
        .flat_map(|rule| {
            let of = |verb: &&str| (rule.group.to_owned(), rule.resource.to_owned(), (*verb).to_owned());
            rule.verbs.iter().map(of).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(granted, listed);

    let mut asked = BTreeSet::new();
    for old in [false, true] {
        let mut rig = Rig::new(|_| ()).await;
        if old {
            rig.world.state().kubernetes.unserved.insert("events.k8s.io".to_owned());
        }
        rig.start().await;
        rig.world.state().kubernetes.forget_history();
        rig.warn("heard");
        rig.warned("heard").await;
        rig.stop().await;
        for seen in &rig.world.state().requests {
            assert_eq!((seen.system, seen.method.as_str()), (System::Kubernetes, "GET"));
            let path = seen.uri.split('?').next().unwrap();
            let verb = if seen.uri.contains("watch=1") { "watch" } else { "list" };
            let group = match path.strip_prefix("/apis/") {
                Some(rest) => rest.split('/').next().unwrap(),
                None => "",
            };
            let resource = path.rsplit('/').next().unwrap();
            asked.insert((group.to_owned(), resource.to_owned(), verb.to_owned()));
        }
        let _ = &rig.running;
    }
    assert_eq!(asked, granted);
}
