//! `aegis repartition`.

use std::io;
use std::sync::Mutex;

use crate::cli::render::Progress;
use crate::cli::{Exit, RepartitionArgs, Session, repartition as cli};
use crate::repartition::{Order, Told, abandon, repartition};

pub async fn carry_out(session: Session, arguments: RepartitionArgs) -> anyhow::Result<Exit> {
    super::arm_failpoint()?;
    super::logs::exists(&session.config)?;
    let config = &session.config;
    let summary = if arguments.abandon {
        abandon(config).await?
    } else {
        let order = Order {
            partitions: arguments.partitions,
            dry_run: arguments.dry_run,
            unbalanced: arguments.unbalanced,
        };
        let bar: Mutex<Option<Progress>> = Mutex::new(None);
        let tell = |told: Told| {
            let mut bar = bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match told {
                Told::Phase(phase) => {
                    tracing::info!(phase, "repartition");
                    if let Some(shown) = bar.take() {
                        shown.finish();
                    }
                }
                Told::Total(total) => *bar = Some(Progress::count("rewriting", total, &session.screen)),
                Told::Done(done) => {
                    if let Some(shown) = bar.as_ref() {
                        shown.add(done);
                    }
                }
            }
        };
        let stop = super::stop_on_signal();
        let summary = repartition(config, order, &stop, &tell).await;
        tell(Told::Phase("done"));
        summary?
    };
    cli::show(&summary, arguments.json, &session.screen, &mut io::stdout().lock())?;
    Ok(Exit::Done)
}
