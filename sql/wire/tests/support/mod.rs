//! A server over a store with three incidents.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use model::{Fact, topics};
use sinks::SqlSink;
use sql::{Engine, Recent, SqlSourceConfig};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Connection as _, PgConnection};
use stream::Sink as _;
use stream::secret::Secret;
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use wire::{Server, SqlServerSettings};

use crate::databases::Database;
use crate::samples::*;

pub const PASSWORD: &str = "correct horse";

pub struct Site {
    pub address: SocketAddr,
    pub folder: TempDir,
    pub database: Database,
    pub recent: Recent,
    _stop: DropGuard,
}

impl Site {
    pub async fn open(change: impl FnOnce(&mut SqlServerSettings)) -> Site {
        Self::in_folder(tempfile::tempdir().unwrap(), change).await
    }

    /// `None` where openssl, which makes the certificate, is missing.
    pub async fn with_certificate() -> Option<Site> {
        let folder = tempfile::tempdir().unwrap();
        let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("cert.pem"));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ])
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1",
            ])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .ok()?;
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let change = |settings: &mut SqlServerSettings| {
            (settings.tls_certificate, settings.tls_key) = (Some(certificate), Some(key));
        };
        Some(Self::in_folder(folder, change).await)
    }

    async fn in_folder(folder: TempDir, change: impl FnOnce(&mut SqlServerSettings)) -> Site {
        let database = Database::sqlite();
        let mut sink = SqlSink::new(database.open().await);
        let mut records = Vec::new();
        for (i, name) in ["a", "b", "c"].iter().enumerate() {
            let opened = Fact::Opened { member: member(name) };
            records.push(event_record(i as u64, &event(name, 1, 1, opened)));
        }
        sink.write(&log(), &[batch(topics::INCIDENTS, 0, 0, 3, records)])
            .await
            .unwrap();

        let mut settings = SqlServerSettings {
            listen: ([127, 0, 0, 1], 0).into(),
            ..SqlServerSettings::default()
        };
        change(&mut settings);
        assert_eq!(settings.faults(), [""; 0]);
        let source = SqlSourceConfig {
            url: database.url.clone(),
            password: None,
        };
        let recent = Recent::new(1 << 20);
        let options = sql::EngineOptions {
            memory_bytes: usize::try_from(settings.memory.0).unwrap(),
            ..sql::EngineOptions::default()
        };
        let engine = Engine::open_with(source, None, options)
            .await
            .unwrap()
            .with_recent(recent.clone());
        let server = Server::bind(&settings, &Secret::from(PASSWORD), &engine).await.unwrap();
        let address = server.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(server.serve(stop.clone()));
        Site {
            address,
            folder,
            database,
            recent,
            _stop: stop.drop_guard(),
        }
    }

    pub fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.address.port())
            .username("aegis")
            .password(PASSWORD)
            .database("aegis")
            .ssl_mode(PgSslMode::Prefer)
    }

    pub async fn client(&self) -> PgConnection {
        PgConnection::connect_with(&self.options()).await.unwrap()
    }

    pub async fn engine_setting(&self, name: &str, client: &mut PgConnection) -> String {
        let sql = format!("SELECT value FROM information_schema.df_settings WHERE name = '{name}'");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(client)
            .await
            .unwrap()
    }

    /// psql comes with the PostgreSQL server that the tests install.
    pub fn has_psql(&self) -> bool {
        let found = Command::new("psql").arg("--version").output().is_ok();
        let wanted = std::env::var_os("AEGIS_TEST_REQUIRE").is_some();
        assert!(found || !wanted, "psql is missing");
        found
    }

    pub fn psql_command(&self, text: &str) -> Command {
        let mut command = Command::new("psql");
        command
            .args([
                "-X",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                "127.0.0.1",
                "-U",
                "aegis",
                "-d",
                "aegis",
                "-c",
                text,
            ])
            .args(["-p", &self.address.port().to_string()])
            .env("PGPASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn psql(&self, text: &str) -> (i32, String, String) {
        let output = self.psql_command(text).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (
            output.status.code().unwrap_or(-1),
            text(output.stdout),
            text(output.stderr),
        )
    }
}

/// What a program said, once it has ended.
pub fn said(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
