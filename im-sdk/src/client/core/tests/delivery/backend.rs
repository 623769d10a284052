//! Back ends and Redis, as a device sees them.

use super::*;

/// An installation, and a conversation.
type PublishKey = (u64, (String, String));

/// The state of the back ends and Redis.
pub(super) struct Backend {
    pub(super) logs: BTreeMap<&'static str, BackendLog>,
    /// The logs that the user is not a member of.
    pub(super) left: BTreeSet<&'static str>,
    pub(super) next_id: u64,
    /// The last number of each installation and conversation, with its text and its result.
    pub(super) results: BTreeMap<PublishKey, (u64, u32, u64)>,
    /// The ids of messages by their origins and texts.
    pub(super) origins: BTreeMap<(u64, u32), u64>,
    /// Set once the device's store was restored: numbers may turn out to be used.
    pub(super) was_restored: bool,
    /// Set if a message whose number was used is looked up.
    pub(super) looks_up: bool,
    /// The number of publishes of each text.
    pub(super) tries: BTreeMap<u32, u32>,
    /// The publishes that had an effect, by conversation.
    pub(super) effects: BTreeMap<(String, String), Vec<u32>>,
}

#[derive(Default)]
pub(super) struct BackendLog {
    /// The ids of messages by seq. The oldest messages are trimmed.
    pub(super) entries: BTreeMap<u64, u64>,
    pub(super) last: u64,
}

impl BackendLog {
    pub(super) fn id_at(&self, seq: u64) -> u64 {
        self.entries.get(&seq).copied().unwrap_or_default()
    }

    pub(super) fn first(&self) -> u64 {
        self.entries.first_key_value().map_or(self.last + 1, |(seq, _)| *seq)
    }
}

impl Backend {
    pub(super) fn new() -> Self {
        let logs = CHANNELS.into_iter().map(|name| (name, BackendLog::default())).collect();
        Self {
            logs,
            left: BTreeSet::new(),
            next_id: 1,
            results: BTreeMap::new(),
            origins: BTreeMap::new(),
            was_restored: false,
            looks_up: false,
            tries: BTreeMap::new(),
            effects: BTreeMap::new(),
        }
    }

    pub(super) fn append(&mut self, channel: &'static str) -> pb::frame::Body {
        let id = self.next_id;
        self.next_id += 1;
        let log = self.logs.get_mut(channel).unwrap();
        log.last += 1;
        log.entries.insert(log.last, id);
        frame_of(channel, log.last, id)
    }

    pub(super) fn trim(&mut self, channel: &str, keep: usize) {
        let log = self.logs.get_mut(channel).unwrap();
        while log.entries.len() > keep {
            log.entries.pop_first();
        }
    }

    /// Drops the newest entries, as a failover does.
    pub(super) fn roll_back(&mut self, channel: &str, by: u64) {
        let log = self.logs.get_mut(channel).unwrap();
        log.last = log.last.saturating_sub(by).max(log.first().saturating_sub(1));
        log.entries.retain(|seq, _| *seq <= log.last);
    }

    /// Returns the answer to a sync, with at most `page` entries of each log.
    pub(super) fn sync(&self, cursors: &[pb::Cursor], page: usize) -> Vec<pb::frame::Body> {
        let strange = cursors.iter().filter(|cursor| self.left.contains(&*cursor.channel));
        let mut frames: Vec<_> = strange.map(|cursor| left(&cursor.channel)).collect();
        let followed = || self.logs.iter().filter(|(channel, _)| !self.left.contains(*channel));
        for (channel, log) in followed() {
            let cursor = cursors.iter().find(|cursor| cursor.channel == *channel);
            let from = self.start(channel, log, cursor, &mut frames);
            let entries = log.entries.range(from + 1..).take(page);
            frames.extend(entries.map(|(seq, id)| frame_of(channel, *seq, *id)));
        }
        let ends: Vec<_> =
            followed().map(|(channel, log)| cursor(channel, log.last, log.id_at(log.last))).collect();
        frames.push(sync_done(&ends));
        frames
    }

    pub(super) fn start(
        &self,
        channel: &str,
        log: &BackendLog,
        known: Option<&pb::Cursor>,
        frames: &mut Vec<pb::frame::Body>,
    ) -> u64 {
        let (seq, reason) = match known {
            None => (log.last, pb::ResetReason::New),
            Some(known) if known.seq + 1 < log.first() => (log.first() - 1, pb::ResetReason::Trimmed),
            Some(known) if known.seq > log.last || is_other(log, known) => {
                (log.first() - 1, pb::ResetReason::Forked)
            }
            Some(known) => return known.seq,
        };
        let cursor = Some(cursor(channel, seq, log.id_at(seq)));
        frames.push(pb::frame::Body::Reset(pb::Reset { cursor, reason: reason.into() }));
        seq
    }

    pub(super) fn publish(&mut self, publish: &pb::Publish) -> pb::frame::Body {
        let text = Content::from(publish.content.clone()).as_text().unwrap().parse().unwrap();
        *self.tries.entry(text).or_default() += 1;
        let last = self.results.get(&(publish.installation, conversation(publish))).copied();
        let id = match last {
            Some((number, said, id)) if (number, said) == (publish.number, text) => Some(id),
            Some((number, ..)) if number >= publish.number => {
                assert!(self.was_restored, "numbers of a conversation rise");
                self.origins.get(&(publish.origin, text)).copied().filter(|_| self.looks_up)
            }
            _ => Some(self.take(publish, text)),
        };
        let Some(id) = id else { return refused(publish.number, pb::RefusalKind::NumberUsed, 0) };
        let outcome = pb::Accepted { message_id: id, answer: Bytes::new() };
        let outcome = Some(pb::publish_result::Outcome::Accepted(outcome));
        pb::frame::Body::PublishResult(pb::PublishResult { number: publish.number, outcome })
    }

    pub(super) fn take(&mut self, publish: &pb::Publish, text: u32) -> u64 {
        self.next_id += 1;
        let of = (publish.installation, conversation(publish));
        self.results.insert(of, (publish.number, text, self.next_id));
        self.origins.insert((publish.origin, text), self.next_id);
        self.effects.entry(conversation(publish)).or_default().push(text);
        self.next_id
    }
}

pub(super) fn conversation(publish: &pb::Publish) -> (String, String) {
    (publish.to.clone(), publish.channel.clone())
}

pub(super) fn left(channel: &str) -> pb::frame::Body {
    let (cursor, reason) = (Some(cursor(channel, 0, 0)), pb::ResetReason::Left.into());
    pb::frame::Body::Reset(pb::Reset { cursor, reason })
}

pub(super) fn is_other(log: &BackendLog, known: &pb::Cursor) -> bool {
    let id = log.id_at(known.seq);
    id != 0 && known.id != 0 && id != known.id
}

pub(super) fn frame_of(channel: &str, seq: u64, id: u64) -> pb::frame::Body {
    let pb::frame::Body::Push(push) = push(id, "bob") else { panic!("no push") };
    pb::frame::Body::Push(pb::Push { channel: channel.to_owned(), seq, ..push })
}
