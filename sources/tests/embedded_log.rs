//! The embedded log: the conformance suite, what survives a reopening, and what a fault may do to it.

#[path = "embedded_log/crash.rs"]
mod crash;
#[path = "embedded_log/power.rs"]
mod power;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sources::embedded::{EmbeddedLog, EmbeddedSettings};
use stream::human::{HumanDuration, HumanSize};
use stream::log::{Retention, conformance};
use stream::time::ManualClock;
use stream::{
    Commit, Instant, Log, LogError, Member, MemberEvent, NewRecord, Offset, Record, TopicPartition, TopicSpec,
};

const PULSE: Duration = Duration::from_millis(100);

async fn open(folder: &Path) -> EmbeddedLog {
    EmbeddedLog::open(folder, EmbeddedSettings::default())
        .await
        .expect("open")
}

fn spec(name: &str, partitions: u32) -> TopicSpec {
    TopicSpec {
        name: name.into(),
        partitions,
        retention: Retention::default(),
    }
}

fn files(log: &Path) -> PathBuf {
    log.join("segments")
}

/// The segment files, oldest first.
fn segments(log: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(files(log)).expect("folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    paths.sort_unstable();
    paths
}

fn only_segment(log: &Path) -> PathBuf {
    let all = segments(log);
    assert_eq!(all.len(), 1, "one file so far");
    all[0].clone()
}

fn record(value: &str) -> NewRecord {
    NewRecord {
        value: Bytes::copy_from_slice(value.as_bytes()),
        ..NewRecord::default()
    }
}

fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

async fn read_all(log: &EmbeddedLog, partition: &TopicPartition) -> Vec<Record> {
    let bounds = log.bounds(partition).await.expect("bounds");
    let mut reader = log.reader(partition, bounds.start).await.expect("reader");
    let (mut all, mut position) = (Vec::new(), bounds.start);
    while position < bounds.end {
        let (records, next) = reader.read(1_000, PULSE).await.expect("read");
        assert!(
            !records.is_empty(),
            "{partition} has records up to {:?}, reading stopped at {position:?}",
            bounds.end
        );
        all.extend(records);
        position = next;
    }
    all
}

async fn values(log: &EmbeddedLog, partition: &TopicPartition) -> Vec<String> {
    let records = read_all(log, partition).await;
    records
        .iter()
        .map(|record| String::from_utf8_lossy(&record.value).into_owned())
        .collect()
}

/// Copies everything that is there from `in` to `out`, one commit per fetch of at most `chunk` records.
async fn copy_all(log: &EmbeddedLog, member: &mut dyn Member, chunk: usize) {
    loop {
        match member.next(PULSE).await.expect("next") {
            Some(MemberEvent::Fetched { partition, records }) => {
                for part in records.chunks(chunk) {
                    let copies = part
                        .iter()
                        .map(|r| NewRecord {
                            value: r.value.clone(),
                            ..NewRecord::default()
                        })
                        .collect();
                    let next = Offset(part[part.len() - 1].offset.0 + 1);
                    let outputs = vec![(at("out", partition.partition), copies)];
                    member
                        .commit(Commit {
                            outputs,
                            positions: vec![(partition.clone(), next)],
                        })
                        .await
                        .expect("commit");
                    let committed = log.committed("copy", &partition).await.expect("committed");
                    assert_eq!(committed, Some(next));
                }
            }
            Some(MemberEvent::Drained) => return,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    let folder = tempfile::tempdir().expect("folder");
    assert_eq!(conformance::run_all(Arc::new(open(folder.path()).await)).await, 24);
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_when_everything_is_read_from_small_segments_on_disk() {
    let folder = tempfile::tempdir().expect("folder");
    let settings = EmbeddedSettings {
        segment: HumanSize::kib(16),
        cache: HumanSize(0),
        ..EmbeddedSettings::default()
    };
    let log = EmbeddedLog::open(folder.path(), settings).await.expect("open");
    assert_eq!(conformance::run_all(Arc::new(log)).await, 24);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_by_size_and_by_time_drops_segments_below_the_floor() {
    let kept = [
        Retention {
            bytes: Some(1),
            time: None,
        },
        Retention {
            bytes: None,
            time: Some(Duration::from_secs(60)),
        },
    ];
    for retention in kept {
        let folder = tempfile::tempdir().expect("folder");
        let settings = EmbeddedSettings {
            segment: HumanSize::kib(10),
            ..EmbeddedSettings::default()
        };
        let clock = Arc::new(ManualClock::at(Instant::from_millis(1_000)));
        let log = EmbeddedLog::open_with_clock(folder.path(), settings, clock)
            .await
            .expect("open");
        let too_early = Instant::from_millis(2_000);
        let late = Instant::from_millis(3_600_000);
        let drop_below = async |partition: TopicPartition, floor: Offset| {
            if retention.time.is_some() {
                assert_eq!(log.enforce_retention(too_early, |_| None).await.expect("retention"), []);
            }
            assert_eq!(
                log.enforce_retention(late, |_| Some(Offset(0)))
                    .await
                    .expect("retention"),
                []
            );
            let dropped = log.enforce_retention(late, |_| Some(floor)).await.expect("retention");
            assert_eq!((dropped.len(), &dropped[0].partition), (1, &partition));
            assert!(dropped[0].segments >= 2 && dropped[0].bytes > 20_000, "{dropped:?}");
        };
        conformance::retention(Arc::new(log.clone()), 100, retention, drop_below).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_empties_a_quiet_partition_and_the_offsets_go_on_after_a_reopening() {
    let folder = tempfile::tempdir().expect("folder");
    let retention = Retention {
        time: Some(Duration::from_secs(60)),
        bytes: None,
    };
    let topic = TopicSpec {
        retention,
        ..spec("t", 1)
    };
    let clock = Arc::new(ManualClock::at(Instant::from_millis(0)));
    let log = EmbeddedLog::open_with_clock(folder.path(), EmbeddedSettings::default(), clock)
        .await
        .expect("open");
    log.ensure_topics(&[topic]).await.expect("topics");
    log.append(&at("t", 0), vec![record("a"), record("b")])
        .await
        .expect("append");
    let dropped = log
        .enforce_retention(Instant::from_millis(61_000), |_| None)
        .await
        .expect("retention");
    assert_eq!((dropped[0].start, dropped[0].segments), (Offset(2), 1));
    drop(log);

    let log = open(folder.path()).await;
    let bounds = log.bounds(&at("t", 0)).await.expect("bounds");
    assert_eq!((bounds.start, bounds.end), (Offset(2), Offset(2)));
    assert_eq!(
        log.append(&at("t", 0), vec![record("c")]).await.expect("append"),
        Offset(2)
    );
    assert_eq!(values(&log, &at("t", 0)).await, ["c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reopening_keeps_everything() {
    let folder = tempfile::tempdir().expect("folder");
    let settings = EmbeddedSettings {
        segment: HumanSize::kib(4),
        ..EmbeddedSettings::default()
    };
    let log = EmbeddedLog::open(folder.path(), settings.clone()).await.expect("open");
    log.ensure_topics(&[spec("in", 2), spec("out", 2)])
        .await
        .expect("topics");
    let all: Vec<String> = (0..300).map(|n| format!("{n:060}")).collect();
    for value in &all {
        log.append(&at("in", 1), vec![record(value)]).await.expect("append");
    }
    let mut member = log.join("copy", &["in".into()]).await.expect("join");
    copy_all(&log, member.as_mut(), 70).await;
    let id = log.id();
    drop((log, member));

    let log = EmbeddedLog::open(folder.path(), settings).await.expect("open again");
    assert_eq!(log.id(), id);
    assert_eq!(log.partitions("in").await.expect("partitions"), 2);
    assert_eq!(values(&log, &at("in", 1)).await, all);
    assert_eq!(values(&log, &at("out", 1)).await, all);
    assert_eq!(
        log.committed("copy", &at("in", 1)).await.expect("committed"),
        Some(Offset(300))
    );
    assert_eq!(log.committed("copy", &at("in", 0)).await.expect("committed"), None);
    assert_eq!(
        log.append(&at("in", 1), vec![record("next")]).await.expect("append"),
        Offset(300)
    );
    let other = log.ensure_topics(&[spec("in", 3)]).await;
    assert!(
        matches!(
            other,
            Err(LogError::PartitionCount {
                found: 2,
                wanted: 3,
                ..
            })
        ),
        "{other:?}"
    );
    assert!(log.disk_bytes().await.expect("disk bytes") > 300 * 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_told_who_has_the_folder() {
    let folder = tempfile::tempdir().expect("folder");
    let log = open(folder.path()).await;
    match EmbeddedLog::open(folder.path(), EmbeddedSettings::default())
        .await
        .err()
    {
        Some(LogError::Fatal { doing, cause }) => {
            assert!(doing.contains(&folder.path().display().to_string()), "{doing}");
            assert!(
                cause.contains("another process") && cause.contains("stop it"),
                "{cause}"
            );
        }
        other => panic!("a second opening must be fatal, is {other:?}"),
    }
    drop(log);
    open(folder.path()).await;
}

/// Flips one bit of the first place in the segment files at which `text` stands.
fn damage(folder: &Path, text: &str) {
    for path in segments(folder) {
        let mut bytes = fs::read(&path).expect("segment");
        let found = bytes.windows(text.len()).position(|window| window == text.as_bytes());
        if let Some(at) = found {
            bytes[at] ^= 1;
            fs::write(&path, bytes).expect("segment");
            return;
        }
    }
    panic!("{text} is nowhere");
}

fn assert_names_damage(error: &LogError, offset: u64) {
    let text = error.to_string();
    assert!(matches!(error, LogError::Fatal { .. }), "{text}");
    assert!(
        text.contains("t/0") && text.contains(&format!("offset {offset}")),
        "{text}"
    );
    assert!(text.contains("checksum"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_batch_is_named() {
    // The last one too: nothing follows it but the word that it was synced.
    for damaged in [0, 1, 2] {
        let folder = tempfile::tempdir().expect("folder");
        let log = open(folder.path()).await;
        log.ensure_topics(&[spec("t", 1)]).await.expect("topics");
        for n in 0..3 {
            log.append(&at("t", 0), vec![record(&format!("number {n}"))])
                .await
                .expect("append");
        }
        drop(log);
        damage(folder.path(), &format!("number {damaged}"));
        let opened = EmbeddedLog::open(folder.path(), EmbeddedSettings::default()).await;
        assert_names_damage(&opened.err().expect("damage is not opened"), damaged);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_a_sealed_file_stops_only_who_reads_it() {
    let folder = tempfile::tempdir().expect("folder");
    let settings = EmbeddedSettings {
        segment: HumanSize(100),
        cache: HumanSize(0),
        ..EmbeddedSettings::default()
    };
    let log = EmbeddedLog::open(folder.path(), settings.clone()).await.expect("open");
    log.ensure_topics(&[spec("t", 1)]).await.expect("topics");
    for n in 0..6 {
        log.append(&at("t", 0), vec![record(&format!("number {n}"))])
            .await
            .expect("append");
    }
    drop(log);
    damage(folder.path(), "number 1");
    let log = EmbeddedLog::open(folder.path(), settings).await.expect("open");
    let mut reader = log.reader(&at("t", 0), Offset(0)).await.expect("reader");
    let (first, next) = reader.read(1, PULSE).await.expect("read");
    assert_eq!((first.len(), next), (1, Offset(1)));
    assert_names_damage(&reader.read(1, PULSE).await.expect_err("never skipped"), 1);
    let mut behind = log.reader(&at("t", 0), Offset(2)).await.expect("reader");
    assert_eq!(behind.read(1, PULSE).await.expect("read").1, Offset(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_segment_file_is_named() {
    let folder = tempfile::tempdir().expect("folder");
    let settings = EmbeddedSettings {
        segment: HumanSize(100),
        ..EmbeddedSettings::default()
    };
    let log = EmbeddedLog::open(folder.path(), settings.clone()).await.expect("open");
    log.ensure_topics(&[spec("t", 1)]).await.expect("topics");
    for n in 0..6 {
        log.append(&at("t", 0), vec![record(&format!("number {n}"))])
            .await
            .expect("append");
    }
    drop(log);
    fs::remove_file(&segments(folder.path())[1]).expect("remove");
    let error = EmbeddedLog::open(folder.path(), settings).await.err().expect("refused");
    assert!(error.to_string().contains("segment file 2 is missing"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_format_is_refused_before_anything_is_written() {
    let check = async |file: &str, content: &str, says: &str| {
        let folder = tempfile::tempdir().expect("folder");
        fs::create_dir_all(folder.path().join(file).parent().expect("parent")).expect("create");
        fs::write(folder.path().join(file), content).expect("write");
        let error = EmbeddedLog::open(folder.path(), EmbeddedSettings::default()).await;
        let error = error.err().expect("refused").to_string();
        assert!(error.contains(says) && error.contains("another folder"), "{error}");
        let names: Vec<_> = fs::read_dir(folder.path())
            .expect("folder")
            .map(|entry| entry.expect("entry").file_name())
            .collect();
        assert_eq!(names.len(), 1, "{names:?}");
    };
    check("FORMAT", "aegis log, format 3\n", "says 'aegis log, format 3'").await;
    check("keyspaces/0/current", "", "format 1").await;
    check("holiday.jpg", "", "holds no log").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_outlives_the_files_it_was_written_to() {
    let folder = tempfile::tempdir().expect("folder");
    let settings = EmbeddedSettings {
        segment: HumanSize::kib(8),
        cache: HumanSize(0),
        ..EmbeddedSettings::default()
    };
    let log = EmbeddedLog::open(folder.path(), settings.clone()).await.expect("open");
    let short = TopicSpec {
        retention: Retention {
            bytes: Some(1),
            time: None,
        },
        ..spec("short", 1)
    };
    log.ensure_topics(&[spec("kept", 2), short]).await.expect("topics");
    let all: Vec<String> = (0..300).map(|n| format!("{n:050}")).collect();
    for (n, value) in all.iter().enumerate() {
        log.append(&at("kept", 1), vec![record(value)]).await.expect("append");
        log.append(&at("short", 0), vec![record(&"z".repeat(500))])
            .await
            .expect("append");
        if n % 60 == 59 {
            let before = segments(folder.path()).len();
            log.enforce_retention(Instant::MIN, |_| None).await.expect("retention");
            assert!(segments(folder.path()).len() < before, "files are given back");
            assert_eq!(values(&log, &at("kept", 1)).await, all[..=n]);
        }
    }
    assert!(segments(folder.path()).len() < 8, "{:?}", segments(folder.path()));
    drop(log);
    let log = EmbeddedLog::open(folder.path(), settings).await.expect("open again");
    assert_eq!(values(&log, &at("kept", 1)).await, all);
    assert_eq!(log.bounds(&at("kept", 1)).await.expect("bounds").start, Offset(0));
    assert!(log.bounds(&at("short", 0)).await.expect("bounds").start > Offset(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_share_syncs() {
    let folder = tempfile::tempdir().expect("folder");
    let settings = EmbeddedSettings {
        queue: HumanSize::kib(64),
        ..EmbeddedSettings::default()
    };
    let log = EmbeddedLog::open(folder.path(), settings).await.expect("open");
    log.ensure_topics(&[spec("t", 4)]).await.expect("topics");
    let tasks: Vec<_> = (0..64)
        .map(|writer| {
            let log = log.clone();
            // 64 of 8 KiB at once do not fit the queue of 64 KiB: some wait, none fails.
            tokio::spawn(async move {
                for _ in 0..5 {
                    log.append(&at("t", writer % 4), vec![record(&"z".repeat(8_000))])
                        .await
                        .expect("append");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("writer");
    }
    for partition in 0..4 {
        assert_eq!(values(&log, &at("t", partition)).await.len(), 80);
    }
}

#[test]
fn settings_read_as_people_write_them() {
    let settings: EmbeddedSettings =
        serde_json::from_str(r#"{"segment": "16MiB", "commit_sync_interval": "250ms"}"#).expect("settings");
    assert_eq!(settings.segment, HumanSize::mib(16));
    assert_eq!(settings.commit_sync_interval, HumanDuration::from_millis(250));
    assert!(serde_json::from_str::<EmbeddedSettings>(r#"{"segments": "16MiB"}"#).is_err());
}
