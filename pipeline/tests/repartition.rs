//! `aegis repartition`, on both logs: killed at every place and started again, with incidents open and items held across the
//! switch, up and down. Nothing is lost, nothing stands twice, and the books balance before and after.

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use stream::failpoint::COMMAND_PLACES;
use support::{Aegis, required};

/// One alert: name, service, severity, start (minute of the hour), and its end if it is over.
struct Alert(&'static str, &'static str, &'static str, u32, Option<u32>);

fn notification(folder: &Path, name: &str, environment: &str, alerts: &[Alert]) -> PathBuf {
    let time = |minute: &u32| format!("2026-11-01T10:{minute:02}:00Z");
    let body: Vec<String> = alerts
        .iter()
        .map(|Alert(name, service, severity, from, to)| {
            let status = if to.is_some() { "resolved" } else { "firing" };
            let ends_at = to.as_ref().map_or("0001-01-01T00:00:00Z".to_owned(), time);
            format!(
                r#"{{"status":"{status}","labels":{{"alertname":"{name}","service":"{service}","severity":"{severity}","environment":"{environment}"}},"annotations":{{}},"startsAt":"{}","endsAt":"{ends_at}","generatorURL":"","fingerprint":"{name}{service}{environment}"}}"#,
                time(from)
            )
        })
        .collect();
    let path = folder.join(format!("{name}-{environment}.json"));
    let body = format!(
        r#"{{"version":"4","groupKey":"k","status":"firing","receiver":"r","truncatedAlerts":0,"groupLabels":{{}},"commonLabels":{{}},"commonAnnotations":{{}},"externalURL":"http://a","alerts":[{}]}}"#,
        body.join(",")
    );
    std::fs::write(&path, body).unwrap();
    path
}

const ENVIRONMENTS: &[&str] = &["prod", "staging", "test", "lab"];

/// Takes a notification for each environment.
fn ingest(aegis: &Aegis, name: &str, alerts: &[Alert]) -> Value {
    let files = ENVIRONMENTS.iter().map(|environment| {
        notification(&aegis.folder, name, environment, alerts)
            .display()
            .to_string()
    });
    let files: Vec<String> = files.collect();
    let mut arguments = vec!["ingest", "--json"];
    arguments.extend(files.iter().map(String::as_str));
    let (code, out, err) = aegis.run(&arguments);
    assert_eq!(code, 0, "{out}{err}");
    serde_json::from_str(&out).unwrap()
}

/// (environment, title, status, members) of all incidents.
fn incidents(aegis: &Aegis) -> Vec<(String, String, String, i64)> {
    let rows = aegis.sql("select id, environment, status, members from incidents order by environment, id");
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    rows.iter()
        .map(|row| {
            let members = row["members"].as_i64().unwrap();
            (text(row, "environment"), text(row, "id"), text(row, "status"), members)
        })
        .collect()
}

fn number(aegis: &Aegis, query: &str) -> i64 {
    aegis.sql(query)[0]["n"].as_i64().unwrap()
}

fn balances(aegis: &Aegis) -> Value {
    let (code, out, err) = aegis.run(&["audit", "conservation", "--json"]);
    assert_eq!(code, 0, "the books balance:\n{out}\n{err}");
    serde_json::from_str(&out).unwrap()
}

fn held(report: &Value) -> i64 {
    let stages = report["stages"].as_array().unwrap();
    stages.iter().map(|stage| stage["held"].as_i64().unwrap()).sum()
}

fn moved(aegis: &Aegis, partitions: &str) -> Value {
    let (code, out, err) = aegis.run(&["repartition", "--partitions", partitions, "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    serde_json::from_str(&out).unwrap()
}

/// `deaths`: every how many-th of the places it dies at. The last one is always among them.
fn check(aegis: &mut Aegis, deaths: usize) {
    let environments = ENVIRONMENTS.len() as i64;
    // An incident; one that is too mild for an incident of its own and waits; an end whose beginning has not come.
    ingest(
        aegis,
        "first",
        &[
            Alert("Down", "api", "critical", 0, None),
            Alert("Mild", "web", "info", 0, None),
            Alert("Early", "db", "critical", 1, Some(2)),
        ],
    );
    let before = incidents(aegis);
    assert_eq!(before.len() as i64, environments, "{before:?}");
    let owed = held(&balances(aegis));
    assert_eq!(owed, 2 * environments, "the mild and the early ones are held");

    let (code, out, err) = aegis.run(&["repartition", "--partitions", "4", "--dry-run"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("2 -> 4") && out.contains("nothing was changed"), "{out}");

    for (place, _) in COMMAND_PLACES.iter().skip(deaths - 1).step_by(deaths) {
        aegis.set_env("AEGIS_TEST_FAILPOINT", Some(&format!("{place}:1")));
        let (code, out, err) = aegis.run(&["repartition", "--partitions", "4"]);
        assert_eq!(code, -1, "it dies at {place}: {out}{err}");
        aegis.set_env("AEGIS_TEST_FAILPOINT", None);
        let (code, _, err) = aegis.run(&["ingest", "/dev/null"]);
        match *place {
            "repartition.switched" => {
                assert_eq!(code, 3, "{err}");
                assert!(err.contains("set topics.partitions = 4"), "{err}");
            }
            _ => {
                assert_eq!(code, 5, "nothing starts after {place}: {err}");
                assert!(err.contains("aegis repartition --partitions 4"), "{err}");
                let (code, _, err) = aegis.run(&["repartition", "--partitions", "3"]);
                assert_eq!(code, 2, "{err}");
                let (code, out, _) = aegis.run(&["upgrade", "--check"]);
                assert!(code == 1 && out.contains("has not ended"), "{out}");
            }
        }
    }
    assert_eq!(moved(aegis, "4")["outcome"], "nothing_to_do");
    aegis.set_env("AEGIS_TOPICS__PARTITIONS", Some("4"));
    let report = balances(aegis);
    assert_eq!(held(&report), owed, "what is held went along");
    assert_eq!(incidents(aegis), before, "nothing else happened");

    // Later ones: each joins what was open, the early end gets its beginning, repeats are known.
    let summary = ingest(
        aegis,
        "second",
        &[
            Alert("Down", "api", "critical", 0, None),
            Alert("Slow", "api", "warning", 5, None),
            Alert("Broken", "web", "critical", 6, None),
            Alert("Early", "db", "critical", 1, None),
        ],
    );
    assert_eq!(summary["repeats"], environments, "{summary}");
    let after = incidents(aegis);
    for one in &before {
        let same = after
            .iter()
            .find(|(_, id, _, _)| *id == one.1)
            .expect("the same incident");
        assert_eq!((same.2.as_str(), same.3), ("open", 2), "{after:?}");
    }
    // The broken one takes in the mild one that had waited for it; the early one opened and ended.
    assert_eq!(after.len() as i64, 3 * environments, "{after:?}");
    let members: i64 = after.iter().map(|one| one.3).sum();
    assert_eq!(members, 5 * environments);
    assert_eq!(held(&balances(aegis)), 0);

    // And down again, in one go.
    let summary = moved(aegis, "1");
    assert_eq!(
        (&summary["outcome"], &summary["partitions_before"]),
        (&"moved".into(), &4.into())
    );
    aegis.set_env("AEGIS_TOPICS__PARTITIONS", Some("1"));
    ingest(
        aegis,
        "third",
        &[
            Alert("Down", "api", "critical", 0, Some(9)),
            Alert("Slow", "api", "warning", 5, Some(9)),
        ],
    );
    let last = incidents(aegis);
    assert_eq!(last.len(), after.len());
    for one in &before {
        let same = last
            .iter()
            .find(|(_, id, _, _)| *id == one.1)
            .expect("the same incident");
        assert_eq!((same.2.as_str(), same.3), ("resolved", 2), "{last:?}");
    }
    balances(aegis);
    // In the tables and in the archive together.
    assert_eq!(number(aegis, "select count(*) as n from signals"), 9 * environments);
    assert_eq!(
        number(aegis, "select count(distinct id) as n from signals"),
        9 * environments - environments
    );
    let (code, out, err) = aegis.run(&["upgrade", "--check"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("generation 2 with 1 partitions"), "{out}");
}

#[test]
fn on_the_embedded_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(folder.path(), "").env("AEGIS_TOPICS__PARTITIONS", "2");
    let (code, _, err) = aegis.run(&["repartition", "--partitions", "4"]);
    assert_eq!(code, 4, "{err}");
    check(&mut aegis, 1);
    let (code, out, _) = aegis.run(&["upgrade", "--check"]);
    assert!(code == 0 && out.contains("embedded log format 2"), "{out}");
}

#[test]
fn on_kafka() {
    let Some(kafka) = required("AEGIS_TEST_KAFKA") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let prefix = format!("{}.", uuid::Uuid::new_v4().simple());
    let mut aegis = Aegis::new(folder.path(), &on(&kafka, &prefix)).env("AEGIS_TOPICS__PARTITIONS", "2");
    // Each start takes a broker some seconds.
    check(&mut aegis, 2);
}

fn on(kafka: &str, prefix: &str) -> String {
    format!(
        "[log]\nkind = \"kafka\"\n[log.kafka]\nbootstrap_servers = [\"{kafka}\"]\ntopic_prefix = \"{prefix}\"\nsession_timeout_ms = 6000\n"
    )
}

#[test]
fn it_is_refused_while_an_aegis_runs_and_can_be_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(folder.path(), "").env("AEGIS_TOPICS__PARTITIONS", "2");
    aegis.start();
    let (code, _, err) = aegis.run(&["repartition", "--partitions", "4"]);
    assert_eq!(code, 5, "{err}");
    assert!(err.contains("stop it first"), "{err}");
    assert_eq!(aegis.program.as_mut().map(support::Program::terminate), Some(Some(0)));

    let (code, _, err) = aegis.run(&["repartition", "--abandon"]);
    assert_eq!(code, 4, "{err}");
    aegis.set_env("AEGIS_TEST_FAILPOINT", Some("repartition.copied:1"));
    assert_eq!(aegis.run(&["repartition", "--partitions", "4"]).0, -1);
    aegis.set_env("AEGIS_TEST_FAILPOINT", None);
    let (code, out, err) = aegis.run(&["repartition", "--abandon"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("generation 0 with 2 partitions goes on"), "{out}");
    ingest(&aegis, "after", &[Alert("Down", "api", "critical", 0, None)]);
    // The next attempt is another generation: nothing of the one that was given up is used.
    let summary = moved(&aegis, "3");
    assert_eq!(
        (&summary["generation"], &summary["resumed"]),
        (&2.into(), &false.into())
    );
    aegis.set_env("AEGIS_TOPICS__PARTITIONS", Some("3"));
    assert_eq!(incidents(&aegis).len(), ENVIRONMENTS.len());
    balances(&aegis);
}

#[test]
fn on_kafka_it_is_refused_while_somebody_reads() {
    let Some(kafka) = required("AEGIS_TEST_KAFKA") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let prefix = format!("{}.", uuid::Uuid::new_v4().simple());
    let process =
        |name: &str| Aegis::new(&folder.path().join(name), &on(&kafka, &prefix)).env("AEGIS_TOPICS__PARTITIONS", "2");
    let (mut one, two) = (process("one"), process("two"));
    one.start();
    support::wait_for("a stage to read", std::time::Duration::from_secs(60), || {
        (one.metric("aegis_stage_watermark_lag_seconds") != 0.0).then_some(())
    });
    std::fs::create_dir_all(two.folder.join("data")).unwrap();
    let (code, _, err) = two.run(&["repartition", "--partitions", "4"]);
    assert_eq!(code, 5, "{err}");
    assert!(err.contains("members: stop every aegis"), "{err}");
    assert_eq!(one.program.as_mut().map(support::Program::terminate), Some(Some(0)));
}
