//! What a run leaves behind: a digest, the last operations, and how to see a failure again.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::invariants::Violation;

/// Operations shown with a failure: enough to see what led to it, few enough to read.
const SHOWN: usize = 60;

/// A run in which every invariant held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Over every operation and every byte of every topic.
    pub digest: u64,
    /// Faults that were met.
    pub faults: u64,
    pub crashes: u64,
    pub turns: u64,
    /// How long it took on the simulated clock.
    pub simulated: Duration,
}

/// A run in which some invariant did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    pub plan: &'static str,
    pub seed: u64,
    pub violations: Vec<Violation>,
    /// The last operations before the first violation.
    pub last: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} of plan {} breaks what must hold:", self.seed, self.plan)?;
        for violation in &self.violations {
            writeln!(f, "  {violation}")?;
        }
        writeln!(f, "the last operations before it:")?;
        for line in &self.last {
            writeln!(f, "    {line}")?;
        }
        write!(
            f,
            "replay: AEGIS_TEST_SIM_PLAN={} AEGIS_TEST_SIM_SEED={} make simulate",
            self.plan, self.seed
        )
    }
}

/// Digest and tail of the operations so far.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    last: VecDeque<String>,
    pub faults: u64,
    pub crashes: u64,
    pub violations: Vec<Violation>,
}

impl Default for Trace {
    fn default() -> Self {
        Trace {
            hash: 0xcbf2_9ce4_8422_2325,
            last: VecDeque::new(),
            faults: 0,
            crashes: 0,
            violations: Vec::new(),
        }
    }
}

impl Trace {
    pub fn note(&mut self, now: Duration, line: &str) {
        self.take(&now.as_micros().to_le_bytes());
        self.take(line.as_bytes());
        if self.violations.is_empty() {
            if self.last.len() == SHOWN {
                self.last.pop_front();
            }
            self.last.push_back(format!("{:10.3} s  {line}", now.as_secs_f64()));
        }
    }

    /// Bytes into the digest (FNV-1a).
    pub fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub fn digest(&self) -> u64 {
        self.hash
    }

    pub fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}
