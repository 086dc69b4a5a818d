//! The stand-ins by HTTP, as whoever drives a demo sees them.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use world::{Scenario, World};

const API_SERVER: &str = "/apis/apps/v1/namespaces/production/deployments/api-server";

/// Status and body; a body that is no JSON is a text.
async fn ask(world: &World, method: &str, uri: &str, content_type: &str, body: Value) -> (StatusCode, Value) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("content-type", content_type)
        .header("authorization", "Bearer xoxb-test")
        .header("user-agent", "a test")
        .body(Body::from(body))
        .unwrap();
    let response = world.router().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = || Value::from(String::from_utf8_lossy(&bytes).into_owned());
    (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| text()))
}

async fn get(world: &World, uri: &str) -> Value {
    ask(world, "GET", uri, "application/json", Value::Null).await.1
}

async fn post(world: &World, uri: &str, body: Value) -> (StatusCode, Value) {
    ask(world, "POST", uri, "application/json", body).await
}

#[tokio::test]
async fn slack_keeps_what_was_said() {
    let world = World::new(Scenario::fast());
    let (_, said) = post(
        &world,
        "/api/chat.postMessage",
        json!({"channel": "#ops", "text": "open"}),
    )
    .await;
    assert_eq!(said["ok"], true);
    let update = json!({"channel": "#ops", "ts": said["ts"], "text": "resolved"});
    assert_eq!(post(&world, "/api/chat.update", update).await.1["ok"], true);
    let unknown = json!({"channel": "#ops", "ts": "1.0", "text": "x"});
    assert_eq!(
        post(&world, "/api/chat.update", unknown).await.1["error"],
        "message_not_found"
    );
    assert_eq!(
        post(&world, "/api/chat.postMessage", json!({"channel": "#ops"}))
            .await
            .1["error"],
        "no_text"
    );
    let kept = get(&world, "/_world/slack").await;
    assert_eq!(
        (
            kept.as_array().unwrap().len(),
            &kept[0]["content"]["text"],
            &kept[0]["updates"]
        ),
        (1, &json!("resolved"), &json!(1))
    );
}

