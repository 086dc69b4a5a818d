//! The outer shells of protobuf messages, walked without decoding what is in them: a body of a million empty records must not
//! become a million structs before somebody can count them. Their cores are decoded by prost.
//!
//! Wire format: <https://protobuf.dev/programming-guides/encoding/>.

use prost::encoding::{WireType, decode_key, decode_varint};

/// Walks the fields of one message.
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn of(message: &'a [u8]) -> Self {
        Fields { rest: message }
    }

    /// The next field that is a message, string or bytes: its number and content. Others are stepped over. `Err`: the bytes are
    /// no message; how many were left says where.
    pub fn next_block(&mut self) -> Result<Option<(u32, &'a [u8])>, usize> {
        while !self.rest.is_empty() {
            let left = self.rest.len();
            let torn = |_| left;
            let (tag, kind) = decode_key(&mut self.rest).map_err(torn)?;
            match kind {
                WireType::Varint => {
                    decode_varint(&mut self.rest).map_err(torn)?;
                }
                WireType::SixtyFourBit => self.step(8).ok_or(left).map(drop)?,
                WireType::ThirtyTwoBit => self.step(4).ok_or(left).map(drop)?,
                WireType::LengthDelimited => {
                    let length = decode_varint(&mut self.rest).map_err(torn)?;
                    let length = usize::try_from(length).map_err(|_| left)?;
                    let block = self.step(length).ok_or(left)?;
                    return Ok(Some((tag, block)));
                }
                // No format that is read here has groups.
                WireType::StartGroup | WireType::EndGroup => return Err(left),
            }
        }
        Ok(None)
    }

    fn step(&mut self, length: usize) -> Option<&'a [u8]> {
        let (block, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks() {
        // 1: "ab"; 2: varint 300; 3: fixed32; 4: fixed64; 5: "".
        let message = b"\x0a\x02ab\x10\xac\x02\x1d\0\0\0\0\x21\0\0\0\0\0\0\0\0\x2a\0";
        let mut fields = Fields::of(message);
        assert_eq!(fields.next_block(), Ok(Some((1, &b"ab"[..]))));
        assert_eq!(fields.next_block(), Ok(Some((5, &b""[..]))));
        assert_eq!(fields.next_block(), Ok(None));
        for torn in [
            &b"\x0a\x03ab"[..],
            b"\x0a",
            b"\x00",
            b"\x1d\0",
            b"\x0b",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        ] {
            assert!(Fields::of(torn).next_block().is_err(), "{torn:?}");
        }
    }
}
