//! The SQL store, opened for reading only.
//!
//! The sink opens the same store for writing in its own crate; what is shared is the URL's form and the tables.

use std::time::Duration;

use arrow::array::{
    ArrayRef, BooleanBuilder, Int64Builder, RecordBatch, RecordBatchOptions, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use datafusion::error::DataFusionError;
use futures::TryStreamExt as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};
use std::sync::Arc;
use stream::secret::Secret;
use tokio::sync::mpsc::Sender;
use uuid::Uuid;

use crate::error::SqlError;
use crate::tables::Kind;

/// Rows of one Arrow batch on the way from the store.
const BATCH_ROWS: usize = 4_096;
const CONNECTIONS: u32 = 4;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where the tables are: the same values as the sink's settings.
#[derive(Clone, Debug, Default)]
pub struct SqlSourceConfig {
    /// `sqlite://PATH` or `postgres://USER@HOST:PORT/DATABASE`.
    pub url: String,
    /// Password for PostgreSQL when it is not in the URL.
    pub password: Option<Secret>,
}

/// An open store.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A value in a condition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Arg {
    Uuid(Uuid),
    Text(String),
    Int(i64),
    Bool(bool),
    Time(DateTime<Utc>),
}

impl Source {
    pub fn open(config: &SqlSourceConfig) -> Result<Source, SqlError> {
        if config.url.starts_with("sqlite:") {
            let options: SqliteConnectOptions = config
                .url
                .parse()
                .map_err(|e| SqlError::Store(format!("{}: {e}", config.url)))?;
            let file = options.get_filename().to_owned();
            if !file.exists() {
                return Err(SqlError::Store(format!(
                    "there is no database {} yet: `aegis run` or `aegis ingest` makes it",
                    file.display()
                )));
            }
            let options = options
                .create_if_missing(false)
                .busy_timeout(TIMEOUT)
                .pragma("query_only", "on");
            Ok(Source::Sqlite(
                SqlitePoolOptions::new()
                    .max_connections(CONNECTIONS)
                    .connect_lazy_with(options),
            ))
        } else if config.url.starts_with("postgres:") || config.url.starts_with("postgresql:") {
            // The parser's message may repeat the URL, and with it a password.
            let form = || SqlError::Store("the URL is not of the form postgres://USER@HOST:PORT/DATABASE".into());
            let options: PgConnectOptions = config.url.parse().map_err(|_| form())?;
            let options = options.application_name("aegis-sql");
            let options = match &config.password {
                Some(password) => options.password(password.expose()),
                None => options,
            };
            // A default for every transaction of the connection; the guard refuses the SET that would undo it.
            let options = options.options([("default_transaction_read_only", "on")]);
            let pool = PgPoolOptions::new()
                .max_connections(CONNECTIONS)
                .acquire_timeout(TIMEOUT);
            Ok(Source::Postgres(pool.connect_lazy_with(options)))
        } else {
            Err(SqlError::Store(
                "its URL must start with sqlite:// or postgres://".into(),
            ))
        }
    }

    /// How column `name` is selected so that it arrives as text, bigint, boolean or a time.
    pub fn selected(&self, name: &str, kind: Kind) -> String {
        match (self, kind) {
            (Source::Postgres(_), Kind::Uuid | Kind::Json | Kind::Text) => format!("{name}::text AS {name}"),
            (Source::Postgres(_), Kind::Int) => format!("{name}::bigint AS {name}"),
            _ => name.to_owned(),
        }
    }

    /// Runs `sql` and sends its rows as batches. Ends early when nobody listens any more.
    pub async fn stream(
        self,
        sql: String,
        args: Vec<Arg>,
        schema: SchemaRef,
        kinds: Vec<Kind>,
        to: Sender<Result<RecordBatch, DataFusionError>>,
    ) -> Result<(), DataFusionError> {
        let mut columns = Columns::new(schema, &kinds);
        macro_rules! run {
            ($pool:expr, $row:ty, $bind:path) => {{
                let query = args.iter().fold(sqlx::query(AssertSqlSafe(sql)), $bind);
                let mut rows = query.fetch(&$pool);
                loop {
                    let row: Option<$row> = rows.try_next().await.map_err(external)?;
                    let ended = row.is_none();
                    if let Some(row) = row {
                        for (index, column) in columns.builders.iter_mut().enumerate() {
                            column.push(&row, index).map_err(external)?;
                        }
                        columns.rows += 1;
                    }
                    if (ended && columns.rows > 0) || columns.rows == BATCH_ROWS {
                        if to.send(columns.finish()).await.is_err() {
                            return Ok(());
                        }
                    }
                    if ended {
                        return Ok(());
                    }
                }
            }};
        }
        match self {
            Source::Sqlite(pool) => run!(pool, SqliteRow, bind_sqlite),
            Source::Postgres(pool) => run!(pool, PgRow, bind_postgres),
        }
    }
}

fn external(error: sqlx::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

type SqliteQuery<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;
type PgQuery<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn bind_sqlite<'q>(query: SqliteQuery<'q>, arg: &Arg) -> SqliteQuery<'q> {
    match arg {
        Arg::Uuid(id) => query.bind(id.hyphenated().to_string()),
        Arg::Text(text) => query.bind(text.clone()),
        Arg::Int(number) => query.bind(*number),
        Arg::Bool(yes) => query.bind(*yes),
        // The sink's form: six decimals and a Z.
        Arg::Time(at) => query.bind(at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)),
    }
}

