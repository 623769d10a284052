//! A session serves one connection in one task: it reads frames, writes what the outbox holds, and ends with a reason.
//!
//! The session is polled as a whole instead of selecting over futures. Reads therefore never wait behind writes, and a session is
//! no larger than its fields. A task that has queued frames may poll the session's writes, too: see [`InlineWrite`].

mod slot;

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
    pb::{self, JoinKind, device_frame::Body},
};
use im_sdk::id::ChannelId;
use prost::Message as _;
use tokio::time::{sleep, timeout_at};
use tracing::{Instrument as _, Span, field::Empty};

use self::slot::SessionSlot;
use super::{
    LINGER, Transport, TransportError,
    handshake::{self, AdmittedDevice},
};
use crate::{
    context::ServerContext,
    registry::{
        Registration,
        admission::AdmissionPermit,
        connection::{Connection, InlineWrite},
        frame_batch::FrameBatch,
        outbox::Close,
        rate_limit::{Rate, TokenBucket},
        users::Operation,
    },
    upstream::refusal::{self, RETRY_MS},
};

/// The number of frames that a session reads before it yields.
const READ_BUDGET: usize = 64;

/// The time within which a device that connects right after a rollback compares its logs.
const ROLLBACK_HINT_MS: u32 = 2000;

/// Serves a device from its first frame to its last. `transport` resolves to the transport, or to `None` if its handshake failed.
/// `permit` is the admission permit.
///
/// The start and the end of a connection need more state than the time in between, and a task is always as large as its largest
/// state. Both are therefore boxed.
pub(crate) fn serve<T: Transport + 'static>(
    context: Arc<ServerContext>,
    permit: AdmissionPermit,
    transport: impl Future<Output = Option<T>> + Send,
) -> impl Future<Output = ()> + Send {
    let span = tracing::debug_span!(
        "connection",
        peer = %permit.peer(),
        connection = Empty,
        user = Empty,
        terminal = Empty
    );
    let begin = Box::pin(begin(context, permit, transport).instrument(span));
    async move {
        let Some(slot) = begin.await else { return };
        let (session, end) = poll_fn(|cx| slot.poll(cx)).await;
        drop(slot);
        let span = session.span.as_deref().cloned().unwrap_or_else(Span::none);
        Box::pin(session.leave(end).instrument(span)).await;
    }
}

async fn begin<T: Transport + 'static>(
    context: Arc<ServerContext>,
    permit: AdmissionPermit,
    transport: impl Future<Output = Option<T>>,
) -> Option<Arc<SessionSlot<T>>> {
    // One deadline for all steps, so that a device cannot stall in each of them.
    let deadline = Instant::now() + context.config.hello_timeout;
    // In a drain, a device that is almost connected can still be sent elsewhere; the server waits for no other.
    let drained = async {
        context.lifecycle.draining.cancelled().await;
        sleep(LINGER).await;
    };
    let mut transport = tokio::select! {
        transport = timeout_at(deadline.into(), transport) => transport.ok()??,
        () = drained => return None,
    };
    let admitted = handshake::admit(&context, &mut transport, permit.peer(), deadline).await;
    let AdmittedDevice { registration, welcome, sync } = match admitted {
        Ok(admitted) => admitted,
        Err(error) => {
            let close = match error {
                TransportError::Refused(close) => Some(close),
                TransportError::Lost => None,
            };
            transport.close(close, FrameBatch::default()).await;
            return None;
        }
    };
    let connection = Arc::clone(&registration.connection);
    context.upstream.syncs.try_forward(&connection, sync);
    context.upstream.presences.try_tell(&connection.user, &connection.device, true, context.now());
    let batch = first_frames(&context, welcome);
    let now = Instant::now();
    let publish_bucket = publish_rate(&context).map(|rate| Box::new(TokenBucket::new(rate, now)));
    let span = connection_span(&connection);
    let session = Session { context, transport, registration, batch, publish_bucket, span, end: None };
    let slot = Arc::new(SessionSlot::new(session));
    let writer: Arc<dyn InlineWrite> = slot.clone();
    connection.set_inline_writer(Arc::downgrade(&writer));
    Some(slot)
}

/// Encodes the first frames for an admitted device.
fn first_frames(context: &ServerContext, welcome: pb::Welcome) -> FrameBatch {
    let mut batch = FrameBatch::default();
    batch.push(frame::encode(pb::frame::Body::Welcome(welcome)));
    if context.was_rolled_back() {
        let hint = pb::SyncHint { within_ms: ROLLBACK_HINT_MS, rolled_back: true };
        batch.push(frame::encode(pb::frame::Body::SyncHint(hint)));
    }
    batch
}

