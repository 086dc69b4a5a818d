//! `aegis ledger verify`: every chain of the ledger, and every record of `remediations` against its entry.
//!
//! An entry names the digest of its record. One about a record of somebody else names the record's offset as well; one about a record of
//! the gate itself was written in the same commit, and is found by its digest. So an entry that was changed, left out or put in shows,
//! and so does a record that was changed or that nobody entered.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use model::ledger::{Chain, LedgerEntry, digest};
use model::topics;
use serde::{Deserialize, Serialize};
use stream::progress::KIND_HEADER;
use stream::{Log, Offset, TopicPartition};

use crate::scan::scan;

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerReport {
    pub chains: u64,
    pub entries: u64,
    /// Records of `remediations` that have their entry.
    pub records: u64,
    /// Records behind what the gate has read: their entries are still to come.
    pub pending: u64,
    pub faults: Vec<String>,
}

/// What the entries say of one partition of `remediations`.
#[derive(Default)]
struct Said {
    /// By offset.
    placed: BTreeMap<u64, String>,
    /// Digests of the gate's own records.
    own: BTreeSet<String>,
    /// Where the gate's reading stood, at least.
    read_to: u64,
}

/// Reads the whole ledger.
pub async fn verify(log: &Arc<dyn Log>) -> anyhow::Result<LedgerReport> {
    let mut report = LedgerReport::default();
    let mut chains: BTreeMap<String, Chain> = BTreeMap::new();
    let mut broken: BTreeSet<String> = BTreeSet::new();
    let mut said: BTreeMap<String, Said> = BTreeMap::new();
    for partition in partitions(log, topics::LEDGER).await? {
        let bounds = log.bounds(&partition).await?;
        if bounds.start > Offset(0) {
            report.faults.push(format!(
                "{partition} has lost its beginning: it must be kept without limit"
            ));
        }
        scan(log, &partition, bounds.start, bounds.end, |record| {
            if record.header(KIND_HEADER).is_some() {
                return ControlFlow::Continue(());
            }
            report.entries += 1;
            let entry: LedgerEntry = match serde_json::from_slice(&record.value) {
                Ok(entry) => entry,
                Err(error) => {
                    report
                        .faults
                        .push(format!("{partition} at {}: no entry: {error}", record.offset.0));
                    return ControlFlow::Continue(());
                }
            };
            let chain = chains.entry(entry.chain.clone()).or_default();
            // Behind the first fault nothing of a chain can be believed.
            if !broken.contains(&entry.chain)
                && let Err(fault) = entry.verify(chain)
            {
                report.faults.push(fault.to_string());
                broken.insert(entry.chain.clone());
            }
            let said = said.entry(entry.chain.clone()).or_default();
            match entry.offset {
                Some(offset) => {
                    said.read_to = said.read_to.max(offset + 1);
                    said.placed.insert(offset, entry.digest);
                }
                None => {
                    said.own.insert(entry.digest);
                }
            }
            ControlFlow::Continue(())
        })
        .await?;
    }
    report.chains = chains.len() as u64;
    // Records of topics before a repartition stand elsewhere now: of their entries the digests remain.
    let generation = generation_of(said.keys());
    let older = said.iter().filter(|(chain, _)| topic_of(chain) != generation);
    let older: BTreeSet<String> = older
        .flat_map(|(_, said)| said.placed.values().chain(&said.own))
        .cloned()
        .collect();
    for partition in partitions(log, topics::REMEDIATIONS).await? {
        let chain = format!("{generation}-{}", partition.partition);
        let mut said = said.remove(&chain).unwrap_or_default();
        said.own.extend(older.iter().cloned());
        compare(log, &partition, &said, &mut report).await?;
    }
    Ok(report)
}

fn topic_of(chain: &str) -> &str {
    chain.rsplit_once('-').map_or(chain, |(topic, _)| topic)
}

/// The topic of the newest generation that has entries: `remediations`, `remediations.g2`, …
fn generation_of<'a>(chains: impl Iterator<Item = &'a String>) -> String {
    let number = |topic: &str| {
        topic
            .rsplit_once(".g")
            .and_then(|(_, number)| number.parse::<u32>().ok())
    };
    chains
        .map(|chain| topic_of(chain))
        .max_by_key(|topic| number(topic).unwrap_or(0))
        .unwrap_or(topics::REMEDIATIONS)
        .to_owned()
}

async fn compare(
    log: &Arc<dyn Log>,
    partition: &TopicPartition,
    said: &Said,
    report: &mut LedgerReport,
) -> anyhow::Result<()> {
    let bounds = log.bounds(partition).await?;
    let mut found = BTreeSet::new();
    scan(log, partition, bounds.start, bounds.end, |record| {
        if record.header(KIND_HEADER).is_some() {
            return ControlFlow::Continue(());
        }
        let (offset, digest) = (record.offset.0, digest(&record.value));
        let entered = said.placed.get(&offset).is_some_and(|entered| *entered == digest) || said.own.contains(&digest);
        if entered {
            report.records += 1;
        } else if said.placed.contains_key(&offset) {
            let fault = format!("{partition} at {offset}: the record is not the one that was entered");
            report.faults.push(fault);
        } else if offset >= said.read_to {
            report.pending += 1;
        } else {
            let fault = format!("{partition} at {offset}: nobody entered this record");
            report.faults.push(fault);
        }
        found.insert(offset);
        ControlFlow::Continue(())
    })
    .await?;
    for offset in said
        .placed
        .keys()
        .filter(|offset| **offset >= bounds.start.0 && !found.contains(offset))
    {
        report
            .faults
            .push(format!("{partition} at {offset}: the record that was entered is gone"));
    }
    Ok(())
}

async fn partitions(log: &Arc<dyn Log>, topic: &str) -> anyhow::Result<Vec<TopicPartition>> {
    let count = log.partitions(topic).await?;
    Ok((0..count)
        .map(|partition| TopicPartition::new(topic, partition))
        .collect())
}
