//! A small Qdrant: the server traits of Qdrant's own client, over Qdrant's own engine, on a port of loopback. It answers the calls that the
//! product makes, and refuses the rest. It can hang, answer rubbish, and answer late.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use q::collections_server::{Collections, CollectionsServer};
use q::condition::ConditionOneOf;
use q::point_id::PointIdOptions;
use q::points_server::{Points, PointsServer};
use qdrant_client::Payload as ServerPayload;
use qdrant_client::qdrant as q;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tonic::{Request, Response, Status};
use uuid::Uuid;
use vectors::{Filter, Point, StoreError};

use super::Store;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Mood {
    #[default]
    Well,
    /// Takes calls, does nothing, and never answers.
    Hangs,
    /// Does what it is asked, and answers when it is well again.
    Late,
    /// Answers in the right form what makes no sense.
    Rubbish,
    /// Does not let anybody in.
    Forbids,
}

#[derive(Clone)]
pub struct Twin {
    store: Store,
    mood: Arc<Mutex<Mood>>,
    changed: Arc<Notify>,
    /// The API keys that came with calls.
    pub keys: Arc<Mutex<Vec<String>>>,
}

pub struct Server {
    pub url: String,
    pub twin: Twin,
    /// Of its own: with it end the connections as well, each a task that would go on answering.
    serving: Option<Runtime>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.shutdown_background();
        }
    }
}

impl Server {
    /// Serves `store` at `address`; without one, on a free port of loopback.
    pub async fn start(store: Store, address: Option<&str>) -> Server {
        let address: SocketAddr = match address {
            Some(address) => address.parse().expect("an address"),
            None => SocketAddr::from(([127, 0, 0, 1], world::free_port().expect("a port"))),
        };
        let twin = Twin {
            store,
            mood: Arc::default(),
            changed: Arc::default(),
            keys: Arc::default(),
        };
        let serving = Runtime::new().expect("a runtime");
        let (points, collections) = (PointsServer::new(twin.clone()), CollectionsServer::new(twin.clone()));
        serving.spawn(async move {
            let server = tonic::transport::Server::builder();
            let served = { server }
                .add_service(points)
                .add_service(collections)
                .serve(address)
                .await;
            served.expect("it serves");
        });
        let mut there = false;
        while !there {
            there = tokio::net::TcpStream::connect(address).await.is_ok();
            tokio::task::yield_now().await;
        }
        Server {
            url: format!("http://{address}"),
            twin,
            serving: Some(serving),
        }
    }

    pub fn set(&self, mood: Mood) {
        *self.twin.mood.lock().unwrap() = mood;
        self.twin.changed.notify_waiters();
    }
}

impl Twin {
    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    async fn while_it_is(&self, mood: Mood) {
        loop {
            let changed = self.changed.notified();
            if self.mood() != mood {
                return;
            }
            changed.await;
        }
    }

    async fn enter<T>(&self, request: &Request<T>) -> Result<(), Status> {
        if let Some(key) = request.metadata().get("api-key").and_then(|key| key.to_str().ok()) {
            self.keys.lock().unwrap().push(key.to_owned());
        }
        self.while_it_is(Mood::Hangs).await;
        match self.mood() {
            Mood::Forbids => Err(Status::permission_denied("who are you?")),
            _ => Ok(()),
        }
    }

    async fn answer<T>(&self, answer: T) -> Result<Response<T>, Status> {
        self.while_it_is(Mood::Late).await;
        Ok(Response::new(answer))
    }

    fn rubbish(&self) -> bool {
        self.mood() == Mood::Rubbish
    }
}

fn status(error: StoreError) -> Status {
    match error {
        StoreError::Unavailable(cause) => Status::unavailable(cause),
        StoreError::NoCollection(name) => Status::not_found(format!("Not found: Collection `{name}` doesn't exist!")),
        StoreError::Refused(cause) => Status::invalid_argument(cause),
    }
}

