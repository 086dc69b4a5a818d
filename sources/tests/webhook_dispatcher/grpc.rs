//! Log lines over gRPC: the same records as over HTTP, statuses that tell a client what to do, and nothing that a stranger can hold up.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::LogBatch;
use sources::logs::LogIntakeSettings;
use sources::webhook::{OTLP_GRPC_PATH, WebhookSettings, WebhookSource, grpc_router};
use stream::Source as _;
use stream::time::ManualClock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::ServiceExt as _;

use super::logs::{fixture, logs_ingress, records};
use super::support::{Append, FaultyLog, NOW, ingress, within};

const GRPC: (&str, &str) = ("content-type", "application/grpc");
const GZIP: (&str, &str) = ("grpc-encoding", "gzip");

async fn app(log: &Arc<FaultyLog>, settings: &WebhookSettings) -> Router {
    let (events, logs) = (ingress(log, 64 << 20).await, logs_ingress(log).await);
    grpc_router(settings, events, &logs, Arc::new(ManualClock::at(NOW))).unwrap()
}

/// A message as a call carries it.
fn framed(compressed: bool, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[u8::from(compressed)], &length[..], content].concat()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(content).unwrap();
    gzip.finish().unwrap()
}

/// A field of a protobuf message: its number, and what is in it.
fn block(number: u8, content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 128);
    [&[number << 3 | 2, content.len() as u8], content].concat()
}

/// One record that says something, with a time, and before it `empty` that do not.
fn request(empty: usize) -> Vec<u8> {
    let record = [&[0x09, 1, 0, 0, 0, 0, 0, 0, 1][..], b"\x2a\x03\x0a\x01a"].concat();
    let records = [block(2, &[]).repeat(empty), block(2, &record)].concat();
    block(1, &block(2, &records))
}

/// An answer, read: its status, wherever it stood, and its message.
#[derive(Debug)]
struct Answer {
    http: u16,
    status: Option<Status>,
    message: Bytes,
}

impl Answer {
    async fn read<B>(response: axum::http::Response<B>) -> Answer
    where
        B: axum::body::HttpBody<Data = Bytes>,
        B::Error: std::fmt::Debug,
    {
        let http = response.status().as_u16();
        let headers = response.headers().clone();
        let body = within(response.into_body().collect()).await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let status = [&headers, &trailers]
            .into_iter()
            .find_map(|map: &HeaderMap| Status::from_header_map(map));
        Answer {
            http,
            status,
            message: body.to_bytes(),
        }
    }

    /// The code, and the seconds after which it may be sent again.
    fn told(&self) -> (Code, Option<u64>) {
        let status = self.status.as_ref().unwrap_or_else(|| panic!("no status: {self:?}"));
        let wait = status.get_details_retry_info().and_then(|info| info.retry_delay);
        (status.code(), wait.map(|wait| wait.as_secs()))
    }

    fn words(&self) -> &str {
        self.status.as_ref().map_or("", Status::message)
    }
}

async fn call(app: &Router, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let mut request = Request::post(OTLP_GRPC_PATH);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::read(app.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap()).await
}

#[tokio::test]
async fn a_message_is_the_same_records_as_the_body_of_a_post() {
    let plain = fixture("otlp-python.bin");
    let over_http = FaultyLog::new([]);
    let (events, logs) = (ingress(&over_http, 64 << 20).await, logs_ingress(&over_http).await);
    let clock = Arc::new(ManualClock::at(NOW));
    let http = sources::webhook::router(&WebhookSettings::default(), events, Some(logs), clock).unwrap();
    let headers = [("content-type", "application/x-protobuf")];
    let answer = super::support::send(&http, "POST", "/v1/logs", &headers, plain.clone()).await;
    assert_eq!(answer.status, 200);
    let expected = records(&over_http).await;
    assert_eq!(expected.len(), 1);
    let batch = |record: &stream::Record| serde_json::from_slice::<LogBatch>(&record.value).unwrap();
    let proto = ("content-type", "application/grpc+proto");
    for (headers, body) in [
        (vec![GRPC], framed(false, &plain)),
        (vec![GRPC, GZIP], framed(false, &plain)),
        (vec![proto, GZIP], framed(true, &gzip(&plain))),
    ] {
        let log = FaultyLog::new([]);
        let answer = call(&app(&log, &WebhookSettings::default()).await, &headers, body).await;
        assert_eq!((answer.http, answer.told()), (200, (Code::Ok, None)));
        assert_eq!(answer.message, framed(false, b""), "no partial success");
        let found = records(&log).await;
        let told = |records: &[stream::Record]| -> Vec<_> {
            let parts = records
                .iter()
                .map(|one| (one.key.clone(), one.headers.clone(), one.timestamp));
            parts.collect()
        };
        assert_eq!(told(&found), told(&expected));
        assert_eq!(found[0].value, expected[0].value);
    }
    // A recording that OpenTelemetry compressed itself, of another run.
    let log = FaultyLog::new([]);
    let body = framed(true, &fixture("otlp-python.gz"));
    let answer = call(&app(&log, &WebhookSettings::default()).await, &[GRPC, GZIP], body).await;
    assert_eq!(answer.told(), (Code::Ok, None));
    let (mine, theirs) = (batch(&records(&log).await[0]), batch(&expected[0]));
    assert_eq!((mine.service, mine.lines.len()), (theirs.service, theirs.lines.len()));
}

