//! The search index: the database's own full-text index, over the terms that `words` makes.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message as _;
use sqlx::{Any, Row as _, Transaction};

use super::{
    Dialect, MessageStoreError, SEARCH, SearchPage, SearchQuery, SqlMessageStore, clamp,
    read::{COLUMNS, load_all, only, parse_log},
    schema::{MIGRATE, has_old_terms},
    statement::{Statement, Value},
    within,
};
use crate::{
    backend::message_store::{
        StoredEntry, StoredKey, entry,
        words::{
            Words, searched,
            terms::{Term, VERSION, index_terms, log_term},
        },
    },
    proto::pb,
};

/// The number of entries that are examined before a search returns what it has found so far. The index offers few entries
/// that do not match, except for words without letters.
const CANDIDATES: usize = 4096;

/// The bytes of entries that are examined before a search returns, so that large texts do not make it slow. The page then says
/// where to continue.
const CANDIDATE_BYTES: usize = 1024 * 1024;

/// The number of entries in one read: few at first, then about as many as fit into the remaining bytes.
const PAGE: std::ops::RangeInclusive<usize> = 16..=256;

/// The bytes of text that are compared on the async thread. More would delay other requests.
const ON_THE_SPOT: usize = 16 * 1024;

/// The number of entries that are indexed in one transaction after a new version has changed the index.
const REST: i64 = 256;

/// Lets one process at a time index the rest in PostgreSQL. Its number differs from that of the tables' lock.
const REST_LOCK: &str = "SELECT pg_advisory_xact_lock(7303015)::text";

impl SqlMessageStore {
    pub(super) async fn find(&self, query: &SearchQuery) -> Result<SearchPage, MessageStoreError> {
        let mut page = SearchPage::default();
        if query.logs.is_empty() {
            return Ok(page);
        }
        let mut at_once = *PAGE.start();
        let mut before = query.before.clone();
        let (mut looked_at, mut bytes) = (0, 0);
        while looked_at < CANDIDATES && bytes < CANDIDATE_BYTES {
            let rows = within(SEARCH, self.candidates(query, before.as_ref(), at_once)).await?;
            let candidates = load_all(&rows)?;
            drop(rows);
            let was_last = candidates.len() < at_once;
            looked_at += candidates.len();
            bytes += candidates.iter().map(|entry| entry.message.len()).sum::<usize>();
            let usual = (bytes / looked_at.max(1)).max(1);
            at_once = (CANDIDATE_BYTES.saturating_sub(bytes) / usual).clamp(*PAGE.start(), *PAGE.end());
            before = candidates.last().map(StoredEntry::key).or(before);
            for entry in found(candidates, query).await {
                if page.entries.len() == query.limit.max(1) {
                    page.next = page.entries.last().map(StoredEntry::key);
                    return Ok(page);
                }
                page.entries.push(entry);
            }
            if was_last {
                return Ok(page);
            }
        }
        page.next = before;
        Ok(page)
    }

    /// Returns the next entries that the index offers.
    async fn candidates(
        &self,
        query: &SearchQuery,
        before: Option<&StoredKey>,
        limit: usize,
    ) -> Result<Vec<sqlx::any::AnyRow>, sqlx::Error> {
        let mut statement = Statement::new("SELECT ");
        statement.push(COLUMNS);
        let expression = self.expression(query);
        match self.dialect {
            // `CROSS` fixes the order of the join. SQLite would otherwise go through all messages, newest first, and ask the
            // index about each.
            Dialect::Sqlite => statement
                .push(" FROM im_words CROSS JOIN im_texts t ON t.number = im_words.rowid")
                .push(" CROSS JOIN im_messages m ON m.log = t.log AND m.id = t.id WHERE im_words MATCH ")
                .bind(expression),
            Dialect::Postgres => statement
                .push(" FROM im_texts t JOIN im_messages m ON m.log = t.log AND m.id = t.id")
                .push(" WHERE t.words @@ CAST(")
                .bind(expression)
                .push(" AS tsquery)"),
        };
        statement.push(" AND m.log IN ").list(query.logs.iter().map(ToString::to_string));
        if let Some(peer) = &query.peer {
            statement.push(" AND m.peer = ").bind(peer.to_string());
        }
        if let Some(from) = &query.from {
            statement.push(" AND m.sender = ").bind(from.to_string());
        }
        only(&mut statement, &query.filter);
        if let Some(before) = before {
            let id = clamp(before.message_id.as_u64());
            statement.push(" AND (m.id < ").bind(id).push(" OR (m.id = ").bind(id);
            statement.push(" AND m.log < ").bind(before.log.to_string()).push("))");
        }
        statement.push(&format!(" ORDER BY m.id DESC, m.log DESC LIMIT {limit}"));
        statement.fetch(&self.pool).await
    }

