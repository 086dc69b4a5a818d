//! A model as the rest of the program sees it: asked from async code, loaded with the first text, bounded in memory and time.
//!
//! One batch computes at a time, because two would only take turns on the cores. Who comes while one computes waits in line; at most
//! [`MOST_WAIT`] may, and the next is told to come back. So a question of a person waits for one batch of a backlog, not for all of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::cache::Cache;
use crate::{EmbedError, Embedder, ModelInfo, Vector};

/// Callers that may wait at once.
pub const MOST_WAIT: usize = 64;
/// Texts that compute together. More: a person's question waits longer behind a backlog.
const BATCH: usize = 16;
/// Bytes of a text that are looked at; models cut at 128 or 256 tokens anyway.
const MOST_BYTES: usize = 4_000;
/// What a model is asked after it failed on a text, to tell whether the text or the model is at fault.
const PROBE: &str = "disk is full";

type Load = dyn Fn() -> Result<Box<dyn Embedder>, EmbedError> + Send + Sync;

/// See the module's header.
pub struct Model {
    info: ModelInfo,
    core: Arc<Core>,
    cache: Mutex<Cache>,
    line: Semaphore,
    turn: Arc<Semaphore>,
    timeout: Duration,
}

struct Core {
    load: Box<Load>,
    loaded: Mutex<Option<Arc<dyn Embedder>>>,
}

impl Model {
    /// `load` is called with the first text, and again after it failed. `cache`: texts that are remembered.
    pub fn new(
        info: ModelInfo,
        load: impl Fn() -> Result<Box<dyn Embedder>, EmbedError> + Send + Sync + 'static,
        cache: usize,
        timeout: Duration,
    ) -> Self {
        Model {
            info,
            core: Arc::new(Core {
                load: Box::new(load),
                loaded: Mutex::new(None),
            }),
            cache: Mutex::new(Cache::new(cache)),
            line: Semaphore::new(MOST_WAIT),
            turn: Arc::new(Semaphore::new(1)),
            timeout,
        }
    }

    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Whether its weights are in memory.
    pub fn loaded(&self) -> bool {
        lock(&self.core.loaded).is_some()
    }

    /// The vectors of `texts`, in order; `None` for a text that the model has none for, although it has for others.
    pub async fn embed(&self, texts: &[String]) -> Result<Vec<Option<Vector>>, EmbedError> {
        let Ok(_place) = self.line.try_acquire() else {
            return Err(EmbedError::Busy {
                model: self.info.id.clone(),
            });
        };
        let cut: Vec<&str> = texts.iter().map(|text| shortened(text)).collect();
        let mut found: HashMap<&str, Option<Vector>> = HashMap::new();
        let mut missing: Vec<String> = Vec::new();
        {
            let mut cache = lock(&self.cache);
            for text in &cut {
                if found.contains_key(text) {
                    continue;
                }
                let known = cache.get(text);
                if known.is_none() && !text.is_empty() {
                    missing.push((*text).to_owned());
                }
                found.insert(text, known);
            }
        }
        metrics::counter!("aegis_embedding_texts_total", "from" => "cache")
            .increment((cut.len() - missing.len()) as u64);
        metrics::counter!("aegis_embedding_texts_total", "from" => "model").increment(missing.len() as u64);
        // Texts of one length compute together, so that none pays for another's tokens.
        missing.sort_by_key(String::len);
        for batch in missing.chunks(BATCH) {
            let vectors = self.compute(batch).await?;
            let mut cache = lock(&self.cache);
            for (text, vector) in batch.iter().zip(vectors) {
                if let Some(vector) = &vector {
                    cache.put(text.clone(), vector.clone());
                }
                if let Some(place) = found.get_mut(text.as_str()) {
                    *place = vector;
                }
            }
        }
        Ok(cut.iter().map(|text| found.get(text).cloned().flatten()).collect())
    }

    /// The vector of one text.
    pub async fn embed_one(&self, text: &str) -> Result<Option<Vector>, EmbedError> {
        let vectors = self.embed(&[text.to_owned()]).await?;
        Ok(vectors.into_iter().next().flatten())
    }

    async fn compute(&self, batch: &[String]) -> Result<Vec<Option<Vector>>, EmbedError> {
        let (core, info, texts) = (self.core.clone(), self.info.clone(), batch.to_vec());
        let turn = self.turn.clone();
        let computed = async {
            // Held by the work and not by who waits for it: what was given up on goes on, and nothing else begins beside it.
            let turn = turn.acquire_owned().await;
            tokio::task::spawn_blocking(move || {
                let _turn = turn;
                core.compute(&info, &texts)
            })
            .await
        };
        match tokio::time::timeout(self.timeout, computed).await {
            Ok(Ok(vectors)) => vectors,
            Ok(Err(panic)) => Err(EmbedError::Failed {
                model: self.info.id.clone(),
                cause: format!("it ended early: {panic}"),
            }),
            Err(_) => Err(EmbedError::Late {
                model: self.info.id.clone(),
                seconds: self.timeout.as_secs(),
            }),
        }
    }
}

impl Core {
    fn compute(&self, info: &ModelInfo, texts: &[String]) -> Result<Vec<Option<Vector>>, EmbedError> {
        let model = self.model(info)?;
        match checked(model.as_ref(), info, texts) {
            Ok(vectors) => return Ok(vectors.into_iter().map(Some).collect()),
            Err(error) => tracing::debug!(%error, "a batch failed: each text alone"),
        }
        let mut vectors = Vec::with_capacity(texts.len());
        for text in texts {
            match checked(model.as_ref(), info, std::slice::from_ref(text)) {
                Ok(one) => vectors.extend(one.into_iter().map(Some)),
                Err(error) => {
                    checked(model.as_ref(), info, &[PROBE.to_owned()])?;
                    tracing::warn!(%error, bytes = text.len(), "the model has no vector for a text, and has for others");
                    vectors.push(None);
                }
            }
        }
        Ok(vectors)
    }

    fn model(&self, info: &ModelInfo) -> Result<Arc<dyn Embedder>, EmbedError> {
        let mut loaded = lock(&self.loaded);
        if let Some(model) = &*loaded {
            return Ok(model.clone());
        }
        let model: Arc<dyn Embedder> = (self.load)()?.into();
        tracing::info!(model = info.id, dimensions = info.dimensions, "model loaded");
        *loaded = Some(model.clone());
        Ok(model)
    }
}

/// The answer of `model`, if it has the announced shape.
fn checked(model: &dyn Embedder, info: &ModelInfo, texts: &[String]) -> Result<Vec<Vector>, EmbedError> {
    let vectors = model.embed(texts)?;
    let failed = |cause: String| EmbedError::Failed {
        model: info.id.clone(),
        cause,
    };
    if vectors.len() != texts.len() {
        return Err(failed(format!("{} vectors for {} texts", vectors.len(), texts.len())));
    }
    for vector in &vectors {
        if vector.len() != info.dimensions {
            return Err(failed(format!(
                "{} numbers, {} announced",
                vector.len(),
                info.dimensions
            )));
        }
        let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        if !length.is_finite() || length <= 0.0 {
            return Err(failed("a vector without a direction".to_owned()));
        }
    }
    Ok(vectors.into_iter().map(Vector::from).collect())
}

/// The part of a text that is looked at, without the space around it.
fn shortened(text: &str) -> &str {
    let text = text.trim();
    let mut end = text.len().min(MOST_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].trim_end()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
