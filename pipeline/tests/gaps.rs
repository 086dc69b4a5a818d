//! What GitHub's webhook could not deliver is fetched afterwards, and nothing is there twice. On the stand-in, which really sends, keeps
//! what it was answered, and writes a payload anew when it is asked for.

mod support;

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use support::{Aegis, wait_for};
use world::github::sha;
use world::{Fault, FaultKind, Running, Scenario, System, World};

const PATIENCE: Duration = Duration::from_secs(90);
const REPOSITORY: &str = "shop/cart";
const SECRET: &str = "It's a Secret to Everybody";

/// An Aegis that is not started yet, and a GitHub whose webhook leads to it.
struct Site {
    aegis: Aegis,
    world: World,
    hook: u64,
    runtime: tokio::runtime::Runtime,
    _running: Running,
    _folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(Scenario::fast());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let running = runtime.block_on(world.start("127.0.0.1:0".parse().unwrap())).unwrap();
        world
            .state()
            .github
            .repository(REPOSITORY, Utc::now(), &["First", "Second", "Third"]);
        // The first number that it gives.
        let hook = 1_001;
        let config = format!(
            "github = {{ secrets = [\"an older one\", \"{SECRET}\"] }}\n[crew]\nenabled = false\n[progress]\nlateness = \"1s\"\n\
             [gaps]\nevery = \"1s\"\n\
             [gaps.github.cart]\nurl = \"{}/github\"\ntoken = \"t0ken\"\nrepository = \"{REPOSITORY}\"\nhook = {hook}\ntimeout = \"1s\"\n",
            running.url()
        );
        let aegis = Aegis::with_dispatcher(folder.path(), &config);
        let url = format!("http://127.0.0.1:{}/webhooks/github", aegis.dispatcher);
        assert_eq!(world.state().github.hook(REPOSITORY, &url, SECRET, &[]), hook);
        Site {
            aegis,
            world,
            hook,
            runtime,
            _running: running,
            _folder: folder,
        }
    }

    fn deploy(&self, number: usize, minutes_ago: i64) {
        let at = Utc::now() - TimeDelta::minutes(minutes_ago);
        self.runtime
            .block_on(self.world.deploy(REPOSITORY, &sha(number), "production", at));
    }

    /// An event of a kind that nobody knows, in exactly these bytes.
    fn tell(&self, body: &str) {
        self.runtime
            .block_on(self.world.tell(REPOSITORY, "brand_new_event", body));
    }

    /// What the last attempt was answered.
    fn last(&self) -> world::github::Delivery {
        self.world.state().github.hooks[0].deliveries.last().unwrap().clone()
    }

    /// Signals of GitHub, each once: how many, and how often one came again.
    fn signals(&self) -> i64 {
        let rows = self
            .aegis
            .sql("select count(distinct id) as n from signals where source = 'github'");
        rows[0]["n"].as_i64().unwrap()
    }

    fn until_signals(&self, count: i64) {
        wait_for(&format!("{count} signals"), PATIENCE, || {
            let found = self.signals();
            assert!(found <= count, "{found} signals, {count} expected");
            (found == count).then_some(())
        });
    }

    /// Rounds that ended in `outcome` so far.
    fn rounds(&self, outcome: &str) -> f64 {
        self.aegis.metric(&format!(
            "aegis_github_gap_rounds_total{{hook=\"cart\",outcome=\"{outcome}\"}}"
        ))
    }

    /// So many gaps were closed in this life, and no more.
    fn until_closed(&self, count: f64) {
        wait_for(&format!("{count} gaps to be closed"), PATIENCE, || {
            let found = self.aegis.metric("aegis_github_gaps_closed_total");
            assert!(found <= count, "{found} closed, {count} expected");
            (found == count).then_some(())
        });
    }

    /// Two whole rounds from here on.
    fn looked_through(&self) {
        let before = self.rounds("done");
        wait_for("two more rounds", PATIENCE, || {
            (self.rounds("done") >= before + 2.0).then_some(())
        });
    }

    fn books_balance(&self) {
        let (code, out, err) = self.aegis.run(&["audit", "conservation"]);
        assert_eq!(code, 0, "{out}{err}");
    }
}

#[test]
fn what_was_sent_while_nobody_listened_is_fetched_once() {
    let mut site = Site::new();
    // Pages of two, so that the list has several.
    site.world.state().github.page = 2;
    for number in 1..=3 {
        site.deploy(number, 10 - number as i64);
    }
    site.tell(
        r#"{"repository":{"id":7,"name":"cart","full_name":"shop/cart"},"sender":{"login":"kim"},"odd":"\u00e9 a  b"}"#,
    );
    assert_eq!(site.last().status_code, 502, "nobody listens");
    site.aegis.start();
    site.until_signals(4);
    site.until_closed(4.0);
    // What is delivered now arrives once: the list says that it was taken.
    site.deploy(2, 1);
    assert_eq!(site.last().status_code, 202);
    site.until_signals(5);
    site.looked_through();
    site.until_closed(4.0);

    // GitHub sends an old one again, by the real door: the same bytes, nothing new.
    let first = site.world.state().github.hooks[0].deliveries[0].clone();
    assert!(site.runtime.block_on(site.world.redeliver(site.hook, first.id)));
    assert_eq!(site.last().status_code, 202);
    site.looked_through();
    assert_eq!(site.signals(), 5);

    // Another life looks through the three days again, and finds nothing new.
    site.aegis.kill();
    site.deploy(3, 0);
    site.aegis.start();
    site.until_signals(6);
    site.looked_through();
    assert_eq!(site.signals(), 6);
    let titles = site
        .aegis
        .sql("select title from signals where kind = 'change' group by 1");
    assert_eq!(titles.len(), 3, "three commits were deployed: {titles:?}");
    site.books_balance();
}

