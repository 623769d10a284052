//! What one subscription receives from NATS, and how it ends without a loss.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use async_nats::{Message, Statistics, StatusCode, Subscriber};
use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture};
use tokio::time::timeout;

use crate::cluster::{
    bus::{BusEvent, BusMessage, Source},
    names::Subject,
};

/// With how many further messages a subscription ends that is drained: more than are on the wire at once. If so many do not
/// come within [`STEP`], fewer are on the wire, and fewer do.
const LAST_MESSAGES: [u64; 4] = [256, 64, 16, 4];

/// See [`LAST_MESSAGES`]. Behind the last step there are less than 16 messages a second.
const STEP: Duration = Duration::from_millis(250);

pub(super) struct Events {
    subscriber: Subscriber,
    /// Read while draining, and not handed out yet.
    waiting: VecDeque<Message>,
    /// How many have been read.
    count: u64,
    statistics: Arc<Statistics>,
    /// How often the client had connected when the subscription was made.
    connects: u64,
}

impl Events {
    pub(super) fn new(subscriber: Subscriber, statistics: Arc<Statistics>) -> Self {
        let connects = statistics.connects.load(Ordering::Relaxed);
        Self { subscriber, waiting: VecDeque::new(), count: 0, statistics, connects }
    }

    /// False at the end.
    async fn read(&mut self) -> bool {
        let message = self.subscriber.next().await;
        let read = message.is_some();
        self.count += u64::from(read);
        self.waiting.extend(message);
        read
    }

    /// The client library forgets a subscription at once when it unsubscribes, and drops what is on the wire. So the end
    /// is agreed upon first: after some further messages, as server and client both count them.
    async fn end(&mut self) {
        while self.read().now_or_never() == Some(true) {}
        for further in LAST_MESSAGES {
            // A server that is new counts from the beginning: it would go on when the client has ended.
            if self.statistics.connects.load(Ordering::Relaxed) != self.connects {
                break;
            }
            // Fails only when the task that owns the connection is gone, and with it the subscription.
            let _ = self.subscriber.unsubscribe_after(self.count + further).await;
            if timeout(STEP, async { while self.read().await {} }).await.is_ok() {
                return;
            }
        }
        let _ = self.subscriber.drain().await;
    }
}

impl Stream for Events {
    type Item = BusEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<BusEvent>> {
        if let Some(message) = self.waiting.pop_front() {
            return Poll::Ready(Some(event(message)));
        }
        let polled = self.subscriber.poll_next_unpin(context);
        if let Poll::Ready(Some(_)) = polled {
            self.count += 1;
        }
        polled.map(|message| message.map(event))
    }
}

impl Source for Events {
    fn drain(mut self: Pin<&mut Self>) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.end().await })
    }
}

fn event(message: Message) -> BusEvent {
    match message.status {
        Some(StatusCode::NO_RESPONDERS) => BusEvent::Undelivered(Subject::received(&message.subject)),
        _ => BusEvent::Message(BusMessage { payload: message.payload }),
    }
}
