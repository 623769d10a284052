//! Reports of possible losses to a subscription, beside its messages.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake},
};

use futures_util::{Stream, future::BoxFuture, task::AtomicWaker};

use crate::cluster::traits::{BusEvent, Disruption, Source};

const RECONNECTED: u8 = 1;
const OVERFLOW: u8 = 2;
/// Another poller has looked for events: the reader must look again.
const LOOK_AGAIN: u8 = 4;

/// The unreported losses of a subscription. Losses of one kind count once until they are reported,
/// so that a bus that loses messages for a while cannot fill anything.
#[derive(Debug, Default)]
pub(in crate::cluster) struct Disruptions {
    untold: AtomicU8,
    reader: AtomicWaker,
}

impl Disruptions {
    pub(in crate::cluster) fn report(&self, disruption: Disruption) {
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

    /// Registers the reader. Called when there are no events. Returns whether something is to be
    /// handled before the reader waits.
    fn register(&self, context: &Context<'_>) -> bool {
        self.reader.register(context.waker());
        // Checked after the registration: otherwise a report between the two would wake nobody.
        self.untold.fetch_and(!LOOK_AGAIN, Ordering::AcqRel) != 0
    }
}

/// Wakes the reader for another poller of the subscription's events.
impl Wake for Disruptions {
    fn wake(self: Arc<Self>) {
        self.untold.fetch_or(LOOK_AGAIN, Ordering::AcqRel);
        self.reader.wake();
    }
}

/// Events, preceded by disruptions: a reader should repair a loss before it works through the
/// queue.
#[derive(Debug)]
pub(in crate::cluster) struct Disruptable<S> {
    events: S,
    disruptions: Arc<Disruptions>,
}

impl<S> Disruptable<S> {
    pub(in crate::cluster) fn new(events: S, disruptions: Arc<Disruptions>) -> Self {
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
