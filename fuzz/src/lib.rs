//! What the fuzz targets share: chance from a seed, a corpus, and ways to spoil bytes.
//!
//! The targets are tests (`fuzz/tests`), so they run on stable and without a sanitizer: `make test` gives each of them a fixed number of
//! rounds, `make fuzz` as many as wished (`AEGIS_FUZZ_ROUNDS`). A round that fails prints its seed, and `AEGIS_FUZZ_SEED` begins with it.
//! Bytes that found something are kept in `fuzz/corpus` and tried as they are, first.

use std::path::{Path, PathBuf};

/// Chance, the same for the same seed (SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        (self.draw() % end.max(1) as u64) as usize
    }

    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// Whether one seed is run again: then nothing can be said of all rounds together.
pub fn again() -> bool {
    std::env::var_os("AEGIS_FUZZ_SEED").is_some()
}

/// Runs `round` with a seed each, and says which one failed. `usual`: how many, unless `AEGIS_FUZZ_ROUNDS` says otherwise.
pub fn rounds(name: &str, usual: u64, mut round: impl FnMut(&mut Dice)) {
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, many) = (
        number("AEGIS_FUZZ_SEED").unwrap_or(1),
        number("AEGIS_FUZZ_ROUNDS").unwrap_or(usual),
    );
    for seed in first..first.saturating_add(many) {
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| round(&mut Dice::new(seed))));
        if let Err(panic) = failed {
            eprintln!("{name}: seed {seed} failed; AEGIS_FUZZ_SEED={seed} AEGIS_FUZZ_ROUNDS=1 runs it again");
            std::panic::resume_unwind(panic);
        }
    }
    println!("{name}: {many} rounds");
}

/// Recorded bodies: those of the repository's fixtures, and what was kept because it found something.
pub fn corpus() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        "corpus",
        "../operators/tests/fixtures/alertmanager",
        "../operators/tests/fixtures/alertmanager-grouped",
        "../operators/tests/fixtures/kubernetes",
        "../sources/tests/fixtures/logs",
    ];
    let mut bodies = Vec::new();
    for folder in folders {
        for file in files(&root.join(folder)) {
            let bytes = std::fs::read(&file).unwrap_or_default();
            // A capture: the body is in it.
            let capture: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
            let inner = capture.as_ref().and_then(|capture| capture["raw_body"].as_str());
            bodies.push(inner.map_or(bytes.clone(), |body| body.as_bytes().to_vec()));
        }
    }
    bodies.extend(MADE.iter().map(|body| body.as_bytes().to_vec()));
    bodies
}

/// Shapes of which no recording lies in the repository.
const MADE: &[&str] = &[
    r#"{"version":"1","orgId":1,"state":"alerting","alerts":[{"status":"resolved","labels":{"a":"b"},"startsAt":"2026-11-23T08:48:26Z","endsAt":"2026-11-23T08:49:26Z","fingerprint":"f","values":{"B":1.5}}]}"#,
    r#"[{"specversion":"1.0","id":"1","source":"s","type":"deploy","time":"2026-11-23T08:48:26Z","data":{"title":"t","labels":{"x":"\u00e9"}}}]"#,
    r#"{"action":"created","repository":{"id":7,"name":"cart","full_name":"shop/cart"},"sender":{"login":"kim"},"deployment":{"id":11,"sha":"0123","ref":"main","environment":"default","created_at":"2026-11-23T08:40:00Z"},"deployment_status":{"id":12,"state":"success","environment":"default","created_at":"2026-11-23T08:41:00Z"}}"#,
    r#"{"action":"created","repository":{"id":7,"name":"cart","full_name":"shop/cart"},"alert":{"number":4,"created_at":"2026-11-20T10:00:00Z","state":"open","tool":{"name":"CodeQL"},"rule":{"id":"js/xss","severity":"error"}},"ref":"refs/heads/main","commit_oid":"abc"}"#,
    r#"{"ts":1760000040000,"fingerprint":"f","labels":{"service":"s"}}"#,
    r#"{"kind":"Event","metadata":{"uid":"u"},"regarding":{"kind":"Pod","name":"cart-7958fb4fc5-5nkjg"},"type":"Warning","reason":"BackOff","series":{"count":4,"lastObservedTime":"2026-11-23T08:48:26.5Z"}}"#,
    r#"{"kind":"StatefulSet","metadata":{"uid":"u","name":"db","generation":3,"managedFields":[{"time":"2026-11-23T08:12:00Z","fieldsV1":{"f:spec":{"f:template":{}}}}]},"spec":{"replicas":2},"status":{"observedGeneration":3,"updateRevision":"db-5c9f","updatedReplicas":2,"readyReplicas":2}}"#,
    r#"{"kind":"DaemonSet","metadata":{"uid":"u","name":"agent","annotations":{"deprecated.daemonset.template.generation":"4"}},"status":{"desiredNumberScheduled":3,"updatedNumberScheduled":3,"numberAvailable":2}}"#,
    r#"{"streams":[{"stream":{"app":"a"},"values":[["1760000000000000000","line"]]}]}"#,
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push(path),
        }
    }
    files.sort();
    files
}

/// Words at which decoders turn.
const WORDS: &[&str] = &[
    "null",
    "{}",
    "[]",
    "\"\"",
    "-1",
    "1e999",
    "18446744073709551616",
    "\"\\ud800\"",
    "\\u0000",
    "\"0001-01-01T00:00:00Z\"",
    "9999-12-31T23:59:60Z",
    "\"alerts\":",
    "\"labels\":",
    "\"items\":",
    "\"object\":",
    "\"status\":",
    "\"metadata\":",
    "\u{feff}",
    "\u{202e}",
    "%",
    "&payload=",
    "}{",
    ",,",
];

/// Some of the bytes, changed in a few places.
pub fn spoiled(dice: &mut Dice, bytes: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=dice.below(6) {
        let at = dice.below(bytes.len() + 1);
        match dice.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 if at < bytes.len() => bytes[at] = dice.draw() as u8,
            2 => bytes.truncate(at),
            3 => {
                let end = (at + 1 + dice.below(40)).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            4 => {
                let end = (at + 1 + dice.below(200)).min(bytes.len());
                let again = bytes[at.min(end)..end].to_vec();
                bytes.splice(at..at, again);
            }
            5 => {
                let deep = [&b"["[..], b"{\"a\":"][dice.below(2)];
                let many = 1 + dice.below(300);
                bytes.splice(at..at, deep.iter().copied().cycle().take(deep.len() * many));
            }
            6 => {
                let word = dice.one_of(WORDS).bytes();
                bytes.splice(at..at, word);
            }
            _ => {
                let other = dice.one_of(others);
                let from = dice.below(other.len() + 1);
                let end = (from + dice.below(300)).min(other.len());
                bytes.splice(at..at, other[from..end].iter().copied());
            }
        }
    }
    // What grows without an end only costs time.
    bytes.truncate(1 << 18);
    bytes
}
