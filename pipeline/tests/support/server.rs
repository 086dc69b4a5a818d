//! A broker or a database of one test alone, that may die, and stand still.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::wait_for;

/// Run by the script that runs those of all tests.
pub struct Server {
    script: PathBuf,
    folder: PathBuf,
}

impl Server {
    /// Starts it; the value of `variable` that the script prints.
    pub fn start(name: &str, folder: &Path, variable: &str) -> (Self, String) {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../scripts/services/{name}.sh"));
        let server = Server {
            script,
            folder: folder.join(name),
        };
        let printed = server.ask("start");
        let line = printed.lines().find_map(|line| {
            let (found, value) = line.strip_prefix("export ")?.split_once('=')?;
            (found == variable).then(|| value.to_owned())
        });
        let value = line.unwrap_or_else(|| panic!("{variable} is not in {printed}"));
        (server, value)
    }

    /// Killed with -9 and dead until somebody has noticed, then there again.
    pub fn outage(&self, noticed: impl FnMut() -> bool) {
        self.ask("crash");
        until(noticed);
        self.ask("revive");
    }

    /// Stopped in the middle of whatever it does, its connections open, until `enough`.
    pub fn standstill(&self, enough: impl FnMut() -> bool) {
        self.ask("freeze");
        until(enough);
        self.ask("thaw");
    }

    fn ask(&self, verb: &str) -> String {
        let output = self.command(verb).output().expect("the script");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{verb}: {err}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.script);
        command.arg(verb).arg(&self.folder);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that failed may have left it standing still.
        for verb in ["thaw", "stop"] {
            let _ = self.command(verb).output();
        }
    }
}

fn until(mut reached: impl FnMut() -> bool) {
    wait_for("the outage to be long enough", Duration::from_secs(120), || {
        reached().then_some(())
    });
}
