//! MCP on the running program: what a model sees, what it may propose and who decides; then the official clients
//! (`scripts/services/mcp.sh`). The conformance suite runs in `gateway/mcp/tests/mcp_server/official.rs`.

mod support;

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use support::site::{ALLOW, Site};
use support::{http, required};
use tools::catalog::{Purpose, catalog};

/// Name and role of each token; the token's text is `token-of-NAME`.
const TOKENS: &str = "[gateway.tokens.vera]\ntoken = \"token-of-vera\"\nrole = \"viewer\"\n\
    [gateway.tokens.ada]\ntoken = \"token-of-ada\"\nrole = \"approver\"\n\
    [gateway.tokens.adam]\ntoken = \"token-of-adam\"\nrole = \"admin\"\n";
/// Nobody proposes anything but the clients of this test.
const QUIET: &str = "[crew]\nenabled = false\n";

/// A running aegis with one incident, which is [`Mcp::incident`].
struct Mcp {
    site: Site,
    incident: String,
    _runbooks: tempfile::TempDir,
}

impl Mcp {
    fn start(tokens: &str) -> Self {
        let runbooks = tempfile::tempdir().unwrap();
        std::fs::write(runbooks.path().join("oom.md"), "# Out of memory\n").unwrap();
        let extra = format!("{tokens}{QUIET}[mcp]\nrunbooks = \"{}\"\n", runbooks.path().display());
        let mut site = Site::prepared(ALLOW, |_| extra, |_| {});
        site.aegis.start();
        site.alert();
        let incident = site.incident("the incident", |_| true);
        let incident = incident["id"].as_str().unwrap().to_owned();
        Mcp {
            site,
            incident,
            _runbooks: runbooks,
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.site.aegis.mcp)
    }

