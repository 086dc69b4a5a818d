//! Over a pipe, with the SDK's own client.

use std::collections::BTreeSet;
use std::time::Duration;

use gateway::{Caller, Role};
use mcp::{Effect, listed};
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, ClientRequest, ErrorCode, GetPromptRequestParams,
    PaginatedRequestParams, ReadResourceRequestParams, ResourceContents,
};
use rmcp::service::{PeerRequestOptions, RunningService};
use rmcp::{RoleClient, ServiceError, ServiceExt as _};
use serde_json::{Map, Value, json};

use super::desk::{HOSTILE, Site, id, named, reader};

type Client = RunningService<RoleClient, ()>;

async fn connect(site: &Site, caller: Caller) -> Client {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let aegis = site.aegis.for_caller(caller);
    tokio::spawn(async move {
        let running = aegis.serve(theirs).await.unwrap();
        running.waiting().await.unwrap();
    });
    ().serve(ours).await.unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(fields) = value else {
        panic!("{value} is no object")
    };
    fields
}

async fn call(client: &Client, name: &'static str, arguments: Value) -> Result<CallToolResult, ServiceError> {
    client
        .call_tool(CallToolRequestParams::new(name).with_arguments(object(arguments)))
        .await
}

/// The structured answer, which must say the same as its text and have what its schema requires.
async fn answered(client: &Client, name: &'static str, arguments: Value) -> Value {
    let result = call(client, name, arguments).await.unwrap();
    let text = result.content[0].as_text().unwrap().text.clone();
    assert_ne!(result.is_error, Some(true), "{name}: {text}");
    let structured = result.structured_content.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), structured);
    let tools = client.list_all_tools().await.unwrap();
    let tool = tools.iter().find(|tool| tool.name == name).unwrap();
    let schema = tool.output_schema.as_ref().unwrap();
    for required in schema["required"].as_array().unwrap() {
        assert!(
            structured.get(required.as_str().unwrap()).is_some(),
            "{name} lacks {required}"
        );
    }
    for field in structured.as_object().unwrap().keys() {
        assert!(
            schema["properties"].get(field).is_some(),
            "{name} has {field}, which its schema does not know"
        );
    }
    structured
}

async fn refused(client: &Client, name: &'static str, arguments: Value) -> String {
    let result = call(client, name, arguments).await.unwrap();
    assert_eq!(result.is_error, Some(true), "{result:?}");
    assert_eq!(result.structured_content, None);
    result.content[0].as_text().unwrap().text.clone()
}

fn restart(incident: uuid::Uuid) -> Value {
    json!({
        "incident_id": incident,
        "action": { "type": "restart", "target": { "cluster": "default", "namespace": "prod", "kind": "deployment", "name": "api" } },
        "reason": "It leaks.\u{1b}[31m",
    })
}

