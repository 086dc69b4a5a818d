//! A real Kubernetes cluster in the stand-in's place, as `scripts/services/kubernetes.sh start` leaves it, and the hands of its
//! administrator: `kubectl`, a kubelet's reports about containers that nobody runs, and the API server's own audit log.
//!
//! ```text
//!   aegis ──TLS, token, RBAC──► kube-apiserver ◄── controllers, scheduler, kwok
//!                                 │        ▲
//!              FOLDER/audit.log ──┘        └── kubectl: what the story or a test does to the cluster
//! ```
//!
//! Opt-in: where `AEGIS_TEST_KUBERNETES` is not set there is none.

mod mirror;
mod pods;
mod seed;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

pub use mirror::Mirror;

/// Names the folder of the cluster.
pub const VARIABLE: &str = "AEGIS_TEST_KUBERNETES";

/// Where the service accounts of Aegis are.
pub const AEGIS: &str = "aegis";
/// The service account of the watch, and that of the tools, as the guide makes them.
pub const WATCHES: &str = "aegis";
pub const ACTS: &str = "aegis-tools";

/// The roles are those that users are told to make.
const GUIDE: &str = include_str!("../../../docs/guides/kubernetes.md");

/// A cluster that runs.
#[derive(Clone, Debug)]
pub struct RealCluster {
    folder: PathBuf,
    /// Of the API server.
    pub url: String,
    /// Of a `kubectl proxy` with the administrator's rights.
    pub proxy: SocketAddr,
}

/// A request that a service account made, from the audit log.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: DateTime<Utc>,
    /// Without `system:serviceaccount:`: `aegis:aegis-tools`.
    pub account: String,
    /// As roles name it: `list`, `watch`, `patch`.
    pub verb: String,
    pub group: String,
    pub resource: String,
    /// Path and query.
    pub uri: String,
    pub status: u16,
}

