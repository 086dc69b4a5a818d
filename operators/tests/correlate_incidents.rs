//! Correlate: by example through dedupe, and by property: any order, any cut, any crash, the same incidents.

#[path = "support/dsl.rs"]
mod dsl;
#[path = "support/rig.rs"]
mod rig;
#[path = "support/storms.rs"]
mod storms;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dsl::{Line, Spec};
use model::{Fact, IncidentEvent, IncidentId, Notification, Severity, Signal, SignalKind, SignalState, topics};
use operators::correlate::{Correlate, CorrelateSettings, canonical};
use operators::dedupe::{Dedupe, DedupeSettings};
use rig::{Dice, Rig, json, signals};
use serde_json::{Value, json};
use storms::some_signals;
use stream::{Instant, partition_for};

fn dedupe() -> Rig<Dedupe> {
    Rig::new(|| Dedupe::new(&DedupeSettings::default()))
}

fn correlate() -> Rig<Correlate> {
    Rig::new(|| Correlate::new(&CorrelateSettings::default()))
}

/// Feeds lines through dedupe and correlate, one by one.
fn run(first: &mut Rig<Dedupe>, second: &mut Rig<Correlate>, input: &str) -> Vec<IncidentEvent> {
    let mut facts = Vec::new();
    for line in dsl::lines(input) {
        let (records, time) = match line {
            Line::Signal(signal) => (first.feed(&[*signal]), None),
            Line::Time(at) => (first.watermark(at), Some(at)),
        };
        let transitions = signals(&records);
        if !transitions.is_empty() {
            facts.extend(json::<IncidentEvent>(&second.feed(&transitions)));
        }
        if time.is_some() {
            facts.extend(json::<IncidentEvent>(&second.watermark_at(first.progress())));
        }
    }
    facts
}

/// Facts in words: incidents are numbered as they open, members go by their dedup key.
fn show(facts: &[IncidentEvent]) -> Vec<String> {
    let mut ids: Vec<IncidentId> = Vec::new();
    let mut shown = Vec::new();
    for event in facts {
        if !ids.contains(&event.incident.id) {
            ids.push(event.incident.id);
        }
        let number = |id: &IncidentId| ids.iter().position(|known| known == id).map_or(0, |at| at + 1);
        let about = match &event.fact {
            Fact::Opened { member } | Fact::SignalJoined { member } | Fact::MemberChanged { member } => {
                format!(" {}", member.dedup_key)
            }
            Fact::Escalated { from } => format!(" {from}->{}", event.incident.severity),
            Fact::Resolved => format!(" @{}", event.incident.resolved_at.unwrap().timestamp()),
            Fact::Reopened { .. } => String::new(),
            Fact::Absorbed { other, members } => format!(" {} ({})", number(other), members.len()),
            Fact::Merged { into } => format!(" into {}", number(into)),
            Fact::SuspectFound { suspect } => format!(" {}", suspect.title),
            Fact::Acknowledged { by } | Fact::Closed { by, .. } => format!(" by {by}"),
            Fact::FindingAdded { by, .. } | Fact::PostmortemAdded { by, .. } => format!(" by {by}"),
        };
        shown.push(format!("{} {}{about}", number(&event.incident.id), event.fact.name()));
    }
    shown
}

/// Input lines, expected facts; straight and killed after every step. Revisions must be without a hole.
fn check(input: &str, expected: &[&str]) {
    for mortal in [false, true] {
        let (mut first, mut second) = (dedupe(), correlate());
        (first.mortal, second.mortal) = (mortal, mortal);
        let facts = run(&mut first, &mut second, input);
        assert_eq!(show(&facts), expected, "{input}");
        let mut revisions: BTreeMap<IncidentId, u64> = BTreeMap::new();
        for event in &facts {
            let last = revisions.entry(event.incident.id).or_default();
            *last += 1;
            assert_eq!(event.incident.revision, *last);
        }
    }
}

