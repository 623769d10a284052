//! A device in a test: a client, and everything that it has told so far.

use im_sdk::{
    Content,
    client::{Client, CloseCode, Event, PublishError, Published, ReceivedMessage},
    id::UserId,
};
use tokio::time::timeout;

use crate::stack::PATIENCE;

/// A device in a test.
#[derive(Debug)]
pub struct TestClient {
    client: Client,
    /// Events that came and were not asked for yet.
    waiting: Vec<Event>,
}

impl TestClient {
    /// Around a client that was opened.
    pub fn new(client: Client) -> Self {
        Self { client, waiting: Vec::new() }
    }

    /// The client itself.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The client itself, without the events that came before.
    pub fn into_client(self) -> Client {
        self.client
    }

    /// Waits for the first event that `wanted` makes something of, and drops those before it.
    ///
    /// # Panics
    /// When none comes within [`PATIENCE`].
    pub async fn next<T>(&mut self, what: &str, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        let looking = async {
            loop {
                while !self.waiting.is_empty() {
                    if let Some(found) = wanted(&self.waiting.remove(0)) {
                        return found;
                    }
                }
                self.waiting = self.client.next_events(100).await;
                assert!(!self.waiting.is_empty(), "the client is closed; waited for {what}");
            }
        };
        timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain: {what}"))
    }

    /// Waits until it is connected; tells to which endpoint.
    pub async fn connected(&mut self) -> String {
        self.next("connected", |event| match event {
            Event::Connected { endpoint, .. } => Some(endpoint.to_string().trim_end_matches('/').to_owned()),
            Event::Stopped { code, reason, .. } => panic!("stopped instead of connected: {code:?} {reason}"),
            _ => None,
        })
        .await
    }

    /// Waits until it has everything that was there when it connected. Before that, a new device's place in its logs is
    /// not settled.
    pub async fn up_to_date(&mut self) {
        self.next("up to date", |event| matches!(event, Event::UpToDate).then_some(())).await;
    }

    /// The next message.
    pub async fn message(&mut self) -> ReceivedMessage {
        self.next("a message", |event| match event {
            Event::Message(message) => Some(message.clone()),
            _ => None,
        })
        .await
    }

    /// The text of the next message.
    pub async fn text(&mut self) -> String {
        self.message().await.content.as_text().expect("a text").to_owned()
    }

    /// Waits until the client stays away, and tells why.
    pub async fn stopped(&mut self) -> (Option<CloseCode>, String) {
        self.next("stopped", |event| match event {
            Event::Stopped { code, reason, .. } => Some((*code, reason.clone())),
            _ => None,
        })
        .await
    }

    /// Publishes a text.
    ///
    /// # Errors
    /// What the client says.
    pub async fn publish(&self, to: &str, text: &str) -> Result<Published, PublishError> {
        self.client.publish(UserId::parse(to).expect("a user"), Content::text(text)).await
    }
}
