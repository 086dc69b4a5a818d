//! The operators of the pipeline: pure functions from records to rows, over kernel state.

// Time is an argument here: see clippy.toml.
#![deny(clippy::disallowed_methods)]

pub mod correlate;
pub mod crew;
pub mod dedupe;
pub mod gate;
pub mod interval_join;
pub mod json_cell;
pub mod late;
pub mod normalize;
mod settings_text;
pub mod signals_out;
pub mod signed;
pub mod templates;
pub mod window_dedupe;
pub mod window_join;
