//! 2xx means stored; everything else is said in a way that makes the sender come back.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use sources::webhook::{WebhookSettings, router};
use stream::time::ManualClock;

use super::support::{Answer, Append, FaultyLog, NOW, app, ingress, send, within};

async fn post(app: &Router, body: String) -> Answer {
    send(app, "POST", "/webhooks/alertmanager", &[], body).await
}

fn numbered(number: usize) -> String {
    format!(r#"{{"alerts":[],"groupKey":"{number}"}}"#)
}

#[track_caller]
fn assert_come_back(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    let seconds: u32 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(seconds >= 1);
}

#[tokio::test]
async fn nothing_is_accepted_that_is_not_in_the_log() {
    let script = [
        Append::Writes,
        Append::Refused,
        Append::AnswerLost,
        Append::Writes,
        Append::Refused,
        Append::Writes,
    ];
    let log = FaultyLog::new(script);
    let app = app(&log, &WebhookSettings::default()).await;
    let mut accepted = 0;
    for (number, act) in script.into_iter().enumerate() {
        let answer = post(&app, numbered(number)).await;
        let stored = log.events().await;
        match act {
            Append::Writes => {
                assert_eq!(answer.status, StatusCode::ACCEPTED);
                assert!(
                    stored
                        .iter()
                        .any(|event| event.delivery == answer.body["delivery"] && event.body == numbered(number))
                );
                accepted += 1;
            }
            _ => assert_come_back(&answer),
        }
    }
    assert_eq!(accepted, 3);
    // A sender that does as it is told loses nothing.
    for number in 0..script.len() {
        assert_eq!(post(&app, numbered(number)).await.status, StatusCode::ACCEPTED);
    }
    let stored = log.events().await;
    for number in 0..script.len() {
        assert!(
            stored.iter().any(|event| event.body == numbered(number)),
            "{number} is lost"
        );
    }
}

#[tokio::test]
async fn no_answer_before_the_append_returns() {
    let log = FaultyLog::gated();
    let app = app(&log, &WebhookSettings::default()).await;
    let request = tokio::spawn(async move { post(&app, numbered(1)).await });
    log.arrived(1).await;
    assert!(!request.is_finished(), "answered before the log did");
    assert!(log.events().await.is_empty());
    log.gate.add_permits(1);
    assert_eq!(within(request).await.unwrap().status, StatusCode::ACCEPTED);
    assert_eq!(log.events().await.len(), 1);
}

#[tokio::test]
async fn a_log_that_hangs_is_503_in_time() {
    let log = FaultyLog::gated();
    let app = app(
        &log,
        &WebhookSettings {
            request_timeout_s: 1,
            ..Default::default()
        },
    )
    .await;
    assert_come_back(&within(post(&app, numbered(1))).await);
    assert!(log.events().await.is_empty());
}

#[tokio::test]
async fn behind_is_503() {
    let log = FaultyLog::gated();
    // One record fills what may wait.
    let app = router(
        &WebhookSettings::default(),
        ingress(&log, 10).await,
        None,
        Arc::new(ManualClock::at(NOW)),
    )
    .unwrap();
    let first = tokio::spawn({
        let app = app.clone();
        async move { post(&app, numbered(1)).await }
    });
    log.arrived(1).await;
    let second = post(&app, numbered(2)).await;
    assert_come_back(&second);
    assert_eq!(second.body["detail"], "the pipeline is behind");
    log.gate.add_permits(1);
    assert_eq!(within(first).await.unwrap().status, StatusCode::ACCEPTED);
    log.gate.add_permits(1);
    assert_eq!(post(&app, numbered(2)).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn bodies_in_memory_are_bounded() {
    let log = FaultyLog::gated();
    let settings = WebhookSettings {
        max_body_bytes: 8 << 10,
        max_buffered_bytes: 8 << 10,
        ..Default::default()
    };
    let app = app(&log, &settings).await;
    let large = || format!(r#"{{"alerts":[],"x":"{}"}}"#, "x".repeat(7 << 10));
    let first = tokio::spawn({
        let (app, body) = (app.clone(), large());
        async move { post(&app, body).await }
    });
    log.arrived(1).await;
    let second = post(&app, large()).await;
    assert_come_back(&second);
    assert_eq!(second.body["detail"], "too many requests at a time");
    log.gate.add_permits(2);
    assert_eq!(within(first).await.unwrap().status, StatusCode::ACCEPTED);
    assert_eq!(
        post(&app, large()).await.status,
        StatusCode::ACCEPTED,
        "the first gave its share back"
    );
}
