//! The OpenAPI 3.1 document: one list of the operations below `/api/v1`, with schemas generated from the types that are answered.
//! `docs/openapi.json` is this document; a test keeps it so, another asks every route that it names.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::api::acts::{ApproveBody, DenyBody, ProposeBody, ResolveBody, RunBody, StopBody};
use crate::api::changes::ChangesView;
use crate::api::console::{MeView, SqlBody};
use crate::api::letters::DropBody;
use crate::compliance::ControlView;
use crate::orders::Proposed;
use crate::pipeline::{PipelineView, StopView};
use crate::queries::QueryView;
use crate::reads::{IncidentDetail, IncidentView};
use crate::responses::{LetterView, RemediationView, StepView};
use crate::roles::Role;
use crate::sessions::{OwnSession, SessionView};
use crate::silences::{SilenceBody, SilenceView, SilencesView};
use crate::similar::SimilarAnswer;

/// One operation.
struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    /// The least role.
    role: Role,
    query: &'static [&'static str],
    body: Option<fn(&mut SchemaGenerator) -> Value>,
    answer: fn(&mut SchemaGenerator) -> Value,
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

fn list<T: JsonSchema>(name: &str, generator: &mut SchemaGenerator) -> Value {
    json!({
        "type": "object",
        "required": [name, "limit", "offset", "more"],
        "properties": {
            name: { "type": "array", "items": of::<T>(generator) },
            "limit": { "type": "integer" },
            "offset": { "type": "integer" },
            "more": { "type": "boolean", "description": "There are further ones after this page." },
        },
    })
}

fn object(_: &mut SchemaGenerator) -> Value {
    json!({ "type": "object" })
}

const PAGE: &[&str] = &["incident", "status", "limit", "offset"];

