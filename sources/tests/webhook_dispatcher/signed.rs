//! Signed deliveries, signed by the senders' own libraries: what is genuine is taken, and nothing else.

use std::io::Write;
use std::process::{Command, Stdio};

use axum::http::StatusCode;
use serde_json::{Value, json};
use sources::webhook::{GithubSettings, GrafanaSettings, WebhookSettings};

use super::support::{FaultyLog, NOW, app, send};

const GITHUB: &str = "/webhooks/github";
const GRAFANA: &str = "/webhooks/grafana";
const SECRET: &str = "naïve & long enough";
/// Name and value.
type Headers<'a> = &'a [(&'a str, &'a str)];

const JSON: (&str, &str) = ("content-type", "application/json");

/// One signature per request; `None` where the tests may do without Node.
fn signatures(requests: &[Value]) -> Option<Vec<String>> {
    let Ok(modules) = std::env::var("AEGIS_TEST_NODE_MODULES") else {
        assert!(
            std::env::var("AEGIS_TEST_REQUIRE").is_err(),
            "AEGIS_TEST_NODE_MODULES is not set: scripts/services/samples.sh"
        );
        eprintln!("not run: AEGIS_TEST_NODE_MODULES is not set");
        return None;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/webhook_dispatcher/sign.mjs");
    let mut node = Command::new("node")
        .args([script, &modules])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node");
    let mut stdin = node.stdin.take().unwrap();
    for request in requests {
        writeln!(stdin, "{request}").unwrap();
    }
    drop(stdin);
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    let signed: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(signed.len(), requests.len());
    Some(signed)
}

#[tokio::test]
async fn github() {
    let body = r#"{"zen":"Ünïcode survives: \"quotes\"","hook_id":1}"#;
    let form = "payload=%7B%22zen%22%3A%22a+b%22%2C%22hook_id%22%3A2%7D";
    let ask = |secret: &str, body: &str| json!({"scheme": "github", "secret": secret, "body": body});
    let Some(signed) = signatures(&[
        ask(SECRET, body),
        ask("old", body),
        ask("stranger's", body),
        ask(SECRET, form),
    ]) else {
        return;
    };
    let settings = WebhookSettings {
        github: GithubSettings {
            secrets: vec!["old".into(), SECRET.into()],
        },
        ..Default::default()
    };
    let log = FaultyLog::new([]);
    let app = app(&log, &settings).await;
    let form_type = ("content-type", "application/x-www-form-urlencoded");
    let head = ("x-github-event", "ping");
    let cut = &signed[0][..signed[0].len() - 2];
    let other_case = signed[0].to_uppercase().replace("SHA256", "sha256");
    let changed = body.replace('1', "2");
    let cases: [(&str, Headers<'_>, &str, u16); 10] = [
        (
            "the newest secret",
            &[JSON, head, ("x-hub-signature-256", &signed[0])],
            body,
            202,
        ),
        (
            "the one before",
            &[JSON, head, ("x-hub-signature-256", &signed[1])],
            body,
            202,
        ),
        (
            "digits in capitals",
            &[JSON, head, ("x-hub-signature-256", &other_case)],
            body,
            202,
        ),
        (
            "a form",
            &[form_type, head, ("x-hub-signature-256", &signed[3])],
            form,
            202,
        ),
        (
            "somebody else's",
            &[JSON, head, ("x-hub-signature-256", &signed[2])],
            body,
            401,
        ),
        ("none", &[JSON, head], body, 401),
        (
            "another body",
            &[JSON, head, ("x-hub-signature-256", &signed[0])],
            &changed,
            401,
        ),
        ("cut", &[JSON, head, ("x-hub-signature-256", cut)], body, 401),
        ("SHA-1 alone", &[JSON, head, ("x-hub-signature", "sha1=00")], body, 401),
        // Not looked at before the signature.
        ("no JSON", &[JSON, head, ("x-hub-signature-256", &signed[0])], "{", 401),
    ];
    for (what, headers, body, status) in cases {
        let answer = send(&app, "POST", GITHUB, headers, body.to_owned()).await;
        assert_eq!(answer.status.as_u16(), status, "{what}: {answer:?}");
        if status == 401 {
            let silent = json!({"type": "about:blank", "title": "Unauthorized", "status": 401});
            assert_eq!(answer.body, silent, "a stranger is told nothing");
        }
    }
    let stored = log.events().await;
    assert!(
        stored
            .iter()
            .all(|event| event.verdict == "signed" && event.sender == "github")
    );
    let bodies: Vec<&[u8]> = stored.iter().map(|event| &event.body[..]).collect();
    let unwrapped = br#"{"zen":"a b","hook_id":2}"#;
    assert_eq!(bodies, [body.as_bytes(), body.as_bytes(), body.as_bytes(), unwrapped]);
    assert_eq!(stored[3].content_type, "application/json");
    assert_eq!(
        stored[0].delivery, stored[1].delivery,
        "the same body is the same delivery"
    );
    assert!(
        stored[0]
            .headers
            .contains(&("http-x-github-event".to_owned(), "ping".to_owned()))
    );
}

#[tokio::test]
async fn grafana_with_and_without_a_signed_time() {
    let body = r#"{"version":"1","orgId":1,"alerts":[]}"#;
    let now = NOW.0 / 1_000_000;
    let ask = |time: Option<i64>| match time {
        Some(time) => json!({"scheme": "grafana", "secret": SECRET, "body": body, "time": time.to_string()}),
        None => json!({"scheme": "grafana", "secret": SECRET, "body": body}),
    };
    let (fresh, stale, ahead) = (now - 299, now - 302, now + 302);
    let Some(signed) = signatures(&[ask(None), ask(Some(fresh)), ask(Some(stale)), ask(Some(ahead))]) else {
        return;
    };
    let plain = GrafanaSettings {
        tokens: vec!["t".into()],
        secrets: vec![SECRET.into()],
        ..Default::default()
    };
    let timed = GrafanaSettings {
        tokens: Vec::new(),
        signature_header: "X-Sign".into(),
        timestamp_header: "X-Time".into(),
        ..plain.clone()
    };
    let (bearer, default) = (("authorization", "Bearer t"), "x-grafana-alerting-signature");
    let times = [fresh, stale, ahead].map(|time| time.to_string());
    let cases: [(&str, &GrafanaSettings, Headers<'_>, u16); 9] = [
        ("signed, with the token", &plain, &[bearer, (default, &signed[0])], 202),
        ("signed alone", &plain, &[(default, &signed[0])], 401),
        ("the token alone", &plain, &[bearer], 401),
        ("another scheme's", &plain, &[bearer, (default, &signed[1])], 401),
        ("of now", &timed, &[("x-sign", &signed[1]), ("x-time", &times[0])], 202),
        ("stale", &timed, &[("x-sign", &signed[2]), ("x-time", &times[1])], 401),
        ("ahead", &timed, &[("x-sign", &signed[3]), ("x-time", &times[2])], 401),
        (
            "an old one made new",
            &timed,
            &[("x-sign", &signed[2]), ("x-time", &times[0])],
            401,
        ),
        ("no time", &timed, &[("x-sign", &signed[0])], 401),
    ];
    for (what, grafana, headers, status) in cases {
        let settings = WebhookSettings {
            grafana: grafana.clone(),
            ..Default::default()
        };
        let log = FaultyLog::new([]);
        let app = app(&log, &settings).await;
        let answer = send(&app, "POST", GRAFANA, headers, body).await;
        assert_eq!(answer.status.as_u16(), status, "{what}: {answer:?}");
        assert_eq!(
            log.events().await.len(),
            usize::from(status == StatusCode::ACCEPTED),
            "{what}"
        );
    }
}
