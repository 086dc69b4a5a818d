//! Log lines asked for by their properties: what the command line and, later, the agents' read-only tool use.
//!
//! The answer is the newest lines that match, oldest first. A limit bounds it; whether there was more is said. Values are
//! literals in the query that is made of them, never text of it.

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use model::Level;
use serde::Serialize;

use crate::{Engine, SqlError};

/// What to look for; what is not said matches anything. Times are microseconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    pub tenant: Option<String>,
    pub environment: Option<String>,
    pub service: Option<String>,
    /// Inclusive.
    pub from: Option<i64>,
    /// Exclusive.
    pub until: Option<i64>,
    /// This level or worse.
    pub level: Option<Level>,
    /// A part of the text, in any case.
    pub text: Option<String>,
    /// Id of a template.
    pub template: Option<String>,
    pub trace_id: Option<String>,
    /// Most lines (or templates) of the answer.
    pub limit: usize,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogRow {
    /// RFC 3339.
    pub at: String,
    pub level: String,
    pub tenant: String,
    pub environment: String,
    pub service: String,
    pub text: String,
    pub template: Option<String>,
    pub trace_id: Option<String>,
    pub span_id: Option<String>,
    /// JSON objects of text.
    pub labels: String,
    pub attributes: String,
}

/// A template, with its lines that match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TemplateRow {
    pub template: String,
    pub tenant: String,
    pub environment: String,
    pub service: String,
    /// Of its newest line.
    pub level: String,
    /// Text, as of its newest line.
    pub pattern: String,
    pub lines: i64,
    pub first_at: String,
    pub last_at: String,
}

/// An answer, and whether the limit cut it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    pub rows: Vec<T>,
    pub more: bool,
}

impl LogQuery {
    fn conditions(&self) -> String {
        let mut all = Vec::new();
        let equal = [
            ("tenant", &self.tenant),
            ("environment", &self.environment),
            ("service", &self.service),
            ("template", &self.template),
            ("trace_id", &self.trace_id),
        ];
        for (column, value) in equal {
            all.extend(value.as_ref().map(|value| format!("{column} = {}", quoted(value))));
        }
        all.extend(self.from.map(|at| format!("at >= {}", time(at))));
        all.extend(self.until.map(|at| format!("at < {}", time(at))));
        if let Some(least) = self.level {
            let levels = Level::ALL.into_iter().filter(|level| *level >= least);
            let levels: Vec<String> = levels.map(|level| quoted(level.as_str())).collect();
            all.push(format!("level IN ({})", levels.join(", ")));
        }
        all.extend(
            self.text
                .as_ref()
                .map(|text| format!("strpos(lower(text), lower({})) > 0", quoted(text))),
        );
        match all.is_empty() {
            true => String::new(),
            false => format!("WHERE {}", all.join(" AND ")),
        }
    }
}

impl Engine {
    /// The newest lines that match, oldest first.
    pub async fn logs(&self, query: &LogQuery) -> Result<Found<LogRow>, SqlError> {
        let sql = format!(
            "SELECT at, level, tenant, environment, service, text, template, trace_id, span_id, labels, attributes \
             FROM logs {} ORDER BY at DESC, log_partition DESC, log_offset DESC, log_index DESC LIMIT {}",
            query.conditions(),
            query.limit.saturating_add(1)
        );
        let (_, batches) = self.query(&sql).await?;
        let mut rows: Vec<LogRow> = batches.iter().flat_map(log_rows).collect();
        let more = rows.len() > query.limit;
        rows.truncate(query.limit);
        rows.reverse();
        Ok(Found { rows, more })
    }

