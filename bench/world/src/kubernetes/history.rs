//! What has changed, for who watches.

use std::collections::VecDeque;

use serde_json::Value;

/// Changes remembered. A watch from before them is answered with 410.
const REMEMBERED: usize = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Added,
    Modified,
    Deleted,
}

impl Change {
    /// As watches say it.
    pub fn word(self) -> &'static str {
        match self {
            Change::Added => "ADDED",
            Change::Modified => "MODIFIED",
            Change::Deleted => "DELETED",
        }
    }
}

/// One change.
#[derive(Clone, Debug)]
pub struct Entry {
    pub version: u64,
    pub plural: String,
    pub change: Change,
    pub object: Value,
}

/// Changes, oldest first.
#[derive(Debug, Default)]
pub struct History {
    entries: VecDeque<Entry>,
    /// Changes up to here are forgotten.
    forgotten: u64,
    /// How often all watches were cut.
    cuts: u64,
}

impl History {
    pub(super) fn push(&mut self, version: u64, plural: &str, change: Change, object: Value) {
        if self.entries.len() == REMEMBERED
            && let Some(oldest) = self.entries.pop_front()
        {
            self.forgotten = oldest.version;
        }
        self.entries.push_back(Entry {
            version,
            plural: plural.to_owned(),
            change,
            object,
        });
    }

    /// What came after `version`; `None` if that is forgotten.
    pub fn since(&self, version: u64) -> Option<impl Iterator<Item = &Entry>> {
        let from = self.entries.partition_point(|entry| entry.version <= version);
        (version >= self.forgotten).then(|| self.entries.range(from..))
    }

    pub(super) fn forget(&mut self, version: u64) {
        self.entries.clear();
        self.forgotten = version;
    }

    pub(super) fn cut(&mut self) {
        self.cuts += 1;
    }

    pub fn cuts(&self) -> u64 {
        self.cuts
    }
}

impl super::Cluster {
    /// Every older version is forgotten from now on: who lists is told the newest, who watches from before is sent away with 410.
    pub fn forget_history(&mut self) {
        // A version of its own, so that what was listed before is older.
        self.version += 1;
        self.history.forget(self.version);
    }

    /// All watches break off in the middle of what they say.
    pub fn cut_watches(&mut self) {
        self.history.cut();
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// The newest `resourceVersion`.
    pub fn version(&self) -> u64 {
        self.version
    }
}
