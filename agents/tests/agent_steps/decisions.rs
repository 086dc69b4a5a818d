//! The pure cores, by table.

use agents::AgentSettings;
use agents::fixer;
use agents::gather::Miss;
use agents::measure::Level;
use agents::symptom::Symptom;
use agents::{postmortem, triage};
use model::evidence::FindingKind;
use model::investigation::{Agent, TriageAction};
use model::remediation::{RemediationStatus, Standing};
use model::{Action, Severity, Status};
use uuid::Uuid;

use crate::agent_steps::story::report_holds;
use crate::support::crew::{investigate, request};
use crate::support::{World, at, now, workload};

#[test]
fn triage_severities() {
    let check = |said: Severity, value: Option<f64>, firing: u32, expected: (Severity, TriageAction)| {
        let world = World {
            incident_severity: said,
            ..World::default()
        };
        let mut evidence = world.evidence();
        evidence.incident.firing = firing;
        let level = match value {
            Some(value) => Ok(Some(Level {
                expression: "up".into(),
                at: now(),
                value,
            })),
            None => Err(Miss::Failed("down".into())),
        };
        let facts = triage::Facts {
            unmeasured: Vec::new(),
            levels: vec![(Symptom::Memory, level)],
        };
        let output = triage::decide(&evidence, &facts, &AgentSettings::default());
        let triage = output.triage.unwrap();
        assert_eq!((triage.severity, triage.action), expected, "{said} {value:?} {firing}");
        assert_eq!(output.unknown.is_empty(), value.is_some());
    };
    use Severity::{Critical, Info, Warning};
    use TriageAction::{Investigate, Watch};
    check(Warning, Some(0.95), 1, (Critical, Investigate));
    check(Warning, Some(0.85), 1, (Warning, Investigate));
    check(Info, Some(0.85), 1, (Warning, Investigate));
    check(Warning, Some(0.2), 1, (Info, Watch));
    check(Critical, Some(0.2), 1, (Warning, Investigate));
    check(Critical, Some(0.85), 1, (Critical, Investigate));
    check(Critical, None, 1, (Critical, Investigate));
    check(Info, None, 1, (Info, Watch));
    check(Critical, Some(0.95), 0, (Critical, Watch));
}

/// Nobody is there to be asked for tickets.
fn nothing_asked() -> postmortem::Facts {
    postmortem::Facts {
        follow_up: None,
        tickets: None,
        at: now(),
    }
}

#[tokio::test]
async fn a_fixer_does_not_repeat_itself() {
    let told = investigate(&World::default(), &AgentSettings::default()).await;
    let check = async |status: RemediationStatus, action: Action, proposes: bool| {
        let mut evidence = told.evidence.clone();
        evidence.remediation = Some(standing(status, action));
        let (tools, _) = World::default().tools();
        let step = agents::run(
            &request(Agent::Fixer, &evidence),
            &tools,
            &AgentSettings::default(),
            now(),
        )
        .await;
        assert_eq!(
            step.output.proposal.is_some(),
            proposes,
            "{status:?} {:?}",
            step.output.unknown
        );
    };
    let restart = Action::Restart {
        target: workload("api-server"),
    };
    check(RemediationStatus::Verified, restart.clone(), false).await;
    check(RemediationStatus::Denied, restart.clone(), false).await;
    check(RemediationStatus::Waiting, restart.clone(), false).await;
    check(RemediationStatus::Expired, restart, true).await;
    let other = Action::Restart {
        target: workload("other"),
    };
    check(RemediationStatus::Verified, other, true).await;
}

