//! From a leaked secret to the evidence for an auditor, through the real program: GitHub's webhooks, really signed and sent, tell of a deployment
//! and of a secret that a scanner found; the auditor finds the secret in the change and ties it to what runs; the policies judge; and the
//! evidence pack of a control is the same bytes twice.

mod support;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use support::site::{PATIENCE, Site};
use support::{http_get, wait_for};
use world::github::sha;

const REPOSITORY: &str = "shop/api-server";
const SECRET: &str = "only GitHub and we know";
/// In two parts, so that it stands nowhere whole.
const LEAKED: (&str, &str) = ("ghp_0a1B2c3D4e5F6g7H8", "i9J0k1L2m3N4o5P6q7R");

fn site() -> Site {
    let extra = |url: &str| {
        format!(
            "[normalize]\nenvironment = \"production\"\n[dispatcher.github]\nsecrets = [\"{SECRET}\"]\n\
             [tools.github]\nurl = \"{url}/github\"\ntoken = \"t0ken-of-the-test\"\nrepositories = [\"{REPOSITORY}\"]\n"
        )
    };
    Site::prepared("", extra, |scenario| {
        let own = scenario
            .workloads
            .iter_mut()
            .find(|one| one.name == "api-server")
            .unwrap();
        own.images = vec![format!("registry.example/api-server:{}", &sha(3)[..7])];
        own.leaks = false;
    })
}

/// A repository whose third commit adds a token, deployed, and a webhook that tells of it.
async fn history(site: &Site) {
    let hook = format!("http://127.0.0.1:{}/webhooks/github", site.aegis.dispatcher);
    let now = Utc::now();
    {
        let mut state = site.world.state();
        let github = &mut state.github;
        github.repository(
            REPOSITORY,
            now - TimeDelta::hours(1),
            &["First", "Second", "Send reports"],
        );
        github.hook(REPOSITORY, &hook, SECRET, &[]);
        github.deployed(REPOSITORY, &sha(1), "production", "success", now - TimeDelta::days(2));
        let patch = format!("@@ -1 +1,2 @@\n a\n+let token = \"{}{}\";", LEAKED.0, LEAKED.1);
        github.patches.insert("src/part3.rs".to_owned(), patch);
        let alert = json!({
            "number": 2, "state": "open", "secret_type": "github_personal_access_token", "secret": format!("{}{}", LEAKED.0, LEAKED.1),
            "secret_type_display_name": "GitHub Personal Access Token", "created_at": now,
            "locations": [{"type": "commit", "details": {"path": "src/part3.rs", "start_line": 2, "commit_sha": sha(3)}}],
        });
        github
            .alerts
            .insert(format!("{REPOSITORY}/secret-scanning"), vec![alert]);
    }
    site.world
        .deploy(REPOSITORY, &sha(3), "production", now - TimeDelta::minutes(5))
        .await;
    let found = json!({
        "action": "created",
        "repository": {"id": 7, "name": "api-server", "full_name": REPOSITORY, "default_branch": "main"},
        "alert": {"number": 2, "state": "open", "created_at": now - TimeDelta::minutes(1), "secret_type": "github_personal_access_token",
                  "secret_type_display_name": "GitHub Personal Access Token"},
    });
    site.world
        .tell(REPOSITORY, "secret_scanning_alert", &found.to_string())
        .await;
}