const OPERATIONS: &[Operation] = &[
    Operation {
        method: "get",
        path: "/incidents",
        summary: "Incidents, newest first",
        role: Role::Viewer,
        query: &[
            "status", "severity", "service", "text", "since", "until", "limit", "offset",
        ],
        body: None,
        answer: |generator| list::<IncidentView>("incidents", generator),
    },
    Operation {
        method: "get",
        path: "/incidents/{id}",
        summary: "An incident with its members and its timeline",
        role: Role::Viewer,
        query: &[],
        body: None,
        answer: of::<IncidentDetail>,
    },
    Operation {
        method: "get",
        path: "/incidents/{id}/similar",
        summary: "Past incidents like it, what they share, and what fixed them",
        role: Role::Viewer,
        query: &["limit"],
        body: None,
        answer: of::<SimilarAnswer>,
    },
    Operation {
        method: "get",
        path: "/similar",
        summary: "Past incidents like a text",
        role: Role::Viewer,
        query: &["text", "limit"],
        body: None,
        answer: of::<SimilarAnswer>,
    },
    Operation {
        method: "post",
        path: "/incidents/{id}/acknowledge",
        summary: "Says that somebody works on it",
        role: Role::Responder,
        query: &[],
        body: None,
        answer: object,
    },
    Operation {
        method: "post",
        path: "/incidents/{id}/resolve",
        summary: "Says that it is over, and what ended it",
        role: Role::Responder,
        query: &[],
        body: Some(of::<ResolveBody>),
        answer: object,
    },
    Operation {
        method: "post",
        path: "/incidents/{id}/run",
        summary: "Pauses, resumes, cancels or repeats the investigation",
        role: Role::Responder,
        query: &[],
        body: Some(of::<RunBody>),
        answer: object,
    },
    Operation {
        method: "post",
        path: "/incidents/{id}/propose",
        summary: "Tries an action dry and proposes it; who proposes does not grant",
        role: Role::Responder,
        query: &[],
        body: Some(of::<ProposeBody>),
        answer: of::<Proposed>,
    },
    Operation {
        method: "get",
        path: "/silences",
        summary: "Silences that hold or are to come, the one declared last first",
        role: Role::Viewer,
        query: &["all", "incident"],
        body: None,
        answer: of::<SilencesView>,
    },
    Operation {
        method: "post",
        path: "/silences",
        summary: "Holds back what people are told about certain incidents, for a while",
        role: Role::Responder,
        query: &[],
        body: Some(of::<SilenceBody>),
        answer: of::<SilenceView>,
    },
    Operation {
        method: "post",
        path: "/silences/{id}/end",
        summary: "Ends a silence before its time",
        role: Role::Responder,
        query: &[],
        body: None,
        answer: of::<SilenceView>,
    },
    Operation {
        method: "get",
        path: "/runs",
        summary: "Steps of investigations, newest first",
        role: Role::Viewer,
        query: PAGE,
        body: None,
        answer: |generator| list::<StepView>("steps", generator),
    },
    Operation {
        method: "get",
        path: "/runs/{id}",
        summary: "A step: what it was given, what it asked, what it found",
        role: Role::Viewer,
        query: &[],
        body: None,
        answer: of::<StepView>,
    },
    Operation {
        method: "get",
        path: "/remediations",
        summary: "Remediations, newest first",
        role: Role::Viewer,
        query: PAGE,
        body: None,
        answer: |generator| list::<RemediationView>("remediations", generator),
    },
    Operation {
        method: "get",
        path: "/remediations/{id}",
        summary: "A remediation with its proposal in full",
        role: Role::Viewer,
        query: &[],
        body: None,
        answer: of::<RemediationView>,
    },
    Operation {
        method: "post",
        path: "/remediations/{id}/approve",
        summary: "Says yes to the plan with this hash",
        role: Role::Approver,
        query: &[],
        body: Some(of::<ApproveBody>),
        answer: object,
    },
    Operation {
        method: "post",
        path: "/remediations/{id}/deny",
        summary: "Says no",
        role: Role::Approver,
        query: &[],
        body: Some(of::<DenyBody>),
        answer: object,
    },
    Operation {
        method: "post",
        path: "/remediation/stop",
        summary: "The stop switch: while it is on, nothing is executed. Off needs an admin",
        role: Role::Approver,
        query: &[],
        body: Some(of::<StopBody>),
        answer: object,
    },
    Operation {
        method: "get",
        path: "/remediation/stop",
        summary: "How the stop switch stands",
        role: Role::Viewer,
        query: &[],
        body: None,
        answer: of::<StopView>,
    },
    Operation {
        method: "get",
        path: "/pipeline",
        summary: "How the pipeline is: what became of items, lag, watermarks, senders",
        role: Role::Viewer,
        query: &[],
        body: None,
        answer: of::<PipelineView>,
    },
    Operation {
        method: "post",
        path: "/sql",
        summary: "Answers a query over signals, incidents and what was done about them; changes nothing",
        role: Role::Viewer,
        query: &[],
        body: Some(of::<SqlBody>),
        answer: of::<QueryView>,
    },
    Operation {
        method: "get",
        path: "/me",
        summary: "Who asks, and what he may",
        role: Role::Viewer,
        query: &[],
        body: None,
        answer: of::<MeView>,
    },
    Operation {
        method: "get",
        path: "/compliance",
        summary: "Controls, and how many facts kept or broke the policies that serve them",
        role: Role::Viewer,
        query: &[],
        body: None,
        answer: |generator| {
            let items = of::<ControlView>(generator);
            json!({ "type": "object", "required": ["controls"], "properties": { "controls": { "type": "array", "items": items } } })
        },
    },
    Operation {
        method: "get",
        path: "/compliance/{control}",
        summary: "What the policies said about a control, newest first",
        role: Role::Viewer,
        query: &["limit", "offset"],
        body: None,
        answer: object,
    },
    Operation {
        method: "get",
        path: "/compliance/{control}/evidence",
        summary: "The evidence pack of a control: the same bytes for the same log",
        role: Role::Viewer,
        query: &[],
        body: None,
        answer: object,
    },
    Operation {
        method: "get",
        path: "/dead-letters",
        summary: "What was refused, newest first",
        role: Role::Viewer,
        query: &["status", "limit", "offset"],
        body: None,
        answer: |generator| list::<LetterView>("dead_letters", generator),
    },
    Operation {
        method: "get",
        path: "/dead-letters/{partition}/{offset}",
        summary: "A dead letter with its bytes in base64, its headers and what was done about it",
        role: Role::Responder,
        query: &[],
        body: None,
        answer: object,
    },
    Operation {
        method: "post",
        path: "/dead-letters/{partition}/{offset}/replay",
        summary: "Sends the refused record once more, to who refused it",
        role: Role::Admin,
        query: &[],
        body: None,
        answer: object,
    },
    Operation {
        method: "post",
        path: "/dead-letters/{partition}/{offset}/drop",
        summary: "Says that it needs nothing more, and why",
        role: Role::Admin,
        query: &[],
        body: Some(of::<DropBody>),
        answer: object,
    },
    Operation {
        method: "get",
        path: "/changes",
        summary: "Answers when something changed since the mark `after`, or when `wait` seconds (at most 60) are over",
        role: Role::Viewer,
        query: &["after", "wait"],
        body: None,
        answer: of::<ChangesView>,
    },
    Operation {
        method: "post",
        path: "/sessions",
        summary: "Signs in: a named bearer token opens a session, whose cookie is set",
        role: Role::Viewer,
        query: &[],
        body: None,
        answer: of::<OwnSession>,
    },
    Operation {
        method: "get",
        path: "/sessions",
        summary: "One's own sessions, oldest first; an admin may name another user",
        role: Role::Viewer,
        query: &["user"],
        body: None,
        answer: |generator| {
            let sessions = json!({ "type": "array", "items": of::<SessionView>(generator) });
            json!({ "type": "object", "required": ["sessions"], "properties": { "sessions": sessions } })
        },
    },
    Operation {
        method: "delete",
        path: "/sessions",
        summary: "Ends all of one's own sessions, on every instance; an admin may name another user",
        role: Role::Viewer,
        query: &["user"],
        body: None,
        answer: object,
    },
    Operation {
        method: "get",
        path: "/sessions/current",
        summary: "The session of this request, with the value for X-Aegis-Csrf",
        role: Role::Viewer,
        query: &[],
        body: None,
        answer: of::<OwnSession>,
    },
    Operation {
        method: "delete",
        path: "/sessions/current",
        summary: "Signs out",
        role: Role::Viewer,
        query: &[],
        body: None,
        answer: object,
    },
    Operation {
        method: "delete",
        path: "/sessions/{session}",
        summary: "Ends one of one's own sessions; an admin anybody's",
        role: Role::Viewer,
        query: &[],
        body: None,
        answer: object,
    },
];

