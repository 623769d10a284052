//! Random logs, and what [`Timeline`] and [`ConversationList`] show of them after each entry.

use prost::Message as _;
use serde_json::{Value, json};

use super::{
    recorder::{name, to_hex},
    *,
};
use crate::{
    client::{ConversationList, ListedConversation, ReceivedMessage},
    timeline::{ShownMessage, Timeline},
};

const EMOJIS: [&str; 3] = ["👍", "👍\u{fe0f}", "🎉"];
const USERS: [&str; 4] = ["alice", "bob", "carol", ""];

/// The device of alice: it receives entries, and shows them in its models.
pub(super) struct Views {
    rng: StdRng,
    /// Parses pages.
    core: Core<u32>,
    timeline: Timeline,
    list: ConversationList,
    shown: Value,
    /// The ends of the inbox and of the channel.
    ends: [u64; 2],
    /// The messages so far, with their channel.
    messages: Vec<(u64, String)>,
    version: u64,
    steps: Vec<String>,
}

impl Views {
    pub(super) fn new(seed: u64) -> Self {
        let alice = UserId::parse("alice").unwrap();
        Self {
            rng: StdRng::seed_from_u64(seed),
            core: Harness::new().core,
            timeline: Timeline::new(alice.clone()),
            list: ConversationList::new(alice),
            shown: Value::Null,
            ends: [0; 2],
            messages: Vec::new(),
            version: 0,
            steps: Vec::new(),
        }
    }