    /// Writes the query in the language of the index. Terms need no escaping.
    fn expression(&self, query: &SearchQuery) -> String {
        let (and, or, quote, any) = match self.dialect {
            Dialect::Sqlite => (" AND ", " OR ", '"', " *"),
            Dialect::Postgres => (" & ", " | ", '\'', ":*"),
        };
        let quoted = |term: &str| format!("{quote}{term}{quote}");
        let logs: Vec<String> = query.logs.iter().map(|log| quoted(&log_term(log))).collect();
        let terms = query.words.terms().into_iter().map(|term| match term {
            Term::Exact(term) => quoted(&term),
            Term::Prefix(term) => quoted(&term) + any,
        });
        let all: Vec<String> = std::iter::once(format!("({})", logs.join(or))).chain(terms).collect();
        all.join(and)
    }

    /// Adds the texts of messages to the index, by log and id.
    pub(super) async fn index(
        &self,
        transaction: &mut Transaction<'_, Any>,
        messages: impl Iterator<Item = (String, i64, Bytes)>,
    ) -> Result<(), sqlx::Error> {
        let terms: HashMap<(String, i64), Vec<String>> = messages
            .filter_map(|(log, id, message)| Some(((log.clone(), id), terms(&log, message)?)))
            .collect();
        if terms.is_empty() {
            return Ok(());
        }
        match self.dialect {
            Dialect::Sqlite => index_in_sqlite(transaction, terms).await,
            Dialect::Postgres => index_in_postgres(transaction, terms).await,
        }
    }

    /// Indexes entries that an earlier version wrote. Several processes may do this at once.
    pub(super) async fn index_the_rest(&self) -> Result<(), MessageStoreError> {
        let mut total = 0;
        loop {
            let done = within(MIGRATE, self.index_some()).await?;
            total += done;
            if done == 0 && !within(MIGRATE, self.has_a_rest()).await? {
                break;
            }
            tracing::info!(entries = total, "indexing entries that an earlier version wrote");
        }
        Ok(())
    }

    async fn has_a_rest(&self) -> Result<bool, sqlx::Error> {
        let rest = Statement::new(&format!("SELECT id FROM im_messages WHERE {} LIMIT 1", has_old_terms()));
        Ok(!rest.fetch(&self.pool).await?.is_empty())
    }

    async fn index_some(&self) -> Result<usize, sqlx::Error> {
        if !self.has_a_rest().await? {
            return Ok(0);
        }
        let mut transaction = self.begin().await?;
        if self.dialect == Dialect::Postgres {
            Statement::new(REST_LOCK).execute(&mut *transaction).await?;
        }
        let mut statement = Statement::new("UPDATE im_messages SET indexed = ");
        statement.bind(VERSION).push(" WHERE (log, id) IN (SELECT log, id FROM im_messages");
        statement.push(&format!(" WHERE {} ORDER BY id LIMIT ", has_old_terms())).bind(REST);
        statement.push(") RETURNING log, id, message, kind");
        let rows = statement.fetch(&mut *transaction).await?;
        let mut messages = Vec::with_capacity(rows.len());
        for row in &rows {
            let (log, id): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
            let message = Bytes::from(row.try_get::<Vec<u8>, _>(2)?);
            // The names of kinds have changed too.
            let kind = entry::kind(&message);
            if row.try_get::<String, _>(3)? != kind {
                let mut rename = Statement::new("UPDATE im_messages SET kind = ");
                rename.bind(kind).push(" WHERE log = ").bind(log.clone()).push(" AND id = ").bind(id);
                rename.execute(&mut *transaction).await?;
            }
            // Removes terms of an earlier version.
            self.forget(&mut transaction, &log, id, "=").await?;
            messages.push((log, id, message));
        }
        self.index(&mut transaction, messages.into_iter()).await?;
        transaction.commit().await?;
        Ok(rows.len())
    }
}

