//! When a series began to rise. A robust rule that one spike in the baseline or one missing point does not fool:
//!
//! ```text
//!   baseline: first third      threshold = median + 4 · spread         ┌───── 3 points in a row above
//!   · · ·· · ·│ · · ·                                          ◦ ◦ ◦ ◦
//!                     · ·◦ ← onset: walked back to the first point above median + 1 · spread
//! ```
//!
//! Spread is 1.4826 · MAD (the median absolute deviation, which estimates the standard deviation: Rousseeuw and Croux, 1993), and at
//! least 5 % of the median's size, for a flat baseline has none.

use chrono::{DateTime, Utc};
use tools::observe::Point;

/// Fewer points in the baseline say nothing about what is usual.
const BASELINE: usize = 5;
/// Points in a row above the threshold. Fewer: a spike; more: a rise is found minutes later.
const RUN: usize = 3;
/// How far above the median, in spreads, a point is unusual. Lower finds noise; higher misses slow rises.
const UNUSUAL: f64 = 4.0;
/// Least spread, relative to the median.
const LEAST_SPREAD: f64 = 0.05;

/// A rise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rise {
    pub onset: DateTime<Utc>,
    /// Median of the baseline.
    pub usual: f64,
    /// Highest value from the onset on.
    pub peak: f64,
    /// Median from the threshold's crossing on.
    pub level: f64,
}

impl Rise {
    /// How many times the usual; `None` where the usual is nothing.
    pub fn factor(&self) -> Option<f64> {
        let factor = self.level / self.usual;
        (self.usual > 0.0 && factor.is_finite()).then_some(factor)
    }
}

/// What a series shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    Rose(Rise),
    /// No rise; the usual value.
    Steady(f64),
    /// Too few usable points.
    TooShort(usize),
}

/// `points` in any order; values that are no numbers are left out.
pub fn shape(points: &[Point]) -> Shape {
    let mut points: Vec<Point> = points.iter().copied().filter(|point| point.value.is_finite()).collect();
    points.sort_by_key(|point| point.at);
    points.dedup_by_key(|point| point.at);
    let baseline = points.len() / 3;
    if baseline < BASELINE {
        return Shape::TooShort(points.len());
    }
    let values = |points: &[Point]| points.iter().map(|point| point.value).collect::<Vec<f64>>();
    let usual = median(values(&points[..baseline]));
    let deviations = points[..baseline]
        .iter()
        .map(|point| (point.value - usual).abs())
        .collect();
    let spread = (1.4826 * median(deviations)).max(usual.abs() * LEAST_SPREAD).max(1e-9);
    let above = |point: &Point, spreads: f64| point.value > usual + spreads * spread;

    let rest = &points[baseline..];
    let Some(crossing) = rest
        .windows(RUN)
        .position(|run| run.iter().all(|point| above(point, UNUSUAL)))
    else {
        return Shape::Steady(usual);
    };
    let crossing = baseline + crossing;
    // A slow rise began before it was unusual.
    let back = points[..crossing]
        .iter()
        .rev()
        .take_while(|point| above(point, 1.0))
        .count();
    let after = values(&points[crossing..]);
    Shape::Rose(Rise {
        onset: points[crossing - back].at,
        usual,
        peak: after.iter().copied().fold(f64::MIN, f64::max),
        level: median(after),
    })
}

/// The middle; 0 of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: usize) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + 60 * minute as i64, 0).unwrap()
    }

    fn points(values: &[f64]) -> Vec<Point> {
        let point = |(minute, value): (usize, &f64)| Point {
            at: at(minute),
            value: *value,
        };
        values.iter().enumerate().map(point).collect()
    }

    #[test]
    fn onsets() {
        let check = |name: &str, values: &[f64], expected: Option<usize>| {
            let found = match shape(&points(values)) {
                Shape::Rose(rise) => Some(rise.onset),
                _ => None,
            };
            assert_eq!(found, expected.map(at), "{name}");
        };
        let step = [vec![10.0; 20], vec![30.0; 10]].concat();
        check("step", &step, Some(20));
        check("flat", &[10.0; 30], None);
        check("fall", &[vec![10.0; 20], vec![2.0; 10]].concat(), None);
        let mut spike = vec![10.0; 30];
        spike[22] = 90.0;
        check("spike", &spike, None);
        let mut noisy = step.clone();
        noisy[3] = 95.0;
        check("spike in the baseline", &noisy, Some(20));
        let ramp: Vec<f64> = (0..30)
            .map(|i| if i < 15 { 0.5 } else { 0.5 + 0.02 * (i - 14) as f64 })
            .collect();
        check("slow ramp", &ramp, Some(16));
        check("from nothing", &[vec![0.0; 20], vec![5.0; 10]].concat(), Some(20));
        let mut holes = step.clone();
        holes[21] = f64::NAN;
        check("no number", &holes, Some(20));
        check("infinite", &[f64::INFINITY; 30], None);
    }

    #[test]
    fn order_of_points_and_too_few() {
        let mut shuffled = points(&[vec![10.0; 20], vec![30.0; 10]].concat());
        let straight = shape(&shuffled);
        shuffled.reverse();
        assert_eq!(shape(&shuffled), straight);
        assert_eq!(shape(&shuffled[..9]), Shape::TooShort(9));
        let Shape::Rose(rise) = straight else {
            panic!("{straight:?}")
        };
        assert_eq!(rise.factor(), Some(3.0));
    }
}
