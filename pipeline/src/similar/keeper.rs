//! Keeps the vectors up with the log, whatever becomes of store and model, and counts how far behind they are.
//!
//! Its sinks run under a health of their own: what holds them up degrades the process (`/readyz`), and never makes it unready, nor ends it. One
//! that ended with an error is started again, as is one whose model is not the chosen one any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sinks::worker::real_partition;
use stream::driver::{Mode, Runtime, SinkDriverError, run_sink};
use stream::health::Health;
use stream::{Log, TopicPartition};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vectors::{Engine, Projection, Reads};

use super::Similar;
use crate::generations::{GenerationSink, Layout};
use crate::topology::dead_letters;

/// Its name among the degraded parts.
const PART: &str = "similar incidents";
/// Before what ended is started again.
const AGAIN: Duration = Duration::from_secs(5);
/// Between two counts of the backlog.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Runs until `stop`.
pub async fn keep(similar: Similar, runtime: Runtime, layout: Layout, stop: CancellationToken) {
    let mut counting = JoinSet::new();
    counting.spawn(count(similar.clone(), runtime.log.clone(), runtime.health.clone()));
    let mut chosen = similar.inner.chosen.subscribe();
    while !stop.is_cancelled() {
        chosen.mark_unchanged();
        let backlog = &similar.inner.backlog;
        let ended = match similar.engine() {
            Ok(engine) => {
                let round = stop.child_token();
                let mut running = start(&similar, &engine, &runtime, &layout, &round);
                let ended = tokio::select! {
                    () = stop.cancelled() => None,
                    _ = chosen.changed() => None,
                    ended = running.join_next() => ended,
                };
                round.cancel();
                while running.join_next().await.is_some() {}
                ended.map(|ended| match ended {
                    Ok(Ok(())) => "it ended by itself".to_owned(),
                    Ok(Err(error)) => error.to_string(),
                    Err(panic) => format!("it panicked: {panic}"),
                })
            }
            Err(error) => Some(error.to_string()),
        };
        let Some(problem) = ended.filter(|_| !stop.is_cancelled()) else {
            continue;
        };
        tracing::error!(problem, "the vectors are not kept up: trying again");
        backlog.trouble(Reads::Incidents.name(), Some(problem));
        tokio::select! {
            () = stop.cancelled() => {}
            _ = chosen.changed() => {}
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

fn start(
    similar: &Similar,
    engine: &Arc<Engine>,
    runtime: &Runtime,
    layout: &Layout,
    round: &CancellationToken,
) -> JoinSet<Result<(), SinkDriverError>> {
    let mut running = JoinSet::new();
    for reads in [Reads::Incidents, Reads::Alerts] {
        let (clock, backlog) = (runtime.clock.clone(), similar.inner.backlog.clone());
        let sink = Projection::new(reads, engine.clone(), clock, backlog, round.clone());
        let sink = GenerationSink::over(Box::new(sink), layout);
        let runtime = Runtime {
            health: Health::default(),
            ..runtime.clone()
        };
        running.spawn(run_sink(sink, dead_letters(), runtime, Mode::Live, round.clone()));
    }
    running
}

/// Counts what is on the log and not in the vectors, and says what holds them up.
async fn count(similar: Similar, log: Arc<dyn Log>, health: Health) {
    let mut ticks = tokio::time::interval(COUNT_EVERY);
    loop {
        ticks.tick().await;
        let mut behind: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (partition, next) in similar.inner.backlog.positions() {
            let Some(reads) = [Reads::Incidents, Reads::Alerts]
                .into_iter()
                .find(|reads| reads.topic() == &*partition.topic)
            else {
                continue;
            };
            let of_log = TopicPartition::new(reads.topic(), real_partition(&partition));
            let Ok(bounds) = log.bounds(&of_log).await else {
                continue;
            };
            // What the log dropped can never be read.
            *behind.entry(reads.topic()).or_default() += bounds.end.0.saturating_sub(next.max(bounds.start).0);
        }
        for (topic, count) in &behind {
            metrics::gauge!("aegis_vectors_backlog", "topic" => *topic).set(*count as f64);
        }
        let behind: u64 = behind.values().sum();
        similar.inner.behind.store(behind, Ordering::Relaxed);
        let problem = similar.inner.backlog.troubles().into_values().next();
        health.degraded(
            PART,
            problem.map(|problem| format!("{problem}; {behind} records wait on the log")),
        );
    }
}
