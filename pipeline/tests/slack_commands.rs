//! The command `/aegis` through the real program, in requests that Slack's own Bolt believes: what it tells, who may order what, and that a
//! copy of a request orders nothing, whatever was restarted in between.

mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::site::{PATIENCE, Site};
use support::{http, required, wait_for};

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

/// A request as Slack makes it.
struct Request {
    headers: String,
    body: String,
}

/// Slack's own example, with our words in it. Each has a `trigger_id` of its own.
fn body(user: &str, text: &str, trigger: u32) -> String {
    let encoded = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    format!(
        "token=gIkuvaNzQIHg97ATvDxqgjtO&team_id=T0001&team_domain=example&channel_id=C2147483705&channel_name=test&user_id={user}\
         &user_name=Steve&command=%2Faegis&text={}&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2F1234%2F5678\
         &trigger_id=13345224609.738474920.{trigger}&api_app_id=A123456",
        encoded(text)
    )
}

fn signed(modules: &str, body: String, shift: i64) -> Request {
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
    let time = chrono::Utc::now().timestamp() + shift;
    let wish = json!({"scheme": "slack", "secret": SECRET, "body": body, "time": time, "stale": shift != 0});
    writeln!(node.stdin.take().unwrap(), "{wish}").unwrap();
    let output = node.wait_with_output().unwrap();
    let signature = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && signature.starts_with("v0="),
        "Bolt does not believe it"
    );
    let headers = format!(
        "Content-Type: application/x-www-form-urlencoded\r\nX-Slack-Request-Timestamp: {time}\r\nX-Slack-Signature: {}\r\n",
        signature.trim()
    );
    Request { headers, body }
}

fn send(site: &Site, request: &Request) -> (u16, String) {
    let answer = http(
        site.aegis.dispatcher,
        "POST",
        "/slack/commands",
        &request.headers,
        &request.body,
    );
    let (status, body) = answer.expect("an answer");
    let answer: Value = serde_json::from_str(&body).unwrap_or_default();
    if status == 200 {
        assert_eq!(answer["response_type"], "ephemeral", "{body}");
    }
    (status, answer["text"].as_str().unwrap_or_default().to_owned())
}

fn site(crew: bool) -> Site {
    Site::prepared(
        "",
        |_| {
            let user = |id: &str, name: &str, role: &str| format!("{id} = {{ name = \"{name}\", role = \"{role}\" }}");
            let users = [
                user("UVIEW", "vic", "viewer"),
                user("URESP", "ada", "responder"),
                user("UAPPR", "kim", "approver"),
            ];
            format!(
                "[crew]\nenabled = {crew}\n[dispatcher.slack]\nsigning_secrets = [\"an old one\", \"{SECRET}\"]\nusers = {{ {} }}\n",
                users.join(", ")
            )
        },
        |_| {},
    )
}

