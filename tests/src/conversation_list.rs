//! Devices that keep a list of conversations.

use im_sdk::{
    Recipient,
    backend::{Im, Message, channel, user},
    client::{ConversationList, ConversationPage, Event, ListedConversation, Position},
    id::UserId,
};
use tokio::time::timeout;

use crate::{Stack, TestClient, Via, channels::group, stack::PATIENCE};

/// Parses a user id.
pub fn id(name: &str) -> UserId {
    UserId::parse(name).expect("a user")
}

/// Returns the conversation with a user.
pub fn peer(name: &str) -> Recipient {
    id(name).into()
}

/// Returns the conversation in the channel `team`.
pub fn team() -> Recipient {
    group("team").into()
}

/// Sends a text. An empty `from` sends as the back end itself.
pub async fn say(im: &Im, from: &str, to: &str, text: &str) {
    let message = Message::to(user(to)).text(text);
    let message = if from.is_empty() { message } else { message.from(from) };
    im.send(message).await.expect("the message is sent");
}

/// Sends a text to the channel `team`.
pub async fn say_to_team(im: &Im, from: &str, text: &str) {
    im.send(Message::to(channel("team")).from(from).text(text)).await.expect("the message is sent");
}

/// Waits for a message with this text and returns its position.
pub async fn position(client: &mut TestClient, text: &str) -> Position {
    client
        .next(text, |event| match event {
            Event::Message(message) if message.content.as_text() == Some(text) => message.position.clone(),
            _ => None,
        })
        .await
}

/// Returns the name, the last text and the unread count of each conversation.
pub fn shown(conversations: &[ListedConversation]) -> Vec<(String, String, u32)> {
    let shown = conversations.iter().map(|listed| {
        let last = listed.last.as_ref().and_then(|last| last.content.as_text()).unwrap_or_default();
        (listed.state.conversation.to_string(), last.to_owned(), listed.unread)
    });
    shown.collect()
}

/// Returns a row as [`shown`] returns it.
pub fn row(name: &str, last: &str, unread: u32) -> (String, String, u32) {
    (name.to_owned(), last.to_owned(), unread)
}

/// Requests the whole list from the back end.
pub async fn whole(client: &TestClient) -> ConversationPage {
    client.client().conversations(0, 0).await.expect("the list is answered")
}

/// A device that keeps a list of conversations.
#[derive(Debug)]
pub struct Device {
    /// Its client.
    pub client: TestClient,
    /// The list that it keeps.
    pub list: ConversationList,
}

impl Device {
    /// Connects a device with an empty list.
    pub async fn connect(stack: &Stack, name: &str, device: &str, via: Via) -> Self {
        let client = stack.connect(name, device, 0, via).await;
        Self { client, list: ConversationList::new(id(name)) }
    }

    /// Applies events until the list is as wanted, and loads the list whenever it asks for that. Returns the number of
    /// loads.
    ///
    /// # Panics
    /// Panics if the list does not become as wanted.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&ConversationList) -> bool) -> u32 {
        let mut loads = 0;
        let looking = async {
            loop {
                if self.list.needs_loading() {
                    self.list.begin_loading();
                    self.list.load(whole(&self.client).await);
                    loads += 1;
                }
                if wanted(&self.list) {
                    return;
                }
                for event in self.client.client().next_events(100).await {
                    self.list.apply(&event);
                }
            }
        };
        if timeout(PATIENCE, looking).await.is_err() {
            panic!("timed out waiting for: {what}; the list is {:?}", shown(&self.list.conversations()));
        }
        loads
    }
}
