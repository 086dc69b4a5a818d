//! The broker and the database die by kill -9, and stand still, under a running `aegis` and under load: it goes on by
//! itself when they are back, every alert that was answered with 2xx stands once, and the books balance.
//!
//! One death each; `AEGIS_TEST_LONG=1` makes it three, and three standstills.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use support::alerts::{Promised, send, titles_of};
use support::server::Server;
use support::{Aegis, Program, http_get, required, wait_for};

/// What stands still without a broker: members of groups, and the doors.
const WAITING: [&str; 6] = ["normalize", "dedupe", "correlate", "sink.sql", "sink.archive", "doors"];
/// A broker that has died is back in its group's eyes within some 20 s; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(180);
/// What must have been answered between two disturbances.
const SOME: usize = 100;

fn long() -> bool {
    std::env::var("AEGIS_TEST_LONG").is_ok_and(|long| long == "1")
}

/// A running `aegis` with a broker and a database of its own, and a sender that does not stop.
struct Scene {
    aegis: Aegis,
    promised: Arc<Promised>,
    sender: Option<JoinHandle<()>>,
    kafka: Server,
    postgres: Server,
    folder: tempfile::TempDir,
}

impl Drop for Scene {
    fn drop(&mut self) {
        // What broker and database say is what one needs to know then.
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("/readyz: {:?}", http_get(self.aegis.gateway, "/readyz"));
            eprintln!("left for a look: {}", self.folder.path().display());
        }
    }
}

impl Scene {
    /// `None` where the tests may do without servers.
    fn set() -> Option<Self> {
        required("AEGIS_TEST_KAFKA")?;
        required("AEGIS_TEST_POSTGRES")?;
        let folder = tempfile::Builder::new().prefix("aegis-neighbours").tempdir().unwrap();
        // PostgreSQL runs as another user when this runs as root, and has to get through.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let (kafka, brokers) = Server::start("kafka", folder.path(), "AEGIS_TEST_KAFKA");
        let (postgres, url) = Server::start("postgres", folder.path(), "AEGIS_TEST_POSTGRES");
        // Short: members notice, and senders are told, soon. A second's patience is enough for a broker that is well.
        let config = format!(
            "request_timeout_s = 2\n[log]\nkind = \"kafka\"\n[log.kafka]\nbootstrap_servers = [\"{brokers}\"]\n\
             session_timeout_ms = 6000\n[topics]\npartitions = 2\n[store]\nurl = \"{url}\"\n"
        );
        let mut aegis = Aegis::with_dispatcher(&folder.path().join("aegis"), &config);
        aegis.start();
        let promised = Arc::new(Promised::default());
        let sender = {
            let (promised, port) = (promised.clone(), aegis.dispatcher);
            std::thread::spawn(move || send(&promised, &[port]))
        };
        let scene = Scene {
            aegis,
            promised,
            sender: Some(sender),
            kafka,
            postgres,
            folder,
        };
        scene.answered(SOME);
        Some(scene)
    }

    /// Waits for so many more answers.
    fn answered(&self, more: usize) {
        let wanted = self.promised.count() + more;
        wait_for("answers", PATIENCE, || (self.promised.count() >= wanted).then_some(()));
    }

    /// Records that a sink has written.
    fn written(&self, sink: &str) -> f64 {
        self.aegis
            .metric(&format!("aegis_sink_records_total{{sink=\"{sink}\"}}"))
    }

    fn caught_up(&self, sink: &str, before: f64) {
        wait_for(&format!("sink {sink} to go on"), PATIENCE, || {
            (self.written(sink) > before).then_some(())
        });
    }

    /// Whether `/readyz` names each as one that waits.
    fn all_wait(&self) -> bool {
        let Some((503, body)) = http_get(self.aegis.gateway, "/readyz") else {
            return false;
        };
        let report: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let failing = report["failing"].as_array().expect("a list");
        WAITING.iter().all(|member| {
            failing
                .iter()
                .any(|one| one["stage"] == *member && one["reason"] == "waiting")
        })
    }

    /// Ends the storm and the process, and looks at everything.
    fn close(mut self) {
        self.promised.stop();
        println!(
            "{} alerts answered, {} ends written again",
            self.promised.count(),
            self.aegis.metric("aegis_kafka_seals_total") as u64
        );
        self.sender.take().map(JoinHandle::join);
        let wanted = self.promised.titles();
        let until = Instant::now() + PATIENCE;
        let all = loop {
            let all = titles_of(&self.aegis);
            let found: BTreeSet<String> = all.iter().cloned().collect();
            let missing: Vec<&String> = wanted.difference(&found).collect();
            if missing.is_empty() {
                break all;
            }
            let ready = http_get(self.aegis.gateway, "/readyz");
            assert!(
                Instant::now() < until,
                "{} of {} are missing: {:?} …; /readyz: {ready:?}",
                missing.len(),
                wanted.len(),
                &missing[..missing.len().min(5)]
            );
            std::thread::sleep(Duration::from_millis(200));
        };
        let distinct: BTreeSet<&String> = all.iter().collect();
        assert_eq!(all.len(), distinct.len(), "an alert stands twice");
        wait_for("/readyz to be content", PATIENCE, || {
            http_get(self.aegis.gateway, "/readyz").filter(|(status, _)| *status == 200)
        });
        assert_eq!(self.aegis.program.as_mut().map(Program::terminate), Some(Some(0)));
        let (code, out, err) = self.aegis.run(&["audit", "conservation"]);
        assert_eq!(code, 0, "the books balance:\n{out}\n{err}");
    }
}

#[test]
fn the_broker_and_the_database_die_and_come_back() {
    let Some(scene) = Scene::set() else { return };
    for _ in 0..if long() { 3 } else { 1 } {
        // Senders are told to come again: nothing is answered that is not in the log.
        let refused = scene.promised.refusals();
        scene
            .kafka
            .outage(|| scene.promised.refusals() > refused && scene.all_wait());
        scene.answered(SOME);
        scene.caught_up("sql", scene.written("sql"));
        // The doors stay open, as the log takes what comes.
        let taken = scene.promised.count();
        scene.postgres.outage(|| scene.promised.count() > taken + SOME / 2);
        scene.caught_up("sql", scene.written("sql"));
    }
    scene.close();
}

#[test]
fn the_broker_and_the_database_stand_still_and_go_on() {
    let Some(scene) = Scene::set() else { return };
    for round in 0..if long() { 3 } else { 1 } {
        // Commits wait for their answers; some are lost when the connections are given up.
        let refused = scene.promised.refusals();
        let still = Duration::from_secs(10 + 10 * round);
        let began = Instant::now();
        scene
            .kafka
            .standstill(|| began.elapsed() > still && scene.promised.refusals() > refused);
        scene.answered(SOME);
        scene.caught_up("sql", scene.written("sql"));

        // One sink that cannot write leaves the other at the pace of what comes in.
        let (taken, archived) = (scene.promised.count(), scene.written("archive"));
        let (still, began) = (Duration::from_secs(15 + 15 * round), Instant::now());
        let mut stood = None;
        scene.postgres.standstill(|| {
            let stood = *stood.get_or_insert_with(|| scene.written("sql"));
            let came = scene.promised.count() - taken;
            assert_eq!(scene.written("sql"), stood, "the database stands still");
            began.elapsed() > still && came > SOME && scene.written("archive") >= archived + came as f64
        });
        scene.caught_up("sql", stood.unwrap_or_default());
    }
    scene.close();
}
