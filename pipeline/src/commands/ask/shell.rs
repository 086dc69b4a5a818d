//! The shell of `aegis sql`: statements end at a semicolon, commands begin with a backslash, as in psql.
//!
//! A file or a pipe may be its input: then there are no prompts, and the first statement that fails ends it.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arrow::array::{Array as _, RecordBatch, StringArray};

use super::Asking;
use super::complete::Words;
use super::input::{Input, Line, Typed, history};
use crate::cli::Exit;
use crate::cli::render::{self, Format};

const HELP: &str = "\
A statement ends at a semicolon: select severity, count(*) from incidents group by 1;
  \\d              tables                \\d TABLE        its columns
  \\table, \\csv, \\json   the form of answers
  \\timing         say how long each answer took, or no more
  \\? or \\h        this help              \\q or Ctrl-D    the end
Ctrl-C drops what is typed, or ends the query that runs. Tab completes words, tables and columns.";

const TABLES: &str = "select table_name as \"table\", count(*) as columns from information_schema.columns \
     where table_schema = 'public' group by 1 order by 1";

pub(super) async fn shell(mut asking: Asking, format: Format, terminal: bool) -> anyhow::Result<Exit> {
    let input = if terminal {
        let (_, tables) = asking
            .ask("select distinct table_name from information_schema.columns where table_schema = 'public'")
            .await?;
        let (_, columns) = asking
            .ask("select distinct column_name from information_schema.columns where table_schema = 'public'")
            .await?;
        println!("Read only. \\? helps, \\d lists the tables, \\q ends.");
        Input::terminal(Words::new(texts(&tables).into_iter().chain(texts(&columns))), history())?
    } else {
        Input::Piped
    };
    let mut shell = Shell {
        asking,
        input,
        format,
        timing: false,
        terminal,
    };
    let exit = shell.run().await;
    shell.input.close();
    exit
}

struct Shell {
    asking: Asking,
    input: Input,
    format: Format,
    timing: bool,
    terminal: bool,
}

/// What a line that begins with a backslash asks for.
#[derive(Debug, PartialEq, Eq)]
enum Order<'a> {
    Tables,
    Columns(&'a str),
    Form(Format),
    Timing,
    Help,
    Quit,
    Unknown(&'a str),
}

fn order(line: &str) -> Order<'_> {
    let line = line.trim().trim_end_matches(';').trim_end();
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match (name, rest.trim()) {
        ("\\d" | "\\dt" | "\\d+", "") => Order::Tables,
        ("\\d" | "\\d+", table) => Order::Columns(table.trim_start_matches("public.").trim_matches('"')),
        ("\\table", _) => Order::Form(Format::Table),
        ("\\csv", _) => Order::Form(Format::Csv),
        ("\\json", _) => Order::Form(Format::Json),
        ("\\timing", _) => Order::Timing,
        ("\\?" | "\\h" | "\\help", _) => Order::Help,
        ("\\q" | "\\quit" | "\\exit", _) => Order::Quit,
        (name, _) => Order::Unknown(name),
    }
}

impl Shell {
    async fn run(&mut self) -> anyhow::Result<Exit> {
        let mut typed = Typed::default();
        loop {
            let line = tokio::task::block_in_place(|| self.input.line(typed.begun()))?;
            let text = match line {
                Line::Text(text) => text,
                Line::Dropped => {
                    typed.drop_it();
                    continue;
                }
                Line::End => {
                    if let Some(last) = typed.rest().filter(|_| !self.terminal) {
                        self.answer(&last).await?;
                    }
                    return Ok(Exit::Done);
                }
            };
            if !typed.begun() && text.trim_start().starts_with('\\') {
                self.input.remember(text.trim());
                if !self.obey(&text).await? {
                    return Ok(Exit::Done);
                }
                continue;
            }
            if !typed.begun() && matches!(text.trim(), "exit" | "quit" | "help") && self.terminal {
                println!("\\q ends, \\? helps");
                continue;
            }
            for statement in typed.push(&text) {
                self.input.remember(&format!("{statement};"));
                self.answer(&statement).await?;
            }
        }
    }

    /// False: the end.
    async fn obey(&mut self, line: &str) -> anyhow::Result<bool> {
        match order(line) {
            Order::Tables => self.answer(TABLES).await?,
            Order::Columns(table) => {
                let known = sql::table_names().contains(&table);
                let name = table.replace('\'', "''");
                let columns = format!(
                    "select column_name as \"column\", data_type as \"type\", is_nullable as nullable from information_schema.columns \
                     where table_schema = 'public' and table_name = '{name}' order by ordinal_position"
                );
                // The plan of a query on it names the table that was meant.
                let misspelt = format!("select * from \"{}\" limit 0", table.replace('"', "\"\""));
                self.answer(if known { &columns } else { &misspelt }).await?;
            }
            Order::Form(format) => self.format = format,
            Order::Timing => {
                self.timing = !self.timing;
                println!("timing is {}", if self.timing { "on" } else { "off" });
            }
            Order::Help => println!("{HELP}"),
            Order::Quit => return Ok(false),
            Order::Unknown(name) => {
                let problem = anyhow::anyhow!("{name} is no command: \\? lists them");
                self.tell(problem)?;
            }
        }
        Ok(true)
    }

    async fn answer(&mut self, statement: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        let answer = tokio::select! {
            answer = self.asking.ask(statement) => answer,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.context("cannot wait for Ctrl-C")?;
                Err(anyhow::anyhow!("the query was ended"))
            }
        };
        match answer {
            Ok((schema, batches)) => {
                let mut out = io::stdout().lock();
                render::batches(&schema, &batches, self.format, &self.asking.session.screen, &mut out)?;
                if self.timing {
                    writeln!(out, "{}", took(began.elapsed()))?;
                }
                Ok(out.flush()?)
            }
            Err(error) => self.tell(error),
        }
    }

    /// Somebody at a terminal tries again; a file goes no further.
    fn tell(&self, error: anyhow::Error) -> anyhow::Result<()> {
        if self.terminal {
            Ok(render::error(
                &error,
                &self.asking.session.screen,
                &mut io::stderr().lock(),
            )?)
        } else {
            Err(error)
        }
    }
}

fn took(time: Duration) -> String {
    format!("time: {:.1} ms", time.as_secs_f64() * 1_000.0)
}

/// The values of the first column.
fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let columns = batches.iter().filter_map(|batch| batch.columns().first());
    let texts = columns.filter_map(|column| column.as_any().downcast_ref::<StringArray>());
    texts
        .flat_map(|column| column.iter().flatten().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_known_by_their_names() {
        for (line, expected) in [
            ("\\d", Order::Tables),
            ("\\d;", Order::Tables),
            ("\\d  incidents", Order::Columns("incidents")),
            ("\\d public.\"incidents\";", Order::Columns("incidents")),
            ("\\json", Order::Form(Format::Json)),
            (" \\timing", Order::Timing),
            ("\\q\n", Order::Quit),
            ("\\dance", Order::Unknown("\\dance")),
        ] {
            assert_eq!(order(line), expected, "{line:?}");
        }
    }
}
