//! GitHub's webhooks through the real program: signed by GitHub's own library, a deployment is a suspect of what breaks after it, a
//! weakness pages until it is fixed, and a captured request sent again under another name changes nothing.

mod support;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Aegis, http, required, wait_for};

const SECRET: &str = "only GitHub and we know";
const PATIENCE: Duration = Duration::from_secs(30);

/// `sha256=…` of each body.
fn signed(modules: &str, bodies: &[&str]) -> Vec<String> {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../sources/tests/webhook_dispatcher/sign.mjs"
    );
    let mut node = Command::new("node")
        .args([script, modules])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node");
    let mut stdin = node.stdin.take().unwrap();
    for body in bodies {
        writeln!(stdin, "{}", json!({"scheme": "github", "secret": SECRET, "body": body})).unwrap();
    }
    drop(stdin);
    let output = node.wait_with_output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn from_a_deployment_to_its_incident() {
    let Some(modules) = required("AEGIS_TEST_NODE_MODULES") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let config = format!(
        "[dispatcher.github]\nsecrets = [{{ file = {:?} }}]\n[crew]\nenabled = false\n",
        secret.display().to_string()
    );
    let mut aegis = Aegis::with_dispatcher(folder.path(), &config);
    aegis.start();

    let now = chrono::Utc::now();
    let minutes_ago = |minutes| (now - chrono::Duration::minutes(minutes)).to_rfc3339();
    let repository = json!({"id": 7, "name": "cart", "full_name": "shop/cart", "default_branch": "main"});
    let deployment = json!({
        "action": "created", "repository": repository, "sender": {"login": "kim"},
        "deployment": {"id": 11, "sha": "0123456789abcdef", "ref": "main", "environment": "default"},
        "deployment_status": {"id": 12, "state": "success", "environment": "default", "created_at": minutes_ago(5)},
    })
    .to_string();
    // Of another service: else it is one incident with what breaks there.
    let site = json!({"id": 8, "name": "site", "full_name": "shop/site", "default_branch": "main"});
    let weakness = |state: &str, fixed_at: Value| {
        json!({
            "action": "created", "repository": site, "sender": {"login": "kim"}, "ref": "refs/heads/main", "commit_oid": "0123",
            "alert": {"number": 4, "created_at": minutes_ago(3), "state": state, "fixed_at": fixed_at, "tool": {"name": "CodeQL"},
                      "rule": {"id": "js/xss", "security_severity_level": "high", "description": "Cross-site scripting"}},
        })
    };
    let open = weakness("open", Value::Null);
    let mut fixed = open.clone();
    fixed["alert"]["state"] = "fixed".into();
    fixed["alert"]["fixed_at"] = minutes_ago(1).into();
    let (open, fixed) = (open.to_string(), fixed.to_string());
    let signatures = signed(&modules, &[&deployment, &open, &fixed]);
    let port = aegis.dispatcher;
    let send = |event: &str, delivery: u32, body: &str, signature: &str| {
        let headers = format!(
            "Content-Type: application/json\r\nX-GitHub-Event: {event}\r\nX-GitHub-Delivery: {delivery}\r\nX-Hub-Signature-256: {signature}\r\n"
        );
        http(port, "POST", "/webhooks/github", &headers, body)
            .expect("an answer")
            .0
    };

    assert_eq!(send("deployment_status", 1, &deployment, &signatures[0]), 202);
    assert_eq!(send("code_scanning_alert", 2, &open, &signatures[1]), 202);
    assert_eq!(
        send("code_scanning_alert", 3, &open, &signatures[0]),
        401,
        "signed for another body"
    );
    let alert = json!({"version": "4", "status": "firing", "receiver": "r", "groupLabels": {}, "commonLabels": {},
        "commonAnnotations": {}, "externalURL": "http://am", "groupKey": "k", "alerts": [{"status": "firing", "annotations": {},
        "labels": {"alertname": "CartDown", "service": "cart", "severity": "critical"}, "startsAt": minutes_ago(2),
        "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "f1"}]})
    .to_string();
    let answer = http(
        port,
        "POST",
        "/webhooks/alertmanager",
        "Content-Type: application/json\r\n",
        &alert,
    );
    assert_eq!(answer.unwrap().0, 202);

    let incident = wait_for("the incident with its suspect", PATIENCE, || {
        let rows = aegis.sql("select id from incidents where title like 'CartDown%'");
        let id = rows.first()?["id"].as_str()?.to_owned();
        let (code, out, _) = aegis.run(&["incidents", &id]);
        (code == 0 && out.contains("suspect_found")).then_some(out)
    });
    let suspect = "Deployment of main (0123456) to default: success (3m before, github)";
    assert!(incident.contains(suspect), "{incident}");
    let weak = wait_for("the weakness", PATIENCE, || {
        aegis
            .sql("select title, severity, kind, state from signals where source = 'github' and kind = 'security'")
            .pop()
    });
    assert_eq!(
        (&weak["title"], &weak["severity"]),
        (&json!("Cross-site scripting"), &json!("critical"))
    );

    // The same signed bodies under other names: refused where the name is of another event, repeats where nobody knows the name.
    let count = || aegis.sql("select count(distinct id) as n from signals")[0]["n"].clone();
    let before = count();
    assert_eq!(send("push", 4, &deployment, &signatures[0]), 202);
    assert_eq!(send("brand_new_event", 5, &deployment, &signatures[0]), 202);
    assert_eq!(send("code_scanning_alert", 6, &open, &signatures[1]), 202);
    wait_for("the refusal", PATIENCE, || {
        let letters = aegis.sql("select reason, detail from dead_letters");
        (letters.len() == 1 && letters[0]["reason"] == "bad_value").then_some(())
    });
    // Fixed: what was sent before it is through as well then.
    assert_eq!(send("code_scanning_alert", 7, &fixed, &signatures[2]), 202);
    wait_for("the end of the weakness", PATIENCE, || {
        let rows = aegis.sql("select count(*) as n from signals where kind = 'security' and state = 'resolved'");
        (rows[0]["n"] == 1).then_some(())
    });
    assert_eq!(count().as_i64(), before.as_i64().map(|n| n + 1), "only the fix is new");
    let (code, out, err) = aegis.run(&["audit", "conservation"]);
    assert_eq!(code, 0, "{out}{err}");

    // A recorded delivery, without the daemon's door.
    let file = folder.path().join("delivery.json");
    std::fs::write(&file, deployment.replace("\"id\":12", "\"id\":13")).unwrap();
    let arguments = [
        "ingest",
        "--from",
        "github",
        "--event",
        "deployment_status",
        "--json",
        file.to_str().unwrap(),
    ];
    let (code, out, err) = aegis.run(&arguments);
    assert_eq!(code, 0, "{out}{err}");
    wait_for("the recorded deployment", PATIENCE, || {
        let rows = aegis.sql("select count(distinct id) as n from signals where kind = 'change'");
        (rows[0]["n"] == 2).then_some(())
    });
}
