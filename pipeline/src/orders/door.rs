//! Orders of the same user through the control socket, and of nobody else: who may open the socket may order.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use gateway::{OrderError, Orders as _, Proposed, Suggestion};
use model::{Action, IncidentId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::LogOrders;

/// An order, as the command line gives it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OrderRequest {
    Approve {
        remediation: Uuid,
        plan_hash: String,
        by: String,
    },
    Deny {
        remediation: Uuid,
        reason: String,
        by: String,
    },
    Stop {
        on: bool,
        by: String,
    },
    Propose {
        incident: Uuid,
        action: Action,
        reason: String,
        key: Uuid,
        by: String,
    },
}

/// It is on the log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Taken {
    /// What became of [`OrderRequest::Propose`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed: Option<Proposed>,
}

/// The route `/orders`.
pub fn routes(orders: LogOrders) -> Router {
    Router::new().route("/orders", post(take)).with_state(orders)
}

async fn take(
    State(orders): State<LogOrders>,
    Json(request): Json<OrderRequest>,
) -> Result<Json<Taken>, (StatusCode, String)> {
    give(&orders, request).await.map(Json).map_err(|error| {
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

/// Gives the order.
pub async fn give(orders: &LogOrders, request: OrderRequest) -> Result<Taken, OrderError> {
    match request {
        OrderRequest::Approve {
            remediation,
            plan_hash,
            by,
        } => orders.approve(remediation, &plan_hash, &by).await?,
        OrderRequest::Deny {
            remediation,
            reason,
            by,
        } => orders.deny(remediation, &reason, &by).await?,
        OrderRequest::Stop { on, by } => orders.stop(on, &by).await?,
        OrderRequest::Propose {
            incident,
            action,
            reason,
            key,
            by,
        } => {
            let what = Suggestion { action, reason, key };
            let proposed = orders.propose(IncidentId(incident), what, &by).await?;
            return Ok(Taken {
                proposed: Some(proposed),
            });
        }
    }
    Ok(Taken::default())
}
