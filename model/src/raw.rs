//! A raw event: what a sender sent, before anybody read it. The body is the record's value, everything else
//! travels in headers, so a Kafka producer can write a plain JSON body to `events.raw` without an envelope.

use bytes::Bytes;

/// Names of the headers of a record on `events.raw`.
pub mod header {
    /// Which decoder: `alertmanager`, `grafana`, `github`, `kubernetes`, `events`. Absent: the body's shape decides.
    pub const SENDER: &str = "aegis-sender";
    /// When the dispatcher received it: microseconds since the epoch, decimal. Absent: the record's timestamp.
    pub const RECEIVED_AT: &str = "aegis-received-at";
    /// Hex digest of the raw body with the sender's name; equal for byte-identical deliveries.
    pub const DELIVERY: &str = "aegis-delivery";
    /// How the sender was authenticated: `signed`, `bearer`, `basic`, `none`; `fetched`, `watch` where we asked for it.
    pub const VERDICT: &str = "aegis-verdict";
    /// The request's content type, as sent.
    pub const CONTENT_TYPE: &str = "content-type";
    /// Prefix of kept request headers (after redaction), e.g. `http-user-agent`, and CloudEvents' own `ce-*`.
    pub const HTTP_PREFIX: &str = "http-";
    /// Prefix of CloudEvents binary-mode attributes (Kafka producers may use `ce_` as that binding says).
    pub const CE_PREFIX: &str = "ce-";
}

/// A record of `events.raw`, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawEvent {
    /// Empty when the producer named none.
    pub sender: String,
    /// Microseconds since the epoch.
    pub received_at: i64,
    pub delivery: String,
    pub verdict: String,
    pub content_type: String,
    /// Lower-case names, in order, without the fields above.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl RawEvent {
    /// The record headers that carry everything but the body.
    pub fn to_headers(&self) -> Vec<(String, Bytes)> {
        let mut out = Vec::with_capacity(5 + self.headers.len());
        let mut put = |name: &str, value: &str| {
            if !value.is_empty() {
                out.push((name.to_owned(), Bytes::copy_from_slice(value.as_bytes())));
            }
        };
        put(header::SENDER, &self.sender);
        put(header::RECEIVED_AT, &self.received_at.to_string());
        put(header::DELIVERY, &self.delivery);
        put(header::VERDICT, &self.verdict);
        put(header::CONTENT_TYPE, &self.content_type);
        for (name, value) in &self.headers {
            put(name, value);
        }
        out
    }

    /// Reads record headers back. `timestamp` (microseconds) stands in for a missing receive time. Header values that are
    /// not UTF-8 are kept lossily: nothing in them decides anything.
    pub fn from_record(headers: &[(String, Bytes)], body: Bytes, timestamp: i64) -> Self {
        let mut event = RawEvent {
            body,
            received_at: timestamp,
            ..RawEvent::default()
        };
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            let value = String::from_utf8_lossy(value).into_owned();
            match name.as_str() {
                header::SENDER => event.sender = value,
                header::RECEIVED_AT => event.received_at = value.parse().unwrap_or(timestamp),
                header::DELIVERY => event.delivery = value,
                header::VERDICT => event.verdict = value,
                header::CONTENT_TYPE => event.content_type = value,
                _ => match name.strip_prefix("ce_") {
                    Some(attribute) => event.headers.push((format!("{}{attribute}", header::CE_PREFIX), value)),
                    None => event.headers.push((name, value)),
                },
            }
        }
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip() {
        let event = RawEvent {
            sender: "alertmanager".into(),
            received_at: 17,
            delivery: "ab".into(),
            verdict: "bearer".into(),
            content_type: "application/json".into(),
            headers: vec![("ce-id".into(), "1".into())],
            body: Bytes::from_static(b"{}"),
        };
        assert_eq!(RawEvent::from_record(&event.to_headers(), event.body.clone(), 0), event);
    }

    #[test]
    fn plain_producer() {
        let headers = [("ce_id".to_owned(), Bytes::from_static(b"9"))];
        let event = RawEvent::from_record(&headers, Bytes::new(), 5);
        assert_eq!((event.received_at, event.sender.as_str()), (5, ""));
        assert_eq!(event.headers, [("ce-id".to_owned(), "9".to_owned())]);
    }
}
