//! The operators of the pipeline: pure functions from records to rows, over kernel state.

pub mod normalize;
pub mod signals_out;
pub mod correlate;
pub mod dedupe;
pub mod interval_join;
pub mod window_dedupe;
