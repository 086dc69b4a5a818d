//! Tools that are absent, fail, refuse, hang, or answer rubbish: the agent says so and goes on.

use std::time::Duration;

use agents::AgentSettings;
use chrono::TimeDelta;
use model::investigation::{Agent, StepStatus};
use tokio::time::Instant;

use crate::agent_steps::story::holds;
use crate::support::crew::{investigate, request};
use crate::support::{Mood, World, now};

#[tokio::test(start_paused = true)]
async fn every_tool_in_every_mood() {
    for (mood, said) in [
        (Mood::Absent, "not configured"),
        (Mood::Fails, "connection refused"),
        (Mood::Refuses, "parse error"),
        (Mood::Hangs, "did not answer within"),
        (Mood::Rubbish, ""),
    ] {
        let told = investigate(&World::default().all(mood), &AgentSettings::default()).await;
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

#[tokio::test(start_paused = true)]
async fn one_broken_tool_leaves_the_others() {
    for mood in [Mood::Absent, Mood::Fails, Mood::Refuses, Mood::Hangs, Mood::Rubbish] {
        let check = async |change: fn(&mut World, Mood), action: &str| {
            let mut world = World::default();
            change(&mut world, mood);
            let told = investigate(&world, &AgentSettings::default()).await;
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

#[tokio::test(start_paused = true)]
async fn a_step_ends_before_its_deadline() {
    let world = World::default().all(Mood::Hangs);
    let (tools, _) = world.tools();
    for agent in Agent::ALL {
        for (left, call) in [(1_000, 10), (50, 10), (600_000, 10), (600_000, 3_600)] {
            let mut request = request(*agent, &world.evidence());
            request.deadline_at = now() + TimeDelta::milliseconds(left);
            let settings = AgentSettings {
                call_timeout: stream::human::HumanDuration::from_secs(call),
                ..AgentSettings::default()
            };
            let started = Instant::now();
            let step = agents::run(&request, &tools, &settings, now()).await;
            let limit = Duration::from_millis(left as u64).min(settings.step_timeout.get());
            assert!(started.elapsed() < limit, "{agent:?} {left}: {:?}", started.elapsed());
            assert!(
                step.tool_calls.len() <= 3,
                "a tool that hangs is asked once: {:?}",
                step.tool_calls
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
