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