/// Completes the connection's span. Returns `None` if spans are off, so that they cost a connection one word.
fn connection_span(connection: &Connection) -> Option<Box<Span>> {
    let span = Span::current();
    if span.is_disabled() {
        return None;
    }
    span.record("connection", tracing::field::display(connection.id));
    span.record("user", tracing::field::display(&connection.user));
    span.record("terminal", tracing::field::debug(connection.device.terminal));
    Some(Box::new(span))
}

struct Session<T> {
    context: Arc<ServerContext>,
    transport: T,
    registration: Registration,
    /// Frames that were taken from the outbox and are not written yet.
    batch: FrameBatch,
    /// The bucket of publishes, if they are limited. Boxed, since few servers limit them.
    publish_bucket: Option<Box<TokenBucket>>,
    /// The connection's span, if spans are on.
    span: Option<Box<Span>>,
    /// Set when the session is over and its own task has not noticed yet.
    end: Option<Box<End>>,
}

/// Rounds up: 0 would mean "never".
fn milliseconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}

fn publish_rate(context: &ServerContext) -> Option<Rate> {
    let per_second = context.config.limits.max_publishes_per_second;
    (per_second > 0).then(|| Rate::per_second(per_second))
}

/// The reason for which a session is over.
enum End {
    /// The device closed.
    Closed,
    /// The server closes.
    Close(Close),
    /// The transport failed, or the device broke the protocol.
    Failed(TransportError),
}

impl From<TransportError> for End {
    fn from(error: TransportError) -> Self {
        Self::Failed(error)
    }
}

