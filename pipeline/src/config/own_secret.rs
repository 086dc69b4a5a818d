//! Secrets that an installation makes for itself: a file in the data folder that nobody else may read.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::Context as _;

/// Makes it if it is missing: 32 random bytes in hex, whole and durable when this returns.
pub(crate) fn make(path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let doing = || format!("cannot make the secret {}", path.display());
    let fresh = path.with_added_extension("new");
    // Of a start that ended here.
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).with_context(doing),
        _ => {}
    }
    let secret: [u8; 32] = rand::random();
    let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .with_context(doing)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(doing)?;
    std::fs::rename(&fresh, path).with_context(doing)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let folder = std::fs::File::open(folder).with_context(doing)?;
    folder.sync_all().with_context(doing)
}

/// `None`: there is none. Refuses one that others may read.
pub(crate) fn read(path: &Path) -> anyhow::Result<Option<String>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read the secret {}", path.display())),
    };
    let mode = std::fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        anyhow::bail!(
            "others may read {0} (mode {1:o}): `chmod 600 {0}`, or delete it for a new one if it may be known to others",
            path.display(),
            mode & 0o777
        );
    }
    Ok(Some(text.trim().to_owned()))
}
