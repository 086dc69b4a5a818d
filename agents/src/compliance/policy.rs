//! Policies: the shipped ones and those of a folder, each with examples that it is held to before it judges anything.

use std::collections::BTreeMap;
use std::path::Path;

use model::Severity;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::ComplianceSettings;
use super::condition::Condition;
use super::facts::KINDS;
use super::pack::sorted;

const SHIPPED: &[(&str, &str)] = &[
    ("changes.toml", include_str!("../../policies/changes.toml")),
    ("incidents.toml", include_str!("../../policies/incidents.toml")),
    ("secrets.toml", include_str!("../../policies/secrets.toml")),
];
const CONTROLS: &str = include_str!("../../policies/controls.toml");

/// Largest file of policies, in bytes. More is no file that people wrote.
const FILE: u64 = 1 << 20;

/// One policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub id: String,
    pub title: String,
    pub controls: Vec<String>,
    /// The kind of facts that it judges.
    pub fact: String,
    pub severity: Severity,
    pub remedy: String,
    /// Hex SHA-256 over what it says.
    pub hash: String,
    when: Vec<Condition>,
    require: Vec<Condition>,
}

/// A control and how policies serve it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Control {
    /// `SOC2:CC8.1`.
    pub id: String,
    pub title: String,
    /// Ids of policies.
    pub policies: Vec<String>,
}

/// All policies that count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies {
    policies: Vec<Policy>,
    titles: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    policy: Vec<WrittenPolicy>,
    /// Titles of controls.
    #[serde(default)]
    controls: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPolicy {
    id: String,
    title: String,
    controls: Vec<String>,
    fact: String,
    severity: Severity,
    remedy: String,
    #[serde(default)]
    when: Vec<Condition>,
    require: Vec<Condition>,
    #[serde(skip_serializing)]
    passes: Vec<Fields>,
    #[serde(skip_serializing)]
    fails: Vec<Fields>,
    #[serde(skip_serializing)]
    ignores: Vec<Fields>,
}

type Fields = BTreeMap<String, Value>;

impl Policy {
    pub fn governs(&self, kind: &str, fields: &Fields) -> bool {
        self.fact == kind && self.when.iter().all(|condition| condition.holds(fields))
    }

    pub fn holds(&self, fields: &Fields) -> bool {
        self.require.iter().all(|condition| condition.holds(fields))
    }
}

impl Policies {
    /// The shipped policies and those of the configured folder; else every fault, each with its file and its remedy.
    pub fn load(settings: &ComplianceSettings) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let mut policies = Policies::default();
        policies.read("controls.toml", CONTROLS, &mut faults);
        for (name, text) in SHIPPED {
            policies.read(name, text, &mut faults);
        }
        if let Some(folder) = &settings.policies {
            match files(folder) {
                Ok(files) => {
                    for (name, text) in files {
                        policies.read(&name, &text, &mut faults);
                    }
                }
                Err(fault) => faults.push(fault),
            }
        }
        for id in &settings.without {
            if !policies.policies.iter().any(|policy| policy.id == *id) {
                faults.push(format!("without holds `{id}`, and there is no such policy: remove it"));
            }
        }
        policies
            .policies
            .retain(|policy| !settings.without.contains(&policy.id));
        policies.policies.sort_by(|one, other| one.id.cmp(&other.id));
        match faults.is_empty() {
            true => Ok(policies),
            false => Err(faults),
        }
    }

    /// By id.
    pub fn all(&self) -> &[Policy] {
        &self.policies
    }

    /// Every control that a policy serves, by id.
    pub fn controls(&self) -> Vec<Control> {
        let mut controls: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for policy in &self.policies {
            for control in &policy.controls {
                controls.entry(control).or_default().push(policy.id.clone());
            }
        }
        let control = |(id, policies): (&str, Vec<String>)| Control {
            id: id.to_owned(),
            title: self.titles.get(id).cloned().unwrap_or_default(),
            policies,
        };
        controls.into_iter().map(control).collect()
    }

    fn read(&mut self, file: &str, text: &str, faults: &mut Vec<String>) {
        let written: Written = match toml_edit::de::from_str(text) {
            Ok(written) => written,
            Err(fault) => {
                return faults.push(format!(
                    "policies: {file} is no file of policies: {}",
                    fault.to_string().trim()
                ));
            }
        };
        self.titles.extend(written.controls);
        for one in written.policy {
            let found = one.faults();
            if found.is_empty() {
                let policy = one.policy();
                self.policies.retain(|known| known.id != policy.id);
                self.policies.push(policy);
            }
            faults.extend(
                found
                    .into_iter()
                    .map(|fault| format!("policies: {file}: policy `{}`: {fault}", one.id)),
            );
        }
    }
}

