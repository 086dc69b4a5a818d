//! A client that asks nothing before the time is over that the server named.

use bytes::Bytes;
use http::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::limit::Limit;
use super::{Failure, Http};

/// [`Http`] that keeps the server's limits: until they are over every request fails at once, with the seconds that are left.
pub struct Patient {
    http: Http,
    limit: Limit,
}

impl Patient {
    pub fn new(http: Http) -> Self {
        Patient {
            http,
            limit: Limit::default(),
        }
    }

    /// The JSON at `path`, and the headers around it.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<(T, HeaderMap), Failure> {
        self.limit.pass(Instant::now())?;
        let (headers, body) = self.http.bytes(path, query).await;
        let body = self.limit.after(&headers, body, Instant::now())?;
        Ok((read(&body)?, headers))
    }

    /// Sends `body` to `path`, once; the answer as it came.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Bytes, Failure> {
        self.limit.pass(Instant::now())?;
        let (headers, answer) = self.http.post(path, body).await;
        self.limit.after(&headers, answer, Instant::now())
    }
}

/// The JSON of an answer.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|fault| Failure::Garbled(fault.to_string()))
}
