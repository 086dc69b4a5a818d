//! What a start of this program would make of the state that another start left behind: `aegis upgrade --check`, and the
//! refusal of [`crate::world::World::open`] before anything is written.
//!
//! State may be replayed only under the logic and the settings that emitted (KERNEL rule 5). For each stage and partition the
//! driver's own plan is asked, so the check cannot disagree with the start. It reads; the embedded log is opened for that, so no
//! other process may hold it.

use std::sync::Arc;

use serde::Serialize;
use stream::driver::{RestoreCheck, Standing};
use stream::snapshot::{How, SnapshotStore, difference};
use stream::{Log, LogError, Offset, TopicPartition};

use crate::config::{Config, LogKind};
use crate::topology::{STAGES, Topology};

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether `aegis run` would start.
    pub starts: bool,
    /// Why not, where it is not the state of a stage: topics that are being moved, or have other partitions than they should.
    pub refused: Option<String>,
    pub log: LogKind,
    pub log_id: String,
    /// Of the embedded log's files; a broker's are its own business.
    pub log_format: Option<u32>,
    /// The generation of the topics, and how many partitions its keyed ones have.
    pub generation: u32,
    pub keyed_partitions: u32,
    pub topology: String,
    pub partitions: Vec<PartitionReport>,
}

/// One partition of one stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionReport {
    pub stage: &'static str,
    pub partition: u32,
    /// The next offset to process; `None`: nothing was ever committed.
    pub committed: Option<u64>,
    /// The first offset that the log still has.
    pub log_start: u64,
    /// This program's.
    pub logic_version: u32,
    /// The newest snapshot.
    pub snapshot: Option<SnapshotReport>,
    pub verdict: Verdict,
    /// What that means, and what to do.
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotReport {
    pub name: String,
    pub format: u8,
    pub offset: u64,
    pub at_committed: bool,
    pub logic_version: u32,
    pub same_topology: bool,
    /// What differs, or empty. A snapshot of format 1 does not say; it is taken as the same.
    pub settings_changed: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    AsIs,
    NewSettings,
    Migrates,
    /// No snapshot: the state is made from the log.
    FromLog,
    Refused,
}

impl Verdict {
    pub fn words(self) -> &'static str {
        match self {
            Verdict::AsIs => "starts as is",
            Verdict::NewSettings => "takes new settings",
            Verdict::Migrates => "will migrate",
            Verdict::FromLog => "starts from the log",
            Verdict::Refused => "refused",
        }
    }
}

/// Looks at every stage and partition. `deep`: reads every object that a start would read.
pub async fn report(
    config: &Config,
    topology: &Topology,
    log: &dyn Log,
    snapshots: &Arc<dyn SnapshotStore>,
    deep: bool,
) -> anyhow::Result<Report> {
    let mut partitions = Vec::new();
    for entry in STAGES {
        let stage = (entry.make)(topology, config);
        for number in 0..inputs_of(log, topology, entry.input).await? {
            let at = standing(log, entry.name, &TopicPartition::new(entry.input, number)).await?;
            let check = stage.check(snapshots, number, at, deep).await?;
            partitions.push(judge(entry.name, number, topology, at, check));
        }
    }
    Ok(Report {
        refused: None,
        starts: partitions.iter().all(|one| one.verdict != Verdict::Refused),
        log: config.log.kind,
        log_id: log.id().0,
        log_format: (config.log.kind == LogKind::Embedded).then_some(sources::embedded::FORMAT_VERSION),
        generation: topology.layout.generation,
        keyed_partitions: topology.layout.keyed(),
        topology: topology.hash().to_owned(),
        partitions,
    })
}

