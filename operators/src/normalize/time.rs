//! RFC 3339 times (<https://www.rfc-editor.org/rfc/rfc3339>) as microseconds since the epoch.
//!
//! Years 0000 to 9999, any offset, any number of fraction digits (truncated to microseconds), `T` or a space, either
//! case, leap seconds (`:60` is the first instant of the next minute). Nothing is guessed: no missing offset, no
//! two-digit year. Written by hand because it runs twice per alert.

const SECOND: i64 = 1_000_000;

/// Go's zero time, `0001-01-01T00:00:00Z`: senders written in Go mean "no time" by it.
pub const GO_ZERO: i64 = -62_135_596_800 * SECOND;

/// `9999-12-31T23:59:59.999999Z`.
pub const MAX: i64 = 253_402_300_800 * SECOND - 1;

/// `0000-01-01T00:00:00Z`.
pub const MIN: i64 = -62_167_219_200 * SECOND;

/// Microseconds since the epoch; `None` when `text` is not an RFC 3339 time.
pub fn parse(text: &str) -> Option<i64> {
    let b = text.as_bytes();
    if b.len() < 20
        || b[4] != b'-'
        || b[7] != b'-'
        || !matches!(b[10], b'T' | b't' | b' ')
        || b[13] != b':'
        || b[16] != b':'
    {
        return None;
    }
    let year = i64::from(two(b, 0)?) * 100 + i64::from(two(b, 2)?);
    let (month, day) = (two(b, 5)?, two(b, 8)?);
    let (hour, minute, second) = (two(b, 11)?, two(b, 14)?, two(b, 17)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = 19;
    let mut fraction = 0;
    if b[at] == b'.' {
        at += 1;
        let first = at;
        let mut unit = SECOND / 10;
        while let Some(digit) = b.get(at).filter(|d| d.is_ascii_digit()) {
            fraction += i64::from(digit - b'0') * unit;
            unit /= 10;
            at += 1;
        }
        if at == first {
            return None;
        }
    }
    let offset_minutes = match &b[at..] {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (two(b, at + 1)?, two(b, at + 4)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = i64::from(hours) * 60 + i64::from(minutes);
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let seconds = days_from_civil(year, month, day) * 86_400
        + i64::from(hour) * 3_600
        + (i64::from(minute) - offset_minutes) * 60
        + i64::from(second);
    Some(seconds * SECOND + fraction)
}

/// Milliseconds since the epoch, within the same years; `None` outside.
pub fn from_millis(ms: i64) -> Option<i64> {
    ms.checked_mul(1_000).filter(|at| (MIN..=MAX).contains(at))
}

fn two(b: &[u8], at: usize) -> Option<u32> {
    let (tens, ones) = (b.get(at)?, b.get(at + 1)?);
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
}

fn days_in(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar. Algorithm `days_from_civil` of Howard Hinnant,
/// <https://howardhinnant.github.io/date_algorithms.html>.
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = i64::from((month + 9) % 12);
    let day_of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn examples() {
        let check = |text, expected| assert_eq!(parse(text), expected, "{text}");
        check("1970-01-01T00:00:00Z", Some(0));
        check("2026-11-23T08:48:26.002Z", Some(1_795_423_706_002_000));
        check("2026-11-23T10:48:26.002+02:00", Some(1_795_423_706_002_000));
        check("2026-11-23t04:18:26.0020009-04:30", Some(1_795_423_706_002_000));
        check("2026-11-23 08:48:26.123456789z", Some(1_795_423_706_123_456));
        check("0001-01-01T00:00:00Z", Some(GO_ZERO));
        check("0000-01-01T00:00:00Z", Some(MIN));
        check("9999-12-31T23:59:59.999999999Z", Some(MAX));
        check("1969-12-31T23:59:59.5Z", Some(-500_000));
        check("2016-12-31T23:59:60Z", Some(1_483_228_800_000_000));
        check("2024-02-29T00:00:00Z", Some(1_709_164_800_000_000));
        for bad in [
            "",
            "2026",
            "2026-11-23",
            "2026-11-23T08:48:26",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T08:48:26.Z",
            "2026-11-23T08:48:26+0200",
            "2026-11-23T08:48:26Z ",
            "10000-01-01T00:00:00Z",
            "2026-11-2xT08:48:26Z",
            "\u{e9}026-11-23T08:48:26Z",
        ] {
            check(bad, None);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_chrono(seconds in -62_167_219_200_i64..253_402_300_800, nanos in 0_u32..1_000_000_000, offset in -1_439_i32..1_440) {
            let zone = chrono::FixedOffset::east_opt(offset * 60).unwrap();
            let at = DateTime::from_timestamp(seconds, nanos).unwrap().with_timezone(&zone);
            let text = at.to_rfc3339();
            // Years that the offset pushes out of 0000..=9999 are written with a sign, which RFC 3339 does not know.
            if text.as_bytes()[4] == b'-' && text.as_bytes()[0] != b'-' {
                prop_assert_eq!(parse(&text), Some(at.timestamp_micros()), "{}", text);
            }
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            parse(&text);
        }
    }
}
