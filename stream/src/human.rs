//! Durations and sizes as people write them in a configuration: `"5m"`, `"250ms"`, `"1h30m"`, `"64MiB"`.
//!
//! A bare number is refused: nobody can tell whether `30` means seconds or milliseconds. Every value prints in a form
//! that reads back as the same value. Months and years are not units here, because their length depends on the date.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time, written as numbers with units from `d h m s ms us`, largest first: `"1h30m"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(pub Duration);

/// A number of bytes, written with a unit: `"64MiB"` (powers of 1024) or `"64MB"` (powers of 1000).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanSize(pub u64);

/// Text that is neither, and what would be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}: {problem}; write for example {example}")]
pub struct ParseError {
    pub text: String,
    pub what: &'static str,
    pub problem: String,
    pub example: &'static str,
}

/// Largest first, which is also the order in which they must be written. Microseconds last.
const DURATION_UNITS: &[(&str, u64)] = &[
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

const SIZE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl HumanDuration {
    pub const fn from_millis(ms: u64) -> Self {
        HumanDuration(Duration::from_millis(ms))
    }

    pub const fn from_secs(s: u64) -> Self {
        HumanDuration(Duration::from_secs(s))
    }

    pub const fn get(self) -> Duration {
        self.0
    }
}

impl HumanSize {
    pub const fn kib(n: u64) -> Self {
        HumanSize(n << 10)
    }

    pub const fn mib(n: u64) -> Self {
        HumanSize(n << 20)
    }

    pub const fn get(self) -> u64 {
        self.0
    }

    /// As a length in memory; saturates where `usize` is smaller.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl From<Duration> for HumanDuration {
    fn from(d: Duration) -> Self {
        HumanDuration(d)
    }
}

impl From<HumanDuration> for Duration {
    fn from(d: HumanDuration) -> Self {
        d.0
    }
}

impl FromStr for HumanDuration {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |problem: String| ParseError {
            text: text.to_owned(),
            what: "duration",
            problem,
            example: "\"30s\" or \"1h30m\"",
        };
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong("it is empty".to_owned()));
        }
        let mut micros = 0u64;
        let mut smallest = u64::MAX;
        while !rest.is_empty() {
            let (number, unit, after) = split_term(rest);
            rest = after;
            let number: u64 = number
                .parse()
                .map_err(|_| wrong(format!("{number:?} is not a whole number")))?;
            if unit.is_empty() {
                return Err(wrong(format!("{number} has no unit (d, h, m, s, ms or us)")));
            }
            let Some(&(_, size)) = DURATION_UNITS.iter().find(|(name, _)| *name == unit) else {
                return Err(wrong(format!("unit {unit:?} is none of d, h, m, s, ms, us")));
            };
            if size >= smallest {
                return Err(wrong("units must go from large to small, each at most once".to_owned()));
            }
            smallest = size;
            let term = number.checked_mul(size).and_then(|term| micros.checked_add(term));
            micros = term.ok_or_else(|| wrong("it is too long".to_owned()))?;
        }
        Ok(HumanDuration(Duration::from_micros(micros)))
    }
}

impl FromStr for HumanSize {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |problem: String| ParseError {
            text: text.to_owned(),
            what: "size",
            problem,
            example: "\"64MiB\"",
        };
        let (number, unit, after) = split_term(text.trim());
        if !after.is_empty() {
            return Err(wrong(format!("{after:?} follows the unit")));
        }
        let number: u64 = number
            .parse()
            .map_err(|_| wrong(format!("{number:?} is not a whole number")))?;
        if unit.is_empty() {
            return Err(wrong(format!(
                "{number} has no unit (B, KiB, MiB, GiB, TiB, kB, MB, GB or TB)"
            )));
        }
        let Some((_, size)) = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) else {
            return Err(wrong(format!(
                "unit {unit:?} is none of B, KiB, MiB, GiB, TiB, kB, MB, GB, TB"
            )));
        };
        number
            .checked_mul(*size)
            .map(HumanSize)
            .ok_or_else(|| wrong("it is too large".to_owned()))
    }
}

/// `"30 s5"` → `("30", "s", "5")`: digits and dots, then letters, then what is left.
fn split_term(text: &str) -> (&str, &str, &str) {
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(unit_at);
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
    // Something that is neither digit nor letter would otherwise be split off in empty terms for ever.
    let end = if unit_at == 0 && end == 0 { rest.len() } else { end };
    let (unit, after) = rest.split_at(end);
    (number, unit, after.trim_start())
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX);
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in DURATION_UNITS {
            if left >= *size {
                write!(f, "{}{unit}", left / size)?;
                left %= size;
            }
        }
        Ok(())
    }
}

impl fmt::Display for HumanSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SIZE_UNITS
            .iter()
            .find(|(_, size)| self.0 >= *size && self.0.is_multiple_of(*size));
        match exact {
            Some((unit, size)) => write!(f, "{}{unit}", self.0 / size),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl Serialize for HumanSize {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(input)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for HumanSize {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(input)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for HumanDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "HumanDuration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "duration", "examples": ["30s", "1h30m"] })
    }
}

impl JsonSchema for HumanSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "HumanSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "size", "examples": ["64MiB"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |text: &str, micros: u64, printed: &str| {
            let read: HumanDuration = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(read.0, Duration::from_micros(micros), "{text}");
            assert_eq!(read.to_string(), printed, "{text}");
            assert_eq!(printed.parse(), Ok(read), "{printed} reads back");
        };
        check("250ms", 250_000, "250ms");
        check("5m", 300_000_000, "5m");
        check("1h30m", 5_400_000_000, "1h30m");
        check("1h 30m", 5_400_000_000, "1h30m");
        check("90 s", 90_000_000, "1m30s");
        check("7d", 604_800_000_000, "7d");
        check("0s", 0, "0s");
        check("1001us", 1_001, "1ms1us");
    }

    #[test]
    fn sizes() {
        let check = |text: &str, bytes: u64, printed: &str| {
            let read: HumanSize = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(read.0, bytes, "{text}");
            assert_eq!(read.to_string(), printed, "{text}");
            assert_eq!(printed.parse(), Ok(read), "{printed} reads back");
        };
        check("64MiB", 64 << 20, "64MiB");
        check("64 mib", 64 << 20, "64MiB");
        check("10MB", 10_000_000, "10MB");
        check("512B", 512, "512B");
        check("0B", 0, "0B");
        check("1025B", 1025, "1025B");
        check("2048KiB", 2 << 20, "2MiB");
    }

    #[test]
    fn refusals() {
        let duration = |text: &str, problem: &str| {
            let e = text.parse::<HumanDuration>().expect_err(text).to_string();
            assert!(e.contains(problem), "{text}: {e}");
        };
        duration("", "empty");
        duration("30", "30 has no unit");
        duration("1.5h", "\"1.5\" is not a whole number");
        duration("5 minutes", "unit \"minutes\" is none of");
        duration("30s1h", "large to small");
        duration("-5s", "is not a whole number");
        duration("99999999999999d", "too long");
        let size = |text: &str, problem: &str| {
            let e = text.parse::<HumanSize>().expect_err(text).to_string();
            assert!(e.contains(problem), "{text}: {e}");
        };
        size("64", "64 has no unit");
        size("64 potatoes", "unit \"potatoes\"");
        size("MiB", "is not a whole number");
        size("99999999TiB", "too large");
    }
}
