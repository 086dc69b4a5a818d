//! The configuration; the doc comments here are its reference.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::HumanDuration;

use crate::{BUILTIN, Builtin, EmbedError, Embedder, FilesError, Model, ModelInfo, Onnx, files};

/// The models that make vectors of texts. The one inside the binary needs nothing; others are folders of files (ONNX), which
/// `aegis models fetch` gets and checks, and which ONNX Runtime runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelsSettings {
    /// The model to use: `builtin`, or the name of a fetched one. Empty: the one that `aegis models use` chose, and `builtin` until then.
    pub model: String,
    /// Folder of the fetched models. Empty: `models` in the data folder.
    pub dir: String,
    /// File of the ONNX Runtime library (`libonnxruntime.so…`, 1.24 or newer), which every model but `builtin` needs.
    pub onnxruntime: String,
    /// Texts whose vectors are kept in memory: 1.5 kB each with 384 numbers.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub cache: u32,
    /// Longest wait for the vectors of one batch, loading included.
    pub timeout: HumanDuration,
    /// Models that `aegis models fetch NAME` knows where to get: `[models.known.NAME]`.
    pub known: BTreeMap<String, KnownModel>,
}

/// Where a model comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KnownModel {
    /// A folder, or an address (https) below which the files lie: `model.onnx`, `tokenizer.json`, `config.json`,
    /// `special_tokens_map.json`, `tokenizer_config.json`.
    pub from: String,
    /// The model's hash, as `aegis models list` shows it. Needed with an address.
    pub sha256: String,
}

impl Default for ModelsSettings {
    fn default() -> Self {
        ModelsSettings {
            model: String::new(),
            dir: String::new(),
            onnxruntime: String::new(),
            cache: 2_000,
            timeout: HumanDuration::from_secs(60),
            known: BTreeMap::new(),
        }
    }
}

/// Holds the name that `aegis models use` chose.
const CHOSEN: &str = "chosen";

impl ModelsSettings {
    /// The folder of models, once the data folder is known.
    pub fn path_in(&self, data_dir: &Path) -> PathBuf {
        match self.dir.as_str() {
            "" => data_dir.join("models"),
            dir => PathBuf::from(dir),
        }
    }

    /// The name of the model to use.
    pub fn chosen(&self, data_dir: &Path) -> String {
        if !self.model.is_empty() {
            return self.model.clone();
        }
        let chosen = std::fs::read_to_string(self.path_in(data_dir).join(CHOSEN)).unwrap_or_default();
        match chosen.trim() {
            "" => BUILTIN.to_owned(),
            name => name.to_owned(),
        }
    }

    /// Remembers `name` for this and every later start.
    pub fn choose(&self, data_dir: &Path, name: &str) -> Result<(), FilesError> {
        let dir = self.path_in(data_dir);
        files::write_whole(&dir, CHOSEN, name.as_bytes())
    }

    /// What is known of a model without loading it.
    pub fn describe(&self, data_dir: &Path, name: &str) -> Result<ModelInfo, FilesError> {
        if name == BUILTIN {
            return Ok(Builtin::describe());
        }
        Ok(files::read(&self.path_in(data_dir), name)?.info())
    }

    /// The model `name`, not loaded yet.
    pub fn open(&self, data_dir: &Path, name: &str) -> Result<Model, FilesError> {
        let info = self.describe(data_dir, name)?;
        let (cache, timeout) = (self.cache as usize, self.timeout.get());
        if name == BUILTIN {
            let load = || Builtin::load().map(|model| Box::new(model) as Box<dyn Embedder>);
            return Ok(Model::new(info, load, cache, timeout));
        }
        let (dir, library) = (self.path_in(data_dir).join(name), PathBuf::from(&self.onnxruntime));
        let wanted = info.clone();
        let load = move || Onnx::load(&wanted, &dir, &library).map(|model| Box::new(model) as Box<dyn Embedder>);
        Ok(Model::new(info, load, cache, timeout))
    }

    /// Every fault of these settings, by key, each with its remedy.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        if self.timeout.get().is_zero() {
            faults.push(("timeout".to_owned(), "it must be longer than nothing".to_owned()));
        }
        for (name, known) in &self.known {
            if let Err(problem) = files::check_name(name) {
                faults.push((format!("known.{name}"), problem));
            }
            let address = known.from.contains("://");
            if known.from.is_empty() {
                faults.push((
                    format!("known.{name}.from"),
                    "it names no folder and no address".to_owned(),
                ));
            } else if address && !known.from.starts_with("https://") && !known.from.starts_with("http://") {
                faults.push((
                    format!("known.{name}.from"),
                    "an address begins with https://".to_owned(),
                ));
            } else if address && known.sha256.is_empty() {
                let problem = "what comes from a network is taken by its hash alone: write it here".to_owned();
                faults.push((format!("known.{name}.sha256"), problem));
            }
            let hex = known.sha256.len() == 64 && known.sha256.bytes().all(|b| b.is_ascii_hexdigit());
            if !known.sha256.is_empty() && !hex {
                faults.push((format!("known.{name}.sha256"), "it is not 64 hex digits".to_owned()));
            }
        }
        faults
    }

    /// What the chosen model lacks on this machine, by key, each with its remedy. Looks at files, and loads nothing.
    pub fn warnings(&self, data_dir: &Path) -> Vec<(&'static str, String)> {
        let mut warnings = Vec::new();
        let name = self.chosen(data_dir);
        if name == BUILTIN {
            return warnings;
        }
        if let Err(error) = self.describe(data_dir, &name) {
            warnings.push(("model", format!("{error}; `aegis models fetch {name}` gets it")));
        }
        let library = Path::new(&self.onnxruntime);
        if self.onnxruntime.is_empty() {
            warnings.push((
                "onnxruntime",
                format!("model {name} needs ONNX Runtime: name the file of its library"),
            ));
        } else if !library.is_file() {
            warnings.push(("onnxruntime", format!("there is no file {}", library.display())));
        }
        warnings
    }
}

impl From<FilesError> for EmbedError {
    fn from(error: FilesError) -> Self {
        EmbedError::Load {
            model: error.model().to_owned(),
            cause: error.to_string(),
        }
    }
}