fn filter(filter: Option<q::Filter>) -> Result<Filter, Status> {
    let mut wanted = Filter::default();
    for condition in filter.map(|filter| filter.must).unwrap_or_default() {
        let Some(ConditionOneOf::Field(field)) = condition.condition_one_of else {
            return Err(Status::unimplemented("a condition"));
        };
        match (
            field.r#match.and_then(|m| m.match_value),
            field.range.and_then(|range| range.lt),
        ) {
            (Some(q::r#match::MatchValue::Keyword(value)), None) => wanted = wanted.equal(&field.key, &value),
            (None, Some(below)) => wanted = wanted.below(&field.key, below),
            _ => return Err(Status::unimplemented("a match")),
        }
    }
    Ok(wanted)
}

fn uuid(id: Option<q::PointId>) -> Result<Uuid, Status> {
    match id.and_then(|id| id.point_id_options) {
        Some(PointIdOptions::Uuid(text)) => Uuid::parse_str(&text).map_err(|e| Status::invalid_argument(e.to_string())),
        _ => Err(Status::unimplemented("an id that is a number")),
    }
}

fn out(payload: vectors::Payload) -> HashMap<String, q::Value> {
    ServerPayload::try_from(serde_json::Value::Object(payload))
        .expect("an object")
        .into()
}

fn point(point: q::PointStruct) -> Result<Point, Status> {
    use q::vectors::VectorsOptions;
    let Some(VectorsOptions::Vector(vector)) = point.vectors.and_then(|vectors| vectors.vectors_options) else {
        return Err(Status::unimplemented("named vectors"));
    };
    #[allow(deprecated)] // Older clients write the numbers here.
    let numbers = match vector.vector {
        Some(q::vector::Vector::Dense(dense)) => dense.data,
        _ => vector.data,
    };
    Ok(Point {
        id: uuid(point.id)?,
        vector: numbers,
        payload: ServerPayload::from(point.payload).into(),
    })
}

/// The calls that are answered, and those that are not.
macro_rules! service {
    ($trait:ident { $($answered:tt)* } $($name:ident: $asked:ident => $said:ident;)*) => {
        #[tonic::async_trait]
        impl $trait for Twin {
            $($answered)*
            $(async fn $name(&self, _: Request<q::$asked>) -> Result<Response<q::$said>, Status> {
                Err(Status::unimplemented(stringify!($name)))
            })*
        }
    };
}

service! {
    Collections {
        async fn get(
            &self,
            request: Request<q::GetCollectionInfoRequest>,
        ) -> Result<Response<q::GetCollectionInfoResponse>, Status> {
            self.enter(&request).await?;
            let name = request.into_inner().collection_name;
            let sizes = sizes(&self.store, &name).await?;
            let params = q::VectorParams { size: sizes, distance: q::Distance::Cosine.into(), ..Default::default() };
            let vectors = q::VectorsConfig { config: Some(q::vectors_config::Config::Params(params)) };
            let params = q::CollectionParams { vectors_config: Some(vectors), ..Default::default() };
            let config = q::CollectionConfig { params: Some(params), ..Default::default() };
            let info = q::CollectionInfo { config: Some(config), ..Default::default() };
            let result = (!self.rubbish()).then_some(info);
            self.answer(q::GetCollectionInfoResponse { result, time: 0.0 }).await
        }

        async fn create(
            &self,
            request: Request<q::CreateCollection>,
        ) -> Result<Response<q::CollectionOperationResponse>, Status> {
            self.enter(&request).await?;
            let request = request.into_inner();
            let Some(q::vectors_config::Config::Params(params)) =
                request.vectors_config.and_then(|vectors| vectors.config)
            else {
                return Err(Status::invalid_argument("no vectors"));
            };
            if params.distance != i32::from(q::Distance::Cosine) {
                return Err(Status::unimplemented("a distance"));
            }
            self.store.ensure(&request.collection_name, params.size as usize).await.map_err(status)?;
            self.answer(q::CollectionOperationResponse { result: true, time: 0.0 }).await
        }
    }
    list: ListCollectionsRequest => ListCollectionsResponse;
    update: UpdateCollection => CollectionOperationResponse;
    delete: DeleteCollection => CollectionOperationResponse;
    update_aliases: ChangeAliases => CollectionOperationResponse;
    list_collection_aliases: ListCollectionAliasesRequest => ListAliasesResponse;
    list_aliases: ListAliasesRequest => ListAliasesResponse;
    collection_cluster_info: CollectionClusterInfoRequest => CollectionClusterInfoResponse;
    collection_exists: CollectionExistsRequest => CollectionExistsResponse;
    update_collection_cluster_setup: UpdateCollectionClusterSetupRequest => UpdateCollectionClusterSetupResponse;
    create_shard_key: CreateShardKeyRequest => CreateShardKeyResponse;
    delete_shard_key: DeleteShardKeyRequest => DeleteShardKeyResponse;
    list_shard_keys: ListShardKeysRequest => ListShardKeysResponse;
}

/// Numbers of the vectors in a collection: the one size that it does not refuse.
async fn sizes(store: &Store, name: &str) -> Result<u64, Status> {
    store.count(name, &Filter::default()).await.map_err(status)?;
    for size in [4, 3, 384] {
        if store.ensure(name, size).await.is_ok() {
            return Ok(size as u64);
        }
    }
    Err(Status::internal("a size that no test uses"))
}

service! {
    Points {
        async fn upsert(
            &self,
            request: Request<q::UpsertPoints>,
        ) -> Result<Response<q::PointsOperationResponse>, Status> {
            self.enter(&request).await?;
            let request = request.into_inner();
            if request.wait != Some(true) {
                return Err(Status::invalid_argument("the product waits for its writes"));
            }
            let points = request.points.into_iter().map(point).collect::<Result<_, _>>()?;
            self.store.upsert(&request.collection_name, points).await.map_err(status)?;
            self.answer(q::PointsOperationResponse::default()).await
        }

        async fn delete(
            &self,
            request: Request<q::DeletePoints>,
        ) -> Result<Response<q::PointsOperationResponse>, Status> {
            self.enter(&request).await?;
            let request = request.into_inner();
            let Some(q::points_selector::PointsSelectorOneOf::Points(list)) =
                request.points.and_then(|points| points.points_selector_one_of)
            else {
                return Err(Status::unimplemented("a selector"));
            };
            let ids: Vec<Uuid> = list.ids.into_iter().map(|id| uuid(Some(id))).collect::<Result<_, _>>()?;
            self.store.delete(&request.collection_name, &ids).await.map_err(status)?;
            self.answer(q::PointsOperationResponse::default()).await
        }

        async fn get(&self, request: Request<q::GetPoints>) -> Result<Response<q::GetResponse>, Status> {
            self.enter(&request).await?;
            let request = request.into_inner();
            let ids: Vec<Uuid> = request.ids.into_iter().map(|id| uuid(Some(id))).collect::<Result<_, _>>()?;
            let found = self.store.get(&request.collection_name, &ids).await.map_err(status)?;
            let result = found.into_iter().map(|found| q::RetrievedPoint {
                id: (!self.rubbish()).then(|| found.id.to_string().into()),
                payload: out(found.payload),
                ..Default::default()
            });
            let result = result.collect();
            self.answer(q::GetResponse { result, ..Default::default() }).await
        }

        async fn count(&self, request: Request<q::CountPoints>) -> Result<Response<q::CountResponse>, Status> {
            self.enter(&request).await?;
            let request = request.into_inner();
            let count = self.store.count(&request.collection_name, &filter(request.filter)?).await.map_err(status)?;
            let result = (!self.rubbish()).then_some(q::CountResult { count });
            self.answer(q::CountResponse { result, ..Default::default() }).await
        }

        async fn query(&self, request: Request<q::QueryPoints>) -> Result<Response<q::QueryResponse>, Status> {
            self.enter(&request).await?;
            let request = request.into_inner();
            let Some(q::query::Variant::Nearest(input)) = request.query.and_then(|query| query.variant) else {
                return Err(Status::unimplemented("a query"));
            };
            let Some(q::vector_input::Variant::Dense(dense)) = input.variant else {
                return Err(Status::unimplemented("a vector"));
            };
            let (limit, wanted) = (request.limit.unwrap_or(10) as usize, filter(request.filter)?);
            let hits = self.store.query(&request.collection_name, &dense.data, &wanted, limit).await.map_err(status)?;
            let result = hits.into_iter().map(|hit| q::ScoredPoint {
                id: Some(hit.id.to_string().into()),
                payload: out(hit.payload),
                score: if self.rubbish() { f32::NAN } else { hit.score },
                ..Default::default()
            });
            let result = result.collect();
            self.answer(q::QueryResponse { result, ..Default::default() }).await
        }

        async fn create_field_index(
            &self,
            request: Request<q::CreateFieldIndexCollection>,
        ) -> Result<Response<q::PointsOperationResponse>, Status> {
            // The engine below has them from the beginning.
            self.enter(&request).await?;
            self.answer(q::PointsOperationResponse::default()).await
        }
    }
    update_vectors: UpdatePointVectors => PointsOperationResponse;
    delete_vectors: DeletePointVectors => PointsOperationResponse;
    set_payload: SetPayloadPoints => PointsOperationResponse;
    overwrite_payload: SetPayloadPoints => PointsOperationResponse;
    delete_payload: DeletePayloadPoints => PointsOperationResponse;
    clear_payload: ClearPayloadPoints => PointsOperationResponse;
    delete_field_index: DeleteFieldIndexCollection => PointsOperationResponse;
    create_vector_name: CreateVectorNameRequest => PointsOperationResponse;
    delete_vector_name: DeleteVectorNameRequest => PointsOperationResponse;
    search: SearchPoints => SearchResponse;
    search_batch: SearchBatchPoints => SearchBatchResponse;
    search_groups: SearchPointGroups => SearchGroupsResponse;
    scroll: ScrollPoints => ScrollResponse;
    recommend: RecommendPoints => RecommendResponse;
    recommend_batch: RecommendBatchPoints => RecommendBatchResponse;
    recommend_groups: RecommendPointGroups => RecommendGroupsResponse;
    discover: DiscoverPoints => DiscoverResponse;
    discover_batch: DiscoverBatchPoints => DiscoverBatchResponse;
    update_batch: UpdateBatchPoints => UpdateBatchResponse;
    query_batch: QueryBatchPoints => QueryBatchResponse;
    query_groups: QueryPointGroups => QueryGroupsResponse;
    facet: FacetCounts => FacetResponse;
    search_matrix_pairs: SearchMatrixPoints => SearchMatrixPairsResponse;
    search_matrix_offsets: SearchMatrixPoints => SearchMatrixOffsetsResponse;
}
