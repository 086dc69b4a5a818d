use std::collections::BTreeMap;

use model::remediation::RemediationEvent;
use model::{Fact, ids};
use stream::Record;
use stream::trace::Attribute;

use super::*;
use crate::testing::*;

fn everything() -> Projection {
    Projection::new(crate::TelemetrySettings::default().sampling())
}

fn arrival() -> Arrival {
    let raw = raw(0);
    Arrival::of(&Record {
        offset: stream::Offset(7),
        key: None,
        value: raw.body.clone(),
        headers: raw.to_headers(),
        timestamp: Instant(AT),
    })
}

fn spans(projection: &mut Projection, topic: &str, record: &Record) -> Vec<Span> {
    let told = Told::read(topic, record).expect("a record that tells something");
    let arrival = projection.asks_for(&told).map(|_| arrival());
    projection.spans(&told, arrival.as_ref())
}

fn told(projection: &mut Projection) -> Vec<Span> {
    story()
        .iter()
        .flat_map(|(topic, record)| spans(projection, topic, record))
        .collect()
}

/// Each span with the name of the one above it.
fn tree(spans: &[Span]) -> Vec<(String, String)> {
    let names: BTreeMap<u64, &str> = spans.iter().map(|span| (span.id, span.name.as_ref())).collect();
    let above = |span: &Span| match span.parent {
        None => "",
        Some(parent) => names.get(&parent).copied().unwrap_or("?"),
    };
    spans
        .iter()
        .map(|span| (span.name.to_string(), above(span).to_owned()))
        .collect()
}

#[test]
fn one_tree_of_one_incident() {
    let spans = told(&mut everything());
    let expected = [
        ("incident", ""),
        ("receive alertmanager", "incident"),
        ("normalize", "receive alertmanager"),
        ("dedupe", "normalize"),
        ("incident opened", "dedupe"),
        ("normalize", "receive alertmanager"),
        ("dedupe", "normalize"),
        ("incident signal joined", "dedupe"),
        ("incident acknowledged", "incident"),
        ("agent log analyst", "incident opened"),
        ("tool loki.query", "agent log analyst"),
        ("tool kubernetes.pods", "agent log analyst"),
        ("notify", "incident opened"),
    ];
    assert_eq!(
        tree(&spans),
        expected.map(|(name, above)| (name.to_owned(), above.to_owned()))
    );
    assert!(
        spans
            .iter()
            .all(|span| span.trace == id().0.as_u128() && span.ended_at >= span.started_at)
    );
    let received = spans.iter().find(|span| span.name == "receive alertmanager").unwrap();
    let caller = TraceContext::parse(CALLER).unwrap();
    assert_eq!(
        (&received.links, received.kind),
        (&vec![(caller.trace, caller.span)], SpanKind::Server)
    );
    assert_eq!(received.started_at, Instant(AT));
    let step = spans.iter().find(|span| span.name.starts_with("agent")).unwrap();
    assert_eq!(step.ended_at.since(step.started_at).as_millis(), 100);
    let call = spans.iter().find(|span| span.name == "tool kubernetes.pods").unwrap();
    assert_eq!(call.started_at.since(step.started_at).as_millis(), 30);
    assert_eq!((call.error.as_deref(), step.error.as_deref()), (Some("away"), None));
}

#[test]
fn told_again_it_is_the_same() {
    assert_eq!(told(&mut everything()), told(&mut everything()));
    // In one life a webhook is told once.
    let mut projection = everything();
    told(&mut projection);
    let again = told(&mut projection);
    let names: Vec<&str> = again.iter().map(|span| span.name.as_ref()).collect();
    assert_eq!(
        names,
        [
            "incident",
            "incident opened",
            "incident signal joined",
            "incident acknowledged",
            "notify"
        ]
    );
}

