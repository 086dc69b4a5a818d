//! The limits of a server, as its answers tell them: of GitHub
//! (<https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>), and of Jira
//! (<https://developer.atlassian.com/cloud/jira/platform/rate-limiting/>), which says `Retry-After` alone.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use http::HeaderMap;
use tokio::time::Instant;

use super::Failure;

/// Longest wait that is believed. Limits are of an hour at most; longer is a mistake or a clock that is wrong.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Where it turned us away without saying for how long, as GitHub advises.
const UNSAID: Duration = Duration::from_secs(60);

/// Until when nothing may be asked.
#[derive(Debug, Default)]
pub struct Limit(Mutex<Option<Instant>>);

impl Limit {
    /// Whether something may be asked now.
    pub fn pass(&self, now: Instant) -> Result<(), Failure> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        if left.is_zero() {
            return Ok(());
        }
        Err(limited(left))
    }

    /// Notes what an answer says about the next question, and tells a refusal for the limit's sake from others.
    pub fn after(&self, headers: &HeaderMap, body: Result<Bytes, Failure>, now: Instant) -> Result<Bytes, Failure> {
        let turned_away = matches!(&body, Err(Failure::Status { status: 403 | 429, .. }));
        let status_429 = matches!(&body, Err(Failure::Status { status: 429, .. }));
        let Some(wait) = wait(headers, turned_away, Utc::now().timestamp()).or(status_429.then_some(UNSAID)) else {
            return body;
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now + wait);
        if turned_away { Err(limited(wait)) } else { body }
    }
}

fn limited(wait: Duration) -> Failure {
    Failure::Limited {
        wait_s: wait.as_secs().max(1),
    }
}

/// How long not to ask; `None`: ask on. `now`: seconds since 1970.
fn wait(headers: &HeaderMap, turned_away: bool, now: i64) -> Option<Duration> {
    let number = |name: &str| -> Option<i64> { headers.get(name)?.to_str().ok()?.trim().parse().ok() };
    let seconds = match (number("retry-after"), number("x-ratelimit-remaining")) {
        (Some(seconds), _) if turned_away => seconds,
        (_, Some(0)) => number("x-ratelimit-reset")?.saturating_sub(now),
        _ => return None,
    };
    // What is over is no wait; the second that is running is.
    let seconds = u64::try_from(seconds).unwrap_or(0).max(1);
    Some(Duration::from_secs(seconds).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn waits() {
        let check = |headers: &[(&'static str, &'static str)], turned_away: bool, expected: Option<u64>| {
            let map = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
                .collect();
            assert_eq!(
                wait(&map, turned_away, 1_000),
                expected.map(Duration::from_secs),
                "{headers:?}"
            );
        };
        let (remaining, reset, after) = ("x-ratelimit-remaining", "x-ratelimit-reset", "retry-after");
        check(&[], false, None);
        check(&[], true, None);
        check(&[(remaining, "12"), (reset, "1060")], false, None);
        check(&[(remaining, "12"), (reset, "1060")], true, None);
        // The last question was answered: the next would not be.
        check(&[(remaining, "0"), (reset, "1060")], false, Some(60));
        check(&[(remaining, "0"), (reset, "1060")], true, Some(60));
        check(&[(remaining, "0"), (reset, "900")], true, Some(1));
        check(&[(remaining, "0")], true, None);
        check(&[(after, "7"), (remaining, "0"), (reset, "1060")], true, Some(7));
        check(&[(after, "7")], false, None);
        check(&[(after, "soon")], true, None);
        check(&[(after, "99999999")], true, Some(3_600));
    }

    #[test]
    fn nothing_is_asked_before_the_time_is_over() {
        let now = Instant::now();
        let limit = Limit::default();
        let refused = || {
            Err(Failure::Status {
                status: 429,
                text: String::new(),
            })
        };
        assert_eq!(limit.pass(now), Ok(()));
        let after = limit.after(&HeaderMap::new(), refused(), now);
        assert_eq!(after, Err(Failure::Limited { wait_s: 60 }));
        assert_eq!(limit.pass(now), Err(Failure::Limited { wait_s: 60 }));
        let now = now + Duration::from_secs(61);
        assert_eq!(limit.pass(now), Ok(()));
        // No rights are no limit.
        let forbidden = Failure::Status {
            status: 403,
            text: "no rights".into(),
        };
        assert_eq!(
            limit.after(&HeaderMap::new(), Err(forbidden.clone()), now),
            Err(forbidden)
        );
        assert_eq!(limit.pass(now), Ok(()));
    }
}
