//! `aegis audit`.

use std::io::{self, Write as _};

use super::logs::{Reach, reach};
use crate::audit;
use crate::cli::render::{self, Format};
use crate::cli::{AuditArgs, AuditCommand, Exit, Session};

pub async fn carry_out(session: Session, arguments: AuditArgs) -> anyhow::Result<Exit> {
    let AuditCommand::Conservation(arguments) = arguments.command;
    let report = match reach(&session.config).await? {
        Reach::Daemon(client) => client.conservation().await?,
        Reach::Open(log) => audit::conservation(&log).await?,
    };
    let mut out = io::stdout().lock();
    render::audit(&report, Format::of(arguments.json, false), &session.screen, &mut out)?;
    out.flush()?;
    Ok(if report.balanced { Exit::Done } else { Exit::Unbalanced })
}
