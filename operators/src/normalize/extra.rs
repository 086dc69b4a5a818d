//! Members that no column has a place for, and how they are kept: as one JSON object with sorted keys.

use std::borrow::Cow;
use std::fmt::Write as _;

use twox_hash::XxHash3_64;

use super::canonical::{CopyError, MAX_DEPTH, push_json, push_string};
use super::fault::Fault;
use super::json::Text;

#[derive(Debug, Default)]
pub struct Extra<'a> {
    pub items: Vec<Item<'a>>,
}

#[derive(Debug)]
pub struct Item<'a> {
    pub name: Text<'a>,
    pub json: Json<'a>,
    /// Part of what the sender said, so that a change of it is an update.
    pub stable: bool,
}

#[derive(Debug)]
pub enum Json<'a> {
    /// Valid JSON as the sender wrote it.
    Raw(&'a str),
    /// Canonical JSON.
    Made(Text<'a>),
    /// To be written as a string.
    Text(Text<'a>),
}

impl<'a> Extra<'a> {
    pub fn text(&mut self, name: &'static str, text: impl Into<Text<'a>>, stable: bool) {
        self.items.push(Item {
            name: Cow::Borrowed(name),
            json: Json::Text(text.into()),
            stable,
        });
    }

    /// Valid JSON as it stands.
    pub fn raw(&mut self, name: &'static str, json: &'a str, stable: bool) {
        self.items.push(Item {
            name: Cow::Borrowed(name),
            json: Json::Raw(json),
            stable,
        });
    }

    pub fn made(&mut self, name: &'static str, json: impl Into<Text<'a>>, stable: bool) {
        self.items.push(Item {
            name: Cow::Borrowed(name),
            json: Json::Made(json.into()),
            stable,
        });
    }

    /// Appends the items as one object to `out`, and the stable ones also to `content`. Of items with one name the last
    /// counts. Of an item of more than `max_item` bytes only size and digest are kept.
    pub fn push_json(&mut self, out: &mut String, content: &mut String, max_item: usize) -> Result<(), Fault> {
        let items = &mut self.items;
        items.sort_by(|a, b| a.name.cmp(&b.name));
        out.push('{');
        let mut separator = "";
        for (i, item) in items.iter().enumerate() {
            if items.get(i + 1).is_some_and(|next| next.name == item.name) {
                continue;
            }
            out.push_str(separator);
            separator = ",";
            let start = out.len();
            push_string(out, &item.name);
            out.push(':');
            let value = out.len();
            match &item.json {
                Json::Raw(json) if json.len() <= max_item => {
                    push_json(out, json).map_err(|e| cannot_keep(&item.name, e))?
                }
                Json::Raw(json) => push_omitted(out, json),
                Json::Made(json) => out.push_str(json),
                Json::Text(text) => push_string(out, text),
            }
            if out.len() - value > max_item {
                let written = out.split_off(value);
                push_omitted(out, &written);
            }
            if item.stable {
                content.push_str(&out[start..]);
            }
        }
        out.push('}');
        Ok(())
    }
}

/// Size and digest, so that a change of what is left out is still a change.
fn push_omitted(out: &mut String, json: &str) {
    let (size, digest) = (json.len(), XxHash3_64::oneshot(json.as_bytes()));
    // Writing to a string cannot fail.
    let _ = write!(out, "{{\"omitted_bytes\":{size},\"xxh3\":\"{digest:016x}\"}}");
}

fn cannot_keep(name: &str, error: CopyError) -> Fault {
    let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
    match error {
        CopyError::TooDeep => Fault::new(
            "too_deep",
            &pointer,
            format!("nested more than {MAX_DEPTH} levels deep"),
        ),
        CopyError::LoneSurrogate => Fault::new("malformed_json", &pointer, "holds an escape for half a surrogate pair"),
    }
}
