//! Silences of the same user through the control socket.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use gateway::{OrderError, ReadError, SilenceBody, SilenceFilter, SilenceView, Silences as _};
use model::IncidentId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::SilenceDesk;

/// What the command line asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SilenceRequest {
    List { all: bool, incident: Option<Uuid> },
    Add { wanted: SilenceBody, by: String },
    End { id: Uuid, by: String },
}

/// The route `/silences`.
pub fn routes(desk: Arc<SilenceDesk>) -> Router {
    Router::new().route("/silences", post(take)).with_state(desk)
}

async fn take(
    State(desk): State<Arc<SilenceDesk>>,
    Json(request): Json<SilenceRequest>,
) -> Result<Json<Vec<SilenceView>>, (StatusCode, String)> {
    desk.answer(request).await.map(Json).map_err(|error| {
        let code = match &error {
            OrderError::NotFound(_) => StatusCode::NOT_FOUND,
            OrderError::Conflict(_) => StatusCode::CONFLICT,
            OrderError::Forbidden(_) => StatusCode::FORBIDDEN,
            OrderError::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            OrderError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        (code, error.to_string())
    })
}

impl SilenceDesk {
    /// The silences that were asked for, or the one that was declared or ended.
    pub async fn answer(&self, request: SilenceRequest) -> Result<Vec<SilenceView>, OrderError> {
        match request {
            SilenceRequest::List { all, incident } => {
                let incident = incident.map(IncidentId);
                let found = self.list(SilenceFilter { all, incident }).await;
                let found = found.map_err(|error| match error {
                    ReadError::Unavailable(why) | ReadError::Failed(why) => OrderError::Unavailable(why),
                })?;
                found.ok_or_else(|| OrderError::NotFound("incident of this id".to_owned()))
            }
            SilenceRequest::Add { wanted, by } => Ok(vec![self.declare(wanted, &by).await?]),
            SilenceRequest::End { id, by } => Ok(vec![self.end(id, &by).await?]),
        }
    }
}
