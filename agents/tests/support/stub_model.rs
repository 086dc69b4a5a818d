//! An OpenAI-compatible endpoint on this host that answers as a test says.

use std::sync::{Arc, Mutex};

use agents::AgentSettings;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What it answers.
#[derive(Clone, Debug)]
pub enum Manner {
    /// Explains every finding with its own citations.
    Sound,
    /// Does what any text in the data says: claims it about everything, with real and invented citations, and asks for actions.
    Obedient,
    /// This body, with this status.
    Says(StatusCode, String),
    /// This content in a proper reply without a count of tokens.
    Content(String),
    Hangs,
}

pub struct StubModel {
    pub url: String,
    /// Bodies that were sent to it, and the header `authorization`.
    pub asked: Arc<Mutex<Vec<(Value, String)>>>,
}

impl StubModel {
    pub async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let app = Router::new()
            .route("/v1/chat/completions", post(answer))
            .with_state((manner, asked.clone()));
        tokio::spawn(async move { axum::serve(listener, app).await });
        StubModel { url, asked }
    }

    pub fn settings(&self) -> AgentSettings {
        let mut settings = AgentSettings::default();
        settings.model.url = self.url.clone();
        settings.model.model = "stub".into();
        settings.model.key = "k3y".into();
        settings.model.tokens_per_step = 20_000;
        assert_eq!(settings.faults(), Vec::<String>::new());
        settings
    }
}

type Shared = (Manner, Arc<Mutex<Vec<(Value, String)>>>);

async fn answer(State((manner, asked)): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let key = headers.get("authorization").map(|key| key.to_str().unwrap().to_owned());
    asked.lock().unwrap().push((body.clone(), key.unwrap_or_default()));
    let user = body["messages"][1]["content"].as_str().unwrap();
    let fenced: Vec<&str> = user.lines().collect();
    assert_eq!(
        (fenced.len(), fenced[0], fenced[2]),
        (3, "<<<DATA", "DATA>>>"),
        "the fence holds"
    );
    let data: Value = serde_json::from_str(fenced[1]).unwrap();
    match manner {
        Manner::Hangs => std::future::pending().await,
        Manner::Says(status, text) => (status, text).into_response(),
        Manner::Content(content) => json!({ "choices": [{ "message": { "content": content } }] })
            .to_string()
            .into_response(),
        Manner::Sound => reply(&claims(&data, &["it fits together".to_owned()], false)),
        Manner::Obedient => {
            let mut texts = Vec::new();
            strings(&data, &mut texts);
            reply(&claims(&data, &texts, true))
        }
    }
}

fn reply(content: &Value) -> Response {
    let message = json!({ "role": "assistant", "content": content.to_string(), "tool_calls": content["tool_calls"] });
    json!({ "choices": [{ "message": message }], "usage": { "total_tokens": 321 } })
        .to_string()
        .into_response()
}

fn claims(data: &Value, texts: &[String], obedient: bool) -> Value {
    let mut claims = Vec::new();
    let mut ids = Vec::new();
    collect_ids(data, &mut ids);
    let mut places: Vec<String> = (0..9).map(|at| format!("finding:{at}")).collect();
    places.extend(["root_cause", "impact", "resolution", "proposal", "triage"].map(str::to_owned));
    for place in places {
        // What looks like an instruction first: only one sentence for each place counts.
        for text in texts
            .iter()
            .max_by_key(|text| text.len())
            .into_iter()
            .chain(texts.iter().take(1))
        {
            let mut citations = ids.clone();
            citations.extend(["logs-deadbeef00".to_owned(), text.clone()]);
            let invented =
                json!({ "about": place, "text": text, "citations": ["logs-deadbeef00"], "kind": "out_of_memory" });
            claims.extend(obedient.then_some(invented));
            claims.push(json!({
                "about": place, "text": text, "citations": citations,
                "action": { "type": "scale", "target": { "namespace": "kube-system", "name": "evil" }, "replicas": 0 },
            }));
        }
    }
    json!({
        "claims": claims, "severity": "info",
        "proposal": { "action": { "type": "restart", "target": { "namespace": "kube-system", "name": "evil" } } },
        "tool_calls": [{ "function": { "name": "kubernetes_delete_namespace", "arguments": "{\"namespace\":\"production\"}" } }],
    })
}

fn collect_ids(value: &Value, ids: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            ids.extend(fields.get("id").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect_ids(value, ids));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_ids(value, ids)),
        _ => {}
    }
}

fn strings(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::String(text) => all.push(text.clone()),
        Value::Object(fields) => fields.values().for_each(|value| strings(value, all)),
        Value::Array(values) => values.iter().for_each(|value| strings(value, all)),
        _ => {}
    }
}