    /// Returns the recorded steps.
    pub(super) fn run(mut self, steps: u32) -> Vec<String> {
        for _ in 0..steps {
            match self.rng.random_range(0..20_u32) {
                0..15 => self.push(),
                15..18 => self.set_state(),
                18 => self.load(),
                _ => self.reset(),
            }
        }
        self.steps
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn user(&mut self) -> String {
        USERS[self.rng.random_range(0..USERS.len())].to_owned()
    }

    /// Takes the next entry of a log. A device gets every entry once and in order; a page of history may repeat one.
    fn push(&mut self) {
        let in_channel = self.chance(40);
        let log = usize::from(in_channel);
        self.ends[log] += 1;
        let (from, channel) = (self.user(), if in_channel { "team" } else { "" }.to_owned());
        // Clocks of back ends differ.
        let id = (self.ends[0] + self.ends[1]) * 10 + self.rng.random_range(0..40);
        let content = self.content(id, &channel);
        let to = if in_channel {
            ""
        } else if from == "alice" {
            "bob"
        } else {
            "alice"
        }
        .to_owned();
        let message = pb::Message { id, from, to, content: Some(content), ..Default::default() };
        let push = pb::Push { channel, seq: self.ends[log], message: Some(message) };
        let received = self.received(push.clone());
        let told = self.timeline.apply(&received);
        self.list.apply(&Event::Message(received));
        let mut step = json!({ "push": to_hex(&push.encode_to_vec()) });
        step["told"] = json!(told.map(|id| id.as_u64().to_string()));
        step["look"] = told.and_then(|id| self.timeline.get(id)).map_or(Value::Null, look);
        self.record(step);
    }

    fn received(&self, push: pb::Push) -> ReceivedMessage {
        self.core.entry(push).unwrap().unwrap()
    }

    fn content(&mut self, id: u64, channel: &str) -> pb::Content {
        use pb::content::Body;
        let targets: Vec<u64> =
            self.messages.iter().filter(|(_, of)| of == channel).map(|(id, _)| *id).collect();
        let target = match targets.len() {
            0 => None,
            count => Some(targets[self.rng.random_range(0..count)]),
        };
        if let Some(target) = target.filter(|_| self.chance(50)) {
            let what = self.change(id);
            let change = pb::Change {
                message_id: target,
                what: Some(what),
                channel: channel.to_owned(),
                order: self.rng.random_range(0..3),
                ..Default::default()
            };
            return pb::Content { body: Some(Body::Change(Box::new(change))), ..Default::default() };
        }
        self.messages.push((id, channel.to_owned()));
        let body = match self.chance(10) {
            true => Body::Notice(Box::new(pb::Notice { kind: "n".to_owned(), ..Default::default() })),
            false => Body::Text(pb::Text { text: format!("said {id}") }),
        };
        let mentions = self
            .chance(20)
            .then(|| Box::new(pb::Mentions { users: vec!["alice".to_owned()], everybody: self.chance(20) }));
        let quote = target.filter(|_| self.chance(30)).map(|message_id| {
            let (excerpt, kind) = ("quoted".to_owned(), "text".to_owned());
            Box::new(pb::Quote { message_id, excerpt, kind, ..Default::default() })
        });
        let amended = self.chance(5).then(|| {
            let (recalled, order) = (self.chance(50), self.rng.random_range(0..3));
            Box::new(pb::Amended { change: id + 1000, recalled, by: "bob".to_owned(), order })
        });
        pb::Content {
            body: Some(body),
            mentions,
            quote,
            amended,
            silent: self.chance(10),
            ..Default::default()
        }
    }

    fn change(&mut self, id: u64) -> pb::change::What {
        use pb::change::What;
        let removed = self.chance(40);
        match self.rng.random_range(0..10_u32) {
            0 => What::Recall(pb::Recall {}),
            1 => What::DeleteForMe(pb::DeleteForMe {}),
            2..5 => What::Edit(Box::new(pb::Content {
                body: Some(pb::content::Body::Text(pb::Text { text: format!("edited by {id}") })),
                ..Default::default()
            })),
            5..8 => {
                let emoji = EMOJIS[self.rng.random_range(0..EMOJIS.len())].to_owned();
                What::Reaction(pb::Reaction { emoji, removed })
            }
            _ => What::Pin(pb::Pin { removed }),
        }
    }

    fn state(&mut self, channel: bool) -> pb::ConversationState {
        self.version += 1;
        let end = self.ends[usize::from(channel)];
        let upto = |rng: &mut StdRng| rng.random_range(0..=end);
        let user = if self.chance(70) { "bob" } else { "carol" };
        pb::ConversationState {
            user: if channel { "" } else { user }.to_owned(),
            channel: if channel { "team" } else { "" }.to_owned(),
            version: if self.chance(10) { 1 } else { self.version },
            read: upto(&mut self.rng),
            pinned: self.chance(30),
            muted: self.chance(20),
            muted_until_ms: if self.chance(10) { 5000 } else { 0 },
            draft: if self.chance(20) { "draft" } else { "" }.to_owned(),
            hidden: if self.chance(10) { upto(&mut self.rng) } else { 0 },
            deleted: if self.chance(10) { upto(&mut self.rng) } else { 0 },
            closed: (channel && self.chance(5)).then_some(end),
            marked_unread: self.chance(10),
            mentions_only: self.chance(10),
            ..Default::default()
        }
    }

    fn set_state(&mut self) {
        let channel = self.chance(40);
        let state = self.state(channel);
        let step = json!({ "state": to_hex(&state.encode_to_vec()) });
        let states = self.core.states(vec![state]);
        self.list.apply(&Event::ConversationsChanged(states));
        self.record(step);
    }

    /// Loads a page, whose contents need not agree with the logs.
    fn load(&mut self) {
        let mut conversations = Vec::new();
        for channel in [false, true] {
            let end = self.ends[usize::from(channel)];
            if end == 0 || self.chance(20) {
                continue;
            }
            let state = pb::ConversationState { read: end / 2, ..self.state(channel) };
            let id = end * 10;
            let message = pb::Message {
                id,
                from: "bob".to_owned(),
                to: if channel { "" } else { "alice" }.to_owned(),
                content: Some(pb::Content {
                    body: Some(pb::content::Body::Text(pb::Text { text: "listed".to_owned() })),
                    ..Default::default()
                }),
                ..Default::default()
            };
            let last = pb::Push { channel: state.channel.clone(), seq: end, message: Some(message) };
            let unread_seqs: Vec<u64> = (end / 2 + 1..=end).rev().take(5).collect();
            let unread_seqs: Vec<u64> = unread_seqs.into_iter().rev().collect();
            conversations.push(pb::Conversation {
                state: Some(state),
                last: Some(last),
                end,
                unread: (end - end / 2) as u32,
                unread_more: self.chance(10),
                unread_ids: unread_seqs.iter().map(|seq| seq * 10).collect(),
                mention_seqs: unread_seqs.first().copied().into_iter().collect(),
                unread_seqs,
                last_edit: if self.chance(10) { id + 1 } else { 0 },
                mentions: 1,
                ..Default::default()
            });
        }
        let page = pb::Conversations {
            version: self.version,
            conversations,
            inbox_end: self.ends[0],
            ..Default::default()
        };
        let step = json!({ "page": to_hex(&page.encode_to_vec()) });
        let page = self.core.conversation_page(page);
        self.list.begin_loading();
        self.list.load(page);
        self.record(step);
    }

    fn reset(&mut self) {
        let reason = [ResetReason::Trimmed, ResetReason::Left][self.rng.random_range(0..2)];
        let left = reason == ResetReason::Left;
        let seq = if left { 0 } else { self.ends[1] + 1 };
        self.ends[1] = if left { 0 } else { seq };
        let log = Log::parse("team").unwrap();
        let event = Event::Reset { position: Position { log, seq, id: None }, reason };
        self.list.apply(&event);
        self.record(json!({ "reset": reason.as_str(), "seq": seq }));
    }

    fn record(&mut self, mut step: Value) {
        let unread = self.list.unread_at(1000);
        let shown = json!({
            "list": self.list.conversations().iter().map(listed).collect::<Vec<_>>(),
            "unread": [unread.count, unread.more],
            "needs_loading": self.list.needs_loading(),
        });
        if shown != self.shown {
            step["shown"] = shown.clone();
            self.shown = shown;
        }
        self.steps.push(step.to_string());
    }
}

fn look(message: &ShownMessage) -> Value {
    let content =
        message.content().map(|content| to_hex(&pb::Content::from(content.clone()).encode_to_vec()));
    let recalled = message.recalled().map(|recalled| {
        json!([recalled.change.as_u64().to_string(), recalled.by.as_ref().map(UserId::as_str)])
    });
    let reactions = message.reactions().into_iter().map(|reaction| {
        let users: Vec<_> = reaction.users.iter().map(|user| user.map(UserId::as_str)).collect();
        json!([reaction.emoji, users])
    });
    json!([
        message.from().map(UserId::as_str),
        content,
        message.is_edited(),
        message.is_pinned(),
        message.is_deleted(),
        recalled,
        reactions.collect::<Vec<_>>(),
    ])
}

fn listed(listed: &ListedConversation) -> Value {
    let says = |last: &ReceivedMessage| to_hex(&pb::Content::from(last.content.clone()).encode_to_vec());
    json!([
        name(&listed.state.conversation),
        listed.state.version,
        listed.last.as_ref().map(|last| last.id.as_u64().to_string()),
        listed.last.as_ref().map(says),
        listed.last_recalled.as_ref().map(|recalled| recalled.change.as_u64().to_string()),
        listed.unread,
        listed.unread_more,
        listed.mentions,
    ])
}
