//! Carries out recalls and edits: what a message said before is removed from the logs and the message
//! store.
//!
//! ```text
//!  a change is appended --> pushed --> the message's entry is replaced in each log that has it
//!                                 --> edits that no longer count lose their content
//!                                 --> quotes of the message say what it says now
//!                                 --> the same in the message store
//!                                 --> Ok
//! ```
//!
//! The change is appended first. A backend that fails afterwards, or dies, leaves a change in the logs
//! that a retry finds and finishes.
//!
//! Two backends may carry out two changes of one message at once. Each change is appended before it is
//! carried out, and each backend reads, after its own replacing, what was appended. The last one to
//! replace therefore sees all changes, and leaves the content that counts.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use prost::Message as _;

use tokio::sync::Semaphore;

use crate::{
    Kind,
    backend::{
        lookup::MessageLookup,
        message_store::{AmendedPart, Amendment, MessageStoreError, RawEntry, StoredEntry},
        tasks::Tasks,
    },
    cluster::{ConversationsError, Entry, LogError, LogId, LogStore, ReadLimit},
    id::MessageId,
    proto::{
        pb,
        pb::{change::What, content::Body},
    },
};

/// The number of logs in which a change is carried out at once.
const LOGS_AT_ONCE: usize = 8;

/// The entries, and their bytes, in which quotes and edits of a message are looked for behind it.
/// Most recalls come within minutes; a quote far behind its message keeps its excerpt.
const MAX_ENTRIES: usize = 4096;
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// The number of changes that are finished in the background at once.
const MAX_FINISHING: usize = 4;

/// The limit of one read.
const PAGE: ReadLimit = ReadLimit::new(256);

/// The number of attempts to replace an entry that others change at the same time.
const TRIES: usize = 8;

