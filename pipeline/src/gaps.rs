//! Closing gaps: what GitHub's webhook could not deliver is asked for afterwards.
//!
//! GitHub sends nothing a second time by itself, and keeps for three days what it sent and what it was answered. Each round lists the
//! attempts since the one before, and takes in what no attempt got through (`Open`), oldest first, by the way of the door
//! (`sources::webhook::Fetched`). A delivery that GitHub thinks lost and that is here all the same (the answer got lost) is a repeat, which
//! dedupe recognises; so nothing here has to be remembered beyond the process, and after a restart the three days are looked
//! through again.
//!
//! Where GitHub is down, slow or answers rubbish, the next round tries again; its limits are kept to the second that it names. What has been
//! answered with 2xx is taken to be here: we answer so only when it is durable.
//!
//! Of several instances that share a Redis one looks (`crate::duty`). What is taken in is no transaction of the store, so an instance that is
//! overtaken between its last look at the fence and the log takes a delivery in a second time: a repeat, like any other.
//!
//! Not here: webhooks of GitHub Apps (their list of deliveries asks for a signed token), and deliveries that somebody else answered.

mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, HeaderName, HeaderValue};
use sources::webhook::Fetched;
use stream::{Clock, Ingress};
use tokio_util::sync::CancellationToken;
use tools::github::hooks::{Delivery, Hook};
use tools::wire::Failure;

use crate::config::Config;
use crate::duty::Duty;

pub use settings::{GapSettings, GithubHook};

/// Pages of one round. More deliveries than these hold wait for the next.
const PAGES: usize = 200;
/// Rounds look back a little behind the last: an attempt may be listed after a later one.
const OVERLAP: TimeDelta = TimeDelta::minutes(15);

/// Watches one webhook.
pub struct GapCloser {
    name: String,
    hook: Hook,
    fetched: Arc<Fetched>,
    clock: Arc<dyn Clock>,
    every: Duration,
    within: TimeDelta,
    duty: Duty,
    open: Open,
    /// Until when the list is known.
    listed_to: Option<DateTime<Utc>>,
}

/// What a round came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Taken in.
    pub closed: u32,
    /// Cannot be taken in: refused, or no longer kept by GitHub.
    pub lost: u32,
}

impl GapCloser {
    /// One for each webhook of the configuration; `duty` says by name of the job whose turn it is.
    pub fn all(
        config: &Config,
        ingress: &Ingress,
        clock: &Arc<dyn Clock>,
        mut duty: impl FnMut(&str) -> Duty,
    ) -> anyhow::Result<Vec<Self>> {
        let settings = &config.gaps;
        let mut all = Vec::new();
        if settings.github.is_empty() {
            return Ok(all);
        }
        let fetched = Arc::new(Fetched::github(&config.dispatcher, ingress.clone(), clock.clone())?);
        for (name, hook) in &settings.github {
            all.push(GapCloser {
                name: name.clone(),
                hook: hook.connect()?,
                fetched: fetched.clone(),
                clock: clock.clone(),
                every: settings.every.get(),
                within: TimeDelta::from_std(settings.within.get()).unwrap_or(TimeDelta::days(3)),
                duty: duty(&format!("gaps.{name}")),
                open: Open::default(),
                listed_to: None,
            });
        }
        Ok(all)
    }

