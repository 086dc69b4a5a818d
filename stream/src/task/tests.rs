use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::accounting::Disposition;
use crate::call::CallError;
use crate::log::NewRecord;
use crate::operator::{CallRequest, Context, JsonRows, Reject};
use crate::progress::IngressPolicy;
use crate::snapshot::{ChainBound, Manifest, Piece};
use crate::state::{StateCell, Table};

/// Counts words; emits "word:count"; refuses "bad"; asks the outside about "ask".
#[derive(Default)]
struct Count {
    words: Table<String, u64>,
}

impl Operator for Count {
    type In = String;
    type Out = JsonRows;

    fn name(&self) -> &'static str {
        "count"
    }

    fn logic_version(&self) -> u32 {
        1
    }

    fn decode(&self, record: &Record, _: &TopicPartition) -> Result<String, Reject> {
        match std::str::from_utf8(&record.value) {
            Ok("bad") | Err(_) => Err(Reject {
                reason: "bad",
                detail: "bad word".into(),
                field: None,
                index: None,
            }),
            Ok(word) => Ok(word.to_owned()),
        }
    }

    fn cells(&mut self) -> Vec<(&'static str, &mut dyn StateCell)> {
        vec![("words", &mut self.words)]
    }

    fn on_batch(&mut self, word: &String, cx: &mut Context<'_, JsonRows>) {
        if word == "ask" {
            cx.call(CallRequest {
                key: "k".into(),
                request: Bytes::from_static(b"?"),
            })
            .unwrap();
        }
        let count = self.words.entry(word.clone()).or_default();
        *count += 1;
        cx.emit(word.as_bytes(), &Bytes::from(format!("{word}:{count}")));
        cx.item(Disposition::Forwarded);
    }

    fn on_answer(&mut self, key: &str, answer: Result<Bytes, CallError>, cx: &mut Context<'_, JsonRows>) {
        cx.emit(key.as_bytes(), &answer.unwrap_or_default());
        cx.accounting().produce("answer");
    }
}

fn settings() -> TaskSettings {
    TaskSettings {
        topology: "t".into(),
        role: Role::Downstream { upstream_partitions: 1 },
        output: ("out".into(), 1),
        sides: vec![("dead-letter".into(), 1), ("accounting".into(), 1)],
        accounting: "accounting".into(),
        dead_letters: DeadLetters {
            topic: "dead-letter".into(),
            encode: Arc::new(|refused| NewRecord {
                value: refused.record.value.clone(),
                ..NewRecord::default()
            }),
        },
        progress_step: Duration::from_secs(1),
    }
}

fn record(offset: u64, value: &str) -> Record {
    Record {
        offset: Offset(offset),
        key: None,
        value: value.to_owned().into(),
        headers: Vec::new(),
        timestamp: Instant(offset as i64),
    }
}

fn progress(offset: u64, watermark: i64) -> Record {
    let p = Progress {
        stage: "s".into(),
        partition: 0,
        watermark: Instant(watermark),
        idle: false,
        tick_at: None,
    };
    let new = p.to_record();
    Record {
        offset: Offset(offset),
        key: None,
        value: new.value,
        headers: new.headers,
        timestamp: new.timestamp,
    }
}

fn task() -> Task<Count> {
    Task::new(Count::default(), TopicPartition::new("in", 0), settings())
}

fn assigned(committed: Option<u64>, snapshot: Option<Restored>) -> Event {
    Event::Assigned {
        committed: committed.map(Offset),
        start: Offset(0),
        snapshot,
    }
}

fn checkpoint(task: &mut Task<Count>) -> Option<Piece> {
    match task.step(Event::Checkpoint(ChainBound::default())).unwrap().pop() {
        Some(Effect::Snapshot(piece)) => Some(piece),
        _ => None,
    }
}

