//! The engine over a migrated SQLite store.

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Int64Type;
use sql::catalog::TABLES;
use sql::{Engine, Limits, SqlError, Store};
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnectOptions;

const SCHEMA: &str = include_str!("../../migrations/sqlite/0001_schema.up.sql");

/// A store with two incidents; the folder keeps it alive.
async fn store() -> (tempfile::TempDir, Store, sqlx::SqliteConnection) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("aegis.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut writer = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(SCHEMA).execute(&mut writer).await.unwrap();
    for (n, severity) in [(1, "critical"), (2, "warning")] {
        sqlx::query(
            "INSERT INTO incidents (id, alert_id, source, severity, status, title, created_at, canonical_key, revision, tenant, environment, updated_at, members, firing)
             VALUES ($1, 'a', 'alertmanager', $2, 'open', 'T', '2026-01-01T00:00:00.000001Z', $1, 1, 'default', 'default', '2026-01-01T00:00:00.000000Z', 1, 1)",
        )
        .bind(format!("00000000-0000-8000-8000-00000000000{n}"))
        .bind(severity)
        .execute(&mut writer)
        .await
        .unwrap();
    }
    let store = Store::open(&format!("sqlite://{}", path.display()), None).await.unwrap();
    (folder, store, writer)
}

async fn engine(limits: Limits) -> (tempfile::TempDir, Engine) {
    let (folder, store, _) = store().await;
    let engine = Engine::open(store, None, limits).await.unwrap();
    (folder, engine)
}

#[tokio::test]
async fn every_table_of_the_catalog_can_be_read_whole() {
    let (_folder, engine) = engine(Limits::default()).await;
    for table in TABLES {
        let answer = engine.query(&format!("SELECT * FROM {}", table.name)).await.unwrap();
        assert_eq!(answer.schema.fields().len(), table.columns.len(), "{}", table.name);
    }
}

#[tokio::test]
async fn counts_groups_and_times() {
    let (_folder, engine) = engine(Limits::default()).await;
    let answer = engine.query("select severity, count(*) as n from incidents group by 1 order by 1").await.unwrap();
    let batch = arrow::compute::concat_batches(&answer.schema, &answer.batches).unwrap();
    assert_eq!(batch.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["critical", "warning"]);
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().values(), &[1, 1]);
    let answer = engine
        .query("select id from incidents where created_at > timestamp '2025-12-31T23:59:59Z' and not auto_resolved limit 1")
        .await
        .unwrap();
    assert_eq!(answer.batches.iter().map(|b| b.num_rows()).sum::<usize>(), 1);
    let answer = engine.query("select resolved_at from incidents").await.unwrap();
    assert_eq!(answer.batches[0].column(0).null_count(), 2);
    let answer = engine.query("show tables").await.unwrap();
    assert!(answer.batches.iter().map(|b| b.num_rows()).sum::<usize>() >= TABLES.len());
}

#[tokio::test]
async fn nothing_but_queries() {
    let (folder, engine) = engine(Limits::default()).await;
    let file = folder.path().join("out.csv");
    for statement in [
        "delete from incidents".to_owned(),
        "insert into incidents select * from incidents".to_owned(),
        "update incidents set title = 'x'".to_owned(),
        "drop table incidents".to_owned(),
        "create table t as select 1".to_owned(),
        "create external table t stored as csv location '/etc/passwd'".to_owned(),
        "set datafusion.execution.batch_size = 1".to_owned(),
        format!("copy incidents to '{}'", file.display()),
    ] {
        let refused = engine.query(&statement).await;
        assert!(matches!(refused, Err(SqlError::NotAQuery(_) | SqlError::Query(_))), "{statement}: {refused:?}");
    }
    assert!(!file.exists());
    let answer = engine.query("select count(*) from incidents").await.unwrap();
    assert_eq!(answer.batches[0].column(0).as_primitive::<Int64Type>().value(0), 2);
}

#[tokio::test]
async fn the_reading_connection_cannot_write() {
    let (_folder, store, _) = store().await;
    let Store::Sqlite(pool) = store else { panic!() };
    let refused = sqlx::query("DELETE FROM incidents").execute(&pool).await;
    assert!(refused.unwrap_err().to_string().contains("readonly"));
}

#[tokio::test]
async fn errors_help() {
    let (_folder, engine) = engine(Limits::default()).await;
    let message = |result: Result<sql::Answer, SqlError>| result.unwrap_err().to_string();
    let text = message(engine.query("select * from incident").await);
    assert!(text.contains("did you mean incidents?"), "{text}");
    let text = message(engine.query("select sevrity from incidents").await);
    assert!(text.contains("sevrity"), "{text}");
    let text = message(engine.query("selec 1").await);
    assert!(!text.is_empty());
}

#[tokio::test]
async fn endless_results_are_cut_and_memory_is_bounded() {
    let (_folder, engine) = engine(Limits { memory: 4 << 20, rows: 1000 }).await;
    let answer = engine.query("select * from generate_series(1, 1000000)").await.unwrap();
    assert!(answer.cut);
    assert_eq!(answer.batches.iter().map(|b| b.num_rows()).sum::<usize>(), 1000);
    let bomb = "select a.value, count(*) from generate_series(1, 3000000) a group by 1 order by 2 desc, 1";
    assert!(matches!(engine.query(bomb).await, Err(SqlError::Memory { limit_mb: 4 })));
}
