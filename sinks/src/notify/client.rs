//! One HTTP request, and what its answer means for the next try. No redirects.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use stream::trace;

/// Of an answer, in bytes. Ours are below one kilobyte; more is somebody else's page.
const LARGEST_ANSWER: usize = 256 << 10;
/// Longest wait that a receiver may ask for with `Retry-After`. Longer: one receiver's messages stand for longer.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Wait before the second try, if the receiver names none; doubled each time.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The same may be taken later. `unsure`: it may even have been taken, and the answer is what is missing.
    Later {
        detail: String,
        after: Option<Duration>,
        unsure: bool,
    },
    /// It will not be taken as it is.
    Refused(String),
}

impl Failed {
    pub fn later(detail: impl Into<String>) -> Self {
        Failed::Later {
            detail: detail.into(),
            after: None,
            unsure: true,
        }
    }

    /// It was certainly not taken, and may be later.
    pub fn turned_away(detail: impl Into<String>, after: Option<Duration>) -> Self {
        Failed::Later {
            detail: detail.into(),
            after,
            unsure: false,
        }
    }

    /// Whether it may have been taken all the same.
    pub fn unsure(&self) -> bool {
        matches!(self, Failed::Later { unsure: true, .. })
    }

    pub fn detail(&self) -> &str {
        match self {
            Failed::Later { detail, .. } | Failed::Refused(detail) => detail,
        }
    }
}

/// A client. Clones share connections.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Http {
    /// The error is about the machine: no TLS provider.
    pub fn new() -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(provider)
            .map_err(|error| error.to_string())?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Http {
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// Reads. The body of a 2xx answer; failures as those of [`Http::post`].
    pub async fn get(
        &self,
        url: &str,
        query: &BTreeMap<&str, &str>,
        headers: &[(&'static str, String)],
        timeout: Duration,
    ) -> Result<Bytes, Failed> {
        let mut address = url::Url::parse(url).map_err(|_| Failed::Refused("url is no address".to_owned()))?;
        address.query_pairs_mut().extend_pairs(query);
        let request = Request::builder().method(Method::GET).uri(address.as_str());
        self.ask(request, headers, Bytes::new(), LARGEST_ANSWER, timeout).await
    }

    /// Reads a file of at most `most` bytes; failures as those of [`Http::post`].
    pub async fn fetch(&self, url: &str, most: usize, timeout: Duration) -> Result<Bytes, Failed> {
        let address = url::Url::parse(url).map_err(|_| Failed::Refused("url is no address".to_owned()))?;
        let request = Request::builder().method(Method::GET).uri(address.as_str());
        self.ask(request, &[], Bytes::new(), most, timeout).await
    }

    /// Posts JSON. The body of a 2xx answer; 408, 429 and 5xx may be taken later, everything else is refused.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<Bytes, Failed> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8");
        self.ask(request, headers, Bytes::from(body), LARGEST_ANSWER, timeout)
            .await
    }

    async fn ask(
        &self,
        request: http::request::Builder,
        headers: &[(&'static str, String)],
        body: Bytes,
        largest: usize,
        timeout: Duration,
    ) -> Result<Bytes, Failed> {
        let mut request = request.header(header::USER_AGENT, concat!("aegis/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(value) = trace::header() {
            request = request.header(trace::HEADER, value);
        }
        // The builder's error may quote a header, which may be a token; a URL may be a secret too.
        let request = request
            .body(Full::new(body))
            .map_err(|_| Failed::Refused("url or token cannot be written as HTTP".to_owned()))?;
        let asked = async {
            let response = self.client.request(request).await.map_err(|e| match e.is_connect() {
                true => Failed::turned_away(chain(&e), None),
                false => Failed::later(chain(&e)),
            })?;
            let status = response.status();
            let after = response
                .headers()
                .get(header::RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.trim().parse().ok())
                .map(Duration::from_secs);
            let body = Limited::new(response.into_body(), largest).collect().await;
            if status.is_success() {
                return Ok(body.map_err(|e| Failed::later(e.to_string()))?.to_bytes());
            }
            let detail = format!("it answered {}", status.as_u16());
            Err(match status.as_u16() {
                429 => Failed::turned_away(detail, after),
                408 | 500.. => Failed::Later {
                    detail,
                    after,
                    unsure: true,
                },
                _ => Failed::Refused(detail),
            })
        };
        match tokio::time::timeout(timeout, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(Failed::later(format!("no answer within {timeout:?}"))),
        }
    }
}

/// Tries until it is taken or refused, at most `attempts` times.
pub async fn retrying<T, F: Future<Output = Result<T, Failed>>>(
    attempts: u32,
    mut once: impl FnMut() -> F,
) -> Result<T, Failed> {
    let mut wait = FIRST_WAIT;
    let mut left = attempts.max(1);
    loop {
        left -= 1;
        match once().await {
            Err(Failed::Later { after, .. }) if left > 0 => {
                tokio::time::sleep(after.unwrap_or(wait).min(LONGEST_WAIT)).await;
                wait = wait.saturating_mul(2);
            }
            answer => return answer,
        }
    }
}

/// An error with its causes, which hyper keeps apart.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
