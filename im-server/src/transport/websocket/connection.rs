//! A WebSocket that carries a device's frames.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use im_proto::{
    close::fit_reason,
    frame,
    limits::{MAX_HELLO_BYTES, MAX_PREFIX_BYTES, max_message_bytes},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};

use super::frame::{
    FrameViolation, Incoming, MAX_HEADER_BYTES, MessageKind, Reader, close_answer_frame, close_frame,
    message_header, pong_frame,
};
use crate::{
    connection::{LINGER, Transport, TransportError},
    registry::{
        admission::HandshakeMemory,
        frame_batch::{FrameBatch, WRITE_BYTES},
        outbox::Close,
    },
};

/// The number of bytes read at once, onto the stack: an idle connection holds no buffer.
const READ_BYTES: usize = 4096;

/// The size from which frames are handed to the operating system in place. Smaller ones are first copied together, which costs less
/// than describing each of them.
const LARGE_BYTES: usize = 4096;

/// The maximum number of slices in one vectored write.
const SLICES: usize = 16;

/// A WebSocket connection. An idle one owns no memory beside its fields.
pub(super) struct WebSocketConnection<S> {
    stream: S,
    reader: Reader,
    /// The remaining frames of the received message.
    frames: frame::Split,
    frame_limit: usize,
    /// Accounts for the read buffer until the device is admitted.
    handshake_memory: Option<Box<HandshakeMemory>>,
    writing: Writing,
    /// Control frames that go out between two messages: the rest of a partly written one, and one more. A device that sends pings
    /// faster than it reads the pongs gets the last one (RFC 6455, section 5.5.3).
    control: Bytes,
    /// The number of those bytes that belong to the partly written frame.
    control_begun: u8,
    /// Whether written bytes are not flushed yet.
    unflushed: bool,
    /// Whether the device has closed. The answer is in `control`, or written.
    closed: bool,
    /// Whether further bytes of the device have no meaning, after a violation.
    unreadable: bool,
}

/// The reason for which nothing more can be read.
pub(super) enum ReadError {
    /// The device broke the RFC; it is told so.
    FrameViolation(FrameViolation),
    Transport(TransportError),
}

impl From<TransportError> for ReadError {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

impl From<ReadError> for TransportError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::FrameViolation(violation) => violation.into(),
            ReadError::Transport(error) => error,
        }
    }
}

