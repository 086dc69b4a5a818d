//! The table `[telemetry]`.

use std::collections::BTreeMap;

use http::header::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::HumanDuration;
use stream::secret::Secret;
use url::Url;

/// Where Aegis' own traces and log lines go: an OpenTelemetry collector, by OTLP over gRPC.
///
/// One trace per incident, from the webhook to the notification, told from the log; requests to the API; and the lines that stand on
/// standard error, from `info` on. A collector that is away or hangs slows nothing down.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// Address of the collector, `http://HOST:PORT`, usually of port 4317. Empty: nothing is sent. TLS is not spoken: the collector
    /// belongs beside Aegis, and speaks it onwards.
    pub otlp_endpoint: String,
    /// Headers of every request, such as `authorization`. By reference.
    pub headers: BTreeMap<String, Secret>,
    /// Which share of traces is sent, from 0 to 1, chosen by the trace's id: an incident is sent whole or not at all. A caller of the API
    /// that sends a `traceparent` has chosen itself.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub sample: f64,
    /// Attributes of the resource beside `service.name` (`aegis`), `service.version` and `service.instance.id`, which they may replace.
    pub attributes: BTreeMap<String, String>,
    /// Whether traces are sent.
    pub traces: bool,
    /// Whether log lines are sent.
    pub logs: bool,
    /// How long one request to the collector may take.
    pub timeout: HumanDuration,
    /// How long a batch is tried again before it is dropped and counted. The incidents' traces wait in the log meanwhile; of everything
    /// else `queue` items wait.
    pub retry_for: HumanDuration,
    /// Spans, and log lines, that wait at most. Beyond it the newest are dropped and counted.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub queue: u32,
    /// How long the end of the process waits for what is not sent yet.
    pub flush_within: HumanDuration,
    /// Facts older than this are not told any more: a log whose traces were never sent is not sent as a whole.
    pub fresh_within: HumanDuration,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        TelemetrySettings {
            otlp_endpoint: String::new(),
            headers: BTreeMap::new(),
            sample: 1.0,
            attributes: BTreeMap::new(),
            traces: true,
            logs: true,
            timeout: HumanDuration::from_secs(5),
            retry_for: HumanDuration::from_secs(600),
            queue: 8192,
            flush_within: HumanDuration::from_secs(3),
            fresh_within: HumanDuration::from_secs(3_600),
        }
    }
}

impl TelemetrySettings {
    /// Whether anything is sent.
    pub fn on(&self) -> bool {
        !self.otlp_endpoint.is_empty() && (self.traces || self.logs)
    }

    pub fn sampling(&self) -> Sampling {
        // The fraction of all numbers of 56 bits; a float of 64 bits has 53, which is enough.
        Sampling {
            below: (self.sample.clamp(0.0, 1.0) * (1u64 << 56) as f64) as u64,
        }
    }

    /// What no schema can say, as `field: problem`. A secret is never repeated.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !self.otlp_endpoint.is_empty() {
            faults.extend(endpoint_fault(&self.otlp_endpoint).map(|fault| format!("otlp_endpoint: {fault}")));
        }
        if !(0.0..=1.0).contains(&self.sample) {
            faults.push(format!("sample: {} is not from 0 to 1", self.sample));
        }
        for (name, value) in &self.headers {
            if name.ends_with("-bin") || HeaderName::try_from(name.as_str()).is_err() {
                faults.push(format!("headers: {name:?} is no header's name"));
            } else if HeaderValue::try_from(value.expose()).is_err() {
                faults.push(format!("headers: no header can carry the value of {name}"));
            }
        }
        for (name, span) in [("timeout", self.timeout), ("flush_within", self.flush_within)] {
            if span.get().is_zero() {
                faults.push(format!("{name}: write more than 0"));
            }
        }
        faults
    }
}

fn endpoint_fault(text: &str) -> Option<String> {
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(fault) => return Some(format!("{fault}: write http://HOST:4317")),
    };
    if url.scheme() == "https" {
        return Some("TLS is not spoken here: send to a collector beside Aegis, which speaks it onwards".to_owned());
    }
    if url.scheme() != "http" || url.host_str().is_none() {
        return Some("write http://HOST:4317".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("credentials belong into headers, by reference".to_owned());
    }
    let rest = !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some();
    rest.then(|| "gRPC has paths of its own: write http://HOST:PORT alone".to_owned())
}

/// Which traces are sent. Decided by the low 56 bits of the trace's id (W3C Trace Context level 2 asks that these be random), so that all
/// who tell of a trace decide alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    below: u64,
}

impl Sampling {
    pub fn takes(self, trace: u128) -> bool {
        (trace as u64 & ((1 << 56) - 1)) < self.below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let check = |endpoint: &str, fault: &str| {
            let settings = TelemetrySettings {
                otlp_endpoint: endpoint.to_owned(),
                ..TelemetrySettings::default()
            };
            let faults = settings.faults();
            match fault {
                "" => assert_eq!(faults, Vec::<String>::new(), "{endpoint}"),
                _ => assert!(faults.len() == 1 && faults[0].contains(fault), "{endpoint}: {faults:?}"),
            }
        };
        check("", "");
        check("http://127.0.0.1:4317", "");
        check("http://collector:4317/", "");
        check("https://collector:4317", "TLS");
        check("collector:4317", "http://HOST:4317");
        check("127.0.0.1:4317", "http://HOST:4317");
        check("http://user:hunter2@collector:4317", "credentials");
        check("http://collector:4318/v1/traces", "paths of its own");
    }

    #[test]
    fn headers_are_checked_and_never_shown() {
        let settings = TelemetrySettings {
            headers: BTreeMap::from([
                ("authorization".to_owned(), Secret::new("Bearer \u{1}hunter2")),
                ("a b".to_owned(), Secret::new("x")),
            ]),
            sample: 1.5,
            ..TelemetrySettings::default()
        };
        let faults = settings.faults().join("\n");
        assert!(
            faults.contains("authorization") && faults.contains("\"a b\"") && faults.contains("sample"),
            "{faults}"
        );
        assert!(!faults.contains("hunter2") && !format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn a_share_of_traces() {
        let share = |sample: f64| {
            let sampling = TelemetrySettings {
                sample,
                ..TelemetrySettings::default()
            }
            .sampling();
            let ids = (0..10_000u32).map(|n| model::ids::derived(&n.to_string()).as_u128());
            ids.filter(|id| sampling.takes(*id)).count()
        };
        assert_eq!((share(0.0), share(1.0)), (0, 10_000));
        // Of a fair coin, 10,000 times, 200 off is four standard deviations.
        assert!((2_800..3_200).contains(&share(0.3)), "{}", share(0.3));
    }
}
