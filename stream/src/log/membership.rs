//! Consumer groups inside one process: who reads what, and what the group has committed.
//!
//! Shared by the logs whose members all live in this process ([`super::memory`], the embedded log). The rules
//! are Kafka's cooperative ones: only partitions that move are taken away, and a partition is given to its next
//! owner only after the old one had the chance to commit.
//!
//! ```text
//!            told (Assigned)          must move            told (Revoked)         next call
//!  Offered ────────────────▶ Held ────────────▶ Leaving ────────────────▶ Told ──────────▶ free
//!     │  ▲                     ▲                   │
//!     └──┘ goes elsewhere      └───────────────────┘ may stay after all
//! ```
//!
//! This is a state machine: it waits for nothing and wakes nobody. Whoever changes it wakes the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{MemberEvent, Offset, TopicPartition};

/// A member within its group. Never reused.
pub type MemberId = u64;

/// All groups of a log.
#[derive(Debug, Default)]
pub struct Groups(Mutex<BTreeMap<String, Arc<Mutex<Group>>>>);

impl Groups {
    /// The group of that name, created when it is new.
    pub fn group(&self, name: &str) -> Arc<Mutex<Group>> {
        let mut groups = lock(&self.0);
        if let Some(group) = groups.get(name) {
            return group.clone();
        }
        groups.entry(name.to_owned()).or_default().clone()
    }

    /// Every group that there is, by name.
    pub fn all(&self) -> Vec<(String, Arc<Mutex<Group>>)> {
        lock(&self.0)
            .iter()
            .map(|(name, group)| (name.clone(), group.clone()))
            .collect()
    }
}

/// Takes a lock whose data stays whole even if a holder panicked: every change under it is made in one step.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One group: its members, the holder of each partition, and the committed positions.
#[derive(Debug, Default)]
pub struct Group {
    members: BTreeMap<MemberId, Seat>,
    holders: BTreeMap<TopicPartition, Holder>,
    positions: BTreeMap<TopicPartition, Offset>,
    next_member: MemberId,
}

#[derive(Debug, Default)]
struct Seat {
    wants: BTreeSet<TopicPartition>,
    /// Taken away without notice and not told yet.
    lost: Vec<TopicPartition>,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    member: MemberId,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Offered,
    Held,
    Leaving,
    Told,
}

impl Group {
    /// A new member that can read `wants`.
    pub fn join(&mut self, wants: impl IntoIterator<Item = TopicPartition>) -> MemberId {
        let member = self.next_member;
        self.next_member += 1;
        self.members.insert(
            member,
            Seat {
                wants: wants.into_iter().collect(),
                lost: Vec::new(),
            },
        );
        self.rebalance();
        member
    }

    /// The member goes; what it held goes to others at once.
    pub fn leave(&mut self, member: MemberId) {
        if self.members.remove(&member).is_some() {
            self.holders.retain(|_, holder| holder.member != member);
            self.rebalance();
        }
    }

    pub fn contains(&self, member: MemberId) -> bool {
        self.members.contains_key(&member)
    }

    /// As if the session had expired: the member loses all it has without notice and is told so. It stays in the
    /// group and gets partitions again.
    pub fn expire(&mut self, member: MemberId) {
        let Some(seat) = self.members.get_mut(&member) else {
            return;
        };
        for (partition, holder) in &self.holders {
            if holder.member == member && holder.phase != Phase::Offered {
                seat.lost.push(partition.clone());
            }
        }
        self.holders.retain(|_, holder| holder.member != member);
        self.rebalance();
    }

    pub fn members(&self) -> Vec<MemberId> {
        self.members.keys().copied().collect()
    }

