//! The vector store: Qdrant's engine in this process, or a Qdrant server; what is in it, and what is near to what.
//!
//! ```text
//!  incidents ───► projection ─► points of incidents ─┐
//!  transitions ─► projection ─► points of alerts ────┴─ VectorStore ─► Engine: what is near, and by which features
//!                 (texts by `embedding`; positions     (edge | server)
//!                  are points beside the others)
//! ```
//!
//! Everything in the store is a projection of the log: it may be deleted at any time, and is filled anew by reading the log again. One
//! collection holds the vectors of one model ([`collection_name`]); another model's are in another, filled from the beginning.
//!
//! | file | what |
//! |---|---|
//! | `store` | the port: collections, points, filters |
//! | `edge` | Qdrant's engine in this process, one folder per collection |
//! | `server` | a Qdrant server |
//! | `texts` | records of the log as texts and payloads (pure) |
//! | `projection` | the sink that keeps the store up with the log |
//! | `near` | the features that two incidents share (pure) |
//! | `engine` | questions |

mod edge;
mod engine;
mod near;
mod projection;
mod server;
mod settings;
mod store;
mod texts;

pub use edge::EdgeStore;
pub use engine::{Engine, Neighbour, Subject, VectorsError};
pub use near::Matched;
pub use projection::{Backlog, Projection, Reads};
pub use server::QdrantStore;
pub use settings::{VectorsKind, VectorsSettings};
pub use store::{Filter, Found, Hit, Payload, Point, StoreError, VectorStore, collection_name, derived};
pub use texts::Kind;
