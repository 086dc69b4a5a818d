//! `aegis run` and `aegis demo`: their arguments.

use clap::{Args, ValueEnum};

use crate::config::{Config, LogKind};

/// Run the pipeline until it is stopped
///
/// Listens for webhooks, turns alerts into incidents, writes them to the tables and serves metrics and the REST API. With no
/// configuration everything is kept in ./aegis-data and nothing else is needed. SIGINT and SIGTERM stop it in order: what was
/// taken in is committed, then it exits with 0.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
Examples:
  aegis run                                       everything, on the embedded log
  aegis run --config /etc/aegis.toml
  AEGIS_LOG__KIND=kafka aegis run                 on Apache Kafka at 127.0.0.1:9092
  aegis run --roles dispatcher,gateway            one part of several processes (needs Kafka)

Then, to try it:
  curl -d @alerts.json http://127.0.0.1:3001/webhooks/alertmanager")]
pub struct RunArgs {
    /// Only these roles, separated by commas; several processes share the work through Kafka [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ROLES")]
    pub roles: Vec<Role>,
}

/// What a process can be started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// Takes webhooks and log lines, watches Kubernetes
    Dispatcher,
    /// Decodes raw events into signals
    Normalize,
    /// Mines log lines
    Templates,
    /// Lets through what is new
    Dedupe,
    /// Forms incidents
    Correlate,
    /// Leads the investigation of incidents
    Crew,
    /// Judges what may be done
    Gate,
    /// Carries out the agents' steps and what was granted
    Workers,
    /// Writes tables and archive
    Sinks,
    /// Serves REST and metrics
    Gateway,
}

impl RunArgs {
    /// Whether this process has the role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.is_empty() || self.roles.contains(&role)
    }

    /// Why these roles cannot be had under this configuration.
    pub fn refused(&self, config: &Config) -> Option<String> {
        let all = Role::value_variants().iter().all(|role| self.has(*role));
        (!all && config.log.kind == LogKind::Embedded).then(|| {
            "--roles names only some roles, but the embedded log belongs to one process, which must have them all: \
             leave --roles out, or set log.kind = \"kafka\""
                .to_owned()
        })
    }
}

/// Run Aegis on a recorded storm of alerts and explain what it made of it
///
/// Starts everything in a data folder of its own, sends a storm of several overlapping incidents with noise, then shows how many alerts
/// came in, which incidents came out and where to look.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
Examples:
  aegis demo                              run the storm, show the summary, stop
  aegis demo --keep                       leave it running to look around
  aegis demo --port-offset 10000          when 3001 or 8000 are taken

Afterwards:
  aegis incidents
  aegis sql \"select severity, count(*) from incidents group by 1\"")]
pub struct DemoArgs {
    /// Keep running after the summary, until stopped
    #[arg(long)]
    pub keep: bool,
    /// Add this to every port
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub port_offset: u16,
    /// The summary as JSON
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_roles_need_kafka() {
        let mut config = Config::default();
        let some = RunArgs {
            roles: vec![Role::Gateway],
        };
        assert!(
            some.refused(&config)
                .is_some_and(|problem| problem.contains("log.kind"))
        );
        assert_eq!(RunArgs::default().refused(&config), None);
        assert_eq!(
            RunArgs {
                roles: Role::value_variants().to_vec()
            }
            .refused(&config),
            None
        );
        config.log.kind = LogKind::Kafka;
        assert_eq!(some.refused(&config), None);
    }
}
