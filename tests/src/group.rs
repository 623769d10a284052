//! What tests of channels share.

use std::collections::BTreeSet;

use im_proto::pb;
use im_sdk::{
    backend::{Im, Incoming, Message, Receipt, Service, channel, user},
    client::{Event, ResetReason},
    cluster::{BusEvent, Publication, Subscription},
    id::{ChannelId, ServerId},
};
use prost::Message as _;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{Stack, TestClient, Via, stack::PATIENCE};

/// A channel.
pub fn group(name: &str) -> ChannelId {
    ChannelId::parse(name).expect("it works")
}

/// Accepts whatever devices publish.
pub async fn serve(im: &Im) -> Service {
    im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.expect("it works")
}

/// Sends a text to the members of a channel.
pub async fn text_to(im: &Im, name: &str, text: &str) -> Receipt {
    im.send(Message::to(channel(name)).from("somebody").text(text)).await.expect("it works")
}

/// A device that has everything.
pub async fn connect(stack: &Stack, user: &str, server: usize, via: Via) -> TestClient {
    let mut client = stack.connect(user, "web/tab", server, via).await;
    client.up_to_date().await;
    client
}

/// Waits for a reset of a channel, before any message.
pub async fn reset(client: &mut TestClient, name: &str, wanted: ResetReason) {
    let what = format!("{name}: {}", wanted.as_str());
    client
        .next(&what, |event| match event {
            Event::Reset { position, reason } => {
                (position.log.as_str() == name && *reason == wanted).then_some(())
            }
            Event::Message(message) => panic!("{what} expected before {message:?}"),
            _ => None,
        })
        .await;
}

/// The next message is this text, from this channel.
pub async fn expect(client: &mut TestClient, name: &str, text: &str) {
    let message = client.message().await;
    assert_eq!(message.content.as_text(), Some(text), "{message:?}");
    assert_eq!(message.channel.as_ref().map(ChannelId::as_str), Some(name));
}

/// Whatever comes before a message to the user itself.
pub async fn until_marked(im: &Im, client: &mut TestClient, user_name: &str) -> Vec<Event> {
    im.send(Message::to(user(user_name)).text("marker")).await.expect("it works");
    let mut before = Vec::new();
    client
        .next("the marker", |event| match event {
            Event::Message(message) if message.content.as_text() == Some("marker") => Some(()),
            other => {
                before.push(other.clone());
                None
            }
        })
        .await;
    before
}

/// As what a [`Tap`] publishes: no back end is called so.
const TAP: &str = "tap";

/// Hears what one server is told.
#[derive(Debug)]
pub struct Tap {
    /// Which server.
    pub server: ServerId,
    subscription: Subscription,
}

impl Tap {
    /// From here on: whatever is published after this returns is heard.
    pub async fn on(stack: &Stack, index: usize) -> Self {
        let server = stack.server_id(&stack.servers[index]).await;
        let (bus, subject) = (stack.cluster().bus(), stack.cluster().names().server(&server));
        let mut subscription = bus.subscribe(subject.clone()).await.expect("it works");
        // What others publish may overtake the subscription on its way to the bus. Once anything comes in, it is there.
        let nothing = pb::Envelope { publisher: TAP.to_owned(), ..pb::Envelope::default() };
        let publication = Publication { subject, return_to: None, payload: nothing.encode_to_vec().into() };
        bus.publish(publication).await.expect("it works");
        timeout(PATIENCE, subscription.next()).await.expect("it comes back").expect("the bus is open");
        Self { server, subscription }
    }

    /// The records for a channel, until there are as many.
    pub async fn records(&mut self, name: &str, count: usize) -> Vec<pb::Record> {
        let mut records = Vec::new();
        // One limit for all: publishers say something once a second, so that silence never lasts.
        let deadline = Instant::now() + PATIENCE;
        while records.len() < count {
            let event = timeout_at(deadline, self.subscription.next()).await;
            let event = event.unwrap_or_else(|_| panic!("{} of {count} records", records.len()));
            records.extend(channel_records(event.expect("it works"), name));
        }
        records
    }

    /// What else has come.
    pub fn rest(&mut self, name: &str) -> usize {
        let mut count = 0;
        while let Some(event) = self.subscription.try_next() {
            count += channel_records(event, name).len();
        }
        count
    }
}

fn channel_records(event: BusEvent, name: &str) -> Vec<pb::Record> {
    let BusEvent::Message(message) = event else { return Vec::new() };
    let envelope = pb::Envelope::decode(message.payload).expect("it works");
    envelope.records.into_iter().filter(|record| record.channel == name).collect()
}

/// The servers that a channel's routes name.
pub async fn servers_of(stack: &Stack, name: &str) -> BTreeSet<ServerId> {
    stack
        .cluster()
        .routes()
        .channel_servers(&group(name))
        .await
        .expect("the route store")
        .into_iter()
        .collect()
}
