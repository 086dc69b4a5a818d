//! Which trace the work at hand belongs to, and where its spans go: W3C Trace Context (<https://www.w3.org/TR/trace-context/>), with the task
//! that runs.
//!
//! Whoever begins something that is traced runs it [`within`] a [`TraceContext`]; whoever calls another system sends [`header`] along; a
//! log line carries [`current`]. A finished [`Span`] goes to the [`Recorder`] of the process, which must not block. Without one nothing is
//! sampled, and all of this costs a look at a task's own memory.
//!
//! What is spawned does not inherit the context: it asks for [`current`] before and runs [`within`] it.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};

use uuid::Uuid;

use crate::time::Instant;

/// The name of the header that carries a [`TraceContext`].
pub const HEADER: &str = "traceparent";

/// A place in a trace. Neither id is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub trace: u128,
    pub span: u64,
    /// Whether its spans are recorded.
    pub sampled: bool,
    /// What the work is about (an incident), for log lines.
    pub subject: Option<Uuid>,
}

impl TraceContext {
    /// The span `span` of the trace about `subject`, sampled as the recorder says.
    pub fn about(subject: Uuid, trace: u128, span: u64) -> Self {
        TraceContext {
            trace,
            span,
            sampled: sampled(trace),
            subject: Some(subject),
        }
    }

    /// A new span: of the caller's trace, whose choice whether it is sampled holds, or of a new one.
    pub fn begun(caller: Option<TraceContext>) -> Self {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        let span = (high ^ low).max(1);
        match caller {
            Some(caller) => TraceContext { span, ..caller },
            None => {
                let trace = Uuid::new_v4().as_u128();
                TraceContext {
                    trace,
                    span,
                    sampled: sampled(trace),
                    subject: None,
                }
            }
        }
    }

    /// Reads a `traceparent`; `None` where it is not one. A later version of it counts for what this one knows.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let version = hex(version, 2)?;
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let context = TraceContext {
            trace: hex(trace, 32)?,
            span: u64::try_from(hex(span, 16)?).ok()?,
            sampled: hex(flags, 2)? & 1 == 1,
            subject: None,
        };
        (context.trace != 0 && context.span != 0).then_some(context)
    }

    /// 32 hex digits.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// 16 hex digits.
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span)
    }
}

/// As in the header.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace,
            self.span,
            u8::from(self.sampled)
        )
    }
}

/// `digits` lower-case hex digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == digits && text.bytes().all(lower)).then(|| u128::from_str_radix(text, 16).ok())?
}

/// What a span is to the systems around it, as OpenTelemetry has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpanKind {
    #[default]
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    Text(String),
    Number(i64),
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Attribute::Text(text.to_owned())
    }
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Attribute::Text(text)
    }
}

impl From<u64> for Attribute {
    fn from(number: u64) -> Self {
        Attribute::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Attribute {
    fn from(number: u32) -> Self {
        Attribute::Number(number.into())
    }
}

/// Something that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub trace: u128,
    pub id: u64,
    pub parent: Option<u64>,
    /// Out of a small set: what tells one from the other is an attribute.
    pub name: Cow<'static, str>,
    pub kind: SpanKind,
    pub started_at: Instant,
    pub ended_at: Instant,
    pub attributes: Vec<(&'static str, Attribute)>,
    /// Spans of other traces, by trace and span.
    pub links: Vec<(u128, u64)>,
    /// Why it failed; `None` where it did not.
    pub error: Option<String>,
}

impl Span {
    /// An instant, without attributes.
    pub fn at(trace: u128, id: u64, name: impl Into<Cow<'static, str>>, at: Instant) -> Self {
        Span {
            trace,
            id,
            parent: None,
            name: name.into(),
            kind: SpanKind::Internal,
            started_at: at,
            ended_at: at,
            attributes: Vec::new(),
            links: Vec::new(),
            error: None,
        }
    }

    pub fn under(self, parent: u64) -> Self {
        Span {
            parent: Some(parent),
            ..self
        }
    }

    pub fn of_kind(self, kind: SpanKind) -> Self {
        Span { kind, ..self }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<Attribute>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }
}

/// Where spans go.
pub trait Recorder: Send + Sync {
    /// Whether spans of `trace` are wanted: the same answer for every span of it.
    fn sampled(&self, trace: u128) -> bool;

    /// Takes a span, or counts that it did not. Never waits.
    fn record(&self, span: Span);
}

static RECORDER: RwLock<Option<Arc<dyn Recorder>>> = RwLock::new(None);

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// From now on spans go to `recorder`; `None`: nowhere.
pub fn install(recorder: Option<Arc<dyn Recorder>>) {
    *RECORDER.write().unwrap_or_else(PoisonError::into_inner) = recorder;
}

fn recorder() -> Option<Arc<dyn Recorder>> {
    RECORDER.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Whether spans of `trace` are recorded.
pub fn sampled(trace: u128) -> bool {
    recorder().is_some_and(|recorder| recorder.sampled(trace))
}

/// Hands a finished span of a trace that is sampled to the recorder.
pub fn record(span: Span) {
    if let Some(recorder) = recorder() {
        recorder.record(span);
    }
}

/// Runs `work` as a part of `context`.
pub async fn within<F: Future>(context: TraceContext, work: F) -> F::Output {
    CURRENT.scope(context, work).await
}

/// What the work at hand is a part of.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|context| *context).ok()
}

/// The value of [`HEADER`] for a call out of the work at hand.
pub fn header() -> Option<String> {
    current().map(|context| context.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn reads_what_it_writes() {
        let context = TraceContext::parse(TEXT).unwrap();
        assert_eq!(context.to_string(), TEXT);
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(
            (context.span_id().as_str(), context.sampled),
            ("b7ad6b7169203331", true)
        );
        // A later version may say more behind it.
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-what-comes";
        assert!(!TraceContext::parse(later).unwrap().sampled);
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692033é-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn work_knows_what_it_belongs_to() {
        assert_eq!(current(), None);
        let context = TraceContext::parse(TEXT).unwrap();
        within(context, async {
            tokio::task::yield_now().await;
            assert_eq!(header().as_deref(), Some(TEXT));
            let inner = TraceContext::begun(current());
            assert_eq!((inner.trace, inner.sampled), (context.trace, true));
            assert_ne!(inner.span, context.span);
            within(inner, async { assert_eq!(current(), Some(inner)) }).await;
            assert_eq!(current(), Some(context));
        })
        .await;
        assert_eq!(current(), None);
    }
}
