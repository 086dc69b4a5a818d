//! `aegis runs`, `aegis remediation`, `aegis approve`, `aegis deny`, `aegis ledger verify`.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;

use gateway::OrderError;
use sinks::sql::{RemediationRow, ResponseFilter};
use stream::time::WallClock;
use tools::observe::Observe;
use uuid::Uuid;

use super::existing_store;
use super::logs::{Reach, reach};
use crate::cli::render::{self, Format};
use crate::cli::{
    ApproveArgs, DenyArgs, Exit, LedgerArgs, LedgerCommand, RemediationArgs, RemediationCommand, RunsArgs, Session,
};
use crate::ledger;
use crate::orders::{LogOrders, OrderRequest, Taken, give};

pub async fn runs(session: Session, arguments: RunsArgs) -> anyhow::Result<Exit> {
    let store = existing_store(&session.config).await?;
    let format = Format::of(arguments.json, false);
    let mut out = io::stdout().lock();
    match arguments.id {
        Some(id) => match store.execution(id).await? {
            Some(row) => render::step(&row, format, &session.screen, &mut out)?,
            None => return Err(Exit::NotFound.because(format!("there is no step {id}"))),
        },
        None => {
            let filter = ResponseFilter {
                incident: arguments.incident,
                status: arguments.status.clone(),
            };
            let rows = store.executions(&filter, arguments.limit, 0).await?;
            render::steps(&rows, format, &session.screen, &mut out)?;
        }
    }
    out.flush()?;
    store.close().await;
    Ok(Exit::Done)
}

pub async fn remediation(session: Session, arguments: RemediationArgs) -> anyhow::Result<Exit> {
    match arguments.command {
        RemediationCommand::Stop => return ordered(&session, |by| OrderRequest::Stop { on: true, by }).await,
        RemediationCommand::Go => return ordered(&session, |by| OrderRequest::Stop { on: false, by }).await,
        RemediationCommand::List(list) => {
            let store = existing_store(&session.config).await?;
            let filter = ResponseFilter {
                incident: list.incident,
                status: list.status.clone(),
            };
            let rows = store.remediations(&filter, list.limit, 0).await?;
            let mut out = io::stdout().lock();
            render::remediations(&rows, Format::of(list.json, false), &session.screen, &mut out)?;
            out.flush()?;
        }
        RemediationCommand::Show(show) => {
            let row = found(&session, show.id).await?;
            let mut out = io::stdout().lock();
            render::remediation(&row, Format::of(show.json, false), &session.screen, &mut out)?;
            out.flush()?;
        }
    }
    Ok(Exit::Done)
}

pub async fn approve(session: Session, arguments: ApproveArgs) -> anyhow::Result<Exit> {
    let row = found(&session, arguments.id).await?;
    if !arguments.yes {
        if !io::stdin().is_terminal() {
            return Err(Exit::Usage.because("there is nobody to ask: add --yes".to_owned()));
        }
        let mut err = io::stderr().lock();
        render::remediation(&row, Format::Table, &session.screen, &mut err)?;
        write!(err, "\nCarry this out? [y/N] ")?;
        err.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            writeln!(err, "nothing was granted")?;
            return Ok(Exit::Failed);
        }
    }
    ordered(&session, |by| OrderRequest::Approve {
        remediation: row.id,
        plan_hash: row.plan_hash,
        by,
    })
    .await
}

pub async fn deny(session: Session, arguments: DenyArgs) -> anyhow::Result<Exit> {
    ordered(&session, |by| OrderRequest::Deny {
        remediation: arguments.id,
        reason: arguments.because,
        by,
    })
    .await
}

pub async fn ledger(session: Session, arguments: LedgerArgs) -> anyhow::Result<Exit> {
    let LedgerCommand::Verify(arguments) = arguments.command;
    let report = match reach(&session.config).await? {
        Reach::Daemon(client) => client.ledger().await?,
        Reach::Open(log) => ledger::verify(&log).await?,
    };
    let mut out = io::stdout().lock();
    if arguments.json {
        render::json_line(&report, &mut out)?;
    } else {
        for fault in &report.faults {
            writeln!(out, "FAULT  {fault}")?;
        }
        writeln!(
            out,
            "{} entries in {} chains, {} records entered, {} to come, {} faults",
            report.entries,
            report.chains,
            report.records,
            report.pending,
            report.faults.len()
        )?;
    }
    out.flush()?;
    Ok(if report.faults.is_empty() {
        Exit::Done
    } else {
        Exit::Unbalanced
    })
}

async fn found(session: &Session, id: Uuid) -> anyhow::Result<RemediationRow> {
    let store = existing_store(&session.config).await?;
    let row = store.remediation(id).await?;
    store.close().await;
    row.ok_or_else(|| Exit::NotFound.because(format!("there is no remediation {id}")))
}

/// Gives an order, and says that it was.
async fn ordered(session: &Session, request: impl FnOnce(String) -> OrderRequest) -> anyhow::Result<Exit> {
    order(session, request).await?;
    writeln!(io::stderr(), "ordered")?;
    Ok(Exit::Done)
}

/// Who sits here, as orders name people.
pub(super) fn user() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let user = user.ok().filter(|name| !name.is_empty());
    format!("human:{}", user.unwrap_or_else(|| "unnamed".to_owned()))
}

/// Gives an order through the running aegis, or on a log that many may use.
pub(super) async fn order(session: &Session, request: impl FnOnce(String) -> OrderRequest) -> anyhow::Result<Taken> {
    let request = request(user());
    match reach(&session.config).await? {
        Reach::Daemon(client) => client.post("/orders", &request).await,
        Reach::Open(log) => {
            let store = existing_store(&session.config).await?;
            let orders = LogOrders {
                log,
                store: store.clone(),
                clock: Arc::new(WallClock),
                observe: match &request {
                    OrderRequest::Propose { .. } => tools::connect::observe(&session.config.tools).await?,
                    _ => Observe::default(),
                },
                signer: session.config.signer()?,
            };
            let given = give(&orders, request).await;
            store.close().await;
            given.map_err(|error| match error {
                OrderError::NotFound(_) => Exit::NotFound.because(error.to_string()),
                OrderError::Unavailable(_) => Exit::Unavailable.because(error.to_string()),
                OrderError::Conflict(_) | OrderError::Forbidden(_) | OrderError::Invalid { .. } => {
                    Exit::Failed.because(error.to_string())
                }
            })
        }
    }
}
