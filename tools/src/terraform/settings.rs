//! `[tools.terraform]`: the doc comments here are the configuration's reference.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Terraform, or a program with its command line (OpenTofu).
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TerraformSettings {
    /// The program, as an absolute path. It is started without a shell. Empty: there is none.
    pub executable: PathBuf,
    /// Folders that may be looked at, initialised (`terraform init`) by whoever deploys. No others are, whoever asks.
    pub folders: Vec<TerraformFolder>,
    /// Names of environment variables that the program is handed on from ours, such as `AWS_PROFILE`. It gets `PATH` and `HOME`, and no
    /// others.
    pub environment: Vec<String>,
    /// Seconds that one question may take. Drift asks the providers.
    pub timeout_s: u64,
    /// Seconds that applying a plan may take. After that it is ended, which may leave a lock behind.
    pub apply_timeout_s: u64,
    /// Most bytes taken in of one answer. Larger answers are refused.
    pub max_answer_bytes: usize,
    /// Most changes and resources handed on.
    pub max_changes: usize,
}

/// A folder with Terraform's code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TerraformFolder {
    /// What questions, policies and approvals call it: small letters, digits and `-`.
    pub name: String,
    /// Absolute path.
    pub path: PathBuf,
    /// The environment that it describes. Empty: of every one.
    pub environment: String,
    /// Folder of the saved plans, as an absolute path. Absent: `path`.
    pub plans: Option<PathBuf>,
    /// Whether a saved plan may be applied that was approved.
    pub apply: bool,
}

impl Default for TerraformSettings {
    fn default() -> Self {
        TerraformSettings {
            executable: PathBuf::new(),
            folders: Vec::new(),
            environment: Vec::new(),
            timeout_s: 120,
            apply_timeout_s: 1_800,
            max_answer_bytes: 32 << 20,
            max_changes: 500,
        }
    }
}

impl TerraformSettings {
    /// Whether anybody wrote what to run, or where.
    pub fn configured(&self) -> bool {
        !self.executable.as_os_str().is_empty() || !self.folders.is_empty()
    }

    /// Every fault of these settings, each with its remedy; empty when they can be used.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !self.executable.is_absolute() {
            faults.push(
                "executable is no absolute path: write where the program is, such as `/usr/bin/terraform`".to_owned(),
            );
        }
        if self.folders.is_empty() {
            faults.push("folders is empty: write the folders that may be looked at".to_owned());
        }
        for (place, folder) in self.folders.iter().enumerate() {
            let name = &folder.name;
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if name.is_empty() || name.len() > 63 || !name.bytes().all(plain) {
                faults.push(format!(
                    "folders holds the name `{name}`: small letters, digits and `-`, at most 63"
                ));
            }
            if self.folders[..place].iter().any(|other| other.name == *name) {
                faults.push(format!(
                    "folders holds the name `{name}` twice: give each folder its own"
                ));
            }
            for (key, path) in [("path", Some(&folder.path)), ("plans", folder.plans.as_ref())] {
                if path.is_some_and(|path| !path.is_absolute()) {
                    faults.push(format!("folders: {key} of `{name}` is no absolute path"));
                }
            }
        }
        let variable = |name: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            !name.is_empty() && name.bytes().all(plain)
        };
        for name in self.environment.iter().filter(|name| !variable(name)) {
            faults.push(format!(
                "environment holds `{name}`, which is no name of a variable: write names, not values"
            ));
        }
        for (key, value) in [
            ("timeout_s", self.timeout_s),
            ("apply_timeout_s", self.apply_timeout_s),
            ("max_answer_bytes", self.max_answer_bytes as u64),
            ("max_changes", self.max_changes as u64),
        ] {
            if value == 0 {
                faults.push(format!("{key} is 0: nothing could be asked"));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn faults() {
        let check = |settings: serde_json::Value, expected: &[&str]| {
            let settings: TerraformSettings = serde_json::from_value(settings).unwrap();
            let faults = settings.faults();
            assert_eq!(faults.len(), expected.len(), "{faults:?}");
            for (fault, expected) in faults.iter().zip(expected) {
                assert!(fault.contains(expected), "{fault}");
            }
        };
        let shop = json!({"name": "shop", "path": "/srv/shop"});
        check(
            json!({"executable": "/usr/bin/terraform", "folders": [shop], "environment": ["AWS_PROFILE"]}),
            &[],
        );
        check(
            json!({"executable": "terraform", "folders": [shop]}),
            &["no absolute path"],
        );
        check(json!({"executable": "/t"}), &["folders is empty"]);
        check(
            json!({"executable": "/t", "folders": [shop, shop], "environment": ["A=b"], "timeout_s": 0}),
            &["twice", "`A=b`", "timeout_s is 0"],
        );
        check(
            json!({"executable": "/t", "folders": [{"name": "../x", "path": "srv", "plans": "p"}]}),
            &["`../x`", "path of", "plans of"],
        );
    }
}
