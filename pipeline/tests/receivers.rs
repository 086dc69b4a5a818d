//! Receivers that hang, fail, talk rubbish or answer twice, beside one that is well: it hears everything, detection and the fix go on, and what
//! the others did not take is a dead letter of theirs.

mod support;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use support::alerts::alert;
use support::site::{ALLOW, PATIENCE, Site};
use support::{Aegis, http, wait_for};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What is written back to a request; nothing, and the connection left open, for [`Manner::Hangs`].
#[derive(Clone, Copy, Debug)]
enum Manner {
    Well,
    Hangs,
    Fails,
    Rubbish,
    Twice,
}

const WELL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const FAILS: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";

/// A receiver and the events that it was told, in order, each with its incident.
struct Receiver {
    url: String,
    told: Arc<Mutex<Vec<(String, String)>>>,
}

impl Receiver {
    async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, manner, heard.clone()));
            }
        });
        Receiver { url, told }
    }

    fn told(&self) -> Vec<String> {
        let told = self.told.lock().unwrap();
        told.iter().map(|(event, _)| event.clone()).collect()
    }

    /// How many incidents it heard of.
    fn incidents(&self) -> usize {
        let told = self.told.lock().unwrap();
        told.iter().map(|(_, incident)| incident).collect::<BTreeSet<_>>().len()
    }
}