/// The document.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let entry = paths.entry(operation.path).or_insert_with(|| json!({}));
        entry[operation.method] = describe(operation, &mut generator);
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Aegis",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Incidents, their investigation and their remediation. An order is accepted with 202; what came of it \
                stands in the incident, the run or the remediation.",
        },
        "servers": [{ "url": "/api/v1" }],
        "security": [{ "bearer": [] }, { "session": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "session": {
                    "type": "apiKey", "in": "cookie", "name": "aegis_session",
                    "description": "Beyond loopback __Host-aegis_session. What changes something needs the header X-Aegis-Csrf as well.",
                },
            },
            "responses": { "Problem": {
                "description": "RFC 9457; without a detail for whoever may not know it",
                "content": { "application/problem+json": { "schema": { "type": "object", "properties": {
                    "type": { "type": "string" },
                    "title": { "type": "string" },
                    "status": { "type": "integer" },
                    "detail": { "type": "string" },
                    "field": { "type": "string" },
                } } } },
            } },
        },
    })
}

fn describe(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = Vec::new();
    if operation.path.contains("{id}") {
        let schema = json!({ "type": "string", "format": "uuid" });
        parameters.push(json!({ "name": "id", "in": "path", "required": true, "schema": schema }));
    }
    for name in ["partition", "offset"] {
        if operation.path.contains(&format!("{{{name}}}")) {
            let schema = json!({ "type": "integer", "minimum": 0 });
            parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
        }
    }
    if operation.path.contains("{session}") {
        let schema = json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" });
        parameters.push(json!({ "name": "session", "in": "path", "required": true, "schema": schema }));
    }
    for name in operation.query {
        let kind = if matches!(*name, "limit" | "offset" | "wait") {
            "integer"
        } else {
            "string"
        };
        parameters.push(json!({ "name": name, "in": "query", "schema": { "type": kind } }));
    }
    let (code, meaning) = match (operation.method, operation.path) {
        ("post", "/sessions") => ("201", "Signed in"),
        ("post", "/sql") => ("200", "Answered"),
        ("post", "/silences") => ("201", "Declared"),
        ("post", "/silences/{id}/end") => ("200", "Ended"),
        ("post", _) => ("202", "Accepted"),
        ("delete", "/sessions") => ("200", "Ended"),
        ("delete", _) => ("204", "Ended"),
        _ => ("200", "Found"),
    };
    let mut answer = json!({ "description": meaning });
    if code != "204" {
        let schema = (operation.answer)(generator);
        answer["content"] = json!({ "application/json": { "schema": schema } });
    }
    let mut described = json!({
        "summary": operation.summary,
        "description": format!("Role: {}", operation.role.as_str()),
        "x-role": operation.role.as_str(),
        "parameters": parameters,
        "responses": {
            code: answer,
            "default": { "$ref": "#/components/responses/Problem" },
        },
    });
    if let Some(body) = operation.body {
        let schema = body(generator);
        described["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    described
}