/// The manifest as a store would answer.
fn stored(piece: &Piece, sequence: u64) -> Arc<Manifest> {
    let mut objects = piece
        .extends
        .as_ref()
        .map_or_else(Vec::new, |manifest| manifest.objects.clone());
    objects.push(crate::snapshot::Object {
        sequence,
        number: 0,
        from: piece.extends.as_ref().map(|manifest| manifest.offset),
        to: piece.offset,
        bytes: piece.bytes.len() as u64,
        crc: 0,
    });
    Arc::new(Manifest {
        identity: piece.identity.clone(),
        offset: piece.offset,
        sequence,
        objects,
    })
}

fn values(effects: &[Effect], topic: &str) -> Vec<String> {
    let mut out = Vec::new();
    for effect in effects {
        if let Effect::Commit(commit) = effect {
            for (to, records) in commit.outputs.iter().filter(|(to, _)| &*to.topic == topic) {
                assert_eq!(to.partition, 0);
                out.extend(records.iter().map(|r| String::from_utf8_lossy(&r.value).into_owned()));
            }
        }
    }
    out
}

#[test]
fn outputs_position_and_accounting_leave_in_one_commit() {
    let mut task = task();
    assert_eq!(task.step(assigned(None, None)).unwrap(), [Effect::Seek(Offset(0))]);
    task.step(Event::Fetched(vec![record(0, "a"), record(1, "bad"), record(4, "a")]))
        .unwrap();
    let effects = task.step(Event::Flush).unwrap();
    assert_eq!(values(&effects, "out"), ["a:1", "a:2"]);
    assert_eq!(values(&effects, "dead-letter"), ["bad"]);
    let accounting: crate::accounting::AccountingRecord =
        serde_json::from_str(&values(&effects, "accounting")[0]).unwrap();
    assert_eq!(
        (
            accounting.counts.items_in,
            accounting.counts.forwarded,
            accounting.counts.dead_lettered
        ),
        (3, 2, 1)
    );
    assert_eq!((accounting.from, accounting.to), (Offset(0), Offset(5)));
    let Effect::Commit(commit) = &effects[0] else {
        panic!("{effects:?}")
    };
    assert_eq!(commit.position, Some(Offset(5)));
    assert_eq!(task.step(Event::Aborted).unwrap(), effects, "the same outputs again");
    task.step(Event::Committed).unwrap();
    assert_eq!(task.step(Event::Flush).unwrap(), []);
}

#[test]
fn records_may_not_arrive_while_a_commit_is_in_flight() {
    let mut task = task();
    task.step(assigned(None, None)).unwrap();
    task.step(Event::Fetched(vec![record(0, "a")])).unwrap();
    task.step(Event::Flush).unwrap();
    assert!(matches!(
        task.step(Event::Fetched(vec![record(1, "b")])),
        Err(TaskError::Order { .. })
    ));
}

#[test]
fn restore_replays_without_emitting() {
    let mut first = task();
    first.step(assigned(None, None)).unwrap();
    first.step(Event::Fetched(vec![record(0, "a")])).unwrap();
    first.step(Event::Flush).unwrap();
    first.step(Event::Committed).unwrap();
    let piece = checkpoint(&mut first).unwrap();
    assert_eq!((piece.offset, piece.last), (Offset(1), true));

    let mut second = task();
    second.step(Event::Load(piece.bytes)).unwrap();
    let snapshot = Restored {
        offset: piece.offset,
        chain: None,
    };
    assert_eq!(
        second.step(assigned(Some(3), Some(snapshot))).unwrap(),
        [Effect::Seek(Offset(1))]
    );
    second
        .step(Event::Fetched(vec![record(1, "a"), record(2, "a")]))
        .unwrap();
    assert_eq!(second.step(Event::Flush).unwrap(), [], "replayed, committed before");
    second.step(Event::Fetched(vec![record(3, "a")])).unwrap();
    let effects = second.step(Event::Flush).unwrap();
    assert_eq!(values(&effects, "out"), ["a:4"]);
}

