//! `aegis compliance`.

use std::io::{self, Write as _};
use std::sync::Arc;

use ::agents::compliance::{Policies, verify};
use anyhow::Context as _;

use super::logs::{Reach, reach};
use crate::cli::{ComplianceArgs, ComplianceCommand, Exit, Session, render};
use crate::compliance::ComplianceDesk;

pub async fn carry_out(session: Session, arguments: ComplianceArgs) -> anyhow::Result<Exit> {
    match arguments.command {
        ComplianceCommand::List(arguments) => list(&session, arguments.json).await,
        ComplianceCommand::Evidence(arguments) => {
            let pack = pack(&session, &arguments.control).await?;
            match &arguments.out {
                Some(file) => {
                    std::fs::write(file, &pack).with_context(|| format!("cannot write {}", file.display()))?;
                    writeln!(io::stderr(), "{} bytes written to {}", pack.len(), file.display())?;
                }
                None => {
                    let mut out = io::stdout().lock();
                    out.write_all(pack.as_bytes())?;
                    out.flush()?;
                }
            }
            Ok(Exit::Done)
        }
        ComplianceCommand::Verify(arguments) => {
            let file = &arguments.file;
            let bytes = std::fs::read(file)
                .map_err(|fault| Exit::NotFound.because(format!("{} cannot be read: {fault}", file.display())))?;
            match verify(&bytes) {
                Ok(entries) => {
                    writeln!(io::stdout(), "{entries} entries, every hash is that of its content")?;
                    Ok(Exit::Done)
                }
                Err(fault) => {
                    writeln!(io::stdout(), "FAULT  {fault}")?;
                    Ok(Exit::Unbalanced)
                }
            }
        }
    }
}

async fn list(session: &Session, json: bool) -> anyhow::Result<Exit> {
    let list = match reach(&session.config).await? {
        Reach::Daemon(client) => client.controls().await?,
        Reach::Open(log) => desk(session, log)?.list().await?,
    };
    let mut out = io::stdout().lock();
    if json {
        render::json_line(&list, &mut out)?;
    } else {
        for row in &list.controls {
            writeln!(
                out,
                "{:<14} {:>6} kept {:>6} broken  {}",
                row.control, row.passes, row.violations, row.title
            )?;
        }
        if list.strange > 0 {
            writeln!(out, "{} records that nobody of this installation wrote", list.strange)?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

async fn pack(session: &Session, control: &str) -> anyhow::Result<String> {
    match reach(&session.config).await? {
        Reach::Daemon(client) => client.evidence(control).await,
        Reach::Open(log) => {
            let pack = desk(session, log)?.evidence(control).await?;
            let pack = pack.ok_or_else(|| Exit::NotFound.because(format!("no policy serves a control {control:?}")))?;
            Ok(String::from_utf8(pack)?)
        }
    }
}

fn desk(session: &Session, log: Arc<dyn stream::Log>) -> anyhow::Result<ComplianceDesk> {
    let policies = Policies::load(&session.config.compliance);
    let policies = policies.map_err(|faults| Exit::Configuration.because(faults.join("; ")))?;
    Ok(ComplianceDesk {
        log,
        signer: session.config.signer()?,
        policies: Arc::new(policies),
    })
}
