//! Reads and parses rows.

use sqlx::{Row as _, any::AnyRow};

use super::{
    HistoryRange, MessageStoreError, READ, SqlMessageStore, StoreQuery, clamp, statement::Statement,
};
use crate::{
    Filter,
    backend::message_store::StoredEntry,
    cluster::LogId,
    id::{ChannelId, MessageId, UserId},
};

/// The columns that [`load`] reads, in order.
pub(super) const COLUMNS: &str = "m.log, m.seq, m.id, m.peer, m.sender, m.kind, m.message";

impl SqlMessageStore {
    pub(super) async fn rows(&self, log: &LogId, query: &StoreQuery) -> Result<Vec<AnyRow>, sqlx::Error> {
        let mut statement = select(log, query);
        let order = match query.range {
            HistoryRange::Newest => "DESC",
            HistoryRange::Before(seq) => {
                statement.push(" AND m.seq < ").bind(clamp(seq));
                "DESC"
            }
            HistoryRange::After(seq) => {
                statement.push(" AND m.seq > ").bind(clamp(seq));
                "ASC"
            }
        };
        let limit = query.limit.saturating_add(1);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        statement.push(&format!(" ORDER BY m.seq {order}, m.id {order} LIMIT {limit}"));
        statement.fetch(&self.pool).await
    }

    /// Reads the rows of one message, from all logs.
    pub(super) async fn rows_of(&self, id: MessageId, limit: usize) -> Result<Vec<AnyRow>, sqlx::Error> {
        let mut statement = Statement::new("SELECT ");
        statement.push(COLUMNS).push(" FROM im_messages m WHERE m.id = ").bind(clamp(id.as_u64()));
        statement.push(" ORDER BY m.log LIMIT ").bind(i64::try_from(limit).unwrap_or(i64::MAX));
        statement.fetch(&self.pool).await
    }

    /// Reads all rows with one seq.
    pub(super) async fn rows_at(
        &self,
        log: &LogId,
        seq: u64,
        query: &StoreQuery,
    ) -> Result<Vec<AnyRow>, sqlx::Error> {
        let mut statement = select(log, query);
        statement.push(" AND m.seq = ").bind(clamp(seq)).push(" ORDER BY m.id");
        statement.fetch(&self.pool).await
    }
}

fn select(log: &LogId, query: &StoreQuery) -> Statement {
    let mut statement = Statement::new("SELECT ");
    statement.push(COLUMNS).push(" FROM im_messages m WHERE m.log = ").bind(log.to_string());
    if let Some(peer) = &query.peer {
        statement.push(" AND m.peer = ").bind(peer.to_string());
    }
    only(&mut statement, &query.filter);
    statement
}

/// Limits a statement to some kinds and to a time of sending. The time is compared by ids, which are indexed.
pub(super) fn only(statement: &mut Statement, filter: &Filter) {
    let id = |unix_ms| clamp(MessageId::first_at(unix_ms).as_u64());
    if let Some(since) = filter.since_ms {
        statement.push(" AND m.id >= ").bind(id(since));
    }
    if let Some(until) = filter.until_ms {
        statement.push(" AND m.id < ").bind(id(until));
    }
    if !filter.kinds.is_empty() {
        statement.push(" AND m.kind IN ").list(filter.kinds.iter().map(ToString::to_string));
    }
}

pub(super) fn load_all(rows: &[AnyRow]) -> Result<Vec<StoredEntry>, MessageStoreError> {
    rows.iter().map(load).collect()
}

pub(super) fn load(row: &AnyRow) -> Result<StoredEntry, MessageStoreError> {
    let failed = |error: sqlx::Error| MessageStoreError::unavailable(READ, error);
    let (seq, id): (i64, i64) = (row.try_get(1).map_err(failed)?, row.try_get(2).map_err(failed)?);
    let log: String = row.try_get(0).map_err(failed)?;
    let malformed = || MessageStoreError::Malformed { place: format!("{log}, seq {seq}, id {id}") };
    let user = |column: usize| {
        let name: String = row.try_get(column).map_err(failed)?;
        if name.is_empty() { Ok(None) } else { UserId::parse(&name).map(Some).map_err(|_| malformed()) }
    };
    let message: Vec<u8> = row.try_get(6).map_err(failed)?;
    Ok(StoredEntry {
        log: parse_log(&log).ok_or_else(malformed)?,
        seq: u64::try_from(seq).map_err(|_| malformed())?,
        message_id: parse_id(id).ok_or_else(malformed)?,
        peer: user(3)?,
        from: user(4)?,
        kind: row.try_get(5).map_err(failed)?,
        message: message.into(),
    })
}

pub(super) fn parse_id(id: i64) -> Option<MessageId> {
    u64::try_from(id).ok().and_then(MessageId::from_u64)
}

pub(super) fn parse_log(log: &str) -> Option<LogId> {
    match log.split_at_checked(2)? {
        ("u:", user) => UserId::parse(user).ok().map(LogId::Inbox),
        ("c:", channel) => ChannelId::parse(channel).ok().map(LogId::Channel),
        _ => None,
    }
}