#[tokio::test]
async fn records_that_cannot_be_taken_are_counted_and_the_rest_is_taken() {
    let log = FaultyLog::new([]);
    let app = app(&log, &WebhookSettings::default()).await;
    let answer = call(&app, &[GRPC, ("x-scope-orgid", "team-a")], framed(false, &request(2))).await;
    assert_eq!(answer.told(), (Code::Ok, None));
    let text = "resource_logs[0].scope_logs[0].log_records[0]: neither a body nor an event name";
    let partial = [&[0x08, 2][..], &block(2, text.as_bytes())].concat();
    assert_eq!(answer.message, framed(false, &block(1, &partial)));
    let batch: LogBatch = serde_json::from_slice(&records(&log).await[0].value).unwrap();
    assert_eq!((batch.tenant.as_str(), batch.lines[0].text.as_str()), ("team-a", "a"));
}

#[tokio::test]
async fn what_cannot_be_taken_is_said_and_not_sent_again() {
    let small = WebhookSettings {
        max_body_bytes: 64 << 10,
        max_headers: 8,
        logs: LogIntakeSettings {
            max_lines: 3,
            ..LogIntakeSettings::default()
        },
        ..WebhookSettings::default()
    };
    let log = FaultyLog::new([]);
    let app = app(&log, &small).await;
    let check = async |headers: &[(&str, &str)], body: Vec<u8>, code: Code, words: &str| {
        let answer = call(&app, headers, body).await;
        assert_eq!(answer.told(), (code, None), "{words}: {answer:?}");
        assert!(answer.words().contains(words), "{words}: {answer:?}");
    };
    let (rubbish, good) = (Code::InvalidArgument, framed(false, &request(0)));
    let torn = &fixture("otlp-python.bin")[..700];
    check(&[GRPC], framed(false, torn), rubbish, "no protobuf message").await;
    check(&[GRPC], framed(false, b"rubbish"), rubbish, "no protobuf message").await;
    check(&[GRPC], b"rubbish".to_vec(), rubbish, "begins with 114").await;
    check(&[GRPC], Vec::new(), rubbish, "ended before its message").await;
    check(&[GRPC], good[..9].to_vec(), rubbish, "bytes early").await;
    check(&[GRPC], [&good[..], &good[..]].concat(), rubbish, "has one").await;
    check(
        &[GRPC],
        framed(false, &vec![0; (64 << 10) + 1]),
        rubbish,
        "over 65536 bytes",
    )
    .await;
    check(&[GRPC], b"\0\xff\xff\xff\xff".to_vec(), rubbish, "over 65536 bytes").await;
    check(&[GRPC, GZIP], framed(true, b"rubbish"), rubbish, "no gzip").await;
    let bomb = gzip(&vec![0; 8 << 20]);
    assert!(bomb.len() < 64 << 10);
    check(
        &[GRPC, GZIP],
        framed(true, &bomb),
        rubbish,
        "over 65536 bytes when unpacked",
    )
    .await;
    check(
        &[GRPC],
        framed(true, &gzip(&request(0))),
        rubbish,
        "no grpc-encoding says how",
    )
    .await;
    let zstd = [GRPC, ("grpc-encoding", "zstd")];
    check(&zstd, framed(true, b"x"), Code::Unimplemented, "send gzip, or none").await;
    check(&[GRPC], framed(false, &request(9)), rubbish, "more than 3 lines").await;
    check(
        &[GRPC, ("x-scope-orgid", "a/b")],
        good.clone(),
        rubbish,
        "x-scope-orgid",
    )
    .await;
    let many: Vec<(String, String)> = (0..9).map(|n| (format!("x-{n}"), "1".to_owned())).collect();
    let many: Vec<(&str, &str)> = many
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .chain([GRPC])
        .collect();
    check(&many, good.clone(), rubbish, "more than 8 metadata fields").await;
    let plain = call(&app, &[("content-type", "application/json")], good.clone()).await;
    assert_eq!((plain.http, plain.status.is_none()), (415, true));
    let traces = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let traces = Request::post(traces)
        .header(GRPC.0, GRPC.1)
        .body(Body::from(good))
        .unwrap();
    let answer = Answer::read(app.clone().oneshot(traces).await.unwrap()).await;
    assert_eq!(answer.told(), (Code::Unimplemented, None));
    assert!(answer.words().contains(OTLP_GRPC_PATH), "{answer:?}");
    assert!(records(&log).await.is_empty());
}

