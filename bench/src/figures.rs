//! Figures: each a number beside a baseline of the same run. Both sides run by turns, because a machine that is busy
//! with something else is busy with it for a while; medians are compared, of the clock and of CPU time.

pub mod checkpoints;
pub mod commits;
mod gathering;
pub mod latency;
pub mod moving;
pub mod poison;
pub mod query;
pub mod source;
pub mod store;
pub mod webhooks;

use serde_json::{Value, json};

use crate::measure::{Took, median, rounded};

/// What was measured, over what it is measured against.
#[derive(Debug, Default)]
struct Sides {
    measured: Vec<Took>,
    baseline: Vec<Took>,
}

impl Sides {
    /// Shares of the baseline's time that come on top: 0.03 is three percent more.
    fn costs(&self) -> (f64, f64) {
        let over = |of: fn(&Took) -> f64| {
            let times = |side: &[Took]| median(&side.iter().map(of).collect::<Vec<_>>());
            times(&self.measured) / times(&self.baseline) - 1.0
        };
        (over(|took| took.seconds), over(|took| took.cpu_seconds))
    }

    fn shown(&self) -> Value {
        let (cost, cpu_cost) = self.costs();
        let list =
            |side: &[Took], of: fn(&Took) -> f64| -> Vec<f64> { side.iter().map(|took| rounded(of(took))).collect() };
        json!({
            "cost": rounded(cost),
            "cpu_cost": rounded(cpu_cost),
            "seconds": list(&self.measured, |took| took.seconds),
            "baseline_seconds": list(&self.baseline, |took| took.seconds),
            "cpu_seconds": list(&self.measured, |took| took.cpu_seconds),
            "baseline_cpu_seconds": list(&self.baseline, |took| took.cpu_seconds),
        })
    }
}
