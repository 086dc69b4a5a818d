//! The configuration: the doc comments here are its reference.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::HumanDuration;
use stream::secret::Secret;

/// What several instances share through a Redis server: sessions, cached answers, whose turn it is, and that something changed. Without one
/// each process has these for itself, which is all that a single process needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SharedSettings {
    /// `redis://USER:PASSWORD@HOST:6379/0`, where USER may be empty. Empty: nothing is shared. Anything but a loopback address needs a
    /// password. TLS is not supported.
    pub redis_url: Secret,
    /// What the names of all keys and channels begin with: installations that share one server need different ones. Letters, digits, `-`,
    /// `_` and `.`.
    pub prefix: String,
    /// How long connecting may take, greeting and password included.
    pub connect_timeout: HumanDuration,
    /// How long the server may take for an answer. Longer: whoever waits for one that stands still waits longer. Shorter: a busy server
    /// passes for one that is away.
    pub call_timeout: HumanDuration,
    /// How old an answer of the REST API may be that another request got. Every change that an instance hears of makes it ask anew, so this
    /// is for changes that nobody tells. `"0s"`: every request asks the store; so does every one where there is no Redis.
    pub cache_ttl: HumanDuration,
}

impl Default for SharedSettings {
    fn default() -> Self {
        SharedSettings {
            redis_url: Secret::default(),
            prefix: "aegis".to_owned(),
            connect_timeout: HumanDuration::from_secs(2),
            call_timeout: HumanDuration::from_millis(500),
            cache_ttl: HumanDuration::from_secs(1),
        }
    }
}

impl SharedSettings {
    /// Every fault, each with its remedy, as `key: problem`; none holds a part of the URL.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(problem) = self.url_fault() {
            faults.push(format!("redis_url: {problem}"));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if self.prefix.is_empty() || self.prefix.len() > 64 || !self.prefix.bytes().all(plain) {
            faults.push("prefix: it is made of 1 to 64 letters, digits, -, _ and .".to_owned());
        }
        for (key, span) in [
            ("connect_timeout", self.connect_timeout),
            ("call_timeout", self.call_timeout),
        ] {
            let most = std::time::Duration::from_secs(60);
            if span.get().is_zero() || span.get() > most {
                faults.push(format!(
                    "{key}: it is {span}: write for example \"1s\", at most \"60s\""
                ));
            }
        }
        if self.cache_ttl.get() > crate::MAX_TTL {
            faults.push("cache_ttl: it is longer than a day: write for example \"1s\"".to_owned());
        }
        faults
    }

    fn url_fault(&self) -> Option<String> {
        let text = self.redis_url.expose();
        if text.is_empty() {
            return None;
        }
        let shape = "write redis://:PASSWORD@HOST:6379/0";
        let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
        if ["rediss", "valkeys"].contains(&scheme) {
            return Some(
                "this program has no TLS for Redis: write redis:// to a server on loopback or in a private network, or to a tunnel \
                 (stunnel, a service mesh) that adds TLS"
                    .to_owned(),
            );
        }
        if scheme != "redis" {
            return Some(format!("it is no redis:// URL: {shape}"));
        }
        let Some(url) = redis::parse_redis_url(text) else {
            return Some(format!(
                "it cannot be read: {shape}; in a password every / ? # [ ] @ and % is written as %2F and the like"
            ));
        };
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return Some(format!("it names no host: {shape}"));
        };
        if redis::Client::open(text).is_err() {
            return Some(format!(
                "it cannot be used: {shape}, where 0 is the number of the database"
            ));
        }
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = host == "localhost" || address.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        if !loopback && url.password().is_none_or(str::is_empty) {
            return Some(format!(
                "it has no password and names no loopback address, so anybody there could read and forge what is shared: {shape}"
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults() {
        let check = |url: &str, word: &str| {
            let settings = SharedSettings {
                redis_url: url.into(),
                ..SharedSettings::default()
            };
            let faults = settings.faults();
            let shown = format!("{faults:?} {settings:?} {}", serde_json::to_string(&settings).unwrap());
            assert!(!shown.contains("hunter2"), "{shown}");
            match word {
                "" => assert_eq!(faults, [""; 0], "{url}"),
                word => assert!(faults.len() == 1 && faults[0].contains(word), "{url}: {faults:?}"),
            }
        };
        check("", "");
        check("redis://127.0.0.1:6379/0", "");
        check("redis://[::1]", "");
        check("redis://localhost", "");
        check("redis://:hunter2@redis:6379/3", "");
        check("redis://aegis:hunter2@10.0.0.7", "");
        check("redis://10.0.0.7:6379", "no password");
        check("rediss://:hunter2@redis:6379", "TLS");
        check("valkeys://:hunter2@redis:6379", "TLS");
        check("http://:hunter2@redis", "no redis://");
        check("hunter2", "no redis://");
        check("redis://:hunter2@redis:port", "cannot be read");
        check("redis://:hunter2@redis:6379/first", "cannot be used");
    }

    #[test]
    fn the_rest() {
        let check = |change: &dyn Fn(&mut SharedSettings), key: &str| {
            let mut settings = SharedSettings::default();
            change(&mut settings);
            let faults = settings.faults();
            assert!(faults.len() == 1 && faults[0].starts_with(key), "{key}: {faults:?}");
        };
        check(&|s| s.prefix = "a:b".into(), "prefix");
        check(&|s| s.prefix.clear(), "prefix");
        check(&|s| s.call_timeout = HumanDuration::from_secs(0), "call_timeout");
        check(&|s| s.connect_timeout = HumanDuration::from_secs(61), "connect_timeout");
        check(&|s| s.cache_ttl = HumanDuration::from_secs(86_401), "cache_ttl");
    }
}
