//! Verifiers: of requests that were signed and then spoiled, re-timed, or sent again under other names, none is taken whose signed bytes were
//! altered or are stale, and none that is taken makes a signal that was not there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use fuzz::{Dice, corpus, rounds, spoiled};
use model::topics;
use operators::dedupe::{Dedupe, DedupeSettings};
use operators::normalize::Normalize;
use operators::signals_out::SignalsOut;
use ring::hmac;
use sources::webhook::{WebhookSettings, router};
use stream::log::memory::MemoryLog;
use stream::log::{Log, Retention, TopicSpec};
use stream::operator::Harness;
use stream::time::ManualClock;
use stream::{Ingress, Instant, Offset, Record, TopicPartition};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

const SECRET: &str = "It's a Secret to Everybody";
const OLD: &str = "the one before";
const NOW_S: i64 = 1_795_423_800;

/// How a sender signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Github,
    GrafanaTimed,
    Bearer,
}

const SCHEMES: &[Scheme] = &[Scheme::Github, Scheme::GrafanaTimed, Scheme::Bearer];

/// A request, and what makes it the sender's.
#[derive(Clone, Debug)]
struct Sent {
    path: &'static str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn signature(secret: &str, signed: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, signed);
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn genuine(scheme: Scheme, secret: &str, body: &[u8], time: i64) -> Sent {
    let header = |name: &str, value: String| (name.to_owned(), value);
    let (path, headers) = match scheme {
        Scheme::Github => {
            // A name that goes with every body: GitHub itself never sends a body under the name of another.
            let event = header("x-github-event", "of_next_year".to_owned());
            let signed = header("x-hub-signature-256", format!("sha256={}", signature(secret, body)));
            ("/webhooks/github", vec![event, signed])
        }
        Scheme::GrafanaTimed => {
            let signed = signature(secret, &[time.to_string().as_bytes(), b":", body].concat());
            let signed = header("x-grafana-alerting-signature", signed);
            ("/webhooks/grafana", vec![header("x-time", time.to_string()), signed])
        }
        Scheme::Bearer => {
            let token = header("authorization", format!("Bearer {}", secret.replace([' ', '\''], "-")));
            ("/webhooks/kubernetes", vec![token])
        }
    };
    Sent {
        path,
        headers,
        body: body.to_vec(),
    }
}

struct Door {
    runtime: Runtime,
    app: Router,
    log: MemoryLog,
    clock: Arc<ManualClock>,
}

impl Door {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut settings = WebhookSettings::default();
        settings.github.secrets = vec![OLD.into(), SECRET.into()];
        settings.grafana.secrets = vec![OLD.into(), SECRET.into()];
        settings.grafana.timestamp_header = "X-Time".to_owned();
        settings.kubernetes.tokens = vec![SECRET.replace([' ', '\''], "-").as_str().into()];
        let log = MemoryLog::new();
        let topic = TopicSpec {
            name: topics::EVENTS_RAW.into(),
            partitions: 1,
            retention: Retention::default(),
        };
        let clock = Arc::new(ManualClock::at(Instant(NOW_S * 1_000_000)));
        let app = runtime.block_on(async {
            log.ensure_topics(&[topic]).await.unwrap();
            let ingress = Ingress::open(Arc::new(log.clone()), topics::EVENTS_RAW, 64 << 20)
                .await
                .unwrap();
            router(&settings, ingress, None, clock.clone()).unwrap()
        });
        Door {
            runtime,
            app,
            log,
            clock,
        }
    }

    fn send(&self, sent: &Sent) -> StatusCode {
        let mut request = Request::post(sent.path);
        for (name, value) in &sent.headers {
            request = request.header(name, value);
        }
        let Ok(request) = request.body(Body::from(sent.body.clone())) else {
            return StatusCode::BAD_REQUEST;
        };
        self.runtime
            .block_on(async { self.app.clone().oneshot(request).await.unwrap().status() })
    }

    /// Records since `from`, and where the next will stand.
    fn stored(&self, from: Offset) -> (Vec<Record>, Offset) {
        let at = TopicPartition::new(topics::EVENTS_RAW, 0);
        self.runtime.block_on(async {
            let end = self.log.bounds(&at).await.unwrap().end;
            if end == from {
                return (Vec::new(), from);
            }
            let mut reader = self.log.reader(&at, from).await.unwrap();
            reader.read(1_000, Duration::from_secs(5)).await.unwrap()
        })
    }
}

/// What became different about a request.
#[derive(Debug, PartialEq, Eq)]
enum Done {
    /// Something that the sender's proof covers: it must not be taken.
    Broken,
    /// Only what nobody signed: it may be taken, and must say nothing new.
    Renamed,
}

