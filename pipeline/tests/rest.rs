//! The REST API of a running `aegis`: what the five agents did, led by people; what they propose, allowed and denied; what was refused.

mod support;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use support::site::{PATIENCE, Site};
use support::{http, wait_for};
use world::{Fault, FaultKind, System};

/// Name and role of each token; the token's text is `token-of-NAME`.
const PEOPLE: &[(&str, &str)] = &[
    ("vera", "viewer"),
    ("rosa", "responder"),
    ("ada", "approver"),
    ("adam", "admin"),
];

struct Api(Site);

impl Api {
    fn start(extra: &str) -> Self {
        let tokens: String = PEOPLE
            .iter()
            .map(|(name, role)| format!("[gateway.tokens.{name}]\ntoken = \"token-of-{name}\"\nrole = \"{role}\"\n"))
            .collect();
        let mut site = Site::prepared("", |_| format!("{tokens}{extra}"), |_| {});
        site.aegis.start();
        Api(site)
    }

    fn ask(&self, method: &str, path: &str, who: &str, body: &Value) -> (u16, Value) {
        let token = match who {
            "" => String::new(),
            who => format!("Authorization: Bearer token-of-{who}\r\n"),
        };
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let headers = format!("{token}Content-Type: application/json\r\n");
        let path = format!("/api/v1{path}");
        let (status, text) = http(self.0.aegis.gateway, method, &path, &headers, &body).expect("an answer");
        (
            status,
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{method} {path}: {e}: {text}")),
        )
    }

    fn get(&self, path: &str) -> Value {
        let (status, found) = self.ask("GET", path, "vera", &Value::Null);
        assert_eq!(status, 200, "{path}: {found}");
        found
    }

    fn post(&self, path: &str, who: &str, body: Value) -> (u16, Value) {
        self.ask("POST", path, who, &body)
    }

    /// The order is nobody's below `least`, and says no more than that; `least` may give it.
    fn only(&self, least: &str, path: &str, body: &Value) {
        for stranger in ["", "nobody"] {
            let (status, told) = self.ask("POST", path, stranger, body);
            assert_eq!((status, &told["detail"]), (401, &Value::Null), "{path}: {told}");
        }
        for (name, role) in PEOPLE {
            if *role == least {
                break;
            }
            let (status, told) = self.ask("POST", path, name, body);
            assert_eq!(
                (status, &told["detail"]),
                (403, &Value::Null),
                "{path} as {role}: {told}"
            );
        }
        let (name, _) = PEOPLE.iter().find(|(_, role)| *role == least).unwrap();
        let (status, told) = self.ask("POST", path, name, body);
        assert_eq!((status, &told["status"]), (202, &json!("accepted")), "{path}: {told}");
    }

    fn incident(&self) -> String {
        wait_for("the incident", PATIENCE, || {
            let found = self.get("/incidents?service=api-server&limit=1");
            Some(found["incidents"][0]["id"].as_str()?.to_owned())
        })
    }

    /// Steps of the incident, newest first.
    fn steps(&self, incident: &str) -> Vec<Value> {
        let found = self.get(&format!("/runs?incident={incident}"));
        found["steps"].as_array().unwrap().clone()
    }

    fn step(&self, incident: &str, agent: &str, done: bool) -> Value {
        wait_for(&format!("{agent}, done: {done}"), PATIENCE, || {
            let steps = self.steps(incident);
            let found = |step: &&Value| step["agent"] == agent && (step["status"] != "running" || !done);
            steps.iter().find(found).cloned()
        })
    }

