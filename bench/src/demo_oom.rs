//! `bench demo-oom`: the story of [`world::demo`] for people. It shows each stage when it is reached, then what was found and the
//! postmortem, and ends with 0 only if every point of [`world::demo::checks()`] holds. Where `AEGIS_TEST_KUBERNETES` names a real
//! cluster, that one stands in the place of the Kubernetes stand-in.

mod show;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use world::demo::{Look, Options, Policy, Programs, Site, checks, over, stages};
use world::real::RealCluster;

use crate::storm;

/// Longest until the end. The story itself has three minutes.
const PATIENCE: Duration = Duration::from_secs(300);
/// A human may think about it: as long as a proposal is valid.
const HUMAN_PATIENCE: Duration = Duration::from_secs(20 * 60);
const PAUSE: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
pub struct Arguments {
    /// Ask a human instead of letting a rule grant the restart
    #[arg(long)]
    pub ask: bool,
    /// Stay up afterwards, until interrupted
    #[arg(long)]
    pub keep: bool,
    /// The program aegis; without it, the one beside this program
    #[arg(long)]
    pub aegis: Option<PathBuf>,
    /// More of aegis.toml, from a table's head on: another log, another store
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
}

/// # Errors
/// Something did not start, or a point does not hold.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    // Whatever runs belongs to the future that is dropped here. It comes first: one that stays up to be looked at ends well.
    tokio::select! {
        biased;
        told = tell(arguments) => told,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            anyhow::bail!("interrupted; everything is stopped")
        }
        _ = terminate.recv() => anyhow::bail!("terminated; everything is stopped"),
    }
}

async fn tell(arguments: &Arguments) -> anyhow::Result<()> {
    let aegis = match &arguments.aegis {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("aegis"),
    };
    anyhow::ensure!(
        aegis.is_file(),
        "{} is not there: build it, or name it by --aegis",
        aegis.display()
    );
    let programs = Programs::of_environment(aegis)?;
    let folder = tempfile::Builder::new().prefix("aegis-demo-oom-").tempdir()?;
    let earlier = folder.path().join("earlier.ndjson");
    std::fs::write(&earlier, storm::lines().join("\n") + "\n")?;
    let settings = match &arguments.settings {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?,
        None => String::new(),
    };
    let options = Options {
        policy: if arguments.ask { Policy::Ask } else { Policy::Rule },
        settings,
        earlier: Some(earlier),
        pace: (2_000, 3_000),
        cluster: RealCluster::of_environment()?,
        ..Options::default()
    };
    show::heading("Setting the scene");
    let mut site = Site::start(&programs, folder.path(), &options, show::prepared).await?;
    show::heading("The incident, as Aegis sees it");
    let look = follow(&mut site, if arguments.ask { HUMAN_PATIENCE } else { PATIENCE }).await?;
    show::report(&look);
    let checks = checks(&look, &site.world);
    show::checks(&checks);
    if arguments.keep {
        show::where_to_look(&site, &look);
        tokio::signal::ctrl_c().await?;
    }
    let missed = checks.iter().filter(|check| !check.holds).count();
    anyhow::ensure!(missed == 0, "{missed} of {} points do not hold", checks.len());
    Ok(())
}

/// Shows each stage when it is reached, until the last one or until the time is over.
async fn follow(site: &mut Site, patience: Duration) -> anyhow::Result<Look> {
    let began = Instant::now();
    let mut shown = show::Stages::default();
    loop {
        let look = site.look().await?;
        let reached = stages(&look, &site.world);
        let over = over(&reached);
        shown.show(&reached, over);
        if let Some(waiting) = look.remediation().filter(|row| row["status"] == "waiting") {
            shown.ask(waiting, site);
        }
        if over || began.elapsed() > patience {
            shown.end();
            return Ok(look);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