impl RealCluster {
    /// `None`, where nobody named one.
    ///
    /// # Errors
    /// The folder holds no cluster.
    pub fn of_environment() -> anyhow::Result<Option<Self>> {
        match std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
            Some(folder) => Self::at(Path::new(&folder)).map(Some),
            None => Ok(None),
        }
    }

    /// For a test: `None`, with a word about it, where no cluster was started.
    ///
    /// # Panics
    /// The folder holds no cluster.
    pub fn opted_in() -> Option<Self> {
        let cluster = Self::of_environment().unwrap_or_else(|fault| panic!("{fault:#}"));
        if cluster.is_none() {
            eprintln!("not run: {VARIABLE} is not set (make test-kubernetes starts a real API server)");
        }
        cluster
    }

    fn at(folder: &Path) -> anyhow::Result<Self> {
        let line = |name: &str| {
            let text = std::fs::read_to_string(folder.join(name));
            let text = text.with_context(|| format!("{VARIABLE}: {} is no folder of a cluster", folder.display()))?;
            anyhow::Ok(text.trim().to_owned())
        };
        Ok(RealCluster {
            folder: folder.to_owned(),
            url: line("server")?,
            proxy: line("proxy")?.parse()?,
        })
    }

    /// The certificates that the API server is trusted by.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Runs `kubectl` as the administrator, with `input`.
    ///
    /// # Errors
    /// It failed; with what it said.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let config = self.folder.join("admin.kubeconfig");
        let mut command = Command::new(self.folder.join("kubectl"));
        command.arg("--kubeconfig").arg(config).args(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("kubectl")?;
        // A program that has failed reads nothing more; it says why below.
        let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!(
                "kubectl {}: {said}{}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(said)
    }

    /// What `kubectl ARGUMENTS -o json` gives.
    ///
    /// # Errors
    /// It failed, or gave none.
    pub fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let text = self.kubectl(&[arguments, &["-o", "json"]].concat(), "")?;
        serde_json::from_str(&text).with_context(|| text)
    }

    /// `kubectl apply`, of JSON or YAML.
    ///
    /// # Errors
    /// The API server does not take it.
    pub fn apply(&self, manifest: &str) -> anyhow::Result<()> {
        self.kubectl(&["apply", "-f", "-"], manifest).map(drop)
    }

    /// The namespace, with nothing in it.
    ///
    /// # Errors
    /// It cannot be deleted or made.
    pub fn fresh_namespace(&self, name: &str) -> anyhow::Result<()> {
        self.kubectl(
            &["delete", "namespace", name, "--ignore-not-found", "--timeout=120s"],
            "",
        )?;
        self.kubectl(&["create", "namespace", name], "").map(drop)
    }

    /// Makes the service accounts and roles of the guide, word for word, and takes away what was bound to them in other namespaces.
    ///
    /// # Errors
    /// The API server does not take them.
    pub fn grant(&self) -> anyhow::Result<()> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": AEGIS}});
        self.apply(&namespace.to_string())?;
        let blocks = manifests(GUIDE);
        ensure!(blocks.len() == 2, "the guide shows {} manifests", blocks.len());
        blocks.iter().try_for_each(|manifest| self.apply(manifest))
    }

    /// What the guide says about acting in a namespace.
    ///
    /// # Errors
    /// The API server does not take it.
    pub fn grant_acting(&self, namespace: &str) -> anyhow::Result<()> {
        let account = format!("--serviceaccount={AEGIS}:{ACTS}");
        let arguments = [
            "-n",
            namespace,
            "create",
            "rolebinding",
            "aegis-act",
            "--clusterrole=aegis-act",
        ];
        self.kubectl(&[&arguments[..], &[&account]].concat(), "").map(drop)
    }

    /// A token of a service account, in a file that only its owner may read.
    ///
    /// # Errors
    /// There is no such account, or the file cannot be written.
    pub fn token(&self, account: &str, file: &Path) -> anyhow::Result<()> {
        let token = self.kubectl(&["-n", AEGIS, "create", "token", account, "--duration=1h"], "")?;
        std::fs::write(file, token.trim())?;
        Ok(())
    }

    /// SIGKILL for one of its programs.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&self, part: &str) -> anyhow::Result<()> {
        self.script("kill", part)
    }

    /// Starts it again; returns when the API server answers.
    ///
    /// # Errors
    /// It does not.
    pub fn run(&self, part: &str) -> anyhow::Result<()> {
        self.script("run", part)?;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(180);
        while let Err(fault) = self.kubectl(&["get", "--raw", "/readyz"], "") {
            ensure!(std::time::Instant::now() < deadline, "{part} does not answer: {fault}");
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        Ok(())
    }

    fn script(&self, verb: &str, part: &str) -> anyhow::Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/services/kubernetes.sh");
        let status = Command::new(script)
            .arg(verb)
            .arg(&self.folder)
            .arg(part)
            .stdin(Stdio::null())
            .status()?;
        ensure!(status.success(), "kubernetes.sh {verb} {part}: {status}");
        Ok(())
    }

    /// Makes etcd forget every version but the newest.
    ///
    /// # Errors
    /// etcd does not answer.
    pub fn forget_history(&self) -> anyhow::Result<()> {
        let url = std::fs::read_to_string(self.folder.join("etcd.url"))?;
        let ask = |path: &str, body: Value| {
            let url = format!("{}{path}", url.trim());
            let output = Command::new("curl")
                .args(["-sS", "-m", "20", "-d", &body.to_string(), &url])
                .output()?;
            serde_json::from_slice::<Value>(&output.stdout).with_context(|| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                format!("{url}: {}{}", text(&output.stdout), text(&output.stderr))
            })
        };
        let seen = ask("/v3/kv/range", json!({"key": "AA==", "limit": "1"}))?;
        let revision = seen["header"]["revision"].clone();
        let answer = ask("/v3/kv/compaction", json!({"revision": revision, "physical": true}))?;
        ensure!(answer["header"].is_object(), "{answer}");
        Ok(())
    }

    /// What service accounts in namespace `aegis` have asked so far, oldest first. A watch is there once it has ended.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn asked(&self) -> anyhow::Result<Vec<Asked>> {
        let log = std::fs::read_to_string(self.folder.join("audit.log"))?;
        // The last line may be half written.
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(lines.filter_map(|line| asked(&line)).collect())
    }
}

fn asked(line: &Value) -> Option<Asked> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let user = line["user"]["username"].as_str()?;
    Some(Asked {
        at: line["requestReceivedTimestamp"].as_str()?.parse().ok()?,
        account: user
            .strip_prefix("system:serviceaccount:")
            .filter(|of| of.starts_with("aegis:"))?
            .to_owned(),
        verb: text(&line["verb"]),
        group: text(&line["objectRef"]["apiGroup"]),
        resource: text(&line["objectRef"]["resource"]),
        uri: text(&line["requestURI"]),
        status: line["responseStatus"]["code"].as_u64()?.try_into().ok()?,
    })
}

/// The YAML that a page of the guides shows, one block after the other.
fn manifests(page: &str) -> Vec<&str> {
    let blocks = page.split("```yaml\n").skip(1);
    blocks.filter_map(|block| block.split("```").next()).collect()
}
