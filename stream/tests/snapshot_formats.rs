//! Every snapshot format that was ever written is still read: frozen samples, see their PROVENANCE.md.

use std::path::PathBuf;

use stream::Offset;
use stream::snapshot::{FolderSnapshots, How, Identity, Plan, SnapshotError, frames, generations, read_object};

fn samples(format: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/snapshots")
        .join(format)
}

/// Reads the newest sample as a start at `offset` would; `cells` are names, bytes and checksums, object by object.
async fn check(format: &str, offset: u64, settings: Option<&str>, cells: &[&[(&str, usize, u32)]]) {
    let store = FolderSnapshots::new(samples(format));
    let found = generations(&store, "dedupe", 0).await.unwrap();
    let wanted = Identity {
        topology: "4a4a2bd5f53a6e48".to_owned(),
        stage: "dedupe".to_owned(),
        partition: 0,
        logic_version: 1,
        settings: settings.map(str::to_owned),
    };
    assert_eq!(found[0].manifest.identity, wanted, "{format}");
    let plan = Plan::make(found, &wanted, false, Offset(offset + 5));
    let (generation, how) = &plan.tries[0];
    assert_eq!(
        (*how, generation.manifest.offset, generation.complete),
        (How::AsIs, Offset(offset), true)
    );
    let mut read = Vec::new();
    for nth in 0..generation.manifest.objects.len() {
        let object = read_object(&store, generation, nth).await.unwrap();
        let found: Vec<(String, usize, u32)> = frames(&object)
            .unwrap()
            .into_iter()
            .map(|frame| (frame.cell.to_owned(), frame.bytes.len(), crc32fast::hash(frame.bytes)))
            .collect();
        read.push(found);
    }
    let cells: Vec<Vec<(String, usize, u32)>> = cells
        .iter()
        .map(|object| {
            object
                .iter()
                .map(|(name, bytes, crc)| ((*name).to_owned(), *bytes, *crc))
                .collect()
        })
        .collect();
    assert_eq!(read, cells, "{format}");
}

#[tokio::test]
async fn format_1() {
    let cells: &[(&str, usize, u32)] = &[
        ("kernel.progress", 20, 3_105_279_580),
        ("alerts", 86, 372_270_519),
        ("parked", 1, 3_523_407_757),
        ("forget", 1, 3_523_407_757),
    ];
    check("format-1", 2, None, &[cells]).await;
}

#[tokio::test]
async fn format_2() {
    let settings = r#"{"early_resolve_wait":"5m","resolved_memory":"3d","event_memory":"1d","max_episodes":1024}"#;
    let base: &[(&str, usize, u32)] = &[
        ("kernel.progress", 20, 3_105_279_580),
        ("alerts", 88, 1_715_197_885),
        ("parked", 0, 0),
        ("forget", 0, 0),
    ];
    let delta: &[(&str, usize, u32)] = &[("kernel.progress", 20, 3_105_279_580), ("alerts", 88, 1_927_150_315)];
    check("format-2", 6, Some(settings), &[base, delta]).await;
}

#[tokio::test]
async fn a_newer_format_is_refused_by_name() {
    for (sample, name) in [
        (
            "format-1/dedupe/0/00000000000000000002.snapshot",
            "00000000000000000002.snapshot",
        ),
        ("format-2/dedupe/0/0000000002.manifest", "0000000002.manifest"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = std::fs::read(samples(sample)).unwrap();
        bytes[4] = 99;
        std::fs::create_dir_all(folder.path().join("dedupe/0")).unwrap();
        std::fs::write(folder.path().join("dedupe/0").join(name), bytes).unwrap();
        let refused = generations(&FolderSnapshots::new(folder.path()), "dedupe", 0).await;
        assert!(
            matches!(&refused, Err(SnapshotError::NewerFormat { path, found: 99 }) if path.ends_with(name)),
            "{refused:?}"
        );
    }
}