    /// A request of the newest version, which needs no session; its result, or its error.
    fn ask(&self, who: &str, method: &str, name: Option<&str>, mut params: Value) -> Result<Value, Value> {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let token = match who {
            "" => String::new(),
            who => format!("Authorization: Bearer token-of-{who}\r\n"),
        };
        let name = name.map(|name| format!("Mcp-Name: {name}\r\n")).unwrap_or_default();
        let headers = format!(
            "{token}{name}Mcp-Method: {method}\r\nMcp-Protocol-Version: 2026-07-28\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
        );
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let (status, answer) = http(self.site.aegis.mcp, "POST", "/mcp", &headers, &body).expect("an answer");
        let mut answer: Value = serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {status} {answer}"));
        match answer.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(json!({ "status": status, "answer": answer })),
        }
    }

    fn call(&self, who: &str, name: &str, arguments: Value) -> Value {
        let params = json!({ "name": name, "arguments": arguments });
        self.ask(who, "tools/call", Some(name), params)
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The structured answer.
    fn answer(&self, who: &str, name: &str, arguments: Value) -> Value {
        let mut result = self.call(who, name, arguments);
        assert_eq!(result["isError"], false, "{name}: {result}");
        result["structuredContent"].take()
    }

    /// What the tool says instead of an answer.
    fn refusal(&self, who: &str, name: &str, arguments: Value) -> String {
        let result = self.call(who, name, arguments);
        assert_eq!(result["isError"], true, "{name}: {result}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }

    fn tools(&self, who: &str) -> BTreeSet<String> {
        let listed = self.ask(who, "tools/list", None, json!({})).unwrap();
        let tools = listed["tools"].as_array().unwrap();
        tools
            .iter()
            .map(|tool| tool["name"].as_str().unwrap().to_owned())
            .collect()
    }

    fn rest(&self, who: &str, path: &str, body: &Value) -> (u16, String) {
        let headers = format!("Authorization: Bearer token-of-{who}\r\nContent-Type: application/json\r\n");
        let path = format!("/api/v1{path}");
        http(self.site.aegis.gateway, "POST", &path, &headers, &body.to_string()).unwrap()
    }
}

#[test]
fn a_model_looks_and_proposes_and_another_person_decides() {
    let mcp = Mcp::start(TOKENS);
    let (site, incident) = (&mcp.site, &mcp.incident);

    // No acting tool, whatever the registry of tools has; the observing ones of what is configured.
    let of = |purpose| {
        catalog()
            .into_iter()
            .filter(move |tool| tool.purpose == purpose)
            .map(|tool| tool.name.to_owned())
    };
    let acting: BTreeSet<String> = of(Purpose::Act).collect();
    let observing: BTreeSet<String> = of(Purpose::Observe)
        .filter(|name| name.starts_with("kubernetes_"))
        .collect();
    let (shown, all) = (mcp.tools("vera"), mcp.tools("ada"));
    assert!(!acting.is_empty() && acting.is_disjoint(&all), "{all:?}");
    assert!(
        observing.is_subset(&shown) && shown.contains("logs_search"),
        "{shown:?}"
    );
    assert!(
        !shown
            .iter()
            .any(|name| name.starts_with("prometheus_") || name.starts_with("jira_")),
        "{shown:?}"
    );
    let more: Vec<&String> = all.difference(&shown).collect();
    assert_eq!(more, ["propose_action"]);
    for name in &acting {
        let refused = mcp.ask(
            "adam",
            "tools/call",
            Some(name),
            json!({ "name": name, "arguments": {} }),
        );
        assert_eq!(refused.unwrap_err()["answer"]["error"]["code"], -32602, "{name}");
    }
    for stranger in ["", "nobody"] {
        assert_eq!(
            mcp.ask(stranger, "tools/list", None, json!({})).unwrap_err()["status"],
            401
        );
    }

    let found = mcp.answer(
        "vera",
        "list_incidents",
        json!({ "text": "MEMORY", "service": "api-server" }),
    );
    assert_eq!(found["incidents"][0]["id"], json!(incident), "{found}");
    assert_eq!(
        mcp.answer("vera", "list_incidents", json!({ "text": "memory%" }))["incidents"],
        json!([])
    );
    assert_eq!(
        mcp.answer("vera", "list_incidents", json!({ "until": "2020-01-01T00:00:00Z" }))["incidents"],
        json!([])
    );
    let rows = mcp.answer(
        "vera",
        "query_sql",
        json!({ "sql": "select count(*) as n from incidents" }),
    );
    assert_eq!((&rows["columns"], &rows["rows"][0]["n"]), (&json!(["n"]), &json!(1)));
    for (sql, word) in [
        ("delete from incidents", "DELETE"),
        ("select body_base64 from dead_letters", "body_base64"),
        ("select id, id from incidents", "AS"),
        ("select * from incident", "incidents"),
        (
            "select 1 as n from information_schema.columns a, information_schema.columns b",
            "500 rows",
        ),
    ] {
        let told = mcp.refusal("vera", "query_sql", json!({ "sql": sql }));
        assert!(told.contains(word), "{sql}: {told}");
    }
    mcp.answer("vera", "query_sql", json!({ "sql": "select reason from dead_letters" }));
    let status = mcp.answer("vera", "pipeline_status", json!({}));
    assert!(
        status["sinks"]
            .as_array()
            .unwrap()
            .iter()
            .any(|sink| sink["sink"] == "sql"),
        "{status}"
    );

    // A rule lets the agents restart in production. It does not let a model.
    let workload =
        json!({ "cluster": "default", "namespace": "production", "kind": "deployment", "name": "api-server" });
    let plan = json!({
        "incident_id": incident,
        "action": { "type": "restart", "target": workload },
        "reason": "The heap is full. password=hunter2-hunter2",
    });
    assert!(mcp.refusal("vera", "propose_action", plan.clone()).contains("role"));
    let proposed = mcp.answer("ada", "propose_action", plan.clone());
    assert_eq!(proposed["proposed_by"], "human:ada");
    assert!(
        proposed["dry_run"].as_str().is_some_and(|diff| !diff.is_empty()),
        "{proposed}"
    );
    let row = site.remediation("waiting");
    assert_eq!(row["id"], proposed["remediation_id"]);
    assert!(row["note"].as_str().unwrap_or_default().contains("agents"), "{row}");
    // The same again is not another.
    let told = mcp.refusal("ada", "propose_action", plan);
    assert!(told.contains("waiting"), "{told}");
    let id = row["id"].as_str().unwrap();
    let shown = mcp.answer("vera", "get_remediation", json!({ "remediation_id": id }));
    assert!(!shown.to_string().contains("hunter2"), "{shown}");

    let approve = json!({ "plan_hash": proposed["plan_hash"] });
    let (status, told) = mcp.rest("ada", &format!("/remediations/{id}/approve"), &approve);
    assert_eq!(status, 403, "{told}");
    assert_eq!(site.restarts(), 0);
    assert_eq!(
        mcp.rest("adam", &format!("/remediations/{id}/approve"), &approve).0,
        202
    );
    assert_eq!(site.remediation("verified")["decided_by"], "human:adam");
    assert_eq!(site.restarts(), 1);

    // Who asked what.
    let (code, out, err) = site.aegis.run(&["mcp", "log", "--json", "--limit", "1000"]);
    assert_eq!(code, 0, "{err}");
    let calls: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |by: &str, name: &str, outcome: &str| {
        calls
            .iter()
            .filter(|call| call["by"] == by && call["name"] == name && call["outcome"] == outcome)
            .count()
    };
    assert_eq!(count("human:vera", "propose_action", "refused"), 1);
    assert_eq!(
        (
            count("human:ada", "propose_action", "begun"),
            count("human:ada", "propose_action", "ok")
        ),
        (2, 1)
    );
    assert_eq!(count("human:vera", "query_sql", "error"), 5);
    assert!(!out.contains("hunter2"), "{out}");
    let (code, table, _) = site.aegis.run(&["mcp", "log"]);
    assert!(code == 0 && table.contains("propose_action"), "{table}");
    assert!(site.aegis.metric("aegis_mcp_calls_total") >= calls.len() as f64 - 4.0);
    site.books_balance();
}

#[test]
fn a_pipe_needs_a_running_aegis() {
    let folder = tempfile::tempdir().unwrap();
    let aegis = support::Aegis::new(folder.path(), "");
    let (code, out, err) = aegis.run(&["mcp", "--stdio"]);
    assert_eq!((code, out.as_str()), (5, ""), "{err}");
    assert!(err.contains("aegis run"), "{err}");
    let (code, out, _) = aegis.run(&["mcp", "log", "--json"]);
    assert_eq!((code, out.as_str()), (0, ""));
}

/// Node, and where the packages are.
fn node() -> Option<(String, String)> {
    Some((required("AEGIS_TEST_MCP_NODE")?, required("AEGIS_TEST_MCP_MODULES")?))
}

fn ran(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

#[test]
fn the_official_clients_work() {
    let Some((node, modules)) = node() else { return };
    let mcp = Mcp::start(TOKENS);
    let config = mcp.site.aegis.folder.join("aegis.toml");
    let pipe = [env!("CARGO_BIN_EXE_aegis"), "mcp", "--stdio", "--config"];

    let mut command = Command::new(&node);
    command.arg(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../gateway/mcp/tests/mcp_server/client.mjs"
    ));
    command
        .args([&modules, &mcp.url(), "token-of-vera", &mcp.incident])
        .args(pipe)
        .arg(&config)
        .env("USER", "ursula");
    let seen: Value = serde_json::from_str(&ran(&mut command)).unwrap();
    for (way, seen) in [("http", &seen["http"]), ("pipe", &seen["pipe"])] {
        let says = |field: &str, value: Value| assert_eq!(seen[field], value, "{way}: {seen}");
        says("server", json!("aegis"));
        says("rows", json!(1));
        says("alerts", json!(1));
        says("why", json!("It opened the incident."));
        says("resources", json!(1));
        says("templates", json!(4));
        says("timeline", json!(format!("# Timeline of incident {}", mcp.incident)));
        says("runbook", json!("# Out of memory\n"));
        says(
            "prompts",
            json!(["investigate_incident", "write_postmortem", "hand_over"]),
        );
        says("embedded", json!("resource"));
        says("completed", json!(true));
        let proposes = seen["tools"].as_array().unwrap().contains(&json!("propose_action"));
        // At the pipe sits the owner of the folder.
        assert_eq!(proposes, way == "pipe", "{way}: {seen}");
    }
    let calls = mcp.site.aegis.run(&["mcp", "log", "--json", "--limit", "1000"]).1;
    assert!(
        calls.contains("\"by\":\"human:ursula\"") && calls.contains("aegis-test 1.0.0"),
        "{calls}"
    );

    let inspector = |target: &[&str], arguments: &[&str]| {
        let mut command = Command::new(&node);
        command.arg(format!(
            "{modules}/@modelcontextprotocol/inspector/clients/launcher/build/index.js"
        ));
        command
            .arg("--cli")
            .args(target)
            .args(arguments)
            .env("HOME", &mcp.site.aegis.folder);
        ran(&mut command)
    };
    let url = mcp.url();
    let by_http = |arguments: &[&str]| {
        let header = ["--transport", "http", "--header", "Authorization: Bearer token-of-vera"];
        inspector(&[url.as_str()], &[&header[..], arguments].concat())
    };
    // Every schema is portable.
    let tools = by_http(&["--method", "tools/list", "--strict"]);
    assert!(tools.contains("explain_incident"), "{tools}");
    let answer = by_http(&[
        "--method",
        "tools/call",
        "--tool-name",
        "list_incidents",
        "--tool-arg",
        "limit=5",
    ]);
    assert!(answer.contains(&mcp.incident), "{answer}");
    let resources = by_http(&["--method", "resources/list"]);
    assert!(resources.contains("aegis://runbooks/oom.md"), "{resources}");
    let prompt = format!("incident_id={}", mcp.incident);
    let prompt = by_http(&[
        "--method",
        "prompts/get",
        "--prompt-name",
        "write_postmortem",
        "--prompt-args",
        &prompt,
    ]);
    assert!(prompt.contains("without blame"), "{prompt}");
}
