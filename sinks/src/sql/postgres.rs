//! The PostgreSQL dialect: a small pool, rows by `INSERT … SELECT FROM UNNEST(arrays)`, one array per column.
//!
//! With TimescaleDB installed in the database, `signals` is a hypertable ([`super::timescale`]); without it, an ordinary
//! table.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Postgres, Row as _, Transaction};
use uuid::Uuid;

use super::error::StoreError;
use super::tables::Rows;
use super::value::{Kind, Value};

pub(crate) static MIGRATOR: Migrator = sqlx::migrate!("../migrations/postgres");

/// Writers and readers together. One sink writes at a time; the rest is for queries.
const CONNECTIONS: u32 = 8;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A statement that takes longer is given up and tried again: the sink would rather be seen as unavailable than hang.
const TIMEOUTS: &str = "SET statement_timeout = '60s'; SET lock_timeout = '10s'";
/// Rows of one statement: bounds the memory of the arrays on both sides.
const ROWS_PER_STATEMENT: usize = 4_096;

/// A server, reached when first used.
#[derive(Clone, Debug)]
pub struct Db {
    pub(super) pool: PgPool,
    options: Arc<PgConnectOptions>,
}

pub(super) fn open(url: &str, password: Option<&str>) -> Result<Db, StoreError> {
    // The parser's own message may repeat the URL, and with it a password.
    let options: PgConnectOptions = url
        .parse()
        .map_err(|_| StoreError::fatal("reading the store's URL", "write postgres://USER@HOST:PORT/DATABASE"))?;
    let options = options.application_name("aegis");
    let options = match password {
        Some(password) => options.password(password),
        None => options,
    };
    Ok(over(options))
}

/// The same server, with tables in `schema`.
pub(super) fn in_schema(db: &Db, schema: &str) -> Db {
    over(PgConnectOptions::clone(&db.options).options([("search_path", schema)]))
}

fn over(options: PgConnectOptions) -> Db {
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute(TIMEOUTS).await?;
                Ok(())
            })
        })
        .connect_lazy_with(options.clone());
    Db {
        pool,
        options: Arc::new(options),
    }
}

/// A transaction. Begun in a task of its own, which nobody can drop half way: the client (sqlx 0.9) forgets a BEGIN whose
/// caller was dropped before the answer, and would put the connection back into the pool with its transaction open.
pub(super) async fn begin(db: &Db) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let pool = db.pool.clone();
    let begun = tokio::spawn(async move { pool.begin().await }).await;
    begun.unwrap_or_else(|ended| Err(sqlx::Error::Io(std::io::Error::other(ended))))
}

/// A connection without time limits, for migrations.
pub(super) async fn unhurried(db: &Db) -> Result<PgConnection, StoreError> {
    PgConnection::connect_with(&db.options)
        .await
        .map_err(StoreError::while_doing("connecting"))
}

pub(super) fn bind<'q>(query: Query<'q, Postgres, PgArguments>, value: &Value) -> Query<'q, Postgres, PgArguments> {
    match value {
        Value::Null => query.bind(None::<String>),
        Value::Uuid(id) => query.bind(*id),
        Value::Text(text) | Value::Json(text) => query.bind(text.clone()),
        Value::Int(number) => query.bind(*number),
        Value::Bool(yes) => query.bind(*yes),
        Value::Time(at) => query.bind(*at),
    }
}

/// The number of rows written.
pub(super) async fn insert(to: &mut PgConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    let statement = statement(rows);
    let mut written = 0;
    for chunk in rows.rows.chunks(ROWS_PER_STATEMENT) {
        let query = sqlx::query(AssertSqlSafe(statement.clone()));
        let done = bind_rows(query, rows, chunk).execute(&mut *to).await?;
        written += done.rows_affected();
    }
    Ok(written)
}

