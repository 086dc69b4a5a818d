//! One watch: a kind of objects in one scope. Lists, watches on from there, and begins again for as long as it takes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use stream::BoxFuture;
use stream::health::Health;
use stream::time::micros;
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;

use super::api::{Api, Failure};
use super::backoff::Backoff;
use super::desk::Desk;
use super::kind::Kind;
use super::memory::Memory;
use super::object;
use super::settings::KubernetesWatchSettings;
use super::standing::Bounds;
use super::wire::Word;
use super::{NAME, Recollection};

/// How often the memory looks at the time.
const TICK: Duration = Duration::from_secs(1);

/// How often the tables are asked what they hold for open. More often: more queries; less often: what was left open by a crash stays
/// open for longer.
const RECONCILE: Duration = Duration::from_secs(60);

/// A watch that is about to begin.
pub struct Watcher {
    pub kind: Kind,
    pub namespace: Option<String>,
    pub settings: KubernetesWatchSettings,
    pub recollection: Arc<dyn Recollection>,
    pub health: Health,
    pub desk: Desk,
}

/// Why a watch ended.
enum End {
    /// The server ended it; it goes on from the same version.
    Over,
    /// It is time to stop.
    Stop,
    Failed(Failure),
}

/// What a running watch knows.
struct Running {
    memory: Memory,
    /// Which of the kind's groups is asked.
    group: usize,
    reconcile_at: Instant,
    heard_at: Instant,
}

