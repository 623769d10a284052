//! What tests of lists of conversations share.

use im_sdk::{
    Recipient,
    backend::{Im, Message, channel, user},
    client::{ConversationList, ConversationPage, Event, ListedConversation, Position},
    id::UserId,
};
use tokio::time::timeout;

use crate::{Stack, TestClient, Via, group::group, stack::PATIENCE};

/// A user.
pub fn id(name: &str) -> UserId {
    UserId::parse(name).expect("a user")
}

/// The conversation with a user.
pub fn peer(name: &str) -> Recipient {
    id(name).into()
}

/// The conversation in the team.
pub fn team() -> Recipient {
    group("team").into()
}

/// Sends a text; from nobody: as the back end itself.
pub async fn say(im: &Im, from: &str, to: &str, text: &str) {
    let message = Message::to(user(to)).text(text);
    let message = if from.is_empty() { message } else { message.from(from) };
    im.send(message).await.expect("it works");
}

/// Sends a text to the team.
pub async fn say_to_team(im: &Im, from: &str, text: &str) {
    im.send(Message::to(channel("team")).from(from).text(text)).await.expect("it works");
}

/// The position of a message with this text.
pub async fn position(client: &mut TestClient, text: &str) -> Position {
    client
        .next(text, |event| match event {
            Event::Message(message) if message.content.as_text() == Some(text) => message.position.clone(),
            _ => None,
        })
        .await
}

/// Name, last text and unread count of each.
pub fn shown(conversations: &[ListedConversation]) -> Vec<(String, String, u32)> {
    let shown = conversations.iter().map(|listed| {
        let last = listed.last.as_ref().and_then(|last| last.content.as_text()).unwrap_or_default();
        (listed.state.conversation.to_string(), last.to_owned(), listed.unread)
    });
    shown.collect()
}

/// What is to be shown of one.
pub fn row(name: &str, last: &str, unread: u32) -> (String, String, u32) {
    (name.to_owned(), last.to_owned(), unread)
}

/// The whole list, from the back end.
pub async fn whole(client: &TestClient) -> ConversationPage {
    client.client().conversations(0, 0).await.expect("it works")
}

/// A device with a list that it keeps.
#[derive(Debug)]
pub struct Device {
    /// Its client.
    pub client: TestClient,
    /// Its list.
    pub list: ConversationList,
}

impl Device {
    /// One that has an empty list.
    pub async fn connect(stack: &Stack, name: &str, device: &str, via: Via) -> Self {
        let client = stack.connect(name, device, 0, via).await;
        Self { client, list: ConversationList::new(id(name)) }
    }

    /// Takes events until the list is as wanted; loads it when it says that it has to be. Returns how often.
    ///
    /// # Panics
    /// When it does not come to that.
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
            panic!("waited in vain: {what}; there is {:?}", shown(&self.list.conversations()));
        }
        loads
    }
}