    fn remediation(&self, status: &str) -> Value {
        wait_for(&format!("a remediation that is {status}"), PATIENCE, || {
            let found = self.get(&format!("/remediations?status={status}"));
            found["remediations"].as_array().unwrap().first().cloned()
        })
    }
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn people_lead_a_run_and_deny_what_it_proposes() {
    let api = Api::start("[agents]\ncall_timeout = \"2s\"\n");
    // The metric correlator asks the cluster, and waits.
    api.0.world.fail(Fault {
        system: System::Kubernetes,
        kind: FaultKind::Hang,
        method: None,
        path: None,
        times: None,
        status: 500,
        body: String::new(),
        delay_ms: 0,
    });
    api.0.log_oom();
    api.0.alert();
    let incident = api.incident();
    let run = format!("/incidents/{incident}/run");
    api.step(&incident, "metric_correlator", false);
    api.only("responder", &run, &json!({"verb": "pause"}));
    for agent in ["log_analyst", "metric_correlator"] {
        api.step(&incident, agent, true);
    }
    api.0.world.heal();
    let resumed_at = Utc::now();
    api.only("responder", &run, &json!({"verb": "resume"}));
    let fixer = api.step(&incident, "fixer", true);
    assert!(
        time(&fixer["created_at"]) >= resumed_at,
        "it was paused until then: {fixer}"
    );

    // One step whole, and what is no step.
    let whole = api.get(&format!("/runs/{}", fixer["id"].as_str().unwrap()));
    assert_eq!(whole["output"]["proposal"]["action"]["type"], "restart", "{whole}");
    let (status, told) = api.ask("GET", &format!("/runs/{incident}"), "vera", &Value::Null);
    assert_eq!((status, &told["status"]), (404, &json!(404)), "{told}");

    // Page by page, and nothing that is no page.
    let (first, second) = (
        api.get(&format!("/runs?incident={incident}&limit=3")),
        api.get(&format!("/runs?incident={incident}&limit=3&offset=3")),
    );
    assert_eq!((&first["more"], &second["more"]), (&json!(true), &json!(false)));
    assert_eq!(
        first["steps"].as_array().unwrap().len() + second["steps"].as_array().unwrap().len(),
        4
    );
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1&limit=2", "limit"),
        ("status=x&colour=red", "colour"),
    ] {
        let (status, told) = api.ask("GET", &format!("/runs?{query}"), "vera", &Value::Null);
        assert_eq!((status, &told["field"]), (400, &json!(field)), "{told}");
    }

    let waiting = api.remediation("waiting");
    let remediation = format!("/remediations/{}", waiting["id"].as_str().unwrap());
    api.only(
        "approver",
        &format!("{remediation}/deny"),
        &json!({"reason": "not during the sale"}),
    );
    let denied = api.remediation("denied");
    assert_eq!(
        (&denied["decided_by"], &denied["note"]),
        (&json!("human:ada"), &json!("not during the sale"))
    );
    let approve = json!({"plan_hash": waiting["plan_hash"]});
    assert_eq!(
        api.post(&format!("{remediation}/approve"), "ada", approve).0,
        409,
        "too late"
    );
    assert_eq!(api.0.restarts(), 0);

    // Ended, and begun anew: another run.
    api.only("responder", &run, &json!({"verb": "cancel"}));
    api.only("responder", &run, &json!({"verb": "rerun"}));
    wait_for("steps of another run", PATIENCE, || {
        let steps = api.steps(&incident);
        steps.iter().any(|step| step["run"] != fixer["run"]).then_some(())
    });
    api.only("responder", &format!("/incidents/{incident}/acknowledge"), &Value::Null);
    api.0.books_balance();
}

