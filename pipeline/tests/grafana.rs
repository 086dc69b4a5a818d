//! Grafana's dashboards (`dashboards/grafana/`): that they are sound, and that every query of every panel, annotation and variable is
//! answered with what its panel can draw, by every server that a viewer may choose. The queries are taken out of the files and run as
//! they stand; only macros and variables are replaced, as Grafana does.

#[path = "grafana/board.rs"]
mod board;
#[path = "grafana/macros.rs"]
mod macros;
#[path = "grafana/shape.rs"]
mod shape;
#[path = "grafana/sound.rs"]
mod sound;
#[path = "grafana/story.rs"]
mod story;
mod support;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use board::{Board, Query};
use macros::{Chosen, quote};
use shape::{Answer, Kind};
use sqlx::{
    AssertSqlSafe, Column as _, Connection as _, Executor as _, PgConnection, Row as _, SqlSafeStr as _, TypeInfo as _,
    ValueRef as _,
};
use support::site::{PATIENCE, Site};
use support::{Program, database, free_port, http_get, required, wait_for};

/// Queries to which no row is the right answer after [`story::told`], and why. A panel with the name of a query here is not asked to
/// have rows; nothing else is excused.
const NOTHING_TO_SHOW: &[(&str, &str)] = &[];

/// PromQL of which no sample is the right answer then, and why.
const NO_SAMPLES: &[(&str, &str)] = &[];

/// A server that answers SQL panels: a connection that speaks PostgreSQL's protocol.
struct Target {
    name: &'static str,
    connection: PgConnection,
}

impl Target {
    async fn connect(name: &'static str, url: &str) -> Target {
        let connection = PgConnection::connect(url).await;
        let connection = connection.unwrap_or_else(|e| panic!("{name} at {url}: {e}"));
        Target { name, connection }
    }

    /// As Grafana asks: one simple query. Asked once more as a prepared statement, which must answer with as many rows.
    async fn ask(&mut self, sql: &str) -> Result<Answer, sqlx::Error> {
        let described = self
            .connection
            .prepare(AssertSqlSafe(sql.to_owned()).into_sql_str())
            .await?;
        let columns = sqlx::Statement::columns(&described).iter();
        let columns = columns
            .map(|column| (column.name().to_owned(), Kind::of(column.type_info().name())))
            .collect();
        let prepared = sqlx::query(AssertSqlSafe(sql.to_owned()))
            .fetch_all(&mut self.connection)
            .await?
            .len();
        let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .fetch_all(&mut self.connection)
            .await?;
        assert_eq!(rows.len(), prepared, "{}: {sql}", self.name);
        let value = |row: &sqlx::postgres::PgRow, at| {
            let raw = row.try_get_raw(at).expect("a column");
            (!raw.is_null()).then(|| raw.as_str().expect("text").to_owned())
        };
        let rows = rows.iter().map(|row| (0..row.len()).map(|at| value(row, at)).collect());
        Ok(Answer {
            columns,
            rows: rows.collect(),
        })
    }
}

/// Whoever answers what `aegis` at `site` has written to the store at `store`: the store, and the endpoint of `aegis`.
async fn targets(name: &'static str, store: &str, site: &Site) -> Vec<Target> {
    let endpoint = site.aegis.endpoint_url();
    vec![
        Target::connect(name, store).await,
        Target::connect("the SQL endpoint", &endpoint).await,
    ]
}

