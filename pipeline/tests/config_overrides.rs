//! Environment variables laid over the file.

use std::collections::BTreeMap;

use pipeline::config::{Config, Fault, Inputs, LogKind, load, load_from};
use stream::human::HumanDuration;

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Loads without a file.
fn under(variables: &[(&str, &str)]) -> Result<Config, Vec<Fault>> {
    let inputs = Inputs {
        environment: environment(variables),
        ..Inputs::default()
    };
    load_from(&inputs).map(|(config, _)| config)
}

fn refused(variable: (&str, &str), expected: &str) {
    let faults = under(&[variable]).map(|_| ()).expect_err(variable.0);
    let said: Vec<String> = faults.iter().map(Fault::to_string).collect();
    assert_eq!(said, [expected]);
}

#[test]
fn values_of_every_kind() {
    let config = under(&[
        ("AEGIS_LOG__KIND", "kafka"),
        ("AEGIS_LOG__KAFKA__BOOTSTRAP_SERVERS", r#"["a:9092", "b:9092"]"#),
        ("AEGIS_LOG__KAFKA__REPLICATION_FACTOR", "3"),
        ("AEGIS_LOG__KAFKA__PROPERTIES", r#"{"compression.type": "zstd"}"#),
        ("AEGIS_PROGRESS__LATENESS", "2m"),
        ("AEGIS_ARCHIVE__ENABLED", "false"),
        ("AEGIS_STORE__URL", "postgres://aegis@db/aegis"),
        ("AEGIS_TOPICS__EACH", r#"{ "events.raw" = { retention = "3d" } }"#),
        ("aegis_log__kind", "other programs' names are their own"),
    ])
    .expect("all right");
    assert_eq!(config.log.kind, LogKind::Kafka);
    assert_eq!(config.log.kafka.bootstrap_servers, ["a:9092", "b:9092"]);
    assert_eq!(config.log.kafka.replication_factor, 3);
    assert_eq!(config.log.kafka.properties["compression.type"], "zstd");
    assert_eq!(config.progress.lateness, HumanDuration::from_secs(120));
    assert!(!config.archive.enabled);
    assert_eq!(config.store_url(), "postgres://aegis@db/aegis");
    assert_eq!(
        config.retention("events.raw").time.map(|time| time.as_secs()),
        Some(3 * 86_400)
    );
    assert_eq!(config.retention("incidents").time, None);
}

#[test]
fn the_environment_comes_before_the_file_and_options_before_both() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("aegis.toml");
    std::fs::write(&file, "[data]\ndir = \"from-file\"\n[topics]\npartitions = 2\n").expect("a file");
    let variables = environment(&[("AEGIS_DATA__DIR", "from-environment")]);
    let (config, _) = load(Some(&file), &variables).expect("all right");
    assert_eq!(
        (config.data_dir().to_str(), config.partitions()),
        (Some("from-environment"), 2)
    );

    let inputs = Inputs {
        file: Some(file.clone()),
        environment: variables,
        data_dir: Some("from-option".into()),
    };
    let (config, _) = load_from(&inputs).expect("all right");
    assert_eq!(
        (config.data_dir().to_str(), config.partitions()),
        (Some("from-option"), 2)
    );

    let named = environment(&[("AEGIS_CONFIG", file.to_str().expect("UTF-8"))]);
    let (config, _) = load(None, &named).expect("all right");
    assert_eq!(config.data_dir().to_str(), Some("from-file"));
}

#[test]
fn names_that_are_no_settings() {
    refused(
        ("AEGIS_LOG__KNID", "kafka"),
        "environment AEGIS_LOG__KNID: no setting has this name; did you mean AEGIS_LOG__KIND?",
    );
    refused(
        ("AEGIS_DATA_DIR", "x"),
        "environment AEGIS_DATA_DIR: no setting has this name; did you mean AEGIS_DATA__DIR? (two underscores between \
         table and key)",
    );
    refused(
        ("AEGIS_LOG", "debug"),
        "environment AEGIS_LOG: no setting has this name; for what is logged set AEGIS_LOGGING__FILTER, for the kind of \
         log AEGIS_LOG__KIND",
    );
    refused(
        ("AEGIS_STORE", "postgres://db"),
        "environment AEGIS_STORE: no setting has this name; it names a table; name a key in it: AEGIS_STORE__KEY",
    );
    refused(
        ("AEGIS_LOG__KIND__DEEPER", "x"),
        "environment AEGIS_LOG__KIND__DEEPER: no setting has this name; did you mean AEGIS_LOG__KIND?",
    );
}

#[test]
fn faults_name_the_variable() {
    refused(
        ("AEGIS_TOPICS__PARTITIONS", "many"),
        "environment AEGIS_TOPICS__PARTITIONS: this reads neither as TOML nor as JSON; write an integer from 1 to 1024, \
         for example 1",
    );
    refused(
        ("AEGIS_TOPICS__PARTITIONS", "0"),
        "environment AEGIS_TOPICS__PARTITIONS: topics.partitions: 0 is out of range; write an integer from 1 to 1024",
    );
    refused(
        ("AEGIS_PROGRESS__LATENESS", "30"),
        "environment AEGIS_PROGRESS__LATENESS: progress.lateness: \"30\" is not a duration: 30 has no unit (d, h, m, s, ms \
         or us); write for example \"30s\" or \"1h30m\"",
    );
}

#[test]
fn names_that_are_left_alone() {
    let left_alone = [
        ("AEGIS_TEST_KAFKA", "127.0.0.1:1"),
        ("AEGIS_SERVICE_HOST", "10.0.0.1"),
        ("AEGIS_PORT", "tcp://10.0.0.1:3001"),
        ("AEGIS_PORT_3001_TCP_ADDR", "10.0.0.1"),
        ("AEGIS_GATEWAY_SERVICE_PORT", "8000"),
        ("AEGIS_GATEWAY_SERVICE_PORT_HTTP", "8000"),
    ];
    assert!(under(&left_alone).is_ok());
    assert!(
        under(&[("AEGIS_PORT_NUMBER", "1")]).is_err(),
        "looks like one of Kubernetes' and is none"
    );
}
