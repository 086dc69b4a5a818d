//! From what a decoder understood to a signal row: everything that does not depend on the sender.

use std::time::Duration;

use metrics::counter;
use model::{Origin, Severity, SignalId, SignalKind, SignalRow, SignalState};
use serde_json::value::RawValue;
use stream::time::micros;
use stream::{Context, Disposition, Instant};
use twox_hash::XxHash3_64;

use super::canonical::push_string;
use super::extra::Extra;
use super::fault::Fault;
use super::json::Pairs;
use super::settings::NormalizeSettings;
use crate::signals_out::SignalsOut;

/// Longest dedup key, in bytes. Keys live in state; a longer one is a mistake in the sender's template.
const MAX_KEY_BYTES: usize = 1_024;
/// Longest name of a sender instance, in bytes: it is remembered for the watermark.
const MAX_SENDER_BYTES: usize = 128;

/// What a decoder understood of one element. Options are what the sender said outside its labels; where they are
/// `None` the labels decide.
pub struct Draft<'a, 'e> {
    /// Kind of sender.
    pub source: &'static str,
    pub kind: SignalKind,
    pub state: SignalState,
    /// The dedup key's beginning, written as it is.
    pub prefix: &'a [&'a str],
    /// The parts behind it, each after a colon, with `:` and `%` escaped: a colon in a part does not make it two.
    pub key: &'a [&'a str],
    pub rule: &'a str,
    /// Start of the episode, also when it is resolved. Of what is triggered, cleared or acknowledged: when.
    pub event_at: i64,
    /// The end, set when resolved or cleared; of what fires, its term, if it has one.
    pub ends_at: Option<i64>,
    pub severity: Option<&'a str>,
    pub title: Option<&'a str>,
    pub description: Option<&'a str>,
    pub service: Option<&'a str>,
    pub environment: Option<&'a str>,
    pub group: Option<&'a str>,
    pub labels: &'a Pairs<'a>,
    pub annotations: &'a Pairs<'a>,
    pub extra: &'a mut Extra<'e>,
}

impl Draft<'_, '_> {
    /// The stated end. A term is none: it moves with every sending, and says nothing new about the alert.
    fn end(&self) -> Option<i64> {
        self.ends_at
            .filter(|_| matches!(self.state, SignalState::Resolved | SignalState::Cleared))
    }

    /// Whether the sender names the firing that it speaks of. One that does not says the same at another time.
    fn names_its_start(&self) -> bool {
        !matches!(
            self.state,
            SignalState::Triggered | SignalState::Cleared | SignalState::Acknowledged
        )
    }
}

/// Buffers used again for every element. Nothing in them outlives the element: they are not state.
#[derive(Debug, Default)]
pub struct Scratch {
    key: String,
    /// Labels, annotations and the rest of what the digest covers, in one piece.
    content: String,
    title: String,
    extra: String,
}

/// Takes the elements of one body.
pub struct Lane<'l, 'c> {
    pub settings: &'l NormalizeSettings,
    pub scratch: &'l mut Scratch,
    pub cx: &'l mut Context<'c, SignalsOut>,
    pub origin: Origin,
    /// When the body was received, in microseconds.
    pub observed_at: i64,
    /// The elements to take; empty: all.
    pub only: &'l [u32],
}

impl Lane<'_, '_> {
    /// Decodes each of `elements` with `decode`, which must end in [`Lane::emit`] or a fault. A faulty element is refused
    /// by itself. `pointer` leads from the body to the array.
    pub fn elements(
        &mut self,
        body: &str,
        pointer: &str,
        elements: &[&RawValue],
        mut decode: impl FnMut(&mut Self, &str) -> Result<(), Fault>,
    ) {
        for (index, element) in elements.iter().enumerate() {
            if !self.wants(index) {
                continue;
            }
            if let Err(fault) = decode(self, element.get()) {
                self.refuse(fault, body, &format!("{pointer}/{index}"), element.get());
            }
        }
    }

    /// Makes `index` the current element. An element that is not to be taken is accounted for here, and left out.
    pub fn wants(&mut self, index: usize) -> bool {
        self.origin.index = index as u32;
        let wanted = self.only.is_empty() || self.only.contains(&self.origin.index);
        if !wanted {
            self.cx.item(Disposition::Suppressed {
                rule: "taken-the-first-time",
            });
        }
        wanted
    }

    /// Refuses the current element of a split body.
    pub fn refuse(&mut self, fault: Fault, body: &str, pointer: &str, element: &str) {
        self.cx
            .reject(fault.into_reject(Some(self.origin.index), pointer, body, element));
    }

