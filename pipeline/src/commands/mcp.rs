//! `aegis mcp --stdio`: a pipe between a client and the running aegis. `aegis mcp log`: what was asked.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use chrono::SecondsFormat;
use mcp::{Hello, SOCKET, read_calls};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

use crate::cli::render::table::Value;
use crate::cli::render::{self, Table};
use crate::cli::{Exit, McpArgs, McpCommand, McpLogArgs, Session};
use crate::mcp_endpoint::calls_path;

/// How long answers under way are waited for once the client has closed its end.
const LAST_ANSWERS: Duration = Duration::from_secs(30);

pub async fn carry_out(session: Session, arguments: McpArgs) -> anyhow::Result<Exit> {
    match arguments.command {
        Some(McpCommand::Log(arguments)) => log(&session, &arguments),
        None => pipe(&session).await,
    }
}

fn log(session: &Session, arguments: &McpLogArgs) -> anyhow::Result<Exit> {
    let path = calls_path(&session.config.data.dir);
    let calls = read_calls(&path, arguments.limit as usize);
    let calls = calls.with_context(|| format!("cannot read the log of calls {}", path.display()))?;
    let mut out = io::stdout().lock();
    if arguments.json {
        calls.iter().try_for_each(|call| render::json_line(call, &mut out))?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["at", "by", "over", "client", "what", "outcome", "ms", "arguments"]);
    for call in &calls {
        table.row(vec![
            Value::text(call.at.to_rfc3339_opts(SecondsFormat::Millis, true)),
            Value::text(&call.by),
            Value::text(&call.over),
            Value::text(call.client.as_deref().unwrap_or("-")),
            Value::text(format!("{} {}", call.kind, call.name)),
            Value::text(&call.outcome),
            Value::number(call.duration_ms),
            Value::text(call.arguments.to_string()),
        ]);
    }
    table.write(session.screen.stdout, &mut out)?;
    out.flush()?;
    Ok(Exit::Done)
}

async fn pipe(session: &Session) -> anyhow::Result<Exit> {
    let path = session.config.data.dir.join(SOCKET);
    let stream = UnixStream::connect(&path).await.map_err(|error| {
        Exit::Unavailable.because(format!(
            "no aegis with MCP runs on {} ({}: {error}): start `aegis run` there, with mcp.enabled",
            session.config.data.dir.display(),
            path.display()
        ))
    })?;
    let (mut from_aegis, mut to_aegis) = stream.into_split();
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let hello = Hello {
        user: user.unwrap_or_default(),
    };
    let mut line = serde_json::to_vec(&hello)?;
    line.push(b'\n');
    to_aegis.write_all(&line).await.context("aegis went away")?;
    let sending = tokio::spawn(async move {
        let mut input = tokio::io::stdin();
        let sent = tokio::io::copy(&mut input, &mut to_aegis).await;
        let _ = to_aegis.shutdown().await;
        sent
    });
    let mut receiving = tokio::spawn(async move {
        let mut output = tokio::io::stdout();
        // Flushed line by line: a client waits for each.
        let mut buffer = vec![0; 64 << 10];
        loop {
            match tokio::io::AsyncReadExt::read(&mut from_aegis, &mut buffer).await? {
                0 => return output.flush().await,
                read => output.write_all(&buffer[..read]).await?,
            }
            output.flush().await?;
        }
    });
    let exit = tokio::select! {
        // The client has closed its end: what is under way is still answered.
        _ = sending => match tokio::time::timeout(LAST_ANSWERS, &mut receiving).await {
            Ok(_) | Err(_) => Exit::Done,
        },
        _ = &mut receiving => {
            tracing::error!("aegis closed the pipe: it stopped, or has as many clients as may be (mcp.max_sessions)");
            Exit::Unavailable
        }
    };
    // Somebody may still be reading standard input, for which a runtime would wait when it ends.
    std::process::exit(i32::from(exit.code()));
}
