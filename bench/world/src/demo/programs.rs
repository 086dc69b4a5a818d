//! The programs of a site, and the processes that are made of them.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    pub aegis: PathBuf,
    pub prometheus: PathBuf,
    pub promtool: PathBuf,
    pub alertmanager: PathBuf,
}

impl Programs {
    /// Those that `scripts/services/prometheus.sh env` names, beside this `aegis`.
    ///
    /// # Errors
    /// The first variable that is not set.
    pub fn of_environment(aegis: PathBuf) -> anyhow::Result<Self> {
        let path = |name: &str| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty());
            value.map(PathBuf::from).with_context(|| {
                format!("{name} is not set: eval \"$(scripts/services/prometheus.sh env)\", or use `make demo-oom`")
            })
        };
        Ok(Programs {
            aegis,
            prometheus: path("AEGIS_TEST_PROMETHEUS_BIN")?,
            promtool: path("AEGIS_TEST_PROMTOOL_BIN")?,
            alertmanager: path("AEGIS_TEST_ALERTMANAGER_BIN")?,
        })
    }
}

/// A running program, killed when dropped.
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Its output goes to `FOLDER/NAME.log`.
    pub fn start(name: &'static str, command: &mut Command, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let out = OpenOptions::new().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", command.get_program().display()))?;
        Ok(Process { name, child, log })
    }

    /// Its number, as the system names it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// # Errors
    /// It has ended; with the last lines of its log.
    pub fn require(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}:\n{}", self.name, self.tail());
        }
        Ok(())
    }

    /// The last lines of its log.
    pub fn tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end.
///
/// # Errors
/// It cannot be started, or says that it failed; with what it wrote.
pub async fn run(mut command: Command) -> anyhow::Result<String> {
    let output = tokio::task::spawn_blocking(move || {
        let program = command.get_program().display().to_string();
        let output = command.stdin(Stdio::null()).output();
        output.with_context(|| format!("cannot start {program}"))
    });
    let output = output.await??;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    if !output.status.success() {
        bail!("it ended with {}:\n{out}{err}", output.status);
    }
    Ok(out)
}
