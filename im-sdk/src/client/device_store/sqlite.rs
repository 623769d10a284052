//! A store in a file.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, Row, Transaction, named_params};

use super::{Batch, DeviceStore, SavedCursor, SavedMark, SavedMarks, SavedPublish, SavedState, StoreError};

/// Keeps everything in one SQLite file, which survives the process, and power failures as far as the disk does.
///
/// SQLite is what phones and desktops use for small atomic writes. It is compiled in, so every device has the same
/// version.
///
/// The file is not encrypted, and contains the texts of unsent messages. Put it where only the application can read it.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    file: Mutex<File>,
}

/// The store's file.
#[derive(Debug)]
enum File {
    Open(Connection),
    /// Released, with these contents at that time.
    Released(Box<SavedState>),
}

impl SqliteStore {
    /// Opens the file, or creates it. The call blocks for as long as the disk does, and for up to a second if another client
    /// has the file open, so that an earlier process can release it. Use `tokio::task::spawn_blocking` if that would hold up
    /// others, such as a runtime with one thread.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another client has the file open: two clients would send everything twice.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        // Made absolute, so that a process that changes its directory later still finds the file.
        let path = std::path::absolute(path).map_err(|error| StoreError::Failed(error.to_string()))?;
        let connection = open(&path)?;
        Ok(Self { path, file: Mutex::new(File::Open(connection)) })
    }

    fn lock(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses the connection, after opening the file again if it was released.
    fn with<R>(&self, job: impl FnOnce(&mut Connection) -> Result<R, StoreError>) -> Result<R, StoreError> {
        let mut file = self.lock();
        match &mut *file {
            File::Open(connection) => job(connection),
            File::Released(left) => {
                let mut connection = open(&self.path)?;
                // Numbers that another client has used must not be used again.
                if load(&mut connection)? != **left {
                    return Err(StoreError::Failed(CHANGED.to_owned()));
                }
                let done = job(&mut connection);
                *file = File::Open(connection);
                done
            }
        }
    }
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch(SETTINGS)?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    migrate(&transaction)?;
    transaction.commit()?;
    Ok(connection)
}

impl DeviceStore for SqliteStore {
    fn load(&self) -> Result<SavedState, StoreError> {
        self.with(load)
    }

    fn save(&self, batch: &Batch) -> Result<(), StoreError> {
        self.with(|connection| save(connection, batch))
    }

    fn release(&self) {
        let mut file = self.lock();
        let File::Open(connection) = &mut *file else { return };
        match load(connection) {
            Ok(left) => *file = File::Released(Box::new(left)),
            // A file that cannot be read now could not be compared later.
            Err(error) => tracing::warn!(%error, "the device's store keeps its file open in the background"),
        }
    }

    fn shrink(&self) {
        if let File::Open(connection) = &*self.lock()
            && let Err(error) = connection.execute_batch("PRAGMA shrink_memory")
        {
            tracing::debug!(%error, "SQLite gives no memory back");
        }
    }
}

fn load(connection: &mut Connection) -> Result<SavedState, StoreError> {
    let transaction = connection.transaction()?;
    let mut saved = transaction.query_row(SELECT_STATE, [], state)?;
    saved.cursors = collect(&transaction, "SELECT channel, seq, id FROM cursor ORDER BY channel", cursor)?;
    saved.outbox = collect(&transaction, SELECT_OUTBOX, publish)?;
    for (to, channel, mark) in collect(&transaction, SELECT_MARKS, mark)? {
        match saved.marks.last_mut().filter(|last| (&last.to, &last.channel) == (&to, &channel)) {
            Some(last) => last.marks.push(mark),
            None => saved.marks.push(SavedMarks { to, channel, marks: vec![mark] }),
        }
    }
    Ok(saved)
}