/// The signed bytes are found again where the signature tells which they were: then it is the same delivery to the byte. Where
/// they cannot be, the event is the same all the same.
#[test]
fn a_delivery_that_did_arrive_creates_nothing_twice() {
    let mut site = Site::new();
    site.aegis.start();
    site.deploy(1, 5);
    let spaced = r#"{ "action": "created", "sender": {"login": "kim"}, "repository": {"id": 7, "name": "cart", "full_name": "shop/cart"},
        "deployment": {"id": 5, "sha": "0123456789abcdef", "ref": "main", "environment": "production", "created_at": "2026-11-24T10:00:00Z"} }"#;
    site.runtime.block_on(site.world.tell(REPOSITORY, "deployment", spaced));
    site.until_signals(2);
    // GitHub never saw the answers.
    for delivery in &mut site.world.state().github.hooks[0].deliveries {
        assert_eq!(delivery.status_code, 202);
        delivery.status_code = 504;
    }
    site.aegis.kill();
    site.aegis.start();
    site.until_closed(2.0);
    // Behind both of them comes one more.
    site.deploy(2, 1);
    site.until_signals(3);
    assert_eq!(site.signals(), 3);
    let letters = site.aegis.sql("select reason from dead_letters");
    assert_eq!(letters, Vec::<Value>::new());
    site.books_balance();
}

#[test]
fn an_api_that_is_down_slow_or_odd_holds_up_nothing_and_is_asked_again() {
    let mut site = Site::new();
    site.deploy(1, 5);
    for (kind, body) in [
        (FaultKind::Error, ""),
        (FaultKind::Hang, ""),
        (FaultKind::Rubbish, ""),
        (FaultKind::Cut, ""),
        (FaultKind::Error, r#"{"message":"[]"}"#),
    ] {
        site.world.fail(Fault::new(System::Github, kind).answer(503, body));
        site.aegis.start();
        wait_for(&format!("a round to fail: {kind:?}"), PATIENCE, || {
            (site.rounds("failed") >= 1.0).then_some(())
        });
        // The door is open meanwhile.
        let alert = json!({"version": "4", "status": "firing", "receiver": "r", "groupLabels": {}, "commonLabels": {},
            "commonAnnotations": {}, "externalURL": "http://am", "groupKey": "k", "alerts": [{"status": "firing", "annotations": {},
            "labels": {"alertname": "Up"}, "startsAt": Utc::now(), "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "f1"}]});
        let headers = "Content-Type: application/json\r\n";
        let answer = support::http(
            site.aegis.dispatcher,
            "POST",
            "/webhooks/alertmanager",
            headers,
            &alert.to_string(),
        );
        assert_eq!(answer.unwrap().0, 202);
        assert_eq!(site.signals(), 0, "{kind:?}");
        site.world.heal();
        site.aegis.kill();
    }
    site.aegis.start();
    site.until_signals(1);
    // One delivery that cannot be had keeps no other.
    site.aegis.kill();
    site.deploy(2, 4);
    let broken = site.last().id;
    site.deploy(3, 3);
    site.world.fail(Fault {
        path: Some(format!("/deliveries/{broken}")),
        ..Fault::new(System::Github, FaultKind::Rubbish)
    });
    site.aegis.start();
    site.until_signals(2);
    assert!(site.rounds("failed") >= 1.0);
    site.world.heal();
    site.until_signals(3);
    site.books_balance();
}

/// Once GitHub says that enough was asked, nothing is asked until the time that it names.
#[test]
fn a_limit_of_requests_is_kept() {
    let mut site = Site::new();
    for number in 1..=3 {
        site.deploy(number, 5);
    }
    // The list and one payload are answered, then nothing for a while.
    let reset = Utc::now() + TimeDelta::seconds(25);
    site.world.state().github.budget = Some((2, reset));
    site.aegis.start();
    wait_for("the limit to be met", PATIENCE, || {
        (site.rounds("failed") >= 1.0).then_some(())
    });
    let asked = || site.world.count(System::Github, "GET");
    let until_then = asked();
    assert!(until_then <= 3, "{until_then}");
    // All that is asked before the reset was asked before the limit was known.
    site.until_signals(3);
    assert!(Utc::now() >= reset, "not before the time that it named");
    let early = site.world.state();
    let early = early
        .requests
        .iter()
        .filter(|seen| seen.system == System::Github && seen.at < reset);
    assert!(early.count() <= 3, "three questions before the limit was met");
}
