//! Tells a subscription, beside its messages, that some may have been lost.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::{Stream, future::BoxFuture, task::AtomicWaker};

use super::{BusEvent, Disruption, Source};

const RECONNECTED: u8 = 1;
const OVERFLOW: u8 = 2;

/// What a subscription has yet to be told. Losses of one kind count once until they are told, so a bus that loses
/// messages for a while cannot fill anything.
#[derive(Debug, Default)]
pub(super) struct Disruptions {
    untold: AtomicU8,
    reader: AtomicWaker,
}

impl Disruptions {
    pub(super) fn report(&self, disruption: Disruption) {
        let flag = match disruption {
            Disruption::Reconnected => RECONNECTED,
            Disruption::Overflow => OVERFLOW,
        };
        self.untold.fetch_or(flag, Ordering::AcqRel);
        self.reader.wake();
    }

    fn take(&self) -> Option<Disruption> {
        let untold = self.untold.load(Ordering::Acquire);
        let (flag, disruption) = match untold {
            0 => return None,
            flags if flags & RECONNECTED != 0 => (RECONNECTED, Disruption::Reconnected),
            _ => (OVERFLOW, Disruption::Overflow),
        };
        self.untold.fetch_and(!flag, Ordering::AcqRel);
        Some(disruption)
    }

    fn poll(&self, context: &Context<'_>) -> Poll<Disruption> {
        self.reader.register(context.waker());
        // Looked at after the registration: a report between the two would wake nobody otherwise.
        self.take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// Events with the disruptions ahead of them: whoever repairs a loss should not first work through what is queued.
#[derive(Debug)]
pub(super) struct Disruptable<S> {
    events: S,
    disruptions: Arc<Disruptions>,
}

impl<S> Disruptable<S> {
    pub(super) fn new(events: S, disruptions: Arc<Disruptions>) -> Self {
        Self { events, disruptions }
    }
}

impl<S: Stream<Item = BusEvent> + Unpin> Stream for Disruptable<S> {
    type Item = BusEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<BusEvent>> {
        if let Some(disruption) = self.disruptions.take() {
            return Poll::Ready(Some(BusEvent::Disrupted(disruption)));
        }
        match Pin::new(&mut self.events).poll_next(context) {
            Poll::Pending => self.disruptions.poll(context).map(|told| Some(BusEvent::Disrupted(told))),
            ready => ready,
        }
    }
}

impl<S: Source + Unpin> Source for Disruptable<S> {
    fn drain(mut self: Pin<&mut Self>) -> BoxFuture<'_, ()> {
        Box::pin(async move { Pin::new(&mut self.events).drain().await })
    }
}
