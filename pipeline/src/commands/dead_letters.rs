//! `aegis dead-letters`.

use std::collections::BTreeSet;
use std::io::{self, Write as _};

use serde::Serialize;
use stream::Clock as _;
use stream::driver::Mode;
use stream::time::WallClock;
use tokio_util::sync::CancellationToken;

use super::logs::{Reach, exists, reach};
use crate::cli::render::{self, Format, Progress};
use crate::cli::{DeadLettersArgs, DeadLettersCommand, DropArgs, Exit, ListArgs, ReplayArgs, Session, ShowArgs};
use crate::cli::{What, Which};
use crate::config::LogKind;
use crate::control::Client;
use crate::letters::{Chosen, Deed, Desk, Filter, LetterId, Office, Outcome, PIECE, Status};
use crate::totals::Mark;
use crate::world::World;

pub async fn carry_out(session: Session, arguments: DeadLettersArgs) -> anyhow::Result<Exit> {
    match arguments.command {
        DeadLettersCommand::List(arguments) => list(session, arguments).await,
        DeadLettersCommand::Show(arguments) => show(session, arguments).await,
        DeadLettersCommand::Replay(arguments) => replay(session, arguments).await,
        DeadLettersCommand::Drop(arguments) => drop_letters(session, arguments).await,
    }
}

async fn office(session: &Session) -> anyhow::Result<Office> {
    Ok(match reach(&session.config).await? {
        Reach::Daemon(client) => Office::There(client),
        Reach::Open(log) => Office::Here(Box::new(Desk::new(log, std::sync::Arc::new(WallClock)))),
    })
}

/// Whether nobody else works on this log: then this command leaves nothing half done.
async fn alone(session: &Session) -> anyhow::Result<bool> {
    let config = &session.config;
    exists(config)?;
    Ok(config.log.kind == LogKind::Embedded && Client::connect(&config.data.dir).await.is_none())
}

async fn list(session: Session, arguments: ListArgs) -> anyhow::Result<Exit> {
    let mut office = office(&session).await?;
    let filter = Filter {
        status: arguments.status,
        ..filter(&arguments.which)
    };
    let entries = office.list(&filter, arguments.limit as usize).await?;
    let mut out = io::stdout().lock();
    let now = WallClock.now().to_datetime();
    render::letters(
        &entries,
        now,
        Format::of(arguments.json, false),
        &session.screen,
        &mut out,
    )?;
    out.flush()?;
    office.close().await?;
    Ok(Exit::Done)
}

async fn show(session: Session, arguments: ShowArgs) -> anyhow::Result<Exit> {
    let mut office = office(&session).await?;
    let Some(whole) = office.show(arguments.id).await? else {
        return Err(no_letters(&[arguments.id]));
    };
    let mut out = io::stdout().lock();
    if arguments.raw {
        let Some(body) = &whole.body_base64 else {
            return Err(Exit::NotFound.because(format!(
                "the bytes of {} are gone: the letter that carried them lies before the log's start",
                arguments.id
            )));
        };
        out.write_all(&render::letters::bytes_of(body).map_err(anyhow::Error::msg)?)?;
    } else {
        render::letter(&whole, Format::of(arguments.json, false), &session.screen, &mut out)?;
    }
    out.flush()?;
    office.close().await?;
    Ok(Exit::Done)
}

/// The outcome of a replay, as `--json` gives it.
#[derive(Serialize)]
struct Replayed {
    #[serde(flatten)]
    outcome: Outcome,
    /// Whether it is known what came of it: only without a running aegis, which goes on by itself.
    worked_off: bool,
    /// Signals that came of it, and items refused again.
    signals: u64,
    refused_again: u64,
}

