//! SQL, read-only: who answers it, and with what.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The rows of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    pub columns: Vec<String>,
    /// Of each column, in the engine's words.
    pub types: Vec<String>,
    /// By column; a value that is absent is NULL.
    pub rows: Vec<Map<String, Value>>,
}

/// Why a query was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It is wrong, not allowed, or asks for too much.
    #[error("{0}")]
    Refused(String),
    /// Trying again later may work.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

/// Answers SQL, read-only, with bounds on rows and memory.
#[async_trait]
pub trait Queries: Send + Sync + 'static {
    async fn query(&self, sql: &str) -> Result<Rows, QueryError>;
}

/// An answer as the API shows it. One with too many rows is refused, not cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QueryView {
    pub columns: Vec<ColumnView>,
    /// In the order of the columns.
    pub rows: Vec<Vec<Value>>,
    pub elapsed_ms: u64,
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ColumnView {
    pub name: String,
    /// Arrow's name of it.
    #[serde(rename = "type")]
    pub kind: String,
}

impl QueryView {
    pub fn new(rows: Rows, elapsed_ms: u64) -> Self {
        let Rows { columns, types, rows } = rows;
        let in_order = |mut row: Map<String, Value>| {
            let values = columns.iter().map(|name| row.remove(name).unwrap_or(Value::Null));
            values.collect()
        };
        let rows = rows.into_iter().map(in_order).collect();
        let kinds = types.into_iter().chain(std::iter::repeat(String::new()));
        let columns = columns.iter().cloned().zip(kinds);
        QueryView {
            rows,
            columns: columns.map(|(name, kind)| ColumnView { name, kind }).collect(),
            elapsed_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_where_a_value_is_absent() {
        let row = |text: &str| serde_json::from_str(text).unwrap();
        let rows = Rows {
            columns: vec!["b".to_owned(), "a".to_owned()],
            types: vec!["Int64".to_owned(), "Utf8".to_owned()],
            rows: vec![row(r#"{"a":"x","b":1}"#), row(r#"{"a":"y"}"#)],
        };
        let view = serde_json::to_value(QueryView::new(rows, 3)).unwrap();
        assert_eq!(
            view,
            serde_json::json!({
                "columns": [{"name": "b", "type": "Int64"}, {"name": "a", "type": "Utf8"}],
                "rows": [[1, "x"], [null, "y"]], "elapsed_ms": 3,
            })
        );
    }
}