impl WrittenPolicy {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if self.id.is_empty() || !self.id.bytes().all(plain) {
            faults.push("its id: small letters, digits and `-`".to_owned());
        }
        if !KINDS.contains(&self.fact.as_str()) {
            faults.push(format!(
                "fact `{}` is none: write one of {}",
                self.fact,
                KINDS.join(", ")
            ));
        }
        let framework = |control: &String| {
            control
                .split_once(':')
                .is_some_and(|(a, b)| !a.is_empty() && !b.is_empty())
        };
        if self.controls.is_empty() || !self.controls.iter().all(framework) {
            faults.push("controls: write at least one, as `SOC2:CC8.1`".to_owned());
        }
        if self.require.is_empty() {
            faults.push("require is empty: it would judge nothing".to_owned());
        }
        let conditions = self.when.iter().chain(&self.require);
        faults.extend(conditions.filter_map(Condition::fault));
        if self.fails.is_empty() {
            faults.push("fails is empty: give an example that it must find".to_owned());
        }
        if !faults.is_empty() {
            return faults;
        }
        let governs = |fields: &Fields| self.when.iter().all(|condition| condition.holds(fields));
        let holds = |fields: &Fields| self.require.iter().all(|condition| condition.holds(fields));
        for (name, examples, expected) in [
            ("passes", &self.passes, (true, true)),
            ("fails", &self.fails, (true, false)),
        ] {
            for (number, fields) in examples.iter().enumerate() {
                if (governs(fields), holds(fields)) != expected {
                    faults.push(format!("it judges example {} of {name} otherwise", number + 1));
                }
            }
        }
        for (number, fields) in self.ignores.iter().enumerate() {
            if governs(fields) {
                faults.push(format!("it judges example {} of ignores", number + 1));
            }
        }
        faults
    }

    fn policy(&self) -> Policy {
        // A struct of texts and numbers always encodes. Its examples are no part of what it says.
        let said = sorted(&serde_json::to_value(self).unwrap_or_default()).to_string();
        Policy {
            id: self.id.clone(),
            title: self.title.clone(),
            controls: self.controls.clone(),
            fact: self.fact.clone(),
            severity: self.severity,
            remedy: self.remedy.clone(),
            hash: Sha256::digest(said).iter().map(|byte| format!("{byte:02x}")).collect(),
            when: self.when.clone(),
            require: self.require.clone(),
        }
    }
}

/// Name and text of every `*.toml`, in the order of their names.
fn files(folder: &Path) -> Result<Vec<(String, String)>, String> {
    let unreadable = |fault: std::io::Error| format!("policies: {} cannot be read: {fault}", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let length = std::fs::metadata(&path).map_err(unreadable)?.len();
            if length > FILE {
                return Err(format!("policies: {} is larger than {FILE} bytes", path.display()));
            }
            let text = std::fs::read_to_string(&path).map_err(unreadable)?;
            found.push((path.display().to_string(), text));
        }
    }
    found.sort();
    match found.is_empty() {
        true => Err(format!(
            "policies: {} holds no *.toml: write some, or remove the setting",
            folder.display()
        )),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_policies_are_sound() {
        let policies = Policies::load(&ComplianceSettings::default()).unwrap();
        let ids: Vec<&str> = policies.all().iter().map(|policy| policy.id.as_str()).collect();
        assert_eq!(ids.len(), 12, "{ids:?}");
        for control in policies.controls() {
            assert!(
                !control.title.is_empty(),
                "{} has no title in controls.toml",
                control.id
            );
        }
    }

    #[test]
    fn a_folder_takes_the_place_of_shipped_ones_and_adds_others() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let settings = ComplianceSettings {
            policies: Some(folder.path().to_owned()),
            ..ComplianceSettings::default()
        };
        let check = |expected: &[&str]| {
            let faults = Policies::load(&settings).unwrap_err();
            assert_eq!(faults.len(), expected.len(), "{faults:?}");
            for (fault, expected) in faults.iter().zip(expected) {
                assert!(fault.contains(expected), "{fault}");
            }
        };
        check(&["holds no *.toml"]);
        let policy = |id: &str, most: u32| {
            format!(
                "[[policy]]\nid = \"{id}\"\ntitle = \"t\"\ncontrols = [\"X:1\"]\nfact = \"resolved\"\nseverity = \"info\"\nremedy = \"r\"\n\
                 require = [{{ field = \"minutes\", at_most = {most} }}]\npasses = [{{ minutes = 5 }}]\nfails = [{{ minutes = 20 }}]\nignores = []\n"
            )
        };
        write("a.toml", &policy("critical-recovered", 10));
        write("b.toml", &policy("own", 10));
        let policies = Policies::load(&settings).unwrap();
        assert_eq!(policies.all().len(), 13);
        let shipped = Policies::load(&ComplianceSettings::default()).unwrap();
        let hash = |policies: &Policies| {
            policies
                .all()
                .iter()
                .find(|one| one.id == "critical-recovered")
                .unwrap()
                .hash
                .clone()
        };
        assert_ne!(hash(&policies), hash(&shipped));

        write("b.toml", &policy("own", 30));
        check(&["example 1 of fails"]);
        write("b.toml", &policy("own", 1));
        check(&["example 1 of passes"]);
        write(
            "b.toml",
            &policy("own", 10).replace("resolved", "weather").replace("X:1", "X"),
        );
        check(&["fact `weather`", "as `SOC2:CC8.1`"]);
        write("b.toml", "policy = 7");
        check(&["no file of policies"]);
    }

    #[test]
    fn without_some() {
        let without = |id: &str| {
            Policies::load(&ComplianceSettings {
                without: vec![id.to_owned()],
                ..ComplianceSettings::default()
            })
        };
        assert_eq!(without("change-window").unwrap().all().len(), 11);
        assert!(without("nothing").unwrap_err()[0].contains("no such policy"));
    }
}