#[test]
fn an_incident_opens_at_once_and_resolves_when_all_ended() {
    check("fire a @10 svc=s", &["1 opened a"]);
    check(
        "fire a @10 svc=s\n end a @10 until=20",
        &["1 opened a", "1 member_changed a", "1 resolved @20"],
    );
    check(
        "fire a @10 svc=s\n fire b @12 svc=s\n end a @10 until=20\n end b @12 until=19",
        &[
            "1 opened a",
            "1 signal_joined b",
            "1 member_changed a",
            "1 member_changed b",
            "1 resolved @20",
        ],
    );
}

#[test]
fn who_belongs_together() {
    check("fire a @10 svc=s\n fire b @10 svc=t", &["1 opened a", "2 opened b"]);
    check("fire a @10\n fire b @10", &["1 opened a", "2 opened b"]);
    check(
        "fire a @10 svc=s\n fire b @910 svc=s",
        &["1 opened a", "1 signal_joined b"],
    );
    check("fire a @10 svc=s\n fire b @911 svc=s", &["1 opened a", "2 opened b"]);
    check(
        "fire a @10 svc=s grp=g\n fire b @20 svc=t grp=g",
        &["1 opened a", "1 signal_joined b"],
    );
    // A chain: c is out of reach of a, but not of b.
    check(
        "fire a @10 svc=s\n fire b @900 svc=s\n fire c @1800 svc=s",
        &["1 opened a", "1 signal_joined b", "1 signal_joined c"],
    );
}

#[test]
fn a_flapping_alert_stays_in_its_incident() {
    check(
        "fire a @10\n end a @10 until=20\n fire a @30\n end a @30 until=40",
        &[
            "1 opened a",
            "1 member_changed a",
            "1 resolved @20",
            "1 signal_joined a",
            "1 reopened",
            "1 member_changed a",
            "1 resolved @40",
        ],
    );
}

#[test]
fn mild_alerts_wait_for_a_page_worthy_one() {
    check("fire a @10 info svc=s\n fire b @11 info svc=s", &[]);
    check(
        "fire a @10 info svc=s\n fire b @11 svc=s\n fire c @12 info svc=s",
        &["1 opened b", "1 signal_joined a", "1 signal_joined c"],
    );
    check(
        "fire a @10 info svc=s\n fire b @9 info svc=s\n fire a @10 critical svc=s text=2",
        &["1 opened a", "1 signal_joined b"],
    );
}

#[test]
fn severity_rises_once() {
    check(
        "fire a @10 svc=s\n fire b @11 critical svc=s",
        &["1 opened a", "1 signal_joined b", "1 escalated warning->critical"],
    );
    check(
        "fire a @10 critical svc=s\n fire b @11 svc=s",
        &["1 opened a", "1 signal_joined b"],
    );
    check(
        "fire a @10\n fire a @10 critical",
        &["1 opened a", "1 member_changed a", "1 escalated warning->critical"],
    );
}

#[test]
fn two_incidents_become_one_when_something_links_them() {
    let (mut first, mut second) = (dedupe(), correlate());
    let facts = run(
        &mut first,
        &mut second,
        "fire a @10 svc=s\n fire b @1000 svc=s\n fire c @500 svc=s",
    );
    let shown = show(&facts);
    assert_eq!(shown[..2], ["1 opened a", "2 opened b"]);
    let (survivor, other) = if facts[0].incident.canonical_key < facts[1].incident.canonical_key {
        (1, 2)
    } else {
        (2, 1)
    };
    assert_eq!(
        shown[2..],
        [
            format!("{survivor} signal_joined c"),
            format!("{other} merged into {survivor}"),
            format!("{survivor} absorbed {other} (1)"),
        ]
    );
    let last = facts.last().unwrap();
    assert_eq!((last.incident.members, last.incident.firing), (3, 3));
    assert_eq!(last.incident.alert_id, "a", "the earliest member names it");
    let events: Vec<String> = second
        .side
        .iter()
        .map(|(topic, record)| {
            assert_eq!(topic.as_ref(), topics::NOTIFICATIONS);
            serde_json::from_slice::<Notification>(&record.value).unwrap().event
        })
        .collect();
    assert_eq!(events, ["opened", "opened", "merged"]);
}