/// A change is in its logs, but was not carried out everywhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AmendError {
    /// The log store failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The message store failed.
    #[error(transparent)]
    Store(#[from] MessageStoreError),
    /// The store of conversations, which notes what users have deleted for themselves, failed.
    #[error(transparent)]
    Conversations(#[from] ConversationsError),
}

/// Carries out changes in the logs and in the message store.
#[derive(Debug)]
pub(super) struct Amender {
    lookup: Arc<MessageLookup>,
    /// Limits the changes of others that are finished at once.
    finishing: Arc<Semaphore>,
    tasks: Arc<Tasks>,
}

impl Amender {
    pub(super) fn new(lookup: Arc<MessageLookup>, tasks: Arc<Tasks>) -> Self {
        Self { lookup, finishing: Arc::new(Semaphore::new(MAX_FINISHING)), tasks }
    }

    /// Carries out a change that is in these logs. `seq` is the message's seq in the first log; 0 means
    /// unknown.
    pub(super) async fn amend(
        &self,
        amendment: Amendment,
        seq: u64,
        logs: &[LogId],
    ) -> Result<(), AmendError> {
        let mut in_logs = Vec::with_capacity(logs.len());
        for (index, log) in logs.iter().enumerate() {
            let seq = if index == 0 { seq } else { 0 };
            in_logs.push(self.amend_log(log, amendment.message_id(), seq, Some(&amendment)));
        }
        let found: Vec<Vec<Amendment>> =
            stream::iter(in_logs).buffer_unordered(LOGS_AT_ONCE).try_collect().await?;
        let mut in_store = vec![amendment];
        for found in found.into_iter().flatten() {
            if !in_store.contains(&found) {
                in_store.push(found);
            }
        }
        self.amend_store(&in_store).await
    }

    /// Replaces quotes of a message that was changed while it was quoted.
    pub(super) async fn amend_quotes(
        &self,
        message: MessageId,
        seq: u64,
        logs: &[LogId],
    ) -> Result<(), AmendError> {
        for (index, log) in logs.iter().enumerate() {
            let found = self.amend_log(log, message, if index == 0 { seq } else { 0 }, None).await?;
            self.amend_store(&found).await?;
        }
        Ok(())
    }

    /// Finishes changes that a backend which died has not carried out, if the change and its message
    /// are both on this page. The page is corrected at once, the log and the message store in the
    /// background.
    pub(super) fn finish_in<E: PageEntry>(self: &Arc<Self>, log: &LogId, page: &mut [E]) {
        let mut changes = Vec::new();
        for entry in &mut *page {
            let (_, _, message) = entry.parts();
            if Kind::of_message(message) == Some(Kind::Change) {
                changes.extend(Amendment::of(message));
            }
        }
        if changes.is_empty() {
            return;
        }
        let indices: HashMap<MessageId, usize> =
            page.iter_mut().enumerate().map(|(index, entry)| (entry.parts().1, index)).collect();
        for change in changes {
            let entry = indices.get(&change.message_id()).and_then(|index| page.get_mut(*index));
            let Some((seq, _, message)) = entry.map(PageEntry::parts) else { continue };
            let Some(amended) = change.apply(message) else { continue };
            *message = amended;
            self.finish_beside(log.clone(), seq, change);
        }
    }

    /// Finishes one change in the background. If that fails, or too many are being finished already,
    /// the next reader of the page tries again.
    fn finish_beside(self: &Arc<Self>, log: LogId, seq: u64, change: Amendment) {
        let Ok(permit) = Arc::clone(&self.finishing).try_acquire_owned() else { return };
        let amender = Arc::clone(self);
        self.tasks.spawn(async move {
            let _permit = permit;
            let finished = async {
                let found = amender.amend_log(&log, change.message_id(), seq, Some(&change)).await?;
                amender.amend_store(&[change]).await?;
                amender.amend_store(&found).await
            };
            if let Err(error) = finished.await {
                tracing::debug!(%log, %error, "cannot finish a change that another backend left undone");
            }
        });
    }

    async fn amend_store(&self, amendments: &[Amendment]) -> Result<(), AmendError> {
        let Some(store) = self.lookup.store() else { return Ok(()) };
        match store.amend(amendments).await {
            Err(error @ MessageStoreError::Unsupported { .. }) => {
                // The application erases from such a store by other means, or not at all.
                tracing::debug!(%error, "the message store cannot amend entries: a changed message keeps its former content");
                Ok(())
            }
            other => Ok(other?),
        }
    }

    /// Carries out a change in one log. Returns the amendments that are left to do in the message store.
    async fn amend_log(
        &self,
        log: &LogId,
        message: MessageId,
        seq: u64,
        amendment: Option<&Amendment>,
    ) -> Result<Vec<Amendment>, AmendError> {
        let store = &**self.lookup.log();
        let Some(seq) = self.seq_of_entry(log, message, seq).await? else {
            // The entry was trimmed or never logged here, so there is no content to remove.
            return Ok(Vec::new());
        };
        let Some(replaced) = replace(store, log, seq, message, amendment).await? else {
            return Ok(Vec::new());
        };
        let Replaced { from, before, counts: Some(counts) } = replaced else { return Ok(Vec::new()) };
        let behind = look_behind(store, log, seq, message).await?;
        let mut in_store = vec![counts.clone()];
        // The change itself, and the one that was carried out before, may be further on.
        let others = before.into_iter().chain(amendment.cloned()).map(|edit| (edit, 0));
        let edits = behind.edits.into_iter().chain(others);
        // A change that ranks higher was appended meanwhile. Its own backend carries it out, and all
        // others rank lower.
        for (edit, seq) in edits.filter(|(edit, _)| edit.rank() < counts.rank()) {
            let Some(outranked) = edit.outranked() else { continue };
            let id = outranked.message_id();
            if let Some(seq) = self.seq_of_entry(log, id, seq).await? {
                replace(store, log, seq, id, Some(&outranked)).await?;
            }
            in_store.push(outranked);
        }
        for (quoting, seq) in behind.quoting {
            let requote = counts.quoted_in(quoting, &from);
            replace(store, log, seq, quoting, Some(&requote)).await?;
            in_store.push(requote);
        }
        Ok(in_store)
    }

    /// Returns the seq of an entry, which is `seq` if that is right.
    async fn seq_of_entry(&self, log: &LogId, id: MessageId, seq: u64) -> Result<Option<u64>, LogError> {
        if seq > 0 && self.lookup.log().id_at(log, seq).await? == Some(id) {
            return Ok(Some(seq));
        }
        self.lookup.seq_in_log(log, id).await
    }
}

/// An entry of a page that is read: its seq, its id and its message.
pub(super) trait PageEntry {
    fn parts(&mut self) -> (u64, MessageId, &mut Bytes);
}

impl PageEntry for Entry {
    fn parts(&mut self) -> (u64, MessageId, &mut Bytes) {
        (self.seq, self.message_id, &mut self.payload)
    }
}

impl PageEntry for StoredEntry {
    fn parts(&mut self) -> (u64, MessageId, &mut Bytes) {
        (self.seq, self.message_id, &mut self.message)
    }
}

impl PageEntry for RawEntry {
    fn parts(&mut self) -> (u64, MessageId, &mut Bytes) {
        (self.seq, self.message_id, &mut self.message)
    }
}

/// The result of replacing an entry.
#[derive(Debug)]
struct Replaced {
    /// The sender of the entry.
    from: String,
    /// The change that had been carried out in it before.
    before: Option<Amendment>,
    /// The change that is carried out in it now.
    counts: Option<Amendment>,
}

/// Replaces the payload of an entry by the content that counts, of an amendment, the one carried
/// out before, and those appended meanwhile. Returns `None` if the entry is gone.
async fn replace(
    store: &dyn LogStore,
    log: &LogId,
    seq: u64,
    id: MessageId,
    amendment: Option<&Amendment>,
) -> Result<Option<Replaced>, LogError> {
    let mut wanted = amendment.cloned();
    let mut first = None;
    for _ in 0..TRIES {
        let Some(entry) = entry_at(store, log, seq, id).await? else { return Ok(None) };
        let message = pb::Message::decode(entry.payload.clone()).unwrap_or_default();
        let there = message.content.as_ref().and_then(|content| Amendment::carried_out(id, content));
        let before = first.get_or_insert_with(|| there.clone()).clone();
        let payload = wanted.as_ref().and_then(|wanted| wanted.apply(&entry.payload));
        let Some(payload) = payload else {
            return Ok(Some(Replaced { from: message.from, before, counts: there }));
        };
        if !store.replace(log, seq, id, payload).await? {
            return Ok(None);
        }
        // Another backend has replaced the entry meanwhile, and appended its change before that.
        // The one that counts of all is applied once more, and the entry is read again.
        let newest = store.read_back(log, None, PAGE).await?.entries;
        let appended = newest.iter().filter_map(|entry| Amendment::of(&entry.payload));
        let highest = appended.filter(|one| one.message_id() == id).max_by_key(Amendment::rank);
        let is_content = |one: &Amendment| one.part() == AmendedPart::Content;
        wanted = highest.into_iter().chain(wanted.filter(is_content)).max_by_key(Amendment::rank);
    }
    let source = Arc::new(std::io::Error::other("others change the same entry all the time"));
    Err(LogError::Unavailable { action: "replace an entry", source })
}

async fn entry_at(
    store: &dyn LogStore,
    log: &LogId,
    seq: u64,
    id: MessageId,
) -> Result<Option<Entry>, LogError> {
    let page = store.read(log, seq.saturating_sub(1), ReadLimit::new(1)).await?;
    Ok(page.entries.into_iter().find(|entry| entry.seq == seq && entry.message_id == id))
}

/// Entries behind a message that are about it, with their ids and seqs.
#[derive(Debug, Default)]
struct Behind {
    edits: Vec<(Amendment, u64)>,
    quoting: Vec<(MessageId, u64)>,
}

async fn look_behind(store: &dyn LogStore, log: &LogId, seq: u64, id: MessageId) -> Result<Behind, LogError> {
    let mut behind = Behind::default();
    let (mut after, mut entries, mut bytes) = (seq, 0, 0);
    while entries < MAX_ENTRIES && bytes < MAX_BYTES {
        let page = store.read(log, after, PAGE).await?;
        let Some(last) = page.entries.last().map(|entry| entry.seq) else { break };
        for entry in page.entries {
            entries += 1;
            bytes += entry.payload.len();
            let message = pb::Message::decode(entry.payload).unwrap_or_default();
            let Some(content) = &message.content else { continue };
            let amendment = Amendment::by_change(entry.message_id, &message.from, content);
            behind.edits.extend(amendment.filter(|one| one.message_id() == id).map(|one| (one, entry.seq)));
            if quotes(content, id) {
                behind.quoting.push((entry.message_id, entry.seq));
            }
        }
        after = last;
        if last >= page.last {
            break;
        }
    }
    Ok(behind)
}

fn quotes(content: &pb::Content, id: MessageId) -> bool {
    let content = match &content.body {
        Some(Body::Change(change)) => match &change.what {
            Some(What::Edit(content)) => content,
            _ => return false,
        },
        _ => content,
    };
    content.quote.as_ref().is_some_and(|quote| quote.message_id == id.as_u64())
}

#[cfg(test)]
mod tests;
