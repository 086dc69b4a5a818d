//! `aegis sql`: one query, one query over and over, or a shell.

mod complete;
mod follow;
mod input;
mod shell;

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use anyhow::Context as _;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::engine;
use super::lines::settled_engine;
use crate::cli::render::{self, Format};
use crate::cli::{Exit, Session, SqlArgs};

pub async fn carry_out(session: Session, arguments: SqlArgs) -> anyhow::Result<Exit> {
    let asked = match arguments.query.as_deref() {
        None => None,
        Some("-") => {
            let mut text = String::new();
            let read = io::stdin().lock().read_to_string(&mut text);
            read.context("cannot read the query from standard input")?;
            Some(text)
        }
        Some(query) => Some(query.to_owned()),
    };
    let asking = Asking {
        options: sql::EngineOptions {
            max_rows: arguments.max_rows,
            ..sql::EngineOptions::default()
        },
        session,
        engine: None,
    };
    let format = Format::of(arguments.json, arguments.csv);
    match asked {
        Some(query) if arguments.follow => follow::follow(asking, &query, format, arguments.every).await,
        Some(query) => one(asking, &query, format).await,
        None if arguments.follow => Err(Exit::Usage.because("--follow needs a query")),
        None => shell::shell(asking, format, io::stdin().is_terminal()).await,
    }
}

async fn one(mut asking: Asking, query: &str, format: Format) -> anyhow::Result<Exit> {
    let (schema, batches) = asking.ask(query).await?;
    let mut out = io::stdout().lock();
    render::batches(&schema, &batches, format, &asking.session.screen, &mut out)?;
    out.flush()?;
    Ok(Exit::Done)
}

/// Asks the tables of one configuration.
struct Asking {
    session: Session,
    options: sql::EngineOptions,
    /// Kept from the first question on.
    engine: Option<sql::Engine>,
}

impl Asking {
    async fn ask(&mut self, query: &str) -> anyhow::Result<(SchemaRef, Vec<RecordBatch>)> {
        let config = &self.session.config;
        let engine = match &self.engine {
            // The newest lines are asked for each time.
            _ if sql::names_log_lines(query) => settled_engine(config, self.options).await?,
            Some(engine) => engine.clone(),
            None => engine(config, self.options).await?,
        };
        let engine = self.engine.insert(engine);
        Ok(engine.query(query).await?)
    }
}