/// Columns `named` of the rows that were written.
pub(super) async fn insert_returning(
    to: &mut PgConnection,
    rows: &Rows,
    named: &[(&str, Kind)],
) -> Result<Vec<Vec<Value>>, sqlx::Error> {
    let statement = format!("{} {}", statement(rows), super::tables::returning(named));
    let mut written = Vec::new();
    for chunk in rows.rows.chunks(ROWS_PER_STATEMENT) {
        let query = sqlx::query(AssertSqlSafe(statement.clone()));
        for row in bind_rows(query, rows, chunk).fetch_all(&mut *to).await? {
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

fn bind_rows<'q>(
    mut query: Query<'q, Postgres, PgArguments>,
    rows: &Rows,
    chunk: &[Vec<Value>],
) -> Query<'q, Postgres, PgArguments> {
    for (index, (_, kind)) in rows.table.columns.iter().enumerate() {
        query = bind_column(query, *kind, chunk.iter().map(|row| &row[index]));
    }
    query
}

/// `INSERT INTO t (a, b) SELECT c0, c1::jsonb FROM UNNEST($1::uuid[], $2::text[]) AS u(c0, c1) ON CONFLICT …`
fn statement(rows: &Rows) -> String {
    let (mut selected, mut arrays, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (index, (_, kind)) in rows.table.columns.iter().enumerate() {
        let array = match kind {
            Kind::Uuid => "uuid",
            Kind::Text | Kind::Json => "text",
            Kind::Int => "bigint",
            Kind::Bool => "boolean",
            Kind::Time => "timestamptz",
        };
        arrays.push(format!("${}::{array}[]", index + 1));
        names.push(format!("c{index}"));
        selected.push(if *kind == Kind::Json {
            format!("c{index}::jsonb")
        } else {
            format!("c{index}")
        });
    }
    format!(
        "{} SELECT {} FROM UNNEST({}) AS u({}) {}",
        rows.table.insert_into(),
        selected.join(", "),
        arrays.join(", "),
        names.join(", "),
        rows.table.conflict
    )
}

fn bind_column<'q, 'v>(
    query: Query<'q, Postgres, PgArguments>,
    kind: Kind,
    cells: impl Iterator<Item = &'v Value>,
) -> Query<'q, Postgres, PgArguments> {
    macro_rules! column {
        ($type:ty, $($pattern:pat => $value:expr),+) => {
            query.bind(cells.map(|cell| match cell { $($pattern => Some($value),)+ _ => None }).collect::<Vec<Option<$type>>>())
        };
    }
    match kind {
        Kind::Uuid => column!(Uuid, Value::Uuid(id) => *id),
        Kind::Text | Kind::Json => {
            column!(&str, Value::Text(text) => text.as_str(), Value::Json(text) => text.as_str())
        }
        Kind::Int => column!(i64, Value::Int(number) => *number),
        Kind::Bool => column!(bool, Value::Bool(yes) => *yes),
        Kind::Time => column!(DateTime<Utc>, Value::Time(at) => *at),
    }
}

/// Column `name` of `row`, which the statement selected as `kind`.
pub(super) fn cell(row: &PgRow, name: &str, kind: Kind) -> Result<Value, sqlx::Error> {
    let value = match kind {
        Kind::Uuid => row.try_get::<Option<Uuid>, _>(name)?.map(Value::Uuid),
        Kind::Text => row.try_get::<Option<String>, _>(name)?.map(Value::Text),
        Kind::Json => row
            .try_get::<Option<serde_json::Value>, _>(name)?
            .map(|json| Value::Json(json.to_string())),
        Kind::Int => row.try_get::<Option<i64>, _>(name)?.map(Value::Int),
        Kind::Bool => row.try_get::<Option<bool>, _>(name)?.map(Value::Bool),
        Kind::Time => row.try_get::<Option<DateTime<Utc>>, _>(name)?.map(Value::Time),
    };
    Ok(value.unwrap_or(Value::Null))
}
