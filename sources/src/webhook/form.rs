//! `application/x-www-form-urlencoded` bodies that carry one JSON document in the field `payload`, as GitHub and Slack send them.

/// The decoded value of `payload`; `None` where the body is no such form.
pub fn payload(body: &[u8]) -> Option<Vec<u8>> {
    let mut fields = body.split(|byte| *byte == b'&').filter_map(|field| {
        let at = field.iter().position(|byte| *byte == b'=')?;
        (&field[..at] == b"payload").then(|| &field[at + 1..])
    });
    let value = fields.next()?;
    // Two readers could take different ones.
    fields.next().is_none().then(|| decoded(value))?
}

/// All fields, in order. `None` where the body is no such form, is not UTF-8, or names a field twice: two readers could take different
/// ones.
pub fn fields(body: &[u8]) -> Option<Vec<(String, String)>> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for field in body.split(|byte| *byte == b'&').filter(|field| !field.is_empty()) {
        let at = field.iter().position(|byte| *byte == b'=')?;
        let name = String::from_utf8(decoded(&field[..at])?).ok()?;
        let value = String::from_utf8(decoded(&field[at + 1..])?).ok()?;
        if fields.iter().any(|(known, _)| *known == name) {
            return None;
        }
        fields.push((name, value));
    }
    Some(fields)
}

/// A form with this one field, as Ruby (hence GitHub) writes it.
pub fn of_payload(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 8);
    out.push_str("payload=");
    for byte in value.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'*' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// One value.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(*rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => *other,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fields() {
        let read = |body: &str| fields(body.as_bytes());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read("a=1&b+c=%2F&&d="),
            Some(vec![pair("a", "1"), pair("b c", "/"), pair("d", "")])
        );
        assert_eq!(read(""), Some(Vec::new()));
        for bad in ["a", "a=1&a=2", "a=1&%61=2", "a=%f", "a=%ff"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn there_and_back() {
        let json = r#"{"a":"b c+d&é=%"}"#;
        assert_eq!(of_payload(json), "payload=%7B%22a%22%3A%22b+c%2Bd%26%C3%A9%3D%25%22%7D");
        assert_eq!(payload(of_payload(json).as_bytes()).as_deref(), Some(json.as_bytes()));
    }

    #[test]
    fn payloads() {
        let check = |body: &str, expected: Option<&str>| {
            assert_eq!(
                payload(body.as_bytes()).as_deref(),
                expected.map(str::as_bytes),
                "{body}"
            );
        };
        check("payload=%7B%22a%22%3A%22b+c%2Bd%22%7D", Some(r#"{"a":"b c+d"}"#));
        check("x=1&payload=1&y", Some("1"));
        check("payload=", Some(""));
        for bad in ["", "payload", "payload=%7", "payload=%zz", "x=1", "payload=1&payload=2"] {
            check(bad, None);
        }
    }
}
