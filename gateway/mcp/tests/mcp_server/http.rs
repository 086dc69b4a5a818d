//! Over HTTP: who is let in, what is refused before the protocol begins, and the SDK's own client through it.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use gateway::{ApiToken, GatewaySettings, Role, Tokens};
use http_body_util::BodyExt as _;
use mcp::{Limits, McpSettings, router};
use rmcp::ServiceExt as _;
use rmcp::model::CallToolRequestParams;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::desk::Site;

const ADA: &str = "Bearer token-of-ada";
const BOB: &str = "Bearer token-of-bob";

struct Door {
    site: Site,
    router: Router,
}

/// An answer: status, headers, body.
type Answer = (StatusCode, HeaderMap, String);

fn tokens() -> GatewaySettings {
    let token = |name: &str, role: Role| {
        let token = ApiToken {
            token: format!("token-of-{name}").as_str().into(),
            role,
        };
        (name.to_owned(), token)
    };
    GatewaySettings {
        read_tokens: vec!["a-read-token".into()],
        tokens: BTreeMap::from([token("ada", Role::Approver), token("bob", Role::Viewer)]),
        ..GatewaySettings::default()
    }
}

impl Door {
    fn new() -> Self {
        Self::with(Site::new(), &tokens(), |_| {})
    }

    fn with(site: Site, gateway: &GatewaySettings, change: impl FnOnce(&mut McpSettings)) -> Self {
        let mut settings = McpSettings::default();
        change(&mut settings);
        let router = router(
            &settings,
            Tokens::new(gateway),
            site.aegis.clone(),
            CancellationToken::new(),
        );
        Door { site, router }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let answer = async {
            let response = self.router.clone().oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            (
                parts.status,
                parts.headers,
                String::from_utf8_lossy(&bytes).into_owned(),
            )
        };
        tokio::time::timeout(Duration::from_secs(30), answer)
            .await
            .expect("an answer that ends")
    }

    async fn post(&self, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::post("/mcp");
        let usual = [
            ("host", "127.0.0.1:8001"),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
        ];
        for (name, value) in usual
            .iter()
            .filter(|(name, _)| !headers.iter().any(|(own, _)| own == name))
            .chain(headers)
        {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    async fn open(&self, token: &str) -> Answer {
        self.post(&[("authorization", token)], initialize()).await
    }

    async fn in_session(&self, token: &str, session: &str, message: &Value) -> Answer {
        self.post(
            &[("authorization", token), ("mcp-session-id", session)],
            message.to_string(),
        )
        .await
    }
}

fn initialize() -> String {
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params }).to_string()
}

fn call(name: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "name": name, "arguments": {} } })
}

fn session(answer: &Answer) -> String {
    assert_eq!(answer.0, StatusCode::OK, "{}", answer.2);
    answer.1["mcp-session-id"].to_str().unwrap().to_owned()
}

/// The last message of a body, be it JSON or a stream of events.
fn message(body: &str) -> Value {
    let line = body
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("data: ").filter(|data| data.starts_with('{')));
    serde_json::from_str(line.unwrap_or(body)).unwrap_or_else(|e| panic!("{e}: {body}"))
}