async fn serve(mut stream: TcpStream, manner: Manner, told: Arc<Mutex<Vec<(String, String)>>>) {
    let mut buffer = Vec::new();
    loop {
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        while let Some((body, end)) = request(&buffer) {
            buffer.drain(..end);
            let said = &body["notification"];
            let event = said["event"].as_str().unwrap_or("summary").to_owned();
            let incident = said["incident_id"].as_str().unwrap_or_default().to_owned();
            told.lock().unwrap().push((event, incident));
            let answer = match manner {
                Manner::Well => WELL.to_owned(),
                Manner::Twice => format!("{WELL}{WELL}"),
                Manner::Fails => FAILS.to_owned(),
                Manner::Rubbish => "\u{0}\u{1} no HTTP at all \u{7f}".repeat(1_000),
                Manner::Hangs => continue,
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// The body of the first whole request, and where it ends.
fn request(buffer: &[u8]) -> Option<(Value, usize)> {
    let head = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&buffer[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    let end = head + length.trim().parse::<usize>().ok()?;
    let body = buffer.get(head..end)?;
    Some((serde_json::from_slice(body).ok()?, end))
}

#[test]
fn the_sick_hold_up_nobody() {
    let serving = tokio::runtime::Runtime::new().unwrap();
    let manners = [
        ("well", Manner::Well),
        ("hangs", Manner::Hangs),
        ("fails", Manner::Fails),
        ("rubbish", Manner::Rubbish),
        ("twice", Manner::Twice),
    ];
    let receivers = manners.map(|(name, manner)| (name, serving.block_on(Receiver::start(manner))));
    let named = receivers.each_ref().map(|(name, receiver)| {
        let url = &receiver.url;
        format!("[notify.receivers.{name}]\nkind = \"webhook\"\nurl = \"{url}\"\nattempts = 2\ntimeout = \"3s\"\n")
    });
    let names = manners.map(|(name, _)| format!("{name:?}")).join(", ");
    let extra = format!("{}[[notify.routes]]\nreceivers = [{names}]\n", named.concat());
    let mut site = Site::prepared(ALLOW, |_| extra, |_| {});
    site.aegis.start();
    site.log_oom();
    site.alert();
    site.remediation("verified");
    site.incident("the incident resolved by the agent", |row| {
        row["resolved_by"] == "agent"
    });
    let [(_, well), .., (_, twice)] = &receivers;
    let events = wait_for("the end to be told to who is well", PATIENCE, || {
        Some(well.told()).filter(|told| told.iter().any(|event| event == "closed"))
    });
    assert_eq!(events[0], "opened", "{events:?}");
    assert!(events.contains(&"remediation_verified".to_owned()), "{events:?}");
    wait_for("and to who answers twice, the same", PATIENCE, || {
        (twice.told() == events).then_some(())
    });
    for sick in ["hangs", "fails", "rubbish"] {
        wait_for(&format!("what {sick} did not take"), PATIENCE, || {
            let query = format!("select reason from dead_letters where stage = 'sink.notify-{sick}'");
            let letters = site.aegis.sql(&query);
            assert!(
                letters.iter().all(|letter| letter["reason"] == "undelivered"),
                "{letters:?}"
            );
            (!letters.is_empty()).then_some(())
        });
    }
    let letters = site.aegis.sql("select distinct stage from dead_letters order by 1");
    assert_eq!(letters.len(), 3, "of nobody else: {letters:?}");
}

/// One alert after the other, of services that are each an incident of their own.
fn fire(aegis: &Aegis, number: usize) {
    let json = "Content-Type: application/json\r\n";
    // What is older is history, of which nobody is told.
    let now = chrono::Utc::now().to_rfc3339();
    let body = alert(number).replace("2026-11-01T00:00:00Z", &now);
    wait_for("an answer of the dispatcher", PATIENCE, || {
        let answer = http(aegis.dispatcher, "POST", "/webhooks/alertmanager", json, &body);
        answer.filter(|(status, _)| *status == 202).map(|_| ())
    });
}

#[test]
fn a_silence_holds_across_a_death_and_ends_over_rest() {
    let serving = tokio::runtime::Runtime::new().unwrap();
    let receiver = serving.block_on(Receiver::start(Manner::Well));
    let folder = tempfile::tempdir().unwrap();
    let extra = format!(
        "[gateway.tokens.ann]\ntoken = \"token-of-ann\"\nrole = \"responder\"\n[notify.receivers.bot]\nkind = \"webhook\"\nurl = \"{}\"\n\
         [[notify.routes]]\nreceivers = [\"bot\"]\n",
        receiver.url
    );
    let mut aegis = Aegis::new(folder.path(), &extra);
    aegis.start();
    fire(&aegis, 0);
    wait_for("the first one to be told", PATIENCE, || {
        (receiver.incidents() == 1).then_some(())
    });
    let severity = aegis.sql("select severity from incidents")[0]["severity"]
        .as_str()
        .unwrap()
        .to_owned();
    let add = [
        "silences",
        "add",
        "--severity",
        &severity,
        "--for",
        "1h",
        "--because",
        "a move",
        "--json",
    ];
    let (code, out, err) = aegis.run(&add);
    assert_eq!(code, 0, "{out} {err}");
    let silence: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&silence["state"], &silence["comment"]),
        (&"active".into(), &"a move".into())
    );
    fire(&aegis, 1);
    let held = || aegis_sql_count(&aegis, "select count(*) as n from incidents");
    wait_for("the second incident", PATIENCE, || (held() == 2).then_some(()));
    wait_for("what is held back", PATIENCE, || {
        (aegis.metric("aegis_notify_total{receiver=\"bot\",outcome=\"silenced\"}") >= 1.0).then_some(())
    });
    aegis.kill();
    aegis.start();
    fire(&aegis, 2);
    wait_for("the third incident", PATIENCE, || {
        (aegis.metric("aegis_notify_total{receiver=\"bot\",outcome=\"silenced\"}") >= 1.0).then_some(())
    });
    assert_eq!(
        receiver.incidents(),
        1,
        "nobody is told in a silence: {:?}",
        receiver.told()
    );
    let token = "Authorization: Bearer token-of-ann\r\nContent-Type: application/json\r\n";
    let incidents = aegis.sql("select id, title from incidents");
    let about = format!("/api/v1/silences?incident={}", incidents[0]["id"].as_str().unwrap());
    let (status, body) = http(aegis.gateway, "GET", &about, token, "").unwrap();
    let list: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &list["silences"][0]["id"]), (200, &silence["id"]), "{body}");
    let end = format!("/api/v1/silences/{}/end", silence["id"].as_str().unwrap());
    let (status, body) = http(aegis.gateway, "POST", &end, token, "").unwrap();
    assert_eq!(status, 200, "{body}");
    wait_for("what is open to be told", PATIENCE, || {
        (receiver.incidents() == 3).then_some(())
    });
    let (status, body) = http(aegis.gateway, "POST", &end, token, "").unwrap();
    assert_eq!(status, 409, "{body}");
    // And with nobody running.
    aegis.kill();
    let (code, out, err) = aegis.run(&["silences", "list", "--all", "--json"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("human:ann") && out.lines().count() == 1, "{out}");
    let (code, _, err) = aegis.run(&["silences", "add", "--for", "1h", "--because", "x"]);
    assert!(code == 1 && err.contains("services"), "{code} {err}");
}

fn aegis_sql_count(aegis: &Aegis, query: &str) -> i64 {
    aegis.sql(query)[0]["n"].as_i64().unwrap()
}
