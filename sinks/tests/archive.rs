//! The archive: stopped in the middle, repeated, torn.

#[path = "support/samples.rs"]
mod samples;

use std::path::{Path, PathBuf};

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use model::{Fact, topics};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use samples::*;
use sinks::{ArchiveSettings, ArchiveSink};
use stream::human::{HumanDuration, HumanSize};
use stream::{LogId, Offset, Record, Sink, SinkBatch, SinkError, SinkReject, TopicPartition};

/// Files of `rows` rows; nothing is written because of time or size.
fn every(rows: usize) -> ArchiveSettings {
    ArchiveSettings {
        roll_rows: rows,
        roll_interval: HumanDuration::from_secs(86_400),
        ..ArchiveSettings::default()
    }
}

fn open(root: &Path, settings: ArchiveSettings) -> ArchiveSink {
    ArchiveSink::open(root, settings).unwrap()
}

fn partition() -> TopicPartition {
    TopicPartition::new(topics::SIGNALS, 0)
}

/// One signal per offset in `[start, next)`.
fn range(start: u64, next: u64) -> SinkBatch {
    batch(
        topics::SIGNALS,
        0,
        start,
        next,
        (start..next).map(|i| signals_record(i, &[signal(i)])).collect(),
    )
}

fn parquet_files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "parquet") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn rows(root: &Path) -> Vec<RecordBatch> {
    let read = |path: PathBuf| {
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap())
            .unwrap()
            .build()
            .unwrap();
        reader.map(Result::unwrap).collect::<Vec<_>>()
    };
    parquet_files(root).into_iter().flat_map(read).collect()
}

/// The log offsets that the archive holds, sorted.
fn offsets(root: &Path) -> Vec<i64> {
    let mut found: Vec<i64> = rows(root)
        .iter()
        .flat_map(|b| b["log_offset"].as_primitive::<Int64Type>().values().to_vec())
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn position_speaks_of_files_only() {
    let root = tempfile::tempdir().unwrap();
    let mut sink = open(root.path(), every(3));
    assert_eq!(sink.position(&log(), &partition()).await.unwrap(), None);
    sink.write(&log(), &[range(0, 2)]).await.unwrap();
    assert_eq!(parquet_files(root.path()).len(), 0);
    sink.write(&log(), &[range(2, 4)]).await.unwrap();
    sink.write(&log(), &[range(4, 5)]).await.unwrap();
    let names: Vec<_> = parquet_files(root.path())
        .iter()
        .map(|p| p.strip_prefix(root.path()).unwrap().display().to_string())
        .collect();
    assert_eq!(
        names,
        ["signals/date=2025-10-09/signals-00000-00000000000000000000-00000000000000000004.parquet"]
    );
    assert_eq!(sink.position(&log(), &partition()).await.unwrap(), Some(Offset(4)));
    // Asked again, the sink has forgotten what waited: it goes on at 4.
    sink.write(&log(), &[range(4, 6)]).await.unwrap();
    sink.close().await.unwrap();
    assert_eq!(offsets(root.path()), [0, 1, 2, 3, 4, 5]);
}

/// A record's columns lie in one piece of memory, which counts once and not once per column.
#[tokio::test]
async fn a_file_is_as_large_as_asked() {
    let root = tempfile::tempdir().unwrap();
    let record = signals_record(0, &(0..200).map(signal).collect::<Vec<_>>());
    let settings = ArchiveSettings {
        roll_bytes: HumanSize(10 * record.value.len() as u64),
        ..every(1_000_000)
    };
    let mut sink = open(root.path(), settings);
    for offset in 0..100 {
        let record = Record {
            offset: Offset(offset),
            ..record.clone()
        };
        let records = batch(topics::SIGNALS, 0, offset, offset + 1, vec![record]);
        sink.write(&log(), &[records]).await.unwrap();
    }
    sink.close().await.unwrap();
    let files = parquet_files(root.path()).len();
    assert!((8..=20).contains(&files), "{files} files");
}

#[tokio::test]
async fn killed_at_every_step_it_holds_every_offset_once() {
    for crash_after in 0..10 {
        let root = tempfile::tempdir().unwrap();
        let mut at = 0;
        let mut sink = open(root.path(), every(3));
        for _ in 0..crash_after {
            sink.write(&log(), &[range(at, at + 2)]).await.unwrap();
            at += 2;
        }
        // No close: what waited is gone.
        drop(sink);
        let mut sink = open(root.path(), every(4));
        at = sink
            .position(&log(), &partition())
            .await
            .unwrap()
            .map_or(0, |offset| offset.0);
        while at < 20 {
            sink.write(&log(), &[range(at, at + 1)]).await.unwrap();
            at += 1;
        }
        sink.close().await.unwrap();
        assert_eq!(
            offsets(root.path()),
            (0..20).collect::<Vec<i64>>(),
            "crash after {crash_after} writes"
        );
    }
}

#[tokio::test]
async fn a_repeated_range_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let mut sink = open(root.path(), every(2));
    sink.write(&log(), &[range(0, 2)]).await.unwrap();
    let moved = sink.write(&log(), &[range(0, 2)]).await;
    assert!(
        matches!(
            moved,
            Err(SinkError::PositionMoved {
                stored: Some(Offset(2)),
                ..
            })
        ),
        "{moved:?}"
    );
    // Behind rows that wait: they are dropped, because the runner starts again at the position.
    sink.write(&log(), &[range(2, 3)]).await.unwrap();
    let moved = sink.write(&log(), &[range(2, 3)]).await;
    assert!(
        matches!(
            moved,
            Err(SinkError::PositionMoved {
                stored: Some(Offset(2)),
                ..
            })
        ),
        "{moved:?}"
    );
    sink.write(&log(), &[range(2, 4)]).await.unwrap();
    assert_eq!(offsets(root.path()), [0, 1, 2, 3]);
}

