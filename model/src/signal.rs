//! A signal: one normalised statement of a sender. The row form borrows (the hot lane reads it straight from Arrow
//! columns); the owned form is for state and tests.

use serde::{Deserialize, Serialize};

use crate::{EpisodeId, Severity, SignalId};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }

            /// Reads the word as written in columns and JSON.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some($name::$variant),)+ _ => None }
            }
        }
    };
}

words! {
    /// What a signal is about.
    SignalKind {
        Alert = "alert",
        /// A deployment, a configuration change.
        Change = "change",
        ClusterEvent = "cluster_event",
        LogPattern = "log_pattern",
        Security = "security",
    }
}

words! {
    /// What a signal says.
    SignalState {
        /// The condition holds.
        Firing = "firing",
        /// The condition ended at `ends_at`.
        Resolved = "resolved",
        /// It happened; there is no end to wait for (changes, notices).
        Event = "event",
        /// The condition holds at `event_at`; since when, the sender does not say. Ends in dedupe, which knows whether it held
        /// already: behind it stands `Firing`.
        Triggered = "triggered",
        /// The condition holds no more since `ends_at`; since when it held, the sender does not say. Behind dedupe stands
        /// `Resolved`.
        Cleared = "cleared",
        /// Somebody took up at `event_at` what holds then.
        Acknowledged = "acknowledged",
    }
}

words! {
    /// What dedupe made of a signal.
    TransitionKind {
        New = "new",
        Updated = "updated",
        Resolved = "resolved",
        /// A new episode of an alert that had ended.
        Reopened = "reopened",
        /// Somebody took the firing up.
        Acknowledged = "acknowledged",
        /// The firing was over because nobody said it again, and now somebody did: it is not over.
        Revived = "revived",
    }
}

/// Where a signal's bytes stand in `events.raw`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    pub partition: u32,
    pub offset: u64,
    /// Which element of a split body.
    pub index: u32,
}

/// Dedupe's verdict, on rows of `transitions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    pub kind: TransitionKind,
    /// The firing this belongs to.
    pub episode: EpisodeId,
    /// Repeats of this episode swallowed so far.
    pub repeats: u64,
}

/// A signal, borrowed. Times are microseconds since the epoch; JSON columns are canonical (sorted keys).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignalRow<'a> {
    pub id: SignalId,
    pub tenant: &'a str,
    /// With `tenant`, the correlation domain.
    pub environment: &'a str,
    /// Kind of sender: `alertmanager`, `grafana`, `events`.
    pub source: &'a str,
    pub kind: SignalKind,
    pub state: SignalState,
    /// Equal keys are the same alert.
    pub dedup_key: &'a str,
    /// Rule and version that made the key: `alertmanager/fingerprint@1`.
    pub dedup_rule: &'a str,
    /// The sender's clock: when the condition began (or the event happened).
    pub event_at: i64,
    /// Our clock: when the bytes arrived.
    pub observed_at: i64,
    /// `event_at` after the skew clamp: what moves watermarks.
    pub effective_at: i64,
    /// When the condition ended. On `signals` also, of one that holds, its term: until then it holds unless it is said again.
    pub ends_at: Option<i64>,
    pub severity: Severity,
    pub title: &'a str,
    pub description: Option<&'a str>,
    pub service: Option<&'a str>,
    pub cluster: Option<&'a str>,
    pub namespace: Option<&'a str>,
    /// A group that the sender declared on the signal itself.
    pub group: Option<&'a str>,
    /// JSON object of strings.
    pub labels: &'a str,
    /// JSON object of strings.
    pub annotations: &'a str,
    /// JSON object of what the decoder did not know.
    pub extra: Option<&'a str>,
    /// Digest of everything the sender said; differs when the content changed.
    pub digest: u64,
    pub origin: Origin,
    pub transition: Option<Transition>,
}

/// A signal, owned. Same fields as [`SignalRow`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    pub id: SignalId,
    pub tenant: String,
    pub environment: String,
    pub source: String,
    pub kind: SignalKind,
    pub state: SignalState,
    pub dedup_key: String,
    pub dedup_rule: String,
    pub event_at: i64,
    pub observed_at: i64,
    pub effective_at: i64,
    pub ends_at: Option<i64>,
    pub severity: Severity,
    pub title: String,
    pub description: Option<String>,
    pub service: Option<String>,
    pub cluster: Option<String>,
    pub namespace: Option<String>,
    pub group: Option<String>,
    pub labels: String,
    pub annotations: String,
    pub extra: Option<String>,
    pub digest: u64,
    pub origin: Origin,
    pub transition: Option<Transition>,
}

impl SignalRow<'_> {
    pub fn to_signal(&self) -> Signal {
        Signal {
            id: self.id,
            tenant: self.tenant.into(),
            environment: self.environment.into(),
            source: self.source.into(),
            kind: self.kind,
            state: self.state,
            dedup_key: self.dedup_key.into(),
            dedup_rule: self.dedup_rule.into(),
            event_at: self.event_at,
            observed_at: self.observed_at,
            effective_at: self.effective_at,
            ends_at: self.ends_at,
            severity: self.severity,
            title: self.title.into(),
            description: self.description.map(Into::into),
            service: self.service.map(Into::into),
            cluster: self.cluster.map(Into::into),
            namespace: self.namespace.map(Into::into),
            group: self.group.map(Into::into),
            labels: self.labels.into(),
            annotations: self.annotations.into(),
            extra: self.extra.map(Into::into),
            digest: self.digest,
            origin: self.origin,
            transition: self.transition,
        }
    }

    /// The correlation domain: `tenant/environment`.
    pub fn domain(&self) -> String {
        format!("{}/{}", self.tenant, self.environment)
    }

    /// When the condition is stated to have ended; `None` while it holds, whatever its term.
    pub fn end(&self) -> Option<i64> {
        self.ends_at
            .filter(|_| matches!(self.state, SignalState::Resolved | SignalState::Cleared))
    }

    /// Which firing of the alert this is about.
    pub fn episode(&self) -> EpisodeId {
        EpisodeId::of(self.dedup_key, self.event_at)
    }
}

impl Signal {
    pub fn row(&self) -> SignalRow<'_> {
        SignalRow {
            id: self.id,
            tenant: &self.tenant,
            environment: &self.environment,
            source: &self.source,
            kind: self.kind,
            state: self.state,
            dedup_key: &self.dedup_key,
            dedup_rule: &self.dedup_rule,
            event_at: self.event_at,
            observed_at: self.observed_at,
            effective_at: self.effective_at,
            ends_at: self.ends_at,
            severity: self.severity,
            title: &self.title,
            description: self.description.as_deref(),
            service: self.service.as_deref(),
            cluster: self.cluster.as_deref(),
            namespace: self.namespace.as_deref(),
            group: self.group.as_deref(),
            labels: &self.labels,
            annotations: &self.annotations,
            extra: self.extra.as_deref(),
            digest: self.digest,
            origin: self.origin,
            transition: self.transition,
        }
    }
}
