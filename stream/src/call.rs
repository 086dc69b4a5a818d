//! A call: an outside question that an operator may not ask itself (a model, a vector store, a cluster).
//!
//! ```text
//!   Context::call ──► open question (state) ── commit, sync ──► Call::call, several at a time
//!                                                                   │
//!   on_answer ◄── a record of the kind "answer" ◄───────────────────┘ appended to the stage's own input, durable
//! ```
//!
//! What is promised (docs/adr/0018)
//! * An answer is a record of the input like any other, so state and outputs stay functions of the log: a replay finds the
//!   answers where they stand and asks nothing.
//! * Nothing is asked before the commit that holds the question is synced; nothing that is undone was ever asked.
//! * Every question is answered exactly once for the operator: the first answer in the log counts, another one changes nothing.
//!   One that is not answered in time is answered by [`CallError::MayHaveHappened`].
//! * A question that an earlier attempt may have reached (a crash, a lost answer) is asked by [`Call::again`], and only after
//!   the whole input was read without finding its answer.
//!
//! What is not: no order among answers; and with several processes, one that has lost a partition without knowing may ask
//! beside its new owner. The key is the same, so whatever acts on the outside must hold one request per key.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::log::{NewRecord, Record};
use crate::progress::{FOR_HEADER, KIND_HEADER};
use crate::time::Instant;

/// Value of [`KIND_HEADER`] for an answer; [`FOR_HEADER`] names the stage that asked.
pub const ANSWER: &str = "answer";
/// The question's key.
const CALL_HEADER: &str = "aegis-call";
const OUTCOME_HEADER: &str = "aegis-outcome";

/// Questions of one partition that may be open at once. They are state, whole in every snapshot: more makes those large, fewer
/// refuses questions in an ordinary storm. Beyond it [`crate::Context::call`] refuses.
pub const MAX_OPEN: usize = 1_000;

/// Longest answer: with its record it fits what a broker takes by default (1 MB).
pub const MAX_ANSWER_BYTES: usize = 512 << 10;

/// How an outside call failed. An error that nobody recognised is [`CallError::MayHaveHappened`]: it is reconciled by
/// observing, never blindly repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error("did not happen: {cause}")]
    DidNotHappen { cause: String, retry: bool },
    #[error("may have happened: {cause}")]
    MayHaveHappened { cause: String },
}

/// An outside system, asked by the driver on behalf of an operator.
#[async_trait]
pub trait Call: Send + Sync {
    /// `key` is the idempotency key: equal keys are the same request. Bytes in and out are the operator's own encoding.
    async fn call(&self, key: &str, request: &[u8]) -> Result<Vec<u8>, CallError>;

    /// The same request, after an attempt of which nobody knows whether it happened. A question may simply be asked again;
    /// whoever acts on the outside must look first whether it was done.
    async fn again(&self, key: &str, request: &[u8]) -> Result<Vec<u8>, CallError> {
        self.call(key, request).await
    }

    fn limits(&self) -> CallLimits {
        CallLimits::default()
    }
}

/// How a stage asks one outside system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Questions on their way at once, of all partitions of a stage in one process. More: the outside is flooded behind an
    /// outage; fewer: answers that take seconds hold up the rest.
    pub in_flight: usize,
    /// After it the question counts as unanswered, attempts included. What the asking operator holds back waits as long.
    pub timeout: Duration,
}

impl Default for CallLimits {
    fn default() -> Self {
        CallLimits {
            in_flight: 16,
            timeout: Duration::from_secs(60),
        }
    }
}

/// What became of a question, as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub key: String,
    pub answer: Result<Bytes, CallError>,
}

impl Answer {
    /// The record for the input of `stage`. The value is the answer itself, or the cause of the failure.
    pub fn to_record(&self, stage: &str, now: Instant) -> NewRecord {
        let (outcome, value) = match &self.answer {
            Ok(bytes) => ("ok", bytes.clone()),
            Err(CallError::DidNotHappen { cause, retry: true }) => ("not-now", cause.clone().into()),
            Err(CallError::DidNotHappen { cause, retry: false }) => ("refused", cause.clone().into()),
            Err(CallError::MayHaveHappened { cause }) => ("unknown", cause.clone().into()),
        };
        let header = |name: &str, value: &str| (name.to_owned(), Bytes::copy_from_slice(value.as_bytes()));
        NewRecord {
            key: None,
            value,
            headers: vec![
                header(KIND_HEADER, ANSWER),
                header(FOR_HEADER, stage),
                header(CALL_HEADER, &self.key),
                header(OUTCOME_HEADER, outcome),
            ],
            timestamp: now,
        }
    }

    /// Which question, of any stage, `record` answers.
    pub fn key_of(record: &Record) -> Option<&str> {
        let header = |name: &str| std::str::from_utf8(record.header(name)?).ok();
        (header(KIND_HEADER)? == ANSWER).then(|| header(CALL_HEADER))?
    }

    /// Reads the answer to a question of `stage`; `None` for anything else, an answer that names no question included.
    pub fn for_stage(record: &Record, stage: &str) -> Option<Answer> {
        let key = Answer::key_of(record)?.to_owned();
        let header = |name: &str| std::str::from_utf8(record.header(name)?).ok();
        if header(FOR_HEADER)? != stage {
            return None;
        }
        let cause = || String::from_utf8_lossy(&record.value).into_owned();
        let answer = match header(OUTCOME_HEADER)? {
            "ok" => Ok(record.value.clone()),
            "not-now" => Err(CallError::DidNotHappen {
                cause: cause(),
                retry: true,
            }),
            "refused" => Err(CallError::DidNotHappen {
                cause: cause(),
                retry: false,
            }),
            _ => Err(CallError::MayHaveHappened { cause: cause() }),
        };
        Some(Answer { key, answer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Offset;

    #[test]
    fn an_answer_comes_back_as_it_went() {
        let failures = [
            CallError::DidNotHappen {
                cause: "busy".to_owned(),
                retry: true,
            },
            CallError::DidNotHappen {
                cause: "no such model".to_owned(),
                retry: false,
            },
            CallError::MayHaveHappened {
                cause: "no answer".to_owned(),
            },
        ];
        for answer in failures.into_iter().map(Err).chain([Ok(Bytes::from_static(b"\xff42"))]) {
            let answer = Answer {
                key: "k/1".to_owned(),
                answer,
            };
            let sent = answer.to_record("enrich", Instant(7));
            let record = Record {
                offset: Offset(3),
                key: sent.key,
                value: sent.value,
                headers: sent.headers,
                timestamp: sent.timestamp,
            };
            assert_eq!(Answer::for_stage(&record, "enrich"), Some(answer));
            assert_eq!(Answer::for_stage(&record, "remediate"), None);
            assert!(!crate::progress::is_data_for(&record, "enrich"));
        }
    }
}
