//! The recorded storm, moved in time so that it ends now.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use stream::Instant;

/// Captures as `aegis ingest` reads them; made by `bench storm`.
const RECORDING: &str = include_str!("../../assets/storm.ndjson");

/// Every time in the recording is of this day, in one format: `2026-01-01THH:MM:SS.mmmZ`.
const DAY: &str = "2026-01-01T";
const TIME_LENGTH: usize = "2026-01-01T00:00:00.000Z".len();

#[derive(Deserialize)]
struct Line {
    received_at: f64,
    raw_body: String,
}

/// Notification bodies, in order of sending.
pub struct Storm {
    pub bodies: Vec<Bytes>,
    /// Alerts in all of them.
    pub alerts: u64,
    length: std::time::Duration,
}

impl Storm {
    /// The storm as if its last notification had been sent at `now`.
    pub fn ending_at(now: Instant) -> Self {
        // The recording is part of the binary and read by a test; a line that does not parse is left out.
        let lines: Vec<Line> = RECORDING
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let times = || lines.iter().map(|line| (line.received_at * 1e6) as i64);
        let (first, last) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
        let shift = now.0 - last;
        let alerts = lines
            .iter()
            .map(|line| line.raw_body.matches("\"startsAt\"").count() as u64)
            .sum();
        let bodies = lines
            .iter()
            .map(|line| Bytes::from(shifted(&line.raw_body, shift)))
            .collect();
        Storm {
            bodies,
            alerts,
            length: Instant(last).since(Instant(first)),
        }
    }

    /// From the first notification to the last.
    pub fn length(&self) -> std::time::Duration {
        self.length
    }
}

/// `body` with every time of the recording moved by `shift` microseconds.
fn shifted(body: &str, shift: i64) -> String {
    let mut out = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.find(DAY) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let parsed = from
            .get(..TIME_LENGTH)
            .and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        match parsed {
            Some(time) => {
                let moved: DateTime<Utc> = Instant(time.timestamp_micros() + shift).to_datetime();
                out.push_str(&moved.to_rfc3339_opts(SecondsFormat::Millis, true));
                rest = &from[TIME_LENGTH..];
            }
            None => {
                out.push_str(DAY);
                rest = &from[DAY.len()..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_move_together_and_the_zero_time_stays() {
        let body = r#"{"startsAt":"2026-01-01T00:00:10.000Z","endsAt":"0001-01-01T00:00:00Z","x":"2026-01-01Tno"}"#;
        let moved = shifted(body, 3_600_000_000);
        assert_eq!(
            moved,
            r#"{"startsAt":"2026-01-01T01:00:10.000Z","endsAt":"0001-01-01T00:00:00Z","x":"2026-01-01Tno"}"#
        );
    }

    #[test]
    fn the_recording_reads_whole() {
        let storm = Storm::ending_at(Instant(0));
        assert_eq!(storm.bodies.len(), RECORDING.lines().count());
        assert!(storm.alerts > 500, "{}", storm.alerts);
        assert!(
            storm
                .bodies
                .iter()
                .all(|body| serde_json::from_slice::<serde_json::Value>(body).is_ok())
        );
    }
}
