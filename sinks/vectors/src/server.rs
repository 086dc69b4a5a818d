//! A Qdrant server, over its own client (gRPC).
//!
//! Every call has an end: the client's timeouts, and one around them, because a connection that opens and then says nothing is not the
//! client's to notice. The client sends a call once more where a connection broke; each of ours may be repeated. What a server answers is
//! not believed as it comes: points without an id of ours, or with a score that is no number, are an error.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use qdrant_client::config::QdrantConfig;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::vectors_config::Config;
use qdrant_client::qdrant::{
    Condition, CountPointsBuilder, CreateCollectionBuilder, CreateFieldIndexCollectionBuilder, DeletePointsBuilder,
    Distance, FieldType, Filter as ServerFilter, GetPointsBuilder, PointId, PointStruct, PointsIdsList,
    QueryPointsBuilder, Range, UpsertPointsBuilder, Value, VectorParamsBuilder,
};
use qdrant_client::{Payload as ServerPayload, Qdrant, QdrantError};
use uuid::Uuid;

use crate::store::{Filter, Found, Hit, Payload, Point, StoreError, VectorStore};

/// Points of one request: the server takes 32 MiB.
const CHUNK: usize = 256;

/// See the module's header.
pub struct QdrantStore {
    client: Qdrant,
    timeout: Duration,
}

impl QdrantStore {
    /// The server at `url`, such as `http://127.0.0.1:6334`. Connects with the first call.
    pub fn new(url: &str, api_key: Option<&str>, timeout: Duration) -> Result<Self, StoreError> {
        let mut config = QdrantConfig::from_url(url);
        config.timeout = timeout;
        config.connect_timeout = timeout;
        config.api_key = api_key.map(str::to_owned);
        config.check_compatibility = false;
        // The error quotes the address, which is no secret.
        let client = Qdrant::new(config).map_err(|error| StoreError::Refused(error.to_string()))?;
        Ok(QdrantStore { client, timeout })
    }

