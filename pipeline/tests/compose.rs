//! `docker-compose.yml` and what it mounts, each read by the program that reads it: Docker Compose's own loader, promtool, amtool, an
//! OpenTelemetry collector, `aegis check`. No container is started; Loki and Grafana are not to be had as packages, so their files are
//! held against the keys that are documented.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Aegis, Program, free_port, http, required, wait_for};

const PATIENCE: Duration = Duration::from_secs(120);

const SERVICES: [&str; 11] = [
    "aegis",
    "alertmanager",
    "collector",
    "grafana",
    "jaeger",
    "kafka",
    "loki",
    "prometheus",
    "qdrant",
    "redis",
    "timescaledb",
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the repository")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// What the program printed; a failure when it found fault.
fn approved(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The project as Docker Compose understands it: checked against its schema, references resolved. `None` without the loader.
fn project() -> Option<Value> {
    let loader = required("AEGIS_TEST_COMPOSE_BIN")?;
    let mut command = Command::new(loader);
    command
        .args(["-format", "json", "docker-compose.yml"])
        .current_dir(repository());
    Some(serde_json::from_str(&approved(&mut command)).expect("JSON"))
}

/// Service, path in the repository, path in the container.
fn mounts(project: &Value) -> Vec<(String, PathBuf, String)> {
    let services = project["services"].as_object().expect("services");
    let mut all = Vec::new();
    for (name, service) in services {
        for volume in service["volumes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|volume| volume["type"] == "bind")
        {
            let text = |member: &str| volume[member].as_str().expect("a path").to_owned();
            assert_eq!(volume["read_only"], true, "{name}: {volume}");
            all.push((name.clone(), PathBuf::from(text("source")), text("target")));
        }
    }
    all
}

/// What a service finds at `target`.
fn mounted(project: &Value, service: &str, target: &str) -> PathBuf {
    let mounts = mounts(project);
    let found = mounts.iter().find(|(name, _, at)| name == service && at == target);
    found
        .unwrap_or_else(|| panic!("{service} has nothing at {target}: {mounts:?}"))
        .1
        .clone()
}

#[test]
fn compose_takes_the_file() {
    let Some(project) = project() else { return };
    let services = project["services"].as_object().expect("services");
    let names: BTreeSet<&str> = services.keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(SERVICES));
    for (name, service) in services {
        // One that is built here has no version of its own.
        let image = service["image"].as_str().expect("an image");
        let (_, version) = image
            .rsplit_once(':')
            .unwrap_or_else(|| panic!("{name}: {image} is not pinned"));
        assert_ne!(version, "latest", "{name}");
        assert_eq!(version == "local", !service["build"].is_null(), "{name}: {image}");
        let check = service["healthcheck"]["test"].as_array();
        assert!(check.is_some_and(|words| words.len() > 1), "{name} has no health check");
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name}: {port}");
        }
    }
    for (service, source, _) in mounts(&project) {
        assert!(source.exists(), "{service}: {} is not there", source.display());
    }
    let published = |service: &str, port: u64| {
        let ports = services[service]["ports"].as_array().into_iter().flatten();
        let port = port.to_string();
        ports.clone().any(|one| one["published"] == port)
    };
    for (service, port) in [
        ("grafana", 3002),
        ("aegis", 5433),
        ("aegis", 3001),
        ("aegis", 8000),
        ("aegis", 8001),
        ("collector", 4317),
        ("jaeger", 16686),
    ] {
        assert!(published(service, port), "{service}: {port}");
    }
}

/// Who waits for whom, and whom each talks to, exist.
#[test]
fn services_name_each_other() {
    let Some(project) = project() else { return };
    let environment = &project["services"]["grafana"]["environment"];
    let mut named: Vec<String> = Vec::new();
    for file in ["aegis.toml", "prometheus.yml", "alertmanager.yml", "collector.yml"] {
        named.extend(addresses(&read(&format!("dashboards/compose/{file}"))));
    }
    for value in environment.as_object().expect("an environment").values() {
        named.extend(addresses(value.as_str().unwrap_or_default()));
    }
    assert!(named.len() > 10, "{named:?}");
    let services = project["services"].as_object().expect("services");
    for name in named {
        let itself = ["0.0.0.0", "127.0.0.1", "localhost"].contains(&name.as_str());
        assert!(itself || services.contains_key(&name), "{name} is no service");
    }
    // What the data sources take from the environment is set.
    let sources = read("dashboards/grafana/provisioning/datasources/aegis.yaml");
    let wanted = sources.split('$').skip(1).map(|rest| {
        rest.split(|c: char| !c.is_ascii_uppercase() && c != '_')
            .next()
            .unwrap_or_default()
    });
    for name in wanted.filter(|name| name.starts_with("AEGIS")) {
        assert!(environment[name].is_string(), "{name} is not set for Grafana");
    }
    for file in sources
        .split("$__file{")
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
    {
        mounted(&project, "grafana", file);
    }
}

