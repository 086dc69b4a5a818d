//! Canonical JSON text for the `labels`, `annotations` and `extra` columns: no white space, keys sorted by their bytes,
//! the last of equal keys. Numbers stay as the sender wrote them, so none loses digits.

/// Nesting kept in `extra`. Higher: copying recurses too deep; lower: honest payloads are refused.
pub const MAX_DEPTH: usize = 100;

/// Why a value cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyError {
    TooDeep,
    /// An escape that stands for half a surrogate pair: no strict reader takes it.
    LoneSurrogate,
}

/// Appends `text` as a JSON string.
pub fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = next_special(bytes, at) {
        out.push_str(&text[copied..found]);
        match bytes[found] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            control => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.push_str("\\u00");
                out.push(char::from(HEX[usize::from(control >> 4)]));
                out.push(char::from(HEX[usize::from(control & 15)]));
            }
        }
        at = found + 1;
        copied = at;
    }
    out.push_str(&text[copied..]);
    out.push('"');
}

/// Position of the next byte that JSON wants escaped. Whole chunks are tested without a branch per byte, which the
/// compiler turns into vector instructions; only a chunk with a hit is searched.
fn next_special(bytes: &[u8], from: usize) -> Option<usize> {
    let special = |b: u8| (b < 0x20) | (b == b'"') | (b == b'\\');
    let mut at = from;
    while let Some(chunk) = bytes[at..].first_chunk::<32>() {
        if chunk.iter().fold(false, |hit, b| hit | special(*b)) {
            break;
        }
        at += chunk.len();
    }
    bytes[at..].iter().position(|b| special(*b)).map(|i| at + i)
}

/// Appends `json`, which must be valid JSON (as text of a `RawValue` is), in canonical form. On an error `out` holds a
/// part of it.
pub fn push_json(out: &mut String, json: &str) -> Result<(), CopyError> {
    Copier { text: json, at: 0 }.value(out, 0)
}

