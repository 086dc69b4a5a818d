//! The process dies (as with kill -9) at every place on the way of one incident, from the alert to the postmortem, and is started again each
//! time. Afterwards the cluster has seen one restart, every step has one answer, Slack has one message that is changed in place with each line
//! below it once, and the agents have resolved it.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use stream::failpoint::WORK_PLACES;
use support::site::{ALLOW, PATIENCE, Site};
use support::wait_for;
use world::System;

/// A place that is not reached within this time is not reached at all.
const REACHED: Duration = Duration::from_secs(60);

/// The first message stands on Slack, and who posted it dies before that is written down: the next life finds it there.
const FIRST_MESSAGE: &str = "notify.posted@chat:1";

/// What is not done yet when it dies.
const BEFORE: &[&str] = &[
    "ingress.before:1",
    "commit.before@normalize:1",
    "commit.before@correlate:1",
    FIRST_MESSAGE,
    "commit.before@crew:1",
    "step.before@log_analyst:1",
    "step.before@metric_correlator:1",
    "step.before@fixer:1",
    "commit.before@gate:1",
    "deed.before:1",
    "sink.before@sql:1",
    "step.before@postmortem_writer:1",
    "notify.before@chat:1",
];

/// What is done and not heard of.
const AFTER: &[&str] = &[
    "ingress.after:1",
    "commit.after@correlate:1",
    FIRST_MESSAGE,
    "commit.after@crew:1",
    "step.after@log_analyst:1",
    "step.after@metric_correlator:1",
    "step.after@fixer:1",
    "commit.after@gate:1",
    "deed.after:1",
    "sink.after@sql:1",
    "step.after@postmortem_writer:1",
    "notify.after@chat:1",
];

/// What is heard of and not let go of: answers of agents, of the executor, of a check.
const SAID: &[&str] = &[
    FIRST_MESSAGE,
    "work.said@agents:1",
    "work.said@agents:1",
    "work.said@remediate:1",
    "work.said@remediate:1",
    "work.said@agents:1",
];

/// Around the first step, which is done before the first message is remembered.
const TRIAGE: &[&str] = &["step.before@triage:1", "step.after@triage:1"];

/// Lets the process die at `places`, one after the other, then live to the end of the incident.
fn die_at(places: &[&str]) {
    let chat = |url: &str| {
        format!(
            "[notify.receivers.chat]\nkind = \"slack\"\nchannel = \"C1\"\ntoken = \"xoxb-1\"\nurl = \"{url}/api/\"\n\
             [[notify.routes]]\nreceivers = [\"chat\"]\n"
        )
    };
    let mut site = Site::prepared(ALLOW, chat, |_| {});
    site.aegis.start();
    site.log_oom();
    site.aegis.kill();
    let mut taken = false;
    for place in places {
        site.aegis.set_env("AEGIS_TEST_FAILPOINT", Some(place));
        site.aegis.spawn();
        let mut program = site.aegis.program.take().expect("started");
        wait_for(&format!("death at {place}"), REACHED, || {
            // As an Alertmanager: until it was answered with yes.
            taken = taken || site.try_alert();
            (!program.running()).then_some(())
        });
    }
    assert!(taken, "the alert was taken in some life");
    site.aegis.set_env("AEGIS_TEST_FAILPOINT", None);
    site.aegis.start();
    site.remediation("verified");
    let incident = site.incident("the incident resolved by the agent", |row| row["status"] == "resolved");
    assert_eq!(incident["resolved_by"], "agent");
    assert_eq!(site.restarts(), 1, "the cluster was asked once");
    let steps = wait_for("every step's answer", PATIENCE, || {
        let rows = site
            .aegis
            .sql("select agent_name, status, count(*) as n from agent_executions group by 1, 2 order by 1");
        rows.iter().all(|row| row["status"] != "running").then_some(rows)
    });
    let once = |agent: &str| json!({"agent_name": agent, "status": "success", "n": 1});
    let agents = [
        "fixer",
        "log_analyst",
        "metric_correlator",
        "postmortem_writer",
        "triage",
    ];
    assert_eq!(steps, agents.map(once));
    let found = wait_for("the message to tell the end", PATIENCE, || {
        let messages = site.world.state().slack.messages.clone();
        let told = |text: &str| messages.iter().any(|one| one.content.to_string().contains(text));
        told("esolved").then_some(messages)
    });
    let (threads, lines): (Vec<_>, Vec<_>) = found.iter().partition(|one| one.content["thread_ts"] == Value::Null);
    assert_eq!(threads.len(), 1, "one message: {found:#?}");
    assert!(threads[0].updates > 0, "it is changed in place: {found:#?}");
    let told: Vec<&Value> = lines
        .iter()
        .map(|one| &one.content["metadata"]["event_payload"]["notification"])
        .collect();
    let each_once: std::collections::BTreeSet<String> = told.iter().map(|id| id.to_string()).collect();
    assert!(
        told.len() == each_once.len() && !each_once.contains("null"),
        "each line once: {found:#?}"
    );
    assert!(site.world.count(System::Slack, "POST") > 1, "and lines below it");
    site.books_balance();
}

/// Of the message, and of lines below it, what stands there is not written down.
const TOLD: &[&str] = &[
    FIRST_MESSAGE,
    "notify.replied@chat:1",
    "notify.posted@chat:1",
    "notify.replied@chat:2",
];

#[test]
fn between_each_message_and_its_memory() {
    die_at(TOLD);
}

#[test]
fn before_each_step() {
    die_at(BEFORE);
}

#[test]
fn after_each_step() {
    die_at(AFTER);
}

#[test]
fn behind_each_answer() {
    die_at(SAID);
}

#[test]
fn around_the_first_step() {
    die_at(TRIAGE);
}

#[test]
fn it_dies_at_every_place_of_the_work() {
    let all: Vec<&str> = [BEFORE, AFTER, SAID, TRIAGE, TOLD].concat();
    for (place, _) in WORK_PLACES {
        assert!(all.iter().any(|death| death.starts_with(place)), "{place}");
    }
}
