//! Channel members, and a tap on the envelopes that servers receive.

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

/// Parses a channel id.
pub fn group(name: &str) -> ChannelId {
    ChannelId::parse(name).expect("a valid channel id")
}

/// Serves with a handler that accepts every publish.
pub async fn serve(im: &Im) -> Service {
    im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.expect("the service starts")
}

/// Sends a text to a channel.
pub async fn text_to(im: &Im, name: &str, text: &str) -> Receipt {
    im.send(Message::to(channel(name)).from("somebody").text(text)).await.expect("the message is sent")
}

/// Connects a device and waits until it is up to date.
pub async fn connect(stack: &Stack, user: &str, server: usize, via: Via) -> TestClient {
    let mut client = stack.connect(user, "web/tab", server, via).await;
    client.up_to_date().await;
    client
}

/// Waits for a reset of a channel; panics if a message comes first.
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

/// Asserts that the next message is this text, from this channel.
pub async fn expect(client: &mut TestClient, name: &str, text: &str) {
    let message = client.message().await;
    assert_eq!(message.content.as_text(), Some(text), "{message:?}");
    assert_eq!(message.channel.as_ref().map(ChannelId::as_str), Some(name));
}

/// Sends a marker to the user and returns the events that arrive before it.
pub async fn events_before_marker(im: &Im, client: &mut TestClient, user_name: &str) -> Vec<Event> {
    im.send(Message::to(user(user_name)).text("marker")).await.expect("the message is sent");
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

/// Publisher name of an [`EnvelopeTap`]. No back end has this name.
const TAP: &str = "tap";

/// Receives the envelopes that are published to one server.
#[derive(Debug)]
pub struct EnvelopeTap {
    /// The server whose subject is tapped.
    pub server: ServerId,
    subscription: Subscription,
}

impl EnvelopeTap {
    /// Subscribes to a server's subject. Every envelope published after this returns is received.
    pub async fn on(stack: &Stack, index: usize) -> Self {
        let server = stack.server_id(&stack.servers[index]).await;
        let (bus, subject) = (stack.cluster().bus(), stack.cluster().names().server(&server));
        let mut subscription = bus.subscribe(subject.clone()).await.expect("the bus takes the subscription");
        // Envelopes of others may overtake the subscription on the way to the bus. Once one arrives, it is active.
        let nothing = pb::Envelope { publisher: TAP.to_owned(), ..pb::Envelope::default() };
        let publication = Publication { subject, return_to: None, payload: nothing.encode_to_vec().into() };
        bus.publish(publication).await.expect("the bus takes the envelope");
        timeout(PATIENCE, subscription.next()).await.expect("it comes back").expect("the bus is open");
        Self { server, subscription }
    }

    /// Receives until there are `count` records for a channel, and returns them.
    pub async fn records(&mut self, name: &str, count: usize) -> Vec<pb::Record> {
        let mut records = Vec::new();
        // One deadline for all: publishers send heartbeats, so a limit per envelope would never expire.
        let deadline = Instant::now() + PATIENCE;
        while records.len() < count {
            let event = timeout_at(deadline, self.subscription.next()).await;
            let event = event.unwrap_or_else(|_| panic!("{} of {count} records", records.len()));
            records.extend(channel_records(event.expect("the bus is open"), name));
        }
        records
    }

    /// Receives envelopes until they contain `count` records for a channel, and returns those that are not empty.
    pub async fn envelopes(&mut self, name: &str, count: usize) -> Vec<pb::Envelope> {
        let mut envelopes: Vec<pb::Envelope> = Vec::new();
        let of_channel =
            |envelope: &pb::Envelope| envelope.records.iter().filter(|record| record.channel == name).count();
        while envelopes.iter().map(of_channel).sum::<usize>() < count {
            let event = timeout(PATIENCE, self.subscription.next()).await.expect("an envelope in time");
            let BusEvent::Message(message) = event.expect("the bus is open") else { continue };
            let envelope = pb::Envelope::decode(message.payload).expect("a valid envelope");
            envelopes.extend((!envelope.records.is_empty()).then_some(envelope));
        }
        envelopes
    }

    /// Returns the number of further records for a channel that have arrived already.
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
    let envelope = pb::Envelope::decode(message.payload).expect("a valid envelope");
    envelope.records.into_iter().filter(|record| record.channel == name).collect()
}

/// Returns the servers in a channel's routes.
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
