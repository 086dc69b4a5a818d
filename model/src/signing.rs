//! Signatures of records: who has the key wrote them.
//!
//! Whoever can write to a topic can put a fact there that looks like any other. What asks for, allows or reports a deed (all of
//! `remediations`, the steps on `incidents`) therefore carries an HMAC-SHA256 (RFC 2104) under a key that only the processes of one
//! installation hold. It covers topic, key and value of the record, so it is worth nothing elsewhere, and for facts of the gate their
//! place in the ledger's chain, by which a copy shows.
//!
//! Not here: secrecy (the value is plain), and the order of facts, which their readers check.

use std::fmt;

use bytes::Bytes;
use ring::hmac;

use crate::action::hex;

/// Header of a signed record: `1;POSITION;HEX`.
pub const HEADER: &str = "aegis-signature";

/// The shortest key in bytes. Shorter ones can be guessed.
pub const SHORTEST_KEY: usize = 32;

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// By its plain name, whatever the log calls it.
    pub topic: &'a str,
    /// Of the record: it says the partition.
    pub key: &'a [u8],
    pub value: &'a [u8],
}

/// What a signature says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Written by who has the key. The position is empty for what the gate did not write.
    Authentic { position: String },
    /// There is no key here to check it with.
    Unchecked,
    /// Written by somebody else, or changed since.
    Forged(&'static str),
}

/// Signs with the first of its keys, and knows signatures of all.
#[derive(Clone, Default)]
pub struct Signer {
    keys: Vec<hmac::Key>,
}

/// A key that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key {number} has {length} bytes: at least {SHORTEST_KEY} are needed, `openssl rand -hex 32` makes some")]
pub struct WeakKey {
    /// From 1.
    pub number: usize,
    pub length: usize,
}

impl Signer {
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, WeakKey> {
        let made = keys.into_iter().enumerate().map(|(at, key)| match key.len() {
            length if length < SHORTEST_KEY => Err(WeakKey { number: at + 1, length }),
            _ => Ok(hmac::Key::new(hmac::HMAC_SHA256, key)),
        });
        Ok(Signer {
            keys: made.collect::<Result<_, _>>()?,
        })
    }

    /// Without a key nothing is signed, and nothing can be checked: nobody may act then.
    pub fn without_key() -> Self {
        Signer::default()
    }

    /// Names the keys without telling them: part of the settings under which state was made, because another key makes another decision.
    pub fn key_names(&self) -> Vec<String> {
        let name = |key| hex(hmac::sign(key, b"aegis-key-name@1").as_ref());
        self.keys.iter().map(|key| name(key)[..16].to_owned()).collect()
    }

    /// The header for a record; `position` is `CHAIN/SEQUENCE` of its entry in the ledger, or empty.
    pub fn sign(&self, message: Message<'_>, position: &str) -> Option<(String, Bytes)> {
        let key = self.keys.first()?;
        let tag = hmac::sign(key, &signed(message, position));
        let value = format!("1;{position};{}", hex(tag.as_ref()));
        Some((HEADER.to_owned(), Bytes::from(value)))
    }

