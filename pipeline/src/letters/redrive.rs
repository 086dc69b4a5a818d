//! From letters to the record that sends their bytes once more. Pure.
//!
//! Headers: those of the refused record, then which try this is, where the bytes stood at first, the letters, and, where only
//! some elements of a body were refused, which. `events.raw` has one reader, so a record there is as any other. Topics further
//! down have several, and all but one of them took the record: what is sent again there names the one it is for.

use bytes::Bytes;
use model::raw::header as raw;
use model::{DeadLetter, dead_letter::header, topics};
use stream::log::NewRecord;
use stream::progress::{FOR_HEADER, KIND_HEADER, REDRIVE};
use stream::{Instant, TopicPartition};

use super::LetterId;

/// Letters of one refused record, which go together.
#[derive(Debug)]
pub struct Parcel {
    pub letters: Vec<(LetterId, DeadLetter)>,
    pub body: Bytes,
    /// Which try this will be.
    pub attempt: u32,
}

impl Parcel {
    /// The record, appended at `now`. A parcel without letters has none.
    pub fn record(&self, now: Instant) -> Option<NewRecord> {
        let (_, first) = self.letters.first()?;
        let ours = |name: &str| header::ALL.contains(&name) || name == KIND_HEADER || name == FOR_HEADER;
        let origin = first.headers.iter().rev().find(|(name, _)| name == header::ORIGIN);
        let origin = match origin {
            Some((_, place)) => place.clone(),
            None => format!("{}/{}/{}", first.topic, first.partition, first.offset),
        };
        let mut headers: Vec<(String, Bytes)> = Vec::new();
        let mut put = |name: &str, value: String| headers.push((name.to_owned(), Bytes::from(value)));
        for (name, value) in first.headers.iter().filter(|(name, _)| !ours(name)) {
            put(name, value.clone());
        }
        let to_ingress = first.topic == topics::EVENTS_RAW;
        if to_ingress && !first.headers.iter().any(|(name, _)| name == raw::RECEIVED_AT) {
            // It was received then, not now.
            put(raw::RECEIVED_AT, first.received_at.timestamp_micros().to_string());
        }
        put(header::ATTEMPT, self.attempt.to_string());
        put(header::ORIGIN, origin);
        put(
            header::LETTERS,
            joined(self.letters.iter().map(|(id, _)| id.to_string())),
        );
        let items: Option<Vec<u32>> = self.letters.iter().map(|(_, letter)| letter.index).collect();
        if let (true, Some(items)) = (to_ingress || first.topic == topics::LOGS, items) {
            put(header::ITEMS, joined(items.iter().map(u32::to_string)));
        }
        if !to_ingress {
            put(KIND_HEADER, REDRIVE.to_owned());
            put(FOR_HEADER, first.stage.clone());
        }
        Some(NewRecord {
            key: None,
            value: self.body.clone(),
            headers,
            timestamp: now,
        })
    }

    /// The partition it goes to, if topic `topic` has `partitions` now: where it stood, so that it keeps its place among
    /// those of its key. Unkeyed bodies go anywhere.
    pub fn target(&self, partitions: u32) -> Result<TopicPartition, String> {
        let Some((_, first)) = self.letters.first() else {
            return Err("there is nothing to send".to_owned());
        };
        let (topic, partition) = (&*first.topic, first.partition);
        if partition < partitions {
            return Ok(TopicPartition::new(topic, partition));
        }
        if topic == topics::EVENTS_RAW && partitions > 0 {
            return Ok(TopicPartition::new(topic, partition % partitions));
        }
        Err(format!(
            "it came from {topic}/{partition}, and {topic} has {partitions} partitions now"
        ))
    }
}

fn joined(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(stage: &str, topic: &str, index: Option<u32>, headers: &[(&str, &str)]) -> DeadLetter {
        DeadLetter {
            schema: DeadLetter::SCHEMA,
            stage: stage.into(),
            reason: "missing_field".into(),
            detail: String::new(),
            field: None,
            topic: topic.into(),
            partition: 5,
            offset: 40,
            index,
            received_at: Instant(9).to_datetime(),
            attempt: 1,
            headers: headers.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
            body_base64: String::new(),
        }
    }

    fn headers(letters: &[DeadLetter], attempt: u32) -> Vec<String> {
        let id = |offset| LetterId { partition: 1, offset };
        let parcel = Parcel {
            letters: letters.iter().cloned().zip(0..).map(|(l, n)| (id(n), l)).collect(),
            body: Bytes::from_static(b"{"),
            attempt,
        };
        let record = parcel.record(Instant(77)).unwrap();
        assert_eq!((record.value.as_ref(), record.timestamp), (&b"{"[..], Instant(77)));
        record
            .headers
            .iter()
            .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)))
            .collect()
    }

    #[test]
    fn headers_say_where_from_and_what_for() {
        let raw = |index, headers: &[_]| letter("normalize", topics::EVENTS_RAW, index, headers);
        assert_eq!(
            headers(&[raw(Some(3), &[("aegis-sender", "grafana")]), raw(Some(7), &[])], 2),
            [
                "aegis-sender=grafana",
                "aegis-received-at=9",
                "aegis-attempt=2",
                "aegis-origin=events.raw/5/40",
                "aegis-letters=dead-letter/1/0,dead-letter/1/1",
                "aegis-items=3,7",
            ]
        );
        // All of the body, a second time: what the first replay had put there is put afresh.
        let again = [
            ("aegis-received-at", "8"),
            ("aegis-attempt", "2"),
            ("aegis-origin", "events.raw/0/1"),
            ("aegis-items", "3"),
        ];
        assert_eq!(
            headers(&[raw(None, &again), raw(Some(1), &[])], 3),
            [
                "aegis-received-at=8",
                "aegis-attempt=3",
                "aegis-origin=events.raw/0/1",
                "aegis-letters=dead-letter/1/0,dead-letter/1/1",
            ]
        );
        assert_eq!(
            headers(&[letter("sink.sql", topics::INCIDENTS, None, &[])], 2),
            [
                "aegis-attempt=2",
                "aegis-origin=incidents/5/40",
                "aegis-letters=dead-letter/1/0",
                "aegis-kind=redrive",
                "aegis-for=sink.sql",
            ]
        );
    }

    #[test]
    fn targets() {
        let check = |topic: &str, partitions, expected: Result<u32, &str>| {
            let parcel = Parcel {
                letters: vec![(
                    LetterId {
                        partition: 0,
                        offset: 0,
                    },
                    letter("s", topic, None, &[]),
                )],
                body: Bytes::new(),
                attempt: 2,
            };
            match (parcel.target(partitions), expected) {
                (Ok(found), Ok(partition)) => assert_eq!(found, TopicPartition::new(topic, partition)),
                (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
                other => panic!("{other:?}"),
            }
        };
        check(topics::EVENTS_RAW, 8, Ok(5));
        check(topics::EVENTS_RAW, 4, Ok(1));
        check(topics::SIGNALS, 8, Ok(5));
        check(topics::SIGNALS, 4, Err("signals has 4 partitions now"));
    }
}
