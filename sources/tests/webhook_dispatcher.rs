//! The dispatcher against logs in memory: what is taken, what is refused and how, and that nothing is answered 2xx
//! that is not in the log.

#[path = "webhook_dispatcher/doors.rs"]
mod doors;
#[path = "webhook_dispatcher/durable.rs"]
mod durable;
#[path = "webhook_dispatcher/grpc.rs"]
mod grpc;
#[path = "webhook_dispatcher/libraries.rs"]
mod libraries;
#[path = "webhook_dispatcher/limits.rs"]
mod limits;
#[path = "webhook_dispatcher/logs.rs"]
mod logs;
#[path = "webhook_dispatcher/requests.rs"]
mod requests;
#[path = "webhook_dispatcher/signed.rs"]
mod signed;
#[path = "webhook_dispatcher/support.rs"]
mod support;
#[path = "webhook_dispatcher/wire.rs"]
mod wire;
