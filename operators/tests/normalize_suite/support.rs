//! One body in, everything that came of it out.

use bytes::Bytes;
use model::{Severity, Signal, SignalState};
use operators::normalize::{Normalize, NormalizeSettings};
use operators::signals_out::{SignalsOut, decode_signals};
use stream::operator::Harness;
use stream::{Accounting, Instant, Offset, Record, Reject, TopicPartition, partition_for};

pub const PARTITIONS: u32 = 3;
/// 2026-11-23T08:50:00Z, after every time in the examples.
pub const RECEIVED_AT: i64 = 1_795_423_800_000_000;

#[derive(Debug)]
pub struct Outcome {
    /// In the order of the body.
    pub signals: Vec<Signal>,
    pub rejects: Vec<Reject>,
    pub accounting: Accounting,
    pub senders: Vec<(String, Instant)>,
}

impl Outcome {
    /// The only signal.
    pub fn one(self) -> Signal {
        assert_eq!(self.rejects, []);
        assert_eq!(self.signals.len(), 1, "{:?}", self.signals);
        self.signals.into_iter().next().unwrap()
    }

    /// Reason and field of every refusal.
    pub fn faults(&self) -> Vec<(&str, Option<&str>)> {
        self.rejects.iter().map(|r| (r.reason, r.field.as_deref())).collect()
    }
}

pub fn record(body: impl Into<Bytes>, headers: &[(&str, &str)]) -> Record {
    Record {
        offset: Offset(7),
        key: None,
        value: body.into(),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())))
            .collect(),
        timestamp: Instant(RECEIVED_AT),
    }
}

pub fn run_with(settings: NormalizeSettings, body: impl Into<Bytes>, headers: &[(&str, &str)]) -> Outcome {
    let mut harness = Harness::<SignalsOut>::new(PARTITIONS).reading(TopicPartition::new("events.raw", 5));
    harness.feed(&mut Normalize::new(settings), &record(body, headers));
    let (rejects, senders) = (harness.take_rejects(), harness.take_senders());
    let accounting = harness.take_accounting();
    let mut signals = Vec::new();
    for (partition, records) in harness.drain().unwrap().into_iter().enumerate() {
        for new in records {
            assert_eq!(new.key, None);
            let record = Record {
                offset: Offset(0),
                key: None,
                value: new.value,
                headers: new.headers,
                timestamp: new.timestamp,
            };
            let batch = decode_signals(&record).unwrap();
            for row in batch.rows() {
                assert_eq!(partition_for(row.dedup_key.as_bytes(), PARTITIONS) as usize, partition);
                assert_eq!((row.origin.partition, row.origin.offset), (5, 7));
                signals.push(row.to_signal());
            }
        }
    }
    signals.sort_by_key(|signal| signal.origin.index);
    assert_eq!(accounting.bodies, 1);
    assert!(accounting.balanced(), "{accounting:?}");
    assert_eq!(accounting.forwarded as usize, signals.len());
    assert_eq!(accounting.dead_lettered as usize, rejects.len());
    let left_out: u64 = accounting.suppressed.values().sum();
    assert_eq!(
        accounting.items_in as usize,
        signals.len() + rejects.len() + left_out as usize
    );
    Outcome {
        signals,
        rejects,
        accounting,
        senders,
    }
}

pub fn run(body: impl Into<Bytes>) -> Outcome {
    run_with(NormalizeSettings::default(), body, &[])
}

pub fn run_as(sender: &str, body: impl Into<Bytes>) -> Outcome {
    run_with(NormalizeSettings::default(), body, &[("aegis-sender", sender)])
}

/// Microseconds of an RFC 3339 time.
pub fn at(text: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
}

/// What a table of examples compares.
pub fn essence(s: &Signal) -> (SignalState, &str, &str, Severity, &str, Option<&str>) {
    (
        s.state,
        &s.dedup_key,
        &s.dedup_rule,
        s.severity,
        &s.title,
        s.service.as_deref(),
    )
}

/// An alert in a notification of Alertmanager 4, its members besides status and startsAt given as JSON.
pub fn am_alert(members: &str) -> String {
    format!("{{\"status\":\"firing\",\"startsAt\":\"2026-11-23T08:48:26.002Z\",{members}}}")
}

/// A notification of Alertmanager 4 around `alerts`.
pub fn am_body(alerts: &[String]) -> String {
    format!(
        "{{\"version\":\"4\",\"externalURL\":\"http://am:9093\",\"receiver\":\"hook\",\"alerts\":[{}]}}",
        alerts.join(",")
    )
}
