//! Power loss: writes that were not synced are gone, wholly or from any byte on.
//!
//! The model: when an append returns, the journal as it stands is on the disk (its length is noted). Everything
//! written to the journal afterwards is in the page cache only. The cut keeps some prefix of it (every possible
//! length is fair game, a file system may have written back part of it) and drops the rest, once as a shorter file
//! and once as zeros, for the journal is allocated ahead.
//!
//! A second model drops one page in the middle and keeps later ones, as write-back in any order may do.
//!
//! Not modelled: disks that lie about syncs, and files other than the journal. Those (segment files, manifests) the
//! engine syncs before it refers to them, and this test takes its word for that.

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
    journal: PathBuf,
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
    // So that the segment of `out` exists: creating it syncs, which would hide what the test looks for.
    log.append(&at("out", 0), vec![record("first")]).await.expect("append");
    for n in 0..RECORDS {
        log.append(&at("in", 0), vec![record(&format!("{n:0VALUE_BYTES$}"))])
            .await
            .expect("append");
    }
    let journal = fs::read_dir(folder.path())
        .expect("folder")
        .map(|entry| entry.expect("entry").path());
    let journal: Vec<PathBuf> = journal
        .filter(|path| path.extension().is_some_and(|e| e == "jnl"))
        .collect();
    assert_eq!(journal.len(), 1, "one journal so far");
    let journal = journal[0].clone();
    let synced = used(&journal);
    let mut member = log.join("copy", &["in".into()]).await.expect("join");
    copy_all(&log, member.as_mut(), 3).await;
    let written = used(&journal);
    assert!(
        written > synced + (RECORDS * VALUE_BYTES) as u64,
        "the commits are in the journal"
    );
    Scene {
        folder,
        journal,
        synced,
        written,
        _log: log,
    }
}

impl Scene {
    /// The folder as the disk has it after the cut.
    fn image(&self) -> (tempfile::TempDir, fs::File) {
        let image = tempfile::tempdir().expect("image");
        copy_folder(self.folder.path(), image.path(), &self.journal);
        let name = self.journal.file_name().expect("name");
        let mut bytes = vec![0; self.written as usize];
        fs::File::open(&self.journal)
            .expect("journal")
            .read_exact_at(&mut bytes, 0)
            .expect("read");
        fs::write(image.path().join(name), bytes).expect("write");
        let journal = OpenOptions::new()
            .write(true)
            .open(image.path().join(name))
            .expect("journal");
        (image, journal)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_part_of_the_unsynced_tail_is_gone_acknowledged_appends_and_whole_commits_stay() {
    let scene = scene().await;
    let length = scene.journal.metadata().expect("metadata").len();
    let step = (scene.written - scene.synced) / 24;
    let mut cuts: Vec<u64> = (0..24).map(|n| scene.synced + n * step + n % 7).collect();
    cuts.extend([scene.synced + 1, scene.written - 1, scene.written]);
    let mut kept = std::collections::BTreeSet::new();
    for cut in cuts {
        for zeros in [false, true] {
            let (image, journal) = scene.image();
            journal.set_len(cut).expect("cut");
            if zeros {
                journal.set_len(length).expect("zeros");
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
async fn a_page_missing_in_the_unsynced_tail_is_seen() {
    let scene = scene().await;
    let first_whole_page = scene.synced.div_ceil(PAGE);
    let (mut opened, mut refused) = (0, 0);
    for page in first_whole_page..scene.written / PAGE {
        let (image, journal) = scene.image();
        journal
            .write_all_at(&vec![0; PAGE as usize], page * PAGE)
            .expect("lose a page");
        match EmbeddedLog::open(image.path(), EmbeddedSettings::default()).await {
            Ok(log) => {
                check(&log, &format!("page {page} lost")).await;
                opened += 1;
            }
            // The engine cannot tell this from a disk that lost synced data, so a person must decide.
            Err(LogError::Fatal { cause, .. }) => {
                assert!(cause.contains("journal") && cause.contains("backup"), "{cause}");
                refused += 1;
            }
            Err(other) => panic!("page {page} lost: {other}"),
        }
    }
    println!(
        "of {} lost pages {opened} left a log that opens, {refused} one that asks for a person",
        opened + refused
    );
    assert!(opened + refused >= 6, "the unsynced tail spans pages");
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

/// Bytes of a journal up to the last one that is not zero: entries end with a marker that is not.
fn used(journal: &Path) -> u64 {
    let bytes = fs::read(journal).expect("journal");
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last as u64 + 1)
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
