//! Power loss: writes that were not synced are gone, wholly or from any byte on.
//!
//! The model: when an append returns, the segment file as it stands is on the disk (its length is noted). Everything
//! written to it afterwards is in the page cache only. The cut keeps some prefix of it (every possible length is fair
//! game, a file system may have written back part of it) and drops the rest, once as a shorter file and once as zeros,
//! for a file's length may be on the disk before its bytes.
//!
//! A second model drops one page in the middle and keeps later ones, as write-back in any order may do. In the
//! unsynced tail that is a cut; in what was synced it is damage, and the log must not open as if nothing were missing.
//!
//! Not modelled: disks that lie about syncs, and files other than the segment file that is written to. The catalog is
//! synced by its engine before the log goes on, and this test takes its word for that.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::*;

const RECORDS: usize = 12;
/// Large enough that a commit spans pages.
const VALUE_BYTES: usize = 3_000;
const PAGE: u64 = 4_096;

/// A log in use: synced appends, then commits that nobody synced. The log stays open, as it is when power fails.
struct Scene {
    folder: tempfile::TempDir,
    segment: PathBuf,
    synced: u64,
    written: u64,
    _log: EmbeddedLog,
}

async fn scene() -> Scene {
    let folder = tempfile::tempdir().expect("folder");
    let never = HumanDuration::from_secs(3_600);
    let settings = EmbeddedSettings {
        commit_sync_interval: never,
        ..EmbeddedSettings::default()
    };
    let log = EmbeddedLog::open(folder.path(), settings).await.expect("open");
    log.ensure_topics(&[spec("in", 1), spec("out", 1)])
        .await
        .expect("topics");
    log.append(&at("out", 0), vec![record("first")]).await.expect("append");
    for n in 0..RECORDS {
        log.append(&at("in", 0), vec![record(&format!("{n:0VALUE_BYTES$}"))])
            .await
            .expect("append");
    }
    let segment = only_segment(folder.path());
    let synced = used(&segment);
    let mut member = log.join("copy", &["in".into()]).await.expect("join");
    copy_all(&log, member.as_mut(), 3).await;
    let written = used(&segment);
    assert!(
        written > synced + (RECORDS * VALUE_BYTES) as u64,
        "the commits are in the file"
    );
    Scene {
        folder,
        segment,
        synced,
        written,
        _log: log,
    }
}

impl Scene {
    /// The folder as the disk has it after the cut.
    fn image(&self) -> (tempfile::TempDir, fs::File) {
        let image = tempfile::tempdir().expect("image");
        copy_folder(self.folder.path(), image.path(), &self.segment);
        let path = files(image.path()).join(self.segment.file_name().expect("name"));
        let mut bytes = vec![0; self.written as usize];
        fs::File::open(&self.segment)
            .expect("segment")
            .read_exact_at(&mut bytes, 0)
            .expect("read");
        fs::write(&path, bytes).expect("write");
        let segment = OpenOptions::new().write(true).open(path).expect("segment");
        (image, segment)
    }

    /// The folder as the disk has it when everything came to it but one page.
    fn without_page(&self, page: u64) -> tempfile::TempDir {
        let (image, segment) = self.image();
        let lost = segment.write_all_at(&vec![0; PAGE as usize], page * PAGE);
        lost.expect("lose a page");
        image
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_part_of_the_unsynced_tail_is_gone_acknowledged_appends_and_whole_commits_stay() {
    let scene = scene().await;
    let length = scene.segment.metadata().expect("metadata").len();
    let step = (scene.written - scene.synced) / 24;
    let mut cuts: Vec<u64> = (0..24).map(|n| scene.synced + n * step + n % 7).collect();
    cuts.extend([scene.synced + 1, scene.written - 1, scene.written]);
    let mut kept = std::collections::BTreeSet::new();
    for cut in cuts {
        for zeros in [false, true] {
            let (image, segment) = scene.image();
            segment.set_len(cut).expect("cut");
            if zeros {
                segment.set_len(length).expect("zeros");
            }
            let log = open(image.path()).await;
            kept.insert(check(&log, &format!("cut at {cut} of {}, zeros {zeros}", scene.written)).await);
        }
    }
    assert_eq!(
        kept,
        (0..=RECORDS as u64).step_by(3).collect(),
        "every commit was once the last"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_missing_in_the_unsynced_tail_is_a_cut_there() {
    let scene = scene().await;
    let pages = scene.synced.div_ceil(PAGE)..scene.written / PAGE;
    assert!(pages.clone().count() >= 6, "the unsynced tail spans pages");
    for page in pages {
        let image = scene.without_page(page);
        let log = open(image.path()).await;
        check(&log, &format!("page {page} lost")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_missing_in_what_was_synced_is_damage_and_nothing_is_written() {
    let scene = scene().await;
    let pages = 0..scene.synced / PAGE;
    assert!(pages.clone().count() >= 6, "the synced part spans pages");
    for page in pages {
        let image = scene.without_page(page);
        let before = fs::read(only_segment(image.path())).expect("read");
        match EmbeddedLog::open(image.path(), EmbeddedSettings::default()).await.err() {
            Some(LogError::Fatal { cause, .. }) => {
                assert!(cause.contains("checksum") && cause.contains("backup"), "{cause}");
            }
            other => panic!("page {page} lost, and opening says {other:?}"),
        }
        assert!(
            fs::read(only_segment(image.path())).expect("read") == before,
            "page {page}"
        );
    }
}

/// All acknowledged appends are there; position and outputs agree. Returns the position.
async fn check(log: &EmbeddedLog, what: &str) -> u64 {
    let stored = values(log, &at("in", 0)).await;
    let expected: Vec<String> = (0..RECORDS).map(|n| format!("{n:0VALUE_BYTES$}")).collect();
    assert_eq!(stored, expected, "{what}");
    let position = log
        .committed("copy", &at("in", 0))
        .await
        .expect("committed")
        .map_or(0, |p| p.0);
    let copied = values(log, &at("out", 0)).await;
    assert_eq!(copied[0], "first");
    assert_eq!(
        copied[1..],
        stored[..position as usize],
        "{what}: outputs are what the position {position} says"
    );
    // And it can go on.
    let next = log
        .append(&at("in", 0), vec![record("after")])
        .await
        .expect("append after the cut");
    assert_eq!(next, Offset(RECORDS as u64), "{what}");
    position
}

fn used(segment: &Path) -> u64 {
    segment.metadata().expect("metadata").len()
}

fn copy_folder(from: &Path, to: &Path, except: &Path) {
    for entry in fs::read_dir(from).expect("folder") {
        let path = entry.expect("entry").path();
        let target = to.join(path.file_name().expect("name"));
        if path.is_dir() {
            fs::create_dir(&target).expect("create");
            copy_folder(&path, &target, except);
        } else if path != except {
            fs::copy(&path, &target).expect("copy");
        }
    }
}