#[test]
fn replay_ends_at_drained_when_markers_took_the_last_offsets() {
    let mut task = task();
    task.step(assigned(Some(9), None)).unwrap();
    task.step(Event::Fetched(vec![record(0, "a")])).unwrap();
    task.step(Event::Tick {
        now: Instant(1),
        drained: true,
    })
    .unwrap();
    assert_eq!(task.step(Event::Flush).unwrap(), []);
    assert_eq!(task.position(), Offset(9));
    task.step(Event::Fetched(vec![record(9, "a")])).unwrap();
    assert_eq!(values(&task.step(Event::Flush).unwrap(), "out"), ["a:2"]);
}

#[test]
fn progress_goes_on_behind_the_rows_at_most_once_per_commit() {
    let mut task = task();
    task.step(assigned(None, None)).unwrap();
    task.step(Event::Fetched(vec![progress(0, 5), record(1, "a"), progress(2, 7)]))
        .unwrap();
    let effects = task.step(Event::Flush).unwrap();
    let out = values(&effects, "out");
    assert_eq!(out.len(), 2, "{out:?}");
    assert_eq!(out[0], "a:1");
    let told: Progress = serde_json::from_str(&out[1]).unwrap();
    assert_eq!((told.watermark, told.stage.as_str()), (Instant(7), "count"));
}

#[test]
fn a_later_stage_never_says_idle() {
    // The next stage would stop waiting for this one, and run past rows that are read but not yet committed here.
    let mut task = task();
    task.step(assigned(None, None)).unwrap();
    let idle = Progress {
        stage: "s".into(),
        partition: 0,
        watermark: Instant(9),
        idle: true,
        tick_at: None,
    };
    let new = idle.to_record();
    let record = Record {
        offset: Offset(0),
        key: None,
        value: new.value,
        headers: new.headers,
        timestamp: new.timestamp,
    };
    task.step(Event::Fetched(vec![record])).unwrap();
    let out = values(&task.step(Event::Flush).unwrap(), "out");
    let told: Progress = serde_json::from_str(&out[0]).unwrap();
    assert_eq!((told.watermark, told.idle), (Instant(9), false));
}

fn answer(offset: u64, key: &str, answer: Result<Bytes, CallError>) -> Record {
    let key = key.to_owned();
    let sent = Answer { key, answer }.to_record("count", Instant(0));
    Record {
        offset: Offset(offset),
        key: None,
        value: sent.value,
        headers: sent.headers,
        timestamp: sent.timestamp,
    }
}

fn asks(again: bool) -> Effect {
    Effect::Call {
        request: CallRequest {
            key: "k".into(),
            request: Bytes::from_static(b"?"),
        },
        again,
    }
}

#[test]
fn a_question_goes_out_behind_its_commit_and_its_first_answer_counts() {
    let mut task = task();
    task.step(assigned(None, None)).unwrap();
    assert_eq!(task.step(Event::Fetched(vec![record(0, "ask")])).unwrap(), []);
    assert_eq!(task.step(Event::CaughtUp).unwrap(), [], "not committed yet");
    task.step(Event::Flush).unwrap();
    assert_eq!(
        task.step(Event::Aborted).unwrap().len(),
        1,
        "the commit once more, and no call"
    );
    assert_eq!(task.step(Event::Committed).unwrap(), [asks(false)]);
    assert_eq!(task.open_calls(), 1);
    let answers = vec![
        answer(1, "k", Ok(Bytes::from_static(b"42"))),
        answer(2, "k", Ok(Bytes::from_static(b"43"))),
        answer(3, "never asked", Ok(Bytes::from_static(b"44"))),
    ];
    task.step(Event::Fetched(answers)).unwrap();
    assert_eq!(values(&task.step(Event::Flush).unwrap(), "out"), ["42"]);
    assert_eq!(task.open_calls(), 0);
    assert_eq!(task.step(Event::Committed).unwrap(), []);
}

