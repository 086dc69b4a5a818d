//! `aegis repartition`: another number of partitions for the keyed topics, with all records and all state (ADR 19).
//!
//! ```text
//! drain ─► books balance ─► `begun` ─► copy records ─► divide state ─► positions ─► `switched`
//! └──────── nothing is changed ────┘  └─ in topics, folders and positions that nobody reads ─┘
//! ```
//! Until `switched` stands in the topology everything that was there is as it was, so a process that dies anywhere leaves a whole
//! old generation or a whole new one. Started again it goes on: what was copied is counted, not copied again, as long as the old
//! topics still hold exactly what they held when it began; else the attempt is given up and another generation begun.
//!
//! Nothing else may run meanwhile: on the embedded log the folder's lock sees to that; on a broker the groups must be empty
//! when it begins and when it ends, and between the two no other process starts.

mod copy;
mod old;
mod positions;

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context as _;
use model::topics;
use serde::Serialize;
use sinks::archive::ArchiveSink;
use sinks::sql::SqlSink;
use stream::driver::{CarryFrom, Mode};
use stream::{Log, LogError, Offset, TopicPartition, failpoint};
use tokio_util::sync::CancellationToken;

use crate::audit;
use crate::cli::Exit;
use crate::config::Config;
use crate::control::Client;
use crate::generations::{self, Begun, GenerationLog, KEPT, Layout, Opening, TOPOLOGY, What};
use crate::topology::{STAGES, Topology};
use crate::world::{OpenLog, World, open_log, snapshots_of};
use old::{Old, retire};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// `None`: that of the repartition that was begun.
    pub partitions: Option<u32>,
    pub dry_run: bool,
    /// Go on although the books of the old generation do not balance.
    pub unbalanced: bool,
}

/// How it goes, for a progress bar.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    Phase(&'static str),
    /// Records that will be looked at.
    Total(u64),
    /// Records looked at since.
    Done(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A dry run.
    Planned,
    Moved,
    NothingToDo,
    Abandoned,
}

/// What was done, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub outcome: Outcome,
    /// The generation that is current afterwards.
    pub generation: u32,
    pub partitions_before: u32,
    pub partitions: u32,
    /// An earlier attempt had got some way.
    pub resumed: bool,
    pub topics: Vec<Moved>,
    /// Items that are held in state, and went along.
    pub held: u64,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    pub topic: String,
    pub partitions_before: u32,
    pub partitions: u32,
    /// Offsets in the old topic; some of them are the kernel's own records, or a broker's, and are left behind.
    pub records: u64,
}

/// Carries it out. `tell` hears how it goes.
pub async fn repartition(
    config: &Config,
    order: Order,
    stop: &CancellationToken,
    tell: &(dyn Fn(Told) + Sync),
) -> anyhow::Result<Summary> {
    let opened = open_alone(config).await?;
    let begun = opened.history.open.clone();
    let partitions = wanted(order, begun.as_ref())?;
    let old = Old::look(&opened).await?;
    let mut summary = old.summary(partitions);
    if begun.is_none() && old.right(partitions) {
        retire(config, &opened.raw, &opened.layout).await?;
        summary.outcome = Outcome::NothingToDo;
        return Ok(summary);
    }
    let goes_on = begun.filter(|begun| begun.from == old.bounds);
    summary.resumed = goes_on.is_some();
    if order.dry_run {
        return Ok(summary);
    }
    let (raw, history) = (opened.raw.clone(), opened.history.clone());
    let layout = opened.layout.clone();
    let world = World::open_to_drain(config, opened).await?;
    let moved = async {
        let begun = match goes_on {
            Some(begun) => begun,
            None => {
                if let Some(stale) = &history.open {
                    let generation = stale.generation;
                    generations::write(&raw, What::Abandoned { generation }).await?;
                }
                if history.current.is_none() {
                    generations::write(&raw, What::Founded(layout.clone())).await?;
                }
                tell(Told::Phase("draining"));
                drain(&world, order, stop).await?;
                let begun = Begun {
                    generation: history.highest + 1,
                    partitions,
                    from: Old::bounds_of(&world.runtime.log, &old.counts).await?,
                };
                generations::write(&raw, What::Begun(begun.clone())).await?;
                begun
            }
        };
        failpoint::hit("repartition.begun");
        let layout = move_all(&world, &old, &begun, stop, tell).await?;
        no_strangers(&raw, &groups()).await?;
        generations::write(&raw, What::Switched(layout.clone())).await?;
        failpoint::hit("repartition.switched");
        anyhow::Ok(layout)
    }
    .await;
    let done = match moved {
        Ok(layout) => {
            let held = layout.opening.as_ref().map_or(0, |opening| opening.held.values().sum());
            retire(config, &raw, &layout).await.map(|()| (layout.generation, held))
        }
        Err(error) => Err(error),
    };
    world.close().await?;
    (summary.generation, summary.held) = done?;
    summary.outcome = Outcome::Moved;
    Ok(summary)
}

