//! The files of a model: taken whole or not at all, named by their hash, and held against it whenever they are read.
//!
//! `FOLDER/NAME/` has the files of [`FILES`] and `model.json` (a [`Manifest`]). The model's hash is over the names and hashes of the files, so
//! another tokenizer is another model.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{BUILTIN, ModelInfo};

/// The files of a model.
pub const FILES: [&str; 5] = [
    "model.onnx",
    "tokenizer.json",
    "config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
];

const MANIFEST: &str = "model.json";

/// Largest file that is taken.
const MOST_BYTES: u64 = 1 << 30;

/// What is written down about a model when it is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub name: String,
    /// SHA-256 over names and hashes of the files, in hex.
    pub hash: String,
    pub dimensions: usize,
    /// SHA-256 of each file, in hex.
    pub files: BTreeMap<String, String>,
}

impl Manifest {
    pub fn info(&self) -> ModelInfo {
        ModelInfo {
            id: self.name.clone(),
            hash: self.hash.clone(),
            dimensions: self.dimensions,
        }
    }
}

/// Why there is no such model.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("{0:?} can be no model's name: {1}")]
    Name(String, String),
    #[error("there is no model {0:?} in {1}")]
    Missing(String, PathBuf),
    #[error("model {model}: {path}: {cause}")]
    File {
        model: String,
        path: PathBuf,
        cause: io::Error,
    },
    #[error("model {model}: {file}: {problem}")]
    Content {
        model: String,
        file: &'static str,
        problem: String,
    },
    #[error("model {model} has hash {found}, and {wanted} is asked for: nothing was taken")]
    Hash {
        model: String,
        found: String,
        wanted: String,
    },
    #[error("model {model}: {file} is not what was taken (its hash is another): fetch the model again")]
    Changed { model: String, file: String },
}

impl FilesError {
    /// Which model it is about.
    pub fn model(&self) -> &str {
        match self {
            FilesError::Name(model, _) | FilesError::Missing(model, _) => model,
            FilesError::File { model, .. }
            | FilesError::Content { model, .. }
            | FilesError::Hash { model, .. }
            | FilesError::Changed { model, .. } => model,
        }
    }
}

/// SHA-256 in hex.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A model's hash, of the hashes of its files by name.
pub fn hash_of(files: &BTreeMap<String, String>) -> String {
    let lines: Vec<String> = files.iter().map(|(name, hash)| format!("{name} {hash}\n")).collect();
    digest(lines.concat().as_bytes())
}

/// Why a model cannot be named so.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if name == BUILTIN {
        return Err("it is the one inside the binary".to_owned());
    }
    if name.is_empty() || name.len() > 40 || !name.bytes().all(plain) {
        return Err("write 1 to 40 of a-z, 0-9, - and _".to_owned());
    }
    Ok(())
}

/// Takes the files in `from` as model `name` of folder `into`, if their hash is `wanted` (or none is). Replaces what was there.
pub fn take(from: &Path, into: &Path, name: &str, wanted: Option<&str>) -> Result<Manifest, FilesError> {
    check_name(name).map_err(|problem| FilesError::Name(name.to_owned(), problem))?;
    let mut bytes = BTreeMap::new();
    for file in FILES {
        bytes.insert(file, read_file(name, &from.join(file))?);
    }
    let files: BTreeMap<String, String> = bytes
        .iter()
        .map(|(file, bytes)| ((*file).to_owned(), digest(bytes)))
        .collect();
    let hash = hash_of(&files);
    if let Some(wanted) = wanted.filter(|wanted| !wanted.eq_ignore_ascii_case(&hash)) {
        return Err(FilesError::Hash {
            model: name.to_owned(),
            found: hash,
            wanted: wanted.to_owned(),
        });
    }
    let manifest = Manifest {
        name: name.to_owned(),
        hash,
        dimensions: dimensions(name, &bytes["config.json"])?,
        files,
    };
    let fresh = into.join(format!(".{name}.new"));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| FilesError::File {
            model: name.to_owned(),
            path,
            cause,
        }
    };
    let _ = std::fs::remove_dir_all(&fresh);
    std::fs::create_dir_all(&fresh).map_err(failed(&fresh))?;
    for (file, bytes) in &bytes {
        write_whole(&fresh, file, bytes)?;
    }
    // A struct of texts and numbers always encodes.
    write_whole(
        &fresh,
        MANIFEST,
        &serde_json::to_vec_pretty(&manifest).unwrap_or_default(),
    )?;
    let place = into.join(name);
    let old = into.join(format!(".{name}.old"));
    let _ = std::fs::remove_dir_all(&old);
    if place.exists() {
        std::fs::rename(&place, &old).map_err(failed(&place))?;
    }
    std::fs::rename(&fresh, &place).map_err(failed(&place))?;
    let _ = std::fs::remove_dir_all(&old);
    Ok(manifest)
}

