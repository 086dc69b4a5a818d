//! `aegis propose`.

use std::io::{self, Write as _};

use uuid::Uuid;

use super::response::order;
use crate::cli::render;
use crate::cli::{Exit, ProposeArgs, Session};
use crate::orders::OrderRequest;

pub async fn carry_out(session: Session, arguments: ProposeArgs) -> anyhow::Result<Exit> {
    let taken = order(&session, |by| OrderRequest::Propose {
        incident: arguments.incident,
        action: arguments.action.plan(),
        reason: arguments.because,
        key: arguments.key.unwrap_or_else(Uuid::now_v7),
        by,
    })
    .await?;
    let Some(proposed) = taken.proposed else {
        anyhow::bail!("the daemon wrote it down and did not say as what: see `aegis remediation list`");
    };
    let mut out = io::stdout().lock();
    if arguments.json {
        render::json_line(&proposed, &mut out)?;
    } else {
        writeln!(out, "{}", proposed.dry_run.trim_end())?;
        writeln!(
            out,
            "\nproposed as {}, until {}",
            proposed.id,
            proposed.expires_at.to_rfc3339()
        )?;
    }
    out.flush()?;
    Ok(Exit::Done)
}
