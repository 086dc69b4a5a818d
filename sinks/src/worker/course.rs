//! How far the work on each partition has come: which tasks are not done, and where the position may move. Pure.

use std::collections::{BTreeMap, BTreeSet};

use stream::{Offset, SinkBatch, TopicPartition};

/// Of every partition that was written to since it was assigned.
#[derive(Debug, Default)]
pub struct Courses {
    of: BTreeMap<TopicPartition, Course>,
    epochs: u64,
}

#[derive(Debug)]
struct Course {
    /// Tells tasks of an earlier assignment apart.
    epoch: u64,
    /// Where the store stands.
    stored: Offset,
    /// Behind the last record that was taken.
    end: Offset,
    working: BTreeSet<Offset>,
}

impl Course {
    /// Everything before it is done.
    fn free(&self) -> Offset {
        self.working.first().copied().unwrap_or(self.end)
    }
}

impl Courses {
    /// Records before this one have begun; `start` where nothing of the partition has.
    pub fn begun(&self, partition: &TopicPartition, start: Offset) -> Offset {
        self.of.get(partition).map_or(start, |course| course.end.max(start))
    }

    /// The tasks at `offsets` of a batch begin; the number that [`Courses::done`] wants.
    pub fn begin(&mut self, batch: &SinkBatch, offsets: &[Offset]) -> u64 {
        self.epochs += 1;
        let epoch = self.epochs;
        let course = self.of.entry(batch.partition.clone()).or_insert_with(|| Course {
            epoch,
            stored: batch.start,
            end: batch.start,
            working: BTreeSet::new(),
        });
        course.end = course.end.max(batch.next);
        course.working.extend(offsets);
        course.epoch
    }

    pub fn done(&mut self, partition: &TopicPartition, epoch: u64, offset: Offset) {
        if let Some(course) = self.of.get_mut(partition)
            && course.epoch == epoch
        {
            course.working.remove(&offset);
        }
    }

    /// Batches without records: from where the store stands to where it may.
    pub fn moves(&self) -> Vec<SinkBatch> {
        let behind = self.of.iter().filter(|(_, course)| course.free() > course.stored);
        behind
            .map(|(partition, course)| SinkBatch {
                partition: partition.clone(),
                start: course.stored,
                next: course.free(),
                records: Vec::new(),
            })
            .collect()
    }

    /// The store stands there now.
    pub fn moved(&mut self, moves: &[SinkBatch]) {
        for one in moves {
            if let Some(course) = self.of.get_mut(&one.partition)
                && course.stored == one.start
            {
                course.stored = one.next;
            }
        }
    }

    /// The partition is somebody else's, or begins anew.
    pub fn forget(&mut self, partition: &TopicPartition) {
        self.of.remove(partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(start: u64, next: u64) -> SinkBatch {
        SinkBatch {
            partition: TopicPartition::new("incidents", 0),
            start: Offset(start),
            next: Offset(next),
            records: Vec::new(),
        }
    }

    fn moves(courses: &Courses) -> Vec<(u64, u64)> {
        courses.moves().iter().map(|one| (one.start.0, one.next.0)).collect()
    }

    #[test]
    fn the_position_stops_at_the_first_that_is_not_done() {
        let mut courses = Courses::default();
        let partition = batch(0, 0).partition;
        let epoch = courses.begin(&batch(10, 20), &[Offset(12), Offset(15)]);
        assert_eq!(moves(&courses), [(10, 12)], "what asks for nothing is passed");
        courses.done(&partition, epoch, Offset(15));
        assert_eq!(moves(&courses), [(10, 12)]);
        courses.moved(&courses.moves());
        assert_eq!(moves(&courses), []);
        assert_eq!(courses.begin(&batch(20, 30), &[Offset(25)]), epoch);
        courses.done(&partition, epoch, Offset(12));
        assert_eq!(moves(&courses), [(12, 25)]);
        courses.done(&partition, epoch, Offset(25));
        assert_eq!(moves(&courses), [(12, 30)]);
    }

    #[test]
    fn a_batch_that_is_shown_again_has_begun() {
        let mut courses = Courses::default();
        let partition = batch(0, 0).partition;
        assert_eq!(courses.begun(&partition, Offset(10)), Offset(10));
        courses.begin(&batch(10, 20), &[Offset(12)]);
        assert_eq!(courses.begun(&partition, Offset(10)), Offset(20));
    }

    #[test]
    fn what_began_before_another_assignment_moves_nothing() {
        let mut courses = Courses::default();
        let partition = batch(0, 0).partition;
        let before = courses.begin(&batch(10, 20), &[Offset(12)]);
        courses.forget(&partition);
        let after = courses.begin(&batch(10, 20), &[Offset(12)]);
        courses.done(&partition, before, Offset(12));
        assert_eq!(moves(&courses), [(10, 12)]);
        courses.done(&partition, after, Offset(12));
        assert_eq!(moves(&courses), [(10, 20)]);
    }
}
