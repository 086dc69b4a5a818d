//! The desk behind the REST API: one letter at a time.

use std::sync::Arc;

use async_trait::async_trait;
use gateway::{LetterPlace, Letters, OrderError};
use stream::{Clock, Log};
use tokio::sync::Mutex;

use super::{Deed, Desk, Filter, LetterId};

/// Holds no seat between requests, and serves one at a time.
pub struct DeskLetters {
    desk: Mutex<Desk>,
}

impl DeskLetters {
    pub fn new(log: Arc<dyn Log>, clock: Arc<dyn Clock>) -> Self {
        DeskLetters {
            desk: Mutex::new(Desk::new(log, clock)),
        }
    }

    async fn act(&self, id: LetterId, deed: &Deed) -> Result<(), OrderError> {
        let filter = Filter {
            ids: vec![id],
            ..Filter::default()
        };
        let mut desk = self.desk.lock().await;
        let chosen = desk.select(&filter).await.map_err(away)?;
        if chosen.is_empty() {
            return Err(OrderError::NotFound(format!("letter {id}")));
        }
        let done = desk.act(&chosen, deed, false).await;
        // The seat goes back whatever came of it; the deed is in the log, or not, without it.
        if let Err(error) = desk.leave().await {
            tracing::warn!(%error, "the seat at the dead letters goes back by itself");
        }
        match done.map_err(away)?.skipped.into_iter().next() {
            Some(skipped) => Err(OrderError::Conflict(skipped.because)),
            None => Ok(()),
        }
    }
}

fn id_of(place: LetterPlace) -> LetterId {
    LetterId {
        partition: place.partition,
        offset: place.offset,
    }
}

fn away(error: anyhow::Error) -> OrderError {
    OrderError::Unavailable(format!("{error:#}"))
}

#[async_trait]
impl Letters for DeskLetters {
    async fn show(&self, place: LetterPlace) -> Result<Option<serde_json::Value>, OrderError> {
        let found = self.desk.lock().await.show(id_of(place)).await.map_err(away)?;
        let shown = found.map(|whole| serde_json::to_value(whole).map_err(|e| OrderError::Unavailable(e.to_string())));
        shown.transpose()
    }

    async fn replay(&self, place: LetterPlace, by: &str) -> Result<(), OrderError> {
        let id = id_of(place);
        tracing::info!(%id, by, "a dead letter is sent again");
        self.act(id, &Deed::Replay).await
    }

    async fn drop_it(&self, place: LetterPlace, because: &str, by: &str) -> Result<(), OrderError> {
        let because = format!("{by}: {because}");
        self.act(id_of(place), &Deed::Drop { because }).await
    }
}
