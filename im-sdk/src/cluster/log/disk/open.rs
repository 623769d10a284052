//! Opening the file.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use redb::{Database, DatabaseError, StorageError};

/// How much of the file is kept in memory.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// The logs' file, or the archive's, could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenLogError {
    /// Another process, or this one, has it open.
    #[error("{} is open already: only one process at a time can use it", path.display())]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("{} cannot be used: {source}", path.display())]
    Inaccessible {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is damaged, or holds something else.
    #[error("{} is damaged or was not written by this program: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the storage engine says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Opens a file, or creates it, with its tables.
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
        // How the engine says that the file begins with something else.
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