    /// Emits one signal, accounts for it, and tells the ingress runner how far `sender` (kind and instance) has come.
    pub fn emit(&mut self, draft: Draft<'_, '_>, sender: &[&str]) -> Result<(), Fault> {
        let (labels, annotations) = (draft.labels, draft.annotations);
        let scratch = &mut *self.scratch;

        scratch.key.clear();
        draft.prefix.iter().for_each(|part| scratch.key.push_str(part));
        draft.key.iter().for_each(|part| push_key_part(&mut scratch.key, part));
        if scratch.key.len() > MAX_KEY_BYTES {
            let detail = format!(
                "the dedup key takes {} bytes; at most {MAX_KEY_BYTES} are taken",
                scratch.key.len()
            );
            return Err(Fault::new("too_large", "", detail));
        }

        let content = &mut scratch.content;
        content.clear();
        labels.push_json(content);
        let labels_end = content.len();
        annotations.push_json(content);
        let annotations_end = content.len();
        let max_bytes = self.settings.max_signal_bytes as usize;
        scratch.extra.clear();
        if !draft.extra.items.is_empty() {
            draft.extra.push_json(&mut scratch.extra, content, max_bytes / 8)?;
        }
        for said in [
            draft.severity,
            draft.title,
            draft.description,
            draft.service,
            draft.environment,
            draft.group,
        ] {
            match said {
                Some(text) => push_string(content, text),
                None => content.push('-'),
            }
        }
        let bytes = content.len() + scratch.extra.len();
        if bytes > max_bytes {
            return Err(Fault::new(
                "too_large",
                "",
                format!("the signal takes {bytes} bytes; at most {max_bytes} are taken"),
            ));
        }
        let digest = digest(content, &draft);

        let settings = self.settings;
        let service = draft.service.or_else(|| labels.first_of(&settings.service_labels));
        let title = match draft.title {
            Some(title) => title,
            None => {
                push_title(&mut scratch.title, labels, service);
                let summary = annotations.get("summary").unwrap_or_default();
                if let Some(value) = value_behind(&scratch.title, summary) {
                    scratch.title.push_str(value);
                }
                &scratch.title
            }
        };
        let event_at = draft.event_at;
        let row = SignalRow {
            id: SignalId::of(&[
                draft.source.as_bytes(),
                scratch.key.as_bytes(),
                &event_at.to_le_bytes(),
                draft.state.as_str().as_bytes(),
                draft
                    .end()
                    .map(i64::to_le_bytes)
                    .as_ref()
                    .map_or(&[], <[u8; 8]>::as_slice),
                &digest.to_le_bytes(),
            ]),
            tenant: Some(&*settings.tenant_label)
                .filter(|l| !l.is_empty())
                .and_then(|l| labels.get(l))
                .unwrap_or(&settings.tenant),
            environment: draft
                .environment
                .or_else(|| labels.first_of(&settings.environment_labels))
                .unwrap_or(&settings.environment),
            source: draft.source,
            kind: draft.kind,
            state: draft.state,
            dedup_key: &scratch.key,
            dedup_rule: draft.rule,
            event_at,
            observed_at: self.observed_at,
            effective_at: effective(settings, self.observed_at, &draft),
            ends_at: draft.ends_at,
            severity: severity(settings, &draft),
            title,
            description: draft
                .description
                .or_else(|| annotations.first_of(&["summary", "description"])),
            service,
            cluster: labels.first_of(&settings.cluster_labels),
            namespace: labels.first_of(&settings.namespace_labels),
            group: draft.group.or_else(|| labels.first_of(&settings.group_labels)),
            labels: &scratch.content[..labels_end],
            annotations: &scratch.content[labels_end..annotations_end],
            extra: Some(&*scratch.extra).filter(|extra| !extra.is_empty()),
            digest,
            origin: self.origin,
            transition: None,
        };
        if row.end().is_some_and(|end| end < row.event_at) {
            counter!("aegis_ends_before_start_total", "source" => draft.source).increment(1);
        }
        let effective_at = Instant(row.effective_at);
        self.cx.emit(scratch.key.as_bytes(), &row);
        self.cx.item(Disposition::Forwarded);
        self.observe(sender, effective_at);
        Ok(())
    }

    fn observe(&mut self, sender: &[&str], at: Instant) {
        let name = &mut self.scratch.title;
        name.clear();
        sender.iter().for_each(|part| name.push_str(part));
        let mut end = name.len().min(MAX_SENDER_BYTES);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        self.cx.observe_sender(&name[..end], at);
    }
}