#[tokio::test]
async fn strangers_learn_that_they_are() {
    let mut settings = WebhookSettings::default();
    settings.otlp.tokens = vec!["old".into(), "t0".into()];
    settings.otlp.basic = vec!["ada:secret".into()];
    let log = FaultyLog::new([]);
    let app = app(&log, &settings).await;
    let good = framed(false, &request(0));
    for header in ["", "Bearer t1", "Bearer t", "Basic YWRhOng=", "t0"] {
        for body in [good.clone(), b"rubbish".to_vec(), framed(false, &vec![0; 6 << 20])] {
            let answer = call(&app, &[GRPC, ("authorization", header)], body).await;
            assert_eq!(
                (answer.told(), answer.words()),
                ((Code::Unauthenticated, None), ""),
                "{header}"
            );
        }
    }
    assert!(records(&log).await.is_empty());
    for header in ["Bearer old", "Bearer t0", "Basic YWRhOnNlY3JldA=="] {
        let answer = call(&app, &[GRPC, ("authorization", header)], good.clone()).await;
        assert_eq!(answer.told(), (Code::Ok, None), "{header}");
    }
    assert_eq!(records(&log).await.len(), 3);
}

#[tokio::test]
async fn what_may_be_sent_again_says_when() {
    let good = framed(false, &request(0));
    let log = FaultyLog::new([Append::Refused, Append::AnswerLost]);
    let sent = app(&log, &WebhookSettings::default()).await;
    assert_eq!(
        call(&sent, &[GRPC], good.clone()).await.told(),
        (Code::Unavailable, Some(5))
    );
    assert_eq!(
        call(&sent, &[GRPC], good.clone()).await.told(),
        (Code::Unavailable, Some(5))
    );
    assert_eq!(call(&sent, &[GRPC], good.clone()).await.told(), (Code::Ok, None));
    let stored = records(&log).await;
    let names: Vec<_> = stored
        .iter()
        .map(|record| record.header("aegis-delivery").unwrap())
        .collect();
    assert_eq!((names.len(), names[0]), (2, names[1]), "one delivery");

    let slow = WebhookSettings {
        rate_per_s: 1,
        rate_burst: 1,
        ..WebhookSettings::default()
    };
    let app = app(&FaultyLog::new([]), &slow).await;
    let mut told = Vec::new();
    // On a slow machine a token may come back in between: the limit must show within a few.
    for _ in 0..5 {
        told.push(call(&app, &[GRPC], good.clone()).await.told());
    }
    assert_eq!(told[0], (Code::Ok, None));
    assert!(told.contains(&(Code::ResourceExhausted, Some(1))), "{told:?}");
}

#[tokio::test]
async fn memory_is_taken_for_what_is_announced() {
    let settings = WebhookSettings {
        max_body_bytes: 8 << 10,
        max_buffered_bytes: 12 << 10,
        ..WebhookSettings::default()
    };
    let log = FaultyLog::gated();
    let app = app(&log, &settings).await;
    let wide = [request(0), block(9, &[0; 120]).repeat(60)].concat();
    let first = {
        let (app, body) = (app.clone(), framed(false, &wide));
        tokio::spawn(async move { call(&app, &[GRPC], body).await })
    };
    log.arrived(1).await;
    let answer = call(&app, &[GRPC], framed(false, &wide)).await;
    assert_eq!(
        answer.told(),
        (Code::Unavailable, Some(1)),
        "there is room for one of them"
    );
    log.gate.add_permits(2);
    assert_eq!(within(first).await.unwrap().told(), (Code::Ok, None));
    assert_eq!(call(&app, &[GRPC], framed(false, &wide)).await.told(), (Code::Ok, None));
}

/// The door on a free port.
struct Running {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    source: JoinHandle<Result<(), String>>,
}

async fn start(log: &Arc<FaultyLog>, settings: WebhookSettings) -> Running {
    let source = WebhookSource::bind(WebhookSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        otlp_grpc_listen: Some(([127, 0, 0, 1], 0).into()),
        ..settings
    });
    let source = source.await.unwrap().with_logs(logs_ingress(log).await);
    let (address, stop) = (source.grpc_addr().unwrap(), CancellationToken::new());
    let source = tokio::spawn(Box::new(source).run(ingress(log, 64 << 20).await, stop.clone()));
    Running { address, stop, source }
}

