//! kill -9: the test program runs itself as a child, which reports what the log acknowledged, and is killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::*;

const CHILD_FOLDER: &str = "AEGIS_TEST_CRASH_FOLDER";
const CHILD_TEST: &str = "crash::the_writer_reports_only_what_the_log_acknowledged";

/// As a child: writes until killed. By itself: writes a little and checks the report.
#[tokio::test(flavor = "multi_thread")]
async fn the_writer_reports_only_what_the_log_acknowledged() {
    if let Some(folder) = std::env::var_os(CHILD_FOLDER) {
        write_and_report(PathBuf::from(folder), usize::MAX, std::io::stdout()).await;
    }
    let folder = tempfile::tempdir().expect("folder");
    let mut report = Vec::new();
    write_and_report(folder.path().to_owned(), 20, &mut report).await;
    let log = open(folder.path()).await;
    check(&log, &String::from_utf8(report).expect("text"), 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_and_doubles_nothing_acknowledged() {
    let folder = tempfile::tempdir().expect("folder");
    for (round, acknowledged) in [(1, 40), (2, 250), (3, 90)] {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", CHILD_TEST, "--nocapture", "--test-threads=1"])
            .env(CHILD_FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("child");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let mut report = String::new();
        let mut seen = 0;
        while seen < acknowledged {
            let line = lines.next().expect("the child writes on").expect("line");
            seen += usize::from(line.starts_with("append "));
            report.push_str(&line);
            report.push('\n');
        }
        child.kill().expect("kill -9");
        // What it still said before it died counts too, except a line cut in the middle.
        let mut rest: Vec<String> = lines.map_while(Result::ok).collect();
        rest.pop();
        report.extend(rest.into_iter().map(|line| line + "\n"));
        child.wait().expect("the child is gone");

        let log = open(folder.path()).await;
        check(&log, &report, acknowledged).await;
        drop(log);
        println!("round {round}: {acknowledged} acknowledged appends, all there");
    }
}

/// Appends to `in`, copies to `out` with commits, and reports each after its acknowledgement. Meanwhile `noise` is
/// dropped as fast as it comes, so that what is kept is moved out of file after file.
async fn write_and_report(folder: PathBuf, count: usize, mut report: impl Write) {
    let settings = EmbeddedSettings {
        segment: HumanSize::kib(16),
        ..EmbeddedSettings::default()
    };
    let log = EmbeddedLog::open(&folder, settings).await.expect("open");
    let noise = TopicSpec {
        retention: Retention {
            bytes: Some(1),
            time: None,
        },
        ..spec("noise", 1)
    };
    log.ensure_topics(&[spec("in", 2), spec("out", 2), noise])
        .await
        .expect("topics");
    let retention = log.clone();
    let retaining = tokio::spawn(async move {
        loop {
            let dropped = retention.enforce_retention(Instant::MIN, |_| None).await;
            dropped.expect("retention");
            tokio::task::yield_now().await;
        }
    });
    let mut member = log.join("copy", &["in".into()]).await.expect("join");
    for n in 0..count {
        let partition = at("in", (n % 2) as u32);
        let value = format!("{}-{n}", std::process::id());
        log.append(&at("noise", 0), vec![record(&"z".repeat(2_000))])
            .await
            .expect("append");
        let offset = log.append(&partition, vec![record(&value)]).await.expect("append");
        writeln!(report, "append {} {} {value}", partition.partition, offset.0).expect("report");
        if n % 5 == 4 {
            copy_all(&log, member.as_mut(), 2).await;
            for partition in 0..2 {
                let position = log.committed("copy", &at("in", partition)).await.expect("committed");
                writeln!(report, "commit {partition} {}", position.map_or(0, |p| p.0)).expect("report");
            }
        }
        report.flush().expect("report");
    }
    retaining.abort();
    // Cancelled, unless it failed: then this says so.
    assert!(retaining.await.expect_err("it never ends by itself").is_cancelled());
}

/// Every reported append stands at its offset once; what was copied is exactly what the positions say.
async fn check(log: &EmbeddedLog, report: &str, least: usize) {
    let mut appended = BTreeMap::new();
    let mut committed = BTreeMap::new();
    for line in report.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["append", partition, offset, value] => {
                let place: (u32, u64) = (partition.parse().expect("partition"), offset.parse().expect("offset"));
                appended.insert(place, value.to_owned());
            }
            ["commit", partition, position] => {
                let partition: u32 = partition.parse().expect("partition");
                committed.insert(partition, position.parse::<u64>().expect("position"));
            }
            _ => {}
        }
    }
    assert!(appended.len() >= least, "{} of {least} reported", appended.len());
    for partition in 0..2 {
        let stored = values(log, &at("in", partition)).await;
        for ((_, offset), value) in appended.range((partition, 0)..(partition + 1, 0)) {
            assert_eq!(stored.get(*offset as usize), Some(value), "in/{partition} at {offset}");
        }
        let distinct: std::collections::BTreeSet<&String> = stored.iter().collect();
        assert_eq!(distinct.len(), stored.len(), "in/{partition} holds something twice");
        let position = log
            .committed("copy", &at("in", partition))
            .await
            .expect("committed")
            .map_or(0, |p| p.0);
        assert!(
            position >= committed.get(&partition).copied().unwrap_or(0),
            "a reported commit of {partition} is gone"
        );
        let copied = values(log, &at("out", partition)).await;
        assert_eq!(
            copied,
            stored[..position as usize],
            "out/{partition} is what the position {position} says"
        );
    }
}
