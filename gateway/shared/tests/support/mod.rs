//! A Redis of one test alone, that may die and stand still.
#![allow(dead_code)] // Each test binary uses its own part.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use shared::{Shared, SharedSettings};
use stream::human::HumanDuration;

/// Longer than anything takes that works.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Redis {
    folder: tempfile::TempDir,
    pub url: String,
}

impl Redis {
    /// `None`, with a word on stderr, where there is no server and tests may do without.
    pub fn start() -> Option<Self> {
        let services = std::env::var("AEGIS_TEST_REDIS").is_ok_and(|url| !url.is_empty());
        if !services {
            if std::env::var("AEGIS_TEST_REQUIRE").is_ok_and(|v| v == "1") {
                panic!("AEGIS_TEST_REDIS is not set: run the tests through `make test`");
            }
            eprintln!("not run: AEGIS_TEST_REDIS is not set (see scripts/test-services.sh)");
            return None;
        }
        let mut redis = Redis {
            folder: tempfile::tempdir().expect("a folder"),
            url: String::new(),
        };
        let printed = redis.ask("start");
        let url = printed.trim().strip_prefix("export AEGIS_TEST_REDIS='");
        redis.url = url.and_then(|url| url.strip_suffix('\'')).expect("a URL").to_owned();
        Some(redis)
    }

    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("redis")
    }

    /// crash, revive, forget, freeze, thaw.
    pub fn ask(&self, verb: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/services/redis.sh");
        let output = Command::new(script)
            .arg(verb)
            .arg(self.folder())
            .output()
            .expect("the script");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{verb}: {err}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn settings(&self) -> SharedSettings {
        SharedSettings {
            redis_url: self.url.as_str().into(),
            // A busy machine must not pass for a server that is away; who stands still is noticed all the same.
            call_timeout: HumanDuration::from_secs(2),
            connect_timeout: HumanDuration::from_secs(5),
            ..SharedSettings::default()
        }
    }

    pub fn open(&self) -> Shared {
        Shared::open(&self.settings()).expect("settings that can be used")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // A test that failed may have left it standing still.
        for verb in ["thaw", "stop"] {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/services/redis.sh");
            let _ = Command::new(script).arg(verb).arg(self.folder()).output();
        }
    }
}

/// Asks until it holds; panics when it does not in a minute.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < end, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