    async fn in_time<T>(
        &self,
        collection: &str,
        call: impl Future<Output = Result<T, QdrantError>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(failed(collection, error)),
            Err(_) => Err(StoreError::Unavailable(format!("no answer within {:?}", self.timeout))),
        }
    }

    /// Numbers of the vectors in the collection; `None` where there is no such collection.
    async fn dimensions(&self, collection: &str) -> Result<Option<u64>, StoreError> {
        let info = match self.in_time(collection, self.client.collection_info(collection)).await {
            Ok(info) => info,
            Err(StoreError::NoCollection(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let params = info
            .result
            .and_then(|info| info.config)
            .and_then(|config| config.params);
        let vectors = params
            .and_then(|params| params.vectors_config)
            .and_then(|vectors| vectors.config);
        match vectors {
            Some(Config::Params(params)) => Ok(Some(params.size)),
            _ => Err(StoreError::Refused(format!(
                "collection {collection} is none of ours: it has named vectors"
            ))),
        }
    }
}

#[async_trait]
impl VectorStore for QdrantStore {
    async fn ensure(&self, collection: &str, dimensions: usize) -> Result<(), StoreError> {
        let wanted = dimensions as u64;
        if self.dimensions(collection).await?.is_none() {
            let vectors = VectorParamsBuilder::new(wanted, Distance::Cosine);
            let request = CreateCollectionBuilder::new(collection).vectors_config(vectors);
            let made = self.in_time(collection, self.client.create_collection(request)).await;
            // Somebody else may have been first: what is there is looked at below.
            if let Err(error @ StoreError::Unavailable(_)) = made {
                return Err(error);
            }
            for field in ["kind", "tenant"] {
                let index = CreateFieldIndexCollectionBuilder::new(collection, field, FieldType::Keyword).wait(true);
                self.in_time(collection, self.client.create_field_index(index)).await?;
            }
        }
        match self.dimensions(collection).await? {
            Some(size) if size == wanted => Ok(()),
            Some(size) => Err(StoreError::Refused(format!(
                "collection {collection} holds vectors of {size} numbers, and {wanted} are asked for"
            ))),
            None => Err(StoreError::NoCollection(collection.to_owned())),
        }
    }

    async fn upsert(&self, collection: &str, points: Vec<Point>) -> Result<(), StoreError> {
        for chunk in points.chunks(CHUNK) {
            let points: Vec<PointStruct> = chunk.iter().map(point).collect::<Result<_, _>>()?;
            let request = UpsertPointsBuilder::new(collection, points).wait(true);
            self.in_time(collection, self.client.upsert_points(request)).await?;
        }
        Ok(())
    }

    async fn get(&self, collection: &str, ids: &[Uuid]) -> Result<Vec<Found>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<PointId> = ids.iter().map(|id| PointId::from(id.to_string())).collect();
        let request = GetPointsBuilder::new(collection, ids)
            .with_payload(true)
            .with_vectors(false);
        let answer = self.in_time(collection, self.client.get_points(request)).await?;
        let found = answer.result.into_iter().map(|point| {
            Ok(Found {
                id: uuid(point.id)?,
                payload: payload(point.payload),
            })
        });
        found.collect()
    }

    async fn query(
        &self,
        collection: &str,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, StoreError> {
        let request = QueryPointsBuilder::new(collection)
            .query(vector.to_vec())
            .filter(filter_of(filter))
            .limit(limit as u64)
            .with_payload(true);
        let answer = self.in_time(collection, self.client.query(request)).await?;
        let hits = answer.result.into_iter().map(|point| {
            if !point.score.is_finite() {
                return Err(rubbish("a score that is no number"));
            }
            Ok(Hit {
                id: uuid(point.id)?,
                score: point.score,
                payload: payload(point.payload),
            })
        });
        let hits: Vec<Hit> = hits.collect::<Result<_, _>>()?;
        match hits.len() <= limit {
            true => Ok(hits),
            false => Err(rubbish("more points than were asked for")),
        }
    }

    async fn count(&self, collection: &str, filter: &Filter) -> Result<u64, StoreError> {
        let request = CountPointsBuilder::new(collection)
            .filter(filter_of(filter))
            .exact(true);
        let answer = self.in_time(collection, self.client.count(request)).await?;
        answer
            .result
            .map(|result| result.count)
            .ok_or_else(|| rubbish("no count"))
    }

    async fn delete(&self, collection: &str, ids: &[Uuid]) -> Result<(), StoreError> {
        let ids = ids.iter().map(|id| PointId::from(id.to_string())).collect();
        let request = DeletePointsBuilder::new(collection)
            .points(PointsIdsList { ids })
            .wait(true);
        self.in_time(collection, self.client.delete_points(request)).await?;
        Ok(())
    }
}

fn point(point: &Point) -> Result<PointStruct, StoreError> {
    let payload = ServerPayload::try_from(serde_json::Value::Object(point.payload.clone()));
    let payload = payload.map_err(|error| StoreError::Refused(error.to_string()))?;
    Ok(PointStruct::new(point.id.to_string(), point.vector.clone(), payload))
}

fn filter_of(filter: &Filter) -> ServerFilter {
    let equal = filter
        .equal
        .iter()
        .map(|(field, value)| Condition::matches(field.as_str(), value.clone()));
    let below = filter.below.iter().map(|(field, value)| {
        let range = Range {
            lt: Some(*value),
            ..Range::default()
        };
        Condition::range(field.as_str(), range)
    });
    ServerFilter::must(equal.chain(below))
}

fn uuid(id: Option<PointId>) -> Result<Uuid, StoreError> {
    match id.and_then(|id| id.point_id_options) {
        Some(PointIdOptions::Uuid(text)) => Uuid::parse_str(&text).map_err(|_| rubbish("an id that is no UUID")),
        _ => Err(rubbish("a point without an id of ours")),
    }
}

fn payload(values: HashMap<String, Value>) -> Payload {
    ServerPayload::from(values).into()
}

fn rubbish(what: &str) -> StoreError {
    StoreError::Unavailable(format!("its answer makes no sense: {what}"))
}

/// Codes of gRPC by their meaning for the next try.
fn failed(collection: &str, error: QdrantError) -> StoreError {
    let QdrantError::ResponseError { status } = &error else {
        return StoreError::Unavailable(error.to_string());
    };
    // Codes are told apart by number, which gRPC fixes: their type is that of another crate.
    match i32::from(status.code()) {
        3 | 6 | 9 | 11 => StoreError::Refused(status.message().to_owned()),
        5 => StoreError::NoCollection(collection.to_owned()),
        7 | 16 => StoreError::Unavailable(format!("it does not let us in: {}", status.message())),
        _ => StoreError::Unavailable(format!("{}: {}", status.code(), status.message())),
    }
}
