//! Since when a log has taken nothing of what senders brought. An append that its caller gives up (a request whose time is over)
//! counts as refused: nobody is there to see it fail.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::log::LogError;

/// How long the last refusal is told of when nobody asks any more. Longer: an installation without senders is "not ready" though its
/// log is well again; shorter: one whose senders come back rarely seems well in between.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Shared by all clones.
#[derive(Clone, Default)]
pub(super) struct Refusals(Arc<Mutex<Option<Refused>>>);

struct Refused {
    since: Instant,
    last: Instant,
    cause: String,
}

/// One append. Dropped without a word, it was given up.
pub(super) struct Attempt {
    refusals: Refusals,
    cause: Option<String>,
}

impl Refusals {
    pub fn attempt(&self) -> Attempt {
        Attempt {
            refusals: self.clone(),
            cause: Some("no answer before the caller's time was over".to_owned()),
        }
    }

    /// What is said of it now; `None` when the last append was stored.
    pub fn now(&self) -> Option<String> {
        self.at(Instant::now())
    }

    fn at(&self, now: Instant) -> Option<String> {
        let refused = self.refused();
        let refused = refused.as_ref().filter(|refused| now - refused.last < REMEMBERED)?;
        let seconds = (now - refused.since).as_secs();
        Some(format!("nothing was stored for {seconds} s: {}", refused.cause))
    }

    fn note(&self, cause: String, now: Instant) {
        let mut refused = self.refused();
        // A refusal long after the last one is the first of another trouble.
        let going_on = refused.as_ref().filter(|refused| now - refused.last < REMEMBERED);
        let since = going_on.map_or(now, |refused| refused.since);
        *refused = Some(Refused {
            since,
            last: now,
            cause,
        });
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, Option<Refused>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    pub fn stored(mut self) {
        self.cause = None;
        *self.refusals.refused() = None;
    }

    /// A record that the log would never take says nothing about the log.
    pub fn failed(mut self, error: &LogError) {
        let lasting = matches!(error, LogError::Unavailable { .. } | LogError::Fatal { .. });
        self.cause = lasting.then(|| error.to_string());
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(cause) = self.cause.take() {
            self.refusals.note(cause, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> LogError {
        LogError::Unavailable {
            doing: "appending".to_owned(),
            cause: "the broker is away".to_owned(),
        }
    }

    #[test]
    fn a_refusal_is_told_until_something_is_stored() {
        let refusals = Refusals::default();
        assert_eq!(refusals.now(), None);
        refusals.attempt().failed(&away());
        let said = refusals.now().unwrap();
        assert!(said.contains("the broker is away"), "{said}");
        refusals.attempt().stored();
        assert_eq!(refusals.now(), None);
    }

    #[test]
    fn an_append_that_is_given_up_is_refused() {
        let refusals = Refusals::default();
        drop(refusals.attempt());
        assert!(refusals.now().unwrap().contains("no answer"));
    }

    #[test]
    fn a_record_that_is_too_large_is_no_trouble_of_the_log() {
        let refusals = Refusals::default();
        refusals.attempt().failed(&LogError::TooLarge { size: 2, limit: 1 });
        assert_eq!(refusals.now(), None);
    }

    #[test]
    fn a_trouble_has_one_beginning_and_is_forgotten() {
        let refusals = Refusals::default();
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        for seconds in [0, 40, 80] {
            refusals.note(format!("try {seconds}"), after(seconds));
        }
        assert_eq!(refusals.at(after(90)).unwrap(), "nothing was stored for 90 s: try 80");
        assert_eq!(refusals.at(after(80) + REMEMBERED), None);
        refusals.note("anew".to_owned(), after(500));
        assert_eq!(refusals.at(after(501)).unwrap(), "nothing was stored for 1 s: anew");
    }
}