#[test]
fn a_replay_asks_nothing_and_another_life_asks_again_only_what_has_no_answer() {
    let input = || vec![record(0, "ask"), record(1, "a")];
    let mut answered = task();
    answered.step(assigned(Some(2), None)).unwrap();
    answered.step(Event::Fetched(input())).unwrap();
    answered
        .step(Event::Fetched(vec![answer(2, "k", Ok(Bytes::from_static(b"42")))]))
        .unwrap();
    assert_eq!(answered.step(Event::CaughtUp).unwrap(), []);

    let mut unanswered = task();
    unanswered.step(assigned(Some(2), None)).unwrap();
    unanswered.step(Event::Fetched(input())).unwrap();
    assert_eq!(unanswered.step(Event::CaughtUp).unwrap(), [asks(true)]);
    assert_eq!(unanswered.step(Event::CaughtUp).unwrap(), [], "once in this life");
}

#[test]
fn open_questions_are_part_of_a_snapshot() {
    let mut first = task();
    first.step(assigned(None, None)).unwrap();
    first.step(Event::Fetched(vec![record(0, "ask")])).unwrap();
    first.step(Event::Flush).unwrap();
    first.step(Event::Committed).unwrap();
    let piece = checkpoint(&mut first).unwrap();
    let mut second = task();
    second.step(Event::Load(piece.bytes)).unwrap();
    let restored = Restored {
        offset: Offset(1),
        chain: None,
    };
    second.step(assigned(Some(1), Some(restored))).unwrap();
    assert_eq!(second.open_calls(), 1);
    assert_eq!(second.step(Event::CaughtUp).unwrap(), [asks(true)]);
}

#[test]
fn ingress_ticks_move_the_watermark_only_when_drained() {
    let policy = IngressPolicy {
        lateness: Duration::from_secs(1),
        idle_after: Duration::from_secs(1),
        max_hold: Duration::from_secs(1),
        ..IngressPolicy::default()
    };
    let mut task = Task::new(
        Count::default(),
        TopicPartition::new("in", 0),
        TaskSettings {
            role: Role::Ingress(policy),
            ..settings()
        },
    );
    task.step(assigned(None, None)).unwrap();
    task.step(Event::Tick {
        now: Instant(10_000_000),
        drained: false,
    })
    .unwrap();
    assert_eq!(task.step(Event::Flush).unwrap(), []);
    task.step(Event::Tick {
        now: Instant(10_000_000),
        drained: true,
    })
    .unwrap();
    let effects = task.step(Event::Flush).unwrap();
    let told: Progress = serde_json::from_str(&values(&effects, "out")[0]).unwrap();
    assert_eq!((told.watermark, told.idle), (Instant(8_000_000), false));
}

/// Feeds and commits `words` from offset `at`.
fn count(task: &mut Task<Count>, at: u64, words: &[&str]) {
    let records = (at..).zip(words).map(|(offset, word)| record(offset, word)).collect();
    task.step(Event::Fetched(records)).unwrap();
    task.step(Event::Flush).unwrap();
    task.step(Event::Committed).unwrap();
}

#[test]
fn a_delta_starts_at_the_last_stored_snapshot_also_when_a_save_failed_between() {
    let mut first = task();
    first.step(assigned(None, None)).unwrap();
    count(&mut first, 0, &["a", "b"]);
    let base = checkpoint(&mut first).unwrap();
    assert_eq!(base.extends, None);
    let kept = stored(&base, 1);
    assert!(matches!(
        first.step(Event::Checkpoint(ChainBound::default())),
        Err(TaskError::Saving { .. })
    ));
    first.step(Event::Snapshotted(Some(kept.clone()))).unwrap();
    assert_eq!(checkpoint(&mut first), None, "nothing changed");

    count(&mut first, 2, &["b"]);
    assert_eq!(checkpoint(&mut first).unwrap().offset, Offset(3));
    // The task goes on while its snapshot is on its way.
    count(&mut first, 3, &["c"]);
    first.step(Event::Snapshotted(None)).unwrap();
    let delta = checkpoint(&mut first).unwrap();
    assert_eq!((delta.extends.clone(), delta.offset), (Some(kept), Offset(4)));
    first.step(Event::Snapshotted(Some(stored(&delta, 3)))).unwrap();
    // Nobody waits for this one.
    first.step(Event::Snapshotted(None)).unwrap();
    assert_eq!(checkpoint(&mut first), None, "all of it is stored");

    let mut second = task();
    second.step(Event::Load(base.bytes)).unwrap();
    let read = second.object_reader().read(delta.bytes.clone());
    second.step(Event::LoadRead(read)).unwrap();
    let snapshot = Restored {
        offset: Offset(4),
        chain: Some(stored(&delta, 3)),
    };
    second.step(assigned(Some(4), Some(snapshot))).unwrap();
    assert_eq!(checkpoint(&mut second), None, "clean after a restore");
    second
        .step(Event::Fetched(
            (4..7).zip(["a", "b", "c"]).map(|(at, word)| record(at, word)).collect(),
        ))
        .unwrap();
    let effects = second.step(Event::Flush).unwrap();
    assert_eq!(values(&effects, "out"), ["a:2", "b:3", "c:2"]);
    second.step(Event::Committed).unwrap();
    let next = checkpoint(&mut second).unwrap();
    assert_eq!(next.extends.map(|manifest| manifest.offset), Some(Offset(4)));
}

