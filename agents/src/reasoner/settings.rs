//! `[agents.model]`.

use http::Uri;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::{HumanDuration, HumanSize};
use stream::secret::Secret;

/// A language model behind an OpenAI-compatible endpoint. It may add words to findings and reports, never actions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSettings {
    /// Base of the endpoint, without `/chat/completions`: `http://127.0.0.1:8080/v1`. Empty: no model is asked.
    pub url: String,
    /// Name of the model, as the endpoint knows it.
    pub model: String,
    /// Sent as a bearer token; none where empty.
    pub key: Secret,
    /// Most tokens of a step, question and answer together.
    pub tokens_per_step: u32,
    /// Longest wait for an answer.
    pub timeout: HumanDuration,
    /// Longest answer that is read.
    pub max_reply: HumanSize,
}

impl Default for ModelSettings {
    fn default() -> Self {
        ModelSettings {
            url: String::new(),
            model: String::new(),
            key: Secret::default(),
            tokens_per_step: 6_000,
            timeout: HumanDuration::from_secs(20),
            max_reply: HumanSize::kib(256),
        }
    }
}

impl ModelSettings {
    /// Least budget in which the instructions and a little evidence fit.
    const LEAST_TOKENS: u32 = 1_000;

    pub fn enabled(&self) -> bool {
        !self.url.is_empty()
    }

    /// Where questions go.
    pub fn endpoint(&self) -> Result<Uri, String> {
        let uri: Uri = format!("{}/chat/completions", self.url.trim_end_matches('/'))
            .parse()
            .map_err(|problem| format!("it is no URL ({problem})"))?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http" | "https"), Some(_)) => Ok(uri),
            _ => Err("it must begin with http:// or https:// and name a host".to_owned()),
        }
    }

    /// Every fault, each with its remedy.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !self.enabled() {
            return faults;
        }
        match self.endpoint() {
            Err(problem) => faults.push(format!(
                "url ({}): {problem}: write for example http://127.0.0.1:8080/v1",
                self.url
            )),
            Ok(uri) if uri.scheme_str() == Some("http") && !self.key.is_empty() && !on_this_host(&uri) => {
                faults.push(
                    "url is http:// to another host, so the key would travel in the open: use https://".to_owned(),
                );
            }
            Ok(_) => {}
        }
        if self.model.trim().is_empty() {
            faults.push("model is empty: set the name by which the endpoint knows the model".to_owned());
        }
        if !self.key.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            faults.push("key holds blanks or control characters: it cannot be sent in a header".to_owned());
        }
        if self.tokens_per_step < Self::LEAST_TOKENS {
            faults.push(format!(
                "tokens_per_step is {}: set at least {}, or leave url empty to ask no model",
                self.tokens_per_step,
                Self::LEAST_TOKENS
            ));
        }
        if self.timeout.get().is_zero() {
            faults.push("timeout is 0s: set a span, for example 20s".to_owned());
        }
        if self.max_reply.get() == 0 {
            faults.push("max_reply is 0B: set a size, for example 256KiB".to_owned());
        }
        faults
    }
}

fn on_this_host(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults() {
        let check = |url: &str, key: &str, expected: usize| {
            let settings = ModelSettings {
                url: url.into(),
                model: "m".into(),
                key: key.into(),
                ..ModelSettings::default()
            };
            assert_eq!(settings.faults().len(), expected, "{url}: {:?}", settings.faults());
            assert!(key.is_empty() || !format!("{settings:?}").contains(key));
        };
        check("", "", 0);
        check("http://127.0.0.1:1/v1", "k3y", 0);
        check("http://[::1]:1/v1", "k3y", 0);
        check("https://model.example/v1/", "k3y", 0);
        check("http://model.example/v1", "", 0);
        check("http://model.example/v1", "k3y", 1);
        check("model.example", "", 1);
        check("https://model.example", "a b", 1);
        let nothing = ModelSettings {
            url: "http://localhost".into(),
            tokens_per_step: 10,
            timeout: HumanDuration::from_secs(0),
            max_reply: HumanSize(0),
            ..ModelSettings::default()
        };
        assert_eq!(nothing.faults().len(), 4);
    }
}
