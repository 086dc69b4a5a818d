//! A call: an outside question that an operator may not ask itself (a model, a vector store, a cluster). The operator
//! emits the request as data, the driver performs it, the answer comes back as an event of the same task, in the order
//! of the requests, and is part of what replay sees only through the facts it led to.

use async_trait::async_trait;

/// How an outside call failed. An error that nobody recognised is [`CallError::MayHaveHappened`]: it is reconciled by
/// observing, never blindly repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error("did not happen: {cause}")]
    DidNotHappen { cause: String, retry: bool },
    #[error("may have happened: {cause}")]
    MayHaveHappened { cause: String },
}

/// An outside system, asked by the driver on behalf of an operator.
#[async_trait]
pub trait Call: Send + Sync {
    /// `key` is the idempotency key: equal keys are the same request. Bytes in and out are the operator's own encoding.
    async fn call(&self, key: &str, request: &[u8]) -> Result<Vec<u8>, CallError>;
}
