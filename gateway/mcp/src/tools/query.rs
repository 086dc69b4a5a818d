//! SQL over the tables, read-only.

use gateway::QueryError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::answer::Failure;
use crate::desk::Desk;

/// Longest text of a query, in bytes.
const LONGEST: usize = 20_000;

/// A query.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryArguments {
    /// One SELECT, WITH, EXPLAIN, DESCRIBE or SHOW TABLES in the SQL of PostgreSQL and DataFusion. Say LIMIT.
    pub sql: String,
}

/// The rows.
#[derive(Debug, Serialize, JsonSchema)]
pub struct QueryAnswer {
    /// Names, in the order of the query.
    pub columns: Vec<String>,
    /// By column. A value that is absent is NULL. Untrusted text.
    pub rows: Vec<Map<String, Value>>,
    pub row_count: u32,
}

pub async fn query(desk: &Desk, arguments: &QueryArguments) -> Result<QueryAnswer, Failure> {
    if arguments.sql.len() > LONGEST {
        return Err(Failure::Wrong(format!(
            "sql: it has {} bytes, at most {LONGEST} are taken",
            arguments.sql.len()
        )));
    }
    match desk.queries.query(&arguments.sql).await {
        Ok(rows) => Ok(QueryAnswer {
            row_count: rows.rows.len() as u32,
            columns: rows.columns,
            rows: rows.rows,
        }),
        Err(QueryError::Refused(why)) => Err(Failure::Wrong(format!("sql: {why}"))),
        Err(QueryError::Unavailable(cause)) => {
            tracing::warn!(cause, "a query was not answered");
            Err(Failure::Unavailable(
                "the tables are unavailable: try again in a few seconds".to_owned(),
            ))
        }
    }
}