/// Gives up what was begun. The old generation is untouched.
pub async fn abandon(config: &Config) -> anyhow::Result<Summary> {
    let opened = open_alone(config).await?;
    let Some(begun) = &opened.history.open else {
        return Err(Exit::NotFound.because("no repartition was begun: there is nothing to give up"));
    };
    let generation = begun.generation;
    generations::write(&opened.raw, What::Abandoned { generation }).await?;
    let keyed = opened.layout.keyed();
    Ok(Summary {
        outcome: Outcome::Abandoned,
        ..Old::look(&opened).await?.summary(keyed)
    })
}

/// Opens the log, if nobody else uses it.
async fn open_alone(config: &Config) -> anyhow::Result<OpenLog> {
    if Client::connect(&config.data.dir).await.is_some() {
        return Err(Exit::Unavailable.because(format!(
            "an aegis runs on {}: stop it first (SIGTERM), records and state can be moved only while nothing reads them",
            config.data.dir.display()
        )));
    }
    let opened = open_log(config).await?;
    if let Err(LogError::UnknownTopic(_)) = opened.log.partitions(topics::SIGNALS).await {
        return Err(Exit::NotFound.because(
            "there are no topics yet: set topics.partitions and start with `aegis run`, there is nothing to move",
        ));
    }
    no_strangers(&opened.raw, &groups()).await?;
    Ok(opened)
}

/// Every group that reads a topic which moves.
fn groups() -> Vec<String> {
    let stages = STAGES.iter().map(|stage| format!("aegis.{}", stage.name));
    let sinks = [SqlSink::NAME, ArchiveSink::NAME].map(|sink| format!("aegis.sink.{sink}"));
    stages.chain(sinks).collect()
}

async fn no_strangers(raw: &Arc<dyn Log>, groups: &[String]) -> anyhow::Result<()> {
    for group in groups {
        let members = raw.strangers(group).await?;
        if members > 0 {
            return Err(Exit::Unavailable.because(format!(
                "group {group} has {members} members: stop every aegis on this log first (SIGTERM); one that died without a word \
                 is a member until its session ends (log.kafka.session_timeout_ms)"
            )));
        }
    }
    Ok(())
}

fn wanted(order: Order, begun: Option<&Begun>) -> anyhow::Result<u32> {
    match (order.partitions, begun) {
        (Some(wanted), Some(begun)) if wanted != begun.partitions => Err(Exit::Usage.because(format!(
            "a repartition to {} partitions was begun: finish it with that number, or give it up with --abandon",
            begun.partitions
        ))),
        (Some(wanted), _) => Ok(wanted),
        (None, Some(begun)) => Ok(begun.partitions),
        (None, None) => {
            Err(Exit::Usage.because("how many partitions? `aegis repartition --partitions N`; none was begun before"))
        }
    }
}

/// Whether a topic is rewritten.
fn moves(topic: &str) -> bool {
    topic != TOPOLOGY && !KEPT.contains(&topic)
}

/// Reads everything to its end, stage by stage, and the sinks; then the books must balance.
/// Passes over all stages after which what is still unread is said. A command leads to facts, these to steps: a handful settle it.
const PASSES: u32 = 8;

async fn drain(world: &World, order: Order, stop: &CancellationToken) -> anyhow::Result<()> {
    let mut passes = 0;
    let report = loop {
        world.run_to_end(Mode::ToEnd { past: None }, stop.clone()).await?;
        interrupted(stop)?;
        let report = audit::conservation(&world.runtime.log).await?;
        passes += 1;
        // Stages also write to topics that stages before them read.
        if passes == PASSES || report.stages.iter().all(|one| one.unread == 0) {
            break report;
        }
    };
    if !report.balanced && !order.unbalanced {
        return Err(Exit::Unbalanced.because(format!(
            "nothing was moved: the books do not balance in {} places, and a new generation would hide that; see \
             `aegis audit conservation`, or go on with --unbalanced",
            report.findings.len()
        )));
    }
    let mut behind = report.stages.iter().filter(|one| one.topic != topics::EVENTS_RAW);
    if let Some(one) = behind.find(|one| one.unread > 0) {
        return Err(Exit::Unavailable.because(format!(
            "nothing was moved: {} has {} records that {} has not read, somebody else writes to it",
            one.topic, one.unread, one.stage
        )));
    }
    Ok(())
}