    /// The templates with the most lines that match.
    pub async fn templates(&self, query: &LogQuery) -> Result<Found<TemplateRow>, SqlError> {
        let conditions = query.conditions();
        let and = if conditions.is_empty() { "WHERE" } else { "AND" };
        let sql = format!(
            "SELECT template, tenant, environment, service, last_value(level ORDER BY at) AS level, \
             last_value(pattern ORDER BY at) AS pattern, count(*) AS lines, min(at) AS first_at, max(at) AS last_at \
             FROM logs {conditions} {and} template IS NOT NULL GROUP BY template, tenant, environment, service \
             ORDER BY lines DESC, last_at DESC, template LIMIT {}",
            query.limit.saturating_add(1)
        );
        let (_, batches) = self.query(&sql).await?;
        let mut rows: Vec<TemplateRow> = batches.iter().flat_map(template_rows).collect();
        let more = rows.len() > query.limit;
        rows.truncate(query.limit);
        Ok(Found { rows, more })
    }
}

/// What every line says of where it comes from: the labels of our own store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLabel {
    Tenant,
    Environment,
    Service,
    Level,
}

impl LogLabel {
    pub const ALL: [LogLabel; 4] = [
        LogLabel::Environment,
        LogLabel::Level,
        LogLabel::Service,
        LogLabel::Tenant,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            LogLabel::Tenant => "tenant",
            LogLabel::Environment => "environment",
            LogLabel::Service => "service",
            LogLabel::Level => "level",
        }
    }
}

impl Engine {
    /// The values of a label on the lines that match, in order, as many as the query's limit.
    pub async fn log_values(&self, label: LogLabel, query: &LogQuery) -> Result<Found<String>, SqlError> {
        let column = label.as_str();
        let sql = format!(
            "SELECT DISTINCT {column} FROM logs {} ORDER BY {column} LIMIT {}",
            query.conditions(),
            query.limit.saturating_add(1)
        );
        let (_, batches) = self.query(&sql).await?;
        let values = |batch: &RecordBatch| -> Vec<String> {
            let column = batch.column(0);
            (0..batch.num_rows()).filter_map(|row| text_at(column, row)).collect()
        };
        let mut rows: Vec<String> = batches
            .iter()
            .flat_map(values)
            .filter(|value| !value.is_empty())
            .collect();
        let more = rows.len() > query.limit;
        rows.truncate(query.limit);
        Ok(Found { rows, more })
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn time(micros: i64) -> String {
    format!("arrow_cast({micros}, 'Timestamp(Microsecond, Some(\"+00:00\"))')")
}

fn log_rows(batch: &RecordBatch) -> Vec<LogRow> {
    let text = |column: usize, row| text_at(batch.column(column), row);
    let row = |row| LogRow {
        at: time_at(batch.column(0), row),
        level: text(1, row).unwrap_or_default(),
        tenant: text(2, row).unwrap_or_default(),
        environment: text(3, row).unwrap_or_default(),
        service: text(4, row).unwrap_or_default(),
        text: text(5, row).unwrap_or_default(),
        template: text(6, row),
        trace_id: text(7, row),
        span_id: text(8, row),
        labels: text(9, row).unwrap_or_default(),
        attributes: text(10, row).unwrap_or_default(),
    };
    (0..batch.num_rows()).map(row).collect()
}

fn template_rows(batch: &RecordBatch) -> Vec<TemplateRow> {
    let text = |column: usize, row| text_at(batch.column(column), row).unwrap_or_default();
    let row = |row| TemplateRow {
        template: text(0, row),
        tenant: text(1, row),
        environment: text(2, row),
        service: text(3, row),
        level: text(4, row),
        pattern: text(5, row),
        lines: batch
            .column(6)
            .as_primitive_opt::<Int64Type>()
            .map_or(0, |counts| counts.value(row)),
        first_at: time_at(batch.column(7), row),
        last_at: time_at(batch.column(8), row),
    };
    (0..batch.num_rows()).map(row).collect()
}

fn text_at(column: &ArrayRef, row: usize) -> Option<String> {
    let texts = column.as_string_opt::<i32>()?;
    texts.is_valid(row).then(|| texts.value(row).to_owned())
}

fn time_at(column: &ArrayRef, row: usize) -> String {
    let times = column.as_primitive_opt::<TimestampMicrosecondType>();
    let at = times.filter(|times| times.is_valid(row)).map(|times| times.value(row));
    let at = at.and_then(chrono::DateTime::from_timestamp_micros).unwrap_or_default();
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}