/// Digest of everything the sender said: the texts, then what is not text. Where the sender gave no time, the time of arrival is none that it
/// said: the same body later is the same statement.
fn digest(content: &str, draft: &Draft<'_, '_>) -> u64 {
    let timeless = draft.extra.items.iter().any(|item| item.name == "time_from");
    let mut said = [0; 26];
    said[..8].copy_from_slice(&XxHash3_64::oneshot(content.as_bytes()).to_le_bytes());
    // No sender's time is this early.
    let (start, end) = match (draft.names_its_start(), timeless) {
        (false, _) => (i64::MIN, None),
        (true, true) => (i64::MIN, draft.end()),
        (true, false) => (draft.event_at, draft.end()),
    };
    said[8..16].copy_from_slice(&start.to_le_bytes());
    said[16..24].copy_from_slice(&end.unwrap_or(i64::MIN).to_le_bytes());
    (said[24], said[25]) = (draft.kind as u8, draft.state as u8);
    XxHash3_64::oneshot(&said)
}

/// What moves watermarks: the end when resolved, else the start, but never far after we received it.
fn effective(settings: &NormalizeSettings, observed_at: i64, draft: &Draft<'_, '_>) -> i64 {
    let said = draft.end().unwrap_or(draft.event_at);
    let limit = observed_at.saturating_add(micros(Duration::from_secs(settings.max_future_skew_s.into())));
    if said > limit {
        counter!("aegis_far_future_total", "source" => draft.source).increment(1);
    }
    said.min(limit)
}

/// A word that nobody agreed on, or none, is a warning: it must not hide an alert nor wake anybody as critical would.
/// What merely happened is info.
fn severity(settings: &NormalizeSettings, draft: &Draft<'_, '_>) -> Severity {
    match draft
        .severity
        .or_else(|| draft.labels.first_of(&settings.severity_labels))
    {
        Some(word) => Severity::from_sender(word).unwrap_or(Severity::Warning),
        None if draft.state == SignalState::Event => Severity::Info,
        None => Severity::Warning,
    }
}

/// Longest value that a title takes over from a summary, with its brackets.
const VALUE_CHARS: usize = 24;

/// The value in brackets with which the sender's own summary goes on behind this very title, ` (95%)`: a number and a unit, no words.
/// Of several statements about one alert correlate takes the title of the same one, whatever comes first (docs/canonical.md).
fn value_behind<'a>(title: &str, summary: &'a str) -> Option<&'a str> {
    let value = summary.trim_end().strip_prefix(title)?;
    let inside = value.strip_prefix(" (")?.strip_suffix(')')?;
    let number = inside.trim_start_matches(['+', '-', '~', '>', '<', '=', ' ']);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ',' | '%' | '/' | '°' | 'µ' | '-' | ' ');
    let fits = value.chars().count() <= VALUE_CHARS
        && number.starts_with(|c: char| c.is_ascii_digit())
        && number.chars().all(plain)
        && number.chars().filter(char::is_ascii_alphabetic).count() <= 6;
    fits.then_some(value)
}

/// From labels only, so that an alert is called the same wherever it is spoken of.
fn push_title(title: &mut String, labels: &Pairs<'_>, service: Option<&str>) {
    title.clear();
    title.push_str(labels.get("alertname").unwrap_or("Alert"));
    if let Some(place) = service.or_else(|| labels.first_of(&["instance", "pod"])) {
        title.push_str(" on ");
        title.push_str(place);
    }
}

fn push_key_part(key: &mut String, part: &str) {
    key.push(':');
    let mut rest = part;
    while let Some(at) = rest.find([':', '%']) {
        key.push_str(&rest[..at]);
        key.push_str(if rest.as_bytes()[at] == b':' { "%3A" } else { "%25" });
        rest = &rest[at + 1..];
    }
    key.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_behind_titles() {
        let check = |summary: &str, expected: Option<&str>| {
            assert_eq!(
                value_behind("High Memory Usage on api-server", summary),
                expected,
                "{summary}"
            );
        };
        check("High Memory Usage on api-server (95%)", Some(" (95%)"));
        check("High Memory Usage on api-server (95.01%) ", Some(" (95.01%)"));
        check("High Memory Usage on api-server (> 1.5 GiB/s)", Some(" (> 1.5 GiB/s)"));
        for other in [
            "",
            "High Memory Usage on api-server",
            "High Memory Usage on api-server ()",
            "High Memory Usage on api-server (restart it)",
            "High Memory Usage on api-server (95% and then restart it)",
            "High Memory Usage on api-server (95%) now",
            "High Memory Usage on api-server-2 (95%)",
            "High memory usage on api-server (95%)",
            "High Memory Usage on api-server (9\u{202e}5%)",
            "High Memory Usage on api-server (1111111111111111111111111111)",
        ] {
            check(other, None);
        }
    }
}
