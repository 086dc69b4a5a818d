//! A model in ONNX, run by ONNX Runtime through fastembed. The library is loaded when the model is: a missing or foreign one is an error to
//! repair, never the end of the process.
//!
//! Vectors are the mean of the last layer over the tokens (`Pooling::Mean`), of unit length. Models that are quantised dynamically are not
//! for this: their vectors depend on who shared the batch. One thread computes, so that a storm takes one core.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fastembed::{InitOptionsUserDefined, Pooling, TextEmbedding, TokenizerFiles, UserDefinedEmbeddingModel};
use ort::environment::Environment;

use crate::files::{self, read_checked};
use crate::{EmbedError, Embedder, ModelInfo};

/// Texts of one run. More: longer texts make shorter ones wait and take more memory.
const BATCH: usize = 32;
/// Tokens of a text that are looked at.
const TOKENS: usize = 256;

/// ONNX Runtime knows one environment a process; it and its library stay for the process's life.
static RUNTIME: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// See the module's header.
pub struct Onnx {
    info: ModelInfo,
    session: Mutex<TextEmbedding>,
}

impl Onnx {
    /// Reads the model in folder `dir`, holds its files against their hashes, and loads `library` unless it is.
    pub fn load(info: &ModelInfo, dir: &Path, library: &Path) -> Result<Self, EmbedError> {
        let failed = |cause: String| EmbedError::Load {
            model: info.id.clone(),
            cause,
        };
        let parent = dir.parent().unwrap_or(dir);
        let manifest = files::read(parent, &info.id)?;
        if manifest.info() != *info {
            return Err(failed(
                "its files were replaced since it was chosen: start again".to_owned(),
            ));
        }
        let environment = environment(library).map_err(failed)?;
        let read = |file: &str| read_checked(dir, &manifest, file);
        let tokenizer = TokenizerFiles {
            tokenizer_file: read("tokenizer.json")?,
            config_file: read("config.json")?,
            special_tokens_map_file: read("special_tokens_map.json")?,
            tokenizer_config_file: read("tokenizer_config.json")?,
        };
        let model = UserDefinedEmbeddingModel::new(read("model.onnx")?, tokenizer).with_pooling(Pooling::Mean);
        let options = InitOptionsUserDefined::new()
            .with_environment(environment)
            .with_max_length(TOKENS)
            .with_intra_threads(1);
        let session =
            TextEmbedding::try_new_from_user_defined(model, options).map_err(|error| failed(error.to_string()))?;
        Ok(Onnx {
            info: info.clone(),
            session: Mutex::new(session),
        })
    }
}

impl Embedder for Onnx {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
        // A call that panicked left no state behind that another would see.
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.embed(texts, Some(BATCH)).map_err(|error| EmbedError::Failed {
            model: self.info.id.clone(),
            cause: error.to_string(),
        })
    }
}

fn environment(library: &Path) -> Result<Environment, String> {
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((loaded, environment)) = &*runtime {
        if loaded == library {
            return Ok(environment.clone());
        }
        return Err(format!(
            "this process runs {} already: start again to use {}",
            loaded.display(),
            library.display()
        ));
    }
    if library.as_os_str().is_empty() {
        return Err("models.onnxruntime names no library".to_owned());
    }
    let builder = ort::init_from(library).map_err(|error| format!("ONNX Runtime: {error}"))?;
    let environment = builder.build().map_err(|error| format!("ONNX Runtime: {error}"))?;
    *runtime = Some((library.to_owned(), environment.clone()));
    Ok(environment)
}