    /// Round after round until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let duty = self.duty.clone();
            let pause = tokio::select! {
                () = stop.cancelled() => return,
                pause = async {
                    duty.mine().await;
                    self.turn().await
                } => pause,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// A round, told to the metrics and the log; how long to wait for the next.
    async fn turn(&mut self) -> Duration {
        let mut round = Round::default();
        let outcome = self.round(&mut round).await;
        let hook = self.name.clone();
        metrics::counter!("aegis_github_gaps_closed_total", "hook" => hook.clone()).increment(round.closed.into());
        metrics::counter!("aegis_github_gaps_lost_total", "hook" => hook.clone()).increment(round.lost.into());
        metrics::gauge!("aegis_github_gaps_open", "hook" => hook.clone()).set(self.open.count() as f64);
        if round != Round::default() {
            let Round { closed, lost } = round;
            tracing::info!(
                hook,
                closed,
                lost,
                "deliveries that GitHub could not get through were fetched"
            );
        }
        let word = match &outcome {
            Ok(()) => "done",
            Err(_) => "failed",
        };
        metrics::counter!("aegis_github_gap_rounds_total", "hook" => hook.clone(), "outcome" => word).increment(1);
        let Err(trouble) = outcome else { return self.every };
        tracing::warn!(
            hook,
            detail = trouble.detail,
            "the deliveries of a webhook cannot be looked through: later again"
        );
        self.every.max(trouble.wait)
    }

    async fn round(&mut self, round: &mut Round) -> Result<(), Trouble> {
        let began = self.clock.now().to_datetime();
        self.list(began).await?;
        self.open.forget(began - self.within);
        let mut first = None;
        for delivery in self.open.oldest_first() {
            if !self.duty.confirmed().await {
                return Err(Trouble {
                    detail: "another instance looks by now, or nobody knows whose turn it is".to_owned(),
                    wait: Duration::ZERO,
                    this_alone: false,
                });
            }
            match self.close(&delivery).await {
                Ok(closed) => {
                    self.open.settle(&delivery.guid);
                    *(if closed { &mut round.closed } else { &mut round.lost }) += 1;
                }
                // One that cannot be had must not keep the others.
                Err(trouble) if trouble.this_alone => first = first.or(Some(trouble)),
                Err(trouble) => return Err(trouble),
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Reads the list from its newest entry back to where the last round began, or to the end of what counts.
    async fn list(&mut self, began: DateTime<Utc>) -> Result<(), Trouble> {
        let horizon = began - self.within;
        let until = self.listed_to.map_or(horizon, |listed| horizon.max(listed - OVERLAP));
        let mut cursor = None;
        let mut found = Vec::new();
        for _ in 0..PAGES {
            let page = self.hook.deliveries(cursor.as_deref()).await?;
            let oldest = page.deliveries.iter().map(|one| one.delivered_at).min();
            found.extend(page.deliveries);
            cursor = page.next;
            if cursor.is_none() || oldest.is_none_or(|oldest| oldest < until) {
                break;
            }
        }
        self.open
            .note(found.into_iter().filter(|one| one.delivered_at >= until));
        self.listed_to = Some(began);
        Ok(())
    }

    /// Fetches one and takes it in; `false`: there is nothing that could be taken in.
    async fn close(&self, delivery: &Delivery) -> Result<bool, Trouble> {
        let Some(sent) = self.hook.sent(delivery.id).await? else {
            tracing::warn!(
                hook = self.name,
                delivery = delivery.guid,
                "GitHub keeps a delivery no more that it did not get through"
            );
            return Ok(false);
        };
        let sent_at = stream::Instant(delivery.delivered_at.timestamp_micros());
        let taken = self
            .fetched
            .take(&headers(&sent.headers), sent.payload.get(), sent_at)
            .await;
        match taken {
            Ok(taken) => {
                tracing::debug!(
                    hook = self.name,
                    delivery = delivery.guid,
                    signed = taken.signed,
                    "a gap is closed"
                );
                Ok(true)
            }
            Err(refused) if refused.later => Err(Trouble {
                detail: refused.detail,
                wait: Duration::ZERO,
                this_alone: false,
            }),
            Err(refused) => {
                tracing::warn!(
                    hook = self.name,
                    delivery = delivery.guid,
                    detail = refused.detail,
                    "a fetched delivery is refused"
                );
                Ok(false)
            }
        }
    }
}

/// Why a round ended early.
#[derive(Debug)]
struct Trouble {
    detail: String,
    /// Least wait before the next question.
    wait: Duration,
    /// It is about one delivery.
    this_alone: bool,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble {
            wait: match failure {
                Failure::Limited { wait_s } => Duration::from_secs(wait_s),
                _ => Duration::ZERO,
            },
            this_alone: matches!(failure, Failure::Garbled(_) | Failure::TooLarge { .. }),
            detail: failure.to_string(),
        }
    }
}

/// The headers of a request as they were; what is no header is left out.
fn headers(sent: &[(String, String)]) -> HeaderMap {
    let pairs = sent.iter().filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value).ok()?))
    });
    pairs.collect()
}