#[test]
fn an_incident_is_led_from_slack() {
    let Some(modules) = required("AEGIS_TEST_NODE_MODULES") else {
        return;
    };
    let mut site = site(false);
    site.aegis.start();
    let mut trigger = 0;
    let mut request = |user: &str, text: &str| {
        trigger += 1;
        signed(&modules, body(user, text, trigger), 0)
    };
    let help = send(&site, &request("UVIEW", "")).1;
    assert!(help.contains("/aegis similar INCIDENT"), "{help}");
    assert_eq!(send(&site, &request("UVIEW", "status")).1, "No incident is open.");
    site.alert();
    let id = site.incident("the incident", |row| row["status"] == "open")["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let short = &id[..8];
    let listed = send(&site, &request("UVIEW", "incidents")).1;
    assert!(
        listed.contains(&format!("`{short}` *critical*")) && listed.contains("api-server"),
        "{listed}"
    );
    let status = send(&site, &request("UVIEW", "status")).1;
    assert!(status.contains("*1 open*: 1 critical"), "{status}");
    let why = send(&site, &request("UVIEW", &format!("why {short}"))).1;
    assert!(why.contains("because of opened@1"), "{why}");
    let similar = send(&site, &request("UVIEW", &format!("similar {short}"))).1;
    assert!(similar.contains("No earlier incident of `api-server`"), "{similar}");

    // Being in the channel is no authority, and a role is only what it is.
    let stranger = send(&site, &request("UNOBODY", "status")).1;
    assert!(stranger.contains("does not know you"), "{stranger}");
    let forbidden = send(&site, &request("UVIEW", &format!("ack {short}"))).1;
    assert!(forbidden.contains("role `responder`"), "{forbidden}");
    let facts = |site: &Site| -> Vec<String> {
        let rows = site
            .aegis
            .sql("select fact, payload from incident_events order by revision");
        let of_people = |row: &&Value| matches!(row["fact"].as_str(), Some("acknowledged" | "closed"));
        rows.iter()
            .filter(of_people)
            .map(|row| {
                let payload = &row["payload"];
                let payload: Value = payload
                    .as_str()
                    .map_or_else(|| payload.clone(), |text| serde_json::from_str(text).unwrap());
                format!(
                    "{} {}",
                    row["fact"].as_str().unwrap(),
                    payload["fact"]["by"].as_str().unwrap()
                )
            })
            .collect()
    };
    assert_eq!(facts(&site), [""; 0]);

    // Not Slack's: another body, an older and a future request.
    let honest = request("URESP", &format!("ack {short}"));
    let forged = Request {
        headers: honest.headers.clone(),
        body: honest.body.replace("URESP", "UAPPR"),
    };
    assert_eq!(send(&site, &forged).0, 401);
    for shift in [-301, 310] {
        let stale = signed(&modules, body("URESP", &format!("ack {short}"), 900), shift);
        assert_eq!(send(&site, &stale).0, 401, "{shift}");
    }
    assert_eq!(facts(&site), [""; 0]);

    let (status, told) = send(&site, &honest);
    assert!(status == 200 && told.starts_with("Acknowledged: "), "{told}");
    wait_for("the acknowledgement", PATIENCE, || {
        (facts(&site) == ["acknowledged human:ada"]).then_some(())
    });
    // The very same request again: at once, and after everything in memory is gone.
    assert!(send(&site, &honest).1.contains("answered already"));
    site.aegis.kill();
    site.aegis.start();
    let copied = send(&site, &honest).1;
    assert!(copied.contains("this command was given already"), "{copied}");

    let resolved = send(
        &site,
        &request("URESP", &format!("resolve {short} the disk <was> full")),
    )
    .1;
    assert!(resolved.starts_with("Resolved: "), "{resolved}");
    wait_for("the end", PATIENCE, || {
        (facts(&site) == ["acknowledged human:ada", "closed human:ada"]).then_some(())
    });
    site.incident("the incident resolved", |row| row["resolved_by"] == "human:ada");
    let why = send(&site, &request("UVIEW", &format!("why {id}"))).1;
    assert!(why.contains("Ended by: the disk &lt;was&gt; full"), "{why}");
    let late = send(&site, &request("URESP", &format!("ack {short}"))).1;
    assert!(late.contains("Not done: the incident is resolved"), "{late}");
    let unknown = send(&site, &request("URESP", "ack 00000000")).1;
    assert!(
        unknown.contains("there is no incident whose id begins with"),
        "{unknown}"
    );
    assert_eq!(facts(&site).len(), 2);
}

#[test]
fn a_remediation_is_approved_with_the_plan_that_was_seen() {
    let Some(modules) = required("AEGIS_TEST_NODE_MODULES") else {
        return;
    };
    let mut site = site(true);
    site.aegis.start();
    site.log_oom();
    site.alert();
    let waiting = site.remediation("waiting");
    let id = waiting["id"].as_str().unwrap();
    let before = site.patches();
    let rows = site.aegis.sql("select plan_hash from remediations");
    let plan = rows[0]["plan_hash"].as_str().unwrap();
    let mut trigger = 0;
    let mut told = |user: &str, text: &str| {
        trigger += 1;
        send(&site, &signed(&modules, body(user, text, trigger), 0)).1
    };
    let status = told("UVIEW", "status");
    assert!(
        status.contains(&format!("`{}` restart deployment/api-server", &id[..8])),
        "{status}"
    );
    assert!(status.contains(&format!("plan `{}`", &plan[..8])), "{status}");
    let forbidden = told("URESP", &format!("approve {} {}", &id[..8], &plan[..8]));
    assert!(forbidden.contains("role `approver`"), "{forbidden}");
    for other in ["ffffffffffff", &plan[..7]] {
        let refused = told("UAPPR", &format!("approve {} {other}", &id[..8]));
        assert!(refused.contains("Not done: the plan that waits is"), "{refused}");
    }
    let approved = told("UAPPR", &format!("approve {} {}", &id[..8], &plan[..8]));
    assert!(approved.starts_with("Approved: "), "{approved}");
    let verified = site.remediation("verified");
    assert_eq!(verified["decided_by"], "human:kim");
    let late = told("UAPPR", &format!("deny {} too late", &id[..8]));
    assert!(late.contains("Not done: it waits for nobody"), "{late}");
    assert_eq!(site.patches(), before + 1, "carried out once");
    site.books_balance();
}
