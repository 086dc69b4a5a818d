//! Dead letters through the API: one of them whole, sent again, or dropped. The pipeline implements it over the log.

use async_trait::async_trait;

use crate::orders::OrderError;

/// Where a letter stands on topic `dead-letter`: what its id says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterPlace {
    pub partition: u32,
    pub offset: u64,
}

/// Shows letters and deals with them. `by` is `human:NAME`.
#[async_trait]
pub trait Letters: Send + Sync + 'static {
    /// The letter with its bytes in base64, its headers and what was done about it; `None` where there is none.
    async fn show(&self, place: LetterPlace) -> Result<Option<serde_json::Value>, OrderError>;

    /// Sends the refused record once more, to who refused it. A conflict where that was done already.
    async fn replay(&self, place: LetterPlace, by: &str) -> Result<(), OrderError>;

    /// Says that it needs nothing more.
    async fn drop_it(&self, place: LetterPlace, because: &str, by: &str) -> Result<(), OrderError>;
}
