//! What the tests of this crate share.
#![allow(dead_code)] // Each test binary uses its own part.

pub mod server;
pub mod unreliable;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;
use vectors::{Payload, Point};

/// Longer than anything takes that is not broken.
pub const LONG: Duration = Duration::from_secs(60);

pub fn payload(value: Value) -> Payload {
    value.as_object().expect("an object").clone()
}

pub fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// Point `n` looks into direction `n` of four.
pub fn point(n: u128, kind: &str, at: i64) -> Point {
    let mut vector = vec![0.1; 4];
    vector[n as usize % 4] = 1.0;
    Point {
        id: id(n),
        vector,
        payload: payload(
            json!({"kind": kind, "created_at": at, "names": ["a", "b"], "deep": {"x": 1, "y": null}, "yes": true}),
        ),
    }
}

pub type Store = Arc<dyn vectors::VectorStore>;