#[test]
fn dashboards_are_sound() {
    let faults: Vec<String> = sound::faults(&Board::all());
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn dashboards_are_kept_in_one_form() {
    for board in Board::all() {
        if board.text != board.formatted() {
            if std::env::var("AEGIS_TEST_REGENERATE").is_ok_and(|v| v == "1") {
                std::fs::write(&board.path, board.formatted()).unwrap();
            } else {
                panic!(
                    "{}: AEGIS_TEST_REGENERATE=1 writes it as it is kept",
                    board.path.display()
                );
            }
        }
    }
}

#[test]
fn every_panel_has_its_answer_from_postgres_and_from_prometheus() {
    let (Some(server), Some(prometheus)) = (required("AEGIS_TEST_POSTGRES"), required("AEGIS_TEST_PROMETHEUS_BIN"))
    else {
        return;
    };
    // A site holds a runtime of its own, so nothing here is async around it.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let store = runtime.block_on(database(&server, "grafana_test"));
    let mut scraping = None;
    let site = story::told(&store, |site| scraping = Some(Scraping::start(&prometheus, site)));
    runtime.block_on(every_target("PostgreSQL", &store, &site));
    every_panel_has_its_samples(scraping.expect("a Prometheus").port, &site);
}

#[test]
fn every_panel_has_its_answer_from_timescale() {
    let Some(server) = required("AEGIS_TEST_TIMESCALE") else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // One database for all tests: each has a schema of its own.
    let schema = format!("grafana_{}", uuid::Uuid::new_v4().simple());
    runtime.block_on(async {
        let mut admin = PgConnection::connect(&server).await.expect("the server answers");
        let statement = format!("CREATE SCHEMA {schema}");
        admin.execute(AssertSqlSafe(statement)).await.expect("a schema");
    });
    let store = format!("{server}?options[search_path]={schema},public");
    let site = story::told(&store, |_| {});
    runtime.block_on(every_target("TimescaleDB", &store, &site));
}

async fn every_target(name: &'static str, store: &str, site: &Site) {
    for mut target in targets(name, store, site).await {
        // The stages' books are written all the time, so nobody waits for their end.
        let counted = "SELECT stage FROM pipeline_metrics_by_minute WHERE stage = 'dedupe' AND merged > 0";
        let until = tokio::time::Instant::now() + PATIENCE;
        while target.ask(counted).await.is_ok_and(|answer| answer.rows.is_empty()) {
            assert!(tokio::time::Instant::now() < until, "{name}: no books of dedupe");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        every_panel_has_its_answer(target).await;
    }
}

/// Runs all queries; lists all that fail, so that one run shows everything.
async fn every_panel_has_its_answer(mut target: Target) {
    let (mut asked, mut faults) = (0, Vec::new());
    for board in Board::all() {
        let queries = board.sql();
        let each = values_of_variables(&mut target, &board, &queries).await;
        for query in &queries {
            let mut texts = Vec::new();
            Chosen::at_first(&board).each_option(&board, &query.text, |chosen| texts.push(chosen.replace(&query.text)));
            for text in texts {
                asked += 1;
                if let Err(fault) = answer(&mut target, query, &text).await {
                    faults.push(fault);
                }
            }
            // All values, each by its name, are as many rows as "All".
            if query.text.contains(":sqlstring}") && !query.kind.contains("variable") {
                let mut named = Chosen::at_first(&board);
                let all = target
                    .ask(&named.replace(&query.text))
                    .await
                    .map(|answer| answer.rows.len())
                    .ok();
                named.quoted.extend(each.clone());
                let named = target
                    .ask(&named.replace(&query.text))
                    .await
                    .map(|answer| answer.rows.len())
                    .ok();
                asked += 2;
                if all != named {
                    faults.push(format!(
                        "{}: {all:?} rows of All, {named:?} of all by their names",
                        query.place
                    ));
                }
            }
        }
    }
    println!("{}: {asked} queries", target.name);
    assert!(
        faults.is_empty(),
        "{}: {} of {asked}\n{}",
        target.name,
        faults.len(),
        faults.join("\n")
    );
}

async fn answer(target: &mut Target, query: &Query, text: &str) -> Result<(), String> {
    let answer = target
        .ask(text)
        .await
        .map_err(|e| format!("{}: {e}\n{text}", query.place))?;
    let excused = NOTHING_TO_SHOW.iter().any(|(place, _)| *place == query.place);
    if answer.rows.is_empty() && excused {
        return Ok(());
    }
    match shape::fault(query, &answer) {
        None => Ok(()),
        Some(fault) => Err(format!("{}: {fault}\n{text}\n{:?}", query.place, answer.rows.first())),
    }
}

/// What the dashboard's own variables offer, as a viewer would choose all of it.
async fn values_of_variables(target: &mut Target, board: &Board, queries: &[Query]) -> BTreeMap<String, String> {
    let mut each = BTreeMap::new();
    for query in queries.iter().filter(|query| query.kind == "variable") {
        let name = query.place.rsplit(' ').next().unwrap_or_default().to_owned();
        let text = Chosen::at_first(board).replace(&query.text);
        let answer = target
            .ask(&text)
            .await
            .unwrap_or_else(|e| panic!("{}: {e}", query.place));
        let values: Vec<String> = answer
            .rows
            .iter()
            .flatten()
            .flatten()
            .map(|value| quote(value))
            .collect();
        each.insert(name, values.join(","));
    }
    each
}

fn every_panel_has_its_samples(port: u16, site: &Site) {
    let mut asked = 0;
    for board in Board::all() {
        let chosen = Chosen::at_first(&board);
        for query in board.promql() {
            asked += 1;
            if NO_SAMPLES.iter().any(|(place, _)| *place == query.place) {
                continue;
            }
            let text = chosen.replace(&query.text);
            // A rate needs two scrapes, and a rise between them: what came before the first one is none.
            wait_for(&format!("{}: samples of {text}", query.place), PATIENCE, || {
                let samples = story::samples(port, &text, query.instant);
                if samples.is_none() {
                    story::again(site);
                }
                samples
            });
        }
    }
    println!("Prometheus: {asked} queries");
    assert!(asked > 0);
}

/// A Prometheus that scrapes the site's `aegis` every second.
struct Scraping {
    port: u16,
    _program: Program,
    _folder: tempfile::TempDir,
}

impl Scraping {
    fn start(program: &str, site: &Site) -> Scraping {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: aegis\n    static_configs: [{{targets: ['127.0.0.1:{}']}}]\n",
            site.aegis.gateway
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(program);
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let program = Program::start("prometheus", &mut command, folder.path());
        wait_for("Prometheus to scrape", Duration::from_secs(60), || {
            http_get(port, "/-/ready").filter(|(status, _)| *status == 200)?;
            story::samples(port, "up == 1", true)
        });
        Scraping {
            port,
            _program: program,
            _folder: folder,
        }
    }
}