fn interrupted(stop: &CancellationToken) -> anyhow::Result<()> {
    match stop.is_cancelled() {
        true => Err(Exit::Failed.because("interrupted; the same command goes on where it was")),
        false => Ok(()),
    }
}

/// Everything up to the switch. Each step may have been done before, by a process that died.
async fn move_all(
    world: &World,
    old: &Old,
    begun: &Begun,
    stop: &CancellationToken,
    tell: &(dyn Fn(Told) + Sync),
) -> anyhow::Result<Layout> {
    let mut layout = old.next(begun);
    let (config, raw) = (&world.config, &world.raw);
    let topology = Topology::of(config, &layout, config.signer()?);
    let log = GenerationLog::over(raw.clone(), &layout);
    let mut specs = topology.topics(config);
    specs.retain(|spec| moves(&spec.name));
    log.ensure_topics(&specs).await?;

    tell(Told::Phase("rewriting"));
    tell(Told::Total(begun.from.values().map(|(start, end)| end - start).sum()));
    for (topic, partitions) in old.counts.iter().filter(|(topic, _)| moves(topic)) {
        let from = (&world.runtime.log, *partitions);
        copy::topic(topic, from, &begun.from, (&log, begun), stop, tell).await?;
    }
    // A topic that the old generation did not have yet is as empty as a new one, but for its first record.
    for spec in specs.iter().filter(|spec| !old.counts.contains_key(&*spec.name)) {
        copy::topic(
            &spec.name,
            (&world.runtime.log, 0),
            &begun.from,
            (&log, begun),
            stop,
            tell,
        )
        .await?;
    }
    failpoint::hit("repartition.copied");

    tell(Told::Phase("dividing the state"));
    let mut opening = Opening {
        incomplete: incomplete(begun),
        ..Opening::default()
    };
    for (topic, place) in &layout.topics {
        for number in 0..place.partitions {
            let partition = TopicPartition::new(topic.as_str(), number);
            let offset = match topic.as_str() {
                topics::EVENTS_RAW => log.committed("aegis.normalize", &partition).await?.unwrap_or_default(),
                _ => match log.bounds(&partition).await {
                    Err(LogError::UnknownTopic(_)) => Offset(0),
                    bounds => bounds?.end,
                },
            };
            opening.offsets.insert(partition.to_string(), offset.0);
        }
    }
    let snapshots = snapshots_of(config, &layout);
    for stage in STAGES.iter().filter(|stage| moves(stage.input)) {
        let offsets: Vec<Offset> = (0..begun.partitions)
            .map(|number| TopicPartition::new(stage.input, number))
            .map(|partition| Offset(opening.offsets.get(&partition.to_string()).copied().unwrap_or(0)))
            .collect();
        let group = format!("aegis.{}", stage.name);
        let mut committed = Vec::new();
        for number in 0..old.counts.get(stage.input).copied().unwrap_or(0) {
            let partition = TopicPartition::new(stage.input, number);
            committed.push(world.runtime.log.committed(&group, &partition).await?);
        }
        let from = CarryFrom {
            store: &world.runtime.snapshots,
            topology: world.topology.hash(),
            committed: &committed,
        };
        let held = (stage.make)(&topology, config)
            .carry(from, snapshots.as_ref(), &offsets)
            .await
            .with_context(|| format!("dividing the state of {}", stage.name))?;
        for (number, held) in held.into_iter().enumerate() {
            opening.held.insert(format!("{}/{number}", stage.name), held);
        }
        positions::stand(&log, &group, stage.input, &offsets).await?;
        interrupted(stop)?;
    }
    log.sync().await?;
    failpoint::hit("repartition.carried");
    positions::sinks(world, &layout, &opening).await?;
    failpoint::hit("repartition.sinks");
    layout.opening = Some(opening);
    Ok(layout)
}

/// Topics that retention had taken something from before they were copied.
fn incomplete(begun: &Begun) -> BTreeSet<String> {
    let cut = begun.from.iter().filter(|(_, (start, _))| *start > 0);
    cut.filter_map(|(partition, _)| Some(partition.rsplit_once('/')?.0.to_owned()))
        .collect()
}