/// The URL that aegis has for Redis leads to the service, with the password that the service asks for.
#[test]
fn aegis_and_redis_agree() {
    let Some(project) = project() else { return };
    let url = std::fs::read_to_string(mounted(&project, "aegis", "/etc/aegis/redis-url")).expect("a URL");
    let service = &project["services"]["redis"];
    let words: Vec<&str> = service["command"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let after = |name: &str| words.iter().skip_while(|word| **word != name).nth(1).copied();
    let password = after("--requirepass").expect("a password");
    assert_eq!(url.trim(), format!("redis://:{password}@redis:6379/0"));
    assert_eq!(
        service["environment"]["REDISCLI_AUTH"], password,
        "the health check asks too"
    );
    assert_eq!(
        (after("--appendonly"), after("--maxmemory-policy")),
        (Some("yes"), Some("noeviction"))
    );
    let settings = read("dashboards/compose/aegis.toml");
    assert!(
        settings.contains("[shared]\nredis_url = { file = \"/etc/aegis/redis-url\" }"),
        "aegis uses it"
    );
    let waits = &project["services"]["aegis"]["depends_on"]["redis"];
    assert_eq!(waits["condition"], "service_healthy");
}

/// Hosts of `HOST:PORT` in a text.
fn addresses(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || ".:-_".contains(c)));
    let address = |word: &str| {
        let (host, port) = word.split_once(':')?;
        (!host.is_empty() && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())).then(|| host.to_owned())
    };
    words.filter_map(address).collect()
}

