//! How long to wait before the next try.

use std::time::Duration;

/// The first wait. Shorter: a server that has just come up is asked by everybody at once.
const FIRST: Duration = Duration::from_millis(500);

/// Doubles up to a bound, each wait shortened by up to a half by chance, so that several watches do not ask in step.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    pub fn new(most: Duration) -> Self {
        Backoff {
            next: FIRST.min(most),
            most,
        }
    }

    /// It went well: the next failure waits shortly again.
    pub fn reset(&mut self) {
        self.next = FIRST.min(self.most);
    }

    /// The wait after a failure. `asked`: what the server wants at least, which the bound covers too. `chance`: of 0 to 255.
    pub fn wait(&mut self, asked: Option<Duration>, chance: u8) -> Duration {
        let full = self.next;
        self.next = full.saturating_mul(2).min(self.most);
        let shortened = full - full / 2 * u32::from(chance) / 255;
        shortened.max(asked.unwrap_or_default()).min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits() {
        let seconds = |s: f64| Duration::from_secs_f64(s);
        let mut backoff = Backoff::new(seconds(3.0));
        let waits: Vec<Duration> = (0..5).map(|_| backoff.wait(None, 0)).collect();
        assert_eq!(waits, [0.5, 1.0, 2.0, 3.0, 3.0].map(seconds));
        assert_eq!(backoff.wait(None, 255), seconds(1.5));
        backoff.reset();
        assert_eq!(backoff.wait(Some(seconds(2.0)), 0), seconds(2.0));
        assert_eq!(
            backoff.wait(Some(seconds(900.0)), 0),
            seconds(3.0),
            "nobody makes us wait for ever"
        );
    }
}
