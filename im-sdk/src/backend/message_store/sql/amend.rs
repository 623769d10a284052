//! Applies recalls and edits to entries: to those in the store, and to those that are written later.
//!
//! ```text
//!  amend: the amendment is committed, then the entries are read and rewritten
//!  write: the entries are committed, then the amendments are read and carried out
//! ```
//!
//! Whatever happens at the same time, one of the two sees the other's rows. A row is replaced only if it has not changed since it
//! was read.

use std::collections::BTreeSet;

use bytes::Bytes;
use sqlx::{Row as _, any::AnyRow};

use super::{
    AMEND, MessageStoreError, SqlMessageStore, StoredEntry, clamp, read::parse_id, statement::Statement,
    within,
};
use crate::{
    backend::message_store::{AmendedPart, Amendment, entry, oldest_amended, words::terms::VERSION},
    id::MessageId,
};

/// The number of entries of one message that are rewritten together.
const ROWS: i64 = 256;

/// The number of ids in one statement.
const IDS: usize = 512;

/// The number of attempts to replace a row that other backends rewrite at the same time. Each failed attempt means that
/// another backend made progress.
const TRIES: usize = 16;

impl SqlMessageStore {
    pub(super) async fn amend_one(&self, amendment: &Amendment) -> Result<(), MessageStoreError> {
        let mut next = Some(amendment.clone());
        while let Some(amendment) = next {
            next = within(AMEND, self.note(&amendment)).await?;
            self.amend_entries(amendment.message_id()).await?;
        }
        Ok(())
    }

    /// Applies stored amendments to entries that have just been written.
    pub(super) async fn amend_written(&self, entries: &[StoredEntry]) -> Result<(), MessageStoreError> {
        let ids: BTreeSet<i64> = entries.iter().map(|entry| clamp(entry.message_id.as_u64())).collect();
        let ids: Vec<i64> = ids.into_iter().collect();
        for ids in ids.chunks(IDS) {
            let mut statement = Statement::new("SELECT DISTINCT id FROM im_amended WHERE id IN ");
            statement.list(ids.iter().copied());
            for row in within(AMEND, statement.fetch(&self.pool)).await? {
                let id: i64 = row.try_get(0).map_err(failed)?;
                if let Some(id) = parse_id(id) {
                    self.amend_entries(id).await?;
                }
            }
        }
        Ok(())
    }

    /// Stores an amendment, unless one with a higher rank is there. Returns the amendment that empties the outranked
    /// edit, if there is one.
    async fn note(&self, amendment: &Amendment) -> Result<Option<Amendment>, sqlx::Error> {
        let (id, part) = (clamp(amendment.message_id().as_u64()), i64::from(amendment.part().number()));
        self.forget_old(amendment.message_id()).await?;
        for _ in 0..TRIES {
            let there = self.amendments(amendment.message_id()).await?;
            let there = there.into_iter().find(|there| there.0.part() == amendment.part());
            match there {
                Some((there, _)) if there.rank() == amendment.rank() => return Ok(None),
                Some((there, _)) if there.rank() > amendment.rank() => return Ok(amendment.outranked()),
                Some((there, bytes)) => {
                    let mut update = Statement::new("UPDATE im_amended SET amendment = ");
                    update
                        .bind(amendment.encode())
                        .push(" WHERE id = ")
                        .bind(id)
                        .push(" AND part = ")
                        .bind(part);
                    update.push(" AND amendment = ").bind(bytes).push(" RETURNING id");
                    if !update.fetch(&self.pool).await?.is_empty() {
                        return Ok(there.outranked());
                    }
                }
                None => {
                    let mut insert = Statement::new("INSERT INTO im_amended (id, part, amendment) VALUES ");
                    insert.rows([vec![id.into(), part.into(), amendment.encode().into()]]);
                    insert.push(" ON CONFLICT (id, part) DO NOTHING RETURNING id");
                    if !insert.fetch(&self.pool).await?.is_empty() {
                        return Ok(None);
                    }
                }
            }
        }
        Err(busy())
    }

    /// Deletes amendments of messages that are too old to come from an archive.
    async fn forget_old(&self, newer: MessageId) -> Result<(), sqlx::Error> {
        let oldest = oldest_amended(newer);
        let mut delete = Statement::new("DELETE FROM im_amended WHERE id < ");
        delete.bind(clamp(oldest.as_u64()));
        delete.execute(&self.pool).await
    }

