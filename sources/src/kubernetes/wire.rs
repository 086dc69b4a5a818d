//! What an API server writes: pages of lists, and the words of a watch, however the connection cuts them.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::api::{Failure, shorten};
use super::lines::{Lines, TooLong};

/// A page of a list.
#[derive(Debug)]
pub struct Page {
    pub items: Vec<Value>,
    /// Where to watch from.
    pub version: String,
    /// Leads to the next page; empty on the last.
    pub next: String,
}

/// What a watch says.
#[derive(Debug)]
pub enum Word {
    /// Added or changed.
    Present(Value),
    /// Deleted; the object as it was last.
    Deleted(Value),
    /// Nothing but how far the watch has come.
    Bookmark(String),
}

/// Reads the words of one watch out of the bytes that come.
pub struct WatchReader {
    lines: Lines,
}

impl WatchReader {
    /// `limit`: bytes of one word.
    pub fn new(limit: usize) -> Self {
        WatchReader {
            lines: Lines::new(limit),
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.lines.push(bytes);
    }

    /// The next whole word. Behind a failure there is nothing to read: the watch is begun again.
    pub fn next_word(&mut self) -> Result<Option<Word>, Failure> {
        let line = self.lines.take().map_err(|TooLong(limit)| Failure::TooLarge(limit))?;
        line.map(|line| word(&line)).transpose()
    }

    /// What stands there when no more comes.
    pub fn last_word(&mut self) -> Result<Option<Word>, Failure> {
        self.lines.rest().map(|rest| last_word(&rest)).transpose()
    }
}

pub(super) fn page(body: &Bytes) -> Result<Page, Failure> {
    #[derive(Deserialize)]
    struct List {
        metadata: Metadata,
        // An empty list of Go is `null`.
        items: Option<Vec<Value>>,
    }
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(default, rename = "resourceVersion")]
        version: String,
        #[serde(default, rename = "continue")]
        next: String,
    }
    let list: List = serde_json::from_slice(body).map_err(|fault| Failure::Garbled(fault.to_string()))?;
    if list.metadata.version.is_empty() && list.metadata.next.is_empty() {
        return Err(Failure::Garbled("a list without a resourceVersion".to_owned()));
    }
    Ok(Page {
        items: list.items.unwrap_or_default(),
        version: list.metadata.version,
        next: list.metadata.next,
    })
}

fn word(line: &[u8]) -> Result<Word, Failure> {
    #[derive(Deserialize)]
    struct Said {
        #[serde(rename = "type")]
        kind: String,
        object: Value,
    }
    let said: Said = serde_json::from_slice(line).map_err(|fault| Failure::Garbled(fault.to_string()))?;
    match said.kind.as_str() {
        "ADDED" | "MODIFIED" => Ok(Word::Present(said.object)),
        "DELETED" => Ok(Word::Deleted(said.object)),
        "BOOKMARK" => Ok(Word::Bookmark(super::object::version(&said.object).to_owned())),
        "ERROR" if said.object["code"] == 410 => Err(Failure::Gone),
        "ERROR" => Err(Failure::Refused {
            status: said.object["code"]
                .as_u64()
                .and_then(|code| code.try_into().ok())
                .unwrap_or(500),
            message: shorten(said.object["message"].as_str().unwrap_or_default()),
            retry_after: None,
        }),
        other => Err(Failure::Garbled(format!("a watch that says {:?}", shorten(other)))),
    }
}

/// What stands at the end of a watch without a line feed: a whole word, one that was cut, or a page of something else.
fn last_word(rest: &[u8]) -> Result<Word, Failure> {
    match serde_json::from_slice::<serde::de::IgnoredAny>(rest) {
        Err(fault) if fault.is_eof() => Err(Failure::Away(
            "the watch broke off in the middle of an object".to_owned(),
        )),
        _ => word(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let read = |line: &str| word(line.as_bytes());
        let object = r#"{"metadata":{"resourceVersion":"7"}}"#;
        assert!(matches!(
            read(&format!(r#"{{"type":"ADDED","object":{object}}}"#)),
            Ok(Word::Present(_))
        ));
        assert!(matches!(
            read(&format!(r#"{{"type":"MODIFIED","object":{object}}}"#)),
            Ok(Word::Present(_))
        ));
        assert!(matches!(
            read(&format!(r#"{{"type":"DELETED","object":{object}}}"#)),
            Ok(Word::Deleted(_))
        ));
        assert!(
            matches!(read(&format!(r#"{{"type":"BOOKMARK","object":{object}}}"#)), Ok(Word::Bookmark(at)) if at == "7")
        );
        assert_eq!(
            read(r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}"#).unwrap_err(),
            Failure::Gone
        );
        let refused = read(r#"{"type":"ERROR","object":{"code":500,"message":"etcd"}}"#).unwrap_err();
        assert_eq!(
            (refused.cause(), refused.to_string().as_str()),
            ("server", "the API server answers with status 500: etcd")
        );
        for rubbish in [
            "<html>",
            "{}",
            r#"{"type":"ADDED"}"#,
            r#"{"type":"SUNG","object":{}}"#,
            "[]",
        ] {
            assert_eq!(read(rubbish).unwrap_err().cause(), "garbled", "{rubbish}");
        }
    }

    #[test]
    fn last_words() {
        let cause = |rest: &str| last_word(rest.as_bytes()).map_err(|failure| failure.cause());
        assert!(cause(r#"{"type":"BOOKMARK","object":{}}"#).is_ok());
        assert_eq!(cause(r#"{"type":"ADDED","obj"#).unwrap_err(), "away");
        assert_eq!(cause("<html></html>").unwrap_err(), "garbled");
    }

    #[test]
    fn pages() {
        let read = |body: &str| page(&Bytes::copy_from_slice(body.as_bytes()));
        let whole =
            read(r#"{"kind":"PodList","metadata":{"resourceVersion":"9","continue":"n"},"items":[{},{}]}"#).unwrap();
        assert_eq!((whole.items.len(), &*whole.version, &*whole.next), (2, "9", "n"));
        assert_eq!(
            read(r#"{"metadata":{"resourceVersion":"9"},"items":null}"#)
                .unwrap()
                .items
                .len(),
            0
        );
        for rubbish in ["", "<html>", "{}", r#"{"metadata":{},"items":[]}"#, "[1]"] {
            assert_eq!(read(rubbish).unwrap_err().cause(), "garbled", "{rubbish}");
        }
    }
}
