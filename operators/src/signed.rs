//! What crew, gate and the agents' worker have in common: signed records, and state that an older logic kept in the same way.

use model::signing::{self, Message, Signer, Verdict};
use model::topics;
use stream::Operator;
use stream::log::{NewRecord, Record};
use stream::operator::MigrateError;
use stream::state::SavedCells;

/// `record` as it goes to `topic` under `key`, with its signature. `position`: its place in the ledger's chain, or empty.
pub fn signed(signer: &Signer, topic: &str, key: &str, mut record: NewRecord, position: &str) -> NewRecord {
    let message = Message {
        topic,
        key: key.as_bytes(),
        value: &record.value,
    };
    let header = signer.sign(message, position);
    record.headers.extend(header);
    record
}

/// Whether a step on `incidents` was written by this installation; the error says why it counts for nothing.
pub fn require_step(signer: &Signer, record: &Record) -> Result<(), &'static str> {
    let message = Message {
        topic: topics::INCIDENTS,
        key: record.key.as_deref().unwrap_or_default(),
        value: &record.value,
    };
    let signature = record.header(signing::HEADER).map(|header| &**header);
    match signer.check(message, signature) {
        Verdict::Authentic { .. } | Verdict::Unchecked => Ok(()),
        Verdict::Forged(why) => Err(why),
    }
}

/// Takes over the cells of the logic versions `known`, which are those of this one.
pub fn same_cells(
    operator: &mut impl Operator,
    known: &[u32],
    from: u32,
    cells: &SavedCells,
) -> Result<(), MigrateError> {
    if !known.contains(&from) {
        return Err(MigrateError::NoWay { from });
    }
    for (name, cell) in operator.cells() {
        cells.read(name, cell)?;
    }
    Ok(())
}