fn api(site: &Site, path: &str) -> (u16, Value) {
    let (status, body) = http_get(site.aegis.gateway, &format!("/api/v1{path}")).expect("an answer");
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

#[test]
fn from_a_leaked_secret_to_the_evidence() {
    let mut site = site();
    site.aegis.start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(history(&site));

    // A weakness pages, with the deployment as its suspect; security is audited, and so is compliance.
    let steps = wait_for("the investigation", PATIENCE, || {
        let rows = site
            .aegis
            .sql("select agent_name, status, output_data from agent_executions where status <> 'running'");
        rows.iter().any(|row| row["agent_name"] == "fixer").then_some(rows)
    });
    let step = |agent: &str| {
        steps
            .iter()
            .find(|row| row["agent_name"] == agent)
            .unwrap_or_else(|| panic!("{agent}: {steps:?}"))
    };
    let findings = |agent: &str| -> Vec<Value> {
        let output = &step(agent)["output_data"];
        let output = output
            .as_str()
            .map_or_else(|| output.clone(), |text| serde_json::from_str(text).unwrap());
        output["findings"].as_array().cloned().unwrap_or_default()
    };
    let audited = findings("security_auditor");
    let of = |kind: &str| {
        audited
            .iter()
            .find(|one| one["kind"] == kind)
            .unwrap_or_else(|| panic!("{kind}: {audited:?}"))
    };
    let exposed = &of("secret_exposed")["facts"];
    assert_eq!(
        (
            &exposed["commit"],
            &exposed["detectors"],
            &exposed["runs"],
            &exposed["namespace"]
        ),
        (
            &json!(sha(3)),
            &json!(["github-token"]),
            &json!("yes"),
            &json!("production")
        )
    );
    let told = &of("security_alert")["facts"];
    assert_eq!(
        (&told["path"], &told["commit"]),
        (&json!("src/part3.rs:2"), &json!(sha(3)))
    );
    let checked = findings("compliance_checker");
    assert_eq!(
        (&checked[0]["kind"], &checked[0]["facts"]["clean"]),
        (&json!("drift"), &json!(true)),
        "{checked:?}"
    );

    // The policies have judged the alert, the finding, the change and what runs.
    let judged = |control: &str, policy: &str, verdict: &str| {
        wait_for(&format!("{policy} to be {verdict}"), PATIENCE, || {
            let (_, page) = api(&site, &format!("/compliance/{control}"));
            let records = page["records"].as_array()?.clone();
            records
                .into_iter()
                .find(|record| record["policy"] == policy && record["verdict"] == verdict)
        })
    };
    let found = judged("SOC2:CC6.1", "no-secret-in-a-repository", "violation");
    assert_eq!(found["fact"]["repository"], REPOSITORY);
    let exposed = judged("SOC2:CC6.1", "no-secret-exposed", "violation");
    assert!(exposed["incident_id"].is_string());
    judged("SOC2:CC8.1", "change-approved", "violation");
    judged("SOC2:CC8.1", "workload-as-deployed", "pass");
    let (_, list) = api(&site, "/compliance");
    let controls = list["controls"].as_array().unwrap();
    assert!(
        controls
            .iter()
            .any(|row| row["control"] == "GDPR:Art.33" && row["violations"] == 0),
        "{list}"
    );
    assert_eq!(api(&site, "/compliance/SOC2:CC9.9").0, 404);

    // The running one hands the pack out, and so does the log alone: the same bytes each time.
    let folder = site.aegis.folder.clone();
    let file = |name: &str| folder.join(name).display().to_string();
    let evidence = |site: &Site, name: &str| {
        let arguments = ["compliance", "evidence", "SOC2:CC6.1", "--out", &file(name)];
        let (code, out, err) = site.aegis.run(&arguments);
        assert_eq!(code, 0, "{out}{err}");
        std::fs::read(file(name)).unwrap()
    };
    let first = evidence(&site, "first.json");
    let (status, served) = http_get(site.aegis.gateway, "/api/v1/compliance/SOC2:CC6.1/evidence").unwrap();
    assert_eq!((status, served.as_bytes()), (200, first.as_slice()));
    site.aegis.program.as_mut().unwrap().terminate();
    let stopped = [evidence(&site, "second.json"), evidence(&site, "third.json")];
    assert_eq!(stopped[0], stopped[1]);
    let (code, out, err) = site.aegis.run(&["compliance", "verify", &file("third.json")]);
    assert_eq!(code, 0, "{out}{err}");
    let forged = String::from_utf8(stopped[0].clone())
        .unwrap()
        .replacen("violation", "pass", 1);
    std::fs::write(file("forged.json"), forged).unwrap();
    assert_eq!(site.aegis.run(&["compliance", "verify", &file("forged.json")]).0, 7);
    assert_eq!(site.aegis.run(&["compliance", "evidence", "SOC2:CC9.9"]).0, 4);
    let (code, out, err) = site.aegis.run(&["audit", "conservation"]);
    assert_eq!(code, 0, "{out}{err}");

    // Nothing of the secret is in what anybody was told.
    let pack = String::from_utf8_lossy(&stopped[0]).into_owned();
    let (code, listed, _) = site.aegis.run(&["compliance", "list"]);
    assert_eq!(code, 0);
    for told in [
        &pack,
        &listed,
        &json!(steps).to_string(),
        &site.aegis.program.as_ref().unwrap().log(),
    ] {
        assert!(
            !told.contains(LEAKED.0) && !told.contains(LEAKED.1),
            "the secret in {told}"
        );
    }
}

#[test]
fn policies_of_a_folder_are_held_to_their_examples_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    let policy = |most: u32| {
        format!(
            "[[policy]]\nid = \"quick\"\ntitle = \"Quick\"\ncontrols = [\"OWN:1\"]\nfact = \"resolved\"\nseverity = \"info\"\nremedy = \"r\"\n\
             require = [{{ field = \"minutes\", at_most = {most} }}]\npasses = []\nfails = [{{ minutes = 20 }}]\nignores = []\n"
        )
    };
    let aegis = support::Aegis::new(
        folder.path(),
        &format!("[compliance]\npolicies = \"{}\"\n", policies.display()),
    );
    std::fs::write(policies.join("own.toml"), policy(10)).unwrap();
    assert_eq!(aegis.run(&["check"]).0, 0);
    std::fs::write(policies.join("own.toml"), policy(30)).unwrap();
    let (code, out, err) = aegis.run(&["check"]);
    assert_eq!(code, 3);
    assert!(
        format!("{out}{err}").contains("it judges example 1 of fails otherwise"),
        "{out}{err}"
    );
}
