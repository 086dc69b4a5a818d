//! Event-time windows: tumbling, hopping, and by session.
//!
//! All three promise the same. What is in them is saved and restored; a restored cell goes on as if nothing had happened.
//! They are emptied by `pop_closed` alone, which hands out what a watermark has closed, oldest first and in the order of
//! keys, so that outputs do not depend on hash order. A window is closed by event time: no later row is needed, and a row
//! exactly at the watermark is still on time. `earliest` is for [`crate::Operator::owes`]: as long as a window is open, the
//! operator's watermark waits at its start.
//!
//! What they do not do: decide about late rows. Each says whether the window of a row is gone; the operator counts it.

mod hopping;
mod session;
mod tumbling;

pub use hopping::{HoppingWindows, Taken};
pub use session::{Placed, Session, SessionWindows};
pub use tumbling::Windows;
