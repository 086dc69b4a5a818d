//! SQL as people meet it: the shell, `--follow`, and the endpoint of a running aegis.

mod support;

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Connection as _, PgConnection};
use support::alerts::{alert, titles_of};
use support::{Aegis, http, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

fn send(aegis: &Aegis, n: usize) {
    wait_for("an answer", PATIENCE, || {
        let json = "Content-Type: application/json\r\n";
        let sent = http(aegis.dispatcher, "POST", "/webhooks/alertmanager", json, &alert(n));
        sent.filter(|(status, _)| *status < 300)
    });
}

/// Statements from a pipe; what they print, and the exit code.
fn piped(aegis: &Aegis, arguments: &[&str], text: &str) -> (i32, String, String) {
    let mut command = aegis.command();
    command
        .arg("sql")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn statements_from_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(folder.path(), "");
    aegis.start();
    send(&aegis, 1);
    wait_for("the alert", PATIENCE, || (titles_of(&aegis).len() == 1).then_some(()));
    let script = "\\csv\nselect title, -- a comment; with a semicolon\n 'a;b' as x from incidents;\n\\d incidents\nselect count(*) as n\nfrom incidents";
    let (code, out, err) = piped(&aegis, &[], script);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("title,x\nA1 on s1,a;b\n"), "{out}");
    assert!(out.contains("canonical_key,") && out.ends_with("n\n1\n"), "{out}");
    // What is wrong ends a script, and names the statement's fault.
    let (code, out, err) = piped(&aegis, &[], "select 1 as n; selekt 2; select 3 as n;");
    assert!(
        code != 0 && out.contains('1') && !out.contains('3') && err.contains("selekt"),
        "{out}{err}"
    );
    let (code, out, _) = piped(&aegis, &["-", "--json"], "select 7 as n");
    assert_eq!((code, out.as_str()), (0, "{\"n\":7}\n"));
}

#[test]
fn what_is_new_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(folder.path(), "");
    aegis.start();
    send(&aegis, 1);
    wait_for("the alert", PATIENCE, || (titles_of(&aegis).len() == 1).then_some(()));
    let file = folder.path().join("followed");
    let mut command = aegis.command();
    command.args([
        "sql",
        "--follow",
        "--every",
        "0.1",
        "--json",
        "select title from incidents order by title",
    ]);
    command
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&file).unwrap());
    let mut child = command.spawn().unwrap();
    let shown = || std::fs::read_to_string(&file).unwrap();
    wait_for("what is there", PATIENCE, || shown().contains("A1 on s1").then_some(()));
    send(&aegis, 2);
    wait_for("what is new", PATIENCE, || shown().contains("A2 on s2").then_some(()));
    assert_eq!(shown().matches("A1 on s1").count(), 1, "{}", shown());
    let pid = child.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

fn options(port: u16, password: &str) -> PgConnectOptions {
    let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port);
    options
        .username("aegis")
        .password(password)
        .database("aegis")
        .ssl_mode(PgSslMode::Prefer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_aegis_is_asked_over_the_wire() {
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(folder.path(), "");
    let port = aegis.endpoint;
    aegis.start();
    let path = folder.path().join("data/sql-password");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let password = std::fs::read_to_string(&path).unwrap();
    for n in 0..5 {
        send(&aegis, n);
    }
    let mut client = PgConnection::connect_with(&options(port, &password)).await.unwrap();
    let mut count = 0;
    for _ in 0..600 {
        count = sqlx::query_scalar("SELECT count(*) FROM alerts WHERE labels->>'severity' = 'critical'")
            .fetch_one(&mut client)
            .await
            .unwrap();
        if count == 5_i64 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(count, 5);
    wait_for("the tables", PATIENCE, || (titles_of(&aegis).len() == 5).then_some(()));
    // Once, wherever they are now.
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM signals")
        .fetch_one(&mut client)
        .await
        .unwrap();
    assert_eq!(count, 5);
    assert!(aegis.metric("aegis_sql_statements_total") >= 2.0);
    client.close().await.unwrap();
    // The password stays for the next start, and a lost one is made anew.
    assert_eq!(aegis.program.as_mut().map(support::Program::terminate), Some(Some(0)));
    aegis.start();
    PgConnection::connect_with(&options(port, &password)).await.unwrap();
    PgConnection::connect_with(&options(port, "wrong"))
        .await
        .map(|_| ())
        .expect_err("another password");
    let log = aegis.program.as_ref().unwrap().log();
    assert!(!log.contains(password.trim()), "the password is in the log");
}
