//! Writing a snapshot: objects first, the manifest last, then what is no longer needed goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::catalog::{
    Generation, MANIFEST_SUFFIX, SINGLE_SUFFIX, folder, generations, independent, manifest_name, object_name,
    sequence_of,
};
use super::format::encode_manifest;
use super::{Identity, Manifest, Object, Piece, SnapshotError, SnapshotStore};
use crate::log::Offset;

/// Snapshots kept besides the independent one: the newest could be torn.
const KEEP: usize = 2;

/// One snapshot being written.
#[derive(Debug)]
pub struct SnapshotWriter {
    folder: String,
    identity: Identity,
    offset: Offset,
    sequence: u64,
    extends: Option<Arc<Manifest>>,
    objects: Vec<Object>,
}

impl SnapshotWriter {
    /// Begins the snapshot that `piece` is the first of. Its names follow everything that is there, so that what a crash
    /// left behind is not in the way.
    pub async fn begin(store: &dyn SnapshotStore, piece: &Piece) -> Result<Self, SnapshotError> {
        let folder = folder(&piece.identity.stage, piece.identity.partition);
        let names = store.list(&folder).await?;
        let last = names
            .iter()
            .filter(|(name, _)| !name.ends_with(SINGLE_SUFFIX))
            .filter_map(|(name, _)| sequence_of(name))
            .chain(piece.extends.as_ref().map(|manifest| manifest.sequence))
            .max();
        Ok(SnapshotWriter {
            folder,
            identity: piece.identity.clone(),
            offset: piece.offset,
            sequence: last.map_or(1, |last| last + 1),
            extends: piece.extends.clone(),
            objects: Vec::new(),
        })
    }

    /// Stores one object.
    pub async fn put(&mut self, store: &dyn SnapshotStore, bytes: Bytes) -> Result<(), SnapshotError> {
        let object = Object {
            sequence: self.sequence,
            number: self.objects.len() as u32,
            from: self.extends.as_ref().map(|manifest| manifest.offset),
            to: self.offset,
            bytes: bytes.len() as u64,
            crc: crc32fast::hash(&bytes),
        };
        let path = format!("{}/{}", self.folder, object_name(&object));
        store.create(&path, bytes).await?;
        self.objects.push(object);
        Ok(())
    }

    /// Stores the manifest: from then on the snapshot counts. An older object that it needs and that is gone is an error
    /// before that. What cannot be tidied away afterwards is logged; the snapshot counts all the same.
    pub async fn commit(self, store: &dyn SnapshotStore) -> Result<Arc<Manifest>, SnapshotError> {
        let mut objects = self
            .extends
            .as_ref()
            .map_or_else(Vec::new, |manifest| manifest.objects.clone());
        objects.extend(self.objects);
        let there: BTreeMap<String, u64> = store.list(&self.folder).await?.into_iter().collect();
        for object in &objects {
            let name = object_name(object);
            if there.get(&name) != Some(&object.bytes) {
                return Err(SnapshotError::Torn {
                    path: format!("{}/{name}", self.folder),
                    problem: "it is gone, or cut, before its manifest was written".to_owned(),
                });
            }
        }
        let manifest = Manifest {
            identity: self.identity,
            offset: self.offset,
            sequence: self.sequence,
            objects,
        };
        let bytes = encode_manifest(&manifest).map_err(|cause| SnapshotError::Encode {
            stage: manifest.identity.stage.clone(),
            partition: manifest.identity.partition,
            cause,
        })?;
        let path = format!("{}/{}", self.folder, manifest_name(self.sequence));
        store.create(&path, bytes.into()).await?;
        if let Err(error) = tidy(store, &manifest).await {
            let Identity { stage, partition, .. } = &manifest.identity;
            tracing::warn!(stage, partition, %error, "old snapshots could not be removed");
        }
        Ok(Arc::new(manifest))
    }
}

/// Removes what nothing needs, up to the sequence of the `newest`: what is above belongs to somebody who is still writing.
async fn tidy(store: &dyn SnapshotStore, newest: &Manifest) -> Result<(), SnapshotError> {
    let Identity { stage, partition, .. } = &newest.identity;
    let (partition, sequence) = (*partition, newest.sequence);
    let mut found = generations(store, stage, partition).await?;
    found.retain(|generation| generation.complete);
    let kept: Vec<&Generation> = found.iter().take(KEEP).chain(independent(&found)).collect();
    // The newest counts even where a listing does not show it yet.
    let mut needed: BTreeSet<String> = newest.objects.iter().map(object_name).collect();
    needed.insert(manifest_name(sequence));
    for generation in kept {
        needed.insert(generation.name.clone());
        if generation.format != 1 {
            needed.extend(generation.manifest.objects.iter().map(object_name));
        }
    }
    let folder = folder(stage, partition);
    let names = store.list(&folder).await?;
    let ours = |name: &str| name.ends_with(SINGLE_SUFFIX) || sequence_of(name).is_some_and(|nth| nth <= sequence);
    let (manifests, objects): (Vec<_>, Vec<_>) = names
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| ours(name) && !needed.contains(name))
        .partition(|name| name.ends_with(MANIFEST_SUFFIX));
    // Manifests first, so that none is left that lists what is gone.
    for name in manifests.iter().chain(&objects) {
        store.delete(&format!("{folder}/{name}")).await?;
    }
    Ok(())
}
