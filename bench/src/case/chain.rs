//! A chain of stages over a log of the chosen kind, run as the product runs them.

use std::sync::Arc;
use std::time::Duration;

use model::topics;
use stream::driver::{Mode, Runtime, Stage, StageError, run_stage};
use stream::health::Health;
use stream::log::memory::MemoryLog;
use stream::log::{LogId, Record};
use stream::progress::{IngressPolicy, is_data};
use stream::snapshot::MemorySnapshots;
use stream::task::{DeadLetters, Role, TaskSettings};
use stream::time::WallClock;
use stream::{Log, NewRecord, Operator, TopicPartition, TopicSpec};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::feeder::Feeder;
use crate::{LogArguments, LogKind};

/// Past the newest event by more than any window or join of the cases reaches.
const CLOSE: Duration = Duration::from_secs(3600);

pub struct Chain {
    pub runtime: Runtime,
    pub partitions: u32,
    policy: IngressPolicy,
    /// Holds the embedded log's folder until the end.
    _folder: Option<tempfile::TempDir>,
}

type Again = Box<dyn Fn(Mode, CancellationToken) -> JoinHandle<Result<(), StageError>>>;

struct RunningStage {
    stop: CancellationToken,
    running: JoinHandle<Result<(), StageError>>,
    again: Again,
}

pub struct Running<'a> {
    chain: &'a Chain,
    stages: Vec<RunningStage>,
}

impl Chain {
    pub async fn open(arguments: &LogArguments, policy: IngressPolicy) -> anyhow::Result<Self> {
        let mut folder = None;
        let log: Arc<dyn Log> = match arguments.log {
            LogKind::Memory => Arc::new(MemoryLog::with_id(LogId("bench".into()))),
            LogKind::Embedded => {
                let folder = folder.insert(tempfile::tempdir()?);
                crate::logs::embedded(folder.path()).await?
            }
            LogKind::Kafka => crate::logs::kafka(&arguments.broker.kafka).await?,
        };
        let specs: Vec<TopicSpec> = topics::ALL
            .iter()
            .map(|name| TopicSpec {
                name: (*name).into(),
                partitions: arguments.partitions,
                retention: Default::default(),
            })
            .collect();
        log.ensure_topics(&specs).await?;
        let runtime = Runtime {
            log,
            snapshots: Arc::new(MemorySnapshots::default()),
            clock: Arc::new(WallClock),
            health: Health::default(),
            snapshot_every: Duration::from_secs(3600),
        };
        Ok(Chain {
            runtime,
            partitions: arguments.partitions,
            policy,
            _folder: folder,
        })
    }

    pub fn start(&self) -> Running<'_> {
        Running {
            chain: self,
            stages: Vec::new(),
        }
    }

    pub fn feeder(&self) -> Feeder {
        Feeder::new(&self.runtime.log, &self.runtime.clock, self.partitions)
    }

    /// Runs one stage over all that its input holds, then closes event time.
    pub async fn to_end<O: Operator>(
        &self,
        input: &'static str,
        output: &'static str,
        role: Role,
        make: impl Fn() -> O + Send + Sync + 'static,
    ) -> anyhow::Result<()> {
        let stage = Stage {
            input: input.into(),
            settings: self.settings(output, role),
            make: Box::new(move |_| make()),
            call: None,
            keyed: None,
        };
        let mode = Mode::ToEnd { past: Some(CLOSE) };
        Ok(run_stage(stage, self.runtime.clone(), mode, CancellationToken::new()).await?)
    }

    pub fn ingress(&self) -> Role {
        Role::Ingress(self.policy)
    }

    pub fn downstream(&self) -> Role {
        Role::Downstream {
            upstream_partitions: self.partitions,
        }
    }

    /// Every data record of a topic.
    pub async fn read_all(
        &self,
        topic: &str,
        mut take: impl FnMut(&Record) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for partition in 0..self.partitions {
            let partition = TopicPartition::new(topic, partition);
            let bounds = self.runtime.log.bounds(&partition).await?;
            let mut reader = self.runtime.log.reader(&partition, bounds.start).await?;
            let mut at = bounds.start;
            while at < bounds.end {
                let (records, next) = reader.read(10_000, Duration::from_secs(5)).await?;
                records
                    .iter()
                    .filter(|record| is_data(record))
                    .try_for_each(&mut take)?;
                if records.is_empty() && next == at {
                    break;
                }
                at = next;
            }
        }
        Ok(())
    }

    fn settings(&self, output: &str, role: Role) -> TaskSettings {
        TaskSettings {
            topology: "bench".into(),
            role,
            output: (output.into(), self.partitions),
            sides: topics::ALL
                .iter()
                .map(|name| ((*name).into(), self.partitions))
                .collect(),
            accounting: topics::ACCOUNTING.into(),
            dead_letters: DeadLetters {
                topic: topics::DEAD_LETTER.into(),
                encode: Arc::new(|refused| NewRecord {
                    value: refused.record.value.clone(),
                    ..NewRecord::default()
                }),
            },
            progress_step: Duration::from_secs(1),
        }
    }
}

impl Running<'_> {
    /// The first stage.
    pub fn ingress<O: Operator>(
        &mut self,
        input: &'static str,
        output: &'static str,
        make: impl Fn() -> O + Send + Sync + Clone + 'static,
    ) {
        self.add(input, self.chain.settings(output, self.chain.ingress()), make);
    }

    /// A later stage.
    pub fn stage<O: Operator>(
        &mut self,
        input: &'static str,
        output: &'static str,
        make: impl Fn() -> O + Send + Sync + Clone + 'static,
    ) {
        self.add(input, self.chain.settings(output, self.chain.downstream()), make);
    }

    fn add<O: Operator>(
        &mut self,
        input: &'static str,
        settings: TaskSettings,
        make: impl Fn() -> O + Send + Sync + Clone + 'static,
    ) {
        let runtime = self.chain.runtime.clone();
        let again: Again = Box::new(move |mode, stop| {
            let make = make.clone();
            let stage = Stage {
                input: input.into(),
                settings: settings.clone(),
                make: Box::new(move |_| make()),
                call: None,
                keyed: None,
            };
            tokio::spawn(run_stage(stage, runtime.clone(), mode, stop))
        });
        let stop = CancellationToken::new();
        self.stages.push(RunningStage {
            stop: stop.clone(),
            running: again(Mode::Live, stop),
            again,
        });
    }

    /// Stops the stages as they stand.
    pub async fn stop(self) -> anyhow::Result<()> {
        for RunningStage { stop, running, .. } in self.stages {
            stop.cancel();
            running.await??;
        }
        Ok(())
    }

    /// The input has ended: stage by stage, downstream, stop, restore, run to the end and close event time.
    pub async fn finish(self) -> anyhow::Result<()> {
        for RunningStage { stop, running, again } in self.stages {
            stop.cancel();
            running.await??;
            again(Mode::ToEnd { past: Some(CLOSE) }, CancellationToken::new()).await??;
        }
        Ok(())
    }
}