#[test]
fn what_is_not_there_any_more_leaves_the_tree_whole() {
    let (topic, record) = &story()[0];
    let told = Told::read(topic, record).unwrap();
    let spans = everything().spans(&told, None);
    assert!(tree(&spans).iter().all(|(_, above)| above != "?"));
    assert_eq!(spans[1].name, "receive");
    assert_eq!(spans[1].id, model::trace::received(id(), origin(7, 0)));
}

#[test]
fn a_remediation_is_one_branch() {
    let proposal = ids::derived("proposal");
    let about = |fact| RemediationEvent::new(proposal, id(), Instant(AT).to_datetime(), fact);
    let mut projection = everything();
    let mut all = Vec::new();
    for fact in [
        RemediationFact::Approve {
            by: "human:ann".into(),
            plan_hash: "x".into(),
        },
        RemediationFact::Denied {
            by: "human:ann".into(),
            reason: "no".into(),
        },
        RemediationFact::Expired,
        RemediationFact::Failed {
            cause: "refused, password=hunter2secret".into(),
        },
    ] {
        all.extend(spans(
            &mut projection,
            topics::REMEDIATIONS,
            &record(0, &about(fact), &[]),
        ));
    }
    let first = model::trace::remediation(proposal, "proposed", 0);
    assert!(all.iter().all(|span| span.parent == Some(first)));
    assert!(all[3].error.is_some() && all[..3].iter().all(|span| span.error.is_none()));
    let nothing = [
        RemediationFact::StopSwitch {
            on: true,
            by: "human:ann".into(),
        },
        RemediationFact::Forged {
            kind: "granted".into(),
            offset: 1,
            why: "no signature".into(),
        },
    ];
    for fact in nothing {
        assert_eq!(
            spans(&mut projection, topics::REMEDIATIONS, &record(0, &about(fact), &[])),
            []
        );
    }
    let told = spans(
        &mut projection,
        topics::NOTIFICATIONS,
        &record(0, &notification(4, Some(proposal)), &[]),
    );
    assert_eq!(told[0].parent, Some(first));
}

#[test]
fn incidents_that_become_one_name_each_other() {
    let other = IncidentId(ids::derived("other"));
    let mut projection = everything();
    for fact_of in [Fact::Merged { into: other }, Fact::Absorbed { other, members: vec![] }] {
        let spans = spans(
            &mut projection,
            topics::INCIDENTS,
            &record(0, &fact(5, fact_of, None), &[]),
        );
        assert_eq!(spans[0].links, [(other.0.as_u128(), model::trace::root(other))]);
    }
}

#[test]
fn rubbish_tells_nothing_and_texts_are_cut() {
    for topic in [
        topics::INCIDENTS,
        topics::REMEDIATIONS,
        topics::NOTIFICATIONS,
        topics::SIGNALS,
    ] {
        assert_eq!(Told::read(topic, &record(0, &"rubbish", &[])), None);
    }
    let mut long = fact(
        1,
        Fact::Opened {
            member: member(&"é".repeat(5_000)),
        },
        None,
    );
    long.incident.title = "x".repeat(1 << 20);
    let spans = spans(&mut everything(), topics::INCIDENTS, &record(0, &long, &[]));
    for span in spans {
        for (name, value) in span.attributes {
            let Attribute::Text(text) = value else { continue };
            assert!(text.chars().count() <= LONGEST, "{name}");
        }
    }
}

#[test]
fn canaries_and_what_is_not_sampled_are_left_out() {
    let mut canary = fact(1, Fact::Resolved, None);
    canary.incident.environment = incident::CANARY.into();
    let told = Told::read(topics::INCIDENTS, &record(0, &canary, &[])).unwrap();
    assert!(!everything().wants(&told));
    let none = crate::TelemetrySettings {
        sample: 0.0,
        ..crate::TelemetrySettings::default()
    };
    let (topic, record) = &story()[0];
    let told = Told::read(topic, record).unwrap();
    assert!(!Projection::new(none.sampling()).wants(&told) && everything().wants(&told));
}