impl Watcher {
    /// Runs until `stop`.
    pub fn run(self, stop: CancellationToken) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.watch_for_ever() => {}
            }
        })
    }

    async fn watch_for_ever(&self) {
        let mut backoff = Backoff::new(self.settings.max_backoff());
        let bounds = Bounds {
            not_ready: micros(Duration::from_secs(self.settings.not_ready_s)),
            stable: micros(Duration::from_secs(self.settings.stable_s)),
        };
        let mut running = Running {
            memory: Memory::new(self.kind, bounds),
            group: 0,
            reconcile_at: Instant::now(),
            heard_at: Instant::now(),
        };
        self.say(Some("nothing was seen yet".to_owned()));
        loop {
            let failure = match Api::connect(&self.settings).await {
                Ok(api) => match self.rounds(&api, &mut running, &mut backoff).await {
                    Some(failure) => failure,
                    None => return,
                },
                Err(failure) => failure,
            };
            self.failed(&failure, &mut running, &mut backoff).await;
        }
    }

    /// Lists once and watches on from there. A watch that breaks goes on from the last version, and only a version that the server has
    /// forgotten leads to another list. Ends with what a new connection may mend; `None`: it is time to stop.
    async fn rounds(&self, api: &Api, running: &mut Running, backoff: &mut Backoff) -> Option<Failure> {
        let mut cause = "start";
        loop {
            let resource = self.kind.resource();
            metrics::counter!("aegis_kubernetes_lists_total", "resource" => resource, "cause" => cause).increment(1);
            let mut version = match self.list(api, running).await {
                Ok(Some(version)) => version,
                Ok(None) => return None,
                Err(failure) => return Some(failure),
            };
            loop {
                let failure = match self.watch(api, running, &mut version, backoff).await {
                    End::Over => continue,
                    End::Stop => return None,
                    End::Failed(failure) => failure,
                };
                match failure {
                    Failure::Settings(_)
                    | Failure::Refused {
                        status: 401 | 403 | 404,
                        ..
                    } => return Some(failure),
                    _ => self.failed(&failure, running, backoff).await,
                }
                if failure == Failure::Gone {
                    break;
                }
            }
            cause = "gone";
        }
    }

    /// Sees everything there is; where to watch from. `None`: it is time to stop.
    async fn list(&self, api: &Api, running: &mut Running) -> Result<Option<String>, Failure> {
        // What is open is known before what is seen is judged.
        if let Ok(open) = self.recollection.open(&self.settings.cluster).await {
            running.memory.recall(&open, self.namespace.as_deref());
        }
        let mut uids = BTreeSet::new();
        let mut next = String::new();
        loop {
            let path = self.kind.path(running.group, self.namespace.as_deref());
            let page = match api.list(&path, &self.selectors(), &next).await {
                // An older server does not have the newer group.
                Err(Failure::Refused { status: 404, .. }) if running.group + 1 < self.kind.groups().len() => {
                    running.group += 1;
                    next.clear();
                    continue;
                }
                answer => answer?,
            };
            running.heard_at = Instant::now();
            for mut object in page.items {
                // Objects of a list do not say their kind.
                if let Some(members) = object.as_object_mut() {
                    members.insert("kind".to_owned(), self.kind.name().into());
                }
                uids.extend(object::uid(&object).map(str::to_owned));
                let statements = running.memory.present(object, self.desk.now());
                if !self.desk.write(self.kind.resource(), statements).await {
                    return Ok(None);
                }
            }
            if page.next.is_empty() {
                let statements = running.memory.listed(&uids, self.desk.now());
                let written = self.desk.write(self.kind.resource(), statements).await;
                self.say(None);
                return Ok(written.then_some(page.version));
            }
            next = page.next;
        }
    }

    async fn watch(&self, api: &Api, running: &mut Running, version: &mut String, backoff: &mut Backoff) -> End {
        let path = self.kind.path(running.group, self.namespace.as_deref());
        let length = Duration::from_secs(self.settings.watch_s);
        let mut watch = match api.watch(&path, &self.selectors(), version, length).await {
            Ok(watch) => watch,
            Err(failure) => return End::Failed(failure),
        };
        let mut ticks = interval_at(Instant::now() + TICK, TICK);
        // An answer that breaks off at once is none.
        let mut well = false;
        loop {
            tokio::select! {
                said = watch.next() => match said {
                    Ok(Some(word)) => {
                        backoff.reset();
                        if !std::mem::replace(&mut well, true) {
                            self.say(None);
                        }
                        running.heard_at = Instant::now();
                        if !self.take(word, running, version).await {
                            return End::Stop;
                        }
                    }
                    Ok(None) => {
                        let began_at = watch.began_at();
                        return self.over(began_at).await;
                    }
                    Err(failure) => return End::Failed(failure),
                },
                _ = ticks.tick() => {
                    if !std::mem::replace(&mut well, true) {
                        self.say(None);
                    }
                    if !self.tick(running).await {
                        return End::Stop;
                    }
                }
            }
        }
    }

    /// A watch that was ended as soon as it had begun would be asked for without a pause.
    async fn over(&self, began_at: Instant) -> End {
        if began_at.elapsed() < TICK {
            tokio::time::sleep(TICK).await;
        }
        End::Over
    }

    /// `false`: it is time to stop. The version moves only behind what is durable.
    async fn take(&self, word: Word, running: &mut Running, version: &mut String) -> bool {
        let now = self.desk.now();
        let (statements, at) = match word {
            Word::Bookmark(at) => (Vec::new(), at),
            Word::Present(object) => {
                let at = object::version(&object).to_owned();
                (running.memory.present(object, now), at)
            }
            Word::Deleted(object) => {
                let at = object::version(&object).to_owned();
                (running.memory.deleted(object, now), at)
            }
        };
        let resource = self.kind.resource();
        metrics::counter!("aegis_kubernetes_words_total", "resource" => resource).increment(1);
        if !self.desk.write(resource, statements).await {
            return false;
        }
        if !at.is_empty() {
            *version = at;
        }
        true
    }

    async fn tick(&self, running: &mut Running) -> bool {
        let resource = self.kind.resource();
        let mut statements = running.memory.tick(self.desk.now());
        if running.reconcile_at <= Instant::now() {
            running.reconcile_at = Instant::now() + RECONCILE;
            match self.recollection.open(&self.settings.cluster).await {
                Ok(open) => {
                    let scope = self.namespace.as_deref();
                    statements.extend(running.memory.reconcile(&open, scope, self.desk.now()));
                }
                Err(error) => tracing::debug!(error, "what is open is looked up again later"),
            }
        }
        let silent = running.heard_at.elapsed().as_secs_f64();
        metrics::gauge!("aegis_kubernetes_silent_seconds", "resource" => resource).set(silent);
        metrics::gauge!("aegis_kubernetes_open_troubles", "resource" => resource).set(running.memory.open() as f64);
        self.desk.write(resource, statements).await
    }

    /// Says what is wrong, and waits.
    async fn failed(&self, failure: &Failure, running: &mut Running, backoff: &mut Backoff) {
        let resource = self.kind.resource();
        metrics::counter!("aegis_kubernetes_errors_total", "resource" => resource, "cause" => failure.cause())
            .increment(1);
        let problem = self.problem(failure, running.group);
        tracing::warn!(
            resource,
            cause = failure.cause(),
            problem,
            "the watch of Kubernetes is interrupted"
        );
        if *failure != Failure::Gone {
            self.say(Some(problem));
        }
        let chance = uuid::Uuid::new_v4().as_bytes()[0];
        let wait = backoff.wait(failure.retry_after(), chance);
        let until = Instant::now() + wait;
        // What time alone changes goes on.
        while Instant::now() < until {
            tokio::time::sleep(TICK.min(until - Instant::now())).await;
            metrics::gauge!("aegis_kubernetes_silent_seconds", "resource" => resource)
                .set(running.heard_at.elapsed().as_secs_f64());
        }
    }

    /// In words for who has to mend it.
    fn problem(&self, failure: &Failure, group: usize) -> String {
        let place = match &self.namespace {
            Some(namespace) => format!("namespace {namespace}"),
            None => "all namespaces".to_owned(),
        };
        let (resource, group) = (self.kind.resource(), self.kind.groups()[group].0);
        let group = if group.is_empty() { "the core group" } else { group };
        let hint = match failure {
            Failure::Refused { status: 403, .. } => format!(
                ". The service account may not list and watch {resource} of {group} in {place}: bind the role of docs/guides/kubernetes.md"
            ),
            Failure::Refused { status: 401, .. } => ". The token or certificate is not accepted: renew it".to_owned(),
            _ => String::new(),
        };
        format!("{resource} of {group} in {place}: {failure}{hint}")
    }

    fn say(&self, problem: Option<String>) {
        let up = metrics::gauge!("aegis_kubernetes_up", "resource" => self.kind.resource());
        up.set(if problem.is_none() { 1.0 } else { 0.0 });
        let scope = self.namespace.as_deref().unwrap_or("*");
        let name = format!("{NAME} {} {scope}", self.kind.resource());
        self.health.degraded(&name, problem);
    }

    fn selectors(&self) -> [(&'static str, &str); 1] {
        match self.kind {
            Kind::Event => [("fieldSelector", self.settings.event_selector.as_str())],
            _ => [("labelSelector", self.settings.label_selector.as_str())],
        }
    }
}
