//! Materialised outputs of the log: SQL tables and a Parquet archive.
//!
//! Every sink keeps its own position and moves it together with what it writes (see [`stream::sink`]); the offsets of
//! its consumer group are for lag tools only. A record that a sink will never be able to write is handed back as a
//! [`stream::SinkReject`] and stops nobody.

pub mod archive;
pub mod notify;
pub mod remediate;
pub mod sql;
pub mod worker;

pub use archive::{ArchiveSettings, ArchiveSink};
pub use notify::{Notify, NotifySettings};
pub use sql::{SqlSettings, SqlSink, Store};
