//! Alertmanager's API v2, as far as Prometheus uses it: `POST /api/v2/alerts`
//! (<https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>), so that `alerting.alertmanagers` of Prometheus can name
//! aegis itself.
//!
//! Prometheus sends what fires again at least every minute and forgets what it could not send until then; so 503 costs an alert a minute.
//! Answers are Alertmanager's: 200 without a body, else a JSON string.
//!
//! Not supported: the other paths of the API (silences, queries); and Prometheus does not ask for them.

use axum::Json;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::webhook::problem::Refusal;
use crate::webhook::senders::Sender;
use crate::webhook::shape;

/// `POST /api/v2/alerts`.
pub struct AlertmanagerApi;

impl Sender for AlertmanagerApi {
    fn name(&self) -> &'static str {
        "alertmanager-api"
    }

    fn path(&self) -> &'static str {
        "/api/v2/alerts"
    }

    fn settings(&self) -> &'static str {
        "alertmanager"
    }

    fn check(&self, _headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        shape::array(body)
    }

    fn keep_header(&self, name: &str) -> Option<String> {
        // Carries Prometheus' version.
        (name == "user-agent").then(|| "http-user-agent".to_owned())
    }

    fn accepted(&self, _delivery: &str, _body: &[u8]) -> Response {
        StatusCode::OK.into_response()
    }

    fn refused(&self, refusal: Refusal) -> Response {
        let said = [
            Some(refusal.detail.as_str()),
            refusal.place.as_deref(),
            refusal.remedy.as_deref(),
        ];
        let said: Vec<&str> = said.into_iter().flatten().filter(|part| !part.is_empty()).collect();
        let mut response = (refusal.status, Json(said.join("; "))).into_response();
        // With the headers that say when to come again.
        for (name, value) in refusal.into_response().headers() {
            if *name != CONTENT_TYPE && *name != CONTENT_LENGTH {
                response.headers_mut().insert(name.clone(), value.clone());
            }
        }
        response
    }
}
