//! Everything that runs: the world, Prometheus with its past, Alertmanager, and `aegis` with tools, a policy and a Slack channel.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use hyper::Method;
use serde_json::json;

use super::look::Look;
use super::past;
use super::programs::{Process, Programs, run};
use super::story::{NAMESPACE, REPOSITORY, Story};
use crate::real::{ACTS, Mirror, RealCluster};
use crate::{Running, Scenario, World, client, free_addresses};

/// Longest until a program answers.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// What GitHub signs with.
const HOOK_SECRET: &str = "a-secret-of-the-webhook";

/// Allows what the story needs, in its own namespace.
const RULE: &str = r#"[[rule]]
name = "demo-restarts"
effect = "allow"
actions = ["restart"]
namespaces = ["production"]
workloads = ["api-server"]
budget = { executions = 1, per_seconds = 3600, pods = 5 }
must_match = [{ action = "restart", namespace = "production", workload = "api-server" }]
must_not_match = [{ action = "restart", namespace = "production", workload = "postgres" }]
"#;

/// Who grants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// A rule that allows the restart of this one service.
    #[default]
    Rule,
    /// Nobody but a human.
    Ask,
}

/// What runs where, and how fast.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub story: Story,
    pub policy: Policy,
    /// More of `aegis.toml`, from a table's head on: another log, another store.
    pub settings: String,
    /// Recorded notifications of earlier incidents.
    pub earlier: Option<PathBuf>,
    /// Milliseconds between two pods that a rollout replaces, and until a new one is ready.
    pub pace: (u64, u64),
    /// Takes the place of the Kubernetes stand-in, and goes at its own pace.
    pub cluster: Option<RealCluster>,
}

/// A running site; everything stops when it is dropped.
pub struct Site {
    pub world: World,
    /// Settings and data of all programs; what they say is in `FOLDER/NAME.log`.
    pub folder: PathBuf,
    pub story: Story,
    pub dispatcher: SocketAddr,
    pub gateway: SocketAddr,
    pub dashboard: SocketAddr,
    pub prometheus: SocketAddr,
    programs: Programs,
    processes: Vec<Process>,
    cluster: Option<(RealCluster, Mirror)>,
    _running: Running,
}

impl Site {
    /// Starts everything; the last to start is Prometheus, and with it the alert. `tell` hears of each step when it is done.
    ///
    /// # Errors
    /// What did not start, and its log.
    pub async fn start(
        programs: &Programs,
        folder: &Path,
        options: &Options,
        mut tell: impl FnMut(&str),
    ) -> anyhow::Result<Self> {
        let [dispatcher, gateway, dashboard, prometheus, alertmanager] = free_addresses()?;
        let story = options.story;
        let scenario = story.scenario(options.pace.0, options.pace.1);
        let world = World::new(scenario.clone());
        let running = world.start(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let mut site = Site {
            world,
            folder: folder.to_owned(),
            story,
            dispatcher,
            gateway,
            dashboard,
            prometheus,
            programs: programs.clone(),
            processes: Vec::new(),
            cluster: None,
            _running: running,
        };
        if let Some(cluster) = &options.cluster {
            site.cluster = Some((
                cluster.clone(),
                take_over(cluster, &site.world, scenario, folder).await?,
            ));
            tell(&format!(
                "a real API server at {} in the place of the stand-in",
                cluster.url
            ));
        }
        let policy = match options.policy {
            Policy::Rule => RULE,
            Policy::Ask => "",
        };
        std::fs::write(folder.join("policy.toml"), policy)?;
        std::fs::write(folder.join("aegis.toml"), site.settings(&options.settings))?;
        tell(&format!(
            "stand-ins for Kubernetes, Loki, Slack, GitHub and Jira at {}",
            site._running.url()
        ));
        if let Some(earlier) = &options.earlier {
            let mut command = site.aegis();
            command.arg("ingest").arg("--close").arg(earlier);
            let said = run(command).await.context("aegis ingest")?;
            tell(&format!("aegis ingest: {}", said.trim().replace('\n', "; ")));
        }
        let mut command = site.aegis();
        site.spawn("aegis", command.arg("run"))?;
        site.until_ready("aegis", gateway, "/healthz").await?;
        tell(&format!("aegis at {dispatcher} (dispatcher) and {gateway} (REST)"));
        site.start_alertmanager(alertmanager).await?;
        tell(&format!(
            "Alertmanager at {alertmanager}, with a webhook to the dispatcher"
        ));

        let now = Utc::now();
        let log = story.log(now);
        client::post(site._running.address(), "/loki/api/v1/push", &log).await?;
        let lines = log["streams"].as_array().into_iter().flatten();
        let lines: usize = lines
            .map(|stream| stream["values"].as_array().map_or(0, Vec::len))
            .sum();
        tell(&format!("{lines} log lines pushed to Loki"));
        let receiver = format!("http://{dispatcher}/webhooks/github");
        let hook = {
            let mut state = site.world.state();
            story.write_down(&mut state, now);
            state
                .github
                .hook(REPOSITORY, &receiver, HOOK_SECRET, &["deployment_status"])
        };
        if let Some((commit, at)) = story.release(now) {
            site.world.deploy(REPOSITORY, &commit, NAMESPACE, at).await;
            let state = site.world.state();
            let sent = state.github.hooks.iter().find(|one| one.id == hook);
            let answered = sent.and_then(|hook| hook.deliveries.last()).map(|one| one.status_code);
            drop(state);
            anyhow::ensure!(answered == Some(202), "GitHub's webhook was answered with {answered:?}");
            tell("a deployment of api-server, 40 min ago, told by a signed webhook of GitHub");
        }
        let samples = site.backfill(now).await?;
        tell(&format!("{samples} samples of two hours, made into blocks by promtool"));
        site.start_prometheus(alertmanager).await?;
        tell(&format!(
            "Prometheus at {prometheus}, with the rule {:?}",
            story.alert()
        ));
        Ok(site)
    }

    /// `aegis --config …`, for any of its commands.
    pub fn aegis(&self) -> Command {
        let mut command = Command::new(&self.programs.aegis);
        command.arg("--config").arg(self.folder.join("aegis.toml"));
        command
    }

    /// The same for people to type.
    pub fn typed(&self) -> String {
        let config = self.folder.join("aegis.toml");
        format!("{} --config {}", self.programs.aegis.display(), config.display())
    }

    /// Runs a command of `aegis` to its end; what it wrote.
    ///
    /// # Errors
    /// It failed; with what it wrote.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.aegis();
        command.args(arguments);
        run(command)
            .await
            .with_context(|| format!("aegis {}", arguments.join(" ")))
    }

