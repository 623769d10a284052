//! Writes and indexes entries.

use sqlx::{Any, Row as _, Transaction};

use super::{SqlMessageStore, StoredEntry, clamp, statement::Statement};
use crate::{backend::message_store::words::terms::VERSION, id::UserId};

/// The number of entries in one statement. With 9 values each, this is far below the limits of both
/// databases.
const ROWS: usize = 128;

impl SqlMessageStore {
    pub(super) async fn write_all(&self, entries: &[StoredEntry]) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        for entries in entries.chunks(ROWS) {
            let new = insert(&mut transaction, entries).await?;
            // An existing entry is not indexed again: its text may have been removed since.
            let texts = new.iter().filter_map(|(log, id)| {
                let is_it = |entry: &&StoredEntry| {
                    entry.log.to_string() == *log && clamp(entry.message_id.as_u64()) == *id
                };
                let entry = entries.iter().find(is_it)?;
                Some((log.clone(), *id, entry.message.clone()))
            });
            self.index(&mut transaction, texts).await?;
        }
        transaction.commit().await
    }
}

/// Inserts entries. Returns those that are new, by log and id.
async fn insert(
    transaction: &mut Transaction<'_, Any>,
    entries: &[StoredEntry],
) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let name = |user: Option<&UserId>| user.map(ToString::to_string).unwrap_or_default();
    let row = |entry: &StoredEntry| {
        vec![
            entry.log.to_string().into(),
            clamp(entry.seq).into(),
            clamp(entry.message_id.as_u64()).into(),
            name(entry.peer.as_ref()).into(),
            name(entry.from.as_ref()).into(),
            clamp(entry.sent_at_ms()).into(),
            entry.kind.clone().into(),
            entry.message.to_vec().into(),
            VERSION.into(),
        ]
    };
    let mut statement = Statement::new(
        "INSERT INTO im_messages (log, seq, id, peer, sender, sent_at_ms, kind, message, indexed) VALUES ",
    );
    statement.rows(entries.iter().map(row)).push(" ON CONFLICT (log, id) DO NOTHING RETURNING log, id");
    let rows = statement.fetch(&mut **transaction).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
