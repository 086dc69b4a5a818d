//! Rows of a large write are made on another thread while the store takes the ones before, so that neither waits for the other.
//!
//! ```text
//! records ─► pieces of PIECE_BYTES ─► Changes ─► (one waits) ─► the transaction
//!            `---------- blocking thread ----------'
//! ```

use model::Signer;
use model::signing::{self, Message, Verdict};
use model::topics;
use stream::{Record, SinkBatch, SinkReject, TopicPartition};
use tokio::sync::mpsc;

use super::rows::Changes;

/// Bytes of records whose rows are made in one go. Lower: more statements; higher: the store waits longer for the first rows.
const PIECE_BYTES: usize = 512 << 10;

/// The rows of some records, or the records that cannot be read.
pub type Made = Result<Changes, Vec<SinkReject>>;

/// Gives the pieces in the order of the log. Dropped, it makes no more than the piece it is at.
pub enum Making {
    /// Too small to share.
    Here(Option<Made>),
    There(mpsc::Receiver<Made>),
}

impl Making {
    /// At least one piece, also of no records.
    pub fn start(signer: &Signer, batches: &[SinkBatch]) -> Making {
        let bytes: usize = batches
            .iter()
            .flat_map(|batch| &batch.records)
            .map(|record| record.value.len())
            .sum();
        if bytes <= PIECE_BYTES {
            let records = batches
                .iter()
                .flat_map(|batch| batch.records.iter().map(|record| (&batch.partition, record)));
            return Making::Here(Some(make(signer, records)));
        }
        let (give, take) = mpsc::channel(1);
        let (signer, batches) = (signer.clone(), batches.to_vec());
        tokio::task::spawn_blocking(move || {
            for piece in pieces(&batches) {
                if give.blocking_send(make(&signer, piece)).is_err() {
                    return;
                }
            }
        });
        Making::There(take)
    }

    pub async fn next(&mut self) -> Option<Made> {
        match self {
            Making::Here(made) => made.take(),
            Making::There(pieces) => pieces.recv().await,
        }
    }
}

fn make<'a>(signer: &Signer, records: impl IntoIterator<Item = (&'a TopicPartition, &'a Record)>) -> Made {
    let (mut changes, mut rejects) = (Changes::default(), Vec::new());
    for (partition, record) in records {
        if believed(signer, partition, record) {
            rejects.extend(changes.add(partition, record).err());
        }
    }
    if rejects.is_empty() { Ok(changes) } else { Err(rejects) }
}

/// Runs of records of at least [`PIECE_BYTES`], but for the last.
fn pieces(batches: &[SinkBatch]) -> impl Iterator<Item = Vec<(&TopicPartition, &Record)>> {
    let mut records = batches
        .iter()
        .flat_map(|batch| batch.records.iter().map(|record| (&batch.partition, record)));
    std::iter::from_fn(move || {
        let (mut piece, mut bytes) = (Vec::new(), 0);
        while bytes < PIECE_BYTES
            && let Some((partition, record)) = records.next()
        {
            bytes += record.value.len();
            piece.push((partition, record));
        }
        (!piece.is_empty()).then_some(piece)
    })
}

/// Whether the record is `signer`'s, where it must be.
pub fn believed(signer: &Signer, from: &TopicPartition, record: &Record) -> bool {
    let step = *from.topic == *topics::INCIDENTS && record.header(topics::header::TYPE).is_some();
    if !step && *from.topic != *topics::REMEDIATIONS {
        return true;
    }
    let message = Message {
        topic: &from.topic,
        key: record.key.as_deref().unwrap_or_default(),
        value: &record.value,
    };
    let header = record.header(signing::HEADER).map(|header| &**header);
    !matches!(signer.check(message, header), Verdict::Forged(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stream::Offset;

    fn batch(partition: u32, sizes: &[usize]) -> SinkBatch {
        let record = |(offset, size): (usize, &usize)| Record {
            offset: Offset(offset as u64),
            key: None,
            value: vec![b'x'; *size].into(),
            headers: Vec::new(),
            timestamp: stream::Instant(0),
        };
        SinkBatch {
            partition: TopicPartition::new(topics::NOTIFICATIONS, partition),
            start: Offset(0),
            next: Offset(sizes.len() as u64),
            records: sizes.iter().enumerate().map(record).collect(),
        }
    }

    #[test]
    fn every_record_is_in_one_piece() {
        let batches = [batch(0, &[PIECE_BYTES / 2; 3]), batch(1, &[1, 2 * PIECE_BYTES, 0])];
        let places: Vec<Vec<(u32, u64)>> = pieces(&batches)
            .map(|piece| {
                piece
                    .iter()
                    .map(|(partition, record)| (partition.partition, record.offset.0))
                    .collect()
            })
            .collect();
        assert_eq!(
            places,
            [vec![(0, 0), (0, 1)], vec![(0, 2), (1, 0), (1, 1)], vec![(1, 2)]]
        );
    }

    /// Every record that cannot be read is named, in whatever piece it is.
    #[tokio::test]
    async fn rejects_of_all_pieces() {
        let batches = [batch(0, &[PIECE_BYTES, 10, PIECE_BYTES, 10])];
        let mut making = Making::start(&Signer::without_key(), &batches);
        assert!(matches!(making, Making::There(_)));
        let mut offsets = Vec::new();
        while let Some(made) = making.next().await {
            offsets.extend(made.unwrap_err().into_iter().map(|reject| reject.offset.0));
        }
        assert_eq!(offsets, [0, 1, 2, 3]);
    }

    #[tokio::test]
    async fn nothing_is_one_piece() {
        let mut making = Making::start(&Signer::without_key(), &[]);
        assert!(making.next().await.is_some_and(|made| made.is_ok()));
        assert!(making.next().await.is_none());
    }
}
