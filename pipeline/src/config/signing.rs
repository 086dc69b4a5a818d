//! `[signing]`: the key with which the parts of one installation know each other's records.

use std::path::PathBuf;

use anyhow::Context as _;
use model::Signer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::secret::Secret;

use super::{Config, LogKind, own_secret};

/// Keys that sign what asks for, allows or reports a deed: every record of `remediations`, and the steps on `incidents`. The executor
/// acts on what the gate signed and on nothing else, so whoever can write to the log cannot make it act.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SigningSettings {
    /// At least 32 bytes each, the same in every process of an installation; `openssl rand -hex 32` makes one. The first signs, signatures
    /// of all are known, so a new key goes in front of the old one. Another list is another setting of crew and gate: stop Aegis cleanly
    /// before. Empty: on the embedded log a key is made in `signing.key` of the data folder at the first start; on Kafka nothing is signed,
    /// and a tool that acts cannot be configured.
    pub keys: Vec<Secret>,
}

/// The key of an installation that configures none, in the data folder.
const FILE: &str = "signing.key";

impl SigningSettings {
    /// What is wrong with the keys; `acts`: a tool that changes the world is configured.
    pub fn faults(&self, log: LogKind, acting: &[&str]) -> Vec<(&'static str, String)> {
        if let Err(weak) = Signer::new(self.bytes()) {
            let help = "`openssl rand -hex 32` makes a key; give it as { file = \"/path\" } or { env = \"NAME\" }";
            return vec![(help, weak.to_string())];
        }
        if self.keys.is_empty() && log == LogKind::Kafka && !acting.is_empty() {
            let problem = format!(
                "no key, and {} is configured: whoever can write to the topic remediations could make it act",
                acting.join(", ")
            );
            let help =
                "write keys = [{ file = \"/path\" }], the same in every process; `openssl rand -hex 32` makes a key";
            return vec![(help, problem)];
        }
        Vec::new()
    }

    fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().map(|key| key.expose().as_bytes())
    }

    fn file(config: &Config) -> Option<PathBuf> {
        let own = config.signing.keys.is_empty() && config.log.kind == LogKind::Embedded;
        own.then(|| config.data.dir.join(FILE))
    }

    /// Makes the key of the data folder if it is needed and missing. It is whole and durable before anything is signed with it.
    pub(crate) fn make_key(&self, config: &Config) -> anyhow::Result<()> {
        let Some(path) = Self::file(config) else {
            return Ok(());
        };
        own_secret::make(&path)
    }

    /// The keys of the configuration, or that of the data folder; none where there is neither.
    pub(crate) fn signer(&self, config: &Config) -> anyhow::Result<Signer> {
        let Some(path) = Self::file(config) else {
            return Ok(Signer::new(self.bytes())?);
        };
        let Some(text) = own_secret::read(&path)? else {
            return Ok(Signer::without_key());
        };
        Signer::new([text.as_bytes()]).with_context(|| format!("the key {} cannot be used", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_of_a_data_folder_is_made_once_for_us_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.data.dir = folder.path().to_owned();
        assert!(config.signer().unwrap().key_names().is_empty(), "looking makes nothing");
        config.signing.make_key(&config).unwrap();
        let path = folder.path().join(FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let names = config.signer().unwrap().key_names();
        config.signing.make_key(&config).unwrap();
        assert_eq!((config.signer().unwrap().key_names(), names.len()), (names, 1));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = config.signer().unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "short").unwrap();
        assert!(config.signer().is_err());
    }

    #[test]
    fn a_key_is_demanded_where_others_can_write() {
        let keys = |keys: &[&str]| SigningSettings {
            keys: keys.iter().map(|key| Secret::from(*key)).collect(),
        };
        let good = "0123456789abcdef0123456789abcdef";
        let check = |settings: &SigningSettings, log, acting: &[&str], faults: usize| {
            let found = settings.faults(log, acting);
            assert_eq!(found.len(), faults, "{found:?}");
            assert!(!format!("{found:?}").contains("hunter2"));
        };
        check(&keys(&[]), LogKind::Embedded, &["tools.kubernetes"], 0);
        check(&keys(&[]), LogKind::Kafka, &[], 0);
        check(&keys(&[]), LogKind::Kafka, &["tools.kubernetes"], 1);
        check(&keys(&[good]), LogKind::Kafka, &["tools.kubernetes"], 0);
        check(&keys(&[good, "hunter2"]), LogKind::Embedded, &[], 1);
    }
}