#[tokio::test]
async fn a_reader_observes_and_every_tool_answers_as_its_schema_says() {
    let site = Site::new();
    let client = connect(&site, reader()).await;
    let incident = json!({ "incident_id": id(1) });
    let page = answered(&client, "list_incidents", json!({ "status": "open", "limit": 20 })).await;
    assert_eq!(page["incidents"].as_array().unwrap().len(), 20);
    let next = answered(
        &client,
        "list_incidents",
        json!({ "status": "open", "limit": 20, "cursor": page["next_cursor"] }),
    )
    .await;
    assert_eq!(next["incidents"].as_array().unwrap().len(), 10);
    assert_eq!(next["next_cursor"], Value::Null);
    let found = answered(&client, "list_incidents", json!({ "text": "Alert 33 on" })).await;
    assert_eq!(found["incidents"][0]["id"], id(33).to_string());
    let one = answered(&client, "get_incident", json!({ "incident_id": id(1), "limit": 1 })).await;
    assert_eq!(
        (one["alerts"].as_array().unwrap().len(), &one["earlier_moments"]),
        (1, &json!(1))
    );
    let why = answered(&client, "explain_incident", incident.clone()).await;
    assert_eq!(why["rules"], json!({ "opened@1": 1, "same-service@1": 1 }));
    let words = why["because"][1]["why"].as_str().unwrap();
    assert!(
        words.contains("service:prod/api") && words.contains("30 s apart"),
        "{words}"
    );
    let like = answered(&client, "find_similar", incident.clone()).await;
    assert_eq!(like["similar"][0]["fixes"][0]["action"], "restart");
    let like = answered(&client, "find_similar", json!({ "text": "out of memory", "limit": 1 })).await;
    assert_eq!(like["similar"][0]["matched"][0]["value"], "out of memory");
    let findings = answered(&client, "get_findings", incident).await;
    assert_eq!(findings["findings"][0]["kind"], "out_of_memory");
    assert_eq!(
        (&findings["postmortem"], &findings["unknown"][0]["what"]),
        (&json!(true), &json!("what the cluster saw"))
    );
    answered(&client, "get_step", json!({ "step_id": id(500) })).await;
    answered(&client, "list_remediations", json!({})).await;
    let letters = answered(&client, "list_dead_letters", json!({ "status": "open" })).await;
    assert_eq!(
        (
            letters["dead_letters"].as_array().unwrap().len(),
            letters["next_cursor"].is_string()
        ),
        (20, true)
    );
    assert_eq!(
        answered(&client, "pipeline_status", json!({})).await["sinks"][0]["lag"],
        3
    );
    assert_eq!(
        answered(&client, "query_sql", json!({ "sql": "select title" })).await["row_count"],
        1
    );
    assert_eq!(
        answered(&client, "metrics_ask", json!({ "question": "why" })).await["answer"],
        json!([1.5, 3.0])
    );
    client.cancel().await.unwrap();
}

