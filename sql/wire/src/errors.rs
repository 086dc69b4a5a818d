//! Errors as PostgreSQL's clients read them: a code, a sentence, and a hint where there is a remedy.

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion_postgres::pgwire::api::{ClientInfo, ErrorHandler};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError};

/// An error for the client.
pub(crate) fn user(code: &str, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new(
        "ERROR".to_owned(),
        code.to_owned(),
        message.into(),
    )))
}

/// What DataFusion says of a statement.
pub(crate) fn broken(error: DataFusionError) -> PgWireError {
    PgWireError::ApiError(Box::new(error))
}

/// Gives what the library and DataFusion report a code of PostgreSQL's and a remedy, and writes it down.
#[derive(Debug)]
pub(crate) struct Translator {
    /// Bytes that all statements share.
    pub memory: usize,
}

impl ErrorHandler for Translator {
    fn on_error<C: ClientInfo>(&self, client: &C, error: &mut PgWireError) {
        if let PgWireError::ApiError(cause) = error
            && let Some(cause) = cause.downcast_ref::<DataFusionError>()
        {
            *error = PgWireError::UserError(Box::new(self.translated(cause)));
        }
        metrics::counter!("aegis_sql_statements_failed_total").increment(1);
        tracing::debug!(client = %client.socket_addr(), %error, "a statement failed");
    }
}

impl Translator {
    fn translated(&self, error: &DataFusionError) -> ErrorInfo {
        let root = error.find_root();
        let code = match root {
            DataFusionError::SQL(..) => "42601",
            DataFusionError::SchemaError(cause, _) => match **cause {
                SchemaError::FieldNotFound { .. } => "42703",
                SchemaError::AmbiguousReference { .. } => "42702",
                _ => "42P10",
            },
            DataFusionError::NotImplemented(_) => "0A000",
            DataFusionError::ResourcesExhausted(_) => "53200",
            DataFusionError::ArrowError(..) | DataFusionError::Execution(_) => "22000",
            DataFusionError::External(_)
            | DataFusionError::IoError(_)
            | DataFusionError::ObjectStore(_)
            | DataFusionError::ParquetError(_) => "58030",
            DataFusionError::Plan(text) if text.starts_with("table '") => "42P01",
            DataFusionError::Plan(text) if text.starts_with("Invalid function") => "42883",
            DataFusionError::Plan(_) => "42601",
            _ => "XX000",
        };
        let message = sql::SqlError::from_datafusion(error, self.memory).to_string();
        let mut info = ErrorInfo::new("ERROR".to_owned(), code.to_owned(), message);
        info.hint = match (code, root) {
            ("42P01", DataFusionError::Plan(text)) => unknown(text),
            ("53200", _) => Some("ask for less at a time, or raise sql.memory".to_owned()),
            _ => None,
        };
        info
    }
}

/// `table 'aegis.public.incident' not found`.
fn unknown(text: &str) -> Option<String> {
    let name = text.split('\'').nth(1)?.rsplit('.').next()?;
    Some(match sql::nearest_table(name) {
        Some(known) => format!("did you mean {known}?"),
        None => format!("tables: {}", sql::table_names().join(", ")),
    })
}
