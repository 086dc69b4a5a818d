//! One stage that asks the outside about every row and, for some, once more about the answer. Each row goes out once, with
//! whatever became of its questions, and none before.

use std::collections::BTreeSet;

use bytes::Bytes;
use model::{SignalBatch, topics};
use serde::{Deserialize, Serialize};
use stream::call::CallError;
use stream::operator::{CallRequest, JsonRows};
use stream::simulation::{Contents, Dice, Plan, PlanStage, RUBBISH, Row, answer_to};
use stream::state::StateCell;
use stream::task::Role;
use stream::{Context, Disposition, Instant, Operator, Record, Reject, Table, Timers, TopicPartition};

use crate::chain::{SECOND, Shape, input};
use crate::rows::{self, data};
use crate::script::{FAR, Scribe};

const ANSWERED: &str = "answered";

/// A row with what became of its questions.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Answered {
    id: String,
    at: i64,
    outcome: String,
}

/// A row that waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Waiting {
    at: i64,
    asks_twice: bool,
    /// The answer to the first question.
    first: Option<String>,
}

/// Asks about every row.
#[derive(Debug, Default)]
struct Inquire {
    waiting: Table<String, Waiting>,
    /// The time of each waiting row: what is owed.
    owed: Timers<String>,
}

type Cx<'a> = Context<'a, JsonRows>;

impl Inquire {
    fn ask(&mut self, id: &str, nth: u32, request: String, cx: &mut Cx<'_>) {
        let key = format!("{id}/{nth}");
        let asked = cx.call(CallRequest {
            key,
            request: request.into(),
        });
        if let Err(full) = asked {
            self.tell(id, full.to_string(), cx);
        }
    }

    fn tell(&mut self, id: &str, outcome: String, cx: &mut Cx<'_>) {
        let Some(waiting) = self.waiting.remove(id) else { return };
        self.owed.cancel(&id.to_owned());
        let row = Answered {
            id: id.to_owned(),
            at: waiting.at,
            outcome,
        };
        cx.emit(id.as_bytes(), &Bytes::from(serde_json::to_vec(&row).unwrap()));
        cx.accounting().release(Disposition::Forwarded);
    }
}

impl Operator for Inquire {
    type In = SignalBatch;
    type Out = JsonRows;

    fn name(&self) -> &'static str {
        "inquire"
    }

    fn logic_version(&self) -> u32 {
        1
    }

    fn decode(&self, record: &Record, _: &TopicPartition) -> Result<SignalBatch, Reject> {
        operators::signals_out::decode_signals(record)
    }

    fn cells(&mut self) -> Vec<(&'static str, &mut dyn StateCell)> {
        vec![("waiting", &mut self.waiting), ("owed", &mut self.owed)]
    }

    fn on_batch(&mut self, batch: &SignalBatch, cx: &mut Cx<'_>) {
        for row in batch.rows() {
            let id = row.id.to_string();
            if self.waiting.contains(&id) {
                cx.item(Disposition::Merged { id: row.id.0.as_u128() });
                continue;
            }
            let waiting = Waiting {
                at: row.effective_at,
                asks_twice: row.id.0.as_u128().is_multiple_of(3),
                first: None,
            };
            self.waiting.insert(id.clone(), waiting);
            self.owed.set(id.clone(), Instant(row.effective_at));
            cx.item(Disposition::Held);
            self.ask(&id, 1, format!("what is {id}?"), cx);
        }
    }

    fn on_answer(&mut self, key: &str, answer: Result<Bytes, CallError>, cx: &mut Cx<'_>) {
        let id = key.split('/').next().unwrap_or_default();
        let answer = match answer {
            Err(failed) => return self.tell(id, failed.to_string(), cx),
            Ok(bytes) => match std::str::from_utf8(&bytes) {
                Err(_) => return self.tell(id, format!("rubbish: {}", bytes == RUBBISH), cx),
                Ok(text) => text.to_owned(),
            },
        };
        match self.waiting.get_mut(id) {
            Some(waiting) if waiting.asks_twice && waiting.first.is_none() => {
                waiting.first = Some(answer.clone());
                self.ask(id, 2, answer, cx);
            }
            _ => self.tell(id, answer, cx),
        }
    }

    fn owes(&self) -> Option<Instant> {
        self.owed.earliest()
    }
}

pub fn plan(dice: &mut Dice) -> Plan {
    let partitions = [1, 2, 4][dice.below(3)];
    let topics: Vec<(stream::log::Topic, u32)> = [
        (topics::SIGNALS, partitions),
        (ANSWERED, 2),
        (topics::DEAD_LETTER, 1),
        (topics::ACCOUNTING, 1),
    ]
    .map(|(name, count)| (name.into(), count))
    .to_vec();
    let shape = Shape {
        partitions,
        window: 60,
        before: 300,
        jitter: 1 + dice.below(20),
        signals: 20 + dice.below(60),
        trouble: 0,
    };
    let rows = input(dice, &shape);
    let mut scribe = Scribe::new(partitions);
    scribe.tell(&rows, dice, |scribe, dice, _| {
        if dice.chance(5) {
            scribe.rubbish(dice);
        }
    });
    let ids: BTreeSet<String> = rows.iter().map(|row| row.id.to_string()).collect();
    Plan {
        name: "asking",
        stages: vec![PlanStage::new(
            topics::SIGNALS,
            ANSWERED,
            Role::Downstream {
                upstream_partitions: partitions,
            },
            &topics,
            Inquire::default,
        )],
        topics,
        sinks: vec![("answers", vec![ANSWERED.into(), topics::SIGNALS.into()])],
        script: scribe.steps,
        // Then nothing is owed: every question has its answer.
        final_at: FAR,
        starts_at: Instant(2_000 * SECOND),
        punctual: true,
        rows: answered_rows,
        result,
        expected: Some(ids.into_iter().collect::<Vec<_>>().join("\n")),
    }
}

fn answered_rows(topic: &str, record: &Record) -> Option<Vec<Row>> {
    let mut rows = rows::rows(topic, record)?;
    if topic == ANSWERED {
        let answered: Answered = serde_json::from_slice(&record.value).ok()?;
        rows.iter_mut().for_each(|row| row.at = Some(Instant(answered.at)));
    }
    Some(rows)
}

/// Every row once. What became of its questions is the weather's, as long as it is one of the things that can.
fn result(contents: &Contents) -> String {
    let row = |record: &Record| {
        let row: Answered = serde_json::from_slice(&record.value).unwrap();
        let first = answer_to(format!("what is {}?", row.id).as_bytes());
        let answers = [first.clone(), answer_to(&first)];
        let known = answers.iter().any(|answer| answer == row.outcome.as_bytes())
            || ["did not happen", "may have happened", "rubbish: true"]
                .iter()
                .any(|failure| row.outcome.starts_with(failure));
        if known { row.id } else { format!("{row:?}") }
    };
    let mut ids: Vec<String> = data(contents, ANSWERED).map(row).collect();
    ids.sort();
    ids.join("\n")
}
