//! Real programs for the end-to-end tests: each on loopback, on a port of its own, in a folder of its own, stopped when
//! dropped.
#![allow(dead_code)] // Each test binary uses its own part.

pub mod alerts;
pub mod server;
pub mod site;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The value of `name`; `None` (with a word on stderr) when it is unset and tests may do without. With
/// `AEGIS_TEST_REQUIRE=1` an unset variable fails the test.
pub fn required(name: &str) -> Option<String> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Some(value),
        _ if std::env::var("AEGIS_TEST_REQUIRE").is_ok_and(|v| v == "1") => {
            panic!("{name} is not set: run the tests through `make test`")
        }
        _ => {
            eprintln!("not run: {name} is not set (see scripts/test-services.sh)");
            None
        }
    }
}

/// A port for a program that must be told its own.
pub fn free_port() -> u16 {
    world::free_port().expect("loopback has a free port")
}

/// A program, killed when dropped.
pub struct Program {
    pub name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let out = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .expect("log file");
        let err = out.try_clone().expect("log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {name} ({command:?}): {e}"));
        Program {
            name: name.to_owned(),
            child,
            log,
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, then the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        wait_for(&format!("{} to stop", self.name), Duration::from_secs(60), || {
            self.child.try_wait().ok().flatten().map(|status| status.code())
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!(
                "--- {}\n{}",
                self.name,
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
    }
}

/// Asks until there is an answer; panics at the deadline.
pub fn wait_for<T>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + deadline;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "waited {deadline:?} for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A GET over plain HTTP/1.1: status and body. `None` when nobody answers.
pub fn http_get(port: u16, path: &str) -> Option<(u16, String)> {
    http(port, "GET", path, "", "")
}

/// A request over plain HTTP/1.1; `headers` are whole lines, each closed by CRLF.
pub fn http(port: u16, method: &str, path: &str, headers: &str, body: &str) -> Option<(u16, String)> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split_whitespace().nth(1)?.parse().ok()?;
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default();
    Some((status, body))
}

/// A database of its own on the PostgreSQL at `server`; its URL.
pub async fn database(server: &str, name: &str) -> String {
    use sqlx::{Connection as _, Executor as _};
    let name = format!("{name}_{}", uuid::Uuid::new_v4().simple());
    let mut connection = sqlx::PgConnection::connect(server).await.expect("the server answers");
    connection
        .execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .await
        .expect("a new database");
    let (server, _) = server.rsplit_once('/').expect("a URL with a database");
    format!("{server}/{name}")
}

/// An `aegis` with a configuration of its own.
pub struct Aegis {
    pub folder: PathBuf,
    pub dispatcher: u16,
    pub gateway: u16,
    /// SQL over PostgreSQL's wire protocol.
    pub endpoint: u16,
    /// The Model Context Protocol.
    pub mcp: u16,
    /// The page for people.
    pub dashboard: u16,
    pub program: Option<Program>,
    environment: Vec<(String, String)>,
}

impl Aegis {
    /// `extra`: more of `aegis.toml`, from a table's head on. Not started yet.
    pub fn new(folder: &Path, extra: &str) -> Self {
        Self::with_dispatcher(folder, extra)
    }

    /// As [`Aegis::new`]; what comes before the first table's head in `extra` belongs to `[dispatcher]`.
    pub fn with_dispatcher(folder: &Path, extra: &str) -> Self {
        let [dispatcher, gateway, endpoint, mcp, dashboard] = std::array::from_fn(|_| free_port());
        std::fs::create_dir_all(folder).expect("folder");
        let config = format!(
            "[data]\ndir = \"{0}/data\"\n[gateway]\nlisten = \"127.0.0.1:{gateway}\"\n[dispatcher]\nlisten = \"127.0.0.1:{dispatcher}\"\n{extra}",
            folder.display()
        );
        std::fs::write(folder.join("aegis.toml"), config).expect("configuration");
        Aegis {
            folder: folder.to_owned(),
            dispatcher,
            gateway,
            program: None,
            environment: vec![
                ("AEGIS_SQL__LISTEN".to_owned(), format!("127.0.0.1:{endpoint}")),
                ("AEGIS_MCP__LISTEN".to_owned(), format!("127.0.0.1:{mcp}")),
                ("AEGIS_DASHBOARD__LISTEN".to_owned(), format!("127.0.0.1:{dashboard}")),
            ],
            endpoint,
            mcp,
            dashboard,
        }
    }

    /// Where a SQL client finds the endpoint of this `aegis`, once it runs.
    pub fn endpoint_url(&self) -> String {
        let password = std::fs::read_to_string(self.folder.join("data/sql-password")).expect("made at the start");
        format!("postgres://aegis:{}@127.0.0.1:{}/aegis", password.trim(), self.endpoint)
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another value for the next start; `None` takes the variable away.
    pub fn set_env(&mut self, name: &str, value: Option<&str>) {
        self.environment.retain(|(known, _)| known != name);
        self.environment
            .extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aegis"));
        command.arg("--config").arg(self.folder.join("aegis.toml"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// `aegis run`, without waiting for anything.
    pub fn spawn(&mut self) {
        self.spawn_with(&[]);
    }

    /// As [`Aegis::spawn`], with further arguments.
    pub fn spawn_with(&mut self, arguments: &[&str]) {
        let mut command = self.command();
        command.arg("run").args(arguments);
        self.program = Some(Program::start("aegis", &mut command, &self.folder));
    }

    /// `aegis run`, until it says it is healthy.
    pub fn start(&mut self) {
        self.spawn();
        let Some(mut program) = self.program.take() else { return };
        wait_for("aegis to be healthy", Duration::from_secs(60), || {
            assert!(program.running(), "aegis ended:\n{}", program.log());
            http_get(self.gateway, "/healthz").filter(|(status, _)| *status == 200)
        });
        self.program = Some(program);
    }

    pub fn kill(&mut self) {
        self.program.take();
    }

    /// Runs a command to its end: exit code, stdout, stderr.
    pub fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self
            .command()
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("aegis starts");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (
            output.status.code().unwrap_or(-1),
            text(output.stdout),
            text(output.stderr),
        )
    }

    /// `aegis sql QUERY --json`, one object per row.
    pub fn sql(&self, query: &str) -> Vec<Value> {
        let (code, out, err) = self.run(&["sql", query, "--json"]);
        assert_eq!(code, 0, "{query}\n{out}\n{err}");
        out.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    /// (title, status) of every incident, sorted.
    pub fn incidents(&self) -> Vec<(String, String)> {
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let rows = self.sql("select title, status from incidents order by title, status");
        rows.iter()
            .map(|row| (text(row, "title"), text(row, "status")))
            .collect()
    }

    /// Value of a counter or gauge on /metrics, summed over its labels; 0 when absent.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = http_get(self.gateway, "/metrics").unwrap_or_default();
        text.lines()
            .filter(|line| line.starts_with(name) && !line.starts_with('#'))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}
