//! One connection, one task: it reads frames, writes what the outbox holds, and ends with a reason.
//!
//! The session is polled as a whole instead of selecting over futures, so reads never wait behind writes and a session
//! is no more than its fields. Who has queued something may poll its writes, too (`woken.rs`).

mod place;

use std::{
    future::poll_fn,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use im_proto::{
    close::CloseCode,
    frame,
    limits::MAX_SIGNAL_BYTES,
    pb::{self, Way, device_frame::Body},
};
use im_sdk::id::ChannelId;
use prost::Message as _;
use tokio::time::{sleep, timeout_at};

use self::place::Place;
use crate::{
    allowance::{Allowance, Rate},
    arrivals::Arrival,
    batch::Batch,
    handshake::{self, Admitted},
    link::{LINGER, Link, LinkError},
    outbox::Close,
    registry::{Connection, Registration},
    shared::Shared,
    upstream::refusal,
    users::Kind,
    waiting::RETRY_MS,
    woken::Flush,
};

/// How many frames a session reads before it lets others run.
const READ_BUDGET: usize = 64;

/// Within which time a device compares its logs that connects right after a rollback.
const ROLLBACK_HINT_MS: u32 = 2000;

/// Serves a device from its first frame to its last. `link` comes to the link, or to nothing; `arrival` is its place until the
/// device is let in.
///
/// Each part is boxed: a task is as large as the largest of its parts, for as long as it lives, and both ends of a
/// connection's life are larger than what is between them.
pub(crate) fn serve<L: Link + 'static>(
    shared: Arc<Shared>,
    arrival: Arrival,
    link: impl Future<Output = Option<L>> + Send,
) -> impl Future<Output = ()> + Send {
    let begin = Box::pin(begin(shared, arrival, link));
    async move {
        let Some(place) = begin.await else { return };
        let (session, end) = poll_fn(|context| place.poll(context)).await;
        drop(place);
        Box::pin(session.leave(end)).await;
    }
}

async fn begin<L: Link + 'static>(
    shared: Arc<Shared>,
    arrival: Arrival,
    link: impl Future<Output = Option<L>>,
) -> Option<Arc<Place<L>>> {
    // One for all steps: a device that stalls in each of them is not there for longer.
    let deadline = Instant::now() + shared.config.hello_timeout;
    // In a drain, who is about to be through can still be told to go elsewhere; nobody else is waited for.
    let drained = async {
        shared.draining.cancelled().await;
        sleep(LINGER).await;
    };
    let mut link = tokio::select! {
        link = timeout_at(deadline.into(), link) => link.ok()??,
        () = drained => return None,
    };
    let admitted = handshake::admit(&shared, &mut link, arrival.peer(), deadline).await;
    let Admitted { registration, welcome, sync } = match admitted {
        Ok(admitted) => admitted,
        Err(error) => {
            let close = match error {
                LinkError::Refused(close) => Some(close),
                LinkError::Lost => None,
            };
            link.close(close, Batch::default()).await;
            return None;
        }
    };
    shared.syncs.try_forward(&registration.connection, sync);
    let mut batch = Batch::default();
    batch.push(frame::encode(pb::frame::Body::Welcome(welcome)));
    if shared.was_rolled_back() {
        let hint = pb::SyncHint { within_ms: ROLLBACK_HINT_MS, rolled_back: true };
        batch.push(frame::encode(pb::frame::Body::SyncHint(hint)));
    }
    shared.presences.try_tell(
        &registration.connection.user,
        &registration.connection.device,
        true,
        shared.now(),
    );
    let now = Instant::now();
    let publishing = publish_rate(&shared).map(|rate| Box::new(Allowance::new(rate, now)));
    let connection = Arc::clone(&registration.connection);
    let session = Session { shared, link, registration, batch, publishing, end: None };
    let place = Arc::new(Place::new(session));
    let flush: Arc<dyn Flush> = place.clone();
    connection.set_flush(Arc::downgrade(&flush));
    Some(place)
}

struct Session<L> {
    shared: Arc<Shared>,
    link: L,
    registration: Registration,
    /// Taken from the outbox and not written yet.
    batch: Batch,
    /// For publishes, where they are limited; boxed, since few servers do that.
    publishing: Option<Box<Allowance>>,
    /// It is over, which its own task does not know yet.
    end: Option<Box<End>>,
}

