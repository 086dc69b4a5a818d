//! Texts become vectors: the model inside the binary, or one that ONNX Runtime runs.
//!
//! ```text
//!  texts ─ Model (cache by text, one batch at a time, loads with the first text) ─ Embedder ─┬─ Builtin  weights in the binary
//!                                                                                            └─ Onnx     files of a folder
//! ```
//!
//! [`Embedder`] is the port: pure, blocking, without a memory. [`Model`] stands before one: it keeps the async threads free, gives up on what
//! takes too long, and does not believe what comes back unless it has the announced shape.
//!
//! Vectors of two models mean nothing to each other although both have 384 numbers, so whoever keeps vectors keeps [`ModelInfo`] with them.
//!
//! Not here: training, tokens of a language model, batches over a network.

mod builtin;
mod cache;
mod files;
mod model;
mod onnx;
mod settings;

pub use builtin::{BUILTIN, Builtin};
pub use files::{FILES, FilesError, Manifest, digest, hash_of, installed, read, take};
pub use model::{MOST_WAIT, Model};
pub use onnx::Onnx;
pub use settings::{KnownModel, ModelsSettings};

use serde::Serialize;

/// A vector, of unit length.
pub type Vector = std::sync::Arc<[f32]>;

/// What makes a space of vectors: known without loading anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelInfo {
    /// `builtin`, or the name of a folder.
    pub id: String,
    /// SHA-256, in hex, over the weights and what cuts texts into tokens.
    pub hash: String,
    /// Numbers of a vector.
    pub dimensions: usize,
}

/// A model. Calls block for as long as the mathematics takes (about 10 ms a text).
pub trait Embedder: Send + Sync + 'static {
    fn info(&self) -> &ModelInfo;

    /// One vector a text, in order, each of [`ModelInfo::dimensions`] finite numbers.
    fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError>;
}

/// Why there are no vectors. No text is ever part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// It cannot be loaded: a file, a library or memory is missing. Trying again later may work.
    #[error("model {model} cannot be loaded: {cause}")]
    Load { model: String, cause: String },
    /// It was loaded and does not answer as it should.
    #[error("model {model} failed: {cause}")]
    Failed { model: String, cause: String },
    /// It takes too long.
    #[error("model {model} did not answer within {seconds} s")]
    Late { model: String, seconds: u64 },
    /// Too many wait for it.
    #[error("model {model} is asked by too many at once: try again")]
    Busy { model: String },
}
