//! The language model: what it may add, and that its failures change nothing.

use std::time::Duration;

use agents::AgentSettings;
use axum::http::StatusCode;
use model::investigation::{Agent, StepStatus};
use stream::human::{HumanDuration, HumanSize};

use crate::agent_steps::story::holds;
use crate::support::World;
use crate::support::crew::{Told, investigate};
use crate::support::stub_model::{Manner, StubModel};

/// What the agents say without a model, with the words of one cut out.
fn plain(told: &Told) -> String {
    let mut told = serde_json::to_value(&told.evidence).unwrap();
    told["unknown"] = serde_json::Value::Null;
    let mut text = told.to_string();
    while let Some((head, rest)) = text.split_once(" [model: ") {
        text = format!("{head}{}", rest.split_once(']').unwrap().1);
    }
    text
}

#[tokio::test]
async fn it_adds_words_and_nothing_else() {
    let model = StubModel::start(Manner::Sound).await;
    let told = investigate(&World::default(), &model.settings()).await;
    holds(&told);
    let without = investigate(&World::default(), &AgentSettings::default()).await;
    assert_eq!(plain(&told), plain(&without));
    assert_eq!(
        told.proposal().map(|p| &p.action),
        without.proposal().map(|p| &p.action)
    );
    assert_eq!(told.evidence.triage, without.evidence.triage);
    let summary = &told.step(Agent::LogAnalyst).output.findings[0].summary;
    assert!(summary.ends_with("[model: it fits together]"), "{summary}");
    assert!(told.report().root_cause.text.ends_with("[model: it fits together]"));
    for step in &told.steps {
        let asked = matches!(
            step.agent,
            Agent::LogAnalyst | Agent::MetricCorrelator | Agent::PostmortemWriter
        );
        assert_eq!(step.tokens_used, if asked { 321 } else { 0 }, "{:?}", step.agent);
    }
    let asked = model.asked.lock().unwrap();
    assert_eq!(asked.len(), 3);
    for (body, key) in asked.iter() {
        assert_eq!(key, "Bearer k3y");
        assert!(
            body.get("tools").is_none() && body["max_tokens"].as_u64().unwrap() < 20_000,
            "{body}"
        );
    }
}

#[tokio::test]
async fn its_failures_change_nothing() {
    let without = investigate(&World::default(), &AgentSettings::default()).await;
    let check = async |manner: Manner, change: fn(&mut AgentSettings), expected: &str| {
        let model = StubModel::start(manner.clone()).await;
        let mut settings = model.settings();
        change(&mut settings);
        let told = investigate(&World::default(), &settings).await;
        assert_eq!(plain(&told), plain(&without), "{manner:?}");
        assert!(!format!("{:?}", told.steps).contains("[model:"), "{manner:?}");
        assert_eq!(told.action(), without.action());
        for step in &told.steps {
            assert_eq!(step.status, StepStatus::Success);
        }
        let unknown = told.unknown(Agent::LogAnalyst);
        assert!(unknown.contains(expected), "{manner:?}: {unknown:?}");
        told
    };
    let as_is = |_: &mut AgentSettings| {};
    let says = |text: &str| Manner::Says(StatusCode::OK, text.to_owned());
    check(
        Manner::Says(StatusCode::INTERNAL_SERVER_ERROR, "oops".into()),
        as_is,
        "HTTP 500",
    )
    .await;
    check(Manner::Says(StatusCode::FOUND, String::new()), as_is, "HTTP 302").await;
    check(says("<html>"), as_is, "not what was asked for").await;
    check(says("{}"), as_is, "not what was asked for").await;
    check(says(r#"{"choices":[]}"#), as_is, "no message").await;
    check(
        says(r#"{"choices":[{"message":{"content":null}}]}"#),
        as_is,
        "no message",
    )
    .await;
    check(
        says(&"x".repeat(5_000)),
        |s| s.model.max_reply = HumanSize::kib(4),
        "longer than 4096 bytes",
    )
    .await;
    check(Manner::Sound, |s| s.model.tokens_per_step = 300, "300 tokens").await;
    check(
        Manner::Sound,
        |s| s.model.url = "http://127.0.0.1:1/v1".into(),
        "model would word it",
    )
    .await;
    check(
        Manner::Hangs,
        |s| s.model.timeout = HumanDuration(Duration::from_millis(20)),
        "did not answer within 20ms",
    )
    .await;
    // A proper reply without a count: tokens are estimated.
    let told = check(
        Manner::Content("I would restart it.".into()),
        as_is,
        "not what was asked for",
    )
    .await;
    assert!(told.step(Agent::LogAnalyst).tokens_used > 100);
    // Claims that cite nothing, or what is not there.
    for citations in ["[]", r#"["logs-deadbeef00"]"#] {
        let claim = format!(r#"{{"claims":[{{"about":"finding:0","text":"all is well","citations":{citations}}}]}}"#);
        check(Manner::Content(claim), as_is, "").await;
    }
}