#[test]
fn a_snapshot_without_a_cell_of_the_operator_is_refused() {
    let mut second = task();
    let mut object = crate::snapshot::FrameWriter::default();
    object
        .frame("kernel.progress", true, |out| {
            out.extend(Upstreams::new(1).save().unwrap());
            Ok::<_, ()>(())
        })
        .unwrap();
    second.step(Event::Load(object.into_bytes().into())).unwrap();
    let snapshot = Restored {
        offset: Offset(4),
        chain: None,
    };
    let refused = second.step(assigned(Some(4), Some(snapshot)));
    assert!(matches!(refused, Err(TaskError::MissingCell { cell, .. }) if cell == "words"));
}

/// The Progress records among the outputs of a commit, by output partition.
fn told(effects: &[Effect]) -> Vec<(u32, Progress)> {
    let outputs = effects.iter().flat_map(|effect| match effect {
        Effect::Commit(commit) => commit.outputs.clone(),
        _ => Vec::new(),
    });
    outputs
        .flat_map(|(to, records)| records.into_iter().map(move |record| (to.partition, record)))
        .filter_map(|(partition, record)| {
            let record = Record {
                offset: Offset(0),
                key: record.key,
                value: record.value,
                headers: record.headers,
                timestamp: record.timestamp,
            };
            Some((partition, progress_of(&record)?))
        })
        .collect()
}

#[test]
fn an_ingress_partition_that_was_added_announces_itself_before_its_first_row() {
    let policy = IngressPolicy {
        founding_partitions: 1,
        ..IngressPolicy::default()
    };
    let task = |partition| {
        let input = TopicPartition::new("in", partition);
        let settings = TaskSettings {
            role: Role::Ingress(policy),
            ..settings()
        };
        Task::new(Count::default(), input, settings)
    };
    let mut founding = task(0);
    founding.step(assigned(None, None)).unwrap();
    assert!(!founding.unannounced() && !founding.wants_flush());

    let mut added = task(1);
    added.step(assigned(None, None)).unwrap();
    assert!(added.unannounced() && added.wants_flush());
    let effects = added.step(Event::Flush).unwrap();
    let announcement = Progress::announcement("count", 1);
    let said = told(&effects);
    assert!(
        !said.is_empty() && said.iter().all(|(_, progress)| *progress == announcement),
        "{said:?}"
    );
    let [Effect::Commit(commit)] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(
        commit.position,
        Some(Offset(0)),
        "others learn by it that it was announced"
    );
    // Not known to have happened: the same again. Then never more.
    assert_eq!(added.step(Event::Aborted).unwrap(), effects);
    added.step(Event::Committed).unwrap();
    assert!(!added.unannounced() && !added.wants_flush());

    // One that has a position has announced itself.
    let mut again = task(1);
    again.step(assigned(Some(0), None)).unwrap();
    assert!(!again.unannounced());
}
