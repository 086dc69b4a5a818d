//! SQL over PostgreSQL's wire protocol, for psql, Grafana and whatever else speaks it.
//!
//! Read-only by construction: a statement is let through if it is known to read (`guard`), its plan is checked once more, and the
//! tables have no insert or delete. Clients log in with SCRAM-SHA-256; beyond loopback over TLS.
//!
//! Bounded: connections, what a connection has the server keep, the size of a message, the time and the rows of a statement, and the memory of all of them together. Rows are
//! sent as they come; no answer is gathered first, also for cursors and for clients that fetch in portions.
//!
//! One thread of the client's is one task here; the plans run on the runtime that [`Server::serve`] is called on, so that who
//! gives it threads of their own keeps the rest of the process from waiting for somebody's report.

mod auth;
mod connection;
mod cursors;
mod errors;
mod guard;
mod kept;
mod limits;
mod metered;
mod server;
mod session;
mod settings;
mod tls;

pub use server::Server;
pub use settings::SqlServerSettings;
