//! Faults of a configuration: the file, and every line that is said about it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use pipeline::config::load;

/// Loads `toml` and compares what is said, line by line; `FILE` stands for the file's path.
fn check(toml: &str, expected: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("aegis.toml");
    std::fs::write(&file, toml).expect("a file");
    let faults = load(Some(&file), &BTreeMap::new())
        .map(|_| ())
        .err()
        .unwrap_or_default();
    let path = file.display().to_string();
    let said: Vec<String> = faults
        .iter()
        .map(|fault| fault.to_string().replace(&path, "FILE"))
        .collect();
    assert_eq!(said, expected, "for\n{toml}");
}

#[test]
fn an_empty_file_is_the_default() {
    check("", &[]);
    check("# nothing yet\n[log]\n", &[]);
}

#[test]
fn unknown_keys() {
    check(
        "[log]\nknd = \"kafka\"\n",
        &["FILE:2:1: log.knd: unknown key; did you mean \"kind\"?"],
    );
    check("[lgo]\n", &["FILE:1:2: lgo: unknown key; did you mean \"log\"?"]);
    check(
        "[log]\n  client_id = \"x\"\n",
        &["FILE:2:3: log.client_id: unknown key; it belongs in [log.kafka]"],
    );
    check(
        "[data]\nzzz = 1\n",
        &["FILE:2:1: data.zzz: unknown key; known in [data]: dir, snapshot_every"],
    );
    check(
        "logging.\"fil ter\" = 1\n",
        &["FILE:1:9: logging.\"fil ter\": unknown key; did you mean \"filter\"?"],
    );
}

#[test]
fn snapshots_lie_in_a_folder() {
    check(
        "[snapshots]\nurl = \"s3://bucket/aegis\"\n",
        &[
            "FILE:2:7: snapshots.url: this program keeps snapshots in a folder, and this is \"s3\"; write \"file:///var/lib/aegis/snapshots\", or leave it empty",
        ],
    );
    check(
        "[snapshots]\nurl = \"file://here\"\n",
        &[
            "FILE:2:7: snapshots.url: \"file://here\" names no absolute folder; write \"file:///var/lib/aegis/snapshots\", or leave it empty",
        ],
    );
}

#[test]
fn wrong_types() {
    check(
        "[data]\ndir = 5\n",
        &["FILE:2:7: data.dir: this is an integer; write a string"],
    );
    check(
        "[topics]\npartitions = \"4\"\n",
        &["FILE:2:14: topics.partitions: this is a string; write an integer from 1 to 1024"],
    );
    check("log = true\n", &["FILE:1:7: log: this is true or false; write a table"]);
    check(
        "[log.kafka]\nbootstrap_servers = \"a:9092\"\n",
        &["FILE:2:21: log.kafka.bootstrap_servers: this is a string; write an array, each item a string"],
    );
    check(
        "[normalize]\nservice_labels = [\"app\", 7]\n",
        &["FILE:2:26: normalize.service_labels[1]: this is an integer; write a string"],
    );
    check(
        "[progress]\nlateness = 30\n",
        &["FILE:2:12: progress.lateness: this is an integer; write a duration such as \"30s\""],
    );
}

#[test]
fn wrong_values() {
    check(
        "[log]\nkind = \"kafak\"\n",
        &["FILE:2:8: log.kind: \"kafak\" is not one of \"embedded\", \"kafka\"; did you mean \"kafka\"?"],
    );
    check(
        "[topics]\npartitions = 0\n",
        &["FILE:2:14: topics.partitions: 0 is out of range; write an integer from 1 to 1024"],
    );
    check(
        "[progress]\nlateness = \"5 minutes\"\n",
        &[
            "FILE:2:12: progress.lateness: \"5 minutes\" is not a duration: unit \"minutes\" is none of d, h, m, s, ms, us; \
           write for example \"30s\" or \"1h30m\"",
        ],
    );
    check(
        "[topics]\nretention = \"never\"\n",
        &[
            "FILE:2:13: topics.retention: \"never\" is not a duration: \"\" is not a whole number; \
           write for example \"7d\" or \"forever\"",
        ],
    );
    check(
        "[dispatcher]\nlisten = \"here\"\n",
        &["FILE:2:10: dispatcher.listen: invalid socket address syntax"],
    );
    check(
        "[logging]\nfilter = \"inof\"\n",
        &[
            "FILE:2:10: logging.filter: \"inof\" is no level (off, error, warn, info, debug, trace); for a module write \
           inof=debug; write for example \"info\" or \"info,sources=debug\"",
        ],
    );
}

