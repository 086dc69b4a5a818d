//! What every snapshot store must do, as one suite: run it on a fresh store.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    FrameWriter, How, Identity, Manifest, Piece, Plan, SnapshotError, SnapshotStore, SnapshotWriter, generations,
    read_object, retention_floor,
};
use crate::log::Offset;

/// Runs every case. Panics where the store breaks its word: it is for tests.
pub async fn suite(store: &dyn SnapshotStore) {
    names_are_used_once(store).await;
    folders_are_apart(store).await;
    generations_are_kept_and_tidied(store).await;
    torn_ones_are_passed_over(store).await;
}

async fn names_are_used_once(store: &dyn SnapshotStore) {
    assert_eq!(store.list("once/0").await.expect("an empty folder"), []);
    assert_eq!(store.get("once/0/a.base").await.expect("nothing there"), None);
    store.delete("once/0/a.base").await.expect("nothing to remove");
    let first = Bytes::from_static(b"first");
    store.create("once/0/a.base", first.clone()).await.expect("stored");
    let again = store.create("once/0/a.base", Bytes::from_static(b"second")).await;
    assert!(matches!(again, Err(SnapshotError::Exists { .. })), "{again:?}");
    assert_eq!(store.get("once/0/a.base").await.expect("read"), Some(first));
    store.delete("once/0/a.base").await.expect("removed");
    assert_eq!(store.get("once/0/a.base").await.expect("read"), None);
}

async fn folders_are_apart(store: &dyn SnapshotStore) {
    for path in ["apart/1/a.base", "apart/1/b.base", "apart/10/c.base", "apart/2/d.base"] {
        store.create(path, Bytes::from_static(b"123")).await.expect("stored");
    }
    let names = store.list("apart/1").await.expect("listed");
    assert_eq!(names, [("a.base".to_owned(), 3), ("b.base".to_owned(), 3)]);
}

/// The piece of a snapshot whose one cell says `text`.
pub fn piece(stage: &str, offset: u64, extends: Option<Arc<Manifest>>, text: &str) -> Piece {
    let mut bytes = FrameWriter::default();
    let filled: Result<(), std::convert::Infallible> = bytes.frame("cell", true, |out| {
        out.extend_from_slice(text.as_bytes());
        Ok(())
    });
    let Ok(()) = filled;
    Piece {
        identity: Identity {
            topology: "t".to_owned(),
            stage: stage.to_owned(),
            partition: 0,
            logic_version: 1,
            settings: Some("{}".to_owned()),
        },
        offset: Offset(offset),
        extends,
        bytes: bytes.into_bytes().into(),
        last: true,
    }
}

/// Writes a snapshot of one object.
pub async fn save(store: &dyn SnapshotStore, piece: &Piece) -> Result<Arc<Manifest>, SnapshotError> {
    let mut writer = SnapshotWriter::begin(store, piece).await?;
    writer.put(store, piece.bytes.clone()).await?;
    writer.commit(store).await
}

/// Offsets of the snapshots of `stage` whose objects are all good, newest first.
pub async fn usable(store: &dyn SnapshotStore, stage: &str) -> Vec<u64> {
    let wanted = piece(stage, 0, None, "").identity;
    let found = generations(store, stage, 0).await.expect("listed");
    let plan = Plan::make(found, &wanted, false, Offset(u64::MAX));
    let mut good = Vec::new();
    for (generation, how) in &plan.tries {
        assert_eq!(*how, How::AsIs);
        let mut whole = true;
        for nth in 0..generation.manifest.objects.len() {
            whole &= read_object(store, generation, nth).await.is_ok();
        }
        good.extend(whole.then_some(generation.manifest.offset.0));
    }
    good
}

async fn generations_are_kept_and_tidied(store: &dyn SnapshotStore) {
    let floor = || async { retention_floor(store, "kept", 0).await.expect("listed").map(|o| o.0) };
    let mut last = save(store, &piece("kept", 5, None, "base")).await.expect("stored");
    assert_eq!(floor().await, None);
    for offset in [9, 12, 15] {
        let delta = piece("kept", offset, Some(last.clone()), "delta");
        last = save(store, &delta).await.expect("stored");
    }
    assert_eq!(last.objects.len(), 4);
    assert_eq!(usable(store, "kept").await, [15, 12]);
    assert_eq!(floor().await, None, "all of one base");

    last = save(store, &piece("kept", 20, None, "base")).await.expect("stored");
    assert_eq!((usable(store, "kept").await, floor().await), (vec![20, 15], Some(15)));
    for offset in [25, 30] {
        let delta = piece("kept", offset, Some(last.clone()), "delta");
        last = save(store, &delta).await.expect("stored");
    }
    assert_eq!(
        (usable(store, "kept").await, floor().await),
        (vec![30, 25, 15], Some(15))
    );
    save(store, &piece("kept", 40, None, "base")).await.expect("stored");
    assert_eq!((usable(store, "kept").await, floor().await), (vec![40, 30], Some(30)));
    let names = store.list("kept/0").await.expect("listed");
    assert_eq!(names.len(), 2 + 1 + 3, "nothing else is left: {names:?}");
}

async fn torn_ones_are_passed_over(store: &dyn SnapshotStore) {
    let base = save(store, &piece("torn", 5, None, "base")).await.expect("stored");
    save(store, &piece("torn", 9, Some(base), "delta"))
        .await
        .expect("stored");
    let cut = |path: &'static str| async move {
        let bytes = store.get(path).await.expect("read").expect("is there");
        store.delete(path).await.expect("removed");
        store
            .create(path, bytes.slice(..bytes.len() - 1))
            .await
            .expect("stored");
    };
    cut("torn/0/0000000002-00000.delta").await;
    assert_eq!(usable(store, "torn").await, [5]);
    save(store, &piece("torn", 12, None, "base")).await.expect("stored");
    cut("torn/0/0000000003.manifest").await;
    assert_eq!(usable(store, "torn").await, [5]);
    // A snapshot that would extend what is gone does not come to count.
    let gone = save(store, &piece("torn", 15, None, "base")).await.expect("stored");
    store.delete("torn/0/0000000004-00000.base").await.expect("removed");
    let refused = save(store, &piece("torn", 20, Some(gone), "delta")).await;
    assert!(matches!(refused, Err(SnapshotError::Torn { .. })), "{refused:?}");
    assert_eq!(usable(store, "torn").await, [5]);
}
