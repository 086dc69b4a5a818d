//! The example of `make demo-oom`, by the code that the demo runs: a real Prometheus with a past, a real Alertmanager, the real
//! `aegis`. What the demo shows must hold on the embedded log with SQLite and on Kafka with PostgreSQL, and must not hold of a story in
//! which something else happened.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use support::{database, required};
use tempfile::TempDir;
use world::demo::{Look, Options, Programs, Site, Story, Trouble, checks, over, stages};
use world::real::RealCluster;
use world::{Fault, FaultKind, System};

const PATIENCE: Duration = Duration::from_secs(120);

fn programs() -> Option<Programs> {
    required("AEGIS_TEST_PROMETHEUS_BIN")?;
    let programs = Programs::of_environment(PathBuf::from(env!("CARGO_BIN_EXE_aegis")));
    Some(programs.expect("scripts/test-services.sh names them all"))
}

/// A site in a folder of its own; `None` without Prometheus.
async fn site(options: Options) -> Option<(Site, TempDir)> {
    let programs = programs()?;
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options {
        pace: (100, 300),
        ..options
    };
    let site = Site::start(&programs, folder.path(), &options, |said| println!("{said}")).await;
    Some((site.unwrap_or_else(|fault| panic!("{fault:#}")), folder))
}

async fn until<T>(site: &mut Site, what: &str, found: impl FnMut(&Look) -> Option<T>) -> T {
    let seen = site.until(what, PATIENCE, found).await;
    seen.unwrap_or_else(|fault| panic!("{fault:#}"))
}

fn storm() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/storm.ndjson")
}

/// The points that do not hold.
fn missed(site: &Site, look: &Look) -> Vec<&'static str> {
    let all = checks(look, &site.world).into_iter();
    all.filter(|check| !check.holds).map(|check| check.name).collect()
}

/// Everything that the demo shows.
async fn shown(settings: String, cluster: Option<RealCluster>) {
    let options = Options {
        settings,
        earlier: Some(storm()),
        cluster,
        ..Options::default()
    };
    let Some((mut site, _folder)) = site(options).await else {
        return;
    };
    let look = the_end(&mut site).await;
    for stage in stages(&look, &site.world) {
        println!("{} {} {:?}", stage.at, stage.name, stage.told);
    }
    assert_eq!(missed(&site, &look), Vec::<&str>::new());
    each_point_can_fail(&site, &look);
    let earlier = run(&site, &["incidents", "--json"]).await;
    assert!(
        earlier.lines().count() > 1,
        "the earlier incidents are there: {earlier}"
    );
    run(&site, &["ledger", "verify"]).await;
    run(&site, &["audit", "conservation"]).await;
}

/// What a point asks for is taken away, and that point alone is missed.
fn each_point_can_fail(site: &Site, look: &Look) {
    type Change = fn(&mut Look);
    let changes: [(&str, Change); 13] = [
        ("name", |look| {
            look.incident["title"] = "High Memory Usage on api-server".into();
        }),
        ("commits", |look| {
            let citations = finding(look, "recent_change")["citations"].as_array_mut().unwrap();
            citations.retain(|citation| citation["source"] != "github");
        }),
        ("tickets", |look| {
            let report = &mut fact(look, "postmortem_added", |_| true)["postmortem"];
            let follow_ups = report["follow_ups"].as_array_mut().unwrap();
            follow_ups.retain(|one| !one["text"].as_str().unwrap().contains("OPS-7"));
        }),
        ("triage", |look| {
            let triage = look.steps.iter_mut().find(|step| step["agent"] == "triage");
            triage.unwrap()["output"]["triage"]["severity"] = "warning".into();
        }),
        ("log lines", |look| {
            finding(look, "out_of_memory")["facts"]["templates"][0]["count"] = 1.into();
        }),
        ("traffic", |look| {
            finding(look, "traffic_before_symptom")["facts"]["lag_minutes"] = 12.into();
        }),
        ("suspect", |look| {
            fact(look, "suspect_found", |_| true)["suspect"]["service"] = "checkout".into();
        }),
        ("proposal", |look| {
            look.remediations[0]["proposal"]["dry_run"] = "".into()
        }),
        ("grant", |look| {
            look.remediations[0]["decided_by"] = "agent:fixer".into()
        }),
        ("verification", |look| look.remediations[0]["after"] = Value::Null),
        ("postmortem", |look| {
            fact(look, "postmortem_added", |_| true)["postmortem"]["impact"]["citations"] = Value::Array(Vec::new());
        }),
        ("resolution", |look| look.incident["resolved_by"] = "human:ada".into()),
        ("time", |look| {
            let closed = look.events.iter_mut().find(|event| event["fact"] == "closed");
            closed.unwrap()["observed_at"] = "2100-01-01T00:00:00Z".into();
        }),
    ];
    for (name, change) in changes {
        let mut changed = look.clone();
        change(&mut changed);
        assert_eq!(missed(site, &changed), [name]);
    }
    // And what the stand-ins saw: a second patch, and a message that says nothing of the end.
    let mut state = site.world.state();
    let patch = state
        .requests
        .iter()
        .find(|seen| seen.method == "PATCH" && !seen.uri.contains("dryRun"));
    let patch = patch.cloned().unwrap();
    state.requests.push(patch);
    state
        .slack
        .messages
        .iter_mut()
        .for_each(|message| message.content["text"] = "[CRITICAL]".into());
    drop(state);
    assert_eq!(missed(site, look), ["execution", "slack"]);
}

