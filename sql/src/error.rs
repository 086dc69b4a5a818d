//! What can be wrong with a query or with what it reads.

use datafusion::error::DataFusionError;

#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// Not one query: several statements, or one that would change something.
    #[error("{what} is not allowed here: only queries are (SELECT, WITH, VALUES, EXPLAIN, SHOW TABLES, DESCRIBE)")]
    NotAQuery { what: String },
    #[error("no table {table}{}; tables: {}", did_you_mean(suggestion), tables.join(", "))]
    UnknownTable {
        table: String,
        suggestion: Option<String>,
        tables: Vec<&'static str>,
    },
    /// The query is wrong; DataFusion says how.
    #[error("{0}")]
    Invalid(String),
    #[error("the answer has more than {limit} rows: add a LIMIT, or raise the row limit")]
    TooManyRows { limit: usize },
    #[error("the query needs more memory than it may use ({limit} bytes): {cause}")]
    OutOfMemory { limit: usize, cause: String },
    #[error("cannot read the store: {0}")]
    Store(String),
    #[error("cannot read the archive: {0}")]
    Archive(String),
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion
        .as_ref()
        .map(|name| format!("; did you mean {name}?"))
        .unwrap_or_default()
}

impl SqlError {
    /// Sorts what DataFusion reports. `memory` is the limit that was in force.
    pub fn from_datafusion(error: &DataFusionError, memory: usize) -> SqlError {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(cause) => SqlError::OutOfMemory {
                limit: memory,
                cause: cause.clone(),
            },
            DataFusionError::External(cause) => match cause.downcast_ref() {
                Some(SqlError::Archive(cause)) => SqlError::Archive(cause.clone()),
                _ => SqlError::Store(cause.to_string()),
            },
            DataFusionError::IoError(_) | DataFusionError::ObjectStore(_) | DataFusionError::ParquetError(_) => {
                SqlError::Archive(error.strip_backtrace())
            }
            _ => SqlError::Invalid(error.strip_backtrace()),
        }
    }
}
