//! The official clients and the official conformance suite, over real HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway::{ApiToken, GatewaySettings, Role};
use mcp::{McpServer, McpSettings};
use serde_json::Value;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::desk::{Site, id};

/// The value of `name`; `None` where tests may do without it (`AEGIS_TEST_REQUIRE=1`: they may not).
fn required(name: &str) -> Option<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    let must = std::env::var("AEGIS_TEST_REQUIRE").is_ok_and(|value| value == "1");
    assert!(
        value.is_some() || !must,
        "{name} is not set: run the tests through `make test`"
    );
    if value.is_none() {
        eprintln!("not run: {name} is not set (see scripts/services/mcp.sh)");
    }
    value
}

struct Served {
    site: Site,
    url: String,
    node: String,
    modules: String,
    stop: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Served {
    async fn start(gateway: &GatewaySettings) -> Option<Self> {
        let (node, modules) = (required("AEGIS_TEST_MCP_NODE")?, required("AEGIS_TEST_MCP_MODULES")?);
        let site = Site::new();
        let settings = McpSettings {
            listen: ([127, 0, 0, 1], 0).into(),
            ..McpSettings::default()
        };
        let server = McpServer::bind(settings, gateway, Arc::clone(site.aegis.desk()), site.path()).await;
        let server = server.unwrap();
        let url = format!("http://{}/mcp", server.local_addr());
        let stop = CancellationToken::new();
        tokio::spawn(server.serve(stop.clone()));
        Some(Served {
            site,
            url,
            node,
            modules,
            stop,
        })
    }

    async fn run(&self, script: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.node);
        command
            .arg(script)
            .args(arguments)
            .env("HOME", self.site.path())
            .current_dir(self.site.path());
        let output = command.kill_on_drop(true).output().await.unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(
            output.status.success(),
            "{script} {arguments:?}: {}\n{out}\n{err}",
            output.status
        );
        out.into_owned()
    }
}

fn vera() -> GatewaySettings {
    let token = ApiToken {
        token: "token-of-vera".into(),
        role: Role::Viewer,
    };
    GatewaySettings {
        tokens: BTreeMap::from([("vera".to_owned(), token)]),
        ..GatewaySettings::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_typescript_sdk_works() {
    let Some(served) = Served::start(&vera()).await else {
        return;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp_server/client.mjs");
    let incident = id(0).to_string();
    let seen = served
        .run(script, &[&served.modules, &served.url, "token-of-vera", &incident])
        .await;
    let seen: Value = serde_json::from_str(&seen).unwrap();
    let seen = &seen["http"];
    assert_eq!(
        (&seen["server"], &seen["alerts"]),
        (&"aegis".into(), &2.into()),
        "{seen}"
    );
    assert_eq!(
        (&seen["completed"], &seen["templates"]),
        (&true.into(), &4.into()),
        "{seen}"
    );
    let calls = served.site.calls();
    assert!(calls.iter().all(|call| call.by == "human:vera"));
    assert!(
        calls
            .iter()
            .any(|call| call.client.as_deref() == Some("aegis-test 1.0.0"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_works_and_finds_every_schema_portable() {
    let Some(served) = Served::start(&vera()).await else {
        return;
    };
    let script = format!(
        "{}/@modelcontextprotocol/inspector/clients/launcher/build/index.js",
        served.modules
    );
    let incident = format!("incident_id={}", id(0));
    let asked: [(&[&str], &str); 4] = [
        (&["--method", "tools/list", "--strict"], "explain_incident"),
        (
            &[
                "--method",
                "tools/call",
                "--tool-name",
                "list_incidents",
                "--tool-arg",
                "limit=5",
            ],
            "next_cursor",
        ),
        (&["--method", "resources/list"], "aegis://runbooks/"),
        (
            &[
                "--method",
                "prompts/get",
                "--prompt-name",
                "write_postmortem",
                "--prompt-args",
                &incident,
            ],
            "without blame",
        ),
    ];
    for (arguments, word) in asked {
        let way = [
            "--cli",
            &served.url,
            "--transport",
            "http",
            "--header",
            "Authorization: Bearer token-of-vera",
        ];
        let told = served.run(&script, &[&way[..], arguments].concat()).await;
        assert!(told.contains(word), "{arguments:?}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_conformance_suite_passes_where_it_applies() {
    // The suite sends no token.
    let Some(served) = Served::start(&GatewaySettings::default()).await else {
        return;
    };
    let script = format!("{}/@modelcontextprotocol/conformance/dist/index.js", served.modules);
    let baseline = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp_server/expected-failures.yml");
    let arguments = [
        "server",
        "--url",
        &served.url,
        "--suite",
        "all",
        "--expected-failures",
        baseline,
    ];
    let out = served.run(&script, &arguments).await;
    println!("{out}");
    for scenario in [
        "server-initialize",
        "ping",
        "tools-list",
        "resources-list",
        "prompts-list",
        "completion-complete",
        "server-sse-multiple-streams",
        "dns-rebinding-protection",
    ] {
        assert!(out.contains(scenario), "{scenario} was not run:\n{out}");
    }
}
