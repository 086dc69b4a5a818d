//! One HTTP request and what became of it.
//!
//! A question and a deed read the same failure differently: an answer that never came leaves a question unanswered and a deed
//! uncertain. [`Failure::of_a_question`] and [`Failure::of_a_deed`] are the two readings, and the only places that make them.

mod client;
mod limit;
mod patient;

use std::error::Error;
use std::fmt;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body;
use serde_json::Value;
use stream::trace;

pub use client::Http;
pub use patient::Patient;
pub(crate) use patient::read;

use crate::ToolError;
use crate::redact::{redact, shorten};

/// Longest cause repeated from an answer, in characters.
const CAUSE_LIMIT: usize = 300;

/// Most sentences of a refusal that are told on.
const SENTENCES: usize = 5;

/// Why there is no answer to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or no credentials: the request never left.
    NotSent(String),
    /// It left, and no whole answer came: the deadline, or a connection that broke.
    NoAnswer(String),
    /// It was answered with another status than 2xx. The text is redacted.
    Status { status: u16, text: String },
    /// The server has answered enough for now, and says how many seconds to wait.
    Limited { wait_s: u64 },
    /// The answer is longer than what is taken in.
    TooLarge { limit: usize },
    /// The list has more objects than are looked through.
    TooMany { limit: usize },
    /// A 2xx whose body is not what the protocol says.
    Garbled(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NotSent(cause) | Failure::NoAnswer(cause) => f.write_str(cause),
            Failure::Status { status, text } if text.is_empty() => write!(f, "status {status}"),
            Failure::Status { status, text } => write!(f, "status {status}: {text}"),
            Failure::Limited { wait_s } => write!(f, "the server's limit of requests is used up, for {wait_s} s more"),
            Failure::TooLarge { limit } => write!(f, "the answer is longer than {limit} bytes: ask for less"),
            Failure::TooMany { limit } => write!(f, "more than {limit} objects: ask for less"),
            Failure::Garbled(cause) => write!(f, "the answer is not what was expected: {cause}"),
        }
    }
}

impl Failure {
    /// A question changes nothing, so nothing happened whatever became of it.
    pub fn of_a_question(self, tool: &'static str) -> ToolError {
        let cause = self.to_string();
        let later = match self {
            Failure::NotSent(_) | Failure::NoAnswer(_) | Failure::Garbled(_) | Failure::Limited { .. } => true,
            // The object changed under a dry run; too many requests; the server's own timeouts and faults.
            Failure::Status { status, .. } => matches!(status, 408 | 409 | 425 | 429 | 500..),
            Failure::TooLarge { .. } | Failure::TooMany { .. } => false,
        };
        if later {
            ToolError::DidNotHappen {
                tool,
                cause,
                retry: true,
            }
        } else {
            ToolError::Refused { tool, cause }
        }
    }

    /// Only a request that never left, and one that the server says it turned away, certainly did nothing.
    pub fn of_a_deed(self, tool: &'static str) -> ToolError {
        let cause = self.to_string();
        match self {
            // Limited: turned away before it was looked at.
            Failure::NotSent(_) | Failure::Limited { .. } => ToolError::DidNotHappen {
                tool,
                cause,
                retry: true,
            },
            Failure::Status { status: 401 | 403, .. } => ToolError::Refused { tool, cause },
            // 429: turned away before it was looked at.
            Failure::Status { status, .. } if status < 500 => ToolError::DidNotHappen {
                tool,
                cause,
                retry: status == 429,
            },
            // A 5xx may come from a proxy that lost the server's answer.
            Failure::Status { .. }
            | Failure::NoAnswer(_)
            | Failure::TooLarge { .. }
            | Failure::TooMany { .. }
            | Failure::Garbled(_) => ToolError::MayHaveHappened { tool, cause },
        }
    }

    /// What to do about a refusal, said behind the server's words.
    pub fn advised(self, advice: impl Fn(u16) -> Option<String>) -> Failure {
        match self {
            Failure::Status { status, text } => {
                let text = match (advice(status), text.is_empty()) {
                    (None, _) => text,
                    (Some(advice), true) => advice,
                    (Some(advice), false) => format!("{text} ({advice})"),
                };
                Failure::Status { status, text }
            }
            other => other,
        }
    }

    /// As [`Failure::of_a_deed`], where the server turns away what it will turn away again: 4xx but for a limit is a refusal.
    pub fn of_a_written_deed(self, tool: &'static str) -> ToolError {
        match &self {
            Failure::Status { status, .. } if (400..500).contains(status) && ![408, 409, 425, 429].contains(status) => {
                ToolError::Refused {
                    tool,
                    cause: self.to_string(),
                }
            }
            _ => self.of_a_deed(tool),
        }
    }

