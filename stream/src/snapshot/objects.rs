//! Snapshots through `object_store`: a local folder, and memory for tests and benches.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{Error, GetResultPayload, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};

use super::buffers::Buffers;
use super::{ChainBound, SnapshotError, SnapshotStore};

/// Snapshots in a local folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FolderSnapshots {
    root: PathBuf,
    bound: ChainBound,
    buffers: Buffers,
}

impl FolderSnapshots {
    /// The folder is made with the first snapshot.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        FolderSnapshots {
            root: root.into(),
            bound: ChainBound::default(),
            buffers: Buffers::default(),
        }
    }

    pub fn with_chain_bound(self, bound: ChainBound) -> Self {
        FolderSnapshots { bound, ..self }
    }

    /// `None` while there is no folder.
    fn store(&self) -> Result<Option<LocalFileSystem>, SnapshotError> {
        if !self.root.exists() {
            return Ok(None);
        }
        let opened = LocalFileSystem::new_with_prefix(&self.root);
        opened
            .map(Some)
            .map_err(|e| failed("opening", &self.root.display().to_string(), &e))
    }
}

#[async_trait]
impl SnapshotStore for FolderSnapshots {
    async fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, SnapshotError> {
        match self.store()? {
            Some(store) => list(&store, folder).await,
            None => Ok(Vec::new()),
        }
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>, SnapshotError> {
        match self.store()? {
            Some(store) => get(&store, path, &self.buffers).await,
            None => Ok(None),
        }
    }

    /// `object_store` does not sync: the file, its folder, and the folders made for it are synced here.
    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), SnapshotError> {
        let (file, root) = (self.root.join(path), self.root.clone());
        std::fs::create_dir_all(&root).map_err(|e| failed("making", &root.display().to_string(), &e))?;
        if let Some(store) = self.store()? {
            create(&store, path, bytes).await?;
        }
        let synced = tokio::task::spawn_blocking(move || sync_up(&file, &root)).await;
        synced
            .map_err(|e| failed("syncing", path, &e))?
            .map_err(|e| failed("syncing", path, &e))
    }

    async fn delete(&self, path: &str) -> Result<(), SnapshotError> {
        match self.store()? {
            Some(store) => delete(&store, path).await,
            None => Ok(()),
        }
    }

    fn chain_bound(&self) -> ChainBound {
        self.bound
    }
}

/// Syncs a file and every folder from it up to `root`.
fn sync_up(file: &Path, root: &Path) -> std::io::Result<()> {
    std::fs::File::open(file)?.sync_all()?;
    let mut folder = file.parent();
    while let Some(here) = folder.filter(|here| here.starts_with(root)) {
        std::fs::File::open(here)?.sync_all()?;
        folder = here.parent();
    }
    Ok(())
}

/// Snapshots in memory. Clones share what is kept.
#[derive(Clone, Debug, Default)]
pub struct MemorySnapshots {
    store: Arc<InMemory>,
}

#[async_trait]
impl SnapshotStore for MemorySnapshots {
    async fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, SnapshotError> {
        list(self.store.as_ref(), folder).await
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>, SnapshotError> {
        get(self.store.as_ref(), path, &Buffers::default()).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), SnapshotError> {
        create(self.store.as_ref(), path, bytes).await
    }

    async fn delete(&self, path: &str) -> Result<(), SnapshotError> {
        delete(self.store.as_ref(), path).await
    }
}

async fn list(store: &dyn ObjectStore, folder: &str) -> Result<Vec<(String, u64)>, SnapshotError> {
    let prefix = ObjectPath::from(folder);
    let found: Vec<_> = match store.list(Some(&prefix)).try_collect().await {
        Ok(found) => found,
        Err(Error::NotFound { .. }) => return Ok(Vec::new()),
        Err(e) => return Err(failed("listing", folder, &e)),
    };
    let mut names: Vec<(String, u64)> = found
        .into_iter()
        .filter_map(|object| Some((object.location.filename()?.to_owned(), object.size)))
        .collect();
    names.sort();
    Ok(names)
}

async fn get(store: &dyn ObjectStore, path: &str, buffers: &Buffers) -> Result<Option<Bytes>, SnapshotError> {
    let got = match store.get(&ObjectPath::from(path)).await {
        Ok(got) => {
            let length = got.range.end - got.range.start;
            match got.payload {
                GetResultPayload::File(file, _) => {
                    let buffers = buffers.clone();
                    let read = tokio::task::spawn_blocking(move || buffers.read(file, length)).await;
                    let read = read.map_err(|e| failed("reading", path, &e))?;
                    return read.map(Some).map_err(|e| failed("reading", path, &e));
                }
                GetResultPayload::Stream(_) => got.bytes().await,
            }
        }
        Err(e) => Err(e),
    };
    match got {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(failed("reading", path, &e)),
    }
}

async fn create(store: &dyn ObjectStore, path: &str, bytes: Bytes) -> Result<(), SnapshotError> {
    let options = PutOptions::from(PutMode::Create);
    match store.put_opts(&ObjectPath::from(path), bytes.into(), options).await {
        Ok(_) => Ok(()),
        Err(Error::AlreadyExists { .. }) => Err(SnapshotError::Exists { path: path.to_owned() }),
        Err(e) => Err(failed("writing", path, &e)),
    }
}

async fn delete(store: &dyn ObjectStore, path: &str) -> Result<(), SnapshotError> {
    match store.delete(&ObjectPath::from(path)).await {
        Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
        Err(e) => Err(failed("removing", path, &e)),
    }
}

fn failed(doing: &'static str, path: &str, cause: &dyn std::fmt::Display) -> SnapshotError {
    SnapshotError::Store {
        doing,
        path: path.to_owned(),
        cause: cause.to_string(),
    }
}
