//! Removes the texts of messages, and entries that are too old.

use sqlx::{Any, Row as _, Transaction};

use super::{
    Dialect, LIST, MessageStoreError, REDACT, SqlMessageStore, clamp,
    read::{parse_id, parse_log},
    statement::Statement,
    within,
};
use crate::{
    backend::message_store::{entry::redacted, words::terms::VERSION},
    cluster::LogId,
    id::MessageId,
};

/// The number of entries that lose their text in one transaction.
const REDACTED: i64 = 256;

impl SqlMessageStore {
    pub(super) async fn redact_all(&self, ids: &[MessageId]) -> Result<(), MessageStoreError> {
        for id in ids {
            let mut after = String::new();
            while let Some(last) = within(REDACT, self.redact_some(*id, &after)).await? {
                after = last;
            }
        }
        Ok(())
    }

    /// Redacts a message's entries in the logs behind `after`. Returns the last of these logs, or `None` if there is
    /// no further one.
    async fn redact_some(&self, id: MessageId, after: &str) -> Result<Option<String>, sqlx::Error> {
        let number = clamp(id.as_u64());
        let mut statement = Statement::new("SELECT log, message FROM im_messages WHERE id = ");
        statement.bind(number).push(" AND log > ").bind(after.to_owned());
        statement.push(" ORDER BY log LIMIT ").bind(REDACTED);
        let rows = statement.fetch(&self.pool).await?;
        let mut transaction = self.begin().await?;
        let mut last = None;
        for row in &rows {
            let log: String = row.try_get(0)?;
            let message = redacted(id, row.try_get::<Vec<u8>, _>(1)?.into());
            let mut update = Statement::new("UPDATE im_messages SET indexed = ");
            update
                .bind(VERSION)
                .push(", message = ")
                .bind(message.to_vec())
                .push(" WHERE log = ")
                .bind(log.clone());
            update.push(" AND id = ").bind(number);
            update.execute(&mut *transaction).await?;
            self.forget(&mut transaction, &log, number, "=").await?;
            last = Some(log);
        }
        transaction.commit().await?;
        Ok(last)
    }

    pub(super) async fn list_logs(
        &self,
        after: Option<&LogId>,
        limit: usize,
    ) -> Result<Vec<(LogId, MessageId)>, MessageStoreError> {
        let rows = within(LIST, self.next_logs(after, limit)).await?;
        let failed = |error: sqlx::Error| MessageStoreError::unavailable(LIST, error);
        let load = |row: &sqlx::any::AnyRow| {
            let (log, id): (String, i64) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
            let parsed = parse_log(&log).zip(parse_id(id));
            parsed.ok_or_else(|| MessageStoreError::Malformed { place: format!("{log}, id {id}") })
        };
        rows.iter().map(load).collect()
    }

    /// Returns the next logs. Each step finds one in the primary key, so that entries in between cost
    /// nothing.
    async fn next_logs(
        &self,
        after: Option<&LogId>,
        limit: usize,
    ) -> Result<Vec<sqlx::any::AnyRow>, sqlx::Error> {
        let after = after.map(ToString::to_string).unwrap_or_default();
        let mut statement = Statement::new(
            "WITH RECURSIVE logs (log) AS (
                SELECT (SELECT f.log FROM im_messages f WHERE f.log > ",
        );
        statement.bind(after).push(
            " ORDER BY f.log LIMIT 1)
                UNION ALL
                SELECT (SELECT n.log FROM im_messages n WHERE n.log > logs.log ORDER BY n.log LIMIT 1)
                FROM logs WHERE logs.log IS NOT NULL
            ), page (log) AS (SELECT log FROM logs WHERE log IS NOT NULL LIMIT ",
        );
        statement.bind(i64::try_from(limit).unwrap_or(i64::MAX)).push(
            ") SELECT page.log, (SELECT MIN(m.id) FROM im_messages m WHERE m.log = page.log) FROM page",
        );
        statement.fetch(&self.pool).await
    }

    pub(super) async fn delete(
        &self,
        log: &LogId,
        before: MessageId,
        limit: usize,
    ) -> Result<usize, sqlx::Error> {
        let log = log.to_string();
        let mut due = Statement::new("SELECT id FROM im_messages WHERE log = ");
        due.bind(log.clone()).push(" AND id < ").bind(clamp(before.as_u64()));
        due.push(" ORDER BY id LIMIT ").bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = due.fetch(&self.pool).await?;
        let Some(last) = rows.last() else { return Ok(0) };
        let last: i64 = last.try_get(0)?;
        let mut transaction = self.begin().await?;
        self.forget(&mut transaction, &log, last, "<=").await?;
        let mut delete = Statement::new("DELETE FROM im_messages WHERE log = ");
        delete.bind(log).push(" AND id <= ").bind(last);
        delete.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(rows.len())
    }

    /// Removes entries of a log from the search index.
    pub(super) async fn forget(
        &self,
        transaction: &mut Transaction<'_, Any>,
        log: &str,
        id: i64,
        comparison: &str,
    ) -> Result<(), sqlx::Error> {
        let wanted = |statement: &mut Statement| {
            statement.push(" log = ").bind(log.to_owned());
            statement.push(" AND id ").push(comparison).push(" ").bind(id);
        };
        if self.dialect == Dialect::Sqlite {
            let mut words =
                Statement::new("DELETE FROM im_words WHERE rowid IN (SELECT number FROM im_texts WHERE");
            wanted(&mut words);
            words.push(")");
            words.execute(&mut **transaction).await?;
        }
        let mut texts = Statement::new("DELETE FROM im_texts WHERE");
        wanted(&mut texts);
        texts.execute(&mut **transaction).await
    }
}
