//! The model inside the binary: three attention layers of MiniLM (`sentence-transformers/paraphrase-MiniLM-L3-v2`, Apache-2.0), stored in four
//! bits, computed in F32. No file, no shared library, no network. English.

use pocket_encoder::{Encoder, model_info};

use crate::{EmbedError, Embedder, ModelInfo};

/// Its name.
pub const BUILTIN: &str = "builtin";

/// See the module's header.
pub struct Builtin {
    info: ModelInfo,
    encoder: Encoder,
}

impl Builtin {
    /// Known without loading the weights.
    pub fn describe() -> ModelInfo {
        let about = model_info();
        let parts = [&about.id, &about.revision, &about.tokenizer_sha256, &about.pooling];
        let text: Vec<&str> = parts.iter().map(|part| part.as_str()).collect();
        ModelInfo {
            id: BUILTIN.to_owned(),
            hash: crate::digest(text.join("\n").as_bytes()),
            dimensions: about.dimensions,
        }
    }

    /// Unpacks the weights: about 70 MB, once per process, whatever is dropped later.
    pub fn load() -> Result<Self, EmbedError> {
        let encoder = Encoder::new().map_err(|error| EmbedError::Load {
            model: BUILTIN.to_owned(),
            cause: error.to_string(),
        })?;
        Ok(Builtin {
            info: Self::describe(),
            encoder,
        })
    }
}

impl Embedder for Builtin {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
        self.encoder.embed(texts).map_err(|error| EmbedError::Failed {
            model: BUILTIN.to_owned(),
            cause: error.to_string(),
        })
    }
}
