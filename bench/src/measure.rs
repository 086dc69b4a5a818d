//! What a process has used so far, from `/proc`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// User plus system time of this process.
pub fn cpu_time() -> Duration {
    cpu_time_in(Path::new("/proc/self/stat"))
}

/// User plus system time of every thread of a process that still runs, summed by the threads' names.
pub fn cpu_by_thread(process: u32) -> BTreeMap<String, Duration> {
    let mut threads = BTreeMap::new();
    let folder = std::fs::read_dir(format!("/proc/{process}/task"));
    for thread in folder.into_iter().flatten().flatten() {
        let name = std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        *threads.entry(name.trim().to_owned()).or_default() += cpu_time_in(&thread.path().join("stat"));
    }
    threads
}

fn cpu_time_in(stat: &Path) -> Duration {
    let Ok(stat) = std::fs::read_to_string(stat) else {
        return Duration::ZERO;
    };
    // Fields are counted behind the command's closing parenthesis; ticks are 10 ms on every Linux that Rust supports.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<u64>().ok())
            .unwrap_or(0)
    };
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

/// Highest resident memory so far, in bytes.
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next())
        .and_then(|kb| kb.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    pub seconds: f64,
    pub cpu_seconds: f64,
}

/// Runs `work` and says what it took. CPU time is that of the whole process.
pub async fn timed<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<(Took, T)> {
    let (cpu, began) = (cpu_time(), std::time::Instant::now());
    let done = work.await?;
    let took = Took {
        seconds: began.elapsed().as_secs_f64(),
        cpu_seconds: (cpu_time() - cpu).as_secs_f64(),
    };
    Ok((took, done))
}

/// The value that `share` (0 to 1) of all do not exceed; 0 of none.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
}

pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// To four digits behind the point: more would be noise.
pub fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
