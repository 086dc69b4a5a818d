//! `/_world`: telling the world what shall go wrong, and looking at what it saw.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::Utc;
use serde_json::{Value, json};

use crate::{Fault, Scenario, World, kubernetes, loki, prometheus};

pub(crate) fn router() -> Router<World> {
    Router::new()
        .route("/_world", get(whole))
        .route("/_world/faults", get(faults).post(add_fault).delete(heal))
        .route("/_world/requests", get(requests))
        .route("/_world/slack", get(slack))
        .route("/_world/github", get(deliveries))
        .route("/_world/jira", post(tickets))
        .route("/_world/logs", post(logs))
        .route("/_world/series", post(series))
        .route("/_world/scenario", post(scenario))
}

/// Pods, messages and faults, for a look in passing.
async fn whole(State(world): State<World>) -> Json<Value> {
    let state = world.state();
    Json(json!({
        "pods": state.kubernetes.list("pods", None),
        "messages": state.slack.messages,
        "faults": state.faults,
        "requests": state.requests.len(),
    }))
}

async fn faults(State(world): State<World>) -> Json<Vec<Fault>> {
    Json(world.state().faults.clone())
}

async fn add_fault(State(world): State<World>, Json(fault): Json<Fault>) -> StatusCode {
    world.fail(fault);
    StatusCode::NO_CONTENT
}

async fn heal(State(world): State<World>) -> StatusCode {
    world.heal();
    StatusCode::NO_CONTENT
}

async fn requests(State(world): State<World>) -> Json<Vec<crate::Seen>> {
    Json(world.state().requests.clone())
}

async fn slack(State(world): State<World>) -> Json<Vec<crate::slack::Message>> {
    Json(world.state().slack.messages.clone())
}

/// What the webhooks of the GitHub stand-in have sent.
async fn deliveries(State(world): State<World>) -> Json<Vec<crate::github::Delivery>> {
    let state = world.state();
    Json(
        state
            .github
            .hooks
            .iter()
            .flat_map(|hook| hook.deliveries.clone())
            .collect(),
    )
}

/// Tickets for the Jira stand-in.
async fn tickets(State(world): State<World>, Json(tickets): Json<Vec<crate::jira::Ticket>>) -> StatusCode {
    world.state().jira.tickets.extend(tickets);
    StatusCode::NO_CONTENT
}

/// Lines for the Loki stand-in.
async fn logs(State(world): State<World>, Json(lines): Json<Vec<loki::Line>>) -> StatusCode {
    world.state().loki.lines.extend(lines);
    StatusCode::NO_CONTENT
}

/// Series for the Prometheus twin.
async fn series(State(world): State<World>, Json(series): Json<Vec<prometheus::Stored>>) -> StatusCode {
    world.state().prometheus.series.extend(series);
    StatusCode::NO_CONTENT
}

/// Begins anew; what the others stored stays.
async fn scenario(State(world): State<World>, Json(scenario): Json<Scenario>) -> StatusCode {
    world.state().kubernetes = kubernetes::Cluster::new(scenario, Utc::now());
    StatusCode::NO_CONTENT
}
