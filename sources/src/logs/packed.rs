//! Compressed bodies, taken apart within a bound: what grows beyond it is refused while it grows.

use std::io::Read as _;

use bytes::Bytes;

use super::Fault;

/// A gzip body of at most `most` bytes when unpacked.
pub fn gunzip(body: &[u8], most: usize) -> Result<Bytes, Fault> {
    let mut out = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let read = flate2::read::MultiGzDecoder::new(body)
        .take(limit)
        .read_to_end(&mut out);
    read.map_err(|error| Fault::bad("malformed-gzip", "", format!("the body is no gzip: {error}")))?;
    if out.len() > most {
        return Err(over(most));
    }
    Ok(out.into())
}

/// Bytes that a snappy block says it will have.
pub fn snappy_length(body: &[u8]) -> Result<usize, Fault> {
    snap::raw::decompress_len(body).map_err(|error| no_snappy(&error))
}

/// A snappy block (no frames), as Loki's clients send it.
pub fn unsnap(body: &[u8], most: usize) -> Result<Bytes, Fault> {
    if snappy_length(body)? > most {
        return Err(over(most));
    }
    let out = snap::raw::Decoder::new().decompress_vec(body);
    out.map(Bytes::from).map_err(|error| no_snappy(&error))
}

fn no_snappy(error: &snap::Error) -> Fault {
    Fault::bad("malformed-snappy", "", format!("the body is no snappy block: {error}"))
}

fn over(most: usize) -> Fault {
    Fault::too_large(format!("the body is over {most} bytes when unpacked"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn bombs_are_refused_and_rubbish_too() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&vec![0; 10 << 20]).unwrap();
        let gzip = gzip.finish().unwrap();
        assert!(gzip.len() < 20_000);
        assert!(gunzip(&gzip, 1 << 20).unwrap_err().too_large);
        assert_eq!(gunzip(&gzip, 10 << 20).unwrap().len(), 10 << 20);
        assert_eq!(gunzip(b"rubbish", 100).unwrap_err().reason, "malformed-gzip");
        assert_eq!(
            gunzip(&gzip[..gzip.len() - 9], 11 << 20).unwrap_err().reason,
            "malformed-gzip"
        );

        let block = snap::raw::Encoder::new().compress_vec(&vec![0; 1 << 20]).unwrap();
        assert!(unsnap(&block, 1 << 19).unwrap_err().too_large);
        assert_eq!(unsnap(&block, 1 << 20).unwrap().len(), 1 << 20);
        // Announces 4 GiB and holds nothing.
        assert!(unsnap(b"\xff\xff\xff\xff\x0f", 1 << 20).unwrap_err().too_large);
        assert_eq!(unsnap(b"\x05rubbish", 100).unwrap_err().reason, "malformed-snappy");
        assert_eq!(unsnap(b"", 100).unwrap_err().reason, "malformed-snappy");
    }
}
