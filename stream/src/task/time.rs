//! A task's event time: how it moves, and when it is worth telling downstream.

use std::time::Duration;

use super::Task;
use crate::operator::Operator;
use crate::progress::{IngressPolicy, Senders, Upstreams};
use crate::time::Instant;

/// Where this task's event time comes from, and what is known of it.
pub(super) enum EventTime {
    Ingress {
        senders: Senders,
        policy: IngressPolicy,
        now: Instant,
        drained: bool,
        idle: bool,
        ended: Option<Option<Duration>>,
    },
    Downstream(Upstreams),
}

impl<O: Operator> Task<O> {
    /// Event time may have moved (ingress).
    pub(super) fn advance(&mut self) {
        let EventTime::Ingress {
            senders,
            policy,
            now,
            drained,
            idle,
            ended,
        } = &mut self.time
        else {
            return;
        };
        let next = match ended {
            Some(past) => {
                // What was read in an earlier replay has had its say then (ADR 21).
                *idle = !senders.read_anything();
                senders.end(*past, policy).unwrap_or(self.watermark)
            }
            None if *now == Instant::MIN => return,
            None => {
                let (next, _) = senders.tick(*now, *drained, policy);
                for (sender, trouble) in senders.new_trouble(*now, *drained, policy) {
                    let (stage, cause) = (self.operator.name(), trouble.cause());
                    tracing::debug!(
                        stage,
                        partition = self.input.partition,
                        sender,
                        cause,
                        "a sender's time"
                    );
                    metrics::counter!("aegis_sender_trouble_total", "stage" => stage, "cause" => cause).increment(1);
                }
                next
            }
        };
        if next > self.watermark {
            self.raise(next);
        }
    }

    pub(super) fn raise(&mut self, watermark: Instant) {
        self.watermark = watermark;
        let mut cx = self.outbox.context(watermark);
        self.operator.on_watermark(watermark, &mut cx);
        self.asked();
    }

    /// Watermark (held back for what the operator owes) and idleness, if they are worth telling downstream.
    pub(super) fn news(&self) -> Option<(Instant, bool)> {
        let (idle, ended) = match &self.time {
            EventTime::Ingress { idle, ended, .. } => (*idle, ended.is_some()),
            // Only the ingress stage may call a partition idle, and only at the end of a replay: while anything may still
            // come, the word could be overtaken by it (ADRs 6 and 11). A later stage hears every upstream partition in each of its
            // own, so it always has a watermark to tell; were it to say "do not wait for me", the next stage could run
            // past rows that stand in this one's input but have not been read yet.
            EventTime::Downstream(_) => (false, false),
        };
        if self.watermark == Instant::MIN && !idle {
            return None;
        }
        let watermark = self
            .operator
            .owes()
            .map_or(self.watermark, |owed| owed.min(self.watermark));
        let worth = match self.told {
            None => true,
            Some((told, was_idle)) => {
                let moved = watermark > told;
                idle != was_idle
                    || (ended && moved)
                    || (moved && watermark >= told.saturating_add(self.settings.progress_step))
                    || (moved && self.position > self.committed)
            }
        };
        worth.then_some((watermark, idle))
    }
}
