//! OTLP over gRPC: whatever the bytes, a call is answered with a status that says what to do, nothing panics, and a message makes the records that the
//! same bytes make over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use fuzz::{Dice, again, corpus, rounds, spoiled};
use model::topics;
use sources::webhook::{OTLP_GRPC_PATH, WebhookSettings, grpc_router, router};
use stream::log::memory::MemoryLog;
use stream::log::{Log, Retention, TopicSpec};
use stream::time::ManualClock;
use stream::{Ingress, Instant, Offset, TopicPartition};
use tokio::runtime::Runtime;
use tonic::{Code, Status};
use tower::ServiceExt as _;

const NOW: Instant = Instant(1_795_423_800_000_000);

/// Both doors over one log.
struct Doors {
    runtime: Runtime,
    grpc: Router,
    http: Router,
    log: MemoryLog,
    read: Offset,
}

impl Doors {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let settings = WebhookSettings {
            max_body_bytes: 64 << 10,
            // A fast machine makes more calls in a second than a sender may.
            rate_per_s: 1_000_000_000,
            rate_burst: 1_000_000_000,
            ..WebhookSettings::default()
        };
        let log = MemoryLog::new();
        let topic = |name: &str| TopicSpec {
            name: name.into(),
            partitions: 1,
            retention: Retention::default(),
        };
        let clock = Arc::new(ManualClock::at(NOW));
        let (grpc, http) = runtime.block_on(async {
            log.ensure_topics(&[topic(topics::EVENTS_RAW), topic(topics::LOGS)])
                .await
                .unwrap();
            let ingress = async |topic: &str| Ingress::open(Arc::new(log.clone()), topic, 64 << 20).await.unwrap();
            let (events, logs) = (ingress(topics::EVENTS_RAW).await, ingress(topics::LOGS).await);
            let grpc = grpc_router(&settings, events.clone(), &logs, clock.clone()).unwrap();
            (grpc, router(&settings, events, Some(logs), clock).unwrap())
        });
        Doors {
            runtime,
            grpc,
            http,
            log,
            read: Offset(0),
        }
    }

    /// The values of the records since the last look, sorted.
    fn stored(&mut self) -> Vec<Vec<u8>> {
        let (at, from) = (TopicPartition::new(topics::LOGS, 0), self.read);
        let (mut values, next) = self.runtime.block_on(async {
            let end = self.log.bounds(&at).await.unwrap().end;
            if end == from {
                return (Vec::new(), from);
            }
            let mut reader = self.log.reader(&at, from).await.unwrap();
            let (records, next) = reader.read(1_000, Duration::from_secs(5)).await.unwrap();
            (
                records.iter().map(|record| record.value.to_vec()).collect::<Vec<_>>(),
                next,
            )
        });
        self.read = next;
        values.sort();
        values
    }

    fn call(&self, encoding: &str, body: &[u8]) -> Status {
        let request = Request::post(OTLP_GRPC_PATH)
            .header("content-type", "application/grpc")
            .header("grpc-encoding", encoding)
            .body(Body::from(body.to_vec()))
            .unwrap();
        self.runtime.block_on(async {
            let response = self.grpc.clone().oneshot(request).await.unwrap();
            let refused = Status::from_header_map(response.headers());
            // Its trailers say 0 where its head says nothing.
            refused.unwrap_or_else(|| Status::ok(""))
        })
    }

    fn post(&self, encoding: &str, body: &[u8]) -> u16 {
        let request = Request::post("/v1/logs")
            .header("content-type", "application/x-protobuf")
            .header("content-encoding", encoding)
            .body(Body::from(body.to_vec()))
            .unwrap();
        let answer = self.runtime.block_on(self.http.clone().oneshot(request));
        answer.unwrap().status().as_u16()
    }
}

fn framed(flag: u8, length: usize, content: &[u8]) -> Vec<u8> {
    [&[flag], &(length as u32).to_be_bytes()[..], content].concat()
}

fn content(dice: &mut Dice, bodies: &[Vec<u8>]) -> Vec<u8> {
    let body = dice.one_of(bodies).clone();
    match dice.once_in(4) {
        true => body,
        false => spoiled(dice, &body, bodies),
    }
}

#[test]
fn calls() {
    let bodies = corpus();
    let mut doors = Doors::new();
    let mut taken = 0;
    rounds("gRPC calls", 50_000, |dice| {
        let content = content(dice, &bodies);
        let (flag, encoding) = *dice.one_of(&[
            (0, "identity"),
            (0, "gzip"),
            (1, "gzip"),
            (1, "identity"),
            (2, "gzip"),
            (1, "br"),
        ]);
        if dice.once_in(3) {
            // A frame that is none.
            let length = content.len() ^ 1 << dice.below(31);
            let frame = framed(flag, length, &content);
            let frame = if dice.once_in(2) {
                spoiled(dice, &frame, &bodies)
            } else {
                frame
            };
            let status = doors.call(encoding, &frame);
            let known = [Code::Ok, Code::InvalidArgument, Code::Unimplemented];
            assert!(known.contains(&status.code()), "{status:?}");
            assert!(status.code() == Code::Ok || doors.stored().is_empty());
            doors.stored();
            return;
        }
        let status = doors.call(encoding, &framed(flag, content.len(), &content));
        let by_call = doors.stored();
        if flag > 1 || flag == 1 && encoding != "gzip" {
            let expected = if flag == 1 && encoding == "br" {
                Code::Unimplemented
            } else {
                Code::InvalidArgument
            };
            let expected = if content.len() > 64 << 10 {
                Code::InvalidArgument
            } else {
                expected
            };
            assert_eq!((status.code(), by_call.len()), (expected, 0));
            return;
        }
        let http = doors.post(if flag == 1 { "gzip" } else { "identity" }, &content);
        let by_post = doors.stored();
        let expected = match http {
            200 => Code::Ok,
            400 | 413 => Code::InvalidArgument,
            other => panic!("{other}"),
        };
        assert_eq!(status.code(), expected, "{status:?}");
        assert_eq!(by_call, by_post, "the same bytes are other records");
        taken += by_call.len();
    });
    assert!(taken > 0 || again(), "messages are taken");
}