/// The message in progress: a header, then bytes from the front of the batch.
#[derive(Default)]
struct Writing {
    header: [u8; MAX_HEADER_BYTES],
    /// The range of the header that is still to be written.
    header_left: std::ops::Range<u8>,
    /// The number of bytes of the batch that belong to the message.
    payload_left: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> WebSocketConnection<S> {
    /// Creates a connection for a device that is not admitted yet: a message holds `Hello` and nothing else.
    pub(super) fn arriving(stream: S, handshake_memory: HandshakeMemory) -> Self {
        let handshake_memory = Some(Box::new(handshake_memory));
        Self { handshake_memory, ..Self::new(stream, MAX_HELLO_BYTES + MAX_PREFIX_BYTES) }
    }

    /// Creates a connection. `message_limit` bounds the messages of the device.
    pub(super) fn new(stream: S, message_limit: usize) -> Self {
        Self {
            stream,
            reader: Reader::new(message_limit),
            frames: frame::split(Bytes::new(), 0),
            frame_limit: MAX_HELLO_BYTES,
            handshake_memory: None,
            writing: Writing::default(),
            control: Bytes::new(),
            control_begun: 0,
            unflushed: false,
            closed: false,
            unreadable: false,
        }
    }

    /// Receives the next message of either kind. `None` means that the device has closed. Answers pings.
    fn poll_message_in(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<(MessageKind, Bytes)>, ReadError>> {
        loop {
            match ready!(self.poll_next(cx))? {
                Some(Incoming::Message(kind, message)) => return Poll::Ready(Ok(Some((kind, message)))),
                Some(Incoming::Ping(payload)) => self.send_control(cx, &pong_frame(&payload))?,
                Some(Incoming::Pong) => {}
                Some(Incoming::Close(code)) => {
                    self.closed = true;
                    self.send_control(cx, &close_answer_frame(code))?;
                    return Poll::Ready(Ok(None));
                }
                None => return Poll::Ready(Err(TransportError::Lost.into())),
            }
        }
    }

    /// Receives the next unit. `None` means that the device has gone without a close frame.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Incoming>, ReadError>> {
        loop {
            match self.reader.next() {
                Ok(None) => {}
                Ok(received) => return Poll::Ready(Ok(received)),
                Err(violation) => {
                    self.unreadable = true;
                    return Poll::Ready(Err(ReadError::FrameViolation(violation)));
                }
            }
            if !ready!(self.poll_read(cx))? {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// Reads once. Ready with `false` at the end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, TransportError>> {
        let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read)).map_err(lost)?;
        self.reader.extend(read.filled());
        if self
            .handshake_memory
            .as_mut()
            .is_some_and(|handshake_memory| !handshake_memory.try_hold(self.reader.capacity()))
        {
            return Poll::Ready(Err(TransportError::admission_full()));
        }
        Poll::Ready(Ok(!read.filled().is_empty()))
    }

    /// Queues a control frame in place of one that was not begun, and writes it if that is possible at once.
    fn send_control(&mut self, cx: &mut Context<'_>, frame: &Bytes) -> Result<(), TransportError> {
        self.control = match self.control_begun {
            0 => frame.clone(),
            begun => [&self.control[..begun.into()], frame].concat().into(),
        };
        if self.writing.is_done() {
            // The rest is written when the device takes more.
            let _ = self.poll_control(cx)?;
        }
        Ok(())
    }

    /// Writes the queued control frames.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        while !self.control.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.control));
            let written = some(written)?;
            self.control.advance(written);
            let begun = usize::from(self.control_begun);
            let begun = if written > begun { self.control.len() } else { begun - written };
            // Two bytes and at most 125 (section 5.5).
            self.control_begun = begun as u8;
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(lost)?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the rest of the message in progress.
    fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut FrameBatch,
    ) -> Poll<Result<(), TransportError>> {
        while !self.writing.is_done() {
            let written = ready!(self.writing.poll_write(&mut self.stream, cx, batch));
            self.writing.advance(some(written)?, batch);
            self.unflushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads until the device confirms the close, or has gone.
    fn poll_close_confirmation(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        loop {
            match ready!(self.poll_next(cx))? {
                Some(Incoming::Close(_)) | None => return Poll::Ready(Ok(())),
                Some(_) => {}
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for WebSocketConnection<S> {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, TransportError>> {
        loop {
            if let Some(frame) = self.frames.next() {
                return Poll::Ready(frame.map(Some).map_err(TransportError::from));
            }
            match ready!(self.poll_message_in(cx))? {
                Some((MessageKind::Binary, message)) => self.frames = frame::split(message, self.frame_limit),
                Some((MessageKind::Text, _)) => {
                    return Poll::Ready(Err(TransportError::protocol(
                        "text messages are not part of the protocol",
                    )));
                }
                None => return Poll::Ready(Ok(None)),
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut FrameBatch,
    ) -> Poll<Result<(), TransportError>> {
        loop {
            ready!(self.poll_message(cx, batch))?;
            if batch.is_empty() || !self.control.is_empty() {
                ready!(self.poll_control(cx))?;
            }
            if batch.is_empty() {
                return Poll::Ready(Ok(()));
            }
            // All queued frames go together, so that they cost one message and one write.
            self.writing = Writing::begin(MessageKind::Binary, batch.bytes_up_to(WRITE_BYTES));
        }
    }

    fn set_frame_limit(&mut self, bytes: usize) {
        self.frame_limit = bytes;
        self.frames.set_limit(bytes);
        self.reader.set_limit(max_message_bytes(bytes));
        self.handshake_memory = None;
    }

    async fn close(mut self, close: Option<Close>, mut batch: FrameBatch) {
        if close.is_none() && !self.closed {
            return;
        }
        let goodbye = async {
            poll_fn(|cx| self.poll_message(cx, &mut batch)).await?;
            poll_fn(|cx| self.poll_control(cx)).await?;
            let close = match close {
                Some(close) if !self.closed => close,
                // The answer is written. The server is the first to end the connection (RFC 6455, section 7.1.1).
                _ => {
                    return poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await.map_err(lost);
                }
            };
            self.control = close_frame(close.code, fit_reason(&close.reason));
            poll_fn(|cx| self.poll_control(cx)).await?;
            // Reading on until the device closes too keeps the operating system from resetting the connection because of
            // unread bytes, which would destroy the close frame on its way.
            if self.unreadable {
                return drain(&mut self.stream).await.map_err(lost);
            }
            poll_fn(|cx| self.poll_close_confirmation(cx)).await.map_err(TransportError::from)
        };
        let _ = timeout(LINGER, goodbye).await;
    }
}

thread_local! {
    /// The buffer in which small frames are copied together. One for each thread suffices: a write is over before another begins.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Writing {
    fn begin(kind: MessageKind, payload: usize) -> Self {
        let (header, size) = message_header(kind, payload);
        Self { header, header_left: 0..size as u8, payload_left: payload }
    }

    fn is_done(&self) -> bool {
        self.header_left.is_empty() && self.payload_left == 0
    }

    fn header(&self) -> &[u8] {
        &self.header[usize::from(self.header_left.start)..usize::from(self.header_left.end)]
    }

    /// Advances by the written bytes.
    fn advance(&mut self, written: usize, batch: &mut FrameBatch) {
        let of_header = written.min(self.header_left.len());
        self.header_left.start += of_header as u8;
        self.payload_left -= written - of_header;
        batch.advance(written - of_header);
    }

    /// Writes once, as much as possible.
    fn poll_write<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        cx: &mut Context<'_>,
        batch: &FrameBatch,
    ) -> Poll<io::Result<usize>> {
        let is_large = batch.front().is_some_and(|first| first.len() >= LARGE_BYTES);
        if is_large && stream.is_write_vectored() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = self
                .pieces(batch)
                .zip(&mut slices)
                .map(|(piece, slice)| *slice = IoSlice::new(piece))
                .count();
            return Pin::new(stream).poll_write_vectored(cx, &slices[..used]);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            self.pieces(batch).for_each(|piece| scratch.extend_from_slice(piece));
            Pin::new(stream).poll_write(cx, scratch)
        })
    }

    /// Returns the slices to be written.
    fn pieces<'a>(&'a self, batch: &'a FrameBatch) -> impl Iterator<Item = &'a [u8]> {
        let mut left = self.payload_left;
        let of_batch = batch.iter().map_while(move |frames| {
            let piece = &frames[..frames.len().min(left)];
            left -= piece.len();
            (!piece.is_empty()).then_some(piece)
        });
        std::iter::once(self.header()).filter(|header| !header.is_empty()).chain(of_batch)
    }
}

/// Shuts down the stream, and reads on until the device has shut down too.
async fn drain<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_shutdown(cx)).await?;
    poll_fn(|cx| {
        loop {
            let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
            let mut read = ReadBuf::uninit(&mut bytes);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    })
    .await
}

/// Returns an error for a write of 0 bytes: the stream takes no more.
fn some(written: io::Result<usize>) -> Result<usize, TransportError> {
    written.ok().filter(|written| *written > 0).ok_or(TransportError::Lost)
}

fn lost(_: io::Error) -> TransportError {
    TransportError::Lost
}

#[cfg(any(test, feature = "bench"))]
mod echo;
#[cfg(feature = "bench")]
pub(super) use echo::echo;

#[cfg(test)]
mod tests;
