//! Why an element of a body is refused, before it is known where in the body the element stands.

use stream::Reject;

use super::json::Trail;

/// A refusal, relative to the element that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    reason: &'static str,
    detail: String,
    /// JSON pointer within the element; empty for all of it.
    pointer: String,
    /// Line and column within the element's text, from 1.
    place: Option<(usize, usize)>,
}

impl Fault {
    pub fn new(reason: &'static str, pointer: &str, detail: impl Into<String>) -> Self {
        Fault {
            reason,
            detail: detail.into(),
            pointer: pointer.to_owned(),
            place: None,
        }
    }

    /// A member that must be there is not; `why` says what it is needed for.
    pub fn missing(pointer: &str, why: &str) -> Self {
        Fault::new("missing_field", pointer, format!("is missing: {why}"))
    }

    /// A text that should be an RFC 3339 time; its beginning is shown, as a sender may send anything.
    pub fn bad_time(pointer: &str, text: &str) -> Self {
        let shown: String = text.chars().take(40).collect();
        Fault::new("bad_time", pointer, format!("is {shown:?}, no RFC 3339 time"))
    }

    pub fn json(error: &serde_json::Error, trail: &Trail) -> Self {
        let reason = trail.reason().unwrap_or(if error.is_data() {
            "wrong_type"
        } else {
            "malformed_json"
        });
        let (line, column) = (error.line(), error.column());
        let mut detail = error.to_string();
        if let Some(end) = detail.rfind(&format!(" at line {line} column {column}")) {
            detail.truncate(end);
        }
        Fault {
            reason,
            detail,
            pointer: trail.pointer(),
            place: (line > 0).then_some((line, column)),
        }
    }

    /// The same fault in a value that stands at `pointer` of the element.
    pub fn within(mut self, pointer: &str, text: &str, at: &str) -> Self {
        self.place = self.place.map(|place| shift(place, start_of(text, at)));
        self.at(pointer)
    }

    /// The same fault below `pointer`.
    pub fn at(mut self, pointer: &str) -> Self {
        self.pointer.insert_str(0, pointer);
        self
    }

    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// As the stage's refusal: `index` of the element, `pointer` to it, and the `body` of which `element` is a part.
    pub fn into_reject(self, index: Option<u32>, pointer: &str, body: &str, element: &str) -> Reject {
        let field = format!("{pointer}{}", self.pointer);
        let place = self.place.map(|place| shift(place, start_of(body, element)));
        let mut detail = String::new();
        if !field.is_empty() {
            detail.push_str(&field);
            detail.push_str(if self.detail.starts_with("is ") { " " } else { ": " });
        }
        detail.push_str(&self.detail);
        if let Some((line, column)) = place {
            detail.push_str(&format!(" (line {line}, column {column})"));
        }
        Reject {
            reason: self.reason,
            detail,
            field: (!field.is_empty()).then_some(field),
            index,
        }
    }
}

/// Line and column, from 0, at which `part`, a slice of `whole`, starts.
fn start_of(whole: &str, part: &str) -> (usize, usize) {
    let offset = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    let Some(before) = whole.as_bytes().get(..offset) else {
        return (0, 0);
    };
    let line = before.iter().filter(|b| **b == b'\n').count();
    let column = before.iter().rev().take_while(|b| **b != b'\n').count();
    (line, column)
}

fn shift((line, column): (usize, usize), (lines, columns): (usize, usize)) -> (usize, usize) {
    if line == 1 {
        (lines + 1, columns + column)
    } else {
        (lines + line, column)
    }
}
