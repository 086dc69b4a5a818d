//! A Kubernetes cluster: [`Observer`] looks, [`Actor`] acts.
//!
//! ```text
//! look   GET workload ── (history) ──► TargetState
//! dry    GET workload ── plan ── PATCH dryRun=All, resourceVersion as read ──► diff
//! act    GET workload ── plan ── PATCH, resourceVersion as approved, attempt written on ──► Executed
//! settle GET workload ── is the attempt written on it? ──► it happened, or it did not
//! ```
//!
//! Every change is one JSON merge patch (RFC 7396) that names the `resourceVersion` it was made for, so the API server turns it away
//! (409) when anything changed since. For the same reason a patch that comes late, after somebody looked and found nothing, can only
//! be turned away once the object was changed again.
//!
//! Objects are read as JSON and not by their types: a template that is written back keeps fields that this program does not know.

mod act;
mod api;
mod diff;
mod history;
mod observe;
mod plan;
mod pods;
mod workload;

pub use act::{ATTEMPT, Actor, PLAN, RESTARTED_AT};
pub use api::Api;
pub use observe::Observer;

const TOOL: &str = "kubernetes";
