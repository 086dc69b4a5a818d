//! The cluster as a picture of a real one.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Cluster, Key};

impl Cluster {
    /// Holds these objects from now on, and moves none by itself any more.
    pub(crate) fn mirror(&mut self, objects: BTreeMap<Key, Value>) {
        self.mirrored = true;
        self.objects = objects;
    }
}
