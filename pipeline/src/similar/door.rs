//! The same for the user's own commands, through the control socket: the vectors belong to the process that runs.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use gateway::{ReadError, SimilarAnswer};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Similar, UseError};

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SimilarRequest {
    Incident { id: Uuid, limit: u32 },
    Text { text: String, limit: u32 },
}

/// Another model, please.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelRequest {
    pub name: String,
}

/// The routes `/similar` and `/models/use`.
pub fn routes(similar: Option<Similar>) -> Router {
    Router::new()
        .route("/similar", post(ask))
        .route("/models/use", post(use_model))
        .with_state(similar)
}

async fn ask(
    State(similar): State<Option<Similar>>,
    Json(request): Json<SimilarRequest>,
) -> Result<Json<SimilarAnswer>, (StatusCode, String)> {
    let similar = similar.ok_or_else(off)?;
    answer(&similar, &request)
        .await
        .map_err(|error| {
            let code = match &error {
                ReadError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
                ReadError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            (code, error.to_string())
        })?
        .map(Json)
        .ok_or_else(|| (StatusCode::NOT_FOUND, "there is no such incident".to_owned()))
}

/// `None` if there is no such incident.
pub async fn answer(similar: &Similar, request: &SimilarRequest) -> Result<Option<SimilarAnswer>, ReadError> {
    match request {
        SimilarRequest::Incident { id, limit } => similar.of_incident(*id, *limit).await,
        SimilarRequest::Text { text, limit } => similar.of_text(text, *limit).await.map(Some),
    }
}

async fn use_model(
    State(similar): State<Option<Similar>>,
    Json(request): Json<ModelRequest>,
) -> Result<Json<bool>, (StatusCode, String)> {
    let similar = similar.ok_or_else(off)?;
    similar.use_model(&request.name).map(|()| Json(true)).map_err(|error| {
        let code = match &error {
            UseError::Files(_) => StatusCode::NOT_FOUND,
            UseError::Configured(_) => StatusCode::CONFLICT,
        };
        (code, error.to_string())
    })
}

fn off() -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, "vectors.enabled is false".to_owned())
}
