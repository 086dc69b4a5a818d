//! What a process waits for before it ends: the committing threads of its members, also of those it has lost meanwhile. One
//! that is ending what a broker left open ([`super::transaction`]) must not be cut off in the middle, as the seal itself
//! would then be open until the broker times it out, and nobody reads past it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// Longest wait. A healthy broker takes milliseconds; one that is away must not keep the process.
const WAIT: Duration = Duration::from_secs(15);

/// Counts who has not ended yet.
pub(super) struct Ending(watch::Sender<usize>);

impl Default for Ending {
    fn default() -> Self {
        Ending(watch::Sender::new(0))
    }
}

/// One of them; ends when dropped.
pub(super) struct Entered(watch::Sender<usize>);

impl Ending {
    pub fn enter(&self) -> Entered {
        self.0.send_modify(|open| *open += 1);
        Entered(self.0.clone())
    }

    /// Returns when nobody is left, or after [`WAIT`].
    pub async fn wait(&self) {
        if !self.waited(WAIT).await {
            tracing::warn!(
                threads = *self.0.borrow(),
                "the process ends while a transaction may still be open: readers wait until the broker has timed it out; \
                 `kafka-transactions.sh find-hanging` shows what stays open, and `abort` ends it"
            );
        }
    }

    /// False when somebody is left after `limit`.
    async fn waited(&self, limit: Duration) -> bool {
        let mut open = self.0.subscribe();
        timeout(limit, open.wait_for(|open| *open == 0)).await.is_ok()
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(5);
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn the_last_one_ends_the_wait() {
        let ending = Ending::default();
        assert!(ending.waited(LONG).await);
        let (first, second) = (ending.enter(), ending.enter());
        drop(first);
        assert!(!ending.waited(SHORT).await);
        let (waited, ()) = tokio::join!(ending.waited(LONG), async { drop(second) });
        assert!(waited);
    }
}
