//! Masks: what differs from line to line by its nature is taken out before mining, so that only what the program wrote is
//! left to compare.
//!
//! | in a line | becomes |
//! |---|---|
//! | `10.250.19.102`, `10.250.19.102:54106` | `<ip>` |
//! | `113d3a99-c3da-401f-bd62-cc2caa5b96d2` | `<uuid>` |
//! | `0x7f3a`, eight or more hex digits with a letter and a digit among them | `<hex>` |
//! | `/etc/httpd/conf`, `http://shop/cart` | `<path>` |
//! | `4711`, `-1`, `0.25`, `1,024`, `12ms` (as `<num>ms`) | `<num>` |
//!
//! A number counts where a word begins or behind `_`: `blk_-160` is `blk_<num>`, `node7` stays. Written by hand because it runs
//! over every byte of every line.

/// Tokens of a line beyond which it is cut: what follows is as one token. More cost time and tell templates no better apart.
pub const MOST_TOKENS: usize = 256;
/// Bytes of a line that are looked at.
pub const MOST_BYTES: usize = 4096;

/// A masked line: its tokens, without a copy of each.
#[derive(Clone, Debug, Default)]
pub struct Masked {
    text: String,
    /// Where each token ends in `text`.
    ends: Vec<usize>,
}

impl Masked {
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.ends.len()).map(|i| self.token(i))
    }

    pub fn token(&self, i: usize) -> &str {
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[i]]
    }

    /// Tokens in it.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Takes `line` in place of what was there.
    pub fn read(&mut self, line: &str) {
        self.text.clear();
        self.ends.clear();
        let line = &line[..line.floor_char_boundary(MOST_BYTES.min(line.len()))];
        for token in line.split_ascii_whitespace() {
            if self.ends.len() == MOST_TOKENS {
                self.text.push_str(super::drain::WILDCARD);
                self.ends.push(self.text.len());
                return;
            }
            mask(token, &mut self.text);
            self.ends.push(self.text.len());
        }
    }
}

fn mask(token: &str, out: &mut String) {
    let bytes = token.as_bytes();
    if !bytes.iter().any(|byte| byte.is_ascii_digit() || *byte == b'/') && bytes.len() < 8 {
        return out.push_str(token);
    }
    let (mut at, mut copied) = (0, 0);
    while at < bytes.len() {
        let begins = at == 0 || !in_word(bytes[at - 1]);
        let found = if begins { special(bytes, at) } else { None };
        match found {
            Some((length, name)) => {
                // Only ASCII is matched, so these are boundaries of characters.
                out.push_str(&token[copied..at]);
                out.push_str(name);
                at += length;
                copied = at;
            }
            None => at += 1,
        }
    }
    out.push_str(&token[copied..]);
}

/// What begins at `at`, which begins a word.
fn special(bytes: &[u8], at: usize) -> Option<(usize, &'static str)> {
    let rest = &bytes[at..];
    match rest[0] {
        b'/' => ip(&rest[1..])
            .map(|length| (length + 1, "<ip>"))
            .or_else(|| path(rest).map(|length| (length, "<path>"))),
        b'-' => number(&rest[1..]).map(|length| (length + 1, "<num>")),
        b'0'..=b'9' => uuid(rest)
            .map(|length| (length, "<uuid>"))
            .or_else(|| ip(rest).map(|length| (length, "<ip>")))
            .or_else(|| hex(rest).map(|length| (length, "<hex>")))
            .or_else(|| number(rest).map(|length| (length, "<num>"))),
        b'a'..=b'z' | b'A'..=b'Z' => uuid(rest)
            .map(|length| (length, "<uuid>"))
            .or_else(|| hex(rest).map(|length| (length, "<hex>")))
            .or_else(|| url(rest).map(|length| (length, "<path>"))),
        _ => None,
    }
}

fn ip(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for part in 0..4 {
        if part > 0 {
            (bytes.get(at) == Some(&b'.')).then_some(())?;
            at += 1;
        }
        let digits = digits(&bytes[at..]);
        (1..=3).contains(&digits).then_some(())?;
        at += digits;
    }
    // 1.2.3.4.5 is a version or an OID.
    if matches!((bytes.get(at), bytes.get(at + 1)), (Some(b'.'), Some(next)) if next.is_ascii_digit()) {
        return None;
    }
    if bytes.get(at) == Some(&b':') {
        let port = digits(&bytes[at + 1..]);
        if (1..=5).contains(&port) {
            at += 1 + port;
        }
    }
    ends_word(bytes, at).then_some(at)
}

