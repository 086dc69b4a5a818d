//! The operators of the pipeline: pure functions from records to rows, over kernel state.

// Time is an argument here: see clippy.toml.
#![deny(clippy::disallowed_methods)]

pub mod correlate;
pub mod dedupe;
pub mod interval_join;
pub mod late;
pub mod normalize;
pub mod signals_out;
pub mod templates;
pub mod window_dedupe;
