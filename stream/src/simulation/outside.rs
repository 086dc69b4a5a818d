//! The outside system that operators ask in a simulation: it answers late, twice, never, with rubbish or not at all, and the
//! process may die between a question and its answer.
//!
//! It remembers who asked what: whether a question is asked as new although an earlier attempt may have reached it is known
//! here and nowhere else.

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;

use super::process::Process;
use super::weather::{Fault, Op};
use crate::call::{ANSWER, Call, CallError};
use crate::invariants::ASKED_ONCE;
use crate::log::NewRecord;
use crate::log::membership::lock;
use crate::progress::KIND_HEADER;

/// What the outside has heard.
#[derive(Debug, Default)]
pub struct Outside {
    /// Keys of attempts that happened, or may have.
    heard: Mutex<BTreeSet<String>>,
}

impl Outside {
    pub fn silent(&self) -> bool {
        lock(&self.heard).is_empty()
    }
}

/// What the outside says to a request.
pub fn answer_to(request: &[u8]) -> Vec<u8> {
    [b"answer to ", request].concat()
}

/// What it says when it says nonsense.
pub const RUBBISH: &[u8] = b"\xff\xfe rubbish";

impl Process {
    async fn asked(&self, key: &str, request: &[u8], again: bool) -> Result<Vec<u8>, CallError> {
        self.require_due(key, again);
        lock(&self.world.outside.heard).insert(key.to_owned());
        let fault = self.gate(Op::Call, &format!("{key}, again: {again}")).await;
        let refused = |retry| {
            lock(&self.world.outside.heard).remove(key);
            Err(CallError::DidNotHappen {
                cause: "the weather".to_owned(),
                retry,
            })
        };
        match fault {
            Fault::Unavailable => return refused(true),
            Fault::Refused => return refused(false),
            Fault::Silent => return std::future::pending().await,
            Fault::Rubbish => return Ok(RUBBISH.to_vec()),
            _ => {}
        }
        self.leave_gate(fault).await;
        match fault {
            Fault::AnswerLost | Fault::RequestLost => Err(CallError::MayHaveHappened {
                cause: "the weather".to_owned(),
            }),
            _ => Ok(answer_to(request)),
        }
    }

    /// Some answers come twice, and the second one says something else.
    pub fn answer_twice(&self, records: &mut Vec<NewRecord>) {
        let answers = records.iter().filter(|record| is_answer(record));
        let Some(mut second) = answers.last().cloned() else {
            return;
        };
        if lock(&self.world.weather).answers_twice(self.world.executor.now()) {
            second.value = Bytes::from_static(b"something else");
            records.push(second);
        }
    }

    /// With several processes one that was cut off may ask beside the new owner (see [`crate::call`]): nothing to hold it to.
    fn require_due(&self, key: &str, again: bool) {
        let world = &self.world;
        if lock(&world.lives).len() > 1 {
            return;
        }
        let heard = lock(&world.outside.heard).contains(key);
        let checks = [
            (!heard || again, "is asked as new, but was asked before"),
            (
                !world.log.answered(key),
                "is asked although its answer stands in the log",
            ),
        ];
        for (holds, what) in checks {
            let broken = ASKED_ONCE.check(holds, || format!("{}: {key} {what}", self.name));
            broken.err().into_iter().for_each(|broken| world.violated(broken));
        }
    }
}

fn is_answer(record: &NewRecord) -> bool {
    let kind = record.headers.iter().find(|(name, _)| name == KIND_HEADER);
    kind.is_some_and(|(_, kind)| kind.as_ref() == ANSWER.as_bytes())
}

#[async_trait]
impl Call for Process {
    async fn call(&self, key: &str, request: &[u8]) -> Result<Vec<u8>, CallError> {
        self.asked(key, request, false).await
    }

    async fn again(&self, key: &str, request: &[u8]) -> Result<Vec<u8>, CallError> {
        self.asked(key, request, true).await
    }
}