fn save(connection: &mut Connection, batch: &Batch) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    save_state(&transaction, batch)?;
    batch.cursors.iter().try_for_each(|cursor| save_cursor(&transaction, cursor))?;
    batch.left.iter().try_for_each(|channel| forget_cursor(&transaction, channel))?;
    batch.remove.iter().try_for_each(|id| remove(&transaction, *id))?;
    batch.put.iter().try_for_each(|publish| put(&transaction, publish))?;
    batch.marks.iter().try_for_each(|marks| save_marks(&transaction, marks))?;
    Ok(transaction.commit()?)
}

fn migrate(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let steps = match version {
        0 => &[SCHEMA][..],
        1 => &[FROM_1_TO_2, FROM_2_TO_3, FROM_3_TO_4, FROM_4_TO_5],
        2 => &[FROM_2_TO_3, FROM_3_TO_4, FROM_4_TO_5],
        3 => &[FROM_3_TO_4, FROM_4_TO_5],
        4 => &[FROM_4_TO_5],
        5 => &[],
        newer => return Err(StoreError::Unreadable(format!("its version is {newer}"))),
    };
    for step in steps {
        transaction.execute_batch(step)?;
    }
    Ok(())
}

fn collect<T>(
    transaction: &Transaction<'_>,
    query: &str,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    transaction.prepare(query)?.query_map([], read)?.collect()
}

fn state(row: &Row<'_>) -> rusqlite::Result<SavedState> {
    Ok(SavedState {
        user: row.get(0)?,
        next_local_id: unsigned(row, 1)?,
        next_number: unsigned(row, 2)?,
        installation: unsigned(row, 3)?,
        origin_key: unsigned(row, 4)?,
        ..SavedState::default()
    })
}

fn cursor(row: &Row<'_>) -> rusqlite::Result<SavedCursor> {
    Ok(SavedCursor { channel: row.get(0)?, seq: unsigned(row, 1)?, id: unsigned(row, 2)? })
}

fn publish(row: &Row<'_>) -> rusqlite::Result<SavedPublish> {
    Ok(SavedPublish {
        local_id: unsigned(row, 0)?,
        number: unsigned(row, 1)?,
        to: row.get(2)?,
        channel: row.get(3)?,
        content: row.get(4)?,
        failure: row.get(5)?,
        installation: unsigned(row, 6)?,
        sent: row.get(7)?,
    })
}

fn save_state(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    transaction.execute(
        UPDATE_STATE,
        named_params! {
            ":user": batch.user,
            ":local": signed(batch.next_local_id),
            ":number": signed(batch.next_number),
            ":installation": signed(batch.installation),
            ":origin_key": signed(batch.origin_key),
        },
    )?;
    Ok(())
}

fn save_cursor(transaction: &Transaction<'_>, cursor: &SavedCursor) -> rusqlite::Result<()> {
    let values = (&cursor.channel, signed(cursor.seq), signed(cursor.id));
    transaction.execute("REPLACE INTO cursor (channel, seq, id) VALUES (?, ?, ?)", values)?;
    Ok(())
}

fn forget_cursor(transaction: &Transaction<'_>, channel: &str) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM cursor WHERE channel = ?", [channel])?;
    Ok(())
}

fn put(transaction: &Transaction<'_>, publish: &SavedPublish) -> rusqlite::Result<()> {
    let SavedPublish { local_id, number, installation, sent, to, channel, content, failure } = publish;
    let (local_id, number, installation) = (signed(*local_id), signed(*number), signed(*installation));
    transaction.execute(PUT, (local_id, number, to, channel, content, failure, installation, sent))?;
    Ok(())
}

fn save_marks(transaction: &Transaction<'_>, saved: &SavedMarks) -> rusqlite::Result<()> {
    let SavedMarks { to, channel, marks } = saved;
    transaction.execute("DELETE FROM mark WHERE receiver = ? AND channel = ?", (to, channel))?;
    for (place, mark) in (0_i64..).zip(marks) {
        transaction.execute(PUT_MARK, (to, channel, place, signed(mark.set_at_ms), &mark.mark))?;
    }
    Ok(())
}