#[test]
fn settings_that_do_not_fit_together() {
    check(
        "[dispatcher]\nlisten = \"127.0.0.1:8000\"\n",
        &[
            "default: gateway.listen: 127.0.0.1:8000 is taken by dispatcher.listen (127.0.0.1:8000); \
           give each listener a port of its own",
        ],
    );
    check(
        "[dispatcher]\notlp_grpc_listen = \"127.0.0.1:3001\"\n",
        &[
            "FILE:2:20: dispatcher.otlp_grpc_listen: 127.0.0.1:3001 is taken by dispatcher.listen (127.0.0.1:3001); \
           give each listener a port of its own",
        ],
    );
    check(
        "[gateway]\nlisten = \"0.0.0.0:8000\"\n",
        &[
            "FILE:1:2: gateway.read_tokens: is empty and 0.0.0.0:8000 is not a loopback address, so anybody could read: \
           set a token, or listen on 127.0.0.1",
        ],
    );
    check(
        "[log]\nkind = \"kafka\"\n[log.kafka]\nbootstrap_servers = []\n",
        &["FILE:4:21: log.kafka.bootstrap_servers: name at least one broker as host:port"],
    );
    check(
        "[log]\nkind = \"kafka\"\n[tools.kubernetes]\nurl = \"http://127.0.0.1:1\"\n",
        &[
            "default: signing.keys: no key, and tools.kubernetes is configured: whoever can write to the topic remediations could \
             make it act; write keys = [{ file = \"/path\" }], the same in every process; `openssl rand -hex 32` makes a key",
        ],
    );
    check(
        "[topics]\nretention = \"1m\"\n[topics.each.signals]\nretention = \"7d\"\n",
        &[
            "FILE:2:13: topics.retention: events.raw is kept for 1m, shorter than lateness, idle_after and two snapshots \
             together; write at least \"7m30s\"",
            "FILE:2:13: topics.retention: logs is kept for 1m, shorter than lateness, idle_after and two snapshots \
             together; write at least \"7m30s\"",
            "FILE:2:13: topics.retention: transitions is kept for 1m, shorter than lateness, idle_after and two snapshots \
             together; write at least \"7m30s\"",
        ],
    );
    check(
        "[topics.each.signal]\nretention = \"forever\"\n",
        &["FILE:1:1: topics.each.signal: there is no topic of this name; did you mean \"signals\"?"],
    );
    check(
        "[store]\nurl = \"mysql://db\"\n",
        &[
            "FILE:2:7: store.url: the store can be SQLite or PostgreSQL, and this is \"mysql\"; write \"sqlite://PATH\" or \
           \"postgres://USER@HOST:5432/DATABASE\"",
        ],
    );
}

#[test]
fn folders_that_cannot_be_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a-file");
    std::fs::write(&file, "").expect("a file");
    let file = file.display();
    let said = format!(
        "FILE:2:7: data.dir: cannot look at {file}/data: Not a directory (os error 20); \
         name a folder that can be written, or one that can be made"
    );
    check(&format!("[data]\ndir = \"{file}/data\"\n"), &[&said]);
    let said = format!(
        "FILE:2:7: data.dir: {file} is not a folder; name a folder that can be written, or one that can be made"
    );
    check(&format!("[data]\ndir = \"{file}\"\n"), &[&said]);

    let locked = folder.path().join("locked");
    std::fs::create_dir(&locked).expect("a folder");
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).expect("permissions");
    let locked = locked.display();
    let said =
        format!("FILE:2:7: store.url: folder {locked} cannot be written; name a file in a folder that can be written");
    check(&format!("[store]\nurl = \"sqlite://{locked}/aegis.db\"\n"), &[&said]);
}

#[test]
fn all_at_once_in_the_order_of_the_file() {
    check(
        "[log]\nkind = \"kafak\"\n\n[topics]\npartitions = 0\nretentoin = \"7d\"\n\n[progress]\nlateness = \"soon\"\n\n\
         [gateway]\nlisten = \"0.0.0.0:8000\"\n",
        &[
            "FILE:2:8: log.kind: \"kafak\" is not one of \"embedded\", \"kafka\"; did you mean \"kafka\"?",
            "FILE:5:14: topics.partitions: 0 is out of range; write an integer from 1 to 1024",
            "FILE:6:1: topics.retentoin: unknown key; did you mean \"retention\"?",
            "FILE:9:12: progress.lateness: \"soon\" is not a duration: \"\" is not a whole number; \
             write for example \"30s\" or \"1h30m\"",
            "FILE:11:2: gateway.read_tokens: is empty and 0.0.0.0:8000 is not a loopback address, so anybody could read: \
             set a token, or listen on 127.0.0.1",
        ],
    );
}

#[test]
fn not_toml() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = |bytes: &[u8]| {
        let file = folder.path().join("aegis.toml");
        std::fs::write(&file, bytes).expect("a file");
        let faults = load(Some(&file), &BTreeMap::new())
            .map(|_| ())
            .expect_err("it is broken");
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults[0].to_string().replace(&file.display().to_string(), "FILE")
    };
    let unclosed = said(b"[data]\ndir = \"hunter2\n");
    assert!(
        unclosed.starts_with("FILE:2:") && unclosed.contains("not valid TOML"),
        "{unclosed}"
    );
    assert!(
        !unclosed.contains("hunter2"),
        "what stands in a broken line may be a secret: {unclosed}"
    );
    let twice = said(b"[log]\n[log]\n");
    assert!(twice.starts_with("FILE:2:") && twice.contains("duplicate"), "{twice}");
    assert!(said(b"a = \"\xff\"").contains("not UTF-8 at byte 5"));

    let missing = folder.path().join("missing.toml");
    let faults = load(Some(&missing), &BTreeMap::new())
        .map(|_| ())
        .expect_err("there is none");
    assert!(faults[0].to_string().contains("cannot read the file"), "{faults:?}");
}
