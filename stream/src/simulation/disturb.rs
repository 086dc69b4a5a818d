//! What operators and machines do to processes while the weather does the rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::dice::Dice;
use super::world::World;
use crate::log::membership::lock;
use crate::log::{Offset, TopicPartition};

/// What operators and machines do: planned restarts, kill -9, sessions that expire, retention.
pub async fn disturb(world: Arc<World>, mut dice: Dice, until: Duration) {
    let every = 1 + dice.below(20) as u64;
    let (kills, stops, expiries, trims) = (dice.chance(50), dice.chance(50), dice.chance(50), dice.chance(40));
    while world.executor.now() < until {
        let pause = Duration::from_millis(200 + dice.below(every as usize * 1_000) as u64);
        world.executor.sleep(pause).await;
        if world.executor.now() >= until {
            break;
        }
        let number = dice.below(lock(&world.lives).len());
        match dice.below(4) {
            0 if kills => {
                world.note(&format!("kill p{number}"), true);
                lock(&world.lives)[number].1.cancel();
            }
            1 if stops => {
                world.note(&format!("stop p{number}"), true);
                lock(&world.lives)[number].0.cancel();
            }
            2 if expiries => expire(&world, &mut dice),
            3 if trims => trim(&world),
            _ => {}
        }
    }
}

fn expire(world: &World, dice: &mut Dice) {
    let groups = world.log.groups.all();
    let Some((name, group)) = dice.pick(&groups) else {
        return;
    };
    let mut group = lock(group);
    if let Some(member) = dice.pick(&group.members()).copied() {
        group.expire(member);
        drop(group);
        world.note(&format!("session of {member} in {name} expires"), true);
        world.log.changed.notify_waiters();
    }
}

/// Retention: what lies before two snapshots of every stage, and before every store.
fn trim(world: &World) {
    let mut limits: BTreeMap<TopicPartition, Offset> = Default::default();
    for stage in &world.plan.stages {
        for partition in world.log.partitions_of(&stage.input) {
            let at = world.snapshots.retention_floor(stage.name, partition.partition);
            let limit = limits.entry(partition).or_insert(Offset(u64::MAX));
            *limit = (*limit).min(at.unwrap_or_default());
        }
    }
    for (sink, topics) in &world.plan.sinks {
        for partition in topics.iter().flat_map(|topic| world.log.partitions_of(topic)) {
            let at = world.with_store(sink, |store| store.positions.get(&partition).copied());
            if let Some(limit) = limits.get_mut(&partition) {
                *limit = (*limit).min(at.unwrap_or_default());
            }
        }
    }
    for (partition, to) in limits {
        if to > Offset(0) {
            world.note(&format!("{partition} is trimmed to {}", to.0), false);
            world.log.trim(&partition, to);
        }
    }
}
