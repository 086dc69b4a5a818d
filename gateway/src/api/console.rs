//! What the dashboard asks beside incidents: who is there, how the pipeline is, how the stop switch stands, and SQL.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::acts::read;
use crate::Shown;
use crate::pipeline::{PipelineReads, StopView};
use crate::problem::Problem;
use crate::queries::{Queries, QueryError, QueryView};
use crate::roles::{Caller, Role};
use crate::sessions::Signed;

/// Longest text of a query, in bytes.
const LONGEST: usize = 20_000;
/// How long a query may take.
const QUERY_TIME: Duration = Duration::from_secs(30);

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MeView {
    /// Absent for a read token, and where no token is needed.
    pub name: Option<String>,
    pub role: Role,
    /// By a session, not by a token.
    pub session: bool,
    /// There are named tokens to sign in with.
    pub sign_in: bool,
}

/// Body of `sql`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlBody {
    /// One SELECT, WITH, EXPLAIN, DESCRIBE or SHOW TABLES in the SQL of PostgreSQL and DataFusion.
    pub query: String,
}

pub fn routes(shown: &Shown, sign_in: bool) -> Router {
    let queries = Router::new().route("/sql", post(sql)).with_state(shown.queries.clone());
    let pipeline = Router::new()
        .route("/pipeline", get(pipeline))
        .route("/remediation/stop", get(stop))
        .with_state(shown.pipeline.clone());
    let me = async move |Extension(caller): Extension<Caller>, own: Option<Extension<Signed>>| {
        Json(MeView {
            name: caller.name,
            role: caller.role,
            session: own.is_some(),
            sign_in,
        })
    };
    Router::new().route("/me", get(me)).merge(queries).merge(pipeline)
}

async fn pipeline(State(reads): State<Arc<dyn PipelineReads>>) -> Response {
    Json(reads.pipeline().await).into_response()
}

async fn stop(State(reads): State<Arc<dyn PipelineReads>>) -> Result<Response, Problem> {
    let on = reads.stopped().await.ok_or_else(|| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the orders on the log are still read, try again",
        )
    })?;
    Ok(Json(StopView { on }).into_response())
}

async fn sql(
    State(queries): State<Arc<dyn Queries>>,
    body: Result<Json<SqlBody>, JsonRejection>,
) -> Result<Response, Problem> {
    let SqlBody { query } = read(body)?;
    if query.len() > LONGEST {
        let words = format!("it has {} bytes, at most {LONGEST} are taken", query.len());
        return Err(Problem::bad("query", words));
    }
    let began = Instant::now();
    let Ok(answer) = tokio::time::timeout(QUERY_TIME, queries.query(&query)).await else {
        let words = format!(
            "it took more than {} s: ask for less, or use `aegis sql`",
            QUERY_TIME.as_secs()
        );
        return Err(Problem::bad("query", words));
    };
    match answer {
        Ok(rows) => Ok(Json(QueryView::new(rows, began.elapsed().as_millis() as u64)).into_response()),
        Err(QueryError::Refused(why)) => Err(Problem::bad("query", why)),
        Err(QueryError::Unavailable(cause)) => {
            tracing::warn!(cause, "a query was not answered");
            Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the tables are unavailable, try again",
            ))
        }
    }
}