#[test]
fn changes_are_context_and_lonely_ends_open_nothing() {
    check(
        "note d @10 kind=change svc=s\n fire a @11 svc=s",
        &["1 opened a", "1 suspect_found d text 0"],
    );
    let (mut first, mut second) = (dedupe(), correlate());
    assert_eq!(
        run(
            &mut first,
            &mut second,
            "end a @10 until=20\n note d @10 kind=change\n time 400"
        ),
        []
    );
    let suppressed = |rule: &str| second.total(|counts| counts.suppressed.get(rule).copied().unwrap_or(0));
    assert_eq!((suppressed("orphan-resolve"), suppressed("context")), (1, 1));
}

#[test]
fn an_early_end_opens_and_resolves() {
    check(
        "end a @10 until=20\n fire a @10",
        &["1 opened a", "1 member_changed a", "1 resolved @20"],
    );
}

#[test]
fn an_event_keeps_an_incident_open_for_the_gap() {
    check("note e @10 kind=security\n time 909", &["1 opened e"]);
    check("note e @10 kind=security\n time 910", &["1 opened e", "1 resolved @10"]);
    check(
        "note e @10 kind=security svc=s\n fire a @20 svc=s\n end a @20 until=30\n time 910",
        &[
            "1 opened e",
            "1 signal_joined a",
            "1 member_changed a",
            "1 resolved @30",
        ],
    );
}

#[test]
fn a_later_end_and_a_late_content_amend() {
    check(
        "fire a @10\n end a @10 until=20\n end a @10 until=30\n fire a @10 critical text=2",
        &[
            "1 opened a",
            "1 member_changed a",
            "1 resolved @20",
            "1 member_changed a",
            "1 member_changed a",
            "1 escalated warning->critical",
        ],
    );
}

#[test]
fn what_is_over_and_out_of_reach_is_forgotten() {
    let (mut first, mut second) = (dedupe(), correlate());
    run(
        &mut first,
        &mut second,
        "fire a @10 svc=s\n end a @10 until=20\n fire b @10 info svc=t\n end b @10 until=20\n fire c @10 svc=u",
    );
    run(&mut first, &mut second, "time 1209");
    assert!(second.entries() > 5);
    run(&mut first, &mut second, "time 1210");
    assert_eq!(
        second.total(|counts| counts.suppressed.get("not-page-worthy").copied().unwrap_or(0)),
        2
    );
    assert_eq!(second.held, second.released);
    // An episode, a component, two links, what was said about its incident, and where its service has alerts.
    assert_eq!(second.entries(), 6, "c fires");
    assert_eq!(
        show(&run(&mut first, &mut second, "end c @10 until=5000")),
        ["1 member_changed c", "1 resolved @5000"]
    );
    run(&mut first, &mut second, "time 5300");
    assert_eq!(second.entries(), 0);
}

#[test]
fn membership_is_explained() {
    let (mut first, mut second) = (dedupe(), correlate());
    let facts = run(&mut first, &mut second, "fire a @10 svc=s\n fire b @12 svc=s");
    let (Fact::Opened { member: a }, Fact::SignalJoined { member: b }) = (&facts[0].fact, &facts[1].fact) else {
        panic!()
    };
    assert_eq!((a.rule.as_str(), a.linked_to), ("opened@1", None));
    assert_eq!(b.rule, "same-service@1");
    assert_eq!(
        (b.key.as_deref(), b.linked_to, b.apart_ms),
        (Some("service://s"), Some(a.episode), Some(2_000))
    );
}

#[test]
fn a_storm_costs_no_squares() {
    let (mut first, mut second) = (dedupe(), correlate());
    let storm: Vec<Signal> = (0..100_000)
        .map(|i| {
            Spec {
                service: Some("s".into()),
                ..Spec::new(SignalState::Firing, &format!("a{i}"), i % 600)
            }
            .signal()
        })
        .collect();
    let mut last = None;
    for batch in storm.chunks(4_096) {
        last = json::<IncidentEvent>(&second.feed(&signals(&first.feed(batch)))).pop();
    }
    let incident = last.unwrap().incident;
    assert_eq!((incident.members, incident.revision), (100_000, 100_000));
}