#[tokio::test]
async fn a_token_opens_and_its_holder_alone_uses_the_session() {
    let door = Door::new();
    for wrong in [
        &[][..],
        &[("authorization", "Bearer nobody")],
        &[("authorization", "token-of-ada")],
        &[("authorization", "Basic token-of-ada")],
    ] {
        let (status, headers, body) = door.post(wrong, initialize()).await;
        assert_eq!(
            (status, &headers["www-authenticate"]),
            (StatusCode::UNAUTHORIZED, &"Bearer".parse().unwrap()),
            "{body}"
        );
    }
    let session = session(&door.open(ADA).await);
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let (status, _, body) = door.in_session(ADA, &session, &initialized).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    let (_, _, body) = door.in_session(ADA, &session, &call("pipeline_status")).await;
    assert_eq!(message(&body)["result"]["structuredContent"]["ready"], true, "{body}");
    // Somebody else's session is no session.
    for (token, used) in [
        (BOB, session.as_str()),
        ("Bearer a-read-token", &session),
        (ADA, "made-up"),
    ] {
        let (status, _, body) = door.in_session(token, used, &call("pipeline_status")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{token} {used}: {body}");
    }
    let calls = door.site.calls();
    let told: Vec<(&str, &str, &str)> = calls.iter().map(|call| (&*call.by, &*call.over, &*call.role)).collect();
    assert_eq!(told, [("human:ada", "http", "approver")]);
    assert_eq!(calls[0].client.as_deref(), Some("test 1"));
}

#[tokio::test]
async fn a_page_in_a_browser_is_kept_out() {
    let door = Door::with(Site::new(), &GatewaySettings::default(), |_| {});
    let forbidden = [
        &[("host", "evil.example.com:8001")][..],
        &[("host", "127.0.0.1.evil.example.com")],
        &[("origin", "http://evil.example.com")],
        &[("origin", "null")],
        &[("origin", "https://localhost.evil.example.com:443")],
    ];
    for headers in forbidden {
        let (status, _, body) = door.post(headers, initialize()).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{headers:?}: {body}");
    }
    for headers in [
        &[("host", "localhost:8001")][..],
        &[("host", "[::1]:8001")],
        &[("origin", "http://localhost:6274")],
    ] {
        session(&door.post(headers, initialize()).await);
    }
    let preflight = Request::options("/mcp")
        .header("host", "localhost")
        .header("origin", "http://localhost:1");
    let (status, headers, _) = door.send(preflight.body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(headers.get("access-control-allow-origin").is_none());
}

#[tokio::test]
async fn rubbish_is_refused_and_the_next_request_is_answered() {
    let door = Door::with(Site::new(), &tokens(), |settings| {
        settings.max_body = stream::human::HumanSize(8 << 10)
    });
    let ada = ("authorization", ADA);
    let giant = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{}\"}}", "x".repeat(20_000));
    /// Headers, body, and the status of the answer.
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, u16);
    let cases: [Case<'_>; 7] = [
        (&[ada], giant.as_str(), 413),
        (&[ada], "{", 400),
        (&[ada], "[]", 400),
        (&[ada], "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"}", 422),
        (&[ada, ("content-type", "text/plain")], "{}", 415),
        (&[ada, ("accept", "text/html")], "{}", 406),
        (
            &[ada, ("mcp-protocol-version", "1999-01-01")],
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"}",
            400,
        ),
    ];
    for (headers, body, expected) in cases {
        let (status, _, told) = door.post(headers, body.to_owned()).await;
        assert!(status.is_client_error(), "{headers:?} {status}: {told}");
        if expected == 413 || expected == 415 || expected == 406 {
            assert_eq!(status.as_u16(), expected, "{told}");
        }
    }
    // A body without an end that says its length nowhere.
    let chunks = (0..64).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 1_024]));
    let endless = Body::from_stream(futures::stream::iter(chunks));
    let (status, _, _) = door.post(&[ada], endless).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let elsewhere = Request::get("/")
        .header("authorization", ADA)
        .body(Body::empty())
        .unwrap();
    assert_eq!(door.send(elsewhere).await.0, StatusCode::NOT_FOUND);
    session(&door.open(ADA).await);
}

