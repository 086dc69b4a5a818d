//! `aegis similar` and `aegis models`: their arguments, and how the answers look.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use gateway::{SimilarAnswer, SimilarIncident};
use serde::Serialize;

use super::render::{self, Screen, Table, table::Value};

/// Find past incidents like one, or like a text
///
/// Compares texts by meaning and names what both have: service, alert, log template, labels, words, and how near the vectors are. What
/// fixed each of them is told from the tables. Asks the running aegis; without one it looks by itself.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis similar 0198f0c2-7a55-7b5e-9a55-3f1d5a0a6e11
  aegis similar the api runs out of memory
  aegis similar --json \"disk full\" | jq -r '.similar[] | [.score, .title] | @tsv'

Exits with 4 when there is no incident of the given id, and with 5 when the vectors cannot be asked.")]
pub struct SimilarArgs {
    /// The incident's id, or words
    #[arg(value_name = "ID|TEXT", required = true)]
    pub what: Vec<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub limit: u32,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// The models that make vectors of texts
#[derive(Clone, Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  aegis models list
  aegis models fetch minilm --from ./all-MiniLM-L6-v2
  aegis models use minilm"
)]
pub struct ModelsArgs {
    #[command(subcommand)]
    pub command: ModelsCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum ModelsCommand {
    List(ModelsListArgs),
    Fetch(FetchArgs),
    Use(UseArgs),
}

/// List the models that are here or known, and which one is used
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis models list
  aegis models list --json | jq -r 'select(.used) | .hash'")]
pub struct ModelsListArgs {
    /// One JSON object per line
    #[arg(long)]
    pub json: bool,
}

/// Get a model's files from a folder or an address, and check them
///
/// Takes model.onnx, tokenizer.json, config.json, special_tokens_map.json and tokenizer_config.json. What comes from a network is taken only
/// with the hash that is asked for. Where NAME stands in [models.known] of the configuration, both are known.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis models fetch minilm --from ./all-MiniLM-L6-v2
  aegis models fetch minilm --from https://models.example/minilm --sha256 2f1c…
  aegis models fetch minilm                       as [models.known.minilm] says

Exits with 1 when the hash is another one, 4 when there is nothing there, 5 when the address does not answer.")]
pub struct FetchArgs {
    /// The name it gets here
    #[arg(value_name = "NAME")]
    pub name: String,
    /// A folder, or an address below which the files lie
    #[arg(long, value_name = "FOLDER|URL")]
    pub from: Option<String>,
    /// The model's hash, as `aegis models list` shows it
    #[arg(long, value_name = "HASH")]
    pub sha256: Option<String>,
}

/// Use another model from now on
///
/// Its vectors are in a collection of their own, which is filled by reading the log again: until then `aegis similar` finds less. The
/// vectors of the model before it stay, and are used again when it is. A running aegis changes at once.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis models use minilm
  aegis models use builtin

Exits with 3 when the configuration names the model, and with 4 when there is no such model.")]
pub struct UseArgs {
    /// As `aegis models list` names it
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// A line of `aegis models list`.
#[derive(Clone, Debug, Serialize)]
pub struct ModelLine {
    pub name: String,
    pub hash: String,
    pub dimensions: usize,
    pub used: bool,
    /// `ready`, `not fetched`, or what is wrong.
    pub state: String,
}

/// Shows past incidents.
pub fn show_similar(answer: &SimilarAnswer, json: bool, screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    if json {
        render::json_line(answer, out)?;
        return out.flush();
    }
    let mut table = Table::new(["score", "incident", "began", "title", "fixed by", "both have"]);
    for one in &answer.similar {
        let shared = one.matched.iter().map(|m| match m.feature.as_str() {
            "vector" => format!("vector {}", m.value),
            feature => format!("{feature} {:?}", m.value),
        });
        table.row(vec![
            Value::number(format!("{:.2}", one.score)),
            Value::text(one.id.to_string()),
            Value::text(one.created_at.format("%Y-%m-%d %H:%M").to_string()),
            Value::text(&one.title),
            Value::text(fixed_by(one)),
            Value::text(shared.collect::<Vec<_>>().join(", ")),
        ]);
    }
    table.write(screen.stdout, out)?;
    if answer.similar.is_empty() {
        writeln!(
            out,
            "no past incident is like it (model {})",
            render::screen::printable(&answer.model)
        )?;
    }
    if let Some(problem) = &answer.degraded {
        writeln!(
            out,
            "note: the vectors are not kept up: {}",
            render::screen::printable(problem)
        )?;
    }
    if answer.behind > 0 {
        writeln!(
            out,
            "note: {} records of the log are not in the vectors yet",
            answer.behind
        )?;
    }
    out.flush()
}

/// What ended an incident, in a few words.
pub fn fixed_by(one: &SimilarIncident) -> String {
    if let Some(fix) = one.fixes.first() {
        let place = fix
            .namespace
            .as_deref()
            .map(|name| format!(" in {name}"))
            .unwrap_or_default();
        return format!("{} {}{place} ({})", fix.action, fix.target, fix.status);
    }
    match (&one.resolution, one.status.as_str()) {
        (Some(words), _) if !words.is_empty() => words.clone(),
        (_, "resolved") => "ended by itself".to_owned(),
        (_, status) => status.to_owned(),
    }
}

/// Shows models.
pub fn show_models(lines: &[ModelLine], json: bool, screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    if json {
        for line in lines {
            render::json_line(line, out)?;
        }
        return out.flush();
    }
    let mut table = Table::new(["model", "used", "numbers", "state", "hash"]);
    for line in lines {
        table.row(vec![
            Value::text(&line.name),
            Value::text(if line.used { "yes" } else { "" }),
            Value::number(line.dimensions),
            Value::text(&line.state),
            Value::text(&line.hash),
        ]);
    }
    table.write(screen.stdout, out)?;
    out.flush()
}