/// The first fact of a kind that `is` it.
fn fact<'a>(look: &'a mut Look, kind: &str, is: impl Fn(&Value) -> bool) -> &'a mut Value {
    let mut events = look.events.iter_mut().filter(|event| event["fact"] == kind);
    let event = events.find(|event| is(&event["payload"]["fact"]));
    &mut event.unwrap_or_else(|| panic!("no {kind}"))["payload"]["fact"]
}

fn finding<'a>(look: &'a mut Look, kind: &str) -> &'a mut Value {
    &mut fact(look, "finding_added", |fact| fact["finding"]["kind"] == kind)["finding"]
}

/// Resolved, and told on Slack.
async fn the_end(site: &mut Site) -> Look {
    let world = site.world.clone();
    until(site, "the incident resolved and told", |look| {
        over(&stages(look, &world)).then(|| look.clone())
    })
    .await
}

async fn run(site: &Site, arguments: &[&str]) -> String {
    let said = site.run(arguments).await;
    said.unwrap_or_else(|fault| panic!("{fault:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_on_the_embedded_log() {
    shown(String::new(), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_on_kafka_and_postgresql() {
    let (Some(kafka), Some(postgres)) = (required("AEGIS_TEST_KAFKA"), required("AEGIS_TEST_POSTGRES")) else {
        return;
    };
    let (url, prefix) = (database(&postgres, "demo_oom").await, uuid::Uuid::new_v4().simple());
    let settings = format!(
        "[signing]\nkeys = [\"a key that every process of this test holds\"]\n[log]\nkind = \"kafka\"\n[log.kafka]\nbootstrap_servers = [\"{kafka}\"]\ntopic_prefix = \"{prefix}.\"\n\
         [topics]\npartitions = 2\n[store]\nurl = \"{url}\"\n"
    );
    shown(settings, None).await;
}

/// The same where the Kubernetes that Aegis looks at and acts on is no stand-in (`make test-kubernetes`). Only this story: a real API server
/// dates a revision by its own clock, and no release of 40 minutes ago is taken back that the cluster saw just now.
mod real_api_server {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn all_of_it() {
        let Some(cluster) = RealCluster::opted_in() else { return };
        shown(String::new(), Some(cluster)).await;
    }
}

/// A site that tells another story.
async fn other(story: Story) -> Option<(Site, TempDir)> {
    site(Options {
        story,
        ..Options::default()
    })
    .await
}

fn root_cause(look: &Look) -> String {
    let report = look.postmortem().unwrap_or_else(|| panic!("no postmortem: {look}"));
    report["root_cause"]["text"].as_str().unwrap_or_default().to_owned()
}

/// The first template of a finding, and what kinds of findings there are.
fn found(look: &Look) -> (String, Vec<&str>) {
    let all = look.facts("finding_added").map(|(fact, _)| &fact["finding"]);
    let mut kinds: Vec<&str> = all.filter_map(|finding| finding["kind"].as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let template = look.findings("error_lines").next().map(|finding| {
        finding["facts"]["templates"][0]["template"]
            .as_str()
            .unwrap_or_default()
    });
    (template.unwrap_or_default().to_owned(), kinds)
}

/// Without a rise of traffic the release is what changed: to take it back is proposed, which no rule allows, so a human is asked.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_rise_of_traffic_the_release_is_taken_back() {
    let story = Story {
        traffic_rose: false,
        ..Story::default()
    };
    let Some((mut site, _folder)) = other(story).await else {
        return;
    };
    let waiting = until(&mut site, "a remediation that waits", |look| {
        let row = look.remediation().filter(|row| row["status"] == "waiting");
        row.map(|_| look.clone())
    })
    .await;
    assert_eq!(waiting.findings("traffic_before_symptom").count(), 0);
    let row = waiting.remediation().unwrap();
    assert_eq!([&row["action"], &row["target"]], ["rollback", "deployment/api-server"]);
    assert_eq!(row["proposal"]["inverse"]["type"], "rollback", "{row}");
    assert!(
        row["reason"]
            .as_str()
            .unwrap()
            .contains("no rise of traffic explains it"),
        "{row}"
    );
    assert!(
        missed(&site, &waiting).contains(&"execution"),
        "nothing happens before the yes"
    );
    let id = row["id"].as_str().unwrap();
    run(&site, &["approve", id, "--yes"]).await;
    let look = the_end(&mut site).await;
    assert_eq!(missed(&site, &look), ["traffic", "proposal"]);
    assert!(
        look.remediation().unwrap()["decided_by"]
            .as_str()
            .unwrap()
            .starts_with("human:")
    );
    let cause = root_cause(&look);
    assert!(
        cause.contains("a change of the service came") && !cause.contains("traffic"),
        "{cause}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_release_nobody_is_suspected() {
    let story = Story {
        released: false,
        ..Story::default()
    };
    let Some((mut site, _folder)) = other(story).await else {
        return;
    };
    let look = the_end(&mut site).await;
    assert_eq!(missed(&site, &look), ["suspect", "commits"]);
    assert_eq!(look.facts("suspect_found").count(), 0);
    let cause = root_cause(&look);
    assert!(
        cause.contains("traffic had risen to 3.0 times") && !cause.contains("change"),
        "{cause}"
    );
    let report = look.postmortem().unwrap().to_string();
    assert!(
        !report.contains("Deployment of") && !report.contains("commit"),
        "{report}"
    );
}

/// GitHub and Jira do not answer: the release stays a suspect, what it brought and what is written down are said to be not known, and
/// nothing else changes.
#[tokio::test(flavor = "multi_thread")]
async fn with_github_and_jira_down_the_report_says_so() {
    let Some((mut site, _folder)) = other(Story::default()).await else {
        return;
    };
    for system in [System::Github, System::Jira] {
        site.world
            .fail(Fault::new(system, FaultKind::Error).answer(503, "maintenance"));
    }
    let look = the_end(&mut site).await;
    assert_eq!(missed(&site, &look), ["commits", "tickets"]);
    let report = look.postmortem().unwrap();
    let follow_ups = report["follow_ups"].to_string();
    for said in [
        "Not known: what changed with the suspect deployment",
        "Not known: which tickets are open about api-server",
    ] {
        assert!(follow_ups.contains(said), "{follow_ups}");
    }
    assert!(root_cause(&look).contains("a change of the service came"), "{report}");
}

/// Memory ran out, and nothing that is known came before: the restart is relief, and the cause is said to be unknown.
#[tokio::test(flavor = "multi_thread")]
async fn without_either_the_cause_is_not_known() {
    let story = Story {
        traffic_rose: false,
        released: false,
        ..Story::default()
    };
    let Some((mut site, _folder)) = other(story).await else {
        return;
    };
    let look = the_end(&mut site).await;
    assert_eq!(missed(&site, &look), ["traffic", "suspect", "commits"]);
    let cause = root_cause(&look);
    assert!(cause.contains("what used it up is not known"), "{cause}");
}

/// Memory is as always, and the log tells of something else: no restart would help.
#[tokio::test(flavor = "multi_thread")]
async fn another_error_is_told_and_nothing_is_proposed() {
    let story = Story {
        traffic_rose: false,
        released: false,
        trouble: Trouble::Database,
    };
    let Some((mut site, _folder)) = other(story).await else {
        return;
    };
    let look = abstained(&mut site).await;
    let (template, kinds) = found(&look);
    assert!(template.contains("connection to database"), "{template}");
    assert!(kinds.contains(&"error_lines"), "{kinds:?}");
    assert!(
        !kinds.contains(&"out_of_memory") && !kinds.contains(&"traffic_before_symptom"),
        "{kinds:?}"
    );
    let cause = root_cause(&look);
    assert!(cause.starts_with("Not known. What was seen: 22 error lines"), "{cause}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_wrong_nothing_is_found() {
    let story = Story {
        traffic_rose: false,
        released: false,
        trouble: Trouble::FalseAlarm,
    };
    let Some((mut site, _folder)) = other(story).await else {
        return;
    };
    let look = abstained(&mut site).await;
    let triage = &look.step("triage").unwrap()["output"]["triage"];
    assert_eq!(
        triage["severity"], "warning",
        "the metric contradicts the sender: {triage}"
    );
    assert_eq!(found(&look), (String::new(), vec!["impact"]));
    assert_eq!(root_cause(&look), "Not known: nothing that was looked at explains it.");
}

/// The fixer has proposed nothing, the alert has ended, and the postmortem is written.
async fn abstained(site: &mut Site) -> Look {
    let fixer = until(site, "the fixer's answer", |look| look.step("fixer").cloned()).await;
    assert_eq!(
        (&fixer["status"], &fixer["output"]["proposal"]),
        (&"success".into(), &Value::Null)
    );
    let unknown = fixer["output"]["unknown"].to_string();
    assert!(unknown.contains("no action is proposed, because"), "{unknown}");
    let ended = site.end_alert().await;
    ended.unwrap_or_else(|fault| panic!("{fault:#}"));
    let look = until(site, "the postmortem", |look| look.postmortem().map(|_| look.clone())).await;
    assert_eq!(look.remediations, Vec::<Value>::new());
    assert!(missed(site, &look).contains(&"execution"), "the cluster is as it was");
    assert_eq!(
        (&look.incident["status"], &look.incident["resolved_by"]),
        (&"resolved".into(), &Value::Null)
    );
    look
}
