//! Bytes of a batch: `version u8 · message length u32 LE · Arrow IPC message · body`.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow::ipc::{MetadataVersion, root_as_message};

use super::{BatchError, SCHEMA_VERSION, schema};

const HEADER: usize = 5;

pub fn encode(batch: &RecordBatch) -> Result<Vec<u8>, BatchError> {
    let options = IpcWriteOptions::default();
    let mut dictionaries = DictionaryTracker::new(false);
    let mut compression = IpcWriteContext::default();
    let (_, data) = IpcDataGenerator::default().encode(batch, &mut dictionaries, &options, &mut compression)?;
    let mut out = Vec::with_capacity(HEADER + data.ipc_message.len() + data.arrow_data.len());
    out.push(SCHEMA_VERSION);
    out.extend_from_slice(&(data.ipc_message.len() as u32).to_le_bytes());
    out.extend_from_slice(&data.ipc_message);
    out.extend_from_slice(&data.arrow_data);
    Ok(out)
}

pub fn decode(bytes: &[u8]) -> Result<RecordBatch, BatchError> {
    let torn = |wanted| BatchError::Torn {
        found: bytes.len(),
        wanted,
    };
    let Some((header, rest)) = bytes.split_at_checked(HEADER) else {
        return Err(torn(HEADER));
    };
    if header[0] != SCHEMA_VERSION {
        return Err(BatchError::Version { found: header[0] });
    }
    let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
    let Some((message, body)) = rest.split_at_checked(length) else {
        return Err(torn(HEADER + length));
    };
    let message =
        root_as_message(message).map_err(|e| ArrowError::IpcError(format!("not an Arrow IPC message: {e}")))?;
    let body_length = usize::try_from(message.bodyLength()).unwrap_or(usize::MAX);
    if body.len() < body_length {
        return Err(torn((HEADER + length).saturating_add(body_length)));
    }
    let header = message
        .header_as_record_batch()
        .ok_or_else(|| ArrowError::IpcError("the message holds no record batch".into()))?;
    // The copy aligns the body, which starts anywhere in the record.
    let body = Buffer::from_slice_ref(body);
    Ok(read_record_batch(
        &body,
        header,
        schema(),
        &HashMap::new(),
        None,
        &MetadataVersion::V5,
    )?)
}
