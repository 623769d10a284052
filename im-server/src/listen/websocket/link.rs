//! A device's frames on a WebSocket.

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

use super::framing::{self, Broken, Kind, MAX_HEADER_BYTES, Reader, Received};
use crate::{
    arrivals::Unheard,
    batch::Batch,
    link::{LINGER, Link, LinkError, WRITE_BYTES},
    outbox::Close,
};

/// How much is read in one go, into the stack: an idle connection holds no buffer.
const READ_BYTES: usize = 4096;

/// From this size on, frames are handed to the operating system where they lie; smaller ones are put together first, which
/// costs less than describing them.
const LARGE_BYTES: usize = 4096;

/// How many pieces of memory are written in one go without putting them together.
const SLICES: usize = 16;

/// See the module's description. Idle, it owns no memory beside its fields.
pub(super) struct WebSocketLink<S> {
    stream: S,
    reader: Reader,
    /// The frames of the message that is being read.
    frames: frame::Split,
    frame_limit: usize,
    /// What it holds counts until the device is let in.
    unheard: Option<Box<Unheard>>,
    writing: Writing,
    /// Control frames that go out between two messages: what is left of one that was begun, and one more. A device that
    /// sends pings faster than it reads the pongs gets the last one (RFC 6455, section 5.5.3).
    control: Bytes,
    /// How many of those bytes belong to the one that was begun.
    control_begun: u8,
    /// Whether something was written that is not flushed yet.
    unflushed: bool,
    /// The device has closed; the answer is in `control`, or written.
    closed: bool,
    /// What comes from the device means nothing any more.
    unreadable: bool,
}

/// Why nothing more can be read.
pub(super) enum ReadError {
    /// The device is told.
    Broken(Broken),
    Link(LinkError),
}

impl From<LinkError> for ReadError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl From<ReadError> for LinkError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Broken(broken) => broken.into(),
            ReadError::Link(error) => error,
        }
    }
}

