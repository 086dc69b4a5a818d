//! Deeds outside the cluster, through the real program: what agents and people propose for GitHub and Jira waits for a yes, happens once although
//! an answer is lost, and is looked at afterwards. GitHub and Jira are stand-ins that keep state and hold requests against what the real ones ask.

mod support;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use support::site::{ALLOW, PATIENCE, Site, nanos};
use support::{http, wait_for};
use world::github::sha;
use world::{Fault, FaultKind, System};

const REPOSITORY: &str = "shop/api-server";
const READ: &str = "read-token-of-the-test";
const WRITE: &str = "write-token-of-the-test";
const ANN: &str = "token-of-ann-0000000000000000000000";

/// What agents propose as a restart or a comment goes by itself; everything else is asked about.
const POLICY: &str = r#"
[[rule]]
name = "comments"
effect = "allow"
actions = ["jira_comment"]
namespaces = ["OPS"]
budget = { executions = 3, per_seconds = 3600 }
must_match = [{ action = "jira_comment", namespace = "OPS", workload = "OPS-1" }]
must_not_match = [{ action = "jira_comment", namespace = "HR" }]

[[rule]]
name = "hands-off"
effect = "forbid"
actions = ["jira_transition"]
must_match = [{ action = "jira_transition", namespace = "OPS" }]
must_not_match = [{ action = "jira_comment", namespace = "OPS" }]
"#;

fn tools(url: &str) -> String {
    format!(
        "[tools.github]\nurl = \"{url}/github\"\ntoken = \"{READ}\"\nwrite_token = \"{WRITE}\"\nrepositories = [\"{REPOSITORY}\"]\n\
         write = [\"{REPOSITORY}\"]\ntimeout_s = 2\n\
         [tools.jira]\nurl = \"{url}/jira\"\ntoken = \"{READ}\"\nwrite_token = \"{WRITE}\"\nprojects = [\"OPS\"]\nwrite = [\"OPS\"]\n\
         follow_ups = \"OPS\"\ntimeout_s = 2\n\
         [gateway.tokens.ann]\ntoken = \"{ANN}\"\nrole = \"approver\"\n"
    )
}

/// A site whose service's repository and project are there.
fn site(leaks: bool) -> Site {
    let mut site = Site::prepared(&format!("{ALLOW}{POLICY}"), tools, |scenario| {
        scenario
            .workloads
            .iter_mut()
            .for_each(|workload| workload.leaks &= leaks);
    });
    {
        let mut state = site.world.state();
        state.github.repository(REPOSITORY, Utc::now(), &["First", "Second"]);
        // Who only looks cannot write.
        state.github.readers.push(READ.to_owned());
        state.jira.lagging = true;
        state.jira.tickets.push(world::jira::Ticket {
            key: "OPS-1".into(),
            summary: "Rotate the certificates".into(),
            description: String::new(),
            labels: Vec::new(),
            status: "In Progress".into(),
            done: false,
            updated: Utc::now(),
        });
    }
    site.aegis.start();
    site
}

fn row_of(site: &Site, action: &str, status: &str) -> Value {
    wait_for(&format!("a {action} that is {status}"), PATIENCE, || {
        let query = format!(
            "select id, status, target, namespace, \"cluster\", decided_by, proposed_by, plan_hash, note from remediations where action_type = '{action}'"
        );
        let rows = site.aegis.sql(&query);
        assert!(rows.len() <= 1, "{rows:?}");
        rows.into_iter().find(|row| row["status"] == status)
    })
}

fn approve(site: &Site, row: &Value) {
    let (code, _, err) = site.aegis.run(&["approve", row["id"].as_str().unwrap(), "--yes"]);
    assert_eq!(code, 0, "{err}");
}

fn posts(site: &Site, system: System) -> usize {
    site.world.count(system, "POST")
}

/// After the incident a ticket is proposed. The answer to the call is lost, and Jira's search lags behind: one ticket all the same.
#[test]
fn what_is_to_be_done_becomes_one_ticket_although_the_answer_is_lost() {
    let site = site(true);
    site.log_oom();
    site.alert();
    site.incident("the incident resolved by the agent", |row| row["status"] == "resolved");
    let waiting = row_of(&site, "jira_issue", "waiting");
    assert_eq!(
        [
            &waiting["target"],
            &waiting["namespace"],
            &waiting["cluster"],
            &waiting["proposed_by"]
        ],
        ["OPS", "OPS", "jira", "agent:postmortem_writer"]
    );
    let id = waiting["id"].as_str().unwrap();
    let (code, out, err) = site.aegis.run(&["remediation", "show", id]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("a new Task in OPS:") && out.contains("To be done:"),
        "{out}"
    );
    assert_eq!(posts(&site, System::Jira), 0, "nothing is written before the yes");

    site.world
        .fail(Fault::new(System::Jira, FaultKind::Lost).method("POST").times(1));
    approve(&site, &waiting);
    let verified = row_of(&site, "jira_issue", "verified");
    assert!(
        verified["note"].as_str().unwrap().contains("it stands: http"),
        "{verified}"
    );
    assert_eq!(posts(&site, System::Jira), 1);
    let tickets = site.world.state().jira.tickets.clone();
    assert_eq!(tickets.len(), 2, "{tickets:?}");
    let written = &tickets[1];
    assert!(written.labels.contains(&"aegis-follow-up".to_owned()), "{written:?}");
    assert!(written.labels.contains(&format!("aegis-{id}")), "{written:?}");
    assert!(
        written.description.contains("Review how api-server uses memory"),
        "{written:?}"
    );
    site.books_balance();
}

