//! The SQLite dialect: one writer, several readers, rows by multi-row `INSERT`.
//!
//! WAL with `synchronous=normal`: a power cut may take the newest transactions, and their positions with them, so
//! nothing is lost that the log still has. Foreign keys are checked. Another process that writes is waited for.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::migrate::Migrator;
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Row as _, Sqlite, SqliteConnection};

use super::error::StoreError;
use super::tables::Rows;
use super::value::{Kind, Value, time_text};

pub(crate) static MIGRATOR: Migrator = sqlx::migrate!("../migrations/sqlite");

/// How long to wait for another process that holds the file's write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Readers do not wait for the writer in WAL mode; each costs a thread and a page cache.
const READERS: u32 = 4;
/// Rows of one statement. More saves little; SQLite also limits the parameters of a statement to 32,766.
const ROWS_PER_STATEMENT: usize = 256;

/// An open database.
#[derive(Clone, Debug)]
pub struct Db {
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
}

pub(super) fn open(url: &str) -> Result<Db, StoreError> {
    let doing = format!("opening {url}");
    let options: SqliteConnectOptions = url.parse().map_err(|e| StoreError::fatal(&doing, e))?;
    let file = options.get_filename().to_owned();
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(StoreError::fatal(
            &doing,
            "a database in memory would be another one for every connection; name a file",
        ));
    }
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|e| StoreError::fatal(&doing, format!("folder {}: {e}", folder.display())))?;
    }
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT);
    let readers = options.clone().pragma("query_only", "on");
    Ok(Db {
        writer: SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options),
        readers: SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_lazy_with(readers),
    })
}

pub(super) fn bind<'q>(query: Query<'q, Sqlite, SqliteArguments>, value: &Value) -> Query<'q, Sqlite, SqliteArguments> {
    match value {
        Value::Null => query.bind(None::<String>),
        Value::Uuid(id) => query.bind(id.hyphenated().to_string()),
        Value::Text(text) | Value::Json(text) => query.bind(text.clone()),
        Value::Int(number) => query.bind(*number),
        Value::Bool(yes) => query.bind(*yes),
        Value::Time(at) => query.bind(time_text(*at)),
    }
}

/// The number of rows written.
pub(super) async fn insert(to: &mut SqliteConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    let mut written = 0;
    for chunk in rows.rows.chunks(ROWS_PER_STATEMENT) {
        // Only whole chunks have a statement that comes again.
        let query = sqlx::query(AssertSqlSafe(statement(rows, chunk.len(), "")));
        let query = query.persistent(chunk.len() == ROWS_PER_STATEMENT);
        let done = chunk.iter().flatten().fold(query, bind).execute(&mut *to).await?;
        written += done.rows_affected();
    }
    Ok(written)
}

/// Columns `named` of the rows that were written.
pub(super) async fn insert_returning(
    to: &mut SqliteConnection,
    rows: &Rows,
    named: &[(&str, Kind)],
) -> Result<Vec<Vec<Value>>, sqlx::Error> {
    let returning = super::tables::returning(named);
    let mut written = Vec::new();
    for chunk in rows.rows.chunks(ROWS_PER_STATEMENT) {
        let query = sqlx::query(AssertSqlSafe(statement(rows, chunk.len(), &returning))).persistent(false);
        for row in chunk.iter().flatten().fold(query, bind).fetch_all(&mut *to).await? {
            written.push(
                named
                    .iter()
                    .map(|(name, kind)| cell(&row, name, *kind))
                    .collect::<Result<_, _>>()?,
            );
        }
    }
    Ok(written)
}

fn statement(rows: &Rows, count: usize, returning: &str) -> String {
    let one = format!("({})", vec!["?"; rows.table.columns.len()].join(", "));
    let values = vec![one.as_str(); count].join(", ");
    format!(
        "{} VALUES {values} {} {returning}",
        rows.table.insert_into(),
        rows.table.conflict
    )
}

/// Column `name` of `row`, which the statement selected as `kind`.
pub(super) fn cell(row: &SqliteRow, name: &str, kind: Kind) -> Result<Value, sqlx::Error> {
    let bad = |problem: String| sqlx::Error::Decode(format!("column {name}: {problem}").into());
    let text = || row.try_get::<Option<String>, _>(name);
    let value = match kind {
        Kind::Uuid => match text()? {
            Some(id) => Some(Value::Uuid(
                id.parse().map_err(|e| bad(format!("{id:?} is no UUID: {e}")))?,
            )),
            None => None,
        },
        Kind::Time => match text()? {
            Some(at) => {
                let read = DateTime::parse_from_rfc3339(&at).map_err(|e| bad(format!("{at:?} is no time: {e}")))?;
                Some(Value::Time(read.with_timezone(&Utc)))
            }
            None => None,
        },
        Kind::Text => text()?.map(Value::Text),
        Kind::Json => text()?.map(Value::Json),
        Kind::Int => row.try_get::<Option<i64>, _>(name)?.map(Value::Int),
        Kind::Bool => row.try_get::<Option<bool>, _>(name)?.map(Value::Bool),
    };
    Ok(value.unwrap_or(Value::Null))
}