#[test]
fn a_large_absorption_is_told_in_parts() {
    let mut second = correlate();
    let mut facts = Vec::new();
    for (from, name) in [(0, "early"), (1_500, "late")] {
        let half: Vec<Signal> = (0..1_200)
            .map(|i| {
                Spec {
                    service: Some("s".into()),
                    ..Spec::new(SignalState::Firing, &format!("{name}{i}"), from)
                }
                .signal()
            })
            .collect();
        facts.extend(json::<IncidentEvent>(&second.feed(&signals(&dedupe().feed(&half)))));
    }
    facts.extend(run(&mut dedupe(), &mut second, "fire bridge @750 svc=s"));
    let parts: Vec<usize> = facts
        .iter()
        .filter_map(|event| {
            if let Fact::Absorbed { members, .. } = &event.fact {
                Some(members.len())
            } else {
                None
            }
        })
        .collect();
    assert_eq!(parts, [512, 512, 176]);
    let form = canonical(facts.into_iter());
    assert_eq!(form.as_array().unwrap().len(), 1);
    assert_eq!(form[0]["members"].as_array().unwrap().len(), 2_401);
}

#[test]
fn any_time_that_fits_is_survived() {
    let (mut first, mut second) = (dedupe().mortal(), correlate().mortal());
    let mut facts = Vec::new();
    for (i, at) in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX]
        .into_iter()
        .enumerate()
    {
        for line in ["fire", "end", "note"] {
            let signal = dsl::signal(&format!("{line} {line}{} @0 svc=s", if line == "note" { i } else { 0 }));
            let signal = Signal {
                event_at: at,
                effective_at: at,
                ends_at: (line == "end").then_some(at),
                ..signal
            };
            let signal = Signal {
                dedup_key: signal.dedup_key.replace("end", "fire"),
                ..signal
            };
            facts.extend(json::<IncidentEvent>(&second.feed(&signals(&first.feed(&[signal])))));
        }
    }
    assert_eq!(
        canonical(facts.into_iter()).as_array().unwrap().len(),
        3,
        "long ago, 1970, and far from now"
    );
    first.watermark_at(Instant::MAX);
    second.watermark_at(Instant::MAX);
    assert_eq!((first.entries(), second.entries()), (0, 0));
}

