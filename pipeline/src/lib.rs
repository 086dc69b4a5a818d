//! Aegis: configuration, topology and the command line. The only crate that knows all the others, and the only reader
//! of the environment.

pub mod answers;
pub mod audit;
pub mod cli;
pub mod commands;
pub mod config;
pub mod control;
pub mod demo;
pub mod gaps;
pub mod generations;
pub mod heartbeat;
pub mod ingest;
pub mod ledger;
pub mod letters;
pub mod logging;
pub mod orders;
pub mod readiness;
pub mod reads;
pub mod rebuild;
pub mod recollection;
pub mod repartition;
pub mod retention;
pub mod run;
pub mod scan;
pub mod sql_endpoint;
pub mod standings;
mod threads;
pub mod topology;
pub mod totals;
pub mod upgrade;
pub mod watch;
pub mod workers;
pub mod world;
