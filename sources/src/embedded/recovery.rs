//! Opening a folder: what the catalog says, then the frames written since the last sealing.
//!
//! A torn frame at the end of the last file is what a power cut or a kill leaves of something that nobody was told is
//! durable: it is cut off. A bad frame that a later one says was synced is damage: the log does not open, and nothing
//! has been written by then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use stream::log::membership::lock;
use stream::{LogError, Offset};

use super::batch;
use super::catalog::{PartKey, Spot};
use super::core::{Core, Partition};
use super::files;
use super::frame::{self, Directory};
use super::partition::Part;
use super::writer::Active;

/// What the folder must say of itself. Version 1 kept the batches in the engine's own files.
const FORMAT: &str = "aegis log, format 2\n";
/// The number in it.
pub const FORMAT_VERSION: u32 = 2;
const FORMAT_FILE: &str = "FORMAT";
const NEXT_FORMAT_FILE: &str = "FORMAT.next";

type Partitions = BTreeMap<(u32, u32), Arc<Partition>>;

/// Makes sure that `folder` is a log of this format, or becomes one. Writes nothing into anything else.
pub fn check_format(folder: &Path) -> Result<(), LogError> {
    let refused = |cause: String| LogError::Fatal {
        doing: format!("opening the log in {}", folder.display()),
        cause,
    };
    let failed = |error: io::Error| refused(error.to_string());
    match std::fs::read_to_string(folder.join(FORMAT_FILE)) {
        Ok(format) if format == FORMAT => return Ok(()),
        Ok(other) => {
            let other = other.trim();
            return Err(refused(format!(
                "the folder says '{other}', this program knows '{}': use the program that wrote it, or name another folder",
                FORMAT.trim()
            )));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    std::fs::create_dir_all(folder).map_err(failed)?;
    if folder.join("keyspaces").exists() {
        return Err(refused(
            "the folder holds a log of format 1, which this program cannot read: go on with the program that wrote it, or name another folder"
                .to_owned(),
        ));
    }
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        if entry.map_err(failed)?.file_name() != NEXT_FORMAT_FILE {
            return Err(refused(
                "the folder is not empty and holds no log: name another folder".to_owned(),
            ));
        }
    }
    let next = folder.join(NEXT_FORMAT_FILE);
    let written = File::create(&next).and_then(|file| {
        file.write_all_at(FORMAT.as_bytes(), 0)?;
        file.sync_all()
    });
    written
        .and_then(|()| std::fs::rename(&next, folder.join(FORMAT_FILE)))
        .and_then(|()| File::open(folder)?.sync_all())
        .map_err(failed)
}

/// Fills the partitions and positions of `core`, whose topics are known, and opens the file to write to. Blocks.
pub fn recover(core: &Core) -> Result<Active, LogError> {
    let doing = "opening the log";
    let fatal = |cause: &dyn ToString| core.fatal(doing, cause.to_string());
    let mut partitions = Partitions::new();
    for topic in core.topics() {
        for partition in &topic.partitions {
            partitions.insert((topic.number, partition.at.partition), partition.clone());
        }
    }
    for (at, start) in core.catalog.starts().map_err(|error| fatal(&error))? {
        if let Some(partition) = partitions.get(&at) {
            *lock(&partition.state) = super::partition::PartitionState::empty(start);
        }
    }
    let superseded = load_parts(core, &partitions)?;
    for position in core.catalog.positions().map_err(|error| fatal(&error))? {
        set_position(
            core,
            &partitions,
            &position.group,
            (position.topic, position.partition),
            position.next,
        );
    }

    let sealed = core.catalog.sealed().map_err(|error| fatal(&error))?;
    let there = files::list(&core.folder).map_err(|error| fatal(&error))?;
    core.sealed_sizes(there.iter().copied().filter(|(file, _)| *file <= sealed));
    for file in needed(core) {
        if !there.iter().any(|(number, _)| *number == file) {
            return Err(fatal(&format!(
                "segment file {file} is missing: restore the folder from a backup, or start with a new one"
            )));
        }
    }
    let unsealed: Vec<u64> = there
        .iter()
        .map(|(file, _)| *file)
        .filter(|file| *file > sealed)
        .collect();
    let mut ends = Vec::new();
    for (index, file) in unsealed.iter().enumerate() {
        let last = index + 1 == unsealed.len();
        ends.push(replay(core, &partitions, *file, last)?);
    }
    for partition in partitions.values() {
        if let Some(offset) = lock(&partition.state).gap() {
            let cause = format!(
                "records of {} are missing from offset {offset} on: restore the folder from a backup, or start with a new one",
                partition.at
            );
            return Err(fatal(&cause));
        }
    }

    // From here on things are written: all that is there has been found sound.
    if !superseded.is_empty() {
        core.catalog.forget(&superseded, &[]).map_err(|error| fatal(&error))?;
    }
    let needed = needed(core);
    for (file, _) in there
        .iter()
        .filter(|(file, _)| *file <= sealed && !needed.contains(file))
    {
        files::delete(&core.folder, *file).map_err(|error| fatal(&error))?;
    }
    match unsealed.last().zip(ends.last()) {
        Some((file, end)) => Active::reopen(&core.folder, *file, *end).map_err(|error| fatal(&error)),
        None => Active::create(&core.folder, sealed + 1).map_err(|error| fatal(&error)),
    }
}

/// The parts of the sealed files. Returns what retention had copied or dropped, and not yet crossed out.
fn load_parts(core: &Core, partitions: &Partitions) -> Result<Vec<PartKey>, LogError> {
    let parts = core.catalog.parts();
    let mut superseded = Vec::new();
    for (key, part) in parts.map_err(|error| core.fatal("opening the log", error))? {
        let Some(partition) = partitions.get(&(key.topic, key.partition)) else {
            continue;
        };
        let mut state = lock(&partition.state);
        // Older files come first, so an original is there before its copies: then it counts.
        if part.end <= state.start() || state.covers(key.base) {
            superseded.push(key);
        } else {
            state.insert(Part::stored(key, &part));
        }
    }
    Ok(superseded)
}

/// Files that hold what somebody may read.
fn needed(core: &Core) -> BTreeSet<u64> {
    let mut needed = BTreeSet::new();
    for topic in core.topics() {
        for partition in &topic.partitions {
            needed.extend(lock(&partition.state).parts().map(|part| part.file));
        }
    }
    needed
}

/// Takes in the frames of a file that is not sealed. Returns where they end.
fn replay(core: &Core, partitions: &Partitions, file: u64, last: bool) -> Result<u64, LogError> {
    let path = files::path(&core.folder, file);
    let failed = |error: io::Error| core.fatal(&format!("reading {}", path.display()), error);
    let open = File::open(&path).map_err(failed)?;
    let length = open.metadata().map_err(failed)?.len();
    let mut place = frame::Place {
        secret: core.catalog.secret,
        file,
        at: 0,
    };
    let mut bytes = Vec::new();
    while place.at < length {
        let bad = match read_frame(&open, place, length, &mut bytes).map_err(failed)? {
            Read::Frame(directory, payload_at) => match frame::first_bad_batch(&directory, &bytes[payload_at..]) {
                None => {
                    take_in(core, partitions, &directory, place, payload_at, &bytes)?;
                    place.at += bytes.len() as u64;
                    continue;
                }
                Some((index, cause)) => {
                    let entry = &directory.batches[index];
                    let partition = partitions.get(&(entry.topic, entry.partition));
                    let name = partition.map_or_else(|| "an unknown topic".to_owned(), |p| p.at.to_string());
                    format!("record batch of {name} at offset {}: {cause}", entry.base)
                }
            },
            Read::Nothing => "no sound frame (checksum mismatch)".to_owned(),
        };
        let mut rest = vec![0; (length - place.at) as usize];
        open.read_exact_at(&mut rest, place.at).map_err(failed)?;
        if !last || frame::synced_beyond(&rest, place) {
            let doing = format!("reading {} at byte {}", path.display(), place.at);
            let cause = format!(
                "{bad}, in what was on the disk already: restore the folder from a backup, or start with a new one"
            );
            return Err(core.fatal(&doing, cause));
        }
        tracing::info!(
            file,
            at = place.at,
            bytes = length - place.at,
            "cut off a torn write at the end of the log"
        );
        break;
    }
    Ok(place.at)
}

enum Read {
    /// Directory, and where the payload begins in the frame's bytes. The batches are not checked yet.
    Frame(Directory, usize),
    Nothing,
}

/// Reads one frame into `bytes`; a payload that is cut short by the end of the file leaves fewer.
fn read_frame(file: &File, place: frame::Place, length: u64, bytes: &mut Vec<u8>) -> io::Result<Read> {
    let left = length - place.at;
    let fill = |bytes: &mut Vec<u8>, wanted: u64| {
        let have = bytes.len();
        bytes.resize(wanted.min(left) as usize, 0);
        file.read_exact_at(&mut bytes[have..], place.at + have as u64)
    };
    bytes.clear();
    fill(bytes, frame::HEADER_BYTES as u64)?;
    let Some(lengths) = frame::lengths(bytes) else {
        return Ok(Read::Nothing);
    };
    let payload_at = frame::HEADER_BYTES + lengths.directory;
    fill(bytes, payload_at as u64)?;
    let Some(directory) = frame::directory(bytes, place) else {
        return Ok(Read::Nothing);
    };
    fill(bytes, payload_at as u64 + lengths.payload)?;
    Ok(Read::Frame(directory, payload_at))
}

fn take_in(
    core: &Core,
    partitions: &Partitions,
    directory: &Directory,
    place: frame::Place,
    payload_at: usize,
    bytes: &[u8],
) -> Result<(), LogError> {
    let mut at = payload_at;
    for entry in &directory.batches {
        let bytes = &bytes[at..at + entry.length as usize];
        let spot = Spot {
            base: entry.base,
            at: (place.at + at as u64) as u32,
            length: entry.length,
        };
        at += entry.length as usize;
        let known = partitions
            .get(&(entry.topic, entry.partition))
            .zip(batch::check(bytes).ok());
        let Some((partition, header)) = known else {
            let cause = format!(
                "topic number {} is not in the catalog: restore the folder from a backup",
                entry.topic
            );
            return Err(core.fatal("opening the log", cause));
        };
        let mut state = lock(&partition.state);
        let superseded = directory.moved && (state.covers(entry.base) || header.end() <= state.start());
        if !superseded {
            state.place(place.file, &header, spot);
        }
    }
    for position in &directory.positions {
        let at = (position.topic, position.partition);
        set_position(core, partitions, &position.group, at, Offset(position.next));
    }
    Ok(())
}

fn set_position(core: &Core, partitions: &Partitions, group: &str, at: (u32, u32), next: Offset) {
    if let Some(partition) = partitions.get(&at) {
        lock(&core.groups.group(group)).set_positions([(partition.at.clone(), next)]);
    }
}