type Sender = hyper::client::conn::http2::SendRequest<Body>;

impl Running {
    /// A client, and its connection's end.
    async fn client(&self) -> (Sender, JoinHandle<()>) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = shaken.unwrap();
        let ended = tokio::spawn(async move {
            let _ = connection.await;
        });
        (sender, ended)
    }

    async fn stop(self) {
        self.stop.cancel();
        within(self.source).await.unwrap().unwrap();
    }
}

fn post(address: std::net::SocketAddr, body: Body) -> Request<Body> {
    let request = Request::post(format!("http://{address}{OTLP_GRPC_PATH}")).header(GRPC.0, GRPC.1);
    request.body(body).unwrap()
}

/// What the server sends before it closes. A reset is an end as well.
async fn heard(mut stream: TcpStream) -> usize {
    let mut all = Vec::new();
    let _ = within(stream.read_to_end(&mut all)).await;
    all.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_without_a_request_are_closed() {
    let settings = WebhookSettings {
        header_timeout_s: 1,
        request_timeout_s: 1,
        ..WebhookSettings::default()
    };
    let log = FaultyLog::new([]);
    let running = start(&log, settings).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings_frame = b"\0\0\0\x04\0\0\0\0\0";
    // HEADERS of stream 1 without END_HEADERS: the rest never comes.
    let half_a_head = b"\0\0\x01\x01\0\0\0\0\x01\x83";
    let greeting = [&preface[..], &settings_frame[..]].concat();
    for opening in [
        &b""[..],
        &preface[..10],
        &greeting,
        &[&greeting[..], &half_a_head[..]].concat(),
        b"POST /v1/logs HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(opening).await.unwrap();
        heard(stream).await;
    }
    // A call whose message stands still: it is told to come again, and then its connection is idle.
    let (mut client, ended) = running.client().await;
    let standing = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"\0\0\0\0\x09ab"))]);
    let standing = Body::from_stream(standing.chain(futures::stream::pending()));
    let response = within(client.send_request(post(running.address, standing)))
        .await
        .unwrap();
    assert_eq!(Answer::read(response).await.told(), (Code::Unavailable, Some(1)));
    within(ended).await.unwrap();
    assert!(records(&log).await.is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_need_not_send_the_rest() {
    let log = FaultyLog::new([]);
    let running = start(&log, WebhookSettings::default()).await;
    let (mut client, _ended) = running.client().await;
    // A hundred megabytes are announced, and they never end.
    let head = Bytes::from_static(b"\0\x06\x40\0\0");
    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[0; 16 << 10])));
    let endless = Body::from_stream(futures::stream::iter([Ok(head)]).chain(endless));
    let response = within(client.send_request(post(running.address, endless)))
        .await
        .unwrap();
    assert_eq!(Answer::read(response).await.told(), (Code::InvalidArgument, None));
    // The connection is good for the next one.
    let good = Body::from(framed(false, &request(0)));
    let response = within(client.send_request(post(running.address, good))).await.unwrap();
    assert_eq!(Answer::read(response).await.told(), (Code::Ok, None));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_strangers_of_one_address_take_their_own_places_alone() {
    let settings = WebhookSettings {
        max_connections: 8,
        max_connections_per_address: 4,
        // Longer than the test.
        header_timeout_s: 600,
        ..WebhookSettings::default()
    };
    let running = start(&FaultyLog::new([]), settings).await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        slow.push(TcpStream::connect(running.address).await.unwrap());
    }
    assert_eq!(heard(TcpStream::connect(running.address).await.unwrap()).await, 0);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let stream = socket.connect(running.address).await.unwrap();
    let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut client, connection): (Sender, _) = shaken.unwrap();
    tokio::spawn(connection);
    let good = Body::from(framed(false, &request(0)));
    let response = within(client.send_request(post(running.address, good))).await.unwrap();
    assert_eq!(Answer::read(response).await.told(), (Code::Ok, None));
    drop((slow, client));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_finishes_what_is_in_flight() {
    let log = FaultyLog::gated();
    let running = start(&log, WebhookSettings::default()).await;
    let (mut client, ended) = running.client().await;
    let address = running.address;
    let good = Body::from(framed(false, &request(0)));
    let in_flight = tokio::spawn(async move { client.send_request(post(address, good)).await });
    log.arrived(1).await;
    running.stop.cancel();
    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!running.source.is_finished(), "stopped before its call was answered");
    log.gate.add_permits(1);
    let response = within(in_flight).await.unwrap().unwrap();
    assert_eq!(Answer::read(response).await.told(), (Code::Ok, None));
    within(ended).await.unwrap();
    within(running.source).await.unwrap().unwrap();
    assert_eq!(records(&log).await.len(), 1);
}
