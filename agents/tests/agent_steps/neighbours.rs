//! The code host and the ticket system: what a suspect deployment brought, and what is written down already. Where they are missing
//! nothing is said of them; where they are down, that.

use agents::AgentSettings;
use agents::postmortem::NOT_KNOWN;
use model::evidence::FindingKind;
use model::investigation::{Agent, StepStatus};
use stream::human::HumanDuration;

use crate::agent_steps::story::holds;
use crate::support::crew::{Told, investigate};
use crate::support::{Mood, World, suspect};

/// A world with a deployment from the code host.
fn deployed() -> World {
    World {
        suspects: vec![suspect(-25, "Deployment of main (beefbee) to prod: success")],
        code: Mood::Works,
        tickets: Mood::Works,
        ..World::default()
    }
}

async fn told(world: World) -> Told {
    let impatient = AgentSettings {
        call_timeout: HumanDuration::from_millis(300),
        ..AgentSettings::default()
    };
    let told = investigate(&world, &impatient).await;
    holds(&told);
    told
}

#[tokio::test]
async fn the_commits_of_the_suspect_are_evidence() {
    let told = told(deployed()).await;
    let change = told.finding(FindingKind::RecentChange).unwrap();
    let cited = change
        .citations
        .iter()
        .find(|citation| citation.source == "github")
        .unwrap();
    assert!(
        cited.query.starts_with("/repos/shop/api-server/compare/0123456789") && cited.query.contains("...beefbeef"),
        "{}",
        cited.query
    );
    assert!(
        cited
            .excerpt
            .contains("1111111 Cache users (kim); 0000000 Keep reports"),
        "{}",
        cited.excerpt
    );
    let report = told.report();
    let expected = "a change of the service came 20 min before (2 commits: 1111111 Cache users (kim); 0000000 Keep reports in memory (kim))";
    assert!(report.root_cause.text.contains(expected), "{}", report.root_cause.text);
    assert!(
        report.root_cause.citations.contains(&cited.id),
        "the root cause cites them"
    );
    assert_eq!(
        told.action(),
        "restart deployment/api-server in production",
        "words move nothing"
    );
}

#[tokio::test]
async fn other_commits_make_another_report() {
    let mut world = deployed();
    world.commits = vec!["Fix a typo".into()];
    let report = told(world).await.report().root_cause.text.clone();
    assert!(report.contains("(1 commit: 0000000 Fix a typo (kim))"), "{report}");
}

/// The host does not know of it, or nobody of the host's deployments is it: the change itself stays a suspect.
#[tokio::test]
async fn a_change_that_the_host_does_not_know_brings_no_commits() {
    let check = async |source: &str, title: &str, said: &str| {
        let mut world = deployed();
        world.suspects = vec![suspect(-25, title)];
        world.suspects[0].source = source.to_owned();
        let told = told(world).await;
        let change = told.finding(FindingKind::RecentChange).unwrap();
        assert_eq!(change.citations.len(), 1);
        assert!(!told.report().root_cause.text.contains("commit"));
        let unknown = told.unknown(Agent::MetricCorrelator);
        assert_eq!(
            unknown.contains("what changed with the suspect deployment"),
            !said.is_empty()
        );
        assert!(unknown.contains(said), "{unknown}");
    };
    check(
        "github",
        "Deployment of main (0000000) to prod: success",
        "none of the last 2 deployments is it",
    )
    .await;
    check("github", "Release v2 published", "none of the last 2 deployments is it").await;
    check("events", "Deployment of main (beefbee) to prod: success", "").await;
}

#[tokio::test]
async fn open_tickets_are_follow_ups() {
    let told = told(deployed()).await;
    let expected = "Open ticket about api-server: OPS-0: Raise the memory limit (To Do)";
    let follow_up = told.report().follow_ups.iter().find(|one| one.text == expected);
    let follow_up = follow_up.unwrap_or_else(|| panic!("{:?}", told.report().follow_ups));
    assert!(follow_up.citations[0].starts_with("jira-"), "{follow_up:?}");
    let mut world = deployed();
    world.open_tickets.clear();
    let report = investigate(&world, &AgentSettings::default()).await;
    assert!(!report.report().follow_ups.iter().any(|one| one.text.contains("ticket")));
}

#[tokio::test]
async fn what_is_down_is_said_and_changes_nothing_else() {
    for (mood, said) in [
        (Mood::Fails, "connection refused"),
        (Mood::Refuses, "parse error"),
        (Mood::Hangs, "did not answer within"),
        (Mood::Absent, ""),
    ] {
        let told = told(World {
            code: mood,
            tickets: mood,
            ..deployed()
        })
        .await;
        let unknown = told.unknown(Agent::MetricCorrelator);
        assert!(unknown.contains(said), "{mood:?}: {unknown}");
        assert_eq!(
            unknown.contains("the suspect deployment"),
            mood != Mood::Absent,
            "{unknown}"
        );
        let asked = told
            .report()
            .follow_ups
            .iter()
            .find(|one| one.text.contains("which tickets are open"));
        match mood {
            Mood::Absent => assert_eq!(asked, None),
            _ => assert!(asked.is_some_and(|one| one.text.starts_with(NOT_KNOWN) && one.text.contains(said))),
        }
        assert!(
            told.finding(FindingKind::RecentChange).is_some(),
            "the change stays a suspect"
        );
        assert!(
            told.steps.iter().all(|step| step.status == StepStatus::Success),
            "{mood:?}"
        );
        assert_eq!(told.action(), "restart deployment/api-server in production");
    }
}
