//! What scanners know, and what a change adds: by pages, by place, and never a secret.

use serde_json::{Value, json};
use tools::catalog::call;
use world::github::sha;

use crate::support::{REPOSITORY, line};
use crate::{ask, filled, question, refused};

/// A token of GitHub, in two parts so that it stands nowhere whole.
const LEAKED: (&str, &str) = ("ghp_0a1B2c3D4e5F6g7H8", "i9J0k1L2m3N4o5P6q7R");

fn leaked() -> String {
    format!("{}{}", LEAKED.0, LEAKED.1)
}

pub fn scanners(state: &mut world::State) {
    let secret = |number: u64, state: &str| {
        json!({
            "number": number, "state": state, "secret_type": "github_personal_access_token", "secret": leaked(),
            "secret_type_display_name": "GitHub Personal Access Token", "created_at": "2026-11-20T10:00:00Z",
            "locations": [{"type": "commit", "details": {"path": "src/part2.rs", "start_line": 12, "commit_sha": sha(2)}}],
        })
    };
    let secrets = (1..=7).map(|number| secret(number, if number == 1 { "resolved" } else { "open" }));
    let dependabot = json!({
        "number": 3, "state": "open", "created_at": "2026-11-20T10:00:00Z",
        "dependency": {"package": {"ecosystem": "npm", "name": "lodash"}, "manifest_path": "package-lock.json"},
        "security_advisory": {"ghsa_id": "GHSA-35jh-r3h4-6jhm", "cve_id": "CVE-2021-23337", "summary": "Command injection password=hunter2", "severity": "high"},
        "security_vulnerability": {"severity": "high", "vulnerable_version_range": "< 4.17.21", "first_patched_version": {"identifier": "4.17.21"}},
    });
    let alerts = &mut state.github.alerts;
    alerts.insert(format!("{REPOSITORY}/secret-scanning"), secrets.collect());
    alerts.insert(format!("{REPOSITORY}/dependabot"), vec![dependabot]);
}

#[tokio::test]
async fn alerts_come_by_pages_and_no_secret_with_them() {
    let bench = filled().await;
    bench.world.state().github.page = 2;
    let list = async |change: Value| {
        let mut arguments = question("github_security_alerts").1;
        for (name, value) in change.as_object().unwrap() {
            arguments[name] = value.clone();
        }
        call(&bench.observe, "github_security_alerts", arguments).await
    };
    let numbers = |answer: &Value| -> Vec<u64> {
        let alerts = answer["alerts"].as_array().unwrap();
        alerts.iter().map(|alert| alert["number"].as_u64().unwrap()).collect()
    };
    let five = list(json!({})).await.unwrap();
    assert_eq!((numbers(&five), &five["cut"]), (vec![7, 6, 5, 4, 3], &json!(true)));
    let all = list(json!({"limit": 500, "open": false})).await.unwrap();
    assert_eq!((numbers(&all).len(), &all["cut"]), (7, &json!(false)));
    let dependencies = list(json!({"kind": "dependabot"})).await.unwrap();
    assert_eq!(dependencies["alerts"][0]["cve"], "CVE-2021-23337");
    assert_eq!(dependencies["alerts"][0]["fixed_in"], "4.17.21");
    assert_eq!(
        list(json!({"kind": "code_scanning"})).await.unwrap()["alerts"],
        json!([])
    );
    for refused_one in [
        json!({"limit": 0}),
        json!({"limit": 501}),
        json!({"repository": "shop/other"}),
    ] {
        assert!(refused(&list(refused_one).await.unwrap_err()));
    }
    let one = json!({"repository": REPOSITORY, "kind": "secret_scanning", "number": 4});
    let one = call(&bench.observe, "github_security_alert", one).await.unwrap();
    let place = json!({"path": "src/part2.rs", "line": 12, "commit": sha(2)});
    for (name, value) in place.as_object().unwrap() {
        assert_eq!(&one[name], value, "{one}");
    }
    for told in [&five, &all, &one] {
        assert!(
            !told.to_string().contains(LEAKED.0) && !told.to_string().contains(LEAKED.1),
            "{told}"
        );
    }
    let asked = bench.world.state().requests.clone();
    let of_secrets = asked
        .iter()
        .filter(|seen| seen.uri.contains("secret-scanning") && !seen.uri.contains("locations"));
    assert!(of_secrets.into_iter().all(|seen| seen.uri.contains("hide_secret=true")));
}

#[tokio::test]
async fn secrets_of_a_change_are_told_by_place_alone() {
    let bench = filled().await;
    let patch = format!("@@ -1,2 +10,3 @@ fn main\n a\n+let token = \"{}\";\n b", leaked());
    bench
        .world
        .state()
        .github
        .patches
        .insert("src/part2.rs".to_owned(), patch);
    let found = ask(&bench, "github_secrets_in_change").await.unwrap();
    assert_eq!(
        found["sightings"],
        json!([{"detector": "github-token", "place": "src/part2.rs:11", "mask": "[redacted, 40 characters]"}])
    );
    assert_eq!((&found["files"], &found["unseen"]), (&json!(2), &json!(0)));
    bench
        .world
        .state()
        .loki
        .lines
        .push(line(json!({"app": "leaky"}), 1, &format!("sent {}", leaked())));
    let mut arguments = question("logs_search").1;
    arguments["service"] = "leaky".into();
    let lines = call(&bench.observe, "logs_search", arguments).await.unwrap();
    assert_eq!(lines["lines"][0]["secrets"][0]["detector"], "github-token");
    for told in [&found, &lines] {
        assert!(
            !told.to_string().contains(LEAKED.0) && !told.to_string().contains(LEAKED.1),
            "{told}"
        );
    }
}
