//! How answers look: tables for people, JSON lines and CSV for programs, colours only where somebody sees them.
//!
//! Every function takes the writer and the [`Screen`], so that it shows the same in a test as on a terminal. Text that came
//! from a sender may hold escape sequences; nothing of it reaches a terminal as such ([`screen::printable`]).

pub mod audit;
pub mod batches;
pub mod faults;
pub mod incidents;
pub mod letters;
pub mod lines;
pub mod progress;
pub mod response;
pub mod screen;
pub mod table;

use std::io::{self, Write};

pub use audit::audit;
pub use batches::{batches, more_batches};
pub use faults::{error, faults};
pub use incidents::{incident, incidents};
pub use letters::{letter, letters};
pub use lines::{log_lines, templates};
pub use progress::Progress;
pub use response::{remediation, remediations, step, steps};
pub use screen::{ColorChoice, Screen};
pub use table::Table;

use serde::Serialize;

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Table,
    /// One JSON object per line.
    Json,
    Csv,
}

impl Format {
    /// From the flags `--json` and `--csv`, of which clap lets through one at most.
    pub fn of(json: bool, csv: bool) -> Self {
        match (json, csv) {
            (true, _) => Format::Json,
            (_, true) => Format::Csv,
            _ => Format::Table,
        }
    }
}

/// One value as one line of JSON.
pub fn json_line(value: &impl Serialize, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