#[test]
fn a_yes_over_rest_is_for_the_plan_that_was_shown() {
    let api = Api::start("");
    api.0.log_oom();
    api.0.alert();
    let waiting = api.remediation("waiting");
    let id = waiting["id"].as_str().unwrap();
    let approve = format!("/remediations/{id}/approve");
    let (status, told) = api.post(&approve, "ada", json!({"plan_hash": "another"}));
    assert_eq!(status, 409, "{told}");
    // Nobody writes a plan of his own.
    let own = json!({"plan_hash": waiting["plan_hash"], "target": "database"});
    assert_eq!(api.post(&approve, "ada", own).0, 422);
    // Stopped by who may approve, let go by an admin alone.
    api.only("approver", "/remediation/stop", &json!({"on": true}));
    api.only("admin", "/remediation/stop", &json!({"on": false}));
    api.only("approver", &approve, &json!({"plan_hash": waiting["plan_hash"]}));
    let verified = api.remediation("verified");
    assert_eq!(verified["decided_by"], "human:ada");
    assert_eq!(api.0.restarts(), 1);
    let whole = api.get(&format!("/remediations/{id}"));
    assert_eq!(whole["proposal"]["plan_hash"], waiting["plan_hash"]);
    api.0.books_balance();
}

#[test]
fn a_dead_letter_is_shown_sent_again_and_dropped() {
    let api = Api::start("");
    let refused = json!({"version": "4", "groupKey": "k", "status": "firing", "alerts": [{"status": "burning"}]});
    let headers = "Content-Type: application/json\r\n";
    let path = "/webhooks/alertmanager";
    let (status, _) = http(api.0.aegis.dispatcher, "POST", path, headers, &refused.to_string()).unwrap();
    assert!((200..300).contains(&status));
    let letters = |status: &str, count: usize| {
        wait_for(&format!("{count} letters that are {status}"), PATIENCE, || {
            let found = api.get(&format!("/dead-letters?status={status}"));
            let found = found["dead_letters"].as_array().unwrap().clone();
            (found.len() == count).then_some(found)
        })
    };
    let letter = letters("open", 1)[0].clone();
    let one = format!(
        "/{}",
        letter["id"].as_str().unwrap().replace("dead-letter/", "dead-letters/")
    );
    assert_eq!(
        api.ask("GET", &one, "vera", &Value::Null).0,
        403,
        "its bytes are not for everybody"
    );
    let (status, whole) = api.ask("GET", &one, "rosa", &Value::Null);
    assert_eq!((status, &whole["status"]), (200, &json!("open")));
    assert!(
        whole["body_base64"].as_str().is_some_and(|body| !body.is_empty()),
        "{whole}"
    );

    api.only("admin", &format!("{one}/replay"), &Value::Null);
    assert_eq!(api.post(&format!("{one}/replay"), "adam", Value::Null).0, 409, "once");
    letters("replayed", 1);
    // It is as bad as before.
    let again = letters("open", 1)[0].clone();
    assert_eq!(again["attempt"], 2, "{again}");
    let two = format!(
        "/{}",
        again["id"].as_str().unwrap().replace("dead-letter/", "dead-letters/")
    );
    let (status, told) = api.post(&format!("{two}/drop"), "adam", json!({"because": ""}));
    assert_eq!((status, &told["field"]), (400, &json!("because")), "{told}");
    api.only("admin", &format!("{two}/drop"), &json!({"because": "a test of ours"}));
    letters("dropped", 1);
    let (status, whole) = api.ask("GET", &two, "adam", &Value::Null);
    assert!(
        status == 200 && whole["facts"].to_string().contains("human:adam: a test of ours"),
        "{whole}"
    );
    for (path, status) in [
        ("/dead-letters/0/x", 400),
        ("/dead-letters/0/999999", 404),
        ("/dead-letters/77/0", 404),
    ] {
        assert_eq!(api.ask("GET", path, "adam", &Value::Null).0, status, "{path}");
    }
    api.0.books_balance();
}

#[test]
fn the_document_of_the_running_program_is_the_published_one() {
    let api = Api::start("");
    let published = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let published: Value = serde_json::from_str(&std::fs::read_to_string(published).unwrap()).unwrap();
    assert_eq!(api.get("/openapi.json"), published);
    let (_, answer) = http(api.0.aegis.gateway, "GET", "/api/v1/runs", "", "").unwrap();
    assert!(answer.contains("\"status\":401"), "{answer}");
}