impl<T: Transport> Session<T> {
    fn connection(&self) -> &Arc<Connection> {
        &self.registration.connection
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        match self.span.as_deref().cloned() {
            Some(span) => span.in_scope(|| self.poll_both(cx)),
            None => self.poll_both(cx),
        }
    }

    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if let Some(end) = self.end.take() {
            return Poll::Ready(*end);
        }
        if let Poll::Ready(end) = self.poll_writes(cx) {
            return Poll::Ready(end);
        }
        self.poll_reads(cx)
    }

    /// Ready only when the session is over.
    fn poll_writes(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            match self.transport.poll_write(cx, &mut self.batch) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
                // The device does not read. A reason to close must not wait for it.
                Poll::Pending => return self.poll_close(cx),
            }
            match self.registration.connection.outbox.poll_take(cx, &mut self.batch) {
                Poll::Ready(None) => {
                    if self.connection().outbox.take_sync_resumable() {
                        self.context.upstream.syncs.resume(self.connection().id);
                    }
                }
                Poll::Ready(Some(close)) => {
                    // Frames queued before the close go first, as far as the device takes them at once.
                    let _ = self.transport.poll_write(cx, &mut self.batch);
                    return Poll::Ready(End::Close(close));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_close(&self, cx: &mut Context<'_>) -> Poll<End> {
        match self.connection().outbox.poll_close(cx) {
            Some(close) => Poll::Ready(End::Close(close)),
            None => Poll::Pending,
        }
    }

    /// Ready only when the session is over.
    fn poll_reads(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..READ_BUDGET {
            match self.transport.poll_receive(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(None)) => return Poll::Ready(End::Closed),
                Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
                Poll::Ready(Ok(Some(frame))) => {
                    self.context.registry.heard(self.connection());
                    if let Err(error) = self.handle(frame) {
                        return Poll::Ready(error.into());
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Tears the session down. Unregisters first, so that no later push is reported as delivered.
    async fn leave(self, end: End) {
        let Self { context, transport, registration, batch, .. } = self;
        let connection = Arc::clone(&registration.connection);
        drop(registration);
        context.upstream.publishes.pending.forget(&connection);
        context.upstream.requests.pending.forget(&connection);
        context.upstream.syncs.forget(&connection);
        let close = match end {
            End::Closed | End::Failed(TransportError::Lost) => None,
            End::Close(close) | End::Failed(TransportError::Refused(close)) => Some(close),
        };
        let code = close.as_ref().map_or(CloseCode::ClientClosed, |close| close.code);
        tracing::debug!(user = %connection.user, connection = %connection.id, code = code.name(), "disconnected");
        // Concurrent: neither the device nor senders that locate it wait for the other step.
        let ((), released) = tokio::join!(transport.close(close, batch), context.release_route(&connection));
        // Otherwise a newer connection of the device has its place.
        if released {
            context.upstream.presences.try_tell(&connection.user, &connection.device, false, context.now());
        }
    }

    fn handle(&mut self, frame: Bytes) -> Result<(), TransportError> {
        match pb::DeviceFrame::decode(frame).map_err(frame::FrameError::from)?.body {
            Some(Body::Ping(ping)) => self.push(pb::frame::Body::Pong(pb::Pong { echo: ping.echo })),
            Some(Body::Publish(publish)) => self.publish(publish)?,
            Some(Body::Sync(sync)) => self.sync(sync),
            Some(Body::Ack(ack)) => self.ack(ack),
            Some(Body::Request(request)) => self.request(request)?,
            Some(Body::Signal(signal)) => self.signal(signal)?,
            Some(Body::Hello(_)) => return Err(TransportError::protocol("a second Hello")),
            // A pong needs no answer; bodies of later versions are ignored.
            Some(Body::Pong(_)) | None => {}
        }
        Ok(())
    }

    /// Queues a frame. Every frame goes out by the outbox, which also bounds the answers to a device that asks and never reads.
    fn push(&self, body: pb::frame::Body) {
        self.connection().outbox.try_push(frame::encode(body));
    }

    fn publish(&mut self, publish: Bytes) -> Result<(), TransportError> {
        let head = pb::PublishHead::decode(publish.clone()).map_err(frame::FrameError::from)?;
        // First: a repetition must not be refused while the original may yet be accepted.
        if self.context.upstream.publishes.pending.contains(self.connection(), head.number) {
            return Ok(());
        }
        let max = self.context.config.limits.max_inflight_publishes;
        if self.connection().pending_publishes.load(Ordering::Relaxed) >= max {
            let reason = format!("more than {max} publishes wait for their results");
            self.refuse_publish(head.number, &reason, RETRY_MS);
            return Ok(());
        }
        if let Err(wait) = self.take_publish() {
            let max = self.context.config.limits.max_publishes_per_second;
            let reason = format!("more than {max} publishes in a second");
            self.refuse_publish(head.number, &reason, milliseconds(wait));
            return Ok(());
        }
        let in_room = self.is_in(&head.channel);
        let publishes = &self.context.upstream.publishes;
        if !publishes.try_forward(self.connection(), head.number, publish, in_room) {
            // The publish was not forwarded; `Unavailable` would leave that open.
            self.refuse_publish(head.number, "the way to the back ends is full", RETRY_MS);
        }
        Ok(())
    }

    /// Takes one publish from the bucket.
    ///
    /// # Errors
    /// The time until the next one may come, if there are too many.
    fn take_publish(&mut self) -> Result<(), Duration> {
        let Some((bucket, rate)) = self.publish_bucket.as_mut().zip(publish_rate(&self.context)) else {
            return Ok(());
        };
        bucket.take(rate, Instant::now())
    }

    /// Takes one operation from the user's budget.
    fn try_spend(&self, operation: Operation, bytes: usize) -> Result<(), Duration> {
        self.connection().user_state().try_spend(operation, bytes, Instant::now())
    }

    /// Forwards a sync. Drops it beyond the rate: a device whose sync is lost asks again.
    fn sync(&self, sync: Bytes) {
        if self.try_spend(Operation::Sync, sync.len()).is_ok() {
            self.context.upstream.syncs.try_forward(self.connection(), sync);
        } else {
            tracing::debug!(user = %self.connection().user, "sync dropped: too many");
        }
    }

    fn ack(&self, ack: Bytes) {
        if self.try_spend(Operation::Ack, ack.len()).is_ok() {
            self.context.upstream.acks.try_forward(self.connection(), ack);
        } else {
            tracing::debug!(user = %self.connection().user, "acknowledgement dropped: too many");
        }
    }

    fn request(&self, request: Bytes) -> Result<(), TransportError> {
        let head = pb::RequestHead::decode(request.clone()).map_err(frame::FrameError::from)?;
        let requests = &self.context.upstream.requests;
        // First: a repetition must not be refused while the original may yet be answered.
        if requests.pending.contains(self.connection(), head.number) {
            return Ok(());
        }
        match self.try_spend(Operation::Request, request.len()) {
            Ok(()) => requests.try_forward(self.connection(), head.number, request),
            Err(wait) => requests.refuse(self.connection(), head.number, milliseconds(wait)),
        }
        Ok(())
    }

    /// Forwards a signal. Drops it silently if it is too large or beyond the rate: signals may be lost.
    fn signal(&self, signal: Bytes) -> Result<(), TransportError> {
        let head = pb::SignalHead::decode(signal.clone()).map_err(frame::FrameError::from)?;
        let signals = &self.context.upstream.signals;
        if signal.len() <= MAX_SIGNAL_BYTES && self.try_spend(Operation::Signal, signal.len()).is_ok() {
            signals.try_forward(self.connection(), signal, self.is_in(&head.channel));
        } else {
            signals.note_dropped();
        }
        Ok(())
    }

    /// Returns whether the connection is in the room of this name.
    fn is_in(&self, room: &str) -> bool {
        let room = if room.is_empty() { None } else { ChannelId::parse(room).ok() };
        let subscriptions = &self.context.registry.subscriptions;
        room.is_some_and(|room| subscriptions.is_in(self.connection().id, &room, JoinKind::Room))
    }

    fn refuse_publish(&self, number: u64, reason: &str, retry_after_ms: u32) {
        let refusal = refusal::of_publish(number, pb::RefusalKind::TooMany, reason, retry_after_ms);
        self.connection().outbox.try_push(refusal);
    }
}
