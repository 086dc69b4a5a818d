//! `aegis sinks`.

use std::io;
use std::sync::Mutex;

use super::logs::exists;
use crate::cli::render::Progress;
use crate::cli::{Exit, Session, SinksArgs, SinksCommand, sinks as cli};
use crate::config::LogKind;
use crate::control::Client;
use crate::rebuild::{Order, Told, rebuild};
use crate::standings::standings;
use crate::world::open_log;

pub async fn carry_out(session: Session, arguments: SinksArgs) -> anyhow::Result<Exit> {
    match arguments.command {
        SinksCommand::List(arguments) => {
            let config = &session.config;
            exists(config)?;
            let client = match config.log.kind {
                LogKind::Embedded => Client::connect(&config.data.dir).await,
                LogKind::Kafka => None,
            };
            let stand = match client {
                Some(client) => client.sinks().await?,
                None => {
                    let opened = open_log(config).await?;
                    let store = super::existing_store(config).await?;
                    let archive = config.archive.enabled.then(|| config.archive.path_in(&config.data.dir));
                    let stand = standings(&opened.log, &opened.layout, &store, archive.as_deref()).await?;
                    store.close().await;
                    stand
                }
            };
            cli::show_list(&stand, arguments.json, &session.screen, &mut io::stdout().lock())?;
        }
        SinksCommand::Rebuild(arguments) => {
            super::arm_failpoint()?;
            exists(&session.config)?;
            let order = Order {
                sink: arguments.name,
                partial: arguments.partial,
            };
            let bar: Mutex<Option<Progress>> = Mutex::new(None);
            let tell = |told: Told| {
                let mut bar = bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                match told {
                    Told::Total(total) => *bar = Some(Progress::count("rebuilding", total, &session.screen)),
                    Told::Done(done) => {
                        if let Some(shown) = bar.as_ref() {
                            shown.add(done);
                        }
                    }
                }
            };
            let stop = super::stop_on_signal();
            let summary = rebuild(&session.config, order, &stop, &tell).await;
            if let Some(shown) = bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
                shown.finish();
            }
            cli::show_rebuilt(&summary?, arguments.json, &mut io::stdout().lock())?;
        }
    }
    Ok(Exit::Done)
}
