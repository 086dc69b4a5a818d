//! What no schema can say: settings that are right alone and wrong together, or wrong on this machine.
//!
//! Nothing is changed and no network is used: `aegis check` runs anywhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use agents::compliance::Policies;
use model::topics;
use stream::human::HumanDuration;

use super::fault::{Fault, Place, Warning, nearest};
use super::sections::LogKind;
use super::{Config, walk};

/// One run over one configuration.
pub struct Checks<'a> {
    config: &'a Config,
    place_of: &'a dyn Fn(&[&str]) -> Place,
    pub faults: Vec<Fault>,
    pub warnings: Vec<Warning>,
}

impl<'a> Checks<'a> {
    pub fn new(config: &'a Config, place_of: &'a dyn Fn(&[&str]) -> Place) -> Self {
        Checks {
            config,
            place_of,
            faults: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub fn run(&mut self) {
        self.log();
        self.topics();
        self.listeners();
        self.folders();
        self.snapshots();
        self.store();
        self.retention();
        self.policy();
        self.signing();
        self.notify();
        self.vectors();
        self.logging();
        self.telemetry();
    }

    fn log(&mut self) {
        let kafka = &self.config.log.kafka;
        match self.config.log.kind {
            LogKind::Kafka => {
                if let Err(e) = kafka.validate() {
                    self.fault(&format!("log.kafka.{}", e.field), e.problem, None);
                }
            }
            LogKind::Embedded => {
                let place = (self.place_of)(&["log", "kafka"]);
                if place != Place::Default {
                    self.warnings.push(Warning(Fault {
                        place,
                        key: "log.kafka".to_owned(),
                        problem: "not used, because log.kind is \"embedded\"".to_owned(),
                        help: Some("write kind = \"kafka\" in [log] to use it".to_owned()),
                    }));
                }
            }
        }
    }

    fn topics(&mut self) {
        for name in self.config.topics.each.keys() {
            if !topics::ALL.contains(&name.as_str()) {
                let help = match nearest(name, topics::ALL.iter().copied()) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("the topics are {}", topics::ALL.join(", ")),
                };
                let path = ["topics", "each", name.as_str()];
                self.fault_at(&path, "there is no topic of this name".to_owned(), Some(help));
            }
        }
        let needed = self.config.least_retention();
        for topic in [topics::EVENTS_RAW, topics::LOGS, topics::SIGNALS, topics::TRANSITIONS] {
            let Some(kept) = self.config.retention(topic).time else {
                continue;
            };
            if kept < needed {
                let own = self.config.topics.each.contains_key(topic);
                let path: &[&str] = if own {
                    &["topics", "each", topic, "retention"]
                } else {
                    &["topics", "retention"]
                };
                let problem = format!(
                    "{topic} is kept for {}, shorter than lateness, idle_after and two snapshots together",
                    HumanDuration(kept)
                );
                self.fault_at(
                    path,
                    problem,
                    Some(format!("write at least \"{}\"", HumanDuration(needed))),
                );
            }
        }
    }

    fn listeners(&mut self) {
        for fault in self.config.dispatcher.faults() {
            self.component_fault("dispatcher", &fault);
        }
        for fault in self.config.sources.kubernetes.faults() {
            self.component_fault("sources.kubernetes", &fault);
        }
        for (key, problem) in self.config.normalize.faults() {
            // A name may hold what separates keys elsewhere.
            let path: Vec<&str> = std::iter::once("normalize").chain(key.splitn(3, '.')).collect();
            self.fault_at(&path, problem, None);
        }
        for name in self.config.dispatcher.json.keys() {
            if !self.config.normalize.json.contains_key(name) {
                self.warnings.push(Warning(Fault {
                    place: (self.place_of)(&["dispatcher", "json", name]),
                    key: format!("dispatcher.json.{name}"),
                    problem: "has no rules, so what comes there becomes info signals".to_owned(),
                    help: Some(format!("write [normalize.json.{name}]")),
                }));
            }
        }
        for fault in self.config.tools.faults() {
            self.component_fault("tools", &fault);
        }
        for fault in self.config.agents.faults() {
            self.component_fault("agents", &fault);
        }
        for fault in Policies::load(&self.config.compliance).err().into_iter().flatten() {
            self.component_fault("compliance", &fault);
        }
        for fault in self.config.gateway.faults() {
            self.component_fault("gateway", &fault);
        }
        for fault in self.config.shared.faults() {
            self.component_fault("shared", &fault);
        }
        for fault in self.config.sql.faults() {
            self.component_fault("sql", &fault);
        }
        let gateway = &self.config.gateway;
        let tokens = !gateway.read_tokens.is_empty() || !gateway.tokens.is_empty();
        for fault in self.config.dashboard.faults(tokens) {
            self.component_fault("dashboard", &fault);
        }
        for fault in self.config.live.faults() {
            self.component_fault("live", &fault);
        }
        for fault in self.config.mcp.faults(tokens) {
            self.component_fault("mcp", &fault);
        }
        let mut taken: BTreeMap<u16, (&str, SocketAddr)> = BTreeMap::new();
        for (key, address) in self.config.listeners() {
            // Port 0 asks for any free port.
            if address.port() == 0 {
                continue;
            }
            match taken.get(&address.port()) {
                Some((other, at)) if same_interface(*at, address) => {
                    let problem = format!("{address} is taken by {other} ({at})");
                    self.fault(key, problem, Some("give each listener a port of its own".to_owned()));
                }
                _ => {
                    taken.insert(address.port(), (key, address));
                }
            }
        }
    }

    fn folders(&mut self) {
        let help = || Some("name a folder that can be written, or one that can be made".to_owned());
        if let Some(problem) = cannot_write(&self.config.data.dir) {
            self.fault("data.dir", problem, help());
        }
        // The default lies in the data folder, which was looked at.
        if self.config.archive.enabled
            && !self.config.archive.path.is_empty()
            && let Some(problem) = cannot_write(&self.config.archive_dir())
        {
            self.fault("archive.path", problem, help());
        }
    }

    fn snapshots(&mut self) {
        let url = self.config.snapshots.url.as_str();
        let help = || Some("write \"file:///var/lib/aegis/snapshots\", or leave it empty".to_owned());
        match self.config.snapshots.folder() {
            Some(folder) if !folder.is_absolute() => {
                self.fault("snapshots.url", format!("{url:?} names no absolute folder"), help());
            }
            Some(folder) => {
                if let Some(problem) = cannot_write(&folder) {
                    self.fault("snapshots.url", problem, help());
                }
            }
            None if url.is_empty() => {}
            None => {
                let scheme = url.split_once(':').map_or("no scheme", |(scheme, _)| scheme);
                let problem = format!("this program keeps snapshots in a folder, and this is {scheme:?}");
                self.fault("snapshots.url", problem, help());
            }
        }
    }

    /// Rows that nobody could look at before they are gone are a slip of the pen.
    fn retention(&mut self) {
        let kept = self.config.store.retention;
        let shortest = std::time::Duration::from_secs(3_600);
        for (key, time) in [
            ("store.retention.signals", kept.signals),
            ("store.retention.incident_events", kept.incident_events),
            ("store.retention.agent_executions", kept.agent_executions),
            ("store.retention.remediations", kept.remediations),
            ("store.retention.pipeline_metrics", kept.pipeline_metrics),
            ("store.retention.by_minute", kept.by_minute),
            ("store.retention.by_hour", kept.by_hour),
            ("store.retention.by_day", kept.by_day),
        ] {
            if let Some(time) = time.filter(|time| time.get() < shortest) {
                let help = Some("write for example \"90d\", or leave it out: then nothing is deleted".to_owned());
                self.fault(key, format!("{time} is less than an hour"), help);
            }
        }
    }

    fn store(&mut self) {
        let url = self.config.store.url.as_str();
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.trim_start_matches("//").split('?').next().unwrap_or_default();
            if path.is_empty() {
                let help = Some("write for example \"sqlite:///var/lib/aegis/aegis.db\"".to_owned());
                return self.fault("store.url", "no path after sqlite:".to_owned(), help);
            }
            let folder = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty());
            if Path::new(path).is_dir() {
                self.fault(
                    "store.url",
                    format!("{path} is a folder"),
                    Some("name a file in it".to_owned()),
                );
            } else if let Some(problem) = cannot_write(folder.unwrap_or(Path::new("."))) {
                let help = Some("name a file in a folder that can be written".to_owned());
                self.fault("store.url", problem, help);
            }
        } else if !url.is_empty() && !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            // The URL itself may hold a password.
            let scheme = url.split_once(':').map_or("no scheme", |(scheme, _)| scheme);
            let problem = format!("the store can be SQLite or PostgreSQL, and this is {scheme:?}");
            let help = "write \"sqlite://PATH\" or \"postgres://USER@HOST:5432/DATABASE\"".to_owned();
            self.fault("store.url", problem, Some(help));
        }
    }

    fn policy(&mut self) {
        for problem in self.config.policy.load().err().into_iter().flatten() {
            let help = Some("docs/guides/remediation.md shows a policy".to_owned());
            self.fault("policy.file", problem, help);
        }
    }

    fn signing(&mut self) {
        let acting = self.config.tools.acting();
        for (help, problem) in self.config.signing.faults(self.config.log.kind, &acting) {
            self.fault("signing.keys", problem, Some(help.to_owned()));
        }
    }

    fn notify(&mut self) {
        for (key, problem) in self.config.notify.faults() {
            self.fault(&format!("notify.{key}"), problem, None);
        }
        for (key, problem) in self.config.gaps.faults() {
            self.fault(&format!("gaps.{key}"), problem, None);
        }
        for (key, problem) in self.config.heartbeat.faults() {
            self.fault(&format!("heartbeat.{key}"), problem, None);
        }
        if !self.config.heartbeat.url.is_empty() && self.config.normalize.environment_labels.is_empty() {
            let problem = "normalize.environment_labels is empty, so canaries could not be told from alerts".to_owned();
            self.fault(
                "heartbeat.url",
                problem,
                Some("name the label of the environment".to_owned()),
            );
        }
    }

    /// A model that is not there is no reason not to start: what is alike is told later.
    fn vectors(&mut self) {
        for (key, problem) in self.config.vectors.faults() {
            self.fault(&format!("vectors.{key}"), problem, None);
        }
        let (models, data_dir) = (&self.config.models, &self.config.data.dir);
        for (key, problem) in models.faults() {
            self.fault(&format!("models.{key}"), problem, None);
        }
        if !self.config.vectors.enabled {
            return;
        }
        for (key, problem) in models.warnings(data_dir) {
            self.warnings.push(Warning(Fault {
                place: (self.place_of)(&["models", key]),
                key: format!("models.{key}"),
                problem,
                help: Some("until then incidents are as always, and `aegis similar` has no answer".to_owned()),
            }));
        }
    }

    fn logging(&mut self) {
        if let Err(problem) = crate::logging::parse_filter(&self.config.logging.filter) {
            let help = Some("write for example \"info\" or \"info,sources=debug\"".to_owned());
            self.fault("logging.filter", problem, help);
        }
    }

    fn telemetry(&mut self) {
        let telemetry = &self.config.telemetry;
        let faults = telemetry.faults();
        for fault in &faults {
            self.component_fault("telemetry", fault);
        }
        let named = url_port(&telemetry.otlp_endpoint);
        let door = self
            .config
            .listeners()
            .into_iter()
            .find(|(_, address)| Some(address.port()) == named);
        if let (true, Some((key, address))) = (faults.is_empty(), door)
            && own_host(&telemetry.otlp_endpoint, address)
        {
            let problem = format!(
                "{} is our own door ({key}): what it says would make it say more",
                telemetry.otlp_endpoint
            );
            let help = Some("name a collector that does not send to Aegis what comes from Aegis".to_owned());
            self.fault("telemetry.otlp_endpoint", problem, help);
        }
    }

    /// A component's own words: `field…: problem`, or `field is …`.
    fn component_fault(&mut self, table: &str, fault: &str) {
        let end = fault.find([' ', ':']).unwrap_or(fault.len());
        let (field, rest) = fault.split_at(end);
        self.fault(
            &format!("{table}.{field}"),
            rest.trim_start_matches([':', ' ']).to_owned(),
            None,
        );
    }

    fn fault(&mut self, key: &str, problem: String, help: Option<String>) {
        let path: Vec<&str> = key.split('.').collect();
        self.fault_at(&path, problem, help);
    }

    fn fault_at(&mut self, path: &[&str], problem: String, help: Option<String>) {
        let key = path.iter().fold(String::new(), |key, step| walk::join(&key, step));
        self.faults.push(Fault {
            place: (self.place_of)(path),
            key,
            problem,
            help,
        });
    }
}

