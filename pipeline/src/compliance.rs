//! What the log says about compliance: the records of the policies, and the evidence for a control.
//!
//! Read anew for each question, from the log alone, so that it is the same whoever asks: `aegis compliance` and the API. A record that nobody of
//! this installation signed counts for nothing, and is counted.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use ::agents::compliance::{LedgerHead, LedgerMark, Policies, once, pack};
use async_trait::async_trait;
use gateway::{ComplianceReads, ControlView, ReadError};
use model::ledger::LedgerEntry;
use model::{ComplianceRecord, Signer, Verdict, topics};
use serde::{Deserialize, Serialize};
use stream::progress::KIND_HEADER;
use stream::{Log, Record, TopicPartition};

use crate::scan::scan;
use crate::workers::authentic;

/// Everything that is there.
#[derive(Default)]
struct Read {
    records: Vec<ComplianceRecord>,
    /// Records that nobody of this installation wrote, or that cannot be read.
    strange: u64,
    marks: Vec<LedgerMark>,
    heads: Vec<LedgerHead>,
}

/// A control and what the log holds about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlRow {
    pub control: String,
    pub title: String,
    pub policies: Vec<String>,
    pub passes: u64,
    pub violations: u64,
}

/// Answers to `aegis compliance list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlList {
    pub controls: Vec<ControlRow>,
    pub strange: u64,
}

/// Where it is read from.
#[derive(Clone)]
pub struct ComplianceDesk {
    pub log: Arc<dyn Log>,
    pub signer: Signer,
    pub policies: Arc<Policies>,
}

impl ComplianceDesk {
    /// Every control that a policy serves or a record speaks of, by id.
    pub async fn list(&self) -> anyhow::Result<ControlList> {
        let read = self.read(false).await?;
        let mut rows: BTreeMap<String, ControlRow> = BTreeMap::new();
        for control in self.policies.controls() {
            let row = rows.entry(control.id.clone()).or_default();
            (row.title, row.policies) = (control.title, control.policies);
        }
        for record in once(&read.records) {
            for control in &record.controls {
                let row = rows.entry(control.clone()).or_default();
                match record.verdict {
                    Verdict::Pass => row.passes += 1,
                    Verdict::Violation => row.violations += 1,
                }
            }
        }
        let named = |(control, row): (String, ControlRow)| ControlRow { control, ..row };
        Ok(ControlList {
            controls: rows.into_iter().map(named).collect(),
            strange: read.strange,
        })
    }

    /// Records of one control, newest first; `None`: there is no such control.
    pub async fn records(&self, control: &str) -> anyhow::Result<Option<Vec<ComplianceRecord>>> {
        let read = self.read(false).await?;
        let mut found: Vec<ComplianceRecord> = once(&read.records)
            .into_iter()
            .filter(|record| record.controls.iter().any(|one| one == control))
            .collect();
        found.reverse();
        let known = self.policies.controls().iter().any(|one| one.id == control);
        Ok((known || !found.is_empty()).then_some(found))
    }

    /// The evidence pack of one control; `None`: there is no such control.
    pub async fn evidence(&self, control: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let read = self.read(true).await?;
        Ok(pack(control, &self.policies, &read.records, &read.marks, &read.heads))
    }

    async fn read(&self, with_ledger: bool) -> anyhow::Result<Read> {
        let mut read = Read::default();
        self.each(topics::COMPLIANCE, |record| {
            if record.header(topics::header::TYPE).is_none() {
                return;
            }
            match serde_json::from_slice(&record.value) {
                Ok(one) if authentic(&self.signer, topics::COMPLIANCE, record) => read.records.push(one),
                _ => read.strange += 1,
            }
        })
        .await?;
        if with_ledger {
            let mut heads: BTreeMap<String, LedgerHead> = BTreeMap::new();
            self.each(topics::LEDGER, |record| {
                let Ok(entry) = serde_json::from_slice::<LedgerEntry>(&record.value) else {
                    return;
                };
                let head = heads.entry(entry.chain.clone()).or_insert_with(|| LedgerHead {
                    chain: entry.chain.clone(),
                    entries: 0,
                    head: String::new(),
                });
                if entry.sequence >= head.entries {
                    (head.entries, head.head) = (entry.sequence + 1, entry.hash.clone());
                }
                read.marks.push(LedgerMark {
                    chain: entry.chain,
                    sequence: entry.sequence,
                    hash: entry.hash,
                    digest: entry.digest,
                });
            })
            .await?;
            read.heads = heads.into_values().collect();
        }
        Ok(read)
    }

    /// Shows every record of a topic that is not the log's own.
    async fn each(&self, topic: &str, mut show: impl FnMut(&Record)) -> anyhow::Result<()> {
        for partition in 0..self.log.partitions(topic).await? {
            let partition = TopicPartition::new(topic, partition);
            let bounds = self.log.bounds(&partition).await?;
            scan(&self.log, &partition, bounds.start, bounds.end, |record| {
                if record.header(KIND_HEADER).is_none() {
                    show(record);
                }
                ControlFlow::Continue(())
            })
            .await?;
        }
        Ok(())
    }
}

fn unavailable(error: anyhow::Error) -> ReadError {
    ReadError::Unavailable(format!("{error:#}"))
}

#[async_trait]
impl ComplianceReads for ComplianceDesk {
    async fn controls(&self) -> Result<Vec<ControlView>, ReadError> {
        let list = self.list().await.map_err(unavailable)?;
        let view = |row: ControlRow| ControlView {
            control: row.control,
            title: row.title,
            policies: row.policies,
            passes: row.passes,
            violations: row.violations,
        };
        Ok(list.controls.into_iter().map(view).collect())
    }

    async fn records(&self, control: &str) -> Result<Option<Vec<ComplianceRecord>>, ReadError> {
        ComplianceDesk::records(self, control).await.map_err(unavailable)
    }

    async fn evidence(&self, control: &str) -> Result<Option<Vec<u8>>, ReadError> {
        ComplianceDesk::evidence(self, control).await.map_err(unavailable)
    }
}