fn tampered(dice: &mut Dice, scheme: Scheme, genuine: &Sent, bodies: &[Vec<u8>]) -> (Sent, Done) {
    let mut sent = genuine.clone();
    let proof = sent.headers.len() - 1;
    match dice.below(6) {
        0 if scheme != Scheme::Bearer => {
            sent.body = spoiled(dice, &genuine.body, bodies);
            let done = if sent.body == genuine.body {
                Done::Renamed
            } else {
                Done::Broken
            };
            (sent, done)
        }
        1 => {
            // A digit, a letter's case, or the length of the proof.
            let mut value = sent.headers[proof].1.clone().into_bytes();
            let at = dice.below(value.len());
            match dice.below(3) {
                0 => value[at] = *dice.one_of(b"0123456789abcdefXYZ=-"),
                1 => value.truncate(at),
                _ => value.push(*dice.one_of(b"0a,;")),
            }
            sent.headers[proof].1 = String::from_utf8(value).unwrap();
            let (mine, theirs) = (sent.headers[proof].1.trim(), genuine.headers[proof].1.trim());
            // Digits are hexadecimal in either case; of a token only the word before it.
            let same = match scheme {
                Scheme::Bearer => {
                    mine.get(6..) == theirs.get(6..) && mine[..6.min(mine.len())].eq_ignore_ascii_case("bearer")
                }
                _ => mine.eq_ignore_ascii_case(theirs),
            };
            (sent, if same { Done::Renamed } else { Done::Broken })
        }
        2 => {
            sent.headers.remove(proof);
            (sent, Done::Broken)
        }
        3 if scheme == Scheme::GrafanaTimed => {
            // Another time beside the same proof.
            sent.headers[0].1 = (NOW_S + dice.below(2_000) as i64 - 1_000).to_string();
            let done = if sent.headers[0].1 == genuine.headers[0].1 {
                Done::Renamed
            } else {
                Done::Broken
            };
            (sent, done)
        }
        4 if scheme == Scheme::GrafanaTimed => {
            // Signed well, at another time.
            let late = 301 + dice.below(100_000) as i64;
            let time = if dice.once_in(2) { NOW_S - late } else { NOW_S + late };
            (self::genuine(scheme, SECRET, &genuine.body, time), Done::Broken)
        }
        5 if scheme == Scheme::Github => {
            // Names that nobody signed.
            let names = ["push", "deployment", "ping", "code_scanning_alert", "brand_new", ""];
            sent.headers[0].1 = (*dice.one_of(&names)).to_owned();
            sent.headers
                .push(("x-github-delivery".to_owned(), dice.draw().to_string()));
            (sent, Done::Renamed)
        }
        _ => {
            sent.headers.push(("x-made-up".to_owned(), dice.draw().to_string()));
            sent.headers.push(("user-agent".to_owned(), "somebody else".to_owned()));
            (sent, Done::Renamed)
        }
    }
}

/// Signals that dedupe lets through.
struct Behind {
    dedupe: Dedupe,
    out: Harness<SignalsOut>,
}

impl Behind {
    fn transitions(&mut self, records: &[Record]) -> usize {
        let mut signals = Harness::<SignalsOut>::new(1);
        for record in records {
            signals.feed(&mut Normalize::default(), record);
        }
        let before = self.out.rows();
        for new in signals.drain().unwrap().into_iter().flatten() {
            let record = Record {
                offset: Offset(0),
                key: None,
                value: new.value,
                headers: new.headers,
                timestamp: new.timestamp,
            };
            self.out.feed(&mut self.dedupe, &record);
        }
        self.out.rows() - before
    }
}

#[test]
fn nothing_that_was_tampered_with_is_taken_and_nothing_is_told_twice() {
    let bodies = corpus();
    let mut door = Door::new();
    let mut taken = BTreeSet::new();
    rounds("requests", 4_000, |dice| {
        let scheme = *dice.one_of(SCHEMES);
        let body = dice.one_of(&bodies).clone();
        let secret = if dice.once_in(3) && scheme != Scheme::Bearer {
            OLD
        } else {
            SECRET
        };
        let genuine = genuine(scheme, secret, &body, NOW_S + dice.below(600) as i64 - 300);
        let first = door.send(&genuine);
        assert_ne!(first, StatusCode::UNAUTHORIZED, "{scheme:?}");
        let mut behind = Behind {
            dedupe: Dedupe::new(&DedupeSettings::default()),
            out: Harness::new(1),
        };
        let (records, mut next) = door.stored(Offset(0));
        behind.transitions(&records);
        for _ in 0..4 {
            let (sent, done) = tampered(dice, scheme, &genuine, &bodies);
            // Time goes on: what no time was signed with may come hours later.
            let later = if scheme == Scheme::GrafanaTimed {
                0
            } else {
                dice.below(20 * 3_600) as i64
            };
            door.clock.set(Instant((NOW_S + later) * 1_000_000));
            let status = door.send(&sent);
            let (records, then) = door.stored(next);
            next = then;
            match done {
                Done::Broken => {
                    assert_eq!(status, StatusCode::UNAUTHORIZED, "{scheme:?} {:?}", sent.headers);
                    assert!(records.is_empty());
                }
                Done::Renamed => {
                    assert_ne!(status, StatusCode::UNAUTHORIZED, "{scheme:?} {:?}", sent.headers);
                    let new = behind.transitions(&records);
                    assert_eq!(
                        new,
                        0,
                        "{scheme:?} {:?} {}",
                        sent.headers,
                        String::from_utf8_lossy(&sent.body)
                    );
                }
            }
        }
        if first.is_success() {
            taken.insert(format!("{scheme:?}"));
        }
        // A log of its own for each round: what came before must not make the next one a repeat.
        door = Door::new();
    });
    assert!(!taken.is_empty(), "genuine requests are taken");
}