/// The message that is being written: a header, then bytes from the front of the batch.
#[derive(Default)]
struct Writing {
    header: [u8; MAX_HEADER_BYTES],
    /// Which of the header's bytes are not written.
    header_left: std::ops::Range<u8>,
    /// How much of the batch belongs to the message.
    payload_left: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> WebSocketLink<S> {
    /// For a device that is not let in yet: a message holds `Hello` and nothing else.
    pub(super) fn arriving(stream: S, unheard: Unheard) -> Self {
        let unheard = Some(Box::new(unheard));
        Self { unheard, ..Self::new(stream, MAX_HELLO_BYTES + MAX_PREFIX_BYTES) }
    }

    /// `message_limit` bounds what a device may send in one message.
    pub(super) fn new(stream: S, message_limit: usize) -> Self {
        Self {
            stream,
            reader: Reader::new(message_limit),
            frames: frame::split(Bytes::new(), 0),
            frame_limit: MAX_HELLO_BYTES,
            unheard: None,
            writing: Writing::default(),
            control: Bytes::new(),
            control_begun: 0,
            unflushed: false,
            closed: false,
            unreadable: false,
        }
    }

    /// The next message, of either kind; `None` when the device has closed. Pings are answered.
    fn poll_message_in(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<(Kind, Bytes)>, ReadError>> {
        loop {
            match ready!(self.poll_next(context))? {
                Some(Received::Message(kind, message)) => return Poll::Ready(Ok(Some((kind, message)))),
                Some(Received::Ping(payload)) => self.send_control(context, &framing::pong(&payload))?,
                Some(Received::Pong) => {}
                Some(Received::Close(code)) => {
                    self.closed = true;
                    self.send_control(context, &framing::close_answer(code))?;
                    return Poll::Ready(Ok(None));
                }
                None => return Poll::Ready(Err(LinkError::Lost.into())),
            }
        }
    }

    /// What the device sends next; `None` when it has gone without a word.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Received>, ReadError>> {
        loop {
            match self.reader.next() {
                Ok(None) => {}
                Ok(received) => return Poll::Ready(Ok(received)),
                Err(broken) => {
                    self.unreadable = true;
                    return Poll::Ready(Err(ReadError::Broken(broken)));
                }
            }
            if !ready!(self.poll_read(context))? {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// False at the end of the stream.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, LinkError>> {
        let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut read)).map_err(lost)?;
        self.reader.extend(read.filled());
        if self.unheard.as_mut().is_some_and(|unheard| !unheard.try_hold(self.reader.capacity())) {
            return Poll::Ready(Err(LinkError::too_many_arrive()));
        }
        Poll::Ready(Ok(!read.filled().is_empty()))
    }

    /// Queues a control frame in place of one that was not begun, and writes it if that is possible at once.
    fn send_control(&mut self, context: &mut Context<'_>, frame: &Bytes) -> Result<(), LinkError> {
        self.control = match self.control_begun {
            0 => frame.clone(),
            begun => [&self.control[..begun.into()], frame].concat().into(),
        };
        if self.writing.is_done() {
            // What cannot be written now is when the device takes it.
            let _ = self.poll_control(context)?;
        }
        Ok(())
    }

    /// Writes the control frame that waits.
    fn poll_control(&mut self, context: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        while !self.control.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.control));
            let written = some(written)?;
            self.control.advance(written);
            let begun = usize::from(self.control_begun);
            let begun = if written > begun { self.control.len() } else { begun - written };
            // Two bytes and at most 125 (section 5.5).
            self.control_begun = begun as u8;
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context)).map_err(lost)?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the rest of the message that was begun.
    fn poll_message(&mut self, context: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<(), LinkError>> {
        while !self.writing.is_done() {
            let written = ready!(self.writing.poll_write(&mut self.stream, context, batch));
            self.writing.advance(some(written)?, batch);
            self.unflushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Until the device says that it has the close, or nothing more.
    fn poll_farewell(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        loop {
            match ready!(self.poll_next(context))? {
                Some(Received::Close(_)) | None => return Poll::Ready(Ok(())),
                Some(_) => {}
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Link for WebSocketLink<S> {
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, LinkError>> {
        loop {
            if let Some(frame) = self.frames.next() {
                return Poll::Ready(frame.map(Some).map_err(LinkError::from));
            }
            match ready!(self.poll_message_in(context))? {
                Some((Kind::Binary, message)) => self.frames = frame::split(message, self.frame_limit),
                Some((Kind::Text, _)) => {
                    return Poll::Ready(Err(LinkError::protocol(
                        "text messages are not part of the protocol",
                    )));
                }
                None => return Poll::Ready(Ok(None)),
            }
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<(), LinkError>> {
        loop {
            ready!(self.poll_message(context, batch))?;
            if batch.is_empty() || !self.control.is_empty() {
                ready!(self.poll_control(context))?;
            }
            if batch.is_empty() {
                return Poll::Ready(Ok(()));
            }
            // What waits goes together, so that it costs one message and one write.
            self.writing = Writing::begin(Kind::Binary, batch.bytes_up_to(WRITE_BYTES));
        }
    }

    fn set_frame_limit(&mut self, bytes: usize) {
        self.frame_limit = bytes;
        self.frames.set_limit(bytes);
        self.reader.set_limit(max_message_bytes(bytes));
        self.unheard = None;
    }

    async fn close(mut self, close: Option<Close>, mut batch: Batch) {
        if close.is_none() && !self.closed {
            return;
        }
        let goodbye = async {
            poll_fn(|context| self.poll_message(context, &mut batch)).await?;
            poll_fn(|context| self.poll_control(context)).await?;
            let close = match close {
                Some(close) if !self.closed => close,
                // The answer is written. The server is the first to end the connection (RFC 6455, section 7.1.1).
                _ => {
                    return poll_fn(|context| Pin::new(&mut self.stream).poll_shutdown(context))
                        .await
                        .map_err(lost);
                }
            };
            self.control = framing::close(close.code, fit_reason(&close.reason));
            poll_fn(|context| self.poll_control(context)).await?;
            // Reading on until the device closes too keeps the operating system from resetting the connection because of
            // unread bytes, which would destroy the close frame on its way.
            if self.unreadable {
                return drain(&mut self.stream).await.map_err(lost);
            }
            poll_fn(|context| self.poll_farewell(context)).await.map_err(LinkError::from)
        };
        let _ = timeout(LINGER, goodbye).await;
    }
}

thread_local! {
    /// Where small frames are put together. One for each thread: a write is over before another begins.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Writing {
    fn begin(kind: Kind, payload: usize) -> Self {
        let (header, size) = framing::message_header(kind, payload);
        Self { header, header_left: 0..size as u8, payload_left: payload }
    }

    fn is_done(&self) -> bool {
        self.header_left.is_empty() && self.payload_left == 0
    }

    fn header(&self) -> &[u8] {
        &self.header[usize::from(self.header_left.start)..usize::from(self.header_left.end)]
    }

    /// Notes that bytes are written.
    fn advance(&mut self, written: usize, batch: &mut Batch) {
        let of_header = written.min(self.header_left.len());
        self.header_left.start += of_header as u8;
        self.payload_left -= written - of_header;
        batch.advance(written - of_header);
    }

    /// One write, of as much as possible.
    fn poll_write<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        context: &mut Context<'_>,
        batch: &Batch,
    ) -> Poll<io::Result<usize>> {
        let is_large = batch.front().is_some_and(|first| first.len() >= LARGE_BYTES);
        if is_large && stream.is_write_vectored() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = self
                .pieces(batch)
                .zip(&mut slices)
                .map(|(piece, slice)| *slice = IoSlice::new(piece))
                .count();
            return Pin::new(stream).poll_write_vectored(context, &slices[..used]);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            self.pieces(batch).for_each(|piece| scratch.extend_from_slice(piece));
            Pin::new(stream).poll_write(context, scratch)
        })
    }

    /// What is to be written, piece by piece.
    fn pieces<'a>(&'a self, batch: &'a Batch) -> impl Iterator<Item = &'a [u8]> {
        let mut left = self.payload_left;
        let of_batch = batch.iter().map_while(move |frames| {
            let piece = &frames[..frames.len().min(left)];
            left -= piece.len();
            (!piece.is_empty()).then_some(piece)
        });
        std::iter::once(self.header()).filter(|header| !header.is_empty()).chain(of_batch)
    }
}

/// Says that nothing follows, and reads on until the device says so too.
async fn drain<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    poll_fn(|context| Pin::new(&mut *stream).poll_shutdown(context)).await?;
    poll_fn(|context| {
        loop {
            let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
            let mut read = ReadBuf::uninit(&mut bytes);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    })
    .await
}

/// Nothing written means that nothing ever will be.
fn some(written: io::Result<usize>) -> Result<usize, LinkError> {
    written.ok().filter(|written| *written > 0).ok_or(LinkError::Lost)
}

fn lost(_: io::Error) -> LinkError {
    LinkError::Lost
}

#[cfg(any(test, feature = "bench"))]
mod echo;
#[cfg(feature = "bench")]
pub(super) use echo::echo;

#[cfg(test)]
mod tests;
