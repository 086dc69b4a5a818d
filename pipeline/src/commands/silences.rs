//! `aegis silences`.

use std::io::{self, Write as _};
use std::sync::Arc;

use gateway::{OrderError, SilenceView};
use stream::Log;
use stream::time::WallClock;
use tokio_util::sync::CancellationToken;

use super::existing_store;
use super::logs::{Reach, reach};
use super::response::user;
use crate::cli::silences::show_silences;
use crate::cli::{Exit, Session, SilencesArgs, SilencesCommand};
use crate::silences::{SilenceDesk, SilenceRequest, ensure_topic};

pub async fn carry_out(session: Session, arguments: SilencesArgs) -> anyhow::Result<Exit> {
    let (request, json) = match arguments.command {
        SilencesCommand::List(list) => {
            let (all, incident) = (list.all, list.incident);
            (SilenceRequest::List { all, incident }, list.json)
        }
        SilencesCommand::Add(add) => {
            let json = add.json;
            let wanted = add.body();
            (SilenceRequest::Add { wanted, by: user() }, json)
        }
        SilencesCommand::End(end) => (SilenceRequest::End { id: end.id, by: user() }, false),
    };
    let silences: Vec<SilenceView> = match reach(&session.config).await? {
        Reach::Daemon(client) => client.post("/silences", &request).await?,
        Reach::Open(log) => alone(&session, log, request).await?,
    };
    let mut out = io::stdout().lock();
    show_silences(&silences, json, &session.screen, &mut out)?;
    out.flush()?;
    Ok(Exit::Done)
}

/// On a log that many may use, or that nobody uses now.
async fn alone(session: &Session, log: Arc<dyn Log>, request: SilenceRequest) -> anyhow::Result<Vec<SilenceView>> {
    let store = existing_store(&session.config).await?;
    let desk = SilenceDesk::new(
        log.clone(),
        store.clone(),
        Arc::new(WallClock),
        session.config.signer()?,
    );
    let answer = match &request {
        SilenceRequest::List { .. } => {
            desk.catch_up().await?;
            desk.answer(request).await
        }
        SilenceRequest::Add { .. } | SilenceRequest::End { .. } => {
            ensure_topic(&log).await?;
            desk.catch_up().await?;
            tokio::select! {
                answer = desk.answer(request) => answer,
                () = desk.keep(CancellationToken::new()) => unreachable!("it is kept until it is told to stop"),
            }
        }
    };
    store.close().await;
    answer.map_err(|error| match error {
        OrderError::NotFound(_) => Exit::NotFound.because(error.to_string()),
        OrderError::Unavailable(_) => Exit::Unavailable.because(error.to_string()),
        OrderError::Conflict(_) | OrderError::Forbidden(_) | OrderError::Invalid { .. } => {
            Exit::Failed.because(error.to_string())
        }
    })
}