async fn replay(session: Session, arguments: ReplayArgs) -> anyhow::Result<Exit> {
    let config = &session.config;
    let alone = alone(&session).await?;
    let mut shown = Replayed {
        outcome: Outcome::default(),
        worked_off: alone,
        signals: 0,
        refused_again: 0,
    };
    if alone {
        let world = World::open(config).await?;
        let log = world.runtime.log.clone();
        let mut desk = Office::Here(Box::new(Desk::new(log.clone(), world.runtime.clock.clone())));
        // What still waits in the log is worked off first, so that the counts below are those of the letters.
        let to_end = Mode::ToEnd { past: None };
        world.run_to_end(to_end, CancellationToken::new()).await?;
        let mark = Mark::now(&log).await?;
        shown.outcome = deal(&mut desk, &session, &arguments.what, &Deed::Replay, arguments.again).await?;
        desk.close().await?;
        world.run_to_end(to_end, CancellationToken::new()).await?;
        let totals = mark.totals(&log).await?;
        (shown.signals, shown.refused_again) = (totals.signals, totals.dead_lettered);
        world.close().await?;
    } else {
        let mut office = office(&session).await?;
        shown.outcome = deal(&mut office, &session, &arguments.what, &Deed::Replay, arguments.again).await?;
        office.close().await?;
    }
    let mut out = io::stdout().lock();
    if arguments.json {
        render::json_line(&shown, &mut out)?;
    } else {
        render::letters::outcome(&shown.outcome, "sent again", &mut out)?;
        match alone {
            true => writeln!(out, "{} signals, {} refused again", shown.signals, shown.refused_again)?,
            false => writeln!(
                out,
                "the running aegis takes them; see `aegis dead-letters list --status open`"
            )?,
        }
    }
    out.flush()?;
    Ok(exit(&shown.outcome, shown.refused_again))
}

async fn drop_letters(session: Session, arguments: DropArgs) -> anyhow::Result<Exit> {
    let deed = Deed::Drop {
        because: arguments.because.clone(),
    };
    let outcome = if alone(&session).await? {
        let world = World::open(&session.config).await?;
        let desk = Desk::new(world.runtime.log.clone(), world.runtime.clock.clone());
        let mut office = Office::Here(Box::new(desk));
        let outcome = deal(&mut office, &session, &arguments.what, &deed, false).await?;
        office.close().await?;
        // The tables say it too.
        let to_end = Mode::ToEnd { past: None };
        world.project(to_end, CancellationToken::new()).await?;
        world.close().await?;
        outcome
    } else {
        let mut office = office(&session).await?;
        let outcome = deal(&mut office, &session, &arguments.what, &deed, false).await?;
        office.close().await?;
        outcome
    };
    let mut out = io::stdout().lock();
    if arguments.json {
        render::json_line(&outcome, &mut out)?;
    } else {
        render::letters::outcome(&outcome, "dropped", &mut out)?;
    }
    out.flush()?;
    Ok(exit(&outcome, 0))
}

/// Does `deed` to what the command line names, piece by piece.
async fn deal(
    office: &mut Office,
    session: &Session,
    what: &What,
    deed: &Deed,
    again: bool,
) -> anyhow::Result<Outcome> {
    let filter = Filter {
        ids: what.ids.clone(),
        // Letters that are named are looked at one by one, so that each that is left alone says why.
        status: (what.ids.is_empty() && !again).then_some(Status::Open),
        ..filter(&what.which)
    };
    let chosen = office.select(&filter).await?;
    let found: BTreeSet<LetterId> = chosen.iter().map(|letter: &Chosen| letter.id).collect();
    let missing: Vec<LetterId> = what.ids.iter().copied().filter(|id| !found.contains(id)).collect();
    if !missing.is_empty() {
        return Err(no_letters(&missing));
    }
    let bar = Progress::count("letters", chosen.len() as u64, &session.screen);
    let mut outcome = Outcome::default();
    for piece in chosen.chunks(PIECE) {
        let done = office.act(piece, deed, again).await;
        if done.is_err() {
            bar.finish();
            if outcome.letters > 0 {
                tracing::error!(letters = outcome.letters, "these were dealt with before it failed");
            }
        }
        outcome.add(done?);
        bar.add(piece.len() as u64);
    }
    bar.finish();
    Ok(outcome)
}

fn filter(which: &Which) -> Filter {
    Filter {
        stage: which.stage.clone(),
        reason: which.reason.clone(),
        since: which
            .since
            .as_ref()
            .map(|since| since.before(WallClock.now().to_datetime())),
        ..Filter::default()
    }
}

fn no_letters(ids: &[LetterId]) -> anyhow::Error {
    let named: Vec<String> = ids.iter().map(LetterId::to_string).collect();
    Exit::NotFound.because(format!("there is no letter {}; nothing was done", named.join(", ")))
}

fn exit(outcome: &Outcome, refused_again: u64) -> Exit {
    if outcome.skipped.is_empty() && refused_again == 0 {
        Exit::Done
    } else {
        Exit::InPart
    }
}