struct Copier<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Copier<'a> {
    fn value(&mut self, out: &mut String, depth: usize) -> Result<(), CopyError> {
        if depth > MAX_DEPTH {
            return Err(CopyError::TooDeep);
        }
        match self.peek() {
            Some(b'{') => self.object(out, depth),
            Some(b'[') => self.array(out, depth),
            Some(b'"') => self.string().map(|raw| out.push_str(raw)),
            _ => {
                out.push_str(self.scalar());
                Ok(())
            }
        }
    }

    fn array(&mut self, out: &mut String, depth: usize) -> Result<(), CopyError> {
        self.at += 1;
        out.push('[');
        let mut first = true;
        while !matches!(self.peek(), Some(b']') | None) {
            if !first {
                out.push(',');
            }
            first = false;
            self.value(out, depth + 1)?;
            self.skip(b',');
        }
        self.at += 1;
        out.push(']');
        Ok(())
    }

    fn object(&mut self, out: &mut String, depth: usize) -> Result<(), CopyError> {
        self.at += 1;
        out.push('{');
        let start = out.len();
        // Name, and where its member stands in `out`.
        let mut members: Vec<(&'a str, usize, usize)> = Vec::new();
        while !matches!(self.peek(), Some(b'}') | None) {
            if !members.is_empty() {
                out.push(',');
            }
            let begin = out.len();
            let key = self.string()?;
            out.push_str(key);
            out.push(':');
            self.skip(b':');
            self.value(out, depth + 1)?;
            self.skip(b',');
            let name = key.get(1..key.len().saturating_sub(1)).unwrap_or(key);
            members.push((name, begin - start, out.len() - start));
        }
        self.at += 1;
        if !members.is_sorted_by(|a, b| a.0 < b.0) {
            let unsorted = out.split_off(start);
            members.sort_by_key(|(key, ..)| *key);
            let mut separator = "";
            for (i, (key, begin, end)) in members.iter().enumerate() {
                if members.get(i + 1).is_some_and(|next| next.0 == *key) {
                    continue;
                }
                out.push_str(separator);
                out.push_str(&unsorted[*begin..*end]);
                separator = ",";
            }
        }
        out.push('}');
        Ok(())
    }

    /// The string at the cursor, with its quotes, as it stands.
    fn string(&mut self) -> Result<&'a str, CopyError> {
        self.peek();
        let (text, begin) = (self.text, self.at);
        let bytes = text.as_bytes();
        self.at += 1;
        let mut unicode_escape = false;
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'"' => break,
                b'\\' => {
                    unicode_escape |= bytes.get(self.at + 1) == Some(&b'u');
                    self.at += 2;
                }
                _ => self.at += 1,
            }
        }
        self.at = (self.at + 1).min(text.len());
        let raw = &text[begin.min(self.at)..self.at];
        if unicode_escape && serde_json::from_str::<String>(raw).is_err() {
            return Err(CopyError::LoneSurrogate);
        }
        Ok(raw)
    }

    fn scalar(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let end = rest.find([',', ']', '}', ' ', '\t', '\r', '\n']).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// The next byte that is not white space, not consumed.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn skip(&mut self, separator: u8) {
        if self.peek() == Some(separator) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn copies() {
        let check = |json: &str, expected: Result<&str, CopyError>| {
            let mut out = String::from("x");
            assert_eq!(push_json(&mut out, json).map(|()| &out[1..]), expected, "{json}");
        };
        check("1", Ok("1"));
        check(
            " 12345678901234567890123456789.50 ",
            Ok("12345678901234567890123456789.50"),
        );
        check(
            "{ \"b\" : [ 1 , { } , [ ] ] ,\n\"a\" : null }",
            Ok("{\"a\":null,\"b\":[1,{},[]]}"),
        );
        check(
            "{\"a\":1,\"b\":{\"z\":1,\"y\":\"},{\"},\"a\":2}",
            Ok("{\"a\":2,\"b\":{\"y\":\"},{\",\"z\":1}}"),
        );
        check("\"q\\\"\\\\\"", Ok("\"q\\\"\\\\\""));
        check("\"\\ud83d\\ude00\"", Ok("\"\\ud83d\\ude00\""));
        check("[\"\\ud83d\"]", Err(CopyError::LoneSurrogate));
        check(&"[".repeat(MAX_DEPTH + 2), Err(CopyError::TooDeep));
    }

    #[test]
    fn strings() {
        let mut out = String::new();
        push_string(&mut out, "a\"b\\c\0\u{1f}\n\u{e9}\u{7f}-and-a-long-plain-tail\t");
        assert_eq!(
            out,
            "\"a\\\"b\\\\c\\u0000\\u001f\\n\u{e9}\u{7f}-and-a-long-plain-tail\\t\""
        );
    }

    proptest! {
        #[test]
        fn strings_are_written_as_serde_json_writes_them(text in "(\\PC|[\\x00-\\x7f]){0,60}") {
            let mut out = String::new();
            push_string(&mut out, &text);
            prop_assert_eq!(out, serde_json::to_string(&text).unwrap());
        }

        #[test]
        fn copying_keeps_the_value(json in json_text(4)) {
            let mut out = String::new();
            push_json(&mut out, &json).unwrap();
            let (was, is): (serde_json::Value, serde_json::Value) =
                (serde_json::from_str(&json).unwrap(), serde_json::from_str(&out).unwrap());
            prop_assert_eq!(was, is);
            let mut again = String::new();
            push_json(&mut again, &out).unwrap();
            prop_assert_eq!(again, out);
        }
    }

    fn json_text(depth: u32) -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<i64>().prop_map(|n| format!(" {n} ")),
            "[a-c\"\\\\{},\\[\\]]{0,5}".prop_map(|s| serde_json::to_string(&s).unwrap()),
        ];
        leaf.prop_recursive(depth, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" , "))),
                prop::collection::vec(("[a-d]{1,2}", inner), 0..4).prop_map(|members| {
                    let members: Vec<String> = members.iter().map(|(k, v)| format!("\"{k}\" :{v}")).collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }
}
