//! The port: what a vector store must do. `edge` and `server` do it, and one conformance suite holds both to the same words
//! (`tests/vector_stores.rs`).

use async_trait::async_trait;
use embedding::ModelInfo;
use serde_json::{Map, Value};
use uuid::Uuid;

/// What is kept beside a vector: a JSON object.
pub type Payload = Map<String, Value>;

/// A vector with what is kept beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub id: Uuid,
    pub vector: Vec<f32>,
    pub payload: Payload,
}

/// A point without its vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub id: Uuid,
    pub payload: Payload,
}

/// A point that was looked for. `score`: the cosine, from -1 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    pub id: Uuid,
    pub score: f32,
    pub payload: Payload,
}

/// Which points; all conditions must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Text fields and their values.
    pub equal: Vec<(String, String)>,
    /// Number fields, and what they must be less than.
    pub below: Vec<(String, f64)>,
}

impl Filter {
    pub fn equal(mut self, field: &str, value: &str) -> Self {
        self.equal.push((field.to_owned(), value.to_owned()));
        self
    }

    pub fn below(mut self, field: &str, value: f64) -> Self {
        self.below.push((field.to_owned(), value));
        self
    }
}

/// Why a store did not do as asked. Every call may be repeated: a point has one id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It is away, slow, or answers what makes no sense. What was to be written may be there.
    #[error("the vector store is unavailable: {0}")]
    Unavailable(String),
    /// There is no such collection (any more).
    #[error("the vector store has no collection {0}")]
    NoCollection(String),
    /// It does not take this, whenever it is asked.
    #[error("the vector store refuses: {0}")]
    Refused(String),
}

/// Keeps points and finds those that are near. Distances are cosines.
#[async_trait]
pub trait VectorStore: Send + Sync + 'static {
    /// Makes the collection unless it is there. Refused where it holds vectors of another length.
    async fn ensure(&self, collection: &str, dimensions: usize) -> Result<(), StoreError>;

    /// Writes points, durably; a point of the same id is replaced.
    async fn upsert(&self, collection: &str, points: Vec<Point>) -> Result<(), StoreError>;

    /// The points of these ids that are there, in any order.
    async fn get(&self, collection: &str, ids: &[Uuid]) -> Result<Vec<Found>, StoreError>;

    /// The `limit` points nearest to `vector`, nearest first.
    async fn query(
        &self,
        collection: &str,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, StoreError>;

    /// Exactly how many.
    async fn count(&self, collection: &str, filter: &Filter) -> Result<u64, StoreError>;

    /// Deletes the points of these ids that are there, durably.
    async fn delete(&self, collection: &str, ids: &[Uuid]) -> Result<(), StoreError>;
}

/// The collection of one model: `PREFIX-ID-HASH`. Equal numbers of dimensions do not make two spaces the same.
pub fn collection_name(prefix: &str, model: &ModelInfo) -> String {
    let short = model.hash.get(..12).unwrap_or(&model.hash);
    format!("{prefix}-{}-{short}", model.id)
}

/// Points of ours have UUIDs of version 5 below this one.
const NAMESPACE: Uuid = Uuid::from_u128(0x5d1c_2a6e_7f0b_4c55_9a1e_3b70_64c2_8e91);

/// The id of the point about `what`: the same whenever it is written.
pub fn derived(kind: &str, what: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{kind}/{what}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_models_apart() {
        let model = |id: &str, hash: &str| ModelInfo {
            id: id.into(),
            hash: hash.into(),
            dimensions: 384,
        };
        let (one, two) = (model("builtin", &"ab".repeat(32)), model("builtin", &"cd".repeat(32)));
        assert_eq!(collection_name("aegis", &one), "aegis-builtin-abababababab");
        assert_ne!(collection_name("aegis", &one), collection_name("aegis", &two));
        assert_ne!(
            collection_name("aegis", &one),
            collection_name("aegis", &model("mini", &one.hash))
        );
    }

    /// Frozen: an installation finds its own points again.
    #[test]
    fn ids_are_derived() {
        assert_eq!(derived("alert", "k"), derived("alert", "k"));
        assert_ne!(derived("alert", "k"), derived("position", "k"));
        assert_eq!(derived("alert", "k").get_version_num(), 5);
    }
}