#[tokio::test]
async fn faults_by_http_and_healing() {
    let world = World::new(Scenario::fast());
    let fault = json!({"system": "kubernetes", "kind": "error", "status": 503, "times": 1});
    assert_eq!(post(&world, "/_world/faults", fault).await.0, StatusCode::NO_CONTENT);
    let status = async || ask(&world, "GET", API_SERVER, "", Value::Null).await.0;
    assert_eq!(
        (status().await, status().await),
        (StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK)
    );
    let wrong = post(&world, "/_world/faults", json!({"system": "moon", "kind": "error"})).await;
    assert!(wrong.0.is_client_error(), "{wrong:?}");
    ask(&world, "DELETE", "/_world/faults", "", Value::Null).await;
    assert_eq!(get(&world, "/_world/faults").await, json!([]));
    assert_eq!(get(&world, "/_world/requests").await.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn pushed_lines_are_found() {
    let world = World::new(Scenario::fast());
    let push =
        json!({"streams": [{"stream": {"app": "api"}, "values": [["5", "five"], ["7", "seven", {"level": "error"}]]}]});
    assert_eq!(post(&world, "/loki/api/v1/push", push).await.0, StatusCode::NO_CONTENT);
    let found = get(
        &world,
        "/loki/api/v1/query_range?query=%7Bapp%3D%22api%22%7D&start=0&end=7",
    )
    .await;
    assert_eq!(
        found["data"]["result"][0]["values"],
        json!([["5", "five"]]),
        "the end is not within"
    );
    let wrong = ask(
        &world,
        "GET",
        "/loki/api/v1/query_range?query=app&start=0&end=7",
        "",
        Value::Null,
    )
    .await;
    assert_eq!(wrong.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn patches_of_every_kind_and_their_refusals() {
    let world = World::new(Scenario::fast());
    let before = get(&world, API_SERVER).await;
    let check = async |content_type: &str, body: Value, expected: u16| {
        let (status, answer) = ask(&world, "PATCH", API_SERVER, content_type, body.clone()).await;
        assert_eq!(status.as_u16(), expected, "{body}: {answer}");
        answer
    };
    let merge = "application/merge-patch+json";
    let strategic = "application/strategic-merge-patch+json";
    let scaled = check(merge, json!({"spec": {"replicas": 5}}), 200).await;
    assert_eq!(
        scaled["metadata"]["generation"].as_i64(),
        before["metadata"]["generation"].as_i64().map(|n| n + 1)
    );
    check(
        merge,
        json!({"metadata": {"resourceVersion": before["metadata"]["resourceVersion"]}}),
        409,
    )
    .await;
    check(merge, json!({"spec": {"replicas": -1}}), 422).await;
    check(merge, json!({"spec": {"replicas": "5"}}), 400).await;
    check(
        merge,
        json!({"spec": {"selector": {"matchLabels": {"app": "other"}}}}),
        422,
    )
    .await;
    check(merge, json!({"spec": {"template": {"spec": {"containers": []}}}}), 422).await;
    check(merge, json!({"metadata": {"annotations": {"a": 1}}}), 400).await;
    check("application/json", json!({}), 415).await;
    check(
        "application/json-patch+json",
        json!([{"op": "replace", "path": "/spec/replicas", "value": 2}]),
        200,
    )
    .await;
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "api-server", "image": "x:2"}]}}}});
    let changed = check(strategic, image, 200).await;
    let container = &changed["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        (&container["image"], container["env"].as_array().map(Vec::len)),
        (&json!("x:2"), Some(2))
    );
    let missing = ask(&world, "PATCH", &format!("{API_SERVER}-none"), merge, json!({})).await;
    assert_eq!(
        (missing.0, &missing.1["reason"]),
        (StatusCode::NOT_FOUND, &json!("NotFound"))
    );
}

#[tokio::test]
async fn lists_come_in_pages() {
    let world = World::new(Scenario::fast());
    let path = "/api/v1/namespaces/production/pods?labelSelector=app%3Dapi-server&limit=2";
    let first = get(&world, path).await;
    let next = first["metadata"]["continue"].as_str().unwrap().to_owned();
    let second = get(&world, &format!("{path}&continue={next}")).await;
    let items = |page: &Value| page["items"].as_array().unwrap().len();
    assert_eq!((items(&first), items(&second)), (2, 1));
    assert!(second["metadata"]["continue"].is_null());
}

#[tokio::test]
async fn pods_of_a_broken_image_do_not_become_ready() {
    let mut scenario = Scenario::fast();
    scenario.workloads[0].broken_images = vec!["x:broken".to_owned()];
    let world = World::new(scenario);
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "api-server", "image": "x:broken"}]}}}});
    ask(
        &world,
        "PATCH",
        API_SERVER,
        "application/strategic-merge-patch+json",
        image,
    )
    .await;
    let now = chrono::Utc::now() + chrono::TimeDelta::minutes(5);
    world.state().kubernetes.advance(now);
    let status = world
        .state()
        .kubernetes
        .get("deployments", "production", "api-server")
        .unwrap()["status"]
        .clone();
    assert_eq!(
        (&status["updatedReplicas"], &status["readyReplicas"]),
        (&json!(3), &json!(0))
    );
}

