//! Where the shell's lines come from, and how they become statements.

use std::io::{self, BufRead as _, Write as _};
use std::path::PathBuf;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use super::complete::Words;

const PROMPT: &str = "aegis> ";
const MORE: &str = "    -> ";
/// Statements that are remembered.
const REMEMBERED: usize = 1_000;

/// A line, or why there is none.
pub(super) enum Line {
    Text(String),
    /// Ctrl-C: what was typed is dropped.
    Dropped,
    End,
}

pub(super) enum Input {
    /// With editing, completion and a history across runs where a place for it is known.
    Terminal(Box<Editor<Words, FileHistory>>, Option<PathBuf>),
    /// A file or a pipe: no prompts.
    Piped,
}

impl Input {
    pub fn terminal(words: Words, history: Option<PathBuf>) -> anyhow::Result<Self> {
        let config = Config::builder().max_history_size(REMEMBERED)?.auto_add_history(false);
        let mut editor = Editor::with_config(config.build())?;
        editor.set_helper(Some(words));
        if let Some(path) = &history {
            // None yet: the first time.
            let _ = editor.load_history(path);
        }
        Ok(Input::Terminal(Box::new(editor), history))
    }

    /// Blocks. `begun`: a statement that goes on.
    pub fn line(&mut self, begun: bool) -> anyhow::Result<Line> {
        match self {
            Input::Terminal(editor, _) => match editor.readline(if begun { MORE } else { PROMPT }) {
                Ok(text) => Ok(Line::Text(text)),
                Err(ReadlineError::Interrupted) => Ok(Line::Dropped),
                Err(ReadlineError::Eof) => Ok(Line::End),
                Err(error) => Err(error.into()),
            },
            Input::Piped => {
                let mut text = String::new();
                match io::stdin().lock().read_line(&mut text)? {
                    0 => Ok(Line::End),
                    _ => Ok(Line::Text(text)),
                }
            }
        }
    }

    pub fn remember(&mut self, statement: &str) {
        if let Input::Terminal(editor, _) = self {
            let _ = editor.add_history_entry(statement);
        }
    }

    /// A history that cannot be written costs nobody an answer.
    pub fn close(&mut self) {
        let Input::Terminal(editor, Some(path)) = self else {
            return;
        };
        let saved = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .map(|()| editor.save_history(path));
        if let Err(error) | Ok(Err(ReadlineError::Io(error))) = saved {
            let _ = writeln!(io::stderr(), "the history is not kept: {}: {error}", path.display());
        }
    }
}

/// Where the history lies: `$XDG_STATE_HOME/aegis`, else `~/.local/state/aegis`.
pub(super) fn history() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
    let folder = state.filter(|path| path.is_absolute()).or_else(home)?;
    Some(folder.join("aegis/sql_history"))
}

/// A statement that is being typed.
#[derive(Debug, Default)]
pub(super) struct Typed(String);

impl Typed {
    pub fn begun(&self) -> bool {
        !self.0.trim().is_empty()
    }

    pub fn drop_it(&mut self) {
        self.0.clear();
    }

    /// Adds a line; the statements that it completes, without their semicolons.
    pub fn push(&mut self, line: &str) -> Vec<String> {
        self.0.push_str(line.trim_end_matches(['\r', '\n']));
        self.0.push('\n');
        let mut statements = Vec::new();
        while let Some(end) = end_of_statement(&self.0) {
            let rest = self.0.split_off(end + 1);
            let statement = std::mem::replace(&mut self.0, rest);
            statements.push(statement.trim_end_matches(';').trim().to_owned());
        }
        statements.retain(|statement| !statement.is_empty());
        statements
    }

    /// What is there although no semicolon came.
    pub fn rest(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.0);
        let rest = rest.trim();
        (!rest.is_empty()).then(|| rest.to_owned())
    }
}

/// The first semicolon that is in no text, name or comment.
fn end_of_statement(text: &str) -> Option<usize> {
    let (mut within, mut before) = (None, ' ');
    for (at, now) in text.char_indices() {
        match (within, now) {
            (None, ';') => return Some(at),
            (None, '\'' | '"') => within = Some(now),
            (None, '-') if before == '-' => within = Some('\n'),
            (Some(end), now) if end == now => within = None,
            _ => {}
        }
        before = now;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], expected: &[&str], rest: Option<&str>) {
        let mut typed = Typed::default();
        let statements: Vec<String> = lines.iter().flat_map(|line| typed.push(line)).collect();
        assert_eq!(statements, expected, "{lines:?}");
        assert_eq!(typed.rest().as_deref(), rest, "{lines:?}");
    }

    #[test]
    fn a_statement_ends_at_a_semicolon_outside_of_text() {
        check(&["select 1;"], &["select 1"], None);
        check(&["select", "  2", ";"], &["select\n  2"], None);
        check(
            &["select 1; select 2; select"],
            &["select 1", "select 2"],
            Some("select"),
        );
        check(&["select ';' ;"], &["select ';'"], None);
        check(&["select 'it''s; ", "so';"], &["select 'it''s; \nso'"], None);
        check(&["select \"a;b\";"], &["select \"a;b\""], None);
        check(&["select 1 -- one; two", ";"], &["select 1 -- one; two"], None);
        check(&[";;", " ; "], &[], None);
        check(&["select 3"], &[], Some("select 3"));
    }
}
