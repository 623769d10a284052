//! HOT PATH 2: what arrives on this server's subject goes to the connections that it names. It never waits for one.

use std::sync::Arc;

use im_proto::{close::CloseCode, pb, pb::record::Effect};
use im_sdk::{
    cluster::{BusEvent, Publication, Subject, Subscription},
    id::ConnectionId,
};
use prost::Message as _;

use crate::{
    outbox::{Close, Pushed},
    shared::Shared,
};

/// Handles events until the subscription ends, which is when the bus is closed for good.
pub(crate) async fn run(shared: Arc<Shared>, mut subscription: Subscription) {
    while let Some(event) = subscription.next().await {
        match event {
            BusEvent::Message(message) => match pb::Envelope::decode(message.payload) {
                Ok(envelope) => handle(&shared, envelope).await,
                Err(error) => tracing::warn!(%error, "an envelope is not valid and was dropped"),
            },
            BusEvent::Undelivered(_) => shared.upstream.unavailable(),
            BusEvent::Disrupted(why) => tracing::warn!(?why, "envelopes may have been lost"),
            _ => {}
        }
    }
}

async fn handle(shared: &Shared, envelope: pb::Envelope) {
    let mut missed = Vec::new();
    for (index, record) in envelope.records.into_iter().enumerate() {
        let connections = apply(shared, record);
        if !connections.is_empty() {
            let record = u32::try_from(index).unwrap_or(u32::MAX);
            missed.push(pb::Missed { record, connections });
        }
    }
    if !envelope.answer_to.is_empty() {
        let answer = pb::Delivered { server: shared.id.to_string(), number: envelope.number, missed };
        send_answer(shared, &envelope.answer_to, &answer).await;
    }
}

/// Returns the connections that the record did not reach.
fn apply(shared: &Shared, record: pb::Record) -> Vec<u64> {
    let Some(effect) = record.effect else {
        return Vec::new();
    };
    let mut connections = record.connections;
    connections.retain(|number| !apply_to(shared, ConnectionId(*number), &effect));
    connections
}

/// True when it reached the connection.
fn apply_to(shared: &Shared, id: ConnectionId, effect: &Effect) -> bool {
    let Some(connection) = shared.registry.get(id) else {
        return false;
    };
    match effect {
        Effect::Frames(frames) => connection.outbox.try_push(frames.clone()) == Pushed::Queued,
        Effect::Answer(answer) => {
            shared.upstream.answered(id, answer.clone());
            true
        }
        Effect::Kick(kick) => {
            let code = u16::try_from(kick.code).map_or(CloseCode::Kicked, CloseCode::from);
            connection.outbox.close(Close::new(code, kick.reason.clone()));
            true
        }
    }
}

async fn send_answer(shared: &Shared, answer_to: &str, answer: &pb::Delivered) {
    let Some(subject) = Subject::answer(shared.cluster.names(), answer_to) else {
        tracing::warn!("an envelope asks for an answer on a subject that is none for answers");
        return;
    };
    let publication = Publication { subject, return_to: None, payload: answer.encode_to_vec().into() };
    if let Err(error) = shared.cluster.bus().publish(publication).await {
        tracing::warn!(%error, "cannot answer an envelope");
    }
}