    /// Holds the header of a record against it, in a time that does not depend on where they differ.
    pub fn check(&self, message: Message<'_>, header: Option<&[u8]>) -> Verdict {
        if self.keys.is_empty() {
            return Verdict::Unchecked;
        }
        let Some(header) = header else {
            return Verdict::Forged("it is not signed");
        };
        let Some((position, tag)) = parsed(header) else {
            return Verdict::Forged("its signature cannot be read");
        };
        let signed = signed(message, position);
        match self.keys.iter().any(|key| hmac::verify(key, &signed, &tag).is_ok()) {
            true => Verdict::Authentic {
                position: position.to_owned(),
            },
            false => Verdict::Forged("its signature is not that of this record under any key of ours"),
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("keys", &self.keys.len()).finish()
    }
}

/// Every part behind its length, so that no two messages have the same bytes.
fn signed(message: Message<'_>, position: &str) -> Vec<u8> {
    let parts = [
        message.topic.as_bytes(),
        message.key,
        position.as_bytes(),
        message.value,
    ];
    let mut bytes = b"aegis-signature@1".to_vec();
    for part in parts {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(part);
    }
    bytes
}

fn parsed(header: &[u8]) -> Option<(&str, Vec<u8>)> {
    let rest = std::str::from_utf8(header).ok()?.strip_prefix("1;")?;
    let (position, tag) = rest.rsplit_once(';')?;
    let digits = tag.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let tag: Option<Vec<u8>> = digits.map(byte).collect();
    Some((position, tag?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
    const OTHER: &[u8] = b"fedcba9876543210fedcba9876543210";
    const MESSAGE: Message<'static> = Message {
        topic: "remediations",
        key: b"default/production",
        value: br#"{"fact":"granted"}"#,
    };

    fn signer(keys: &[&[u8]]) -> Signer {
        Signer::new(keys.iter().copied()).unwrap()
    }

    fn authentic(position: &str) -> Verdict {
        Verdict::Authentic {
            position: position.into(),
        }
    }

    /// The header is frozen: a later program must know it. Computed with Python's `hmac`.
    #[test]
    fn the_header_of_the_first_release() {
        let (name, value) = signer(&[KEY]).sign(MESSAGE, "remediations-3/17").unwrap();
        assert_eq!(name, HEADER);
        assert_eq!(value, FROZEN);
        assert_eq!(
            signer(&[KEY]).check(MESSAGE, Some(FROZEN.as_bytes())),
            authentic("remediations-3/17")
        );
    }

    const FROZEN: &str = "1;remediations-3/17;5a451e44793776e6b05376536d342cc2fb8f5bfeb5659bf74e7ac9c414e6f97b";

    #[test]
    fn every_touch_shows() {
        let header = signer(&[KEY]).sign(MESSAGE, "remediations-3/17").unwrap().1;
        let forged = |message: Message<'_>, header: &[u8]| {
            let verdict = signer(&[KEY]).check(message, Some(header));
            assert!(matches!(verdict, Verdict::Forged(_)), "{verdict:?}");
        };
        forged(
            Message {
                topic: "incidents",
                ..MESSAGE
            },
            &header,
        );
        forged(
            Message {
                key: b"default/staging",
                ..MESSAGE
            },
            &header,
        );
        forged(
            Message {
                value: br#"{"fact":"granteD"}"#,
                ..MESSAGE
            },
            &header,
        );
        let text = String::from_utf8(header.to_vec()).unwrap();
        forged(MESSAGE, text.replace("3/17", "3/18").as_bytes());
        forged(MESSAGE, text.replace("1;rem", "2;rem").as_bytes());
        for at in 0..header.len() {
            let mut touched = header.to_vec();
            touched[at] ^= 0x01;
            forged(MESSAGE, &touched);
        }
        for rubbish in ["", "1;", "1;;", "1;;zz", "1;;0", "\u{fffd}"] {
            forged(MESSAGE, rubbish.as_bytes());
        }
        // A part that moves over to its neighbour is another message.
        forged(
            Message {
                key: b"default/productio",
                value: br#"n{"fact":"granted"}"#,
                ..MESSAGE
            },
            &header,
        );
    }

    #[test]
    fn nobody_without_the_key() {
        assert_eq!(signer(&[KEY]).check(MESSAGE, None), Verdict::Forged("it is not signed"));
        let header = signer(&[OTHER]).sign(MESSAGE, "").unwrap().1;
        assert!(matches!(
            signer(&[KEY]).check(MESSAGE, Some(&header)),
            Verdict::Forged(_)
        ));
        // A new key signs while the old one is still known.
        assert_eq!(signer(&[KEY, OTHER]).check(MESSAGE, Some(&header)), authentic(""));
    }

    #[test]
    fn without_a_key_nothing_is_known() {
        let none = Signer::without_key();
        assert_eq!(none.sign(MESSAGE, ""), None);
        assert_eq!(none.check(MESSAGE, None), Verdict::Unchecked);
        assert!(none.key_names().is_empty());
    }

    #[test]
    fn a_short_key_is_refused_and_none_is_shown() {
        let weak = Signer::new([KEY, b"hunter2"]).unwrap_err();
        assert_eq!((weak.number, weak.length), (2, 7));
        assert_eq!(format!("{:?}", signer(&[KEY])), "Signer { keys: 1 }");
        let names = signer(&[KEY, OTHER]).key_names();
        assert!(names[0].len() == 16 && names[0] != names[1]);
    }
}
