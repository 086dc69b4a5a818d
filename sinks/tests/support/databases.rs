//! A fresh database per test: a SQLite file in a temporary folder; a database of its own on the PostgreSQL server that
//! `AEGIS_TEST_POSTGRES` names (`postgres://USER@HOST:PORT/postgres`; the user may create databases); or a schema of its
//! own in the database with TimescaleDB that `AEGIS_TEST_TIMESCALE` names. A schema, because the server that
//! scripts/services/timescale.sh starts has one database.

#![allow(dead_code)] // Every test crate uses its own part.

use std::sync::atomic::{AtomicU32, Ordering};

use sinks::Store;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// Keeps the database until it is dropped.
pub struct Database {
    pub url: String,
    folder: Option<tempfile::TempDir>,
}

impl Database {
    pub fn sqlite() -> Database {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("data/aegis.db").display());
        Database {
            url,
            folder: Some(folder),
        }
    }

    /// `None` without a server, unless tests must have one.
    pub async fn postgres() -> Option<Database> {
        let server = server("AEGIS_TEST_POSTGRES")?;
        let name = fresh_name();
        let mut admin = PgConnection::connect(&server).await.unwrap();
        for statement in [
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            format!("CREATE DATABASE {name}"),
        ] {
            admin.execute(AssertSqlSafe(statement)).await.unwrap();
        }
        let (host, _) = server.rsplit_once('/').unwrap();
        Some(Database {
            url: format!("{host}/{name}"),
            folder: None,
        })
    }

    /// The same with TimescaleDB.
    pub async fn timescale() -> Option<Database> {
        let server = server("AEGIS_TEST_TIMESCALE")?;
        let name = fresh_name();
        let mut admin = PgConnection::connect(&server).await.unwrap();
        let statement = format!("CREATE SCHEMA {name}");
        admin.execute(AssertSqlSafe(statement)).await.unwrap();
        // The extension's functions are in public.
        Some(Database {
            url: format!("{server}?options[search_path]={name},public"),
            folder: None,
        })
    }

    pub async fn open(&self) -> Store {
        let store = Store::open(&self.url).await.unwrap();
        store.migrate().await.unwrap();
        store
    }

    /// Runs `statement` beside the store, as a person with a client would.
    pub async fn execute(&self, statement: &str) {
        let statement = AssertSqlSafe(statement.to_owned());
        if self.folder.is_some() {
            sqlx::SqliteConnection::connect(&self.url)
                .await
                .unwrap()
                .execute(statement)
                .await
                .unwrap();
        } else {
            PgConnection::connect(&self.url)
                .await
                .unwrap()
                .execute(statement)
                .await
                .unwrap();
        }
    }

    /// Whether the rollups are continuous aggregates.
    pub async fn aggregates(&self) -> bool {
        !self.url.starts_with("sqlite")
            && self
                .texts("SELECT relkind::text FROM pg_class WHERE oid = to_regclass('signals_by_minute')")
                .await
                == ["v"]
    }

    /// Every column and index, in words.
    pub async fn shape(&self) -> Vec<String> {
        let query = if self.folder.is_some() {
            "SELECT m.type || ' ' || m.name || ' ' || coalesce(c.name || ' ' || c.type, '') FROM sqlite_master m \
             LEFT JOIN pragma_table_info(m.name) c WHERE m.name NOT LIKE 'sqlite_%' ORDER BY 1"
        } else {
            "SELECT table_name || ' ' || column_name || ' ' || data_type || ' ' || is_nullable FROM information_schema.columns \
             WHERE table_schema = current_schema() UNION ALL \
             SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() ORDER BY 1"
        };
        self.texts(query).await
    }

    /// The first column of each row, which must be text.
    pub async fn texts(&self, query: &str) -> Vec<String> {
        let query = AssertSqlSafe(query.to_owned());
        if self.folder.is_some() {
            let mut connection = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(query).fetch_all(&mut connection).await.unwrap()
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(query).fetch_all(&mut connection).await.unwrap()
        }
    }
}

/// The server that `variable` names.
fn server(variable: &str) -> Option<String> {
    let server = std::env::var(variable).ok();
    if server.is_none() {
        let required = std::env::var("AEGIS_TEST_REQUIRE").is_ok_and(|required| required == "1");
        assert!(!required, "{variable} is not set: run scripts/test-services.sh up");
        eprintln!("not run: {variable} is not set");
    }
    server
}

/// For a database or a schema: nobody else's, in this run or in another.
fn fresh_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    format!("aegis_sinks_{}_{nanos}_{number}", std::process::id())
}
