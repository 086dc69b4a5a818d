//! A template's signal: what is told when it is new, or spikes.

use model::{Level, LogBatch, Origin, Severity, SignalId, SignalKind, SignalRow, SignalState, logs};
use serde_json::json;
use stream::{Context, Instant};

use super::counts::News;
use crate::signals_out::SignalsOut;

/// `source` of these signals. Nothing that comes in over `events.raw` has it.
pub const SOURCE: &str = "logs";
/// How their dedup key is made: service and template.
const RULE: &str = "logs/template@1";
/// Bytes of a line or a template's text in a signal.
const MOST_TEXT: usize = 500;

/// A template, and the line that made it worth telling.
pub struct Pattern<'a> {
    pub batch: &'a LogBatch,
    pub environment: &'a str,
    /// The service with all that tells it from others of its name.
    pub service_key: &'a str,
    /// Id and text of the template.
    pub id: &'a str,
    pub text: &'a str,
    pub level: Level,
    /// The first line of it that was ever seen, and this one.
    pub examples: [&'a str; 2],
    /// Whether the template was seen for the first time in this window.
    pub fresh: bool,
    pub news: News,
    /// Width of a window, in microseconds.
    pub width: i64,
    pub received_at: Instant,
    pub origin: Origin,
}

impl Pattern<'_> {
    /// What is evidence at once joins incidents but opens none; a spike of errors, and what is fatal, is worth a page.
    fn severity(&self) -> Severity {
        match (self.level, self.news.spike) {
            (Level::Fatal, true) => Severity::Critical,
            (Level::Fatal, false) | (Level::Error, true) => Severity::Warning,
            _ => Severity::Info,
        }
    }

    pub fn tell(&self, cx: &mut Context<'_, SignalsOut>) {
        let News {
            window,
            count,
            usual,
            spike,
        } = self.news;
        let starts_at = window.saturating_mul(self.width);
        let short = |text| logs::cut(text, MOST_TEXT);
        let (text, service) = (short(self.text), self.batch.service.as_str());
        let seconds = self.width / 1_000_000;
        let usual = usual as f64 / 100.0;
        let reason = if spike { "spike" } else { "new" };
        let title = match (spike, self.fresh) {
            (true, _) => format!("Log spike in {service}: {text}"),
            (false, _) => format!("New {} in the logs of {service}: {text}", self.level),
        };
        let description = format!(
            "{count} lines of this template within {seconds} s, usually {usual}; level {}{}",
            self.level,
            if self.fresh { "; never seen before" } else { "" },
        );
        let mut examples = vec![short(self.examples[0])];
        if self.examples[1] != self.examples[0] {
            examples.push(short(self.examples[1]));
        }
        let dedup_key = format!("logs:{}:{}", self.service_key, self.id);
        // serde_json's maps are sorted: the columns are canonical.
        let labels =
            json!({"level": self.level, "reason": reason, "service": service, "template": self.id}).to_string();
        let annotations = json!({"example": examples[0], "template": text}).to_string();
        let extra = json!({
            "count": count, "examples": examples, "fresh": self.fresh, "usual": usual, "window_s": seconds,
        })
        .to_string();
        // Without the examples and the text, which depend on the order of the lines within the window.
        let said = SignalId::of(&[
            SOURCE.as_bytes(),
            dedup_key.as_bytes(),
            &starts_at.to_le_bytes(),
            labels.as_bytes(),
            &count.to_le_bytes(),
        ]);
        let effective_at = starts_at.min(self.received_at.0);
        if cx.behind(Instant(effective_at)) {
            cx.accounting().amended += 1;
        }
        let row = SignalRow {
            id: said,
            tenant: &self.batch.tenant,
            environment: self.environment,
            source: SOURCE,
            kind: SignalKind::LogPattern,
            state: SignalState::Event,
            dedup_key: &dedup_key,
            dedup_rule: RULE,
            event_at: starts_at,
            observed_at: self.received_at.0,
            effective_at,
            ends_at: None,
            severity: self.severity(),
            title: &title,
            description: Some(&description),
            service: Some(service),
            cluster: self.batch.cluster.as_deref(),
            namespace: self.batch.namespace.as_deref(),
            group: None,
            labels: &labels,
            annotations: &annotations,
            extra: Some(&extra),
            digest: said.0.as_u128() as u64,
            origin: self.origin,
            transition: None,
        };
        cx.emit(dedup_key.as_bytes(), &row);
        cx.accounting()
            .produce(if spike { "log-spike" } else { "new-template" });
    }
}
