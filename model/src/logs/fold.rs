//! Stack traces: rows that belong to the line before them.
//!
//! Senders that read files send every row of a trace as a line of its own. A row goes on with the line before it, of the same
//! stream and the same batch, when it is indented, or when it is one that only a trace has (`Caused by:`, `... 12 more`, a
//! goroutine's head, the last row of a Python traceback). What a sender cut apart into two batches stays apart.

use super::LogLine;

/// The head of a Python traceback; what it is about stands in its last row.
pub(super) const TRACEBACK: &str = "Traceback (most recent call last):";

/// Bytes of a folded line beyond which the next row stands alone: a sender that indents everything would make one line of it.
const MOST_BYTES: usize = 64 << 10;

/// Folds the lines of one stream, as they come.
#[derive(Debug, Default)]
pub struct Folder {
    lines: Vec<LogLine>,
    /// The last line is a traceback whose last row has not come.
    traceback: bool,
    goroutine: bool,
}

impl Folder {
    pub fn push(&mut self, line: LogLine) {
        let text = line.text.as_str();
        if let Some(last) = self.lines.last_mut() {
            let row = first_row(text);
            let goes_on = goes_on(row) || self.traceback || (self.goroutine && frame(row)) || goroutine(row);
            let same = line.trace_id == last.trace_id;
            if goes_on && same && last.text.len() + text.len() < MOST_BYTES && !row.starts_with(TRACEBACK) {
                last.text.push('\n');
                last.text.push_str(text);
                self.goroutine |= goroutine(row);
                self.traceback &= row.starts_with([' ', '\t']);
                return;
            }
        }
        self.traceback = text.starts_with(TRACEBACK) && !text.trim_end().contains('\n');
        self.goroutine = goroutine(first_row(text));
        self.lines.push(line);
    }

    pub fn finish(self) -> Vec<LogLine> {
        self.lines
    }
}

/// Folds all of `lines`.
pub fn fold(lines: impl IntoIterator<Item = LogLine>) -> Vec<LogLine> {
    let mut folder = Folder::default();
    lines.into_iter().for_each(|line| folder.push(line));
    folder.finish()
}

fn first_row(text: &str) -> &str {
    text.split('\n').next().unwrap_or_default()
}

fn goes_on(row: &str) -> bool {
    let indented = row.starts_with([' ', '\t']) && !row.trim().is_empty();
    let more = || row.starts_with("... ") && row.trim_end().ends_with("more");
    indented || row.starts_with("Caused by: ") || row.starts_with("Suppressed: ") || more()
}

fn goroutine(row: &str) -> bool {
    row.starts_with("goroutine ") && row.trim_end().ends_with("]:")
}

/// `main.main()` or `created by …`.
fn frame(row: &str) -> bool {
    row.starts_with("created by ") || (row.trim_end().ends_with(')') && !row.contains(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rows: &[&str], expected: &[&str]) {
        let lines = rows.iter().map(|row| LogLine {
            text: (*row).to_owned(),
            ..LogLine::default()
        });
        let found: Vec<String> = fold(lines).into_iter().map(|line| line.text).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn traces() {
        check(&["a", "b"], &["a", "b"]);
        check(&["  indented alone"], &["  indented alone"]);
        check(
            &[
                "E: x",
                "\tat a.B(C.java:1)",
                "Caused by: y",
                "\tat d",
                "\t... 3 more",
                "next",
            ],
            &["E: x\n\tat a.B(C.java:1)\nCaused by: y\n\tat d\n\t... 3 more", "next"],
        );
        check(
            &[
                "Traceback (most recent call last):",
                "  File \"x.py\", line 1",
                "    f()",
                "ValueError: no",
                "next",
            ],
            &[
                "Traceback (most recent call last):\n  File \"x.py\", line 1\n    f()\nValueError: no",
                "next",
            ],
        );
        check(
            &[
                "panic: no",
                "goroutine 1 [running]:",
                "main.main()",
                "\t/x.go:5 +0x1d",
                "exit status 2",
            ],
            &[
                "panic: no\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:5 +0x1d",
                "exit status 2",
            ],
        );
        check(&["a", "", "b"], &["a", "", "b"]);
        check(
            &[
                "Traceback (most recent call last):",
                "Traceback (most recent call last):",
            ],
            &[
                "Traceback (most recent call last):",
                "Traceback (most recent call last):",
            ],
        );
    }

    #[test]
    fn a_sender_that_indents_everything_makes_no_endless_line() {
        let long = format!(" {}", "x".repeat(40_000));
        let line = || LogLine {
            text: long.clone(),
            ..LogLine::default()
        };
        assert_eq!(fold((0..4).map(|_| line())).len(), 4);
    }
}