/// What was written down about model `name` of folder `dir`.
pub fn read(dir: &Path, name: &str) -> Result<Manifest, FilesError> {
    check_name(name).map_err(|problem| FilesError::Name(name.to_owned(), problem))?;
    let path = dir.join(name).join(MANIFEST);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            return Err(FilesError::Missing(name.to_owned(), dir.to_owned()));
        }
        Err(cause) => {
            return Err(FilesError::File {
                model: name.to_owned(),
                path,
                cause,
            });
        }
    };
    let wrong = |problem: String| FilesError::Content {
        model: name.to_owned(),
        file: MANIFEST,
        problem,
    };
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    if manifest.name != name || manifest.hash != hash_of(&manifest.files) {
        return Err(wrong("it is not that of this model: fetch it again".to_owned()));
    }
    Ok(manifest)
}

/// The models of folder `dir`, by name; those that cannot be read with the reason.
pub fn installed(dir: &Path) -> Vec<(String, Result<Manifest, FilesError>)> {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = names
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| check_name(name).is_ok())
        .collect();
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let manifest = read(dir, &name);
            (name, manifest)
        })
        .collect()
}

/// The bytes of `file`, if they are those that were taken.
pub fn read_checked(dir: &Path, manifest: &Manifest, file: &str) -> Result<Vec<u8>, FilesError> {
    let bytes = read_file(&manifest.name, &dir.join(file))?;
    if manifest.files.get(file) != Some(&digest(&bytes)) {
        return Err(FilesError::Changed {
            model: manifest.name.clone(),
            file: file.to_owned(),
        });
    }
    Ok(bytes)
}

/// Writes a file of folder `dir` so that it is there whole or as it was.
pub fn write_whole(dir: &Path, file: &str, bytes: &[u8]) -> Result<(), FilesError> {
    use std::io::Write as _;
    let path = dir.join(file);
    let fresh = dir.join(format!(".{file}.new"));
    let written = || {
        std::fs::create_dir_all(dir)?;
        let mut out = std::fs::File::create(&fresh)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        std::fs::rename(&fresh, &path)
    };
    written().map_err(|cause| FilesError::File {
        model: file.to_owned(),
        path: path.clone(),
        cause,
    })
}

fn read_file(model: &str, path: &Path) -> Result<Vec<u8>, FilesError> {
    let read = || {
        let size = std::fs::metadata(path)?.len();
        if size > MOST_BYTES {
            return Err(io::Error::other(format!("{size} bytes are more than {MOST_BYTES}")));
        }
        std::fs::read(path)
    };
    read().map_err(|cause| FilesError::File {
        model: model.to_owned(),
        path: path.to_owned(),
        cause,
    })
}

/// How many numbers the vectors of a model have, as its `config.json` says.
fn dimensions(model: &str, config: &[u8]) -> Result<usize, FilesError> {
    let wrong = |problem: &str| FilesError::Content {
        model: model.to_owned(),
        file: "config.json",
        problem: problem.to_owned(),
    };
    let config: serde_json::Value = serde_json::from_slice(config).map_err(|_| wrong("it is no JSON"))?;
    let size = config["hidden_size"]
        .as_u64()
        .and_then(|size| usize::try_from(size).ok());
    size.filter(|size| (1..=4096).contains(size))
        .ok_or_else(|| wrong("hidden_size is no number from 1 to 4096"))
}
