//! `aegis logs` and `aegis templates`.

use std::io::{self, Write as _};

use chrono::Utc;
use sql::logs::LogQuery;

use super::engine;
use crate::cli::render::{self, Format};
use crate::cli::{Exit, LogsArgs, Session, TemplatesArgs};
use crate::config::Config;
use crate::control::Client;

/// What a running aegis has not written yet is written first.
pub async fn settled_engine(config: &Config, options: sql::EngineOptions) -> anyhow::Result<sql::Engine> {
    if let Some(client) = Client::connect(&config.data.dir).await
        && !client.flush().await?
    {
        eprintln!("the running aegis could not write its newest lines at once; they are not shown");
    }
    engine(config, options).await
}

pub async fn logs(session: Session, arguments: LogsArgs) -> anyhow::Result<Exit> {
    let engine = settled_engine(&session.config, sql::EngineOptions::default()).await?;
    let query = LogQuery {
        template: arguments.template.clone(),
        trace_id: arguments.trace.clone(),
        ..arguments.which.query(Utc::now(), arguments.limit)
    };
    let found = engine.logs(&query).await?;
    let mut out = io::stdout().lock();
    render::log_lines(
        &found.rows,
        Format::of(arguments.json, false),
        &session.screen,
        &mut out,
    )?;
    out.flush()?;
    if found.more {
        eprintln!("only the newest {} are shown; --limit shows more", arguments.limit);
    }
    Ok(Exit::Done)
}

pub async fn templates(session: Session, arguments: TemplatesArgs) -> anyhow::Result<Exit> {
    let engine = settled_engine(&session.config, sql::EngineOptions::default()).await?;
    let found = engine
        .templates(&arguments.which.query(Utc::now(), arguments.limit))
        .await?;
    let mut out = io::stdout().lock();
    render::templates(
        &found.rows,
        Format::of(arguments.json, false),
        &session.screen,
        &mut out,
    )?;
    out.flush()?;
    if found.more {
        eprintln!("only {} are shown; --limit shows more", arguments.limit);
    }
    Ok(Exit::Done)
}
