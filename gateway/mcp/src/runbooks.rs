//! Runbooks: the Markdown files of one folder, as they lie there now.
//!
//! A name that is asked for is looked up in the list of what there is, never put onto a path; a link that leads out of the folder is
//! not listed. Files and folders whose name begins with a dot are left out.

use std::io;
use std::path::{Path, PathBuf};

/// Folders below each other, and files in all. More: a mistaken `runbooks = "/"` would walk over the machine.
const DEPTH: usize = 6;
const FILES: usize = 1_000;
/// Entries that are looked at, whatever they are.
const LOOKED_AT: usize = 20_000;

/// The folder.
#[derive(Clone, Debug, Default)]
pub struct Runbooks {
    folder: Option<PathBuf>,
    max_size: u64,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runbook {
    /// Its path within the folder, with `/`.
    pub name: String,
    pub size: u64,
    path: PathBuf,
}

impl Runbooks {
    /// Larger files than `max_size` bytes are left out.
    pub fn new(folder: Option<PathBuf>, max_size: u64) -> Self {
        Runbooks { folder, max_size }
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub async fn list(&self) -> io::Result<Vec<Runbook>> {
        let Some(folder) = self.folder.clone() else {
            return Ok(Vec::new());
        };
        let max_size = self.max_size;
        let listed = tokio::task::spawn_blocking(move || walk(&folder, max_size)).await;
        listed.unwrap_or_else(|lost| Err(io::Error::other(lost)))
    }

    /// The text of the one with this name; `None` if there is none.
    ///
    /// # Errors
    /// It is there, and cannot be read.
    pub async fn read(&self, name: &str) -> io::Result<Option<String>> {
        let found = self.list().await?.into_iter().find(|runbook| runbook.name == name);
        let Some(runbook) = found else { return Ok(None) };
        let max_size = self.max_size;
        let read = tokio::task::spawn_blocking(move || {
            use std::io::Read as _;
            let mut bytes = Vec::new();
            // It may have grown since.
            std::fs::File::open(&runbook.path)?
                .take(max_size)
                .read_to_end(&mut bytes)?;
            Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
        });
        read.await.unwrap_or_else(|lost| Err(io::Error::other(lost)))
    }
}

fn walk(folder: &Path, max_size: u64) -> io::Result<Vec<Runbook>> {
    let root = folder.canonicalize()?;
    let mut found = Vec::new();
    let mut looked_at = 0;
    let mut folders = vec![(root.clone(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if depth == 0 => return Err(error),
            Err(_) => continue,
            Ok(entries) => entries,
        };
        for entry in entries {
            let entry = entry?;
            looked_at += 1;
            if looked_at > LOOKED_AT || found.len() >= FILES {
                tracing::warn!(folder = %root.display(), "the folder of runbooks holds too much: not all are listed");
                return Ok(sorted(found));
            }
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // A link counts as what it leads to, if that lies in the folder.
            let Ok(path) = entry.path().canonicalize() else {
                continue;
            };
            if name.starts_with('.') || !path.starts_with(&root) {
                continue;
            }
            let Ok(metadata) = path.metadata() else { continue };
            let name = format!("{prefix}{name}");
            if metadata.is_dir() && !entry.file_type()?.is_symlink() && depth < DEPTH {
                folders.push((path, format!("{name}/"), depth + 1));
            } else if metadata.is_file() && name.to_ascii_lowercase().ends_with(".md") && metadata.len() <= max_size {
                found.push(Runbook {
                    name,
                    size: metadata.len(),
                    path,
                });
            }
        }
    }
    Ok(sorted(found))
}

fn sorted(mut found: Vec<Runbook>) -> Vec<Runbook> {
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_lies_in_the_folder_and_is_small_markdown() {
        let all = tempfile::tempdir().unwrap();
        let (folder, outside) = (all.path().join("runbooks"), all.path().join("secret.md"));
        std::fs::create_dir_all(folder.join("db")).unwrap();
        std::fs::create_dir_all(folder.join(".git")).unwrap();
        std::fs::write(&outside, "secret").unwrap();
        for (name, text) in [
            ("oom.md", "# OOM"),
            ("db/Fail over.MD", "# DB"),
            (".git/x.md", ""),
            ("notes.txt", "no"),
        ] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        std::fs::write(folder.join("huge.md"), "x".repeat(2_000)).unwrap();
        std::os::unix::fs::symlink(&outside, folder.join("link.md")).unwrap();
        std::os::unix::fs::symlink(all.path(), folder.join("up")).unwrap();
        std::os::unix::fs::symlink(&folder, folder.join("round")).unwrap();
        let runbooks = Runbooks::new(Some(folder), 1_000);
        let names: Vec<String> = runbooks.list().await.unwrap().into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["db/Fail over.MD", "oom.md"]);
        assert_eq!(runbooks.read("oom.md").await.unwrap().as_deref(), Some("# OOM"));
        for bad in [
            "link.md",
            "../secret.md",
            "huge.md",
            "up/secret.md",
            "/etc/passwd",
            "",
            "db",
            "db/../oom.md",
        ] {
            assert_eq!(runbooks.read(bad).await.unwrap(), None, "{bad}");
        }
        assert_eq!(Runbooks::default().list().await.unwrap(), []);
        assert!(Runbooks::new(Some("/nowhere/at/all".into()), 1).list().await.is_err());
    }
}
