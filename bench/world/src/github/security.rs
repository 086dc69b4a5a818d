//! Alerts of scanners: lists by pages, one alert, and where a secret was seen. A secret is told unless who asks says otherwise, as the real
//! one does.

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Forge;
use super::routes::{NOT_FOUND, Told, respond};
use crate::World;

pub(crate) fn router() -> Router<World> {
    Router::new()
        .route("/github/repos/{owner}/{name}/{kind}/alerts", get(list))
        .route("/github/repos/{owner}/{name}/{kind}/alerts/{number}", get(one))
        .route(
            "/github/repos/{owner}/{name}/{kind}/alerts/{number}/locations",
            get(locations),
        )
}

#[derive(Deserialize)]
struct Asked {
    state: Option<String>,
    per_page: Option<usize>,
    page: Option<usize>,
    after: Option<String>,
    hide_secret: Option<String>,
}

const KINDS: [&str; 3] = ["code-scanning", "dependabot", "secret-scanning"];

fn of<'a>(forge: &'a Forge, owner: &str, name: &str, kind: &str) -> Result<&'a [Value], (StatusCode, &'static str)> {
    let repository = format!("{owner}/{name}");
    if !forge.repositories.contains_key(&repository) || !KINDS.contains(&kind) {
        return Err(NOT_FOUND);
    }
    let alerts = forge.alerts.get(&format!("{repository}/{kind}"));
    Ok(alerts.map(Vec::as_slice).unwrap_or_default())
}

fn shown(alert: &Value, hide: bool) -> Value {
    let mut alert = alert.clone();
    if let Some(fields) = alert.as_object_mut() {
        fields.remove("locations");
        if hide && fields.contains_key("secret") {
            fields.insert("secret".to_owned(), Value::Null);
        }
    }
    alert
}

/// Dependabot counts by a cursor, the others by pages.
async fn list(
    State(world): State<World>,
    Path((owner, name, kind)): Path<(String, String, String)>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    respond(&world, &headers, |forge| {
        let alerts = match of(forge, &owner, &name, &kind) {
            Ok(alerts) => alerts,
            Err(fault) => return (Err(fault), None),
        };
        let wanted = |alert: &&Value| asked.state.as_ref().is_none_or(|state| alert["state"] == **state);
        let count = asked.per_page.unwrap_or(30).min(forge.page);
        let page = match &asked.after {
            Some(cursor) => cursor
                .strip_prefix("cursor")
                .and_then(|page| page.parse().ok())
                .unwrap_or(1),
            None => asked.page.unwrap_or(1),
        };
        let mut from = alerts.iter().rev().filter(wanted).skip((page.max(1) - 1) * count);
        let hide = asked.hide_secret.as_deref() == Some("true");
        let told: Vec<Value> = from.by_ref().take(count).map(|alert| shown(alert, hide)).collect();
        let next = from.next().map(|_| {
            let how = match kind.as_str() {
                "dependabot" => format!("after=cursor{}", page + 1),
                _ => format!("page={}", page + 1),
            };
            format!(
                r#"<http://localhost/github/repos/{owner}/{name}/{kind}/alerts?per_page={count}&{how}>; rel="next""#
            )
        });
        (Ok(Value::Array(told)), next)
    })
}

async fn one(
    State(world): State<World>,
    Path((owner, name, kind, number)): Path<(String, String, String, u64)>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let hide = asked.hide_secret.as_deref() == Some("true");
    respond(&world, &headers, |forge| {
        let told: Told = of(forge, &owner, &name, &kind).and_then(|alerts| {
            let found = alerts.iter().find(|alert| alert["number"] == number);
            found.map(|alert| shown(alert, hide)).ok_or(NOT_FOUND)
        });
        (told, None)
    })
}

async fn locations(
    State(world): State<World>,
    Path((owner, name, kind, number)): Path<(String, String, String, u64)>,
    headers: HeaderMap,
) -> Response {
    respond(&world, &headers, |forge| {
        let told: Told = of(forge, &owner, &name, &kind).and_then(|alerts| {
            let found = alerts.iter().find(|alert| alert["number"] == number).ok_or(NOT_FOUND)?;
            Ok(match &found["locations"] {
                Value::Null => json!([]),
                places => places.clone(),
            })
        });
        (told, None)
    })
}