fn uuid(bytes: &[u8]) -> Option<usize> {
    let shape = |(i, byte): (usize, &u8)| match i {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    let whole = bytes.get(..36)?.iter().enumerate().all(shape);
    (whole && ends_word(bytes, 36)).then_some(36)
}

fn hex(bytes: &[u8]) -> Option<usize> {
    let prefixed = bytes.len() > 2 && bytes[0] == b'0' && matches!(bytes[1], b'x' | b'X');
    let from = if prefixed { 2 } else { 0 };
    let run = bytes[from..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let digits = &bytes[from..from + run];
    let mixed = || run >= 8 && digits.iter().any(u8::is_ascii_digit) && digits.iter().any(u8::is_ascii_alphabetic);
    ((prefixed && run > 0 || mixed()) && ends_word(bytes, from + run)).then_some(from + run)
}

/// Digits with fractions and thousands, and a unit of at most three letters behind them, which stays.
fn number(bytes: &[u8]) -> Option<usize> {
    let mut at = digits(bytes);
    if at == 0 {
        return None;
    }
    while matches!(bytes.get(at), Some(b'.' | b',')) {
        match digits(&bytes[at + 1..]) {
            0 => break,
            more => at += 1 + more,
        }
    }
    let unit = bytes[at..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    (unit <= 3 && ends_word(bytes, at + unit)).then_some(at)
}

/// Two steps or more, each of the characters that file names have.
fn path(bytes: &[u8]) -> Option<usize> {
    let length = bytes.iter().take_while(|byte| in_path(**byte)).count();
    let steps = bytes[..length]
        .split(|byte| *byte == b'/')
        .filter(|step| step.iter().any(u8::is_ascii_alphanumeric))
        .count();
    // A full stop or colon behind it belongs to the sentence.
    let trailing = bytes[..length]
        .iter()
        .rev()
        .take_while(|byte| matches!(byte, b'.' | b':'))
        .count();
    (steps >= 2).then_some(length - trailing)
}

fn url(bytes: &[u8]) -> Option<usize> {
    let scheme = bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let rest = bytes.get(scheme..)?;
    if !(2..=8).contains(&scheme) || !rest.starts_with(b"://") {
        return None;
    }
    let tail = rest[3..]
        .iter()
        .take_while(|byte| in_path(**byte) || matches!(byte, b'?' | b'&'))
        .count();
    (tail > 0).then_some(scheme + 3 + tail)
}

fn in_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'/' | b'.' | b'_' | b'-' | b'%' | b'$' | b'+' | b'~' | b'=' | b'@' | b':'
        )
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn ends_word(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_none_or(|byte| !in_word(*byte))
}

/// Letters of other alphabets are letters.
fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        let check = |line: &str, expected: &str| {
            let mut masked = Masked::default();
            masked.read(line);
            assert_eq!(masked.tokens().collect::<Vec<_>>().join(" "), expected, "{line}");
        };
        check("plain words stay", "plain words stay");
        check(
            "took 12ms, 0.25 of 1,024 at -1",
            "took <num>ms, <num> of <num> at <num>",
        );
        check("block blk_-1608999687919862906 of node7", "block blk_<num> of node7");
        check("src: /10.250.19.102:54106 dest 10.1.2.3", "src: <ip> dest <ip>");
        check("version 1.2.3.4.5", "version <num>");
        check("id 113d3a99-c3da-401f-bd62-cc2caa5b96d2.", "id <uuid>.");
        check(
            "at 0x7f3a deadbeef01 feedbeef deadbee1",
            "at <hex> <hex> feedbeef <hex>",
        );
        check("ok /etc/httpd/conf.d, /etc. (/var/log)", "ok <path>, /etc. (<path>)");
        check("GET http://shop/cart?id=7 failed", "GET <path> failed");
        check("uid=0 euid=12", "uid=<num> euid=<num>");
        check("10:00:01 -07:00", "<num>:<num>:<num> <num>:<num>");
        check(
            "\u{e9}7 caf\u{e9}-7/x/y \u{1f600}",
            "\u{e9}7 caf\u{e9}-<num>/x/y \u{1f600}",
        );
        check("", "");
    }

    #[test]
    fn long_lines_are_cut() {
        let mut masked = Masked::default();
        masked.read(&"a ".repeat(1_000));
        assert_eq!(masked.count(), MOST_TOKENS + 1);
        assert_eq!(masked.token(MOST_TOKENS), "<*>");
        masked.read(&"\u{e9}".repeat(5_000));
        assert_eq!(masked.token(0).len(), MOST_BYTES);
    }
}
