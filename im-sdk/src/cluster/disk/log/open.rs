//! Opening of the file.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use redb::{Database, DatabaseError, StorageError};

/// The size of the file's cache in memory.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// An error of opening the file of the logs, or of the archive's queue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenLogError {
    /// The file is open in another process, or in this one.
    #[error("{} is already open: only one process at a time can use it", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("{} cannot be used: {source}", path.display())]
    Inaccessible {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        r#source: io::Error,
    },
    /// The file is damaged, or holds something else.
    #[error("{} is damaged or was not written by this program: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the storage engine.
        r#source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Opens or creates a file with its tables.
pub(in crate::cluster) fn open(
    path: &Path,
    create_tables: impl FnOnce(&Database) -> Result<(), redb::Error>,
) -> Result<Database, OpenLogError> {
    let opened = Database::builder().set_cache_size(CACHE_BYTES).create(path);
    let database = opened.map_err(|error| explain(path, error))?;
    create_tables(&database).map_err(|error| unreadable(path, error))?;
    sync_folder(path).map_err(|source| OpenLogError::Inaccessible { path: path.into(), source })?;
    Ok(database)
}

pub(in crate::cluster) fn no_writer(path: &Path, source: io::Error) -> OpenLogError {
    OpenLogError::Inaccessible { path: path.into(), source }
}

fn explain(path: &Path, error: DatabaseError) -> OpenLogError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenLogError::InUse { path: path.into() },
        // The engine's error for a file that begins with something else.
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() != io::ErrorKind::InvalidData => {
            OpenLogError::Inaccessible { path: path.into(), source }
        }
        error => unreadable(path, error),
    }
}

pub(super) fn unreadable(
    path: &Path,
    source: impl std::error::Error + Send + Sync + 'static,
) -> OpenLogError {
    OpenLogError::Unreadable { path: path.into(), source: Box::new(source) }
}

/// A new file is only as durable as its folder's entry for it.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