    /// Returns the stored amendments of a message, each with its encoding.
    async fn amendments(&self, id: MessageId) -> Result<Vec<(Amendment, Vec<u8>)>, sqlx::Error> {
        let mut statement = Statement::new("SELECT part, amendment FROM im_amended WHERE id = ");
        statement.bind(clamp(id.as_u64())).push(" ORDER BY part");
        let mut found = Vec::new();
        for row in statement.fetch(&self.pool).await? {
            let (part, bytes): (i64, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
            let parts = [AmendedPart::Content, AmendedPart::Quote];
            let part = parts.into_iter().find(|known| i64::from(known.number()) == part);
            found.extend(part.and_then(|part| Amendment::decode(part, &bytes)).map(|one| (one, bytes)));
        }
        Ok(found)
    }

    /// Rewrites all entries of a message, in every log.
    async fn amend_entries(&self, id: MessageId) -> Result<(), MessageStoreError> {
        let amendments = within(AMEND, self.amendments(id)).await?;
        let mut after = String::new();
        while let Some(last) = within(AMEND, self.amend_some(id, &amendments, &after)).await? {
            after = last;
        }
        Ok(())
    }

    /// Rewrites the entries in the logs behind `after`. Returns the last of these logs, or `None` if there is
    /// no further one.
    async fn amend_some(
        &self,
        id: MessageId,
        amendments: &[(Amendment, Vec<u8>)],
        after: &str,
    ) -> Result<Option<String>, sqlx::Error> {
        let number = clamp(id.as_u64());
        let mut statement = Statement::new("SELECT log, message FROM im_messages WHERE id = ");
        statement.bind(number).push(" AND log > ").bind(after.to_owned());
        statement.push(" ORDER BY log LIMIT ").bind(ROWS);
        let rows = statement.fetch(&self.pool).await?;
        let mut last = None;
        for row in &rows {
            let log: String = row.try_get(0)?;
            self.amend_row(&log, number, amendments, message(row, 1)?).await?;
            last = Some(log);
        }
        Ok(last)
    }

    /// Replaces a row if it has not changed since it was read. Otherwise reads it again.
    async fn amend_row(
        &self,
        log: &str,
        id: i64,
        amendments: &[(Amendment, Vec<u8>)],
        mut before: Bytes,
    ) -> Result<(), sqlx::Error> {
        for _ in 0..TRIES {
            let apply = |message: Bytes, amendment: &Amendment| amendment.apply(&message).unwrap_or(message);
            let after = amendments.iter().fold(before.clone(), |message, (one, _)| apply(message, one));
            if after == before || self.replace_row(log, id, &before, after).await? {
                return Ok(());
            }
            let mut statement = Statement::new("SELECT message FROM im_messages WHERE log = ");
            statement.bind(log.to_owned()).push(" AND id = ").bind(id);
            // The entry may have been deleted meanwhile.
            let Some(row) = statement.fetch(&self.pool).await?.pop() else { return Ok(()) };
            before = message(&row, 0)?;
        }
        Err(busy())
    }

    async fn replace_row(
        &self,
        log: &str,
        id: i64,
        before: &Bytes,
        after: Bytes,
    ) -> Result<bool, sqlx::Error> {
        let mut transaction = self.begin().await?;
        let mut update = Statement::new("UPDATE im_messages SET indexed = ");
        update.bind(VERSION).push(", kind = ").bind(entry::kind(&after));
        update.push(", message = ").bind(after.to_vec()).push(" WHERE log = ").bind(log.to_owned());
        update.push(" AND id = ").bind(id).push(" AND message = ").bind(before.to_vec());
        update.push(" RETURNING log");
        if update.fetch(&mut *transaction).await?.is_empty() {
            return Ok(false);
        }
        self.forget(&mut transaction, log, id, "=").await?;
        self.index(&mut transaction, std::iter::once((log.to_owned(), id, after))).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

fn message(row: &AnyRow, column: usize) -> Result<Bytes, sqlx::Error> {
    row.try_get::<Vec<u8>, _>(column).map(Bytes::from)
}

fn busy() -> sqlx::Error {
    sqlx::Error::Protocol("others changed the same message all the time".to_owned())
}

fn failed(error: sqlx::Error) -> MessageStoreError {
    MessageStoreError::unavailable(AMEND, error)
}