#[test]
fn versions_agree() {
    let Some(project) = project() else { return };
    let image = |service: &str| {
        project["services"][service]["image"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let pom = read("scripts/services/kafka/pom.xml");
    let kafka = pom
        .split("<kafka.version>")
        .nth(1)
        .and_then(|rest| rest.split('<').next())
        .expect("a version");
    assert_eq!(image("kafka"), format!("apache/kafka:{kafka}"));
    let modules = read("scripts/services/compose/go.mod");
    let line = modules
        .lines()
        .find(|line| line.contains("go.opentelemetry.io/collector/otelcol "));
    let collector = line
        .and_then(|line| line.rsplit_once("otelcol v"))
        .expect("a version")
        .1;
    let collector = collector.split_whitespace().next().expect("a version");
    let built = project["services"]["collector"]["build"]["dockerfile_inline"]
        .as_str()
        .expect("a Dockerfile");
    assert!(built.contains(&format!("collector-contrib:{collector}\n")), "{built}");
}

#[test]
fn prometheus_and_alertmanager_take_their_files() {
    let (Some(project), Some(promtool), Some(amtool)) = (
        project(),
        required("AEGIS_TEST_PROMTOOL_BIN"),
        required("AEGIS_TEST_AMTOOL_BIN"),
    ) else {
        return;
    };
    let config = mounted(&project, "prometheus", "/etc/prometheus/prometheus.yml");
    let said = approved(Command::new(promtool).args(["check", "config"]).arg(&config));
    assert!(said.contains("1 rules found") || said.contains("SUCCESS"), "{said}");
    // Beside it in the repository as in the container, so the rules were checked too.
    let rules = yaml("dashboards/compose/prometheus.yml")["rule_files"].clone();
    for file in rules.as_array().expect("a list").iter().filter_map(Value::as_str) {
        let mounted = mounted(&project, "prometheus", &format!("/etc/prometheus/{file}"));
        assert_eq!(mounted, config.with_file_name(file));
    }
    let config = mounted(&project, "alertmanager", "/etc/alertmanager/alertmanager.yml");
    approved(Command::new(amtool).arg("check-config").arg(config));
}

/// A copy of a mounted file in which paths of the container are those of the repository, and other words are replaced.
fn at_home(project: &Value, service: &str, target: &str, folder: &Path, words: &[(&str, &str)]) -> PathBuf {
    let source = mounted(project, service, target);
    let mut text = std::fs::read_to_string(&source).expect("a mounted file");
    for (name, source, target) in mounts(project) {
        if name == service {
            text = text.replace(&target, &source.display().to_string());
        }
    }
    for (from, to) in words {
        assert!(text.contains(from), "{from} is not in {}", source.display());
        text = text.replace(from, to);
    }
    let copy = folder.join(source.file_name().expect("a name"));
    std::fs::write(&copy, text).expect("a copy");
    copy
}

#[test]
fn aegis_takes_its_file() {
    let Some(project) = project() else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = at_home(&project, "aegis", "/etc/aegis/aegis.toml", folder.path(), &[]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_aegis"));
    command.args(["check", "--config"]).arg(config).env_clear();
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// The collector's file, but for addresses, in a real collector: what a program sends by OTLP is log lines of Aegis.
#[test]
fn the_collector_takes_its_file_and_hands_log_lines_to_aegis() {
    let (Some(project), Some(collector)) = (project(), required("AEGIS_TEST_COLLECTOR_BIN")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let config = "/etc/otelcol-contrib/config.yaml";
    let whole = at_home(&project, "collector", config, folder.path(), &[]);
    let environment = project["services"]["collector"]["environment"]
        .as_object()
        .expect("an environment");
    let environment: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()))
        .collect();
    approved(
        Command::new(&collector)
            .args(["validate", "--config"])
            .arg(whole)
            .envs(environment.clone()),
    );

    let grpc = free_port();
    let settings = format!(
        "otlp_grpc_listen = \"127.0.0.1:{grpc}\"\n[dispatcher.otlp]\ntokens = [{{ file = {:?} }}]\n",
        mounted(&project, "aegis", "/etc/aegis/webhook-token")
            .display()
            .to_string()
    );
    let mut aegis = Aegis::with_dispatcher(folder.path(), &settings);
    aegis.start();
    let (health, otlp_grpc, otlp_http, own) = (free_port(), free_port(), free_port(), free_port());
    let address = |port: u16| format!("127.0.0.1:{port}");
    // Nobody is there for Loki and Jaeger: what they do not take holds up nobody else.
    let words = [
        ("0.0.0.0:13133", address(health)),
        ("0.0.0.0:4317", address(otlp_grpc)),
        ("0.0.0.0:4318", address(otlp_http)),
        ("0.0.0.0:4319", address(own)),
        ("aegis:4317", address(grpc)),
        ("loki:3100", address(free_port())),
        ("jaeger:4317", address(free_port())),
    ];
    let words: Vec<(&str, &str)> = words.iter().map(|(from, to)| (*from, to.as_str())).collect();
    let config = at_home(&project, "collector", config, folder.path(), &words);
    let mut command = Command::new(collector);
    command.arg("--config").arg(config).envs(environment);
    let _collector = Program::start("collector", &mut command, folder.path());
    wait_for("the collector's health check", PATIENCE, || {
        http(health, "GET", "/", "", "").filter(|(status, _)| *status == 200)
    });

    let line = json!({"resourceLogs": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "checkout"}}]},
        "scopeLogs": [{"logRecords": [{"timeUnixNano": support::site::nanos().to_string(), "severityText": "ERROR",
            "body": {"stringValue": "the till is stuck"}}]}]}]});
    let json = "Content-Type: application/json\r\n";
    let (status, said) = http(otlp_http, "POST", "/v1/logs", json, &line.to_string()).expect("an answer");
    assert_eq!(status, 200, "{said}");
    wait_for("the line", PATIENCE, || {
        let lines = aegis.sql("select service, level, text from logs");
        lines
            .iter()
            .any(|row| row["service"] == "checkout" && row["text"] == "the till is stuck")
            .then_some(())
    });
}

/// What Aegis says of itself goes to a door from which nothing goes to Aegis, and to no other.
#[test]
fn aegis_does_not_feed_itself() {
    let Some(project) = project() else { return };
    let aegis = read("dashboards/compose/aegis.toml");
    let collector = yaml("dashboards/compose/collector.yml");
    let port = |receiver: &str| {
        let endpoint = &collector["receivers"][receiver]["protocols"]["grpc"]["endpoint"];
        endpoint
            .as_str()
            .and_then(|at| at.rsplit_once(':'))
            .expect("a port")
            .1
            .to_owned()
    };
    let own = port("otlp/aegis");
    assert!(
        aegis.contains(&format!("otlp_endpoint = \"http://collector:{own}\"")),
        "{aegis}"
    );
    let names = |list: &Value| -> Vec<String> {
        let names = list.as_array().expect("a list").iter();
        names.map(|name| name.as_str().expect("a name").to_owned()).collect()
    };
    let mut carried = BTreeSet::new();
    for (name, pipeline) in collector["service"]["pipelines"].as_object().expect("pipelines") {
        if names(&pipeline["receivers"]).contains(&"otlp/aegis".to_owned()) {
            let exporters = names(&pipeline["exporters"]);
            assert!(
                exporters.iter().all(|to| !to.contains("aegis")),
                "{name}: {exporters:?}"
            );
            carried.extend(exporters);
        }
    }
    assert_eq!(
        carried,
        BTreeSet::from(["otlp_grpc/jaeger".to_owned(), "otlp_http/loki".to_owned()])
    );
    let published = project["services"]["collector"]["ports"]
        .as_array()
        .into_iter()
        .flatten();
    assert!(
        published.clone().all(|port| port["published"] != own.as_str()),
        "nobody else comes in there"
    );
}