/// The error with which a start ends when its state cannot be taken over. A log that does not say what is committed (Kafka, while a
/// transaction of a process that was killed is still open) is no reason not to start: each stage asks again and decides by
/// the same plan before it emits.
pub async fn refuse_early(
    config: &Config,
    topology: &Topology,
    log: &dyn Log,
    snapshots: &Arc<dyn SnapshotStore>,
) -> anyhow::Result<()> {
    let report = match report(config, topology, log, snapshots, false).await {
        Err(error) if matches!(error.downcast_ref(), Some(LogError::Unavailable { .. })) => {
            tracing::warn!(%error, "the stages will see for themselves whether they can take over their state");
            return Ok(());
        }
        other => other?,
    };
    match report.partitions.iter().find(|one| one.verdict == Verdict::Refused) {
        Some(refused) => Err(anyhow::anyhow!("not started, nothing was written: {}", refused.detail)),
        None => Ok(()),
    }
}

/// Partitions of a stage's input: `events.raw` may have got more.
async fn inputs_of(log: &dyn Log, topology: &Topology, input: &str) -> Result<u32, LogError> {
    let recorded = topology.layout.partitions(input);
    if *input != *model::topics::EVENTS_RAW {
        return Ok(recorded);
    }
    match log.partitions(input).await {
        Err(LogError::UnknownTopic(_)) => Ok(recorded),
        found => Ok(found?.max(recorded)),
    }
}

async fn standing(log: &dyn Log, stage: &str, partition: &TopicPartition) -> Result<Standing, LogError> {
    let nothing = Standing {
        committed: None,
        start: Offset(0),
    };
    // Topics are made after this: before the first start there are none.
    let missing = |error: &LogError| matches!(error, LogError::UnknownTopic(_) | LogError::UnknownPartition(_));
    let start = match log.bounds(partition).await {
        Ok(bounds) => bounds.start,
        Err(error) if missing(&error) => return Ok(nothing),
        Err(error) => return Err(error),
    };
    let committed = log.committed(&format!("aegis.{stage}"), partition).await?;
    Ok(Standing { committed, start })
}

fn judge(
    stage: &'static str,
    partition: u32,
    topology: &Topology,
    at: Standing,
    check: RestoreCheck,
) -> PartitionReport {
    let committed = at.committed.unwrap_or_default();
    let snapshot = check.newest.as_ref().map(|newest| {
        let found = &newest.manifest.identity;
        SnapshotReport {
            name: newest.name.clone(),
            format: newest.format,
            offset: newest.manifest.offset.0,
            at_committed: newest.manifest.offset == committed,
            logic_version: found.logic_version,
            same_topology: found.topology == topology.hash(),
            settings_changed: match &found.settings {
                Some(settings) => difference(Some(settings), Some(&check.settings)),
                None => String::new(),
            },
        }
    });
    let (verdict, detail) = match &check.verdict {
        Err(error) => (Verdict::Refused, error.to_string()),
        Ok(None) if check.stateless => (Verdict::FromLog, "keeps no state".to_owned()),
        Ok(None) if committed == Offset(0) => (Verdict::FromLog, "nothing was committed yet".to_owned()),
        Ok(None) if at.start > Offset(0) => (
            Verdict::FromLog,
            format!(
                "no snapshot can be used, and the log begins at {}: what is older is forgotten; restore the snapshots from a backup to keep it",
                at.start.0
            ),
        ),
        Ok(None) => (
            Verdict::FromLog,
            format!("no snapshot can be used; {} records are read again", committed.0),
        ),
        Ok(Some((used, how))) => {
            let replay = committed.0.saturating_sub(used.manifest.offset.0);
            match how {
                How::AsIs => (
                    Verdict::AsIs,
                    format!("snapshot {}, {replay} records are replayed", used.name),
                ),
                How::NewSettings => (
                    Verdict::NewSettings,
                    format!("snapshot {} stands at the committed offset", used.name),
                ),
                How::Migrate => (
                    Verdict::Migrates,
                    format!(
                        "snapshot {} stands at the committed offset; logic version {} becomes {}",
                        used.name, used.manifest.identity.logic_version, check.logic_version
                    ),
                ),
            }
        }
    };
    PartitionReport {
        stage,
        partition,
        committed: at.committed.map(|offset| offset.0),
        log_start: at.start.0,
        logic_version: check.logic_version,
        snapshot,
        verdict,
        detail,
    }
}