    /// The next thing that `member` must know. Call it at the start of each `next`: it takes back what the member
    /// was told to give up. The flag says that others have something new to hear.
    pub fn poll(&mut self, member: MemberId) -> (Option<MemberEvent>, WakeOthers) {
        let before = self.holders.len();
        self.holders
            .retain(|_, holder| holder.member != member || holder.phase != Phase::Told);
        let wake = WakeOthers(self.holders.len() != before);
        if wake.0 {
            self.rebalance();
        }
        let Some(seat) = self.members.get_mut(&member) else {
            return (None, wake);
        };
        if !seat.lost.is_empty() {
            return (Some(MemberEvent::Lost(std::mem::take(&mut seat.lost))), wake);
        }
        let leaving = self.advance(member, Phase::Leaving, Phase::Told);
        if !leaving.is_empty() {
            return (Some(MemberEvent::Revoked(leaving)), wake);
        }
        let offered = self.advance(member, Phase::Offered, Phase::Held);
        if !offered.is_empty() {
            let with_positions = offered
                .into_iter()
                .map(|p| (p.clone(), self.positions.get(&p).copied()))
                .collect();
            return (Some(MemberEvent::Assigned(with_positions)), wake);
        }
        (None, wake)
    }

    /// May `member` move these positions now? The reason when it may not.
    pub fn may_commit(&self, member: MemberId, positions: &[(TopicPartition, Offset)]) -> Result<(), String> {
        let Some(seat) = self.members.get(&member) else {
            return Err("the member has left its group".to_owned());
        };
        if let Some(partition) = seat.lost.first() {
            return Err(format!("the member lost {partition}"));
        }
        for (partition, _) in positions {
            match self.holders.get(partition) {
                Some(holder) if holder.member == member && holder.phase != Phase::Offered => {}
                _ => return Err(format!("{partition} is not this member's")),
            }
        }
        Ok(())
    }

    /// Positions that a commit moved.
    pub fn set_positions(&mut self, positions: impl IntoIterator<Item = (TopicPartition, Offset)>) {
        self.positions.extend(positions);
    }

    /// Every committed position.
    pub fn positions(&self) -> impl Iterator<Item = (&TopicPartition, &Offset)> {
        self.positions.iter()
    }

    /// The positions are these and no others: the log has gone back to what it had synced.
    pub fn reset_positions(&mut self, positions: BTreeMap<TopicPartition, Offset>) {
        self.positions = positions;
    }

    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.positions.get(partition).copied()
    }

    fn advance(&mut self, member: MemberId, from: Phase, to: Phase) -> Vec<TopicPartition> {
        let mut moved = Vec::new();
        for (partition, holder) in &mut self.holders {
            if holder.member == member && holder.phase == from {
                holder.phase = to;
                moved.push(partition.clone());
            }
        }
        moved
    }

    fn rebalance(&mut self) {
        let target = self.target();
        self.holders.retain(|partition, _| target.contains_key(partition));
        for (partition, member) in target {
            let offered = Holder {
                member,
                phase: Phase::Offered,
            };
            let holder = self.holders.entry(partition).or_insert(offered);
            match holder.phase {
                Phase::Offered => *holder = offered,
                Phase::Held if holder.member != member => holder.phase = Phase::Leaving,
                Phase::Leaving if holder.member == member => holder.phase = Phase::Held,
                Phase::Held | Phase::Leaving | Phase::Told => {}
            }
        }
    }

    /// Who should hold what: holders keep what they have unless somebody has two partitions more than another who
    /// could read one of them.
    fn target(&self) -> BTreeMap<TopicPartition, MemberId> {
        let wanted: BTreeSet<&TopicPartition> = self.members.values().flat_map(|seat| &seat.wants).collect();
        let mut load: BTreeMap<MemberId, usize> = self.members.keys().map(|member| (*member, 0)).collect();
        let mut target = BTreeMap::new();
        let mut free = Vec::new();
        for partition in wanted {
            match self.holders.get(partition) {
                Some(holder) if holder.phase != Phase::Told && self.wants(holder.member, partition) => {
                    *load.entry(holder.member).or_default() += 1;
                    target.insert(partition.clone(), holder.member);
                }
                _ => free.push(partition),
            }
        }
        for partition in free {
            if let Some(member) = self.least_loaded(&load, partition) {
                *load.entry(member).or_default() += 1;
                target.insert(partition.clone(), member);
            }
        }
        // Each move lowers the sum of squared loads, so this ends.
        while let Some((partition, from, to)) = self.better_move(&load, &target) {
            *load.entry(from).or_default() -= 1;
            *load.entry(to).or_default() += 1;
            target.insert(partition, to);
        }
        target
    }

    fn better_move(
        &self,
        load: &BTreeMap<MemberId, usize>,
        target: &BTreeMap<TopicPartition, MemberId>,
    ) -> Option<(TopicPartition, MemberId, MemberId)> {
        target.iter().rev().find_map(|(partition, from)| {
            let to = self.least_loaded(load, partition)?;
            (load[from] >= load[&to] + 2).then(|| (partition.clone(), *from, to))
        })
    }

    fn least_loaded(&self, load: &BTreeMap<MemberId, usize>, partition: &TopicPartition) -> Option<MemberId> {
        let able = load.iter().filter(|(member, _)| self.wants(**member, partition));
        able.min_by_key(|(member, count)| (**count, **member))
            .map(|(member, _)| *member)
    }

    fn wants(&self, member: MemberId, partition: &TopicPartition) -> bool {
        self.members
            .get(&member)
            .is_some_and(|seat| seat.wants.contains(partition))
    }
}

