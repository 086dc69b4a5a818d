//! A language model, for wording only. Off unless it has a URL.
//!
//! ```text
//! output ─► evidence as data ─► model ─► claims: {about, text, citations} ─► those whose citations exist are appended, marked as the model's
//! ```
//!
//! What it may change: it appends words to the summary of a finding and to the root cause, impact and resolution of a report. What it cannot: kinds,
//! facts, severities, actions, their arguments; the fixer and triage do not ask it. When it fails in any way, the deterministic output
//! stands and `unknown` says so. It is asked once a step; there are no retries.

mod claims;
mod client;
mod prompt;
mod settings;

use std::time::Duration;

use model::investigation::{Evidence, StepOutput};
use tokio::time::Instant;

pub use settings::ModelSettings;

/// Why there are no words of the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWords {
    #[error("the evidence needs more than the {budget} tokens of a step (model.tokens_per_step)")]
    TooMuch { budget: u32 },
    #[error("it did not answer within {0:?}")]
    TimedOut(Duration),
    #[error("{0}")]
    Unreachable(String),
    #[error("it answered HTTP {0}")]
    Status(u16),
    #[error("its answer is longer than {0} bytes (model.max_reply)")]
    TooLong(u64),
    #[error("its answer is not what was asked for: {0}")]
    Malformed(String),
}

/// The model of one step.
pub struct Reasoner<'a> {
    settings: &'a ModelSettings,
}

impl<'a> Reasoner<'a> {
    /// `None` where no model is configured.
    pub fn new(settings: &'a ModelSettings) -> Option<Self> {
        settings.enabled().then_some(Reasoner { settings })
    }

    /// Asks for words about `output` and adds those that hold. Returns the tokens used, as the endpoint counts them, else as
    /// they are estimated.
    pub async fn word(&self, evidence: &Evidence, output: &mut StepOutput, until: Instant) -> u64 {
        if output.findings.is_empty() && output.postmortem.is_none() {
            return 0;
        }
        let prompt = match prompt::write(evidence, output, self.settings.tokens_per_step) {
            Ok(prompt) => prompt,
            Err(error) => return self.missed(&error, output, 0),
        };
        // What was sent may be charged for, whether an answer came or not.
        let sent = u64::from(prompt.tokens);
        let left = until
            .saturating_duration_since(Instant::now())
            .min(self.settings.timeout.get());
        let answer = match tokio::time::timeout(left, client::ask(self.settings, &prompt)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return self.missed(&error, output, sent),
            Err(_) => return self.missed(&NoWords::TimedOut(left), output, sent),
        };
        let tokens = answer.tokens.unwrap_or(sent + prompt::estimate(&answer.content));
        match claims::read(&answer.content) {
            Ok(claims) => {
                claims::apply(&claims, output);
                tokens
            }
            Err(error) => self.missed(&error, output, tokens),
        }
    }

    fn missed(&self, error: &NoWords, output: &mut StepOutput, tokens: u64) -> u64 {
        output.unknown.push(format!("how the model would word it: {error}"));
        tokens
    }
}