#[tokio::test]
async fn a_flood_of_sessions_is_refused_until_one_ends() {
    let door = Door::with(Site::new(), &tokens(), |settings| settings.max_sessions = 3);
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(session(&door.open(ADA).await));
    }
    for _ in 0..5 {
        let (status, headers, _) = door.open(BOB).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(headers.contains_key("retry-after"));
    }
    // Those that are open go on, and so does a client of the version without sessions.
    let (status, _, _) = door.in_session(ADA, &sessions[0], &call("pipeline_status")).await;
    assert_eq!(status, StatusCode::OK);
    let (_, _, body) = door
        .post(
            &[
                ("authorization", BOB),
                ("mcp-protocol-version", "2026-07-28"),
                ("mcp-method", "tools/call"),
                ("mcp-name", "pipeline_status"),
            ],
            modern(),
        )
        .await;
    assert_eq!(message(&body)["result"]["structuredContent"]["ready"], true, "{body}");
    let end = |token: &str| {
        let request = Request::delete("/mcp")
            .header("host", "localhost")
            .header("authorization", token);
        request
            .header("mcp-session-id", &sessions[0])
            .body(Body::empty())
            .unwrap()
    };
    assert_eq!(door.send(end(BOB)).await.0, StatusCode::NOT_FOUND);
    assert!(door.send(end(ADA)).await.0.is_success());
    let mut opened = StatusCode::SERVICE_UNAVAILABLE;
    for _ in 0..200 {
        opened = door.open(BOB).await.0;
        if opened == StatusCode::OK {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(opened, StatusCode::OK);
}

fn modern() -> String {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "modern", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "name": "pipeline_status", "arguments": {}, "_meta": meta });
    json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params }).to_string()
}

#[tokio::test]
async fn who_asks_too_often_waits_and_others_do_not() {
    let site = Site::with(|desk| desk.limits = Limits::new(60, 8));
    let door = Door::with(site, &tokens(), |_| {});
    let mut refused = 0;
    for _ in 0..40 {
        let (status, headers, _) = door.post(&[("authorization", BOB)], "{").await;
        if status == StatusCode::TOO_MANY_REQUESTS {
            refused += 1;
            assert!(headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
        }
    }
    assert!(refused >= 10, "{refused}");
    session(&door.open(ADA).await);
}

#[tokio::test]
async fn the_sdks_own_client_works_through_it() {
    let door = Door::new();
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let router = door.router.clone();
    tokio::spawn(async move {
        pump(
            theirs,
            Door {
                site: Site::new(),
                router,
            },
        )
        .await
    });
    let client = ().serve(ours).await.unwrap();
    assert!(
        client
            .list_all_tools()
            .await
            .unwrap()
            .iter()
            .any(|tool| tool.name == "propose_action")
    );
    let answer = client
        .call_tool(CallToolRequestParams::new("pipeline_status"))
        .await
        .unwrap();
    assert_eq!(answer.structured_content.unwrap()["ready"], true);
    assert_eq!(client.list_all_resources().await.unwrap().len(), 122);
    assert_eq!(door.site.calls().len(), 1);
}

/// Each line that comes is posted; what is answered goes back line by line.
async fn pump(pipe: DuplexStream, door: Door) {
    let (read, mut write) = tokio::io::split(pipe);
    let mut lines = BufReader::new(read).lines();
    let mut session: Option<String> = None;
    while let Ok(Some(line)) = lines.next_line().await {
        let sent: Value = serde_json::from_str(&line).unwrap();
        let version = &sent["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"];
        let (method, name) = (
            sent["method"].as_str().unwrap_or_default(),
            sent["params"]["name"].as_str().or(sent["params"]["uri"].as_str()),
        );
        let mut headers = vec![("authorization", ADA)];
        headers.extend(session.as_deref().map(|session| ("mcp-session-id", session)));
        if let Some(version) = version.as_str() {
            headers.extend([("mcp-protocol-version", version), ("mcp-method", method)]);
            headers.extend(name.map(|name| ("mcp-name", name)));
        }
        let (_, told, body) = door.post(&headers, line.clone()).await;
        if let Some(opened) = told.get("mcp-session-id") {
            session = Some(opened.to_str().unwrap().to_owned());
        }
        let events = body.lines().filter_map(|line| line.strip_prefix("data: "));
        let whole = Some(body.as_str()).filter(|body| body.starts_with('{'));
        for message in events.chain(whole).filter(|data| data.starts_with('{')) {
            write.write_all(format!("{message}\n").as_bytes()).await.unwrap();
        }
    }
}