/// Deliveries that no attempt got through, by their event.
#[derive(Debug, Default)]
struct Open {
    open: BTreeMap<String, Delivery>,
    /// Taken in by an attempt of GitHub's or by us, and when.
    settled: BTreeMap<String, DateTime<Utc>>,
}

impl Open {
    /// Attempts in any order, also ones that are known.
    fn note(&mut self, attempts: impl IntoIterator<Item = Delivery>) {
        let attempts: Vec<Delivery> = attempts.into_iter().collect();
        for one in attempts.iter().filter(|one| one.taken()) {
            self.settled.insert(one.guid.clone(), one.delivered_at);
        }
        for one in attempts {
            // The first attempt says when it happened; what was sent is the same in each.
            let known = self.open.entry(one.guid.clone()).or_insert_with(|| one.clone());
            if one.delivered_at < known.delivered_at {
                *known = one;
            }
        }
        self.open.retain(|guid, _| !self.settled.contains_key(guid));
    }

    fn oldest_first(&self) -> Vec<Delivery> {
        let mut all: Vec<Delivery> = self.open.values().cloned().collect();
        all.sort_by_key(|one| (one.delivered_at, one.id));
        all
    }

    fn settle(&mut self, guid: &str) {
        if let Some(delivery) = self.open.remove(guid) {
            self.settled.insert(delivery.guid, delivery.delivered_at);
        }
    }

    /// What GitHub keeps no more.
    fn forget(&mut self, horizon: DateTime<Utc>) {
        self.open.retain(|_, delivery| delivery.delivered_at >= horizon);
        self.settled.retain(|_, at| *at >= horizon);
    }

    fn count(&self) -> usize {
        self.open.len()
    }
}

/// The names are labels of metrics, and keys.
pub(crate) fn plain_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Webhooks by number: two entries for one would fetch everything twice.
pub(crate) fn doubled(hooks: &BTreeMap<String, GithubHook>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let of = |hook: &GithubHook| (hook.url.clone(), hook.hook);
    let twice = hooks.iter().filter(|(_, hook)| !seen.insert(of(hook)));
    twice.map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(id: u64, guid: &str, minute: i64, status_code: u16) -> Delivery {
        Delivery {
            id,
            guid: guid.into(),
            delivered_at: DateTime::UNIX_EPOCH + TimeDelta::minutes(minute),
            redelivery: false,
            status_code,
            event: "push".into(),
        }
    }

    #[test]
    fn what_no_attempt_got_through_is_open() {
        let check = |attempts: &[Delivery], expected: &[u64]| {
            // In whatever order, and cut into rounds wherever.
            for cut in 0..=attempts.len() {
                let mut open = Open::default();
                open.note(attempts[cut..].iter().cloned());
                open.note(attempts[..cut].iter().cloned());
                let found: Vec<u64> = open.oldest_first().iter().map(|one| one.id).collect();
                assert_eq!(found, expected, "{cut}: {attempts:?}");
            }
        };
        check(&[], &[]);
        check(&[attempt(1, "a", 1, 202)], &[]);
        check(&[attempt(2, "b", 2, 502), attempt(1, "a", 1, 503)], &[1, 2]);
        check(&[attempt(3, "a", 3, 202), attempt(1, "a", 1, 503)], &[]);
        check(&[attempt(3, "a", 3, 504), attempt(1, "a", 1, 202)], &[]);
        // Several attempts at one event are one gap.
        check(
            &[attempt(3, "a", 3, 504), attempt(2, "b", 2, 0), attempt(1, "a", 1, 502)],
            &[1, 2],
        );
    }

    #[test]
    fn what_is_settled_stays_so_until_it_is_forgotten() {
        let mut open = Open::default();
        open.note([attempt(1, "a", 1, 502)]);
        open.settle("a");
        open.note([attempt(2, "a", 2, 502), attempt(1, "a", 1, 502)]);
        assert_eq!(open.count(), 0);
        open.forget(DateTime::UNIX_EPOCH + TimeDelta::minutes(5));
        assert!(open.settled.is_empty());
    }
}
