//! The questions of one task that are not answered yet: see [`crate::call`].

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Effect;
use crate::call::MAX_OPEN;
use crate::operator::CallRequest;

/// Open questions by key. Keys and requests are state: a function of the log up to the task's position.
#[derive(Debug, Default)]
pub(super) struct OpenCalls(BTreeMap<String, Open>);

#[derive(Debug)]
struct Open {
    request: Bytes,
    phase: Phase,
}

/// How far a question has come. Not state: after a restart all are [`Phase::Restored`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its commit has not happened yet.
    Asked,
    /// The driver has it.
    HandedOut,
    /// It was committed in another life, which may have asked it. Its answer may stand in the log, further on.
    Restored,
}

impl OpenCalls {
    /// How many more there may be.
    pub fn room(&self) -> usize {
        MAX_OPEN.saturating_sub(self.0.len())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// New questions. One whose key is open already is the same question.
    pub fn ask(&mut self, requests: Vec<CallRequest>, replayed: bool) {
        let phase = if replayed { Phase::Restored } else { Phase::Asked };
        for CallRequest { key, request } in requests {
            self.0.entry(key).or_insert(Open { request, phase });
        }
    }

    /// Closes a question; false when it is not open: answered before, or never asked.
    pub fn close(&mut self, key: &str) -> bool {
        self.0.remove(key).is_some()
    }

    /// The commit that holds the new questions has happened.
    pub fn committed(&mut self) -> Vec<Effect> {
        self.hand_out(Phase::Asked)
    }

    /// The input is read to its end: what is still open from another life has no answer.
    pub fn caught_up(&mut self) -> Vec<Effect> {
        self.hand_out(Phase::Restored)
    }

    fn hand_out(&mut self, from: Phase) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (key, open) in self.0.iter_mut().filter(|(_, open)| open.phase == from) {
            open.phase = Phase::HandedOut;
            effects.push(Effect::Call {
                request: CallRequest {
                    key: key.clone(),
                    request: open.request.clone(),
                },
                again: from == Phase::Restored,
            });
        }
        effects
    }

    /// For a snapshot: nothing when nothing is open, as the state of a stage that never asks has always been.
    pub fn save(&self, out: &mut Vec<u8>) -> Result<(), postcard::Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        let plain: Vec<(&str, &[u8])> = self.0.iter().map(|(key, open)| (&**key, &*open.request)).collect();
        out.extend(postcard::to_stdvec(&plain)?);
        Ok(())
    }

    /// What [`OpenCalls::save`] wrote.
    pub fn load(&mut self, bytes: &[u8]) -> Result<(), postcard::Error> {
        self.0.clear();
        if bytes.is_empty() {
            return Ok(());
        }
        let plain: Vec<(String, Vec<u8>)> = postcard::from_bytes(bytes)?;
        for (key, request) in plain {
            let open = Open {
                request: request.into(),
                phase: Phase::Restored,
            };
            self.0.insert(key, open);
        }
        Ok(())
    }
}
