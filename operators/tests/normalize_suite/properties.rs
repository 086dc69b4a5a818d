//! Whatever the bytes: no panic, one disposition per item, and the same answer twice. `support::run_with` checks the balance.

use operators::normalize::NormalizeSettings;
use operators::signals_out::SignalsOut;
use proptest::prelude::*;
use stream::operator::Harness;

use crate::support::{am_alert, am_body, record, run, run_with};

const SENDERS: &[&str] = &[
    "",
    "alertmanager",
    "alertmanager-api",
    "grafana",
    "pagerduty",
    "events",
    "flat",
    "kubernetes",
    "json",
    "json/n",
    "other",
];

/// Bodies to cut up and stir.
fn seeds() -> Vec<String> {
    vec![
        am_body(&[am_alert(r#""labels":{"alertname":"A","service":"s"},"annotations":{"summary":"x"},"generatorURL":"u""#), am_alert("\"labels\":1")]),
        r#"{"version":"1","orgId":1,"state":"alerting","alerts":[{"status":"resolved","labels":{"a":"b"},"startsAt":"2026-11-23T08:48:26Z","endsAt":"2026-11-23T08:49:26Z","fingerprint":"f","values":{"B":1.5}}]}"#.into(),
        r#"[{"specversion":"1.0","id":"1","source":"s","type":"deploy","time":"2026-11-23T08:48:26Z","data":{"title":"t","labels":{"x":"\u00e9"},"more":[1,{"b":2,"a":1}]}}]"#.into(),
        "{\"id\":\"a\",\"ts\":1760000040000,\"fingerprint\":\"f\",\"labels\":{}}\n{\"ts\":1,\"service\":\"s\",\"commit\":\"c\"}\n".into(),
        r#"{"kind":"EventList","items":[{"kind":"Event","metadata":{"uid":"u","labels":{"a":"b"}},"involvedObject":{"kind":"Pod","name":"p"},"type":"Warning","lastTimestamp":"2026-11-23T08:48:26Z","count":2,"more":{"b":1,"a":2}}]}"#.into(),
    ]
}

fn any_sender() -> impl Strategy<Value = &'static str> {
    prop::sample::select(SENDERS)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(body in prop::collection::vec(any::<u8>(), 0..200), sender in any_sender()) {
        run_with(NormalizeSettings::default(), body, &[("aegis-sender", sender)]);
    }

    #[test]
    fn any_json_like_text(body in "[\\[{]([\\[\\]{}:,\"0-9a-z \\\\]|\"(ts|labels|alerts|version|data|status)\":){0,60}", sender in any_sender()) {
        run_with(NormalizeSettings::default(), body, &[("aegis-sender", sender)]);
    }

    #[test]
    fn stirred_bodies(
        seed in 0_usize..5,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 0..6),
        sender in any_sender(),
        binary in any::<bool>(),
    ) {
        let mut body = seeds()[seed].clone().into_bytes();
        for (place, byte, edit) in edits {
            let i = place.index(body.len());
            match edit {
                0 => body[i] = byte,
                1 => body.insert(i, byte),
                _ => drop(body.drain(i..(i + usize::from(byte) / 8 + 1).min(body.len()))),
            }
            if body.is_empty() {
                break;
            }
        }
        let mut headers = vec![("aegis-sender", sender)];
        if binary {
            headers.extend([("ce_specversion", "1.0"), ("ce_id", "1"), ("ce_source", "s"), ("ce_type", "t")]);
        }
        let (once, twice) = (
            run_with(NormalizeSettings::default(), body.clone(), &headers),
            run_with(NormalizeSettings::default(), body, &headers),
        );
        prop_assert_eq!(once.signals, twice.signals);
        prop_assert_eq!(once.rejects, twice.rejects);
    }

    /// One operator over many records says what fresh ones say: it remembers nothing.
    #[test]
    fn nothing_is_remembered(order in prop::collection::vec(0_usize..4, 1..6)) {
        let bodies = seeds();
        let mut operator = operators::normalize::Normalize::default();
        let mut harness = Harness::<SignalsOut>::new(1);
        let mut rows = 0;
        for i in order {
            harness.feed(&mut operator, &record(bodies[i].clone(), &[]));
            rows += run(bodies[i].clone()).signals.len();
            prop_assert_eq!(harness.rows(), rows);
        }
    }

    /// The order in which a sender writes an alert's members says nothing.
    #[test]
    fn member_order_is_no_content(order in Just(vec![
        r#""labels":{"b":"1","a":"2"}"#, r#""annotations":{"y":"1","x":"2"}"#, r#""runbook":{"k":[1,2]}"#, r#""team":"t""#, r#""generatorURL":"u""#,
    ]).prop_shuffle()) {
        let reference = am_alert(r#""labels":{"a":"2","b":"1"},"annotations":{"x":"2","y":"1"},"generatorURL":"u","team":"t","runbook":{ "k" : [1, 2] }"#);
        prop_assert_eq!(run(am_body(&[am_alert(&order.join(","))])).one(), run(am_body(&[reference])).one());
    }
}