/// Qdrant's image has no program that asks over HTTP, so its check is bash: it believes an answer of 200 and nothing else.
#[test]
fn the_check_in_bash_tells_ready_from_not() {
    let Some(project) = project() else { return };
    let words: Vec<&str> = project["services"]["qdrant"]["healthcheck"]["test"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let ["CMD", "bash", "-c", script] = words[..] else {
        panic!("{words:?}");
    };
    let check = |port: u16, path: &str| {
        let script = script.replace("/6333", &format!("/{port}")).replace("/readyz", path);
        assert!(script.contains(path) && script.contains(&port.to_string()), "{script}");
        Command::new("bash")
            .args(["-c", &script])
            .output()
            .expect("bash")
            .status
            .success()
    };
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(folder.path(), "");
    aegis.start();
    assert!(check(aegis.gateway, "/healthz"));
    assert!(!check(aegis.gateway, "/nowhere"));
    assert!(!check(free_port(), "/healthz"));
}

/// Not to be had as a package. Its file is held against the reference of its settings
/// (<https://grafana.com/docs/loki/latest/configure/>): these keys, with these kinds of values.
#[test]
fn loki_has_the_documented_keys() {
    let file = yaml("dashboards/compose/loki.yml");
    let known = json!({
        "auth_enabled": true,
        "server": {"http_listen_port": 0, "log_level": ""},
        "common": {
            "path_prefix": "", "replication_factor": 0,
            "ring": {"instance_addr": "", "kvstore": {"store": ""}},
            "storage": {"filesystem": {"chunks_directory": "", "rules_directory": ""}}
        },
        "schema_config": {"configs": [{"from": "", "store": "", "object_store": "", "schema": "", "index": {"prefix": "", "period": ""}}]},
        "limits_config": {"allow_structured_metadata": true, "retention_period": ""},
        "compactor": {"working_directory": "", "retention_enabled": true, "delete_request_store": ""},
        "analytics": {"reporting_enabled": true}
    });
    let mut faults = Vec::new();
    of_the_same_kind("", &file, &known, &mut faults);
    assert_eq!(faults, Vec::<String>::new());
    // Structured metadata needs this store and schema, and retention a place for the compactor.
    let schema = &file["schema_config"]["configs"][0];
    assert_eq!(
        [&schema["store"], &schema["schema"], &schema["index"]["period"]],
        ["tsdb", "v13", "24h"]
    );
    assert_eq!(file["server"]["http_listen_port"], 3100);
}

fn of_the_same_kind(path: &str, value: &Value, known: &Value, faults: &mut Vec<String>) {
    match (value, known) {
        (Value::Object(members), Value::Object(known)) => {
            for (name, member) in members {
                match known.get(name) {
                    Some(kind) => of_the_same_kind(&format!("{path}.{name}"), member, kind, faults),
                    None => faults.push(format!("{path}.{name} is not known")),
                }
            }
        }
        (Value::Array(items), Value::Array(known)) => {
            items
                .iter()
                .for_each(|item| of_the_same_kind(&format!("{path}[]"), item, &known[0], faults));
        }
        (Value::Bool(_), Value::Bool(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::String(_), Value::String(_)) => {}
        _ => faults.push(format!("{path} is {value}")),
    }
}

/// Provisioning names places of the container, and what is mounted there is what it means.
#[test]
fn grafana_finds_what_is_provisioned() {
    let Some(project) = project() else { return };
    let provider = yaml("dashboards/grafana/provisioning/dashboards/aegis.yaml");
    let provider = &provider["providers"][0];
    assert_eq!([&provider["folder"], &provider["type"]], ["Aegis", "file"]);
    let dashboards = mounted(
        &project,
        "grafana",
        provider["options"]["path"].as_str().expect("a path"),
    );
    let home = project["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].as_str();
    let home = Path::new(home.expect("a home dashboard"));
    assert!(dashboards.join(home.file_name().expect("a name")).is_file());
    for place in ["datasources", "dashboards"] {
        let folder = mounted(&project, "grafana", &format!("/etc/grafana/provisioning/{place}"));
        assert!(folder.join("aegis.yaml").is_file());
    }
    let command = project["services"]["loki"]["command"][0]
        .as_str()
        .expect("a command")
        .to_owned();
    mounted(&project, "loki", command.strip_prefix("-config.file=").expect("a file"));
}
