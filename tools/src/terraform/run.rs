//! The program as a child: no shell, no terminal, a small environment, a deadline, and a limit on what is read of it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::{TOOL, TerraformFolder, TerraformSettings};
use crate::ToolError;
use crate::redact::{redact, shorten};
use crate::wire::Failure;

/// Most bytes of what it says to its standard error; the end of it tells the fault.
const SAID: usize = 64 << 10;
/// What the program needs to find its own files.
const ALWAYS: [&str; 2] = ["PATH", "HOME"];

pub(super) struct Program {
    executable: PathBuf,
    environment: Vec<(OsString, OsString)>,
    timeout: Duration,
    apply_timeout: Duration,
    limit: usize,
}

/// How it ended.
pub(super) struct Ended {
    pub code: i32,
    pub stdout: Vec<u8>,
    /// Redacted and cut.
    said: String,
}

impl Program {
    pub fn new(settings: &TerraformSettings) -> Result<Self, ToolError> {
        if !settings.executable.is_absolute() {
            return Err(ToolError::refused(TOOL, "executable is no absolute path"));
        }
        let handed = ALWAYS
            .into_iter()
            .chain(settings.environment.iter().map(String::as_str));
        let mut environment: Vec<(OsString, OsString)> = handed
            .filter_map(|name| Some((name.into(), std::env::var_os(name)?)))
            .collect();
        // It asks nobody, and nobody for a newer version of itself.
        for (name, value) in [
            ("TF_IN_AUTOMATION", "1"),
            ("TF_INPUT", "0"),
            ("CHECKPOINT_DISABLE", "1"),
        ] {
            environment.push((name.into(), value.into()));
        }
        Ok(Program {
            executable: settings.executable.clone(),
            environment,
            timeout: Duration::from_secs(settings.timeout_s),
            apply_timeout: Duration::from_secs(settings.apply_timeout_s),
            limit: settings.max_answer_bytes,
        })
    }

    /// Asks; `good`: exit codes that are answers.
    pub async fn question(
        &self,
        folder: &TerraformFolder,
        arguments: &[&str],
        good: &[i32],
    ) -> Result<Ended, ToolError> {
        let ended = self.run(folder, arguments, self.timeout).await;
        let ended = ended.map_err(|failure| failure.of_a_question(TOOL))?;
        match good.contains(&ended.code) {
            true => Ok(ended),
            false => Err(ToolError::refused(
                TOOL,
                format!(
                    "{} of {} ended with {}: {}",
                    arguments[0], folder.name, ended.code, ended.said
                ),
            )),
        }
    }

    /// Does something. Whatever goes wrong once it was started may have changed something.
    pub async fn deed(&self, folder: &TerraformFolder, arguments: &[&str]) -> Result<(), ToolError> {
        let ended = self.run(folder, arguments, self.apply_timeout).await;
        let ended = ended.map_err(|failure| failure.of_a_deed(TOOL))?;
        match ended.code {
            0 => Ok(()),
            code => Err(ToolError::MayHaveHappened {
                tool: TOOL,
                cause: format!("{} of {} ended with {code}: {}", arguments[0], folder.name, ended.said),
            }),
        }
    }

    async fn run(&self, folder: &TerraformFolder, arguments: &[&str], timeout: Duration) -> Result<Ended, Failure> {
        let mut child = Command::new(&self.executable)
            .args(arguments)
            .current_dir(&folder.path)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Who stops waiting ends it: it must not go on unseen.
            .kill_on_drop(true)
            .spawn()
            .map_err(|fault| Failure::NotSent(format!("{} was not started: {fault}", self.executable.display())))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let ended = async {
            // A child whose answer is too long waits for a reader, and ends only with this.
            let answer = async {
                match taken(stdout, self.limit).await {
                    Read { bytes, whole: true } => Ok(bytes),
                    Read { .. } => Err(Failure::TooLarge { limit: self.limit }),
                }
            };
            let said = async { Ok(taken(stderr, SAID).await) };
            let (stdout, said) = tokio::try_join!(answer, said)?;
            let status = child
                .wait()
                .await
                .map_err(|fault| Failure::NoAnswer(fault.to_string()))?;
            let said = String::from_utf8_lossy(&said.bytes).into_owned();
            Ok(Ended {
                code: status.code().unwrap_or(-1),
                stdout,
                said: shorten(&redact(said.trim()), 600),
            })
        };
        let late = |_| Failure::NoAnswer(format!("it did not end within {} s", timeout.as_secs()));
        tokio::time::timeout(timeout, ended).await.map_err(late)?
    }
}

struct Read {
    bytes: Vec<u8>,
    /// There was no more than the limit.
    whole: bool,
}

async fn taken(from: Option<impl AsyncRead + Unpin>, limit: usize) -> Read {
    let mut bytes = Vec::new();
    let Some(mut from) = from else {
        return Read { bytes, whole: true };
    };
    // A pipe that breaks ends the answer; what is missing shows when it is read.
    let _ = (&mut from).take(limit as u64 + 1).read_to_end(&mut bytes).await;
    let whole = bytes.len() <= limit;
    bytes.truncate(limit);
    if limit == SAID && !whole {
        // Keeps the child from waiting for a reader.
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
    Read { bytes, whole }
}
