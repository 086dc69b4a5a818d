//! What snapshots of a partition there are, and reading them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::format::{Decoded, decode_manifest, decode_single};
use super::{Manifest, Object, SnapshotError, SnapshotStore};
use crate::log::Offset;

/// A snapshot whose manifest was read. Whether its objects are good shows when they are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    pub manifest: Arc<Manifest>,
    /// Name of the manifest, or of the one file of format 1.
    pub name: String,
    /// 1 or 2.
    pub format: u8,
    /// Whether every object that the manifest lists is there, with its length.
    pub complete: bool,
}

pub(super) const MANIFEST_SUFFIX: &str = ".manifest";
pub(super) const SINGLE_SUFFIX: &str = ".snapshot";

pub(super) fn folder(stage: &str, partition: u32) -> String {
    format!("{stage}/{partition}")
}

pub(super) fn manifest_name(sequence: u64) -> String {
    format!("{sequence:010}{MANIFEST_SUFFIX}")
}

pub(super) fn object_name(object: &Object) -> String {
    let kind = if object.from.is_some() { "delta" } else { "base" };
    format!("{:010}-{:05}.{kind}", object.sequence, object.number)
}

/// The sequence that a name begins with.
pub(super) fn sequence_of(name: &str) -> Option<u64> {
    name.split(['-', '.']).next()?.parse().ok()
}

/// Every snapshot of a partition with a readable manifest, the one at the highest offset first. Torn manifests are logged
/// and left out; one of a newer format is an error.
pub async fn generations(
    store: &dyn SnapshotStore,
    stage: &str,
    partition: u32,
) -> Result<Vec<Generation>, SnapshotError> {
    let folder = folder(stage, partition);
    let names: BTreeMap<String, u64> = store.list(&folder).await?.into_iter().collect();
    let mut found = Vec::new();
    for (name, length) in &names {
        let path = format!("{folder}/{name}");
        let (manifest, format) = if name.ends_with(MANIFEST_SUFFIX) {
            let Some(bytes) = store.get(&path).await? else { continue };
            (decode_manifest(&bytes), super::FORMAT)
        } else if name.ends_with(SINGLE_SUFFIX) {
            let Some(bytes) = store.get(&path).await? else { continue };
            let manifest = match decode_single(&bytes) {
                Decoded::Good(single) => Decoded::Good(single.manifest(*length)),
                Decoded::Torn => Decoded::Torn,
                Decoded::Newer(found) => Decoded::Newer(found),
            };
            (manifest, 1)
        } else {
            continue;
        };
        match manifest {
            Decoded::Good(manifest) => {
                let complete = format == 1
                    || manifest
                        .objects
                        .iter()
                        .all(|object| names.get(&object_name(object)) == Some(&object.bytes));
                found.push(Generation {
                    manifest,
                    name: name.clone(),
                    format,
                    complete,
                });
            }
            Decoded::Torn => tracing::warn!(path, "torn snapshot passed over"),
            Decoded::Newer(found) => return Err(SnapshotError::NewerFormat { path, found }),
        }
    }
    found.sort_by_key(|generation| std::cmp::Reverse((generation.manifest.offset, generation.manifest.sequence)));
    Ok(found)
}

/// Reads object number `nth` of a snapshot and checks it.
pub async fn read_object(
    store: &dyn SnapshotStore,
    generation: &Generation,
    nth: usize,
) -> Result<Bytes, SnapshotError> {
    let identity = &generation.manifest.identity;
    let folder = folder(&identity.stage, identity.partition);
    let torn = |path: &str, problem: &str| SnapshotError::Torn {
        path: path.to_owned(),
        problem: problem.to_owned(),
    };
    if generation.format == 1 {
        let path = format!("{folder}/{}", generation.name);
        let bytes = store.get(&path).await?.ok_or_else(|| torn(&path, "it is gone"))?;
        return match decode_single(&bytes) {
            Decoded::Good(single) => Ok(single.into_object().into()),
            Decoded::Torn | Decoded::Newer(_) => Err(torn(&path, "it changed since it was listed")),
        };
    }
    let Some(object) = generation.manifest.objects.get(nth) else {
        return Err(torn(&generation.name, "it has no such object"));
    };
    let path = format!("{folder}/{}", object_name(object));
    let bytes = store.get(&path).await?.ok_or_else(|| torn(&path, "it is gone"))?;
    if bytes.len() as u64 != object.bytes {
        return Err(torn(&path, "its length is not that in the manifest"));
    }
    if crc32fast::hash(&bytes) != object.crc {
        return Err(torn(&path, "its checksum is not that in the manifest"));
    }
    Ok(bytes)
}

/// Offset that retention may not pass: that of the newest snapshot which shares no object with the newest one. If any
/// object goes bad, one of the two still serves. `None`: there are no two yet.
pub async fn retention_floor(
    store: &dyn SnapshotStore,
    stage: &str,
    partition: u32,
) -> Result<Option<Offset>, SnapshotError> {
    let mut found = generations(store, stage, partition).await?;
    found.retain(|generation| generation.complete);
    Ok(independent(&found).map(|older| older.manifest.offset))
}

/// The newest snapshot with another base than the newest one.
pub(super) fn independent(newest_first: &[Generation]) -> Option<&Generation> {
    let newest = newest_first.first()?;
    let same_base =
        |older: &&Generation| older.format == newest.format && older.manifest.base() == newest.manifest.base();
    newest_first.iter().skip(1).find(|older| !same_base(older))
}