#[tokio::test]
async fn the_exporter_tells_memory_and_requests() {
    let world = World::new(Scenario::fast());
    let later = chrono::Utc::now() + chrono::TimeDelta::seconds(100);
    world.state().kubernetes.advance(later);
    let text = get(&world, "/metrics").await;
    let text = text.as_str().unwrap();
    let value = |line: &str| {
        let found = text
            .lines()
            .find(|one| one.starts_with(line))
            .unwrap_or_else(|| panic!("{line} in {text}"));
        found.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let limit = value("container_spec_memory_limit_bytes{namespace=\"production\",pod=\"api-server");
    assert!(value("container_memory_working_set_bytes{namespace=\"production\",pod=\"api-server") > 0.9 * limit);
    assert!(value("container_memory_working_set_bytes{namespace=\"production\",pod=\"checkout") < 0.5 * limit);
    let requests = |service: &str, status: u16| {
        value(&format!(
            "http_requests_total{{namespace=\"production\",service=\"{service}\",status=\"{status}\"}}"
        ))
    };
    assert!(requests("checkout", 500) > 900.0 && requests("postgres", 500) == 0.0);
    assert!(requests("postgres", 200) > 4900.0);
}

#[tokio::test]
async fn slack_shows_metadata_to_whoever_asks_for_it_in_pages() {
    let world = World::new(Scenario::fast());
    let metadata = json!({"event_type": "e", "event_payload": {"n": 1}});
    let first = json!({"channel": "C1", "text": "one", "metadata": metadata});
    let (_, said) = post(&world, "/api/chat.postMessage", first).await;
    let below = json!({"channel": "C1", "text": "below", "thread_ts": said["ts"]});
    post(&world, "/api/chat.postMessage", below).await;
    post(&world, "/api/chat.postMessage", json!({"channel": "C1", "text": "two"})).await;
    let plain = get(&world, "/api/conversations.history?channel=C1").await;
    assert_eq!(
        (&plain["messages"][0]["text"], &plain["messages"][1]["metadata"]),
        (&json!("two"), &Value::Null)
    );
    let page = "/api/conversations.history?channel=C1&include_all_metadata=true&limit=1";
    let newest = get(&world, page).await;
    let cursor = newest["response_metadata"]["next_cursor"].as_str().unwrap();
    let next = get(&world, &format!("{page}&cursor={cursor}")).await;
    assert_eq!(
        (&next["messages"][0]["metadata"], &next["has_more"]),
        (&metadata, &json!(false))
    );
    let thread = format!(
        "/api/conversations.replies?channel=C1&ts={}",
        said["ts"].as_str().unwrap()
    );
    let thread = get(&world, &thread).await;
    let texts: Vec<&Value> = thread["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["text"])
        .collect();
    assert_eq!(texts, ["one", "below"]);
}

#[tokio::test]
async fn github_sends_signed_webhooks_and_keeps_what_was_answered() {
    use std::sync::{Arc, Mutex};
    let world = World::new(Scenario::fast());
    // A receiver that says no at first.
    type Heard = Arc<Mutex<Vec<(String, String)>>>;
    let heard = Heard::default();
    let (seen, listener) = (
        heard.clone(),
        tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let receiver = axum::Router::new().route(
        "/hook",
        axum::routing::post(move |headers: axum::http::HeaderMap, body: String| async move {
            let signature = headers["x-hub-signature-256"].to_str().unwrap().to_owned();
            let mut seen = seen.lock().unwrap();
            seen.push((signature, body));
            if seen.len() == 1 {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                StatusCode::ACCEPTED
            }
        }),
    );
    tokio::spawn(async move { axum::serve(listener, receiver).await });
    let now = chrono::Utc::now();
    let hook = {
        let github = &mut world.state().github;
        github.repository("shop/cart", now, &["One", "Two"]);
        github.page = 1;
        github.hook(
            "shop/cart",
            &url,
            "It's a Secret to Everybody",
            &["push", "deployment_status"],
        )
    };
    world.tell("shop/cart", "push", "Hello, World!").await;
    world.tell("shop/cart", "release", "nobody asked for it").await;
    world.deploy("shop/cart", &world::github::sha(2), "prod", now).await;
    // docs.github.com, "Validating webhook deliveries".
    let expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_eq!(
        heard.lock().unwrap()[0],
        (expected.to_owned(), "Hello, World!".to_owned())
    );
    let path = format!("/github/repos/shop/cart/hooks/{hook}/deliveries");
    let list = get(&world, &path).await;
    assert_eq!(
        (
            list.as_array().unwrap_or_else(|| panic!("{list}")).len(),
            &list[0]["status_code"]
        ),
        (1, &json!(202)),
        "a page of one"
    );
    let all: Vec<u16> = world.state().github.hooks[0]
        .deliveries
        .iter()
        .map(|one| one.status_code)
        .collect();
    assert_eq!(all, [503, 202]);
    let id = list[0]["id"].as_u64().unwrap();
    let one = get(&world, &format!("{path}/{id}")).await;
    assert_eq!(one["request"]["payload"]["deployment"]["sha"], world::github::sha(2));
    assert_eq!(
        one["request"]["headers"]["X-Hub-Signature-256"].as_str(),
        Some(heard.lock().unwrap()[1].0.as_str())
    );
    let (status, _) = post(&world, &format!("{path}/{id}/attempts"), Value::Null).await;
    assert_eq!((status, heard.lock().unwrap().len()), (StatusCode::ACCEPTED, 3));
    let again = get(&world, &path).await;
    assert_eq!(
        (&again[0]["redelivery"], &again[0]["guid"]),
        (&json!(true), &list[0]["guid"])
    );
    let missing = ask(&world, "GET", &format!("{path}/1"), "", Value::Null).await;
    assert_eq!(missing.0, StatusCode::NOT_FOUND);
    // A limit of requests, and its end.
    world.state().github.budget = Some((0, now + chrono::TimeDelta::hours(1)));
    assert_eq!(
        ask(&world, "GET", &path, "", Value::Null).await.0,
        StatusCode::FORBIDDEN
    );
    world.state().github.budget = Some((0, now));
    assert_eq!(ask(&world, "GET", &path, "", Value::Null).await.0, StatusCode::OK);
}

#[tokio::test]
async fn jira_reads_the_jql_that_it_knows_and_refuses_the_rest() {
    let world = World::new(Scenario::fast());
    let ticket = |key: &str, summary: &str, done: bool| {
        json!({"key": key, "summary": summary, "description": "", "labels": ["x"], "status": "Open", "done": done,
               "updated": "2026-11-24T10:00:00Z"})
    };
    let tickets = json!([
        ticket("A-1", "say \"hi\"", false),
        ticket("A-2", "hi", true),
        ticket("B-1", "hi", false)
    ]);
    assert_eq!(post(&world, "/_world/jira", tickets).await.0, StatusCode::NO_CONTENT);
    let search = async |jql: &str| {
        let query: String = jql.bytes().map(|byte| format!("%{byte:02X}")).collect();
        ask(
            &world,
            "GET",
            &format!("/jira/rest/api/3/search/jql?jql={query}"),
            "",
            Value::Null,
        )
        .await
    };
    let keys = async |jql: &str| {
        let (_, found) = search(jql).await;
        let mut keys: Vec<String> = found["issues"]
            .as_array()
            .unwrap_or_else(|| panic!("{found}"))
            .iter()
            .map(|issue| issue["key"].as_str().unwrap().to_owned())
            .collect();
        keys.sort();
        keys
    };
    assert_eq!(
        keys(r#"project in ("A", "B") ORDER BY updated DESC"#).await,
        ["A-1", "A-2", "B-1"]
    );
    assert_eq!(keys(r#"project in ("A") AND statusCategory != Done"#).await, ["A-1"]);
    assert_eq!(
        keys(r#"project in ("A") AND (labels = "y" OR text ~ "\"say \\\"hi\\\"\"")"#).await,
        ["A-1"]
    );
    for bad in [
        "",
        "project in ()",
        "assignee = me",
        r#"text ~ "open"#,
        r#"labels = "x" ; drop"#,
    ] {
        assert_eq!(search(bad).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    let one = get(&world, "/jira/rest/api/3/issue/A-2").await;
    assert_eq!(one["fields"]["status"]["statusCategory"]["key"], "done");
}