/// Whether a poll changed what other members have to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeOthers(pub bool);

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(count: u32) -> Vec<TopicPartition> {
        (0..count).map(|p| TopicPartition::new("t", p)).collect()
    }

    fn assigned(group: &mut Group, member: MemberId) -> Vec<u32> {
        match group.poll(member).0 {
            Some(MemberEvent::Assigned(list)) => list.into_iter().map(|(p, _)| p.partition).collect(),
            other => panic!("expected Assigned, got {other:?}"),
        }
    }

    fn revoked(group: &mut Group, member: MemberId) -> Vec<u32> {
        match group.poll(member).0 {
            Some(MemberEvent::Revoked(list)) => list.into_iter().map(|p| p.partition).collect(),
            other => panic!("expected Revoked, got {other:?}"),
        }
    }

    #[test]
    fn only_what_moves_is_revoked_and_it_moves_after_the_holder_polled_again() {
        let mut group = Group::default();
        let a = group.join(partitions(4));
        assert_eq!(assigned(&mut group, a), [0, 1, 2, 3]);
        let b = group.join(partitions(4));
        assert_eq!(group.poll(b).0, None);
        assert_eq!(revoked(&mut group, a), [2, 3]);
        assert!(group.may_commit(a, &[(TopicPartition::new("t", 3), Offset(1))]).is_ok());
        assert_eq!(group.poll(b).0, None);
        assert_eq!(group.poll(a), (None, WakeOthers(true)));
        assert!(
            group
                .may_commit(a, &[(TopicPartition::new("t", 3), Offset(1))])
                .is_err()
        );
        assert_eq!(assigned(&mut group, b), [2, 3]);
    }

    #[test]
    fn leaving_hands_everything_over() {
        let mut group = Group::default();
        let a = group.join(partitions(3));
        assert_eq!(assigned(&mut group, a), [0, 1, 2]);
        let b = group.join(partitions(3));
        group.leave(a);
        assert_eq!(assigned(&mut group, b), [0, 1, 2]);
        assert!(group.may_commit(a, &[]).is_err());
    }

    #[test]
    fn a_holder_that_need_not_give_up_after_all_keeps_quietly() {
        let mut group = Group::default();
        let a = group.join(partitions(2));
        assert_eq!(assigned(&mut group, a), [0, 1]);
        let b = group.join(partitions(2));
        group.leave(b);
        assert_eq!(group.poll(a).0, None);
    }

    #[test]
    fn an_expired_member_is_told_and_served_again() {
        let mut group = Group::default();
        let a = group.join(partitions(1));
        assert_eq!(assigned(&mut group, a), [0]);
        group.expire(a);
        assert!(group.may_commit(a, &[]).is_err());
        assert_eq!(group.poll(a).0, Some(MemberEvent::Lost(partitions(1))));
        assert_eq!(assigned(&mut group, a), [0]);
        assert!(group.may_commit(a, &[]).is_ok());
    }
}
