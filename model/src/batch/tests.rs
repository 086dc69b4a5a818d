use super::*;
use crate::Signal;

pub fn sample(i: u64) -> Signal {
    Signal {
        id: SignalId::of(&[&i.to_le_bytes()]),
        tenant: "default".into(),
        environment: "prod".into(),
        source: "alertmanager".into(),
        kind: SignalKind::Alert,
        state: if i.is_multiple_of(2) {
            SignalState::Firing
        } else {
            SignalState::Resolved
        },
        dedup_key: format!("alertmanager:{i:016x}"),
        dedup_rule: "alertmanager/fingerprint@1".into(),
        event_at: 1_760_000_000_000_000 + i as i64,
        observed_at: 1_760_000_000_500_000,
        effective_at: 1_760_000_000_000_000 + i as i64,
        ends_at: (i % 2 == 1).then_some(1_760_000_060_000_000),
        severity: Severity::Critical,
        title: "HighErrorRate on \u{e9}\0 checkout".into(),
        description: None,
        service: Some("checkout".into()),
        cluster: None,
        namespace: Some("prod".into()),
        group: None,
        labels: "{}".into(),
        annotations: "{}".into(),
        extra: Some("{\"x\":1}".into()),
        digest: i,
        origin: Origin {
            partition: 1,
            offset: 2,
            index: 3,
        },
        transition: i.is_multiple_of(3).then(|| Transition {
            kind: TransitionKind::New,
            episode: EpisodeId::of("k", 1),
            repeats: i,
        }),
    }
}

#[test]
fn rows_survive_the_wire() {
    let signals: Vec<Signal> = (0..100).map(sample).collect();
    let mut builder = SignalBatchBuilder::new();
    signals.iter().for_each(|s| builder.push(&s.row()));
    let bytes = builder.finish().unwrap().encode().unwrap();
    let back = SignalBatch::decode(&bytes).unwrap();
    assert_eq!(back.rows().map(|r| r.to_signal()).collect::<Vec<_>>(), signals);
    assert!(builder.is_empty());
}

#[test]
fn rubbish_is_refused_and_never_panics() {
    let mut builder = SignalBatchBuilder::new();
    builder.push(&sample(1).row());
    let good = builder.finish().unwrap().encode().unwrap();
    for cut in 0..good.len() - 8 {
        assert!(SignalBatch::decode(&good[..cut]).is_err(), "cut at {cut}");
    }
    let mut foreign = good.clone();
    foreign[0] = 9;
    assert!(matches!(
        SignalBatch::decode(&foreign),
        Err(BatchError::Version { found: 9 })
    ));
    assert!(SignalBatch::decode(b"{\"json\":true}").is_err());
}

#[test]
fn sql_form_spells_words() {
    let mut builder = SignalBatchBuilder::new();
    builder.push(&sample(0).row());
    let batch = builder.finish().unwrap().to_sql_batch().unwrap();
    let word = |name: &str| {
        batch
            .column_by_name(name)
            .unwrap()
            .as_any()
            .downcast_ref::<StringArray>()
            .unwrap()
            .value(0)
            .to_owned()
    };
    assert_eq!(
        (word("kind"), word("state"), word("transition")),
        ("alert".into(), "firing".into(), "new".into())
    );
    assert_eq!(word("severity"), "critical");
}
