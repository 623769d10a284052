//! A device with a timeline of what it shows.

use im_sdk::{
    Conversation, HistoryRange,
    client::{Event, MessageRef, PublishError, ReceivedMessage, RefusalKind},
    content::ChangeKind,
    id::{MessageId, UserId},
    timeline::{ShownMessage, Timeline},
};

use crate::{Stack, TestClient, Via};

/// A client, and a timeline of the messages that it has received.
#[derive(Debug)]
pub struct TimelineDevice {
    /// The user of the device.
    pub me: UserId,
    /// The client.
    pub device: TestClient,
    /// The messages that the device shows.
    pub timeline: Timeline,
    /// All messages received, including changes.
    pub received: Vec<ReceivedMessage>,
}

impl TimelineDevice {
    /// Connects a device and waits until it is up to date.
    pub async fn connect(stack: &Stack, user: &str, device: &str, server: usize, via: Via) -> Self {
        let mut client = stack.connect(user, device, server, via).await;
        client.up_to_date().await;
        let me = UserId::parse(user).expect("a user");
        let timeline = Timeline::new(me.clone());
        Self { me, device: client, timeline, received: Vec::new() }
    }

    /// Applies events until the timeline shows `wanted`, in the form of [`shown`].
    pub async fn shows(&mut self, wanted: &[&str]) {
        let Self { device, timeline, received, me } = self;
        if shown(timeline) == wanted {
            return;
        }
        let mut last = Vec::new();
        let what = format!("{me} shows {wanted:?}");
        let looking = device.next(&what, |event| {
            if let Event::Message(message) = event {
                timeline.apply(message);
                received.push(message.clone());
            }
            last = shown(timeline);
            (last == wanted).then_some(())
        });
        looking.await;
    }

    /// Waits for the message with this text and returns a reference to it.
    pub async fn reference(&mut self, text: &str) -> MessageRef {
        let is_it = |message: &&ReceivedMessage| message.content.as_text() == Some(text);
        while self.received.iter().find(is_it).is_none() {
            let message = self.device.message().await;
            self.timeline.apply(&message);
            self.received.push(message);
        }
        let message = self.received.iter().find(is_it).expect("it has come");
        message.reference(&self.me).expect("it is in a log")
    }

    /// Changes a message and waits for the result.
    ///
    /// # Errors
    /// Returns the kind of refusal and the reason.
    pub async fn change(
        &self,
        message: &MessageRef,
        kind: ChangeKind,
    ) -> Result<MessageId, (RefusalKind, String)> {
        let publish = self.device.client().send(message.conversation.clone(), message.change(kind)).outcome();
        match publish.await {
            Ok(published) => Ok(published.message_id.expect("a change is a message")),
            Err(PublishError::Refused { kind, reason, .. }) => Err((kind, reason)),
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Reads the whole history of a conversation backwards, a few entries at a time.
    pub async fn scroll(&mut self, conversation: &Conversation) {
        let mut range = HistoryRange::Newest;
        loop {
            let page = self.device.client().history(conversation.clone(), range, 3).await.expect("a page");
            for message in page.messages.iter().chain(&page.changes).rev() {
                self.timeline.apply(message);
            }
            let Some(next) = page.next else { return };
            range = next;
        }
    }
}

/// Renders a timeline as one line per message: `hi`, `hi (edited) 🎉alice,bob (pinned)`, `(recalled by alice)`.
pub fn shown(timeline: &Timeline) -> Vec<String> {
    let name = |user: Option<&UserId>| user.map_or("the back end", UserId::as_str).to_owned();
    let line = |message: &ShownMessage| {
        if let Some(recalled) = message.recalled() {
            return format!("(recalled by {})", name(recalled.by.as_ref()));
        }
        let mut line =
            message.content().and_then(|content| content.as_text()).unwrap_or("(a picture)").to_owned();
        if message.is_edited() {
            line.push_str(" (edited)");
        }
        for reaction in message.reactions() {
            let users: Vec<String> = reaction.users.into_iter().map(name).collect();
            line.push_str(&format!(" {}{}", reaction.emoji, users.join(",")));
        }
        if message.is_pinned() {
            line.push_str(" (pinned)");
        }
        line
    };
    timeline.messages().filter(|message| !message.is_deleted()).map(line).collect()
}