fn bind_postgres<'q>(query: PgQuery<'q>, arg: &Arg) -> PgQuery<'q> {
    match arg {
        Arg::Uuid(id) => query.bind(*id),
        Arg::Text(text) => query.bind(text.clone()),
        Arg::Int(number) => query.bind(*number),
        Arg::Bool(yes) => query.bind(*yes),
        Arg::Time(at) => query.bind(*at),
    }
}

/// Arrow columns being filled from rows.
struct Columns {
    schema: SchemaRef,
    builders: Vec<Column>,
    rows: usize,
}

enum Column {
    Text(StringBuilder),
    Int(Int64Builder),
    Bool(BooleanBuilder),
    Time(TimestampMicrosecondBuilder),
}

impl Columns {
    fn new(schema: SchemaRef, kinds: &[Kind]) -> Self {
        let builders = kinds.iter().map(|kind| match kind {
            Kind::Uuid | Kind::Text | Kind::Json => Column::Text(StringBuilder::new()),
            Kind::Int => Column::Int(Int64Builder::new()),
            Kind::Bool => Column::Bool(BooleanBuilder::new()),
            Kind::Time => Column::Time(TimestampMicrosecondBuilder::new().with_timezone("+00:00")),
        });
        Columns {
            schema,
            builders: builders.collect(),
            rows: 0,
        }
    }

    fn finish(&mut self) -> Result<RecordBatch, DataFusionError> {
        let arrays: Vec<ArrayRef> = self
            .builders
            .iter_mut()
            .map(|column| -> ArrayRef {
                match column {
                    Column::Text(builder) => Arc::new(builder.finish()),
                    Column::Int(builder) => Arc::new(builder.finish()),
                    Column::Bool(builder) => Arc::new(builder.finish()),
                    Column::Time(builder) => Arc::new(builder.finish()),
                }
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        Ok(RecordBatch::try_new_with_options(
            self.schema.clone(),
            arrays,
            &options,
        )?)
    }
}

/// A row of either store, read by index.
trait Cells {
    fn text(&self, index: usize) -> Result<Option<String>, sqlx::Error>;
    fn int(&self, index: usize) -> Result<Option<i64>, sqlx::Error>;
    fn bool(&self, index: usize) -> Result<Option<bool>, sqlx::Error>;
    /// Microseconds since the epoch.
    fn time(&self, index: usize) -> Result<Option<i64>, sqlx::Error>;
}

impl Cells for SqliteRow {
    fn text(&self, index: usize) -> Result<Option<String>, sqlx::Error> {
        self.try_get(index)
    }
    fn int(&self, index: usize) -> Result<Option<i64>, sqlx::Error> {
        self.try_get(index)
    }
    fn bool(&self, index: usize) -> Result<Option<bool>, sqlx::Error> {
        self.try_get(index)
    }
    fn time(&self, index: usize) -> Result<Option<i64>, sqlx::Error> {
        let Some(text) = self.text(index)? else { return Ok(None) };
        let at = DateTime::parse_from_rfc3339(&text);
        Ok(Some(
            at.map_err(|e| sqlx::Error::Decode(format!("{text:?} is no time: {e}").into()))?
                .timestamp_micros(),
        ))
    }
}

impl Cells for PgRow {
    fn text(&self, index: usize) -> Result<Option<String>, sqlx::Error> {
        self.try_get(index)
    }
    fn int(&self, index: usize) -> Result<Option<i64>, sqlx::Error> {
        self.try_get(index)
    }
    fn bool(&self, index: usize) -> Result<Option<bool>, sqlx::Error> {
        self.try_get(index)
    }
    fn time(&self, index: usize) -> Result<Option<i64>, sqlx::Error> {
        Ok(self
            .try_get::<Option<DateTime<Utc>>, _>(index)?
            .map(|at| at.timestamp_micros()))
    }
}

impl Column {
    fn push(&mut self, row: &impl Cells, index: usize) -> Result<(), sqlx::Error> {
        match self {
            Column::Text(builder) => builder.append_option(row.text(index)?),
            Column::Int(builder) => builder.append_option(row.int(index)?),
            Column::Bool(builder) => builder.append_option(row.bool(index)?),
            Column::Time(builder) => builder.append_option(row.time(index)?),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second line of defence: whatever reached the store could not write.
    #[tokio::test]
    async fn connections_are_read_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("aegis.db");
        std::fs::write(&file, "").unwrap();
        let mut urls = vec![format!("sqlite://{}", file.display())];
        urls.extend(std::env::var("AEGIS_TEST_POSTGRES"));
        for url in urls {
            let source = Source::open(&SqlSourceConfig { url, password: None }).unwrap();
            let statement = "CREATE TABLE intruder (x TEXT)";
            let refused = match &source {
                Source::Sqlite(pool) => sqlx::query(statement).execute(pool).await.map(|_| ()),
                Source::Postgres(pool) => sqlx::query(statement).execute(pool).await.map(|_| ()),
            };
            let problem = refused.unwrap_err().to_string().replace('-', "");
            assert!(problem.contains("readonly"), "{problem}");
        }
    }
}
