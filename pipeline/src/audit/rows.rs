//! The rows of a batch on `signals` or `transitions`, by a decoder that reads six columns and knows no operator.
//!
//! On the wire: a version byte, the length of an Arrow record-batch message (4 bytes, little-endian), the message, its body.

use std::collections::HashMap;

use arrow::array::{Array as _, AsArray as _};
use arrow::buffer::Buffer;
use arrow::datatypes::{UInt32Type, UInt64Type};
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::{MetadataVersion, root_as_message};

/// Place of an item in a raw record: partition, offset, index. Places in `logs` have [`IN_LOGS`] in the partition.
pub type Place = (u32, u64, u32);
/// Tells a place in `logs` from one in `events.raw`.
pub const IN_LOGS: u32 = 1 << 31;

/// A row, as far as the audit needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub place: Place,
    /// The two halves of the id, xored: what digests are sums of.
    pub id: u64,
}

/// `None` for bytes that are no batch.
pub fn rows(value: &[u8]) -> Option<Vec<Row>> {
    let (version, rest) = value.split_first()?;
    let (length, rest) = rest.split_at_checked(4)?;
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    let (message, body) = rest.split_at_checked(length)?;
    if *version != 1 {
        return None;
    }
    let message = root_as_message(message).ok()?;
    if usize::try_from(message.bodyLength()).ok()? > body.len() {
        return None;
    }
    let header = message.header_as_record_batch()?;
    let body = Buffer::from_slice_ref(body);
    let schema = model::batch::schema();
    let batch = read_record_batch(&body, header, schema, &HashMap::new(), None, &MetadataVersion::V5).ok()?;
    let ids = batch.column_by_name("id")?.as_fixed_size_binary_opt()?;
    let partitions = batch
        .column_by_name("raw_partition")?
        .as_primitive_opt::<UInt32Type>()?;
    let offsets = batch.column_by_name("raw_offset")?.as_primitive_opt::<UInt64Type>()?;
    let indexes = batch.column_by_name("raw_index")?.as_primitive_opt::<UInt32Type>()?;
    let sources = batch.column_by_name("source")?.as_string_opt::<i32>()?;
    let row = |at: usize| {
        let id: [u8; 16] = ids.value(at).try_into().ok()?;
        let id = u128::from_be_bytes(id);
        Some(Row {
            place: (
                partitions.value(at) | if sources.value(at) == "logs" { IN_LOGS } else { 0 },
                offsets.value(at),
                indexes.value(at),
            ),
            id: (id >> 64) as u64 ^ id as u64,
        })
    };
    (0..ids.len()).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_bytes() {
        for bytes in [
            &b""[..],
            b"\x01",
            b"\x01\xff\xff\xff\xff",
            b"\x02\0\0\0\0",
            b"{\"a\":1}",
        ] {
            assert_eq!(rows(bytes), None, "{bytes:?}");
        }
    }
}
