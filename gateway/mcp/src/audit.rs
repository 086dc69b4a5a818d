//! Who asked what: one line of JSON per call in a file of the data folder, which begins anew at a size and keeps the one before it.
//!
//! A file and no table: it needs no store to be up, it is not what the model that is written about can ask, and no projection that is
//! dropped and rebuilt takes it along (`docs/adr/0043-mcp.md`). A line is with the kernel before its call is answered; a proposal's is
//! on disk before it is made.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest text within the arguments that is kept, in characters, and what is kept of them in all, in bytes.
const TEXT: usize = 400;
const ARGUMENTS: usize = 4 << 10;

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub at: DateTime<Utc>,
    /// `human:NAME`; `reader` for a token without a name; `anybody` where none is needed.
    pub by: String,
    pub role: String,
    /// `http` or `stdio`.
    pub over: String,
    /// What the client says that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// `tool`, `resource` or `prompt`.
    pub kind: String,
    /// Of the tool or prompt; the URI of a resource.
    pub name: String,
    /// Redacted and cut.
    pub arguments: Value,
    /// `begun` (a proposal is about to be made), `ok`, `error`, `refused`, `timeout`, `cancelled`.
    pub outcome: String,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    pub duration_ms: u64,
}

/// The open log.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    limit: u64,
    file: Mutex<(File, u64)>,
}

impl Audit {
    /// Opens or makes `path`, for its owner's eyes alone; it begins anew at `limit` bytes.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let file = open(path)?;
        let size = file.metadata()?.len();
        Ok(Audit {
            path: path.to_owned(),
            limit,
            file: Mutex::new((file, size)),
        })
    }

    /// Writes `call` down; with `durable`, it is on disk when this returns.
    ///
    /// # Errors
    /// It is not written: the call must not be answered.
    pub async fn note(self: &Arc<Self>, call: Call, durable: bool) -> io::Result<()> {
        let audit = self.clone();
        let written = tokio::task::spawn_blocking(move || audit.append(&call, durable)).await;
        written.unwrap_or_else(|lost| Err(io::Error::other(lost)))
    }

    fn append(&self, call: &Call, durable: bool) -> io::Result<()> {
        let mut line = serde_json::to_vec(call)?;
        line.push(b'\n');
        let mut held = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if held.1 > 0 && held.1.saturating_add(line.len() as u64) > self.limit {
            std::fs::rename(&self.path, before(&self.path))?;
            *held = (open(&self.path)?, 0);
        }
        held.0.write_all(&line)?;
        held.1 += line.len() as u64;
        if durable {
            held.0.sync_data()?;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn before(path: &Path) -> PathBuf {
    path.with_added_extension("1")
}

/// The newest `limit` calls of the log at `path`, oldest first. A line that was cut off by a crash is left out.
///
/// # Errors
/// A file that is there cannot be read.
pub fn read(path: &Path, limit: usize) -> io::Result<Vec<Call>> {
    let mut calls = std::collections::VecDeque::new();
    for path in [before(path), path.to_owned()] {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in BufReader::new(file).split(b'\n') {
            if let Ok(call) = serde_json::from_slice::<Call>(&line?) {
                calls.push_back(call);
                if calls.len() > limit {
                    calls.pop_front();
                }
            }
        }
    }
    Ok(calls.into())
}

/// Arguments as they may be kept: redacted, long texts cut, and nothing but their size where they are large all the same.
pub fn kept(mut arguments: Value, redact: fn(&mut Value)) -> Value {
    redact(&mut arguments);
    cut(&mut arguments);
    match serde_json::to_vec(&arguments).map_or(usize::MAX, |bytes| bytes.len()) {
        size if size <= ARGUMENTS => arguments,
        size => serde_json::json!({ "cut": format!("{size} bytes of arguments") }),
    }
}

fn cut(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(TEXT) {
                text.truncate(end);
                text.push('…');
            }
        }
        Value::Array(items) => items.iter_mut().for_each(cut),
        Value::Object(fields) => fields.values_mut().for_each(cut),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::*;

    fn call(n: u64) -> Call {
        Call {
            at: DateTime::UNIX_EPOCH,
            by: "human:ada".to_owned(),
            role: "viewer".to_owned(),
            over: "http".to_owned(),
            client: None,
            kind: "tool".to_owned(),
            name: "list_incidents".to_owned(),
            arguments: json!({}),
            outcome: "ok".to_owned(),
            detail: None,
            duration_ms: n,
        }
    }

    #[tokio::test]
    async fn it_is_kept_bounded_and_private_and_survives_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.jsonl");
        let audit = Arc::new(Audit::open(&path, 2_000).unwrap());
        for n in 0..100 {
            audit.note(call(n), n % 7 == 0).await.unwrap();
        }
        let numbers: Vec<u64> = read(&path, 5).unwrap().iter().map(|call| call.duration_ms).collect();
        assert_eq!(numbers, [95, 96, 97, 98, 99]);
        let all = read(&path, usize::MAX).unwrap();
        assert!(all.len() < 100 && all.len() > 5, "{}", all.len());
        let size = |path: &Path| std::fs::metadata(path).unwrap().len();
        assert!(size(&path) <= 2_000 && size(&before(&path)) <= 2_000);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"at\":\n")
            .unwrap();
        assert_eq!(read(&path, 5).unwrap().last().unwrap().duration_ms, 99);
        assert_eq!(read(&folder.path().join("none"), 5).unwrap(), []);
    }

    #[test]
    fn what_is_kept_of_arguments() {
        let hide = |value: &mut Value| value["password"] = json!("[redacted]");
        let kept = kept(json!({ "password": "hunter2", "sql": "x".repeat(1_000), "n": 1 }), hide);
        assert_eq!(kept["password"], "[redacted]");
        assert_eq!(kept["sql"].as_str().unwrap().chars().count(), TEXT + 1);
        let flood = super::kept(json!({ "many": vec!["word"; 10_000] }), |_| {});
        assert!(flood["cut"].is_string() && flood.to_string().len() < 100);
    }
}
