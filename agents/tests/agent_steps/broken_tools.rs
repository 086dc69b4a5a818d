//! Tools that are absent, fail, refuse, hang, or answer rubbish: the agent says so and goes on.

use agents::AgentSettings;
use chrono::TimeDelta;
use model::investigation::{Agent, StepStatus};
use stream::human::HumanDuration;

use crate::agent_steps::story::holds;
use crate::support::crew::{investigate, request};
use crate::support::{Mood, World, now};

/// Tools in memory answer at once or never; a loaded machine is given some time all the same.
fn impatient() -> AgentSettings {
    AgentSettings {
        call_timeout: HumanDuration::from_millis(300),
        ..AgentSettings::default()
    }
}

#[tokio::test]
async fn every_tool_in_every_mood() {
    for (mood, said) in [
        (Mood::Absent, "not configured"),
        (Mood::Fails, "connection refused"),
        (Mood::Refuses, "parse error"),
        (Mood::Hangs, "did not answer within"),
        (Mood::Rubbish, ""),
    ] {
        let told = investigate(&World::default().all(mood), &impatient()).await;
        holds(&told);
        assert_eq!(told.proposal(), None, "{mood:?}");
        for agent in [Agent::Triage, Agent::LogAnalyst, Agent::MetricCorrelator, Agent::Fixer] {
            let unknown = told.unknown(agent);
            assert!(
                !unknown.is_empty() && unknown.contains(said),
                "{mood:?} {agent:?}: {unknown}"
            );
        }
        // Triage and the report can always be had.
        for agent in [Agent::Triage, Agent::PostmortemWriter] {
            assert_eq!(told.step(agent).status, StepStatus::Success, "{mood:?}");
        }
        let expected = match mood {
            Mood::Fails | Mood::Refuses => StepStatus::Failed,
            Mood::Hangs => StepStatus::Timeout,
            Mood::Works | Mood::Absent | Mood::Rubbish => StepStatus::Success,
        };
        assert_eq!(told.step(Agent::LogAnalyst).status, expected, "{mood:?}");
        assert_eq!(
            told.step(Agent::LogAnalyst).error.is_empty(),
            expected == StepStatus::Success
        );
        for step in &told.steps {
            let answered = step.tool_calls.iter().any(|call| call.outcome.is_ok());
            assert_eq!(
                answered,
                mood == Mood::Rubbish && !step.tool_calls.is_empty(),
                "{mood:?}"
            );
        }
    }
}

#[tokio::test]
async fn one_broken_tool_leaves_the_others() {
    for mood in [Mood::Absent, Mood::Fails, Mood::Refuses, Mood::Hangs, Mood::Rubbish] {
        let check = async |change: fn(&mut World, Mood), action: &str| {
            let mut world = World::default();
            change(&mut world, mood);
            let told = investigate(&world, &impatient()).await;
            holds(&told);
            assert!(told.action().contains(action), "{mood:?}: {}", told.action());
            assert!(
                told.steps.iter().any(|step| !step.output.findings.is_empty()),
                "{mood:?}"
            );
        };
        check(|world, mood| world.logs = mood, "restart deployment/api-server").await;
        // Without metrics nobody knows of traffic: the change is what is left.
        check(|world, mood| world.metrics = mood, "back to revision 6").await;
        check(|world, mood| world.cluster = mood, "its target is not known").await;
    }
}

/// The tools never answer, so that it ends at all is the deadline's doing; how long it waited stands in what it says.
#[tokio::test]
async fn a_step_ends_before_its_deadline() {
    let world = World::default().all(Mood::Hangs);
    let (tools, _) = world.tools();
    for agent in Agent::ALL {
        for (deadline, step, call) in [
            (100, 60_000, 3_600_000),
            (3_600_000, 100, 3_600_000),
            (3_600_000, 60_000, 20),
        ] {
            let mut request = request(*agent, &world.evidence());
            request.deadline_at = now() + TimeDelta::milliseconds(deadline);
            let settings = AgentSettings {
                step_timeout: HumanDuration::from_millis(step),
                call_timeout: HumanDuration::from_millis(call),
                ..AgentSettings::default()
            };
            let ended = agents::run(&request, &tools, &settings, now()).await;
            let mut waited = 0;
            for call in &ended.tool_calls {
                let said = call.outcome.clone().unwrap_err();
                let within = said
                    .split_once("within ")
                    .and_then(|(_, rest)| rest.strip_suffix(" ms"));
                waited += within.unwrap_or_else(|| panic!("{said}")).parse::<u64>().unwrap();
            }
            assert!(waited < 100, "{agent:?}: {waited}");
            assert!(
                ended.tool_calls.len() <= 3,
                "a tool that hangs is asked once: {:?}",
                ended.tool_calls
            );
        }
    }
}

#[tokio::test]
async fn a_deadline_that_has_passed() {
    let world = World::default();
    let (tools, asked) = world.tools();
    for agent in Agent::ALL {
        let mut request = request(*agent, &world.evidence());
        request.deadline_at = now();
        let step = agents::run(&request, &tools, &AgentSettings::default(), now()).await;
        assert_eq!(step.status, StepStatus::Timeout);
        assert!(
            step.error.contains("had passed") && step.output.unknown.len() == 1,
            "{step:?}"
        );
    }
    assert!(asked.lock().unwrap().is_empty());
}