/// Rounded up: 0 would mean never.
fn milliseconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}

fn publish_rate(shared: &Shared) -> Option<Rate> {
    let per_second = shared.config.limits.max_publishes_per_second;
    (per_second > 0).then(|| Rate::per_second(per_second))
}

/// Why a session is over.
enum End {
    /// The device closed.
    Closed,
    /// The server wants to close.
    Close(Close),
    /// The transport failed, or the device broke the protocol.
    Failed(LinkError),
}

impl From<LinkError> for End {
    fn from(error: LinkError) -> Self {
        Self::Failed(error)
    }
}

impl<L: Link> Session<L> {
    fn connection(&self) -> &Arc<Connection> {
        &self.registration.connection
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        if let Some(end) = self.end.take() {
            return Poll::Ready(*end);
        }
        if let Poll::Ready(end) = self.poll_writes(context) {
            return Poll::Ready(end);
        }
        self.poll_reads(context)
    }

    /// Ready only when the session is over.
    fn poll_writes(&mut self, context: &mut Context<'_>) -> Poll<End> {
        loop {
            match self.link.poll_write(context, &mut self.batch) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
                // The device does not read: a reason to close must not wait for it.
                Poll::Pending => return self.poll_close(context),
            }
            match self.registration.connection.outbox.poll_take(context, &mut self.batch) {
                Poll::Ready(None) => {
                    if self.connection().outbox.take_goes_on() {
                        self.shared.syncs.go_on_with(self.connection().id);
                    }
                }
                Poll::Ready(Some(close)) => {
                    // What was queued before goes first, as far as the device takes it at once.
                    let _ = self.link.poll_write(context, &mut self.batch);
                    return Poll::Ready(End::Close(close));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_close(&self, context: &mut Context<'_>) -> Poll<End> {
        match self.connection().outbox.poll_close(context) {
            Some(close) => Poll::Ready(End::Close(close)),
            None => Poll::Pending,
        }
    }

    /// Ready only when the session is over.
    fn poll_reads(&mut self, context: &mut Context<'_>) -> Poll<End> {
        for _ in 0..READ_BUDGET {
            match self.link.poll_receive(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(None)) => return Poll::Ready(End::Closed),
                Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
                Poll::Ready(Ok(Some(frame))) => {
                    self.shared.registry.heard(self.connection());
                    if let Err(error) = self.handle(frame) {
                        return Poll::Ready(error.into());
                    }
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Nothing reaches the connection from here on, and nobody is told that it did.
    async fn leave(self, end: End) {
        let Self { shared, link, registration, batch, .. } = self;
        let connection = Arc::clone(&registration.connection);
        drop(registration);
        shared.upstream.forget(&connection);
        shared.requests.forget(&connection);
        shared.syncs.forget(&connection);
        let close = match end {
            End::Closed | End::Failed(LinkError::Lost) => None,
            End::Close(close) | End::Failed(LinkError::Refused(close)) => Some(close),
        };
        let code = close.as_ref().map_or(CloseCode::ClientClosed, |close| close.code);
        tracing::debug!(user = %connection.user, connection = %connection.id, code = code.name(), "disconnected");
        // At the same time: neither the device nor whoever looks for it waits for the other.
        let ((), released) = tokio::join!(link.close(close, batch), shared.release_route(&connection));
        // Else a newer connection has the device's place.
        if released {
            shared.presences.try_tell(&connection.user, &connection.device, false, shared.now());
        }
    }

    fn handle(&mut self, frame: Bytes) -> Result<(), LinkError> {
        match pb::DeviceFrame::decode(frame).map_err(frame::FrameError::from)?.body {
            Some(Body::Ping(ping)) => self.answer(pb::frame::Body::Pong(pb::Pong { echo: ping.echo })),
            Some(Body::Publish(publish)) => self.publish(publish)?,
            Some(Body::Sync(sync)) => self.sync(sync),
            Some(Body::Ack(ack)) => self.ack(ack),
            Some(Body::Request(request)) => self.request(request)?,
            Some(Body::Signal(signal)) => self.signal(signal)?,
            Some(Body::Hello(_)) => return Err(LinkError::protocol("a second Hello")),
            // A pong needs no answer; what this version does not know is ignored.
            Some(Body::Pong(_)) | None => {}
        }
        Ok(())
    }

    /// Everything goes out by the outbox: it bounds also what a device causes that asks and never reads.
    fn answer(&self, body: pb::frame::Body) {
        self.connection().outbox.try_push(frame::encode(body));
    }

    fn publish(&mut self, publish: Bytes) -> Result<(), LinkError> {
        let head = pb::PublishHead::decode(publish.clone()).map_err(frame::FrameError::from)?;
        // First: a repetition must not be refused while the first one may yet be accepted.
        if self.shared.upstream.is_waiting(self.connection(), head.number) {
            return Ok(());
        }
        let max = self.shared.config.limits.max_inflight_publishes;
        if self.connection().inflight.load(Ordering::Relaxed) >= max {
            let reason = format!("more than {max} publishes wait for their results");
            self.refuse(head.number, pb::RefusalKind::TooMany, reason, RETRY_MS);
            return Ok(());
        }
        if let Err(wait) = self.may_publish() {
            let max = self.shared.config.limits.max_publishes_per_second;
            let reason = format!("more than {max} publishes in a second");
            self.refuse(head.number, pb::RefusalKind::TooMany, reason, wait);
            return Ok(());
        }
        let in_room = self.is_in(&head.channel);
        if !self.shared.upstream.try_forward(self.connection(), head.number, publish, in_room) {
            // It has gone nowhere, which `Unavailable` would leave open.
            let reason = "the way to the back ends is full".to_owned();
            self.refuse(head.number, pb::RefusalKind::TooMany, reason, RETRY_MS);
        }
        Ok(())
    }

    /// # Errors
    /// Too often: in how many milliseconds the next one may come.
    fn may_publish(&mut self) -> Result<(), u32> {
        let Some((allowance, rate)) = self.publishing.as_mut().zip(publish_rate(&self.shared)) else {
            return Ok(());
        };
        allowance.take(rate, Instant::now()).map_err(milliseconds)
    }

    /// Whether the user may ask for one more of a kind.
    fn may_ask(&self, kind: Kind, bytes: usize) -> Result<(), Duration> {
        self.connection().shared_by_user().may_ask(kind, bytes, Instant::now())
    }

    /// One too many is dropped, as any may be: a device that has lost one asks again.
    fn sync(&self, sync: Bytes) {
        if self.may_ask(Kind::Sync, sync.len()).is_ok() {
            self.shared.syncs.try_forward(self.connection(), sync);
        } else {
            tracing::debug!(user = %self.connection().user, "too many syncs: one is dropped");
        }
    }

    fn ack(&self, ack: Bytes) {
        if self.may_ask(Kind::Ack, ack.len()).is_ok() {
            self.shared.acks.try_forward(self.connection(), ack);
        } else {
            tracing::debug!(user = %self.connection().user, "too many acknowledgements: one is dropped");
        }
    }

    fn request(&self, request: Bytes) -> Result<(), LinkError> {
        let head = pb::RequestHead::decode(request.clone()).map_err(frame::FrameError::from)?;
        // First: a repetition must not be refused while the first one may yet be answered.
        if self.shared.requests.is_waiting(self.connection(), head.number) {
            return Ok(());
        }
        match self.may_ask(Kind::Request, request.len()) {
            Ok(()) => self.shared.requests.try_forward(self.connection(), head.number, request),
            Err(wait) => self.shared.requests.refuse(self.connection(), head.number, milliseconds(wait)),
        }
        Ok(())
    }

    /// One too many is dropped without a word, as any signal may be.
    fn signal(&self, signal: Bytes) -> Result<(), LinkError> {
        let head = pb::SignalHead::decode(signal.clone()).map_err(frame::FrameError::from)?;
        if signal.len() <= MAX_SIGNAL_BYTES && self.may_ask(Kind::Signal, signal.len()).is_ok() {
            self.shared.signals.try_forward(self.connection(), signal, self.is_in(&head.channel));
        } else {
            self.shared.signals.note_dropped();
        }
        Ok(())
    }

    /// Whether the connection is in the room of this name.
    fn is_in(&self, room: &str) -> bool {
        let room = if room.is_empty() { None } else { ChannelId::parse(room).ok() };
        room.is_some_and(|room| self.shared.registry.joined.is_in(self.connection().id, &room, Way::Room))
    }

    fn refuse(&self, number: u64, kind: pb::RefusalKind, reason: String, retry_after_ms: u32) {
        self.answer(refusal(number, kind, reason, retry_after_ms));
    }
}
