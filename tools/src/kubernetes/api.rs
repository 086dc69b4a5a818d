//! The few requests made of an API server, over kube's client.
//!
//! kube connects, speaks TLS and renews credentials. Its own repetition of requests is switched off: it repeats a PATCH that was
//! answered with 503 or 504, which may have happened.

use std::path::PathBuf;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use url::form_urlencoded;

use super::TOOL;
use crate::ToolError;
use crate::settings::KubernetesSettings;
use crate::wire::{Failure, causes, in_trace, taken_in};

/// Objects of one page of a list.
const PAGE: &str = "500";

/// Metadata alone, of lists whose objects may be large. A server that cannot answers with whole objects.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json";

/// One API server.
#[derive(Clone)]
pub struct Api {
    client: Client,
    cluster: String,
    deadline: Duration,
    max_answer_bytes: usize,
    max_items: usize,
}

/// How much of each object of a list is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Metadata,
}

/// Whether a patch is carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    DryRun,
    Act,
}

impl Api {
    /// Reads the credentials; nothing is asked of the server yet. Needs a running tokio.
    pub async fn connect(settings: &KubernetesSettings) -> Result<Self, ToolError> {
        let mut config = config(settings).await?;
        // Shorter than the whole deadline: a server that cannot be reached is told from one that does not answer.
        config.connect_timeout = Some(settings.timeout() / 2);
        config.default_retry = false;
        let client = Client::try_from(config)
            .map_err(|fault| ToolError::refused(TOOL, format!("no client can be made: {}", causes(&fault))))?;
        Ok(Api {
            client,
            cluster: settings.cluster.clone(),
            deadline: settings.timeout(),
            max_answer_bytes: settings.max_answer_bytes,
            max_items: settings.max_items,
        })
    }

    /// What actions call this cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(http::Request::get(path), Vec::new()).await
    }

    /// Every object of a list, page by page.
    pub(super) async fn list(&self, path: &str, query: &[(&str, &str)], part: Part) -> Result<Vec<Value>, Failure> {
        let accept = match part {
            Part::Whole => "application/json",
            Part::Metadata => METADATA,
        };
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            let uri = format!("{path}?{}", page_query(query, &next));
            let mut page = self
                .send(http::Request::get(uri).header(ACCEPT, accept), Vec::new())
                .await?;
            match page.get_mut("items").map(Value::take) {
                Some(Value::Array(more)) => items.extend(more),
                // An empty list of Go.
                Some(Value::Null) => {}
                _ => return Err(Failure::Garbled("a list without items".to_owned())),
            }
            if items.len() > self.max_items {
                return Err(Failure::TooMany { limit: self.max_items });
            }
            match page["metadata"]["continue"].as_str() {
                Some(token) if !token.is_empty() => next = token.to_owned(),
                _ => return Ok(items),
            }
        }
    }

    pub(super) async fn patch(&self, path: &str, patch: &Value, mode: Mode) -> Result<Value, Failure> {
        let dry_run = match mode {
            Mode::DryRun => "&dryRun=All",
            Mode::Act => "",
        };
        let request = http::Request::patch(format!("{path}?fieldManager=aegis{dry_run}"))
            .header(CONTENT_TYPE, "application/merge-patch+json");
        self.send(request, patch.to_string().into_bytes()).await
    }

    async fn send(&self, request: http::request::Builder, body: Vec<u8>) -> Result<Value, Failure> {
        let mut request = request
            .body(Body::from(body))
            .map_err(|fault| Failure::NotSent(format!("no request can be made of it: {fault}")))?;
        in_trace(request.headers_mut());
        let answer = async {
            let response = self.client.send(request).await.map_err(failure)?;
            taken_in(response, self.max_answer_bytes).await
        };
        let answer = tokio::time::timeout(self.deadline, answer).await;
        let late = |_| Failure::NoAnswer(format!("no answer within {} s", self.deadline.as_secs_f32()));
        let body = answer.map_err(late)??;
        let object: Value = serde_json::from_slice(&body).map_err(|fault| Failure::Garbled(fault.to_string()))?;
        match object {
            Value::Object(_) => Ok(object),
            _ => Err(Failure::Garbled("it is no object".to_owned())),
        }
    }
}

/// The query of one page of a list; `next` empty for the first.
fn page_query(query: &[(&str, &str)], next: &str) -> String {
    let mut parameters = form_urlencoded::Serializer::new(String::new());
    parameters.extend_pairs(query).append_pair("limit", PAGE);
    if !next.is_empty() {
        parameters.append_pair("continue", next);
    }
    parameters.finish()
}

/// Credentials that cannot be had stop a request before it leaves.
fn failure(fault: kube::Error) -> Failure {
    match &fault {
        kube::Error::Auth(_) => Failure::NotSent(causes(&fault)),
        kube::Error::Service(inner) => Failure::of_client(&**inner),
        _ => Failure::of_client(&fault),
    }
}

async fn config(settings: &KubernetesSettings) -> Result<Config, ToolError> {
    let refused = |what: String| ToolError::refused(TOOL, what);
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    if let Some(path) = &settings.kubeconfig {
        let unusable = |cause: String| refused(format!("kubeconfig {}: {cause}", path.display()));
        let file = Kubeconfig::read_from(path).map_err(|fault| unusable(causes(&fault)))?;
        let options = KubeConfigOptions {
            context: settings.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = Config::from_custom_kubeconfig(file, &options).await;
        return config.map_err(|fault| unusable(causes(&fault)));
    }
    if settings.in_cluster {
        // By its name: the environment is read by the configuration alone.
        return Config::incluster_dns().map_err(|fault| refused(format!("in_cluster: {}", causes(&fault))));
    }
    let Some(url) = &settings.url else {
        return Err(ToolError::Absent {
            tool: TOOL,
            setting: "tools.kubernetes.url",
        });
    };
    let url = url
        .parse()
        .map_err(|fault| refused(format!("url is no address: {fault}")))?;
    let mut config = Config::new(url);
    config.auth_info.token_file = settings.token_file.as_ref().map(text);
    config.root_cert_file = settings.ca_file.clone();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    async fn patched(url: String) -> Failure {
        let settings = KubernetesSettings {
            url: Some(url),
            ..KubernetesSettings::default()
        };
        let api = Api::connect(&settings).await.unwrap();
        api.patch("/x", &json!({}), Mode::Act).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_connection_that_was_not_made_carried_nothing_and_one_that_broke_may_have() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let hangs_up = tokio::spawn(async move {
            loop {
                drop(listener.accept().await.unwrap());
            }
        });
        let broken = patched(url.clone()).await;
        assert!(matches!(broken, Failure::NoAnswer(_)), "{broken:?}");
        hangs_up.abort();
        assert!(hangs_up.await.unwrap_err().is_cancelled(), "the listener is dropped");
        let refused = patched(url).await;
        assert!(matches!(refused, Failure::NotSent(_)), "{refused:?}");
    }

    #[tokio::test]
    async fn credentials_that_cannot_be_had_stop_a_request() {
        let settings = KubernetesSettings {
            url: Some("http://127.0.0.1:1".to_owned()),
            token_file: Some("/none/of/this/name".into()),
            ..KubernetesSettings::default()
        };
        let fault = match Api::connect(&settings).await {
            Err(fault) => fault.to_string(),
            Ok(api) => api.patch("/x", &json!({}), Mode::Act).await.unwrap_err().to_string(),
        };
        assert!(
            fault.contains("/none/of/this/name") || fault.contains("token"),
            "{fault}"
        );
    }
}