fn mark(row: &Row<'_>) -> rusqlite::Result<(String, String, SavedMark)> {
    let mark = SavedMark { set_at_ms: unsigned(row, 2)?, mark: row.get(3)? };
    Ok((row.get(0)?, row.get(1)?, mark))
}

fn remove(transaction: &Transaction<'_>, local_id: u64) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM outbox WHERE local_id = ?", [signed(local_id)])?;
    Ok(())
}

/// Converts to SQLite's signed integers, with the same 64 bits.
fn signed(number: u64) -> i64 {
    number.cast_signed()
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(i64::cast_unsigned)
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse,
            Some(ErrorCode::NotADatabase) => Self::Unreadable(error.to_string()),
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged(error.to_string()),
            Some(ErrorCode::DiskFull) => Self::Full(error.to_string()),
            // The row is not of any version of this store.
            None => Self::Damaged(error.to_string()),
            Some(_) => Self::Failed(error.to_string()),
        }
    }
}

/// A write-ahead log needs one flush per batch instead of two. With `FULL` that flush happens at each commit: if a
/// used number were lost in a power failure, a later message would look like a repetition. The exclusive lock keeps a
/// second client out, and the log's index in memory.
const SETTINGS: &str = "
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
";

const SCHEMA: &str = "
CREATE TABLE state (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    user TEXT NOT NULL,
    next_local_id INTEGER NOT NULL,
    next_number INTEGER NOT NULL,
    installation INTEGER NOT NULL DEFAULT 0,
    origin_key INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO state VALUES (1, '', 0, 0, 0, 0);
CREATE TABLE cursor (
    channel TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    id INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox (
    local_id INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    receiver TEXT NOT NULL,
    channel TEXT NOT NULL DEFAULT '',
    content BLOB NOT NULL,
    failure BLOB NOT NULL,
    installation INTEGER NOT NULL DEFAULT 0,
    sent INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE mark (
    receiver TEXT NOT NULL,
    channel TEXT NOT NULL,
    place INTEGER NOT NULL,
    set_at_ms INTEGER NOT NULL,
    mark BLOB NOT NULL,
    PRIMARY KEY (receiver, channel, place)
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 5;
";

const FROM_1_TO_2: &str = "
ALTER TABLE outbox ADD COLUMN channel TEXT NOT NULL DEFAULT '';
";

const FROM_2_TO_3: &str = "
ALTER TABLE state ADD COLUMN installation INTEGER NOT NULL DEFAULT 0;
PRAGMA user_version = 3;
";

const FROM_3_TO_4: &str = "
CREATE TABLE mark (
    receiver TEXT NOT NULL,
    channel TEXT NOT NULL,
    place INTEGER NOT NULL,
    set_at_ms INTEGER NOT NULL,
    mark BLOB NOT NULL,
    PRIMARY KEY (receiver, channel, place)
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 4;
";

const FROM_4_TO_5: &str = "
ALTER TABLE state ADD COLUMN origin_key INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN installation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN sent INTEGER NOT NULL DEFAULT 0;
UPDATE state SET origin_key = installation;
UPDATE outbox SET installation = (SELECT installation FROM state), sent = number > 0;
PRAGMA user_version = 5;
";

const SELECT_MARKS: &str =
    "SELECT receiver, channel, set_at_ms, mark FROM mark ORDER BY receiver, channel, place";

const PUT_MARK: &str = "INSERT INTO mark (receiver, channel, place, set_at_ms, mark) VALUES (?, ?, ?, ?, ?)";

const SELECT_STATE: &str = "SELECT user, next_local_id, next_number, installation, origin_key FROM state";

const SELECT_OUTBOX: &str = "SELECT local_id, number, receiver, channel, content, failure, installation, sent
    FROM outbox ORDER BY local_id";

const UPDATE_STATE: &str = "UPDATE state
    SET user = :user, next_local_id = :local, next_number = :number, installation = :installation, origin_key = :origin_key";

const PUT: &str = "REPLACE INTO outbox
    (local_id, number, receiver, channel, content, failure, installation, sent) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";

/// The reason why a released file cannot be used any more.
const CHANGED: &str = "another client has changed the file while this one had released it: open a new client";

/// The time that an earlier process may take to release the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::client::device_store::conformance;

    #[test]
    fn conforms() {
        conformance::check(|| {
            let folder = tempfile::tempdir().unwrap();
            Box::new(move || Arc::new(SqliteStore::open(folder.path().join("store.db")).unwrap()))
        });
    }

    #[test]
    fn a_second_client_is_kept_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let first = SqliteStore::open(&path).unwrap();
        assert_eq!(SqliteStore::open(&path).unwrap_err(), StoreError::InUse);
        drop(first);
        assert!(SqliteStore::open(&path).is_ok());
    }

    #[test]
    fn a_released_file_can_be_used_by_another_client_and_is_not_used_again_if_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let first = SqliteStore::open(&path).unwrap();
        first.save(&Batch { next_number: 7, ..Batch::default() }).unwrap();
        first.release();
        let second = SqliteStore::open(&path).unwrap();
        assert_eq!(second.load().unwrap().next_number, 7);
        assert_eq!(first.load().unwrap_err(), StoreError::InUse);
        drop(second);
        assert_eq!(first.load().unwrap().next_number, 7, "nothing has changed");
        first.release();
        let second = SqliteStore::open(&path).unwrap();
        second.save(&Batch { next_number: 8, ..Batch::default() }).unwrap();
        drop(second);
        assert_eq!(first.save(&Batch::default()), Err(StoreError::Failed(CHANGED.to_owned())));
        assert_eq!(SqliteStore::open(&path).unwrap().load().unwrap().next_number, 8);
    }

    #[test]
    fn what_is_not_a_store_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        std::fs::write(&path, "something else altogether, and long enough for a header".repeat(100)).unwrap();
        assert_eq!(SqliteStore::open(&path).unwrap_err().code(), "unreadable");

        let newer = folder.path().join("newer.db");
        Connection::open(&newer).unwrap().execute_batch("PRAGMA user_version = 6").unwrap();
        assert_eq!(SqliteStore::open(&newer).unwrap_err().code(), "unreadable");
    }

    #[test]
    fn a_damaged_file_is_told_from_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let put = |local_id| SavedPublish {
            local_id,
            number: local_id,
            to: "bob".into(),
            content: vec![7; 1000],
            ..SavedPublish::default()
        };
        let batch = Batch { put: (1..99).map(put).collect(), ..Batch::default() };
        SqliteStore::open(&path).unwrap().save(&batch).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let damage = |damage: fn(&mut Vec<u8>)| {
            let mut bytes = whole.clone();
            damage(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
            SqliteStore::open(&path).and_then(|store| store.load()).unwrap_err().code()
        };
        assert_eq!(damage(|bytes| bytes[4096..].fill(0xa5)), "damaged", "all pages but the first");
        assert_eq!(damage(|bytes| bytes[100..140].fill(0xa5)), "damaged", "the tables' names");
        assert_eq!(damage(|bytes| bytes.truncate(bytes.len() / 2)), "damaged", "the second half is gone");
        assert_eq!(damage(|bytes| bytes[..16].fill(0xa5)), "unreadable", "it does not look like a store");
    }

    #[test]
    fn a_full_disk_keeps_what_was_saved_and_goes_on_when_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("store.db")).unwrap();
        let put = |local_id, bytes| SavedPublish {
            local_id,
            number: local_id,
            to: "bob".into(),
            content: vec![7; bytes],
            ..SavedPublish::default()
        };
        let small = Batch { put: vec![put(1, 10)], ..Batch::default() };
        store.save(&small).unwrap();
        let limit = |pages: u32| {
            let set = format!("PRAGMA max_page_count = {pages}");
            store.with(|file| Ok(file.query_row(&set, [], |row| row.get::<_, u32>(0)).unwrap())).unwrap()
        };
        // The limit is not below the present number of pages.
        assert!(limit(1) > 1);
        let large = Batch { put: vec![put(2, 100_000)], remove: vec![1], ..Batch::default() };
        assert_eq!(store.save(&large).unwrap_err().code(), "full");
        assert_eq!(store.load().unwrap().outbox, small.put);
        limit(u32::MAX - 1);
        store.save(&large).unwrap();
        assert_eq!(store.load().unwrap().outbox, large.put);
    }

    #[test]
    fn a_file_of_the_first_version_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let marks = SCHEMA.find("CREATE TABLE mark").unwrap();
        let version = SCHEMA.find("PRAGMA user_version").unwrap();
        let first = [&SCHEMA[..marks], &SCHEMA[version..]]
            .concat()
            .replace("    channel TEXT NOT NULL DEFAULT '',\n", "")
            .replace(",\n    installation INTEGER NOT NULL DEFAULT 0", "")
            .replace(",\n    origin_key INTEGER NOT NULL DEFAULT 0", "")
            .replace(",\n    sent INTEGER NOT NULL DEFAULT 0", "")
            .replace("(1, '', 0, 0, 0, 0)", "(1, '', 8, 9)");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(&first.replace("user_version = 5", "user_version = 1")).unwrap();
        old.execute_batch("INSERT INTO outbox VALUES (7, 8, 'bob', x'01', x'')").unwrap();
        drop(old);
        let expected = SavedPublish {
            local_id: 7,
            number: 8,
            sent: true,
            to: "bob".into(),
            content: vec![1],
            ..SavedPublish::default()
        };
        for _ in 0..2 {
            let saved = SqliteStore::open(&path).unwrap().load().unwrap();
            assert_eq!(saved.outbox, std::slice::from_ref(&expected));
            assert_eq!((saved.next_number, saved.installation), (9, 0), "it numbers as before");
        }
    }

    #[test]
    fn a_file_of_the_fourth_version_keeps_its_numbers_and_its_installation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let fourth = SCHEMA
            .replace(
                ",\n    installation INTEGER NOT NULL DEFAULT 0,\n    sent INTEGER NOT NULL DEFAULT 0",
                "",
            )
            .replace(",\n    origin_key INTEGER NOT NULL DEFAULT 0", "")
            .replace("(1, '', 0, 0, 0, 0)", "(1, '', 9, 8, 77)")
            .replace("user_version = 5", "user_version = 4");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(&fourth).unwrap();
        old.execute_batch(
            "INSERT INTO outbox VALUES (6, 7, 'bob', '', x'01', x''), (8, 0, 'bob', '', x'01', x'')",
        )
        .unwrap();
        drop(old);
        let saved = SqliteStore::open(&path).unwrap().load().unwrap();
        assert_eq!((saved.next_number, saved.installation, saved.origin_key), (8, 77, 77));
        let publishes: Vec<_> =
            saved.outbox.iter().map(|one| (one.number, one.installation, one.sent)).collect();
        assert_eq!(publishes, [(7, 77, true), (0, 77, false)]);
    }

    #[test]
    fn a_batch_that_was_not_committed_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("store.db")).unwrap();
        let trigger = "CREATE TRIGGER no BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'no'); END";
        store.with(|connection| Ok(connection.execute_batch(trigger)?)).unwrap();
        let put = SavedPublish { local_id: 1, number: 1, to: "bob".into(), ..SavedPublish::default() };
        let cursors = vec![SavedCursor { channel: String::new(), seq: 1, id: 1 }];
        let batch = Batch { cursors, put: vec![put], next_number: 2, ..Batch::default() };
        assert_eq!(store.save(&batch).unwrap_err().code(), "failed");
        assert_eq!(store.load(), Ok(SavedState::default()));
    }
}
