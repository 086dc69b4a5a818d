//! A client: GET and POST of JSON, a bearer token, a deadline, a bound on the answer.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stream::secret::Secret;
use url::Url;

use super::{Failure, taken_in};
use crate::ToolError;
use crate::redact::REDACTED;

/// Asks one server. It follows no redirect, so the token goes nowhere else, and reads no proxy from the environment.
pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: Url,
    headers: HeaderMap,
    token: Option<Secret>,
    deadline: Duration,
    limit: usize,
}

impl Http {
    /// `limit`: most bytes taken in of one answer.
    pub fn new(
        tool: &'static str,
        url: &str,
        token: Option<Secret>,
        deadline: Duration,
        limit: usize,
    ) -> Result<Self, ToolError> {
        let base = Url::parse(url).map_err(|fault| ToolError::refused(tool, format!("url is no address: {fault}")))?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(token) = &token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
                .map_err(|_| ToolError::refused(tool, "no header can carry the token"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Http {
            client: Client::builder(TokioExecutor::new()).build(connector(tool, deadline)?),
            base,
            headers,
            token,
            deadline,
            limit,
        })
    }

    /// The token is a password of `user` (Basic, RFC 7617) instead of a bearer token.
    pub fn with_user(mut self, tool: &'static str, user: &str) -> Result<Self, ToolError> {
        let password = self.token.as_ref().map(Secret::expose).unwrap_or_default();
        let login = STANDARD.encode(format!("{user}:{password}"));
        let mut value = HeaderValue::try_from(format!("Basic {login}"))
            .map_err(|_| ToolError::refused(tool, "no header can carry the user and the token"))?;
        value.set_sensitive(true);
        self.headers.insert(AUTHORIZATION, value);
        Ok(self)
    }

    /// A header of every request.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The JSON at `path` below the configured address.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Failure> {
        let (_, body) = self.bytes(path, query).await;
        serde_json::from_slice(&body?).map_err(|fault| Failure::Garbled(fault.to_string()))
    }

    /// The headers of an answer, where there was one, and its body: a server that says "not now" says in a header until when.
    pub async fn bytes(&self, path: &str, query: &[(&str, &str)]) -> (HeaderMap, Result<Bytes, Failure>) {
        let mut headers = HeaderMap::new();
        let body = self.ask(Method::GET, path, query, None, &mut headers).await;
        (headers, body)
    }

    /// Sends `body` to `path`, once; headers and body of the answer.
    pub async fn post(&self, path: &str, body: &Value) -> (HeaderMap, Result<Bytes, Failure>) {
        let mut headers = HeaderMap::new();
        let answer = self.ask(Method::POST, path, &[], Some(body), &mut headers).await;
        (headers, answer)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
        headers: &mut HeaderMap,
    ) -> Result<Bytes, Failure> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let sent = body.map(Value::to_string).unwrap_or_default();
        let mut request = http::Request::builder()
            .method(method)
            .uri(url.as_str())
            .body(Full::from(sent))
            .map_err(|fault| Failure::NotSent(format!("no request can be made of it: {fault}")))?;
        request.headers_mut().extend(self.headers.clone());
        super::in_trace(request.headers_mut());
        if body.is_some() {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(CONTENT_TYPE, json);
        }

        let answer = async {
            let response = self.client.request(request).await;
            let response = response.map_err(|fault| Failure::of_client(&fault))?;
            headers.clone_from(response.headers());
            taken_in(response, self.limit).await
        };
        let answer = tokio::time::timeout(self.deadline, answer).await;
        let late = |_| Failure::NoAnswer(format!("no answer within {} s", self.deadline.as_secs_f32()));
        answer.map_err(late)?.map_err(|failure| self.without_token(failure))
    }

    /// A server that repeats what it was sent does not get the token into an error.
    fn without_token(&self, failure: Failure) -> Failure {
        match (failure, &self.token) {
            (Failure::Status { status, text }, Some(token)) => Failure::Status {
                status,
                text: text.replace(token.expose(), REDACTED),
            },
            (failure, _) => failure,
        }
    }
}

/// TLS trusts what the machine trusts; where it has no certificates at all, the roots of the web.
fn connector(tool: &'static str, deadline: Duration) -> Result<HttpsConnector<HttpConnector>, ToolError> {
    let ring = rustls::crypto::ring::default_provider;
    let tls = HttpsConnectorBuilder::new();
    let tls = match tls.with_provider_and_native_roots(ring()) {
        Ok(tls) => tls,
        Err(_) => HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(ring())
            .map_err(|fault| ToolError::refused(tool, format!("TLS cannot be set up: {fault}")))?,
    };
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(deadline));
    Ok(tls.https_or_http().enable_http1().wrap_connector(http))
}