/// A deployment failed half way: the fixer proposes to run its failed jobs again, and the incident is over when that helped.
#[test]
fn a_deployment_that_failed_is_run_again_once() {
    let site = site(false);
    let run = {
        let mut state = site.world.state();
        let at = Utc::now() - TimeDelta::minutes(5);
        state
            .github
            .run(REPOSITORY, ".github/workflows/deploy.yml", &sha(2), "failure", at)
    };
    let line = |n: u32| json!([nanos().to_string(), format!("ERROR request {n}: no such column")]);
    let values: Vec<Value> = (0..12).map(line).collect();
    let labels = json!({"app": "api-server", "namespace": "production", "env": "production"});
    site.post(
        "/loki/api/v1/push",
        &json!({"streams": [{"stream": labels, "values": values}]}),
    );
    site.alert();
    let waiting = row_of(&site, "github_rerun", "waiting");
    assert_eq!(
        [&waiting["target"], &waiting["namespace"], &waiting["proposed_by"]],
        [
            &json!(format!("{REPOSITORY} run {run}")),
            &json!(REPOSITORY),
            &json!("agent:fixer")
        ]
    );
    site.world
        .fail(Fault::new(System::Github, FaultKind::Lost).method("POST").times(1));
    approve(&site, &waiting);
    row_of(&site, "github_rerun", "executed");
    assert_eq!(posts(&site, System::Github), 1);
    assert_eq!(site.world.state().github.repositories[REPOSITORY].runs[0].attempt, 2);
    site.world.state().github.ended(REPOSITORY, run, "success");
    let verified = row_of(&site, "github_rerun", "verified");
    assert!(
        verified["note"].as_str().unwrap().contains("attempt 2 succeeded"),
        "{verified}"
    );
    let incident = site.incident("the incident resolved by the agent", |row| row["status"] == "resolved");
    assert_eq!(incident["resolved_by"], "agent");
    assert_eq!(posts(&site, System::Github), 1);
    assert_eq!(site.patches(), 0);
    site.books_balance();
}

/// What people propose is judged like what agents propose, but no rule allows it: another person does.
#[test]
fn people_propose_and_the_policy_judges() {
    let site = site(false);
    site.alert();
    let incident = site.incident("an incident", |_| true);
    let id = incident["id"].as_str().unwrap().to_owned();
    let propose = |arguments: &[&str]| {
        let all = [&["propose", &id, "--because", "a test"], arguments].concat();
        site.aegis.run(&all)
    };

    // A rule would allow it to an agent.
    let comment = ["jira-comment", "OPS-1", "--body", "It is about this one."];
    let (code, out, err) = propose(&comment);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("a comment below OPS-1 (Rotate the certificates):\n+ It is about this one."),
        "{out}"
    );
    let waiting = row_of(&site, "jira_comment", "waiting");
    assert_eq!(site.world.state().jira.comments.len(), 0);
    let path = format!("/api/v1/remediations/{}/approve", waiting["id"].as_str().unwrap());
    let headers = format!("Content-Type: application/json\r\nAuthorization: Bearer {ANN}\r\n");
    let yes = json!({"plan_hash": waiting["plan_hash"]}).to_string();
    let (status, told) = http(site.aegis.gateway, "POST", &path, &headers, &yes).expect("an answer");
    assert!((200..300).contains(&status), "{told}");
    let done = row_of(&site, "jira_comment", "verified");
    assert_eq!(
        (&done["decided_by"], &done["target"]),
        (&json!("human:ann"), &json!("OPS-1"))
    );
    assert!(done["proposed_by"].as_str().unwrap().starts_with("human:"), "{done}");
    assert_eq!(site.world.state().jira.comments.len(), 1);

    // Nobody grants what is one's own.
    let (code, _, err) = propose(&["github-issue", REPOSITORY, "--title", "Heap grows", "--body", "Look."]);
    assert_eq!(code, 0, "{err}");
    let waiting = row_of(&site, "github_issue", "waiting");
    let (code, _, err) = site.aegis.run(&["approve", waiting["id"].as_str().unwrap(), "--yes"]);
    assert_ne!(code, 0);
    assert!(err.contains("who proposed it cannot approve it"), "{err}");

    // A rule forbids it; and what cannot be done is not even proposed.
    let (code, _, err) = propose(&["jira-transition", "OPS-1", "--to", "Closed"]);
    assert_eq!(code, 0, "{err}");
    let denied = row_of(&site, "jira_transition", "denied");
    assert_eq!(denied["decided_by"], "policy");
    for (arguments, words) in [
        (
            &["jira-transition", "OPS-1", "--to", "Nowhere"][..],
            "possible: To Do, Closed",
        ),
        (&["github-rerun", REPOSITORY, "--run", "7"], "it is not there"),
        (
            &["github-comment", "shop/other", "--number", "1", "--body", "x"],
            "only these repositories are written to",
        ),
        (
            &["jira-issue", "OPS", "--title", "t", "--body", "password=hunter2"],
            "looks like a secret",
        ),
    ] {
        let (code, _, err) = propose(arguments);
        assert_eq!(code, 1, "{arguments:?}: {err}");
        assert!(err.contains(words), "{err}");
    }
    let nobody = "00000000-0000-0000-0000-000000000404";
    let (code, _, _) = site
        .aegis
        .run(&[&["propose", nobody, "--because", "a test"], &comment[..]].concat());
    assert_eq!(code, 4);
    assert_eq!((posts(&site, System::Jira), posts(&site, System::Github)), (1, 0));
    site.books_balance();
}
