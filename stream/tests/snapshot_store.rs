//! Every snapshot store keeps the same word: the folder, memory, and the faulty one while it behaves.

use stream::snapshot::conformance::{piece, save, suite, usable};
use stream::snapshot::{FaultySnapshots, FolderSnapshots, MemorySnapshots, SnapshotError, StoreFault};

#[tokio::test]
async fn memory_conforms() {
    suite(&MemorySnapshots::default()).await;
    suite(&FaultySnapshots::new(MemorySnapshots::default())).await;
}

#[tokio::test]
async fn a_folder_conforms() {
    let folder = tempfile::tempdir().unwrap();
    suite(&FolderSnapshots::new(folder.path().join("made/later"))).await;
}

/// A base at 5, then a delta at 9 under `faults` (first the object, then the manifest); then whether the save was believed
/// to go well, and what is usable.
async fn check(faults: &[StoreFault], believed: bool, left: &[u64]) {
    let folder = tempfile::tempdir().unwrap();
    let store = FaultySnapshots::new(FolderSnapshots::new(folder.path()));
    let base = save(&store, &piece("s", 5, None, "base")).await.unwrap();
    store.script(faults.iter().copied());
    let saved = save(&store, &piece("s", 9, Some(base.clone()), "delta")).await;
    assert_eq!(saved.is_ok(), believed, "{faults:?}: {saved:?}");
    assert_eq!(usable(&store, "s").await, left, "{faults:?}");
    // Whatever happened, the next one extends what is known to be stored.
    save(&store, &piece("s", 12, Some(base), "delta")).await.unwrap();
    assert_eq!(usable(&store, "s").await.first(), Some(&12), "{faults:?}");
}

#[tokio::test]
async fn faults() {
    use StoreFault::{AnswerLost, DiskFull, None, Torn};
    check(&[], true, &[9, 5]).await;
    // Noticed before the manifest: it would list an object of another length.
    check(&[Torn], false, &[5]).await;
    check(&[DiskFull], false, &[5]).await;
    check(&[AnswerLost], false, &[5]).await;
    check(&[None, Torn], true, &[5]).await;
    check(&[None, DiskFull], false, &[5]).await;
    // It is there, though nobody was told.
    check(&[None, AnswerLost], false, &[9, 5]).await;
}

#[tokio::test]
async fn a_stale_listing_makes_a_save_fail_and_removes_nothing() {
    let store = FaultySnapshots::new(MemorySnapshots::default());
    let mut last = save(&store, &piece("s", 5, None, "base")).await.unwrap();
    store.stale_lists(true);
    assert_eq!(usable(&store, "s").await, [5]);
    let failed = save(&store, &piece("s", 9, Some(last.clone()), "delta")).await;
    assert!(matches!(failed, Err(SnapshotError::Torn { .. })), "{failed:?}");
    let failed = save(&store, &piece("s", 9, Some(last.clone()), "delta")).await;
    assert!(matches!(failed, Err(SnapshotError::Exists { .. })), "{failed:?}");
    store.stale_lists(false);
    assert_eq!(usable(&store, "s").await, [5]);
    for offset in [12, 15] {
        last = save(&store, &piece("s", offset, Some(last), "delta")).await.unwrap();
    }
    assert_eq!(usable(&store, "s").await, [15, 12]);
}
