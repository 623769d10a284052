//! Tells a subscription, beside its messages, that some may have been lost.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake},
};

use futures_util::{Stream, future::BoxFuture, task::AtomicWaker};

use super::{BusEvent, Disruption, Source};

const RECONNECTED: u8 = 1;
const OVERFLOW: u8 = 2;
/// Somebody else has looked for events: whoever reads must look again.
const LOOK_AGAIN: u8 = 4;

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
            flags if flags & RECONNECTED != 0 => (RECONNECTED, Disruption::Reconnected),
            flags if flags & OVERFLOW != 0 => (OVERFLOW, Disruption::Overflow),
            _ => return None,
        };
        self.untold.fetch_and(!flag, Ordering::AcqRel);
        Some(disruption)
    }

    /// To be called when there are no events. Returns whether something is to be looked at before anybody waits.
    fn register(&self, context: &Context<'_>) -> bool {
        self.reader.register(context.waker());
        // Looked at after the registration: a report between the two would wake nobody otherwise.
        self.untold.fetch_and(!LOOK_AGAIN, Ordering::AcqRel) != 0
    }
}

/// For somebody else who looks for a subscription's events: its reader looks again.
impl Wake for Disruptions {
    fn wake(self: Arc<Self>) {
        self.untold.fetch_or(LOOK_AGAIN, Ordering::AcqRel);
        self.reader.wake();
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
        loop {
            if let Some(disruption) = self.disruptions.take() {
                return Poll::Ready(Some(BusEvent::Disrupted(disruption)));
            }
            let polled = Pin::new(&mut self.events).poll_next(context);
            if polled.is_ready() || !self.disruptions.register(context) {
                return polled;
            }
        }
    }
}

impl<S: Source + Unpin> Source for Disruptable<S> {
    fn drain(mut self: Pin<&mut Self>) -> BoxFuture<'_, ()> {
        Box::pin(async move { Pin::new(&mut self.events).drain().await })
    }
}