#[test]
fn settings_are_read_strictly() {
    let read = |text: &str| serde_json::from_str::<CorrelateSettings>(text).map_err(|error| error.to_string());
    assert_eq!(read("{}"), Ok(CorrelateSettings::default()));
    assert_eq!(
        read(r#"{"page_severity":"critical"}"#).unwrap().page_severity,
        Severity::Critical
    );
    assert!(read(r#"{"gpa":"10m"}"#).unwrap_err().contains("unknown field `gpa`"));
    let schema = serde_json::to_value(schemars::schema_for!(CorrelateSettings)).unwrap();
    assert_eq!(
        schema["properties"]["page_severity"]["enum"],
        json!(["info", "warning", "critical"])
    );
}

/// Everything once, some of it again: in any order, or (so that time passes meanwhile, and state is forgotten) roughly in
/// order of time.
fn delivered(set: &[Signal], dice: &mut Dice) -> Vec<Signal> {
    let mut all = set.to_vec();
    for _ in 0..set.len() {
        all.push(set[dice.below(set.len())].clone());
    }
    dice.shuffle(&mut all);
    if dice.chance(50) {
        let disorder = 1_000_000 * (1 + dice.below(600));
        all.sort_by_cached_key(|signal| signal.effective_at + dice.below(disorder) as i64);
    }
    all
}

/// Delivers to several dedupe partitions that run at their own pace into one partition of correlate, under the tightest
/// watermark that is still true; then lets all time pass.
fn deliver(set: &[Signal], dice: &mut Dice, mortal: bool) -> Vec<IncidentEvent> {
    let partitions = 1 + dice.below(4);
    let mut queues: Vec<VecDeque<Signal>> = vec![VecDeque::new(); partitions];
    for signal in delivered(set, dice) {
        queues[partition_for(signal.dedup_key.as_bytes(), partitions as u32) as usize].push_back(signal);
    }
    let mut firsts: Vec<Rig<Dedupe>> = (0..partitions).map(|_| dedupe()).collect();
    let mut second = correlate();
    firsts.iter_mut().for_each(|first| first.mortal = mortal);
    second.mortal = mortal;
    let mut facts: Vec<IncidentEvent> = Vec::new();
    while queues.iter().any(|queue| !queue.is_empty()) {
        let at = dice.below(partitions);
        let count = (1 + dice.below(4)).min(queues[at].len());
        let batch: Vec<Signal> = queues[at].drain(..count).collect();
        let mut out = if batch.is_empty() {
            Vec::new()
        } else {
            signals(&firsts[at].feed(&batch))
        };
        if dice.chance(50) {
            let waiting = queues.iter().flatten().map(|signal| signal.effective_at).min();
            out.extend(signals(&firsts[at].watermark_at(Instant(waiting.unwrap_or(0)))));
        }
        if !out.is_empty() {
            facts.extend(json::<IncidentEvent>(&second.feed(&out)));
        }
        let watermark = firsts.iter().map(Rig::progress).min().unwrap();
        facts.extend(json::<IncidentEvent>(&second.watermark_at(watermark)));
    }
    for first in &mut firsts {
        let out = signals(&first.watermark(100_000));
        if !out.is_empty() {
            facts.extend(json::<IncidentEvent>(&second.feed(&out)));
        }
        assert_eq!(first.held, first.released);
    }
    facts.extend(json::<IncidentEvent>(&second.watermark(100_000)));
    facts
}

#[test]
fn any_order_gives_the_same_incidents() {
    for seed in 0..300 {
        let set = some_signals(&mut Dice(seed));
        let expected = members_of(&set);
        let mut forms = BTreeSet::new();
        for order in 0..6 {
            let facts = deliver(&set, &mut Dice(seed * 1_000 + order), order == 0);
            let form = canonical(facts.into_iter());
            assert_eq!(
                members_in(&form),
                expected,
                "seed {seed} order {order}: against brute force"
            );
            forms.insert(form.to_string());
        }
        assert_eq!(forms.len(), 1, "seed {seed}: {forms:#?}");
    }
}

#[test]
fn the_input_may_be_cut_anywhere() {
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let input = delivered(&some_signals(&mut dice), &mut dice);
        let transitions = signals(&dedupe().feed(&input));
        let half = transitions.len() / 2;
        let mut whole = correlate();
        let mut expected = whole.feed(&transitions[..half]);
        expected.extend(whole.watermark(1_000));
        expected.extend(whole.feed(&transitions[half..]));
        expected.extend(whole.watermark(9_000));
        let mut cut = correlate().mortal();
        let mut found = Vec::new();
        for (part, time) in [(&transitions[..half], 1_000), (&transitions[half..], 9_000)] {
            let mut rest = part;
            while !rest.is_empty() {
                let (batch, more) = rest.split_at(1 + dice.below(rest.len().min(5)));
                found.extend(cut.feed(batch));
                rest = more;
            }
            found.extend(cut.watermark(time));
        }
        assert_eq!(found, expected, "seed {seed}");
        assert_eq!(cut.side, whole.side, "seed {seed}");
        assert_eq!((cut.held, cut.released), (whole.held, whole.released));
    }
}

/// (dedup key, start, end, severity); times in seconds.
type Who = (String, i64, Option<i64>, String);

/// What a firing is, by (dedup key, start): its links, its end, its severity.
type Firings = BTreeMap<(String, i64), (BTreeSet<String>, Option<i64>, Severity)>;

/// Incidents as sets of members, by comparing every pair: the checker shares no code with the engine.
fn members_of(set: &[Signal]) -> BTreeSet<BTreeSet<Who>> {
    let second = 1_000_000;
    let mut episodes = Firings::new();
    for signal in set
        .iter()
        .filter(|s| s.state != SignalState::Resolved && s.kind != SignalKind::Change)
    {
        let (links, end, severity) = episodes
            .entry((signal.dedup_key.clone(), signal.event_at))
            .or_insert_with(|| (BTreeSet::new(), None, Severity::Info));
        links.insert(format!("alert {}", signal.dedup_key));
        links.extend(signal.service.iter().map(|service| format!("service {service}")));
        links.extend(signal.group.iter().map(|group| format!("group {group}")));
        *severity = (*severity).max(signal.severity);
        if signal.state == SignalState::Event {
            *end = Some(signal.event_at);
        }
    }
    for signal in set.iter().filter(|s| s.state == SignalState::Resolved) {
        if let Some((_, end, _)) = episodes.get_mut(&(signal.dedup_key.clone(), signal.event_at)) {
            *end = (*end).max(signal.ends_at);
        }
    }
    let episodes: Vec<_> = episodes.into_iter().collect();
    let mut component: Vec<usize> = (0..episodes.len()).collect();
    for i in 0..episodes.len() {
        for j in 0..i {
            let ((a, (a_links, ..)), (b, (b_links, ..))) = (&episodes[i], &episodes[j]);
            if (a.1 - b.1).abs() <= 900 * second && !a_links.is_disjoint(b_links) {
                let (from, to) = (component[i], component[j]);
                component.iter_mut().filter(|c| **c == from).for_each(|c| *c = to);
            }
        }
    }
    let mut incidents: BTreeMap<usize, (BTreeSet<_>, Severity)> = BTreeMap::new();
    for (((name, start), (_, end, severity)), component) in episodes.into_iter().zip(component) {
        let (members, worst) = incidents
            .entry(component)
            .or_insert_with(|| (BTreeSet::new(), Severity::Info));
        members.insert((name, start / second, end.map(|end| end / second), severity.to_string()));
        *worst = (*worst).max(severity);
    }
    incidents
        .into_values()
        .filter(|(_, worst)| *worst >= Severity::Warning)
        .map(|(members, _)| members)
        .collect()
}

fn members_in(form: &Value) -> BTreeSet<BTreeSet<Who>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let seconds = |value: &Value| text(value).map(|at| chrono::DateTime::parse_from_rfc3339(&at).unwrap().timestamp());
    let member = |m: &Value| {
        (
            text(&m["dedup_key"]).unwrap(),
            seconds(&m["starts_at"]).unwrap(),
            seconds(&m["ends_at"]),
            text(&m["severity"]).unwrap(),
        )
    };
    let incidents = form.as_array().unwrap();
    let sets: BTreeSet<_> = incidents
        .iter()
        .map(|incident| incident["members"].as_array().unwrap().iter().map(member).collect())
        .collect();
    assert_eq!(sets.len(), incidents.len(), "no two incidents of the same members");
    sets
}

#[test]
fn the_canonical_form_is_what_its_page_says() {
    let (mut first, mut second) = (dedupe(), correlate());
    let facts = run(
        &mut first,
        &mut second,
        "fire b @12 critical svc=s\n fire a @10 svc=s\n end a @10 until=20",
    );
    let key = facts.last().unwrap().incident.canonical_key;
    let shuffled = facts.iter().rev().chain(&facts).cloned();
    assert_eq!(
        canonical(shuffled),
        json!([{
            "canonical_key": key,
            "tenant": "default",
            "environment": "prod",
            "status": "open",
            "severity": "critical",
            "title": "a text 0",
            "service": "s",
            "alert_id": "a",
            "source": "test",
            "created_at": "1970-01-01T00:00:10Z",
            "resolved_at": null,
            "members": [
                { "dedup_key": "a", "starts_at": "1970-01-01T00:00:10Z", "ends_at": "1970-01-01T00:00:20Z", "severity": "warning" },
                { "dedup_key": "b", "starts_at": "1970-01-01T00:00:12Z", "ends_at": null, "severity": "critical" },
            ],
        }])
    );
}
