//! DataFusion over the SQL tables, the Parquet archive and the newest signals in memory: what `aegis sql` asks, and what the wire
//! protocol serves (crate `wire`).
//!
//! Read-only by construction: only queries are parsed on, the tables have no insert or delete, and the store's
//! connections are read-only as well. The store's tables are read as they are at that moment; signals come from the
//! archive as far as it reaches and from the store beyond it, and from memory where somebody feeds it ([`Recent`]; [`archive`] says exactly how). Log lines (table `logs`) come from the
//! archive alone: those of the last minutes, which are in no file yet, are not in it until the owner of the archive is asked to write them
//! ([`names_log_lines`]). [`logs`] asks about lines without SQL.
//!
//! Bounded: a memory pool for the plan, a limit on the rows of an answer, and one on what a function makes of one batch of rows. The threads it runs on
//! should [`step_back`].
//!
//! Not here: continuous queries.

pub mod archive;
mod engine;
mod error;
mod filters;
mod functions;
mod guard;
pub mod logs;
mod priority;
mod provider;
mod recent;
mod source;
mod tables;
mod whole;

pub use engine::{CATALOG, Engine, EngineOptions, SCHEMA};
pub use error::SqlError;
pub use functions::POSTGRES_VERSION;
pub use guard::{is_read, nearest_table};
pub use priority::step_back;
pub use recent::Recent;
pub use source::SqlSourceConfig;
pub use tables::{names_log_lines, table_names};