#[tokio::test]
async fn a_dry_run_that_does_not_fit_is_no_ground() {
    let told = investigate(&World::default(), &AgentSettings::default()).await;
    let evidence = &told.evidence;
    let (tools, _) = World::default().tools();
    let settings = AgentSettings::default();
    let mut gather = agents::gather::Gather::new(
        &tools,
        settings.call_timeout.get(),
        tokio::time::Instant::now() + std::time::Duration::from_secs(60),
    );
    let facts = fixer::gather(evidence, &mut gather, &settings, now()).await;
    let check = |change: &dyn Fn(&mut fixer::Facts), expected: &str| {
        let mut facts = facts.clone();
        change(&mut facts);
        let output = fixer::decide(&request(Agent::Fixer, evidence), &facts, &settings);
        assert_eq!(output.proposal, None, "{expected}");
        assert!(output.unknown[0].contains(expected), "{:?}", output.unknown);
    };
    check(
        &|facts| facts.dry_run = Some(Err(Miss::Refused("forbidden".into()))),
        "could not be tried dry: forbidden",
    );
    check(&|facts| facts.dry_run = None, "not tried dry");
    check(
        &|facts| {
            if let Some(Ok(run)) = &mut facts.dry_run {
                run.target.uid = "another".into();
            }
        },
        "replaced",
    );
    // An inverse of something else is none; the wider count of pods holds.
    let mut odd = facts.clone();
    if let Some(Ok(run)) = &mut odd.dry_run {
        run.inverse = Some(Action::Restart {
            target: workload("other"),
        });
        run.blast_radius.pods = 0;
    }
    let proposal = fixer::decide(&request(Agent::Fixer, evidence), &odd, &settings)
        .proposal
        .unwrap();
    assert_eq!((proposal.inverse, proposal.blast_radius.pods), (None, 2));
}

#[tokio::test]
async fn how_it_ended() {
    let told = investigate(&World::default(), &AgentSettings::default()).await;
    let restart = Action::Restart {
        target: workload("api-server"),
    };
    let check = |status: Option<RemediationStatus>, closed: Option<&str>, over: bool, expected: &str| {
        let mut evidence = told.evidence.clone();
        evidence.remediation = status.map(|status| standing(status, restart.clone()));
        evidence.incident.resolution = closed.map(str::to_owned);
        evidence.incident.resolved_by = closed.map(|_| "human:ann".to_owned());
        if over {
            evidence.incident.resolved_at = Some(at(20));
            evidence.incident.status = Status::Resolved;
            evidence.members[0].ends_at = Some(at(20));
        }
        let report = postmortem::decide(&evidence, &nothing_asked()).postmortem.unwrap();
        report_holds(&report);
        assert!(report.resolution.text.contains(expected), "{}", report.resolution.text);
    };
    use RemediationStatus::{Denied, RolledBack, Unverified, Verified};
    check(
        Some(Verified),
        None,
        true,
        "Done: restart deployment/api-server in production, granted by human:ann. It helped",
    );
    check(Some(Unverified), None, true, "could not be told");
    check(Some(RolledBack), None, false, "taken back");
    check(Some(Denied), None, true, "The alerts ended without it");
    check(
        None,
        Some("moved to another node"),
        true,
        "Closed by human:ann: moved to another node",
    );
    check(None, None, true, "The alerts ended; nothing was done");
    check(None, None, false, "Not known: the incident is not over");
}

#[tokio::test]
async fn the_timeline_is_in_order_and_whole() {
    let told = investigate(&World::default(), &AgentSettings::default()).await;
    let mut evidence = told.evidence.clone();
    evidence.incident.resolved_at = Some(at(20));
    evidence.members[0].ends_at = Some(at(20));
    evidence.remediation = Some(standing(
        RemediationStatus::Verified,
        Action::Restart {
            target: workload("api-server"),
        },
    ));
    let report = postmortem::decide(&evidence, &nothing_asked()).postmortem.unwrap();
    let starts: Vec<&str> = report
        .timeline
        .iter()
        .map(|moment| moment.text.split([':', ' ']).next().unwrap())
        .collect();
    assert_eq!(
        starts,
        ["Change", "Traffic", "The", "First", "Alert", "Remediation", "Alert"]
    );
    assert!(told.finding(FindingKind::ErrorLines).is_none());
}

fn standing(status: RemediationStatus, action: Action) -> Standing {
    Standing {
        proposal: Uuid::from_u128(9),
        action,
        status,
        by: Some("human:ann".into()),
        note: "pods replaced and ready".into(),
        before: None,
        after: None,
        at: at(8),
    }
}