#[tokio::test]
async fn torn_temporary_files_are_ignored_and_removed() {
    let root = tempfile::tempdir().unwrap();
    let mut sink = open(root.path(), every(2));
    sink.write(&log(), &[range(0, 2)]).await.unwrap();
    drop(sink);
    let whole = parquet_files(root.path()).remove(0);
    let torn = whole.with_file_name("signals-00000-00000000000000000002-00000000000000000009.parquet.tmp");
    std::fs::write(&torn, &std::fs::read(&whole).unwrap()[..100]).unwrap();
    let mut sink = open(root.path(), every(2));
    assert_eq!(sink.position(&log(), &partition()).await.unwrap(), Some(Offset(2)));
    assert!(!torn.exists());
}

#[tokio::test]
async fn ranges_without_rows_move_the_position() {
    let root = tempfile::tempdir().unwrap();
    let mut sink = open(
        root.path(),
        ArchiveSettings {
            roll_interval: HumanDuration::from_secs(0),
            ..every(100)
        },
    );
    sink.write(
        &log(),
        &[batch(
            topics::SIGNALS,
            0,
            0,
            3,
            vec![progress(0), progress(1), progress(2)],
        )],
    )
    .await
    .unwrap();
    drop(sink);
    let mut sink = open(root.path(), every(1));
    assert_eq!(sink.position(&log(), &partition()).await.unwrap(), Some(Offset(3)));
    sink.write(&log(), &[range(3, 5)]).await.unwrap();
    assert_eq!(
        (offsets(root.path()), parquet_files(root.path()).len()),
        (vec![3, 4], 1)
    );
}

