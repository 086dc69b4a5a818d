//! Correlate: what people and the crew say about incidents, and the changes that are named as suspects.

#[path = "support/dsl.rs"]
mod dsl;
#[path = "support/rig.rs"]
mod rig;

use chrono::{DateTime, Utc};
use dsl::Line;
use model::command::{IncidentCommand, Order};
use model::evidence::{Citation, Finding, FindingKind};
use model::{Fact, IncidentEvent, IncidentId, Status, topics};
use operators::correlate::{Correlate, CorrelateSettings};
use operators::dedupe::{Dedupe, DedupeSettings};
use rig::{Rig, json, signals, typed};
use uuid::Uuid;

/// Dedupe and correlate behind each other; killed and restored after every step.
struct Pair {
    dedupe: Rig<Dedupe>,
    correlate: Rig<Correlate>,
    facts: Vec<IncidentEvent>,
}

impl Pair {
    fn new() -> Self {
        Pair {
            dedupe: Rig::new(|| Dedupe::new(&DedupeSettings::default())).mortal(),
            correlate: Rig::new(|| Correlate::new(&CorrelateSettings::default())).mortal(),
            facts: Vec::new(),
        }
    }

    fn hear(&mut self, input: &str) -> &mut Self {
        for line in dsl::lines(input) {
            let (records, time) = match line {
                Line::Signal(signal) => (self.dedupe.feed(&[*signal]), None),
                Line::Time(at) => (self.dedupe.watermark(at), Some(at)),
            };
            let transitions = signals(&records);
            if !transitions.is_empty() {
                self.facts
                    .extend(json::<IncidentEvent>(&self.correlate.feed(&transitions)));
            }
            if time.is_some() {
                let progress = self.dedupe.progress();
                self.facts
                    .extend(json::<IncidentEvent>(&self.correlate.watermark_at(progress)));
            }
        }
        self
    }

    fn say(&mut self, number: u128, incident: IncidentId, by: &str, at: i64, order: Order) -> &mut Self {
        let command = IncidentCommand {
            schema: IncidentCommand::SCHEMA,
            id: Uuid::from_u128(number),
            incident_id: incident,
            by: by.into(),
            at: seconds(at),
            order,
        };
        let record = typed(topics::header::COMMAND, &command);
        self.facts
            .extend(json::<IncidentEvent>(&self.correlate.feed_record(&record)));
        self
    }

    fn last(&self) -> &IncidentEvent {
        self.facts.last().unwrap()
    }

    fn names(&self) -> Vec<&str> {
        self.facts.iter().map(|event| event.fact.name()).collect()
    }

    fn suppressed(&self) -> u64 {
        self.correlate.total(|counts| counts.suppressed.values().sum())
    }
}

fn seconds(at: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(at, 0).unwrap()
}

fn resolve(words: &str) -> Order {
    Order::Resolve {
        resolution: words.into(),
    }
}

#[test]
fn an_acknowledged_incident_is_being_investigated() {
    let mut pair = Pair::new();
    pair.hear("fire a @10 svc=s");
    let id = pair.last().incident.id;
    pair.say(1, id, "human:ada", 20, Order::Acknowledge);
    assert_eq!(pair.last().incident.status, Status::Investigating);
    // The same command once more, as a retry sends it.
    pair.say(1, id, "human:ada", 20, Order::Acknowledge);
    assert_eq!(pair.names(), ["opened", "acknowledged"]);
    pair.hear("end a @10 until=30");
    assert_eq!(pair.last().incident.status, Status::Resolved);
    assert_eq!(pair.last().incident.resolved_by, None);
}

#[test]
fn what_was_taken_up_where_it_came_from_is_acknowledged() {
    // Before its trigger, behind it, and behind the end: said once of the incident.
    for (input, names) in [
        (
            "ack a @15\n trigger a @10 svc=s\n ack a @16 text=2",
            &["opened", "acknowledged"][..],
        ),
        (
            "trigger a @10 svc=s\n ack a @15\n ack a @16",
            &["opened", "acknowledged"],
        ),
        (
            "clear a @20\n trigger a @10 svc=s\n ack a @15",
            &["opened", "member_changed", "resolved", "acknowledged"],
        ),
    ] {
        let mut pair = Pair::new();
        pair.hear(input);
        assert_eq!(pair.names(), names, "{input}");
        let by = pair.facts.iter().find_map(|event| match &event.fact {
            Fact::Acknowledged { by } => Some((by.as_str(), event.at)),
            _ => None,
        });
        assert_eq!(by, Some(("sender:test", seconds(15))));
    }
    let mut pair = Pair::new();
    pair.hear("trigger a @10 info svc=s\n ack a @15");
    assert_eq!((pair.names(), pair.suppressed()), (vec![], 1), "there is no incident");
}

#[test]
fn what_expired_and_is_said_again_opens_its_incident_again() {
    let mut pair = Pair::new();
    pair.hear("fire a @10 svc=s until=100\n time 100\n fire a @10 svc=s until=300\n end a @10 until=250");
    assert_eq!(
        pair.names(),
        [
            "opened",
            "member_changed",
            "resolved",
            "member_changed",
            "reopened",
            "member_changed",
            "resolved"
        ]
    );
    assert_eq!(pair.last().incident.resolved_at, Some(seconds(250)));
}