    /// What the client's error says. Only a connection that was never made is known not to have carried the request.
    pub fn of_client(fault: &(dyn Error + 'static)) -> Failure {
        let mut next = Some(fault);
        while let Some(one) = next {
            let connecting = one
                .downcast_ref::<hyper_util::client::legacy::Error>()
                .is_some_and(hyper_util::client::legacy::Error::is_connect);
            if connecting {
                return Failure::NotSent(format!("no connection: {}", causes(fault)));
            }
            next = one.source();
        }
        Failure::NoAnswer(causes(fault))
    }
}

/// The errors of the chain, each once, without secrets.
pub fn causes(fault: &dyn Error) -> String {
    let mut text = fault.to_string();
    let mut next = fault.source();
    while let Some(one) = next {
        let cause = one.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        next = one.source();
    }
    shorten(&redact(&text), CAUSE_LIMIT)
}

/// Says whose trace a request belongs to, where the work is part of one.
pub(crate) fn in_trace(headers: &mut http::HeaderMap) {
    let value = trace::header().and_then(|value| http::HeaderValue::try_from(value).ok());
    if let Some(value) = value {
        headers.insert(trace::HEADER, value);
    }
}

/// The whole body, at most `limit` bytes of it; a status other than 2xx is a failure with the server's own words.
pub(crate) async fn taken_in<B>(response: http::Response<B>, limit: usize) -> Result<Bytes, Failure>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let status = response.status();
    let body = match Limited::new(response.into_body(), limit).collect().await {
        Ok(body) => body.to_bytes(),
        // The status says more than the length of what came with it.
        Err(_) if !status.is_success() => Bytes::new(),
        Err(fault) if fault.is::<LengthLimitError>() => return Err(Failure::TooLarge { limit }),
        Err(fault) => return Err(Failure::NoAnswer(format!("the answer broke off: {}", causes(&*fault)))),
    };
    if status.is_success() {
        return Ok(body);
    }
    Err(Failure::Status {
        status: status.as_u16(),
        text: words(&body),
    })
}

/// What the server says about its refusal: `message` (Kubernetes; GitHub, with `errors`), `error` (Prometheus), `errorMessages` and
/// `errors` (Jira), or a short text that is no page.
fn words(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(answer) => said(&answer).join("; "),
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    };
    if text.starts_with('<') {
        return String::new();
    }
    shorten(&redact(&text), CAUSE_LIMIT)
}

/// The sentences of an answer, the first one first.
fn said(answer: &Value) -> Vec<String> {
    let whole = ["message", "error"].iter().find_map(|name| answer[*name].as_str());
    let mut words: Vec<String> = whole.into_iter().map(str::to_owned).collect();
    let list = answer["errorMessages"].as_array().into_iter().flatten();
    words.extend(list.filter_map(|one| one.as_str().map(str::to_owned)));
    match &answer["errors"] {
        // Jira: what is wrong with which field.
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &str)> = fields
                .iter()
                .filter_map(|(name, fault)| Some((name, fault.as_str()?)))
                .collect();
            fields.sort_unstable();
            words.extend(fields.iter().map(|(name, fault)| format!("{name}: {fault}")));
        }
        // GitHub: an object for each field, or a text.
        Value::Array(faults) => words.extend(faults.iter().filter_map(|fault| {
            let text = fault.as_str().or(fault["message"].as_str());
            text.map(str::to_owned)
                .or_else(|| Some(format!("{} {}", fault["field"].as_str()?, fault["code"].as_str()?)))
        })),
        _ => {}
    }
    words.truncate(SENTENCES);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> Failure {
        Failure::Status {
            status,
            text: String::new(),
        }
    }

    #[test]
    fn a_deed_is_certain_only_where_it_was_turned_away() {
        let check = |failure: Failure, expected: &str| {
            let found = match failure.clone().of_a_deed("t") {
                ToolError::DidNotHappen { retry: true, .. } => "did not happen, retry",
                ToolError::DidNotHappen { .. } => "did not happen",
                ToolError::MayHaveHappened { .. } => "may have happened",
                ToolError::Refused { .. } => "refused",
                ToolError::Absent { .. } => "absent",
            };
            assert_eq!(found, expected, "{failure}");
        };
        check(Failure::NotSent("refused".into()), "did not happen, retry");
        check(Failure::Limited { wait_s: 60 }, "did not happen, retry");
        check(Failure::NoAnswer("late".into()), "may have happened");
        check(Failure::Garbled("page".into()), "may have happened");
        check(Failure::TooLarge { limit: 1 }, "may have happened");
        check(status(302), "did not happen");
        check(status(400), "did not happen");
        check(status(401), "refused");
        check(status(403), "refused");
        check(status(404), "did not happen");
        check(status(409), "did not happen");
        check(status(422), "did not happen");
        check(status(429), "did not happen, retry");
        check(status(500), "may have happened");
        check(status(503), "may have happened");
    }

    #[test]
    fn a_question_never_happened() {
        let check = |failure: Failure, retry: bool| {
            let expected = match retry {
                true => matches!(
                    failure.clone().of_a_question("t"),
                    ToolError::DidNotHappen { retry: true, .. }
                ),
                false => matches!(failure.clone().of_a_question("t"), ToolError::Refused { .. }),
            };
            assert!(expected, "{failure}");
        };
        check(Failure::NotSent("refused".into()), true);
        check(Failure::Limited { wait_s: 60 }, true);
        check(Failure::NoAnswer("late".into()), true);
        check(Failure::Garbled("page".into()), true);
        check(Failure::TooLarge { limit: 1 }, false);
        check(status(302), false);
        check(status(400), false);
        check(status(403), false);
        check(status(422), false);
        check(status(429), true);
        check(status(503), true);
    }

    #[test]
    fn words_of_servers() {
        assert_eq!(words(br#"{"status":"error","error":"parse error"}"#), "parse error");
        assert_eq!(words(br#"{"kind":"Status","message":"no"}"#), "no");
        assert_eq!(words(b"parse error at line 1"), "parse error at line 1");
        let github = br#"{"message":"Validation Failed","errors":[{"resource":"Issue","code":"missing_field","field":"title"}]}"#;
        assert_eq!(words(github), "Validation Failed; title missing_field");
        let jira =
            br#"{"errorMessages":[],"errors":{"summary":"You must specify a summary.","issuetype":"is required"}}"#;
        assert_eq!(
            words(jira),
            "issuetype: is required; summary: You must specify a summary."
        );
        assert_eq!(words(b"<html>Bad Gateway</html>"), "");
        assert_eq!(words(b"token: abcdef"), "token: [redacted]");
    }
}