fn same_interface(a: SocketAddr, b: SocketAddr) -> bool {
    a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified()
}

/// Why nothing can be written to `folder`, as far as can be seen without writing.
fn cannot_write(folder: &Path) -> Option<String> {
    if folder.as_os_str().is_empty() {
        return Some("the path is empty".to_owned());
    }
    let mut here = folder;
    loop {
        match std::fs::metadata(here) {
            Ok(found) if !found.is_dir() => return Some(format!("{} is not a folder", here.display())),
            Ok(found) if found.permissions().readonly() => {
                return Some(format!("folder {} cannot be written", here.display()));
            }
            Ok(_) => return None,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => match here.parent() {
                Some(parent) if parent.as_os_str().is_empty() => here = Path::new("."),
                Some(parent) => here = parent,
                None => return None,
            },
            Err(e) => return Some(format!("cannot look at {}: {e}", here.display())),
        }
    }
}

fn url_port(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("://")?;
    let (_, port) = rest.trim_end_matches('/').rsplit_once(':')?;
    port.parse().ok()
}

/// Whether an endpoint names this machine by the address that `listener` has.
fn own_host(endpoint: &str, listener: SocketAddr) -> bool {
    let host = endpoint.split_once("://").and_then(|(_, rest)| rest.rsplit_once(':'));
    let host = host.map_or("", |(host, _)| host).trim_matches(['[', ']']);
    let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    local || host.parse::<std::net::IpAddr>() == Ok(listener.ip())
}