/// Returns the entries that match. Large texts are folded on a blocking thread, so that other requests go on.
async fn found(mut candidates: Vec<StoredEntry>, query: &SearchQuery) -> Vec<StoredEntry> {
    if candidates.iter().map(|entry| entry.message.len()).sum::<usize>() <= ON_THE_SPOT {
        candidates.retain(|entry| is_found(entry, &query.words));
        return candidates;
    }
    let words = query.words.clone();
    let compare = move || {
        candidates.retain(|entry| is_found(entry, &words));
        candidates
    };
    // The task fails only when the runtime ends, and then nobody waits for the result.
    tokio::task::spawn_blocking(compare).await.unwrap_or_default()
}

fn is_found(entry: &StoredEntry, words: &Words) -> bool {
    let message = pb::Message::decode(entry.message.clone());
    message.is_ok_and(|message| searched(&message).is_some_and(|text| words.are_in(&text)))
}

/// Returns the terms of a message. `None` if it has no text to search.
fn terms(log: &str, message: Bytes) -> Option<Vec<String>> {
    let message = pb::Message::decode(message).ok()?;
    let text = searched(&message)?;
    let of_the_log = log_term(&parse_log(log)?);
    Some(index_terms(&text).into_iter().chain([of_the_log]).collect())
}

async fn index_in_sqlite(
    transaction: &mut Transaction<'_, Any>,
    terms: HashMap<(String, i64), Vec<String>>,
) -> Result<(), sqlx::Error> {
    let mut statement = Statement::new("INSERT INTO im_texts (log, id) VALUES ");
    statement.rows(terms.keys().map(|(log, id)| vec![log.clone().into(), (*id).into()]));
    statement.push(" ON CONFLICT (log, id) DO NOTHING RETURNING number, log, id");
    let rows = statement.fetch(&mut **transaction).await?;
    let mut words: Vec<Vec<Value>> = Vec::with_capacity(rows.len());
    for row in &rows {
        let (number, key): (i64, _) = (row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?));
        let terms = terms.get(&key).map(|terms| terms.join(" ")).unwrap_or_default();
        words.push(vec![number.into(), terms.into()]);
    }
    if words.is_empty() {
        return Ok(());
    }
    let mut statement = Statement::new("INSERT INTO im_words (rowid, terms) VALUES ");
    statement.rows(words);
    statement.execute(&mut **transaction).await
}

async fn index_in_postgres(
    transaction: &mut Transaction<'_, Any>,
    terms: HashMap<(String, i64), Vec<String>>,
) -> Result<(), sqlx::Error> {
    // Sorted, so that two writers of the same terms do not wait for each other.
    let mut terms: Vec<_> = terms.into_iter().collect();
    terms.sort();
    let mut statement = Statement::new("INSERT INTO im_texts (log, id, words) VALUES ");
    let mut separator = "";
    for ((log, id), terms) in terms {
        let words = terms.iter().map(|term| format!("'{term}'")).collect::<Vec<_>>().join(" ");
        statement.push(separator).push("(").bind(log).push(", ").bind(id);
        statement.push(", CAST(").bind(words).push(" AS tsvector))");
        separator = ", ";
    }
    statement.push(" ON CONFLICT (log, id) DO NOTHING");
    statement.execute(&mut **transaction).await
}
