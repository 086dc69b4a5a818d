//! `aegis similar` and `aegis models`.

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use embedding::{BUILTIN, FILES, FilesError, ModelsSettings, installed, take};
use gateway::{ReadError, SimilarAnswer};
use sinks::notify::{Failed, Http};
use uuid::Uuid;

use super::existing_store;
use crate::cli::similar::{ModelLine, show_models, show_similar};
use crate::cli::{Exit, FetchArgs, ModelsArgs, ModelsCommand, Session, SimilarArgs};
use crate::config::Config;
use crate::control::Client;
use crate::similar::{ModelRequest, Similar, SimilarRequest, UseError, choose};

/// Of one file of a model.
const FETCH_TIME: Duration = Duration::from_secs(1_800);
const MOST_BYTES: usize = 1 << 30;

pub async fn similar(session: Session, arguments: SimilarArgs) -> anyhow::Result<Exit> {
    let (text, limit) = (arguments.what.join(" "), arguments.limit);
    let request = match Uuid::parse_str(text.trim()) {
        Ok(id) => SimilarRequest::Incident { id, limit },
        Err(_) => SimilarRequest::Text { text, limit },
    };
    let config = &session.config;
    if !config.vectors.enabled {
        return Err(Exit::Unavailable.because("vectors.enabled is false: nothing is kept to compare with"));
    }
    let answer: SimilarAnswer = match Client::connect(&config.data.dir).await {
        Some(client) => client.post("/similar", &request).await?,
        None => alone(config, &request).await?,
    };
    show_similar(&answer, arguments.json, &session.screen, &mut io::stdout().lock())?;
    Ok(Exit::Done)
}

/// Without a running aegis.
async fn alone(config: &Config, request: &SimilarRequest) -> anyhow::Result<SimilarAnswer> {
    let tables = existing_store(config).await?;
    let similar = Similar::open(config, &tables)?.context("vectors.enabled is false")?;
    let answer = crate::similar::answer(&similar, request).await;
    tables.close().await;
    match answer {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(Exit::NotFound.because("there is no such incident")),
        Err(error @ ReadError::Unavailable(_)) => Err(Exit::Unavailable.because(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

pub async fn models(session: Session, arguments: ModelsArgs) -> anyhow::Result<Exit> {
    let config = &session.config;
    let (models, data_dir) = (&config.models, config.data.dir.as_path());
    match arguments.command {
        ModelsCommand::List(list) => {
            let lines = lines(models, data_dir);
            show_models(&lines, list.json, &session.screen, &mut io::stdout().lock())?;
        }
        ModelsCommand::Fetch(fetch) => {
            let taken = fetched(models, data_dir, &fetch).await?;
            let line = ModelLine {
                used: models.chosen(data_dir) == taken.name,
                name: taken.name,
                hash: taken.hash,
                dimensions: taken.dimensions,
                state: "ready".to_owned(),
            };
            show_models(&[line], false, &session.screen, &mut io::stdout().lock())?;
        }
        ModelsCommand::Use(wanted) => {
            let client = Client::connect(data_dir).await.filter(|_| config.vectors.enabled);
            // Looked at first, so that the codes are the same with and without a running aegis.
            choose(models, data_dir, &wanted.name).map_err(|error| match &error {
                UseError::Configured(_) => Exit::Configuration.because(error.to_string()),
                UseError::Files(FilesError::Missing(..) | FilesError::Name(..)) => {
                    Exit::NotFound.because(error.to_string())
                }
                UseError::Files(_) => Exit::Failed.because(error.to_string()),
            })?;
            if let Some(client) = client {
                let _: bool = client.post("/models/use", &ModelRequest { name: wanted.name }).await?;
            }
            show_models(
                &lines(models, data_dir),
                false,
                &session.screen,
                &mut io::stdout().lock(),
            )?;
        }
    }
    Ok(Exit::Done)
}

fn lines(models: &ModelsSettings, data_dir: &Path) -> Vec<ModelLine> {
    let chosen = models.chosen(data_dir);
    let about = models.describe(data_dir, BUILTIN).ok();
    let mut lines: Vec<ModelLine> = about
        .into_iter()
        .map(|about| ModelLine {
            used: chosen == about.id,
            name: about.id,
            hash: about.hash,
            dimensions: about.dimensions,
            state: "ready".to_owned(),
        })
        .collect();
    let nothing = |name: &str, state: String| ModelLine {
        name: name.to_owned(),
        hash: String::new(),
        dimensions: 0,
        used: chosen == name,
        state,
    };
    for (name, manifest) in installed(&models.path_in(data_dir)) {
        lines.push(match manifest {
            Ok(manifest) => ModelLine {
                used: chosen == name,
                name,
                hash: manifest.hash,
                dimensions: manifest.dimensions,
                state: "ready".to_owned(),
            },
            Err(error) => nothing(&name, error.to_string()),
        });
    }
    for name in models.known.keys().map(String::as_str).chain([chosen.as_str()]) {
        if !lines.iter().any(|line| line.name == name) {
            lines.push(nothing(name, "not fetched".to_owned()));
        }
    }
    lines
}

async fn fetched(models: &ModelsSettings, data_dir: &Path, wanted: &FetchArgs) -> anyhow::Result<embedding::Manifest> {
    let known = models.known.get(&wanted.name);
    let from = wanted.from.clone().or_else(|| known.map(|known| known.from.clone()));
    let Some(from) = from.filter(|from| !from.is_empty()) else {
        let problem = format!(
            "where is {:?}? Name it with --from, or write [models.known.{}]",
            wanted.name, wanted.name
        );
        return Err(Exit::Usage.because(problem));
    };
    let hash = wanted.sha256.clone().or_else(|| {
        let of_the_same = known.filter(|known| known.from == from);
        of_the_same
            .map(|known| known.sha256.clone())
            .filter(|hash| !hash.is_empty())
    });
    let into = models.path_in(data_dir);
    let taken = if from.contains("://") {
        let Some(hash) = hash else {
            return Err(Exit::Usage.because("what comes from a network is taken by its hash alone: add --sha256"));
        };
        let folder = into.join(format!(".{}.fetched", Uuid::new_v4().simple()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let got = download(&from, &folder).await;
        let taken = got.map(|()| take(&folder, &into, &wanted.name, Some(&hash)));
        let _ = std::fs::remove_dir_all(&folder);
        taken?
    } else {
        take(Path::new(&from), &into, &wanted.name, hash.as_deref())
    };
    taken.map_err(|error| match &error {
        FilesError::Name(..) => Exit::Usage.because(error.to_string()),
        FilesError::File { cause, .. } if cause.kind() == io::ErrorKind::NotFound => {
            Exit::NotFound.because(error.to_string())
        }
        _ => Exit::Failed.because(error.to_string()),
    })
}

async fn download(from: &str, folder: &Path) -> anyhow::Result<()> {
    let http = Http::new().map_err(anyhow::Error::msg)?;
    let base = from.trim_end_matches('/');
    for file in FILES {
        let bytes = http
            .fetch(&format!("{base}/{file}"), MOST_BYTES, FETCH_TIME)
            .await
            .map_err(|failed| match failed {
                Failed::Refused(detail) => Exit::NotFound.because(format!("{base}/{file}: {detail}")),
                later => Exit::Unavailable.because(format!("{base}/{file}: {}", later.detail())),
            })?;
        let path = folder.join(file);
        std::fs::write(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
