//! A real OpenTelemetry collector that can die and stand still, and what it hands on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use serde_json::Value;

use super::support::{Program, free_port, required};

/// A span as OTLP has it in JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Span(pub Value);

impl Span {
    pub fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        let attributes = self.0["attributes"].as_array()?;
        let found = attributes.iter().find(|one| one["key"] == name)?;
        found["value"]["stringValue"]
            .as_str()
            .or(found["value"]["intValue"].as_str())
    }
}

#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Received>>);

#[derive(Default)]
struct Received {
    raw: String,
    spans: Vec<Span>,
    logs: Vec<Value>,
}

impl Heard {
    fn take(&self, body: &str) {
        let read: Value = serde_json::from_str(body).expect("the collector writes JSON");
        let mut heard = self.0.lock().unwrap();
        heard.raw.push_str(body);
        let nested = |outer: &str, scope: &str, inner: &str| -> Vec<Value> {
            let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
            let scopes = list(&read, outer).into_iter().flat_map(|one| list(&one, scope));
            scopes.flat_map(|one| list(&one, inner)).collect()
        };
        heard
            .spans
            .extend(nested("resourceSpans", "scopeSpans", "spans").into_iter().map(Span));
        heard.logs.extend(nested("resourceLogs", "scopeLogs", "logRecords"));
    }

    /// Every byte.
    pub fn raw(&self) -> String {
        self.0.lock().unwrap().raw.clone()
    }

    /// In the order in which they came; one that came twice stands here twice.
    pub fn spans(&self, trace: &str) -> Vec<Span> {
        let heard = self.0.lock().unwrap();
        heard
            .spans
            .iter()
            .filter(|span| span.text("traceId") == trace)
            .cloned()
            .collect()
    }

    /// One of each id.
    pub fn by_id(&self, trace: &str) -> BTreeMap<String, Span> {
        let spans = self.spans(trace).into_iter();
        spans.map(|span| (span.text("spanId").to_owned(), span)).collect()
    }

    pub fn logs(&self) -> Vec<Value> {
        self.0.lock().unwrap().logs.clone()
    }
}

pub struct Collector {
    pub port: u16,
    pub heard: Heard,
    program: PathBuf,
    folder: PathBuf,
    running: Option<Program>,
    _serving: tokio::runtime::Runtime,
}

impl Collector {
    /// `None` without the program.
    pub fn start(folder: &Path) -> Option<Self> {
        let program = PathBuf::from(required("AEGIS_TEST_COLLECTOR_BIN")?);
        let serving = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let heard = Heard::default();
        let taken = async |State(heard): State<Heard>, body: String| {
            heard.take(&body);
            axum::Json(serde_json::json!({}))
        };
        let router = Router::new()
            .route("/v1/traces", post(taken))
            .route("/v1/logs", post(taken))
            .layer(DefaultBodyLimit::disable())
            .with_state(heard.clone());
        let listener = serving.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let to = listener.local_addr().unwrap();
        serving.spawn(async move { axum::serve(listener, router).await });
        let port = free_port();
        let config = format!(
            "receivers: {{ otlp: {{ protocols: {{ grpc: {{ endpoint: \"127.0.0.1:{port}\" }} }} }} }}\n\
             exporters: {{ otlp_http: {{ endpoint: \"http://{to}\", encoding: json, compression: none, sending_queue: {{ enabled: false }} }} }}\n\
             service:\n  pipelines:\n    traces: {{ receivers: [otlp], exporters: [otlp_http] }}\n    \
             logs: {{ receivers: [otlp], exporters: [otlp_http] }}\n  telemetry: {{ metrics: {{ level: none }} }}\n"
        );
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("collector.yml"), config).unwrap();
        let mut collector = Collector {
            port,
            heard,
            program,
            folder: folder.to_owned(),
            running: None,
            _serving: serving,
        };
        collector.revive();
        Some(collector)
    }

    pub fn revive(&mut self) {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.folder.join("collector.yml"));
        self.running = Some(Program::start("collector", &mut command, &self.folder));
    }

    /// With -9.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// It takes connections and answers nothing.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.running.as_ref().expect("it runs").pid().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}
