//! Log lines from files, as `aegis ingest` takes them: recorded bodies of OTLP and Loki, and plain text.
//!
//! A JSON file holds one body, or one per line, as OpenTelemetry's file exporter writes them. What does not begin with a brace is
//! protobuf: gzipped or not, and of Loki a snappy block.

use sha2::{Digest as _, Sha256};

use super::{Collected, Collector, Fault, Form, LogIntakeSettings, lines, loki, otlp, packed};

/// Bytes of an unpacked file.
const MOST_BYTES: usize = 1 << 30;

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileKind {
    Otlp,
    Loki,
    /// Lines of this service.
    Lines {
        service: String,
    },
}

/// Reads a file, for tenant `default`. The delivery names its bytes where they are the same lines whenever they are read.
pub fn read(kind: &FileKind, bytes: &[u8], settings: &LogIntakeSettings) -> Result<(Collected, Option<String>), Fault> {
    // Limits bound what strangers send; a file is its owner's.
    let settings = LogIntakeSettings {
        max_lines: usize::MAX,
        max_streams: usize::MAX,
        ..settings.clone()
    };
    let mut collector = Collector::new(&settings, "default", &|_| false);
    match kind {
        FileKind::Lines { service } => lines::read(bytes, service, &mut collector)?,
        FileKind::Otlp => bodies(bytes, otlp::read, |bytes| Ok(bytes.to_vec().into()), &mut collector)?,
        FileKind::Loki => bodies(
            bytes,
            loki::read,
            |bytes| packed::unsnap(bytes, MOST_BYTES),
            &mut collector,
        )?,
    }
    let collected = collector.finish();
    let digest = Sha256::digest(bytes);
    let delivery = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let delivery = collected.timed.then_some(delivery);
    Ok((collected, delivery))
}

type Read = fn(Form, &[u8], &mut Collector<'_>) -> Result<(), Fault>;

fn bodies(
    bytes: &[u8],
    read: Read,
    unpack: impl Fn(&[u8]) -> Result<bytes::Bytes, Fault>,
    collector: &mut Collector<'_>,
) -> Result<(), Fault> {
    let unzipped;
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
        unzipped = packed::gunzip(bytes, MOST_BYTES)?;
        &unzipped[..]
    } else {
        bytes
    };
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return read(Form::Protobuf, &unpack(bytes)?, collector);
    }
    let rows = bytes
        .split(|byte| *byte == b'\n')
        .filter(|row| !row.trim_ascii().is_empty());
    let one_per_row = rows.clone().count() > 1
        && rows
            .clone()
            .all(|row| row.starts_with(b"{") && row.trim_ascii_end().ends_with(b"}"));
    if !one_per_row {
        return read(Form::Json, bytes, collector);
    }
    for (number, row) in rows.enumerate() {
        read(Form::Json, row, collector).map_err(|fault| Fault {
            place: format!("line {}: {}", number + 1, fault.place),
            ..fault
        })?;
    }
    Ok(())
}
