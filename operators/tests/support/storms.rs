//! Made-up storms: what a handful of senders say about a handful of alerts.

use model::{Severity, Signal, SignalKind, SignalState};

use crate::dsl::Spec;
use crate::rig::Dice;

/// A set of signals about a handful of alerts on a handful of services, with all that senders do.
pub fn some_signals(dice: &mut Dice) -> Vec<Signal> {
    let mut out = Vec::new();
    for alert in 0..3 + dice.below(8) {
        let name = format!("a{alert}");
        let service = dice.chance(80).then(|| format!("s{}", dice.below(3)));
        let group = dice.chance(20).then(|| format!("g{}", dice.below(2)));
        let severity = [Severity::Info, Severity::Warning, Severity::Critical][dice.below(3)];
        let mut at = dice.below(4_000) as i64;
        for _ in 0..1 + dice.below(3) {
            let fire = Spec {
                service: service.clone(),
                group: group.clone(),
                severity,
                ..Spec::new(SignalState::Firing, &name, at)
            };
            let until = at + 1 + dice.below(1_200) as i64;
            let end = |until| Spec {
                state: SignalState::Resolved,
                until: Some(until),
                ..fire.clone()
            };
            match dice.below(10) {
                0 => out.push(end(until).signal()),
                1 => out.push(
                    Spec {
                        state: SignalState::Event,
                        kind: SignalKind::Security,
                        ..fire.clone()
                    }
                    .signal(),
                ),
                2 => out.push(
                    Spec {
                        state: SignalState::Event,
                        kind: SignalKind::Change,
                        ..fire.clone()
                    }
                    .signal(),
                ),
                _ => {
                    out.push(fire.signal());
                    if dice.chance(20) {
                        // The content changes: another severity, perhaps another service.
                        let service = if dice.chance(50) {
                            Some("s2".to_owned())
                        } else {
                            service.clone()
                        };
                        out.push(
                            Spec {
                                text: 1,
                                severity: Severity::Critical,
                                service,
                                ..fire.clone()
                            }
                            .signal(),
                        );
                    }
                    if dice.chance(70) {
                        out.push(end(until).signal());
                    }
                    if dice.chance(20) {
                        out.push(end(until + 7).signal());
                    }
                }
            }
            at = until + dice.below(1_500) as i64;
        }
    }
    out
}