#[test]
fn a_closed_incident_opens_again_when_something_fires_since() {
    let mut pair = Pair::new();
    pair.hear("fire a @10 svc=s");
    let id = pair.last().incident.id;
    pair.say(1, id, "human:ada", 20, resolve("restarted by hand"));
    let closed = &pair.last().incident;
    assert_eq!(
        (closed.status, closed.resolved_at),
        (Status::Resolved, Some(seconds(20)))
    );
    assert_eq!(closed.resolved_by.as_deref(), Some("human:ada"));
    assert_eq!(closed.resolution.as_deref(), Some("restarted by hand"));
    // What had begun before does not open it, what begins since does.
    pair.hear("fire b @15 svc=s");
    assert_eq!(pair.last().incident.status, Status::Resolved);
    pair.hear("fire c @25 svc=s");
    assert_eq!(
        pair.names(),
        ["opened", "closed", "signal_joined", "signal_joined", "reopened"]
    );
    assert_eq!(
        (pair.last().incident.status, &pair.last().incident.resolved_by),
        (Status::Open, &None)
    );
}

#[test]
fn the_agent_resolves_what_has_ended_already() {
    let mut pair = Pair::new();
    pair.hear("fire a @10 svc=s\n end a @10 until=30");
    let id = pair.last().incident.id;
    pair.say(1, id, "agent:postmortem_writer", 40, resolve("deployment restarted"));
    let incident = &pair.last().incident;
    assert_eq!(incident.resolved_by.as_deref(), Some("agent"));
    assert_eq!(incident.resolved_at, Some(seconds(30)), "when its last member ended");
}

#[test]
fn a_command_about_a_merged_incident_reaches_the_one_it_lives_on_in() {
    let mut pair = Pair::new();
    pair.hear("fire a @10 svc=s\n fire b @10 svc=t");
    let (first, second) = (pair.facts[0].incident.id, pair.facts[1].incident.id);
    pair.hear("fire c @20 svc=s grp=g\n fire d @21 svc=t grp=g");
    let survivor = pair.last().incident.id;
    let merged = if survivor == first { second } else { first };
    pair.say(1, merged, "human:ada", 30, Order::Acknowledge);
    assert_eq!(
        (pair.last().incident.id, pair.last().incident.status),
        (survivor, Status::Investigating)
    );
}

#[test]
fn commands_about_nothing_are_counted() {
    let mut pair = Pair::new();
    pair.say(1, IncidentId::default(), "human:ada", 1, Order::Acknowledge);
    assert_eq!((pair.facts.len(), pair.suppressed()), (0, 1));
    // Final and forgotten.
    pair.hear("fire a @10 svc=s\n end a @10 until=20");
    let id = pair.last().incident.id;
    pair.hear("time 10000\n time 10001");
    pair.say(2, id, "human:ada", 10_000, Order::Acknowledge);
    assert_eq!(pair.suppressed(), 2);
    assert_eq!(pair.correlate.entries(), 0, "nothing is kept of it");
}

#[test]
fn findings_stand_in_the_history() {
    let mut pair = Pair::new();
    pair.hear("fire a @10 svc=s");
    let id = pair.last().incident.id;
    let finding = Finding {
        kind: FindingKind::Impact,
        summary: "95 % of its memory".into(),
        facts: serde_json::Map::new(),
        citations: vec![Citation::new("prometheus", "up", (seconds(1), seconds(1)), "1")],
    };
    let order = Order::AddFinding {
        finding: Box::new(finding.clone()),
    };
    pair.say(1, id, "agent:triage", 20, order);
    let told = match &pair.last().fact {
        Fact::FindingAdded { by, finding } => (by.as_str(), finding.as_ref()),
        other => panic!("{other:?}"),
    };
    assert_eq!(told, ("agent:triage", &finding));
}

fn suspects(input: &str) -> Vec<(String, i64)> {
    let mut pair = Pair::new();
    pair.hear(input);
    let named = pair.facts.iter().filter_map(|event| match &event.fact {
        Fact::SuspectFound { suspect } => Some((suspect.title.clone(), suspect.before_ms / 1_000)),
        _ => None,
    });
    named.collect()
}

#[test]
fn a_change_of_the_same_service_shortly_before_is_a_suspect() {
    let check = |input: &str, expected: &[(&str, i64)]| {
        let found = suspects(input);
        let found: Vec<(&str, i64)> = found.iter().map(|(title, before)| (title.as_str(), *before)).collect();
        assert_eq!(found, expected, "{input}");
    };
    let deploy = "note deploy @100 kind=change svc=s\n";
    check(&format!("{deploy} fire a @400 svc=s"), &[("deploy text 0", 300)]);
    // Whichever is heard first.
    check(&format!("fire a @400 svc=s\n {deploy}"), &[("deploy text 0", 300)]);
    // Two alerts of one incident name it once; two incidents each.
    check(
        &format!("{deploy} fire a @400 svc=s\n fire b @410 svc=s"),
        &[("deploy text 0", 300)],
    );
    check(&format!("{deploy} fire a @400 svc=t"), &[]);
    check(&format!("{deploy} fire a @3700 svc=s"), &[("deploy text 0", 3_600)]);
    check(&format!("{deploy} fire a @3701 svc=s"), &[]);
    check(&format!("{deploy} fire a @90 svc=s"), &[]);
    check(&format!("{deploy} fire a @400 info svc=s"), &[]);
    // A milder alert that joins brings its suspects along, with the distance to it.
    check(
        &format!("{deploy} fire a @400 info svc=s\n fire b @500 svc=s"),
        &[("deploy text 0", 300)],
    );
}
