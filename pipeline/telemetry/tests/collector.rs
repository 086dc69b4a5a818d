//! The exporters against a collector: the real one where there is one, and servers that are gone, hang and talk rubbish.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stream::Instant;
use stream::secret::Secret;
use stream::trace::{Span, SpanKind};
use telemetry::{Export as _, SpanExport, TelemetrySettings};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

fn shown(name: &str, value: &str) -> String {
    if name.ends_with("password") {
        "[redacted]".to_owned()
    } else {
        value.to_owned()
    }
}

fn export(port: u16) -> SpanExport {
    let settings = TelemetrySettings {
        otlp_endpoint: format!("http://127.0.0.1:{port}"),
        headers: BTreeMap::from([("x-secret".to_owned(), Secret::new("header-hunter2"))]),
        ..TelemetrySettings::default()
    };
    SpanExport::new(&settings, shown).expect("an exporter")
}

fn span() -> Span {
    let mut span = Span::at(0xa1, 0xb2, "receive alertmanager", Instant(1_700_000_000_000_000))
        .under(0xc3)
        .of_kind(SpanKind::Server)
        .with("aegis.offset", 7u64)
        .with("db.password", "hunter2");
    span.links = vec![(0xd4, 0xe5)];
    span.error = Some("it broke".to_owned());
    span
}

/// A server that writes `answer` to whoever comes, and then keeps the connection open.
fn server(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = stream.write_all(answer);
                let mut sink = [0; 4096];
                while stream.read(&mut sink).is_ok_and(|n| n > 0) {}
            });
        }
    });
    port
}

#[tokio::test]
async fn who_is_gone_or_talks_rubbish_is_an_error_and_nothing_else() {
    let gone = world::free_port().unwrap();
    let rubbish = server(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnope");
    for port in [gone, rubbish, server(&[0; 300])] {
        let sent = timeout(PATIENCE, export(port).export(&[span()])).await.expect("an end");
        let problem = sent.expect_err("nobody took it");
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}

#[tokio::test]
async fn who_hangs_is_given_up_in_time() {
    let settings = TelemetrySettings {
        otlp_endpoint: format!("http://127.0.0.1:{}", server(b"")),
        timeout: stream::human::HumanDuration(Duration::from_millis(200)),
        ..TelemetrySettings::default()
    };
    let export = SpanExport::new(&settings, shown).unwrap();
    assert!(
        timeout(PATIENCE, export.export(&[span()]))
            .await
            .expect("an end")
            .is_err()
    );
}

/// What an HTTP server is posted.
fn heard() -> (u16, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(Mutex::new(String::new()));
    let into = heard.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let into = into.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 1 << 16];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    let mut heard = into.lock().unwrap();
                    heard.push_str(&String::from_utf8_lossy(&buffer[..n]));
                    let whole = heard.trim_end().ends_with('}');
                    drop(heard);
                    if whole {
                        let _ = stream.write_all(
                            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
                        );
                    }
                }
            });
        }
    });
    (port, heard)
}

/// Stops with its test.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_collector_takes_a_span_as_it_is_meant() {
    let Ok(collector) = std::env::var("AEGIS_TEST_COLLECTOR_BIN") else {
        assert_ne!(
            std::env::var("AEGIS_TEST_REQUIRE").as_deref(),
            Ok("1"),
            "AEGIS_TEST_COLLECTOR_BIN is not set: run `make test`"
        );
        eprintln!("not run: AEGIS_TEST_COLLECTOR_BIN is not set (see scripts/test-services.sh)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let grpc = world::free_port().unwrap();
    let (port, heard) = heard();
    let config = format!(
        "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: \"127.0.0.1:{grpc}\" }} }} }} }}\n\
         exporters: {{ otlp_http: {{ endpoint: \"http://127.0.0.1:{port}\", encoding: json, compression: none, sending_queue: {{ enabled: false }} }} }}\n\
         service:\n  pipelines: {{ traces: {{ receivers: [otlp], exporters: [otlp_http] }} }}\n  telemetry: {{ metrics: {{ level: none }} }}\n"
    );
    let file = folder.path().join("collector.yml");
    std::fs::write(&file, config).unwrap();
    let log = std::fs::File::create(folder.path().join("collector.log")).unwrap();
    let mut command = std::process::Command::new(collector);
    command
        .arg("--config")
        .arg(&file)
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    let _running = Running(command.spawn().expect("the collector starts"));
    let export = export(grpc);
    let sent = async {
        while export.export(&[span()]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    if timeout(PATIENCE, sent).await.is_err() {
        panic!(
            "{}",
            std::fs::read_to_string(folder.path().join("collector.log")).unwrap_or_default()
        );
    }
    let text = heard.lock().unwrap().clone();
    for expected in [
        "\"traceId\":\"000000000000000000000000000000a1\"",
        "\"spanId\":\"00000000000000b2\"",
        "\"parentSpanId\":\"00000000000000c3\"",
        "\"traceId\":\"000000000000000000000000000000d4\"",
        "\"startTimeUnixNano\":\"1700000000000000000\"",
        "\"name\":\"receive alertmanager\"",
        "service.instance.id",
        "it broke",
        "[redacted]",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
}