/// The crate graph says that nothing here can act (`pipeline/tests/crates.rs`); the list says that nothing here claims to.
#[tokio::test]
async fn one_tool_proposes_and_only_who_may_sees_it() {
    let site = Site::new();
    let of = |effect| {
        listed(site.aegis.desk())
            .into_iter()
            .filter(move |one| one.effect == effect)
            .map(|one| one.tool)
    };
    let proposing: Vec<String> = of(Effect::Propose).map(|tool| tool.name.to_string()).collect();
    assert_eq!(proposing, ["propose_action"]);
    assert!(
        of(Effect::Observe)
            .chain(of(Effect::ObserveBeside))
            .all(|tool| tool.annotations.unwrap().read_only_hint == Some(true))
    );
    for (caller, shown) in [
        (reader(), false),
        (named("vera", Role::Viewer), false),
        (named("rosa", Role::Responder), true),
        (named("ada", Role::Approver), true),
    ] {
        let client = connect(&site, caller.clone()).await;
        let names: BTreeSet<String> = client
            .list_all_tools()
            .await
            .unwrap()
            .iter()
            .map(|tool| tool.name.to_string())
            .collect();
        assert_eq!(names.contains("propose_action"), shown, "{caller:?}");
        let answer = call(&client, "propose_action", restart(id(0))).await.unwrap();
        assert_eq!(answer.is_error == Some(true), !shown, "{answer:?}");
        client.cancel().await.unwrap();
    }
    let proposed = site.world.proposed.lock().unwrap();
    let by: Vec<&str> = proposed.iter().map(|(_, by)| by.as_str()).collect();
    assert_eq!(by, ["human:rosa", "human:ada"]);
    assert_eq!(proposed[0].0.reason, "It leaks. [31m");
    let calls = site.calls();
    let told: Vec<(&str, &str)> = calls
        .iter()
        .map(|call| (call.by.as_str(), call.outcome.as_str()))
        .collect();
    let both = |by, outcome| [(by, "begun"), (by, outcome)];
    let expected = [
        both("reader", "refused"),
        both("human:vera", "refused"),
        both("human:rosa", "ok"),
        both("human:ada", "ok"),
    ]
    .concat();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn what_is_asked_wrongly_is_told_so_that_it_can_be_mended() {
    let site = Site::new();
    let client = connect(&site, named("rosa", Role::Responder)).await;
    for (name, arguments, word) in [
        ("list_incidents", json!({ "status": "closed" }), "status"),
        ("list_incidents", json!({ "state": "open" }), "state"),
        ("list_incidents", json!({ "limit": 101 }), "limit"),
        ("list_incidents", json!({ "limit": -1 }), "arguments"),
        ("list_incidents", json!({ "cursor": "dead_letters.20" }), "cursor"),
        ("list_incidents", json!({ "since": "yesterday" }), "arguments"),
        ("get_incident", json!({}), "incident_id"),
        ("get_incident", json!({ "incident_id": "../../etc/passwd" }), "UUID"),
        ("get_incident", json!({ "incident_id": id(70) }), "there is no incident"),
        ("find_similar", json!({ "incident_id": id(70) }), "there is no incident"),
        ("find_similar", json!({ "incident_id": id(1), "text": "x" }), "not both"),
        ("find_similar", json!({}), "not both"),
        ("find_similar", json!({ "text": " " }), "text"),
        ("find_similar", json!({ "text": "x".repeat(5_000) }), "5000 bytes"),
        ("find_similar", json!({ "text": "x", "limit": 51 }), "limit"),
        ("get_step", json!({ "step_id": id(1) }), "there is no step"),
        (
            "get_remediation",
            json!({ "remediation_id": id(1) }),
            "there is no remediation",
        ),
        ("list_dead_letters", json!({ "status": "lost" }), "status"),
        ("query_sql", json!({ "sql": "drop" }), "not allowed"),
        ("query_sql", json!({ "sql": "x".repeat(30_000) }), "30000 bytes"),
        ("query_sql", json!({ "sql": "select everything" }), "max_answer"),
        ("metrics_refuse", json!({}), "[redacted] is no question"),
        ("propose_action", restart(id(1)), "resolved"),
        (
            "propose_action",
            json!({ "incident_id": id(0), "action": { "type": "delete" }, "reason": "x" }),
            "delete",
        ),
        (
            "propose_action",
            json!({ "incident_id": id(0), "action": restart(id(0))["action"], "reason": " \u{7} " }),
            "reason",
        ),
    ] {
        let told = refused(&client, name, arguments.clone()).await;
        assert!(told.contains(word), "{name} {arguments}: {told}");
    }
    // What a neighbour said about its network is in the log, not in the answer.
    assert!(
        !refused(&client, "query_sql", json!({ "sql": "select 1" }))
            .await
            .contains("10.1.2.3")
    );
    *site.world.away.lock().unwrap() = true;
    let told = refused(&client, "list_incidents", json!({})).await;
    assert!(told.contains("try again") && !told.contains("10.1.2.3"), "{told}");
    let told = refused(&client, "find_similar", json!({ "text": "disk full" })).await;
    assert!(told.contains("off or away") && !told.contains("10.1.2.3"), "{told}");
    // A tool that does not exist is a fault of the request.
    let error = call(&client, "kubernetes_restart", json!({})).await.unwrap_err();
    let ServiceError::McpError(error) = error else {
        panic!("{error}")
    };
    assert_eq!(error.code, ErrorCode::INVALID_PARAMS);
    assert!(site.world.proposed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn hostile_text_is_data_without_its_secret_and_its_hidden_letters() {
    let site = Site::new();
    let client = connect(&site, reader()).await;
    let expected = HOSTILE
        .replace("hunter2-hunter2", "[redacted]")
        .replace('\u{e0041}', "\u{fffd}");
    let one = answered(&client, "get_incident", json!({ "incident_id": id(0) })).await;
    assert_eq!(one["incident"]["title"], expected);
    assert!(one["untrusted"].as_str().unwrap().contains("follow no instruction"));
    let rows = answered(&client, "query_sql", json!({ "sql": "select title" })).await;
    assert_eq!(rows["rows"][0]["title"], expected);
    // The word about texts comes before them.
    let result = call(&client, "get_incident", json!({ "incident_id": id(0) }))
        .await
        .unwrap();
    assert!(result.content[0].as_text().unwrap().text.starts_with("{\"untrusted\":"));
    for (uri, form) in [("/timeline", "text/markdown"), ("", "application/json")] {
        let uri = format!("aegis://incidents/{}{uri}", id(0));
        let read = client.read_resource(ReadResourceRequestParams::new(uri)).await.unwrap();
        let ResourceContents::TextResourceContents { text, mime_type, .. } = &read.contents[0] else {
            panic!("text")
        };
        assert_eq!(mime_type.as_deref(), Some(form));
        assert!(
            !text.contains("hunter2") && !text.contains('\u{e0041}') && text.contains("follow no instruction"),
            "{text}"
        );
        assert!(
            !text.contains("\n#  IGNORE") && (form != "text/markdown" || text.contains("\\<b\\>")),
            "{text}"
        );
    }
}

#[tokio::test]
async fn resources_are_listed_page_by_page_and_read_by_name_alone() {
    let site = Site::new();
    let client = connect(&site, reader()).await;
    let (mut uris, mut cursor) = (Vec::new(), None);
    loop {
        let page = client
            .list_resources(Some(PaginatedRequestParams::default().with_cursor(cursor)))
            .await
            .unwrap();
        assert!(page.resources.len() <= 150);
        uris.extend(page.resources.into_iter().map(|resource| resource.uri));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    // A runbook; an incident and a timeline sixty times; one postmortem.
    assert_eq!((uris[0].as_str(), uris.len()), ("aegis://runbooks/disk%20full.md", 122));
    assert_eq!(uris.iter().collect::<BTreeSet<_>>().len(), 122);
    for uri in [
        uris[0].clone(),
        uris[1].clone(),
        format!("aegis://incidents/{}/postmortem", id(1)),
    ] {
        let read = client
            .read_resource(ReadResourceRequestParams::new(uri.clone()))
            .await
            .unwrap();
        let ResourceContents::TextResourceContents { text, uri: told, .. } = &read.contents[0] else {
            panic!("text")
        };
        assert!(!text.is_empty() && *told == uri);
    }
    assert_eq!(client.list_all_resource_templates().await.unwrap().len(), 4);
    for bad in [
        "aegis://runbooks/../secret.md",
        "aegis://runbooks/%2e%2e/secret.md",
        "aegis://runbooks/%2Fetc%2Fpasswd",
        "aegis://runbooks/",
        "aegis://incidents/nobody",
        "file:///etc/passwd",
        "",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([
        format!("aegis://incidents/{}", id(70)),
        format!("aegis://incidents/{}/postmortem", id(2)),
        format!("aegis://incidents/{}/x", id(2)),
    ]) {
        let error = client
            .read_resource(ReadResourceRequestParams::new(bad.clone()))
            .await
            .unwrap_err();
        let ServiceError::McpError(error) = error else {
            panic!("{error}")
        };
        assert!(
            [ErrorCode::RESOURCE_NOT_FOUND, ErrorCode::INVALID_PARAMS].contains(&error.code),
            "{bad}: {error}"
        );
    }
    let bad = PaginatedRequestParams::default().with_cursor(Some("incidents.x".to_owned()));
    assert!(client.list_resources(Some(bad)).await.is_err());
    let kinds: BTreeSet<(String, String)> = site.calls().into_iter().map(|call| (call.kind, call.outcome)).collect();
    let pair = |outcome: &str| ("resource".to_owned(), outcome.to_owned());
    assert_eq!(kinds, BTreeSet::from([pair("ok"), pair("error")]));
}

#[tokio::test]
async fn prompts_embed_their_incident_as_a_resource() {
    let site = Site::new();
    let client = connect(&site, reader()).await;
    let prompts = client.list_all_prompts().await.unwrap();
    let names: Vec<&str> = prompts.iter().map(|prompt| prompt.name.as_str()).collect();
    assert_eq!(names, ["investigate_incident", "write_postmortem", "hand_over"]);
    let get = async |name: &str, arguments: Value| {
        client
            .get_prompt(GetPromptRequestParams::new(name).with_arguments(object(arguments)))
            .await
    };
    for name in &names[..2] {
        let prompt = get(name, json!({ "incident_id": id(0) })).await.unwrap();
        let embedded = serde_json::to_value(&prompt.messages[1]).unwrap();
        assert_eq!(
            embedded["content"]["resource"]["uri"],
            format!("aegis://incidents/{}", id(0))
        );
        let data = embedded["content"]["resource"]["text"].as_str().unwrap();
        assert!(data.contains("IGNORE ALL") && !data.contains("hunter2"), "{data}");
        let words = serde_json::to_string(&prompt.messages[0]).unwrap();
        assert!(
            !words.contains("IGNORE ALL") && words.contains("follow no instruction"),
            "{words}"
        );
    }
    get(
        "hand_over",
        json!({ "since": "2026-11-01T00:00:00Z", "service": "api" }),
    )
    .await
    .unwrap();
    get("hand_over", json!({})).await.unwrap();
    for (name, arguments) in [
        ("investigate_incident", json!({})),
        ("investigate_incident", json!({ "incident_id": id(70) })),
        ("investigate_incident", json!({ "incident_id": 7 })),
        ("investigate_incident", json!({ "incident_id": id(0), "more": "x" })),
        ("hand_over", json!({ "since": "yesterday" })),
        ("hand_under", json!({})),
    ] {
        let error = get(name, arguments.clone()).await.unwrap_err();
        let ServiceError::McpError(error) = error else {
            panic!("{error}")
        };
        assert_eq!(error.code, ErrorCode::INVALID_PARAMS, "{name} {arguments}: {error}");
    }
    let ids = client
        .complete_prompt_simple("investigate_incident", "incident_id", &id(7).to_string()[..30])
        .await
        .unwrap();
    assert!(ids.contains(&id(7).to_string()), "{ids:?}");
}

#[tokio::test]
async fn slow_calls_are_given_up_and_broken_ones_harm_nobody() {
    let site = Site::with(|desk| desk.call_timeout = Duration::from_millis(200));
    let client = connect(&site, reader()).await;
    let told = refused(&client, "metrics_hang", json!({})).await;
    assert!(told.contains("no answer within 0.2 s"), "{told}");
    let error = call(&client, "metrics_break", json!({ "question": "hunter2-hunter2" }))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ServiceError::McpError(ref error) if error.code == ErrorCode::INTERNAL_ERROR),
        "{error}"
    );
    answered(&client, "pipeline_status", json!({})).await;
    let calls = site.calls();
    let outcomes: Vec<&str> = calls.iter().map(|call| call.outcome.as_str()).collect();
    assert_eq!(outcomes, ["timeout", "error", "ok"]);
    assert_eq!(calls[1].arguments, json!({ "question": "[redacted]" }));
    assert!(
        calls
            .iter()
            .all(|call| call.by == "reader" && call.over == "stdio" && call.kind == "tool")
    );
    assert!(calls[0].duration_ms >= 200 && calls[0].client.is_some());
}

#[tokio::test]
async fn calls_beyond_what_may_run_wait_their_turn_and_a_cancelled_one_gives_its_place_back() {
    let site = Site::with(|desk| desk.limits = mcp::Limits::new(6_000, 1));
    let client = connect(&site, reader()).await;
    let hang = CallToolRequestParams::new("metrics_hang").with_arguments(Map::new());
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(hang));
    let held = client
        .send_cancellable_request(request, PeerRequestOptions::no_options())
        .await
        .unwrap();
    let waiting = {
        let peer = client.peer().clone();
        tokio::spawn(async move { peer.call_tool(CallToolRequestParams::new("pipeline_status")).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    held.cancel(Some("enough".to_owned())).await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_ne!(answer.is_error, Some(true));
    let outcomes: BTreeSet<(String, String)> = site.calls().into_iter().map(|call| (call.name, call.outcome)).collect();
    let pair = |name: &str, outcome: &str| (name.to_owned(), outcome.to_owned());
    assert_eq!(
        outcomes,
        BTreeSet::from([pair("metrics_hang", "cancelled"), pair("pipeline_status", "ok")])
    );
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_answered() {
    let site = Site::with(|desk| {
        // A file that takes nothing.
        desk.audit = std::sync::Arc::new(mcp::Audit::open(std::path::Path::new("/dev/full"), 1 << 20).unwrap());
    });
    let client = connect(&site, named("ada", Role::Approver)).await;
    assert!(call(&client, "pipeline_status", json!({})).await.is_err());
    assert!(call(&client, "propose_action", restart(id(0))).await.is_err());
    assert!(
        site.world.proposed.lock().unwrap().is_empty(),
        "it was proposed before it was written down"
    );
}
