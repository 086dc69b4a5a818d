//! Secrets: by reference, in plain text with a warning, and never shown.

use std::collections::BTreeMap;

use pipeline::config::{Config, load};

struct Loaded {
    config: Option<Config>,
    /// Faults and warnings.
    said: Vec<String>,
}

fn loaded(toml: &str, variables: &[(&str, &str)]) -> Loaded {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("aegis.toml");
    std::fs::write(&file, toml).expect("a file");
    let environment: BTreeMap<String, String> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let (config, said): (_, Vec<String>) = match load(Some(&file), &environment) {
        Ok((config, warnings)) => (Some(config), warnings.iter().map(ToString::to_string).collect()),
        Err(faults) => (None, faults.iter().map(ToString::to_string).collect()),
    };
    let path = file.display().to_string();
    Loaded {
        config,
        said: said.iter().map(|line| line.replace(&path, "FILE")).collect(),
    }
}

fn password(config: &Config) -> Option<&str> {
    config.store.password.as_ref().map(|secret| secret.expose())
}

#[track_caller]
fn assert_hidden(config: &Config, secrets: &[&str]) {
    let debug = format!("{config:?}");
    let json = serde_json::to_string(config).expect("JSON");
    for secret in secrets {
        assert!(!debug.contains(secret), "Debug shows {secret}");
        assert!(!json.contains(secret), "JSON shows {secret}");
    }
}

#[test]
fn from_an_environment_variable() {
    let read = loaded(
        "[store]\npassword = { env = \"DB_PASSWORD\" }\n",
        &[("DB_PASSWORD", "hunter2")],
    );
    assert_eq!(read.said, [""; 0]);
    let config = read.config.expect("all right");
    assert_eq!(password(&config), Some("hunter2"));
    assert_hidden(&config, &["hunter2"]);

    let missing = loaded("[store]\npassword = { env = \"DB_PASSWORD\" }\n", &[]);
    assert_eq!(
        missing.said,
        [
            "FILE:2:12: store.password: environment variable DB_PASSWORD is not set; set DB_PASSWORD where aegis is started, \
          or use { file = \"/path\" }"
        ]
    );
    let empty = loaded(
        "[store]\npassword = { env = \"DB_PASSWORD\" }\n",
        &[("DB_PASSWORD", "")],
    );
    assert!(empty.said[0].contains("is empty"), "{:?}", empty.said);
}

#[test]
fn a_referenced_variable_is_no_override() {
    let read = loaded(
        "[store]\npassword = { env = \"AEGIS_DB_PASSWORD\" }\n",
        &[("AEGIS_DB_PASSWORD", "hunter2")],
    );
    assert_eq!(password(&read.config.expect("all right")), Some("hunter2"));
}

#[test]
fn from_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("token");
    std::fs::write(&secret, "hunter2\n").expect("a file");
    let toml = format!("[store]\npassword = {{ file = {:?} }}\n", secret.display().to_string());
    let read = loaded(&toml, &[]);
    assert_eq!(password(&read.config.expect("all right")), Some("hunter2"));

    std::fs::write(&secret, "\n").expect("a file");
    assert!(loaded(&toml, &[]).said[0].contains("is empty"));
    std::fs::remove_file(&secret).expect("removed");
    assert!(loaded(&toml, &[]).said[0].contains("cannot read file"));
}

#[test]
fn in_plain_text() {
    let read = loaded("[store]\npassword = \"hunter2\"\n", &[]);
    assert_eq!(
        read.said,
        [
            "FILE:2:12: store.password: this secret stands in plain text; use { env = \"NAME\" } or { file = \"/path\" } \
          instead"
        ]
    );
    assert_eq!(password(&read.config.expect("only a warning")), Some("hunter2"));

    let url = loaded("[store]\nurl = \"postgres://aegis:hunter2@db/aegis\"\n", &[]);
    assert_eq!(
        url.said,
        [
            "FILE:2:7: store.url: this URL holds a password in plain text; use { env = \"NAME\" } or { file = \"/path\" } \
          instead"
        ]
    );
    let referenced = loaded(
        "[store]\nurl = { env = \"DATABASE_URL\" }\n",
        &[("DATABASE_URL", "postgres://a:b@db/c")],
    );
    assert_eq!(referenced.said, [""; 0]);
    assert_eq!(referenced.config.expect("all right").store_url(), "postgres://a:b@db/c");
}

#[test]
fn from_an_override() {
    let direct = loaded("", &[("AEGIS_STORE__PASSWORD", "hunter2")]);
    assert_eq!(password(&direct.config.expect("all right")), Some("hunter2"));
    assert_eq!(direct.said, [""; 0]);
    let by_reference = loaded("", &[("AEGIS_STORE__PASSWORD", "{ env = \"DB\" }"), ("DB", "hunter2")]);
    assert_eq!(password(&by_reference.config.expect("all right")), Some("hunter2"));
    // A password may begin with a brace.
    let braced = loaded("", &[("AEGIS_STORE__PASSWORD", "{hunter2")]);
    assert_eq!(password(&braced.config.expect("all right")), Some("{hunter2"));
}

#[test]
fn in_lists() {
    let toml = "[dispatcher.alertmanager]\ntokens = [{ env = \"NEW\" }, { env = \"OLD\" }]\n";
    let read = loaded(toml, &[("NEW", "n3w"), ("OLD", "0ld")]);
    assert_eq!(read.said, [""; 0]);
    let config = read.config.expect("all right");
    assert_eq!(config.dispatcher_token().map(|token| token.expose()), Some("n3w"));
    assert_hidden(&config, &["n3w", "0ld"]);
}

#[test]
fn tokens() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "f1le\n").expect("a file");
    let toml = format!(
        "[gateway]\nread_tokens = [{{ file = {:?} }}]\n[dispatcher.grafana]\ntokens = [\"pla1n\"]\n",
        file.display().to_string()
    );
    let read = loaded(&toml, &[]);
    assert_eq!(
        read.said,
        [
            "FILE:4:11: dispatcher.grafana.tokens[0]: this secret stands in plain text; use { env = \"NAME\" } or \
          { file = \"/path\" } instead"
        ]
    );
    let config = read.config.expect("only a warning");
    assert_eq!(config.gateway.read_tokens[0].expose(), "f1le");
    assert_eq!(config.dispatcher.grafana.tokens[0].expose(), "pla1n");
    assert_hidden(&config, &["f1le", "pla1n"]);
}

#[test]
fn faults_do_not_show_them() {
    let cases = [
        "[store]\npassword = { env = \"A\", file = \"hunter2\" }\n",
        "[store]\npassword = { enw = \"hunter2\" }\n",
        "[store]\npassword = [\"hunter2\"]\n",
        "[store]\npasword = \"hunter2\"\n",
        "store = \"hunter2\"\n",
    ];
    for toml in cases {
        let read = loaded(toml, &[]);
        assert!(read.config.is_none(), "{toml} is wrong");
        assert!(!read.said.concat().contains("hunter2"), "{:?}", read.said);
    }
}
