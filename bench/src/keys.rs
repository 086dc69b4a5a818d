//! An operator with a large table, for what is measured of state alone.

use std::sync::Arc;
use std::time::Duration;

use stream::driver::Stage;
use stream::operator::JsonRows;
use stream::state::StateCell;
use stream::task::{DeadLetters, Role, TaskSettings};
use stream::{Context, Disposition, NewRecord, Operator, Record, Reject, Table, TopicPartition, TopicSpec};

/// What is kept per key: as long as an alert with one firing.
type Kept = (i64, i64, u64, [u64; 3]);

/// Each record is `first..last` with a step: one change for each key named.
#[derive(Default)]
pub struct Keys {
    table: Table<String, Kept>,
    /// Its memory is not given back: what is timed may end with the operator, and giving back is no part of it.
    leaking: bool,
}

impl Keys {
    pub fn leaking() -> Self {
        Keys {
            table: Table::default(),
            leaking: true,
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if self.leaking {
            std::mem::forget(std::mem::take(&mut self.table));
        }
    }
}

impl Operator for Keys {
    type In = (u64, u64, u64);
    type Out = JsonRows;

    fn name(&self) -> &'static str {
        "keys"
    }

    fn logic_version(&self) -> u32 {
        1
    }

    fn decode(&self, record: &Record, _: &TopicPartition) -> Result<Self::In, Reject> {
        serde_json::from_slice(&record.value).map_err(|e| Reject {
            reason: "bench",
            detail: e.to_string(),
            field: None,
            index: None,
        })
    }

    fn cells(&mut self) -> Vec<(&'static str, &mut dyn StateCell)> {
        vec![("keys", &mut self.table)]
    }

    fn on_batch(&mut self, (first, last, step): &Self::In, cx: &mut Context<'_, JsonRows>) {
        let mut n = *first;
        while n < *last {
            // Spread, so that no order of keys helps.
            let key = format!("{:016x}{n:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let kept = self.table.entry(key).or_default();
            kept.0 = 1_780_000_000_000_000 + n as i64;
            kept.2 += 1;
            kept.3[0] = n.wrapping_mul(0x2545_f491_4f6c_dd1d);
            n += step;
        }
        cx.item(Disposition::Suppressed { rule: "bench" });
    }
}

/// The stage over input `in`, with what it needs around it.
pub fn stage() -> Stage<Keys> {
    Stage {
        input: "in".into(),
        settings: TaskSettings {
            topology: "bench".into(),
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
        },
        make: Box::new(|_| Keys::default()),
        call: None,
        keyed: None,
    }
}

/// The topics that [`stage`] names.
pub fn topics(partitions: u32) -> Vec<TopicSpec> {
    let topic = |name: &str, partitions| TopicSpec {
        name: name.into(),
        partitions,
        retention: Default::default(),
    };
    vec![
        topic("in", partitions),
        topic("out", 1),
        topic("dead-letter", 1),
        topic("accounting", 1),
    ]
}