#[tokio::test]
async fn memory_is_bounded_over_all_partitions() {
    let root = tempfile::tempdir().unwrap();
    let mut sink = open(
        root.path(),
        ArchiveSettings {
            buffer_bytes: HumanSize(1),
            ..every(1_000_000)
        },
    );
    sink.write(
        &log(),
        &[
            range(0, 1),
            batch(topics::SIGNALS, 1, 0, 1, vec![signals_record(0, &[signal(9)])]),
        ],
    )
    .await
    .unwrap();
    assert_eq!(parquet_files(root.path()).len(), 2);
}

#[tokio::test]
async fn another_log_and_another_owner_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let mut sink = open(root.path(), every(1));
    sink.write(&log(), &[range(0, 1)]).await.unwrap();
    let second = ArchiveSink::open(root.path(), every(1)).map(|_| ()).unwrap_err();
    assert!(second.to_string().contains("another process is writing"), "{second}");
    drop(sink);
    let mut sink = open(root.path(), every(1));
    let foreign = LogId("log-2".into());
    assert!(matches!(
        sink.position(&foreign, &partition()).await,
        Err(SinkError::ForeignPosition { .. })
    ));
    assert!(matches!(
        sink.write(&foreign, &[range(1, 2)]).await,
        Err(SinkError::ForeignPosition { .. })
    ));
}

/// As the driver writes: what is refused is taken out (it has been buried), and the rest is written.
async fn write_without_refused(sink: &mut impl Sink, batches: &[SinkBatch]) -> Vec<SinkReject> {
    let rejects = sink.write(&log(), batches).await.unwrap();
    let mut rest = batches.to_vec();
    for batch in &mut rest {
        let refused = |offset| {
            rejects
                .iter()
                .any(|reject| (&reject.partition, reject.offset) == (&batch.partition, offset))
        };
        batch.records = std::mem::take(&mut batch.records)
            .into_iter()
            .filter(|record| !refused(record.offset))
            .collect();
    }
    assert_eq!(sink.write(&log(), &rest).await.unwrap(), []);
    rejects
}

#[tokio::test]
async fn incident_facts_and_unreadable_records() {
    let root = tempfile::tempdir().unwrap();
    let mut sink = open(root.path(), every(1));
    let mut opened = event("a", 1, 1, Fact::Opened { member: member("a") });
    opened.at = chrono::DateTime::<chrono::Utc>::MAX_UTC;
    let mut far = signal(1);
    far.event_at = i64::MAX;
    let rejects = write_without_refused(
        &mut sink,
        &[
            batch(
                topics::INCIDENTS,
                1,
                0,
                2,
                vec![event_record(0, &opened), record(1, &b"{}"[..])],
            ),
            batch(
                topics::SIGNALS,
                0,
                0,
                2,
                vec![record(0, &b"rubbish"[..]), signals_record(1, &[far])],
            ),
        ],
    )
    .await;
    let found: Vec<_> = rejects.iter().map(|r| (r.partition.to_string(), r.offset.0)).collect();
    assert_eq!(found, [("incidents/1".to_owned(), 1), ("signals/0".to_owned(), 0)]);
    let facts: Vec<RecordBatch> = rows(&root.path().join("incidents"));
    assert_eq!(facts[0]["fact"].as_string::<i32>().value(0), "opened");
    let payload: model::IncidentEvent = serde_json::from_str(facts[0]["payload"].as_string::<i32>().value(0)).unwrap();
    assert_eq!(payload.incident, opened.incident);
    assert_eq!(rows(&root.path().join("signals")).len(), 1);
}

#[tokio::test]
async fn what_is_sent_again_for_another_is_passed_by() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(folder.path(), every(100));
    let records = vec![
        redriven(signals_record(0, &[signal(0)]), "sink.sql"),
        redriven(signals_record(1, &[signal(1)]), ArchiveSink::STAGE),
        redriven(signals_record(2, &[signal(2)]), "dedupe"),
    ];
    sink.write(&log(), &[batch(topics::SIGNALS, 0, 0, 3, records)])
        .await
        .unwrap();
    sink.close().await.unwrap();
    assert_eq!(offsets(folder.path()), [1]);
}