    /// The incident as it stands.
    ///
    /// # Errors
    /// A program has ended.
    pub async fn look(&mut self) -> anyhow::Result<Look> {
        self.processes.iter_mut().try_for_each(Process::require)?;
        // A gateway that is busy answers next time.
        let look = Look::at(self.gateway, self.story.alert()).await;
        Ok(look.unwrap_or_else(|fault| Look {
            fault: format!("{fault:#}"),
            ..Look::default()
        }))
    }

    /// Looks until `found` has an answer.
    ///
    /// # Errors
    /// It has none within `patience`; with what was seen last.
    pub async fn until<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut found: impl FnMut(&Look) -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let look = self.look().await?;
            if let Some(answer) = found(&look) {
                return Ok(answer);
            }
            if tokio::time::Instant::now() >= deadline {
                let tails: Vec<String> = self.processes.iter().map(Process::tail).collect();
                bail!(
                    "waited {patience:?} for {what}; seen last: {look}\n{}",
                    tails.join("\n---\n")
                );
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The rule gets a threshold that nothing reaches, so that its alert ends.
    ///
    /// # Errors
    /// Prometheus does not take it.
    pub async fn end_alert(&self) -> anyhow::Result<()> {
        std::fs::write(self.folder.join("rules.yml"), self.story.rules(Some(2.0)).to_string())?;
        let (status, answer) = client::ask(self.prometheus, Method::POST, "/-/reload").await?;
        anyhow::ensure!(status == 200, "{status} {}", String::from_utf8_lossy(&answer));
        Ok(())
    }

    fn settings(&self, more: &str) -> String {
        let (folder, world) = (self.folder.display(), self._running.url());
        let (dispatcher, gateway, dashboard, prometheus) =
            (self.dispatcher, self.gateway, self.dashboard, self.prometheus);
        let kubernetes = match &self.cluster {
            Some((cluster, _)) => tools(cluster, &self.folder),
            None => format!("[tools.kubernetes]\nurl = \"{world}\""),
        };
        format!(
            r#"[data]
dir = "{folder}/data"
[dispatcher]
listen = "{dispatcher}"
[dispatcher.github]
secrets = ["{HOOK_SECRET}"]
[sql]
listen = "127.0.0.1:0"
[mcp]
listen = "127.0.0.1:0"
[dashboard]
listen = "{dashboard}"
[gateway]
listen = "{gateway}"
[tools.prometheus]
url = "http://{prometheus}"
[tools.loki]
url = "{world}"
{kubernetes}
[tools.github]
url = "{world}/github"
token = "a-token-for-the-stand-in"
repositories = ["{REPOSITORY}"]
[tools.jira]
url = "{world}/jira"
user = "aegis@example.org"
token = "a-token-for-the-stand-in"
projects = ["OPS"]
[policy]
file = "{folder}/policy.toml"
[notify.receivers.ops]
kind = "slack"
channel = "C0DEMO"
token = "a-token-for-the-stand-in"
url = "{world}/api"
per_minute = 1000
[[notify.routes]]
receivers = ["ops"]
{more}"#
        )
    }

    fn spawn(&mut self, name: &'static str, command: &mut Command) -> anyhow::Result<()> {
        self.processes.push(Process::start(name, command, &self.folder)?);
        Ok(())
    }

    async fn until_ready(&mut self, name: &str, address: SocketAddr, path: &str) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Ok((200, _)) = client::ask(address, Method::GET, path).await {
                return Ok(());
            }
            self.processes.iter_mut().try_for_each(Process::require)?;
            if tokio::time::Instant::now() >= deadline {
                bail!("{name} does not answer at {address}{path} within {PATIENCE:?}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn start_alertmanager(&mut self, listen: SocketAddr) -> anyhow::Result<()> {
        // JSON is YAML.
        let config = json!({
            "route": {"receiver": "aegis", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s",
                      "repeat_interval": "4h"},
            "receivers": [{"name": "aegis", "webhook_configs": [
                {"url": format!("http://{}/webhooks/alertmanager", self.dispatcher)}]}],
        });
        let file = self.folder.join("alertmanager.yml");
        std::fs::write(&file, config.to_string())?;
        let mut command = Command::new(&self.programs.alertmanager);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", self.folder.join("alertmanager").display()))
            .arg(format!("--web.listen-address={listen}"))
            .arg("--cluster.listen-address=");
        self.spawn("alertmanager", &mut command)?;
        self.until_ready("Alertmanager", listen, "/-/ready").await
    }

    /// Blocks of the past; how many samples.
    async fn backfill(&self, now: DateTime<Utc>) -> anyhow::Result<usize> {
        let scrape = format!(r#"job="world",instance="{}""#, self._running.address());
        let (text, samples) = past::openmetrics(&self.world.state().kubernetes, &self.story, now, &scrape);
        let file = self.folder.join("past.om");
        std::fs::write(&file, text)?;
        let mut command = Command::new(&self.programs.promtool);
        command.args(["tsdb", "create-blocks-from", "openmetrics"]);
        command.arg(&file).arg(self.folder.join("prometheus"));
        run(command)
            .await
            .context("promtool tsdb create-blocks-from openmetrics")?;
        Ok(samples)
    }

    async fn start_prometheus(&mut self, alertmanager: SocketAddr) -> anyhow::Result<()> {
        let targets = |address: SocketAddr| json!([{"targets": [address.to_string()]}]);
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [self.folder.join("rules.yml")],
            "alerting": {"alertmanagers": [{"static_configs": targets(alertmanager)}]},
            "scrape_configs": [{"job_name": "world", "static_configs": targets(self._running.address())}],
        });
        let file = self.folder.join("prometheus.yml");
        std::fs::write(&file, config.to_string())?;
        std::fs::write(self.folder.join("rules.yml"), self.story.rules(None).to_string())?;
        let mut command = Command::new(&self.programs.prometheus);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                self.folder.join("prometheus").display()
            ))
            .arg(format!("--web.listen-address={}", self.prometheus))
            .arg("--rules.alert.resend-delay=5s")
            .arg("--web.enable-lifecycle");
        self.spawn("prometheus", &mut command)?;
        self.until_ready("Prometheus", self.prometheus, "/-/ready").await
    }
}

/// The service account that acts, in the namespace of the story alone.
fn tools(cluster: &RealCluster, folder: &Path) -> String {
    let (url, token, ca) = (&cluster.url, folder.join("token"), cluster.ca_file());
    format!(
        "[tools.kubernetes]\nurl = \"{url}\"\ntoken_file = \"{}\"\nca_file = \"{}\"",
        token.display(),
        ca.display()
    )
}

/// The story's workloads on the real cluster, the roles of the guide, and the world as its mirror.
async fn take_over(cluster: &RealCluster, world: &World, scenario: Scenario, folder: &Path) -> anyhow::Result<Mirror> {
    let (asked, token) = (cluster.clone(), folder.join("token"));
    let prepared = tokio::task::spawn_blocking(move || {
        asked.seed(&scenario)?;
        asked.grant()?;
        asked.grant_acting(NAMESPACE)?;
        asked.token(ACTS, &token)
    });
    prepared.await?.context("the real cluster")?;
    Mirror::start(cluster, world).await
}
