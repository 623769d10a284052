//! WebSocket frames (RFC 6455, section 5), the server's side, without I/O.
//!
//! This is not the library's code, since tokio-tungstenite holds a read buffer for every idle connection, keeps a write buffer as
//! large as the largest message was, and copies each message into it. The upgrade (section 4) is the library's.
//!
//! Devices send no text. It is supported here so that the Autobahn test suite can run against this code: see `tests/autobahn.sh`.

mod utf8;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use im_proto::{close::CloseCode, frame::FrameError};

use crate::connection::TransportError;

/// The longest header of a frame that a server writes, which never masks: two bytes and a 64-bit length (section 5.2).
pub(super) const MAX_HEADER_BYTES: usize = 10;

/// The largest payload of a control frame (section 5.5).
const MAX_CONTROL_BYTES: usize = 125;

/// Marks a message's last frame.
const FIN: u8 = 0x80;
/// The bits of extensions, none of which the server negotiates.
const RESERVED: u8 = 0x70;
/// Marks a masked payload, which a client's has to be (section 5.1).
const MASKED: u8 = 0x80;

// Opcodes (section 5.2).
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A unit that a device has sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A whole message.
    Message(MessageKind, Bytes),
    /// A ping, to be answered with the same payload (section 5.5.3).
    Ping(Bytes),
    /// A pong, which needs no answer.
    Pong,
    /// The last unit. Its code, if the device sent one, is repeated in the answer.
    Close(Option<u16>),
}

/// The kind of a message (section 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageKind {
    /// Valid UTF-8.
    Text,
    Binary,
}

/// A violation of the RFC or of the size limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FrameViolation {
    /// A frame, or an order of frames, that the RFC does not allow.
    Protocol(&'static str),
    /// Text that is not UTF-8 (section 8.1).
    NotUtf8,
    /// A message beyond the limit.
    TooLarge(FrameError),
}

impl From<FrameViolation> for TransportError {
    /// Uses the device protocol's own codes. They tell a device not to reconnect: its next attempt would fail in the same way.
    fn from(broken: FrameViolation) -> Self {
        match broken {
            FrameViolation::Protocol(reason) => Self::protocol(reason),
            FrameViolation::NotUtf8 => Self::protocol("text that is not UTF-8"),
            FrameViolation::TooLarge(error) => error.into(),
        }
    }
}

/// Assembles frames from bytes as they arrive. Between messages it owns no memory.
#[derive(Debug)]
pub(super) struct Reader {
    /// The beginning of an incomplete frame.
    bytes: BytesMut,
    /// The beginning of a message, of which more frames follow (section 5.4).
    fragments: Option<BytesMut>,
    /// Whether the message is text.
    is_text: bool,
    /// The largest message. 32 bits, so that `is_text` does not enlarge a connection.
    limit: u32,
}

impl Reader {
    pub(super) fn new(limit: usize) -> Self {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        Self { bytes: BytesMut::new(), fragments: None, is_text: false, limit }
    }

    /// Adds received bytes. At most a frame's header beyond the limit is stored, if [`Self::next`] is called until it returns
    /// `None` before more is read.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        let needed = self.bytes.len() + bytes.len();
        let most = if needed > self.bytes.capacity() { self.announced() } else { 0 };
        append(&mut self.bytes, bytes, most);
    }

    /// Returns the size of the incomplete frame, header included, or 0 if that is not known yet.
    fn announced(&self) -> usize {
        match Header::parse(&self.bytes) {
            Ok(Some(header)) => header.size + header.length.min(self.limit.into()) as usize,
            _ => 0,
        }
    }

    /// Sets the largest message from the next frame on.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = u32::try_from(limit).unwrap_or(u32::MAX);
    }

    /// Returns the size of the memory that it owns.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.fragments.as_ref().map_or(0, BytesMut::capacity)
    }

    /// Returns the next unit, or `None` if more bytes are needed. After an error, further bytes have no meaning.
    pub(super) fn next(&mut self) -> Result<Option<Incoming>, FrameViolation> {
        while let Some((opcode, is_final, payload)) = self.next_frame()? {
            if let Some(received) = self.accept(opcode, is_final, payload)? {
                return Ok(Some(received));
            }
        }
        Ok(None)
    }

    fn next_frame(&mut self) -> Result<Option<(u8, bool, BytesMut)>, FrameViolation> {
        let Some(header) = Header::parse(&self.bytes)? else { return Ok(None) };
        // The length of a control frame is bounded; for other frames, the size of the whole message counts.
        let before = self.fragments.as_ref().filter(|_| header.opcode == CONTINUATION);
        let bytes = header.length.saturating_add(before.map_or(0, BytesMut::len) as u64);
        if bytes > self.limit.into() {
            return Err(FrameViolation::TooLarge(FrameError::TooLarge { bytes, limit: self.limit as usize }));
        }
        let length = header.length as usize;
        if self.bytes.len() < header.size + length {
            return Ok(None);
        }
        self.bytes.advance(header.size);
        let mut payload = if self.bytes.len() == length {
            std::mem::take(&mut self.bytes)
        } else {
            self.bytes.split_to(length)
        };
        unmask(&mut payload, header.mask);
        Ok(Some((header.opcode, header.is_final, payload)))
    }

    fn accept(
        &mut self,
        opcode: u8,
        is_final: bool,
        payload: BytesMut,
    ) -> Result<Option<Incoming>, FrameViolation> {
        let (message, known) = match (opcode, self.fragments.take()) {
            (TEXT | BINARY, None) => {
                self.is_text = opcode == TEXT;
                (payload, 0)
            }
            (CONTINUATION, Some(mut message)) => {
                let known = message.len();
                append(&mut message, &payload, self.limit as usize);
                (message, known)
            }
            (CONTINUATION, None) => return Err(FrameViolation::Protocol("a continuation of no message")),
            (TEXT | BINARY, Some(_)) => {
                return Err(FrameViolation::Protocol("a message begins inside another"));
            }
            // Control frames may come between a message's frames.
            (control, fragments) => {
                self.fragments = fragments;
                return received_control(control, payload).map(Some);
            }
        };
        if self.is_text && !utf8::is_valid_prefix(&message, known, is_final) {
            return Err(FrameViolation::NotUtf8);
        }
        if is_final {
            let kind = if self.is_text { MessageKind::Text } else { MessageKind::Binary };
            return Ok(Some(Incoming::Message(kind, message.freeze())));
        }
        self.fragments = Some(message);
        Ok(None)
    }
}

/// Appends bytes. A buffer that must grow doubles, but not beyond `most` if the bytes fit into that.
fn append(buffer: &mut BytesMut, bytes: &[u8], most: usize) {
    let needed = buffer.len() + bytes.len();
    if needed > buffer.capacity() {
        let mut larger = BytesMut::with_capacity((2 * buffer.capacity()).min(most).max(needed));
        larger.extend_from_slice(buffer);
        *buffer = larger;
    }
    buffer.extend_from_slice(bytes);
}

fn received_control(opcode: u8, payload: BytesMut) -> Result<Incoming, FrameViolation> {
    match opcode {
        PING => Ok(Incoming::Ping(payload.freeze())),
        PONG => Ok(Incoming::Pong),
        _ => received_close(&payload).map(Incoming::Close),
    }
}

/// Reads a close (section 5.5.1): nothing, or a code and a reason in UTF-8.
fn received_close(payload: &[u8]) -> Result<Option<u16>, FrameViolation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        let fits = payload.is_empty().then_some(None);
        return fits.ok_or(FrameViolation::Protocol("half a close code"));
    };
    let code = u16::from_be_bytes(*code);
    if !may_be_sent(code) {
        return Err(FrameViolation::Protocol("a close code that is never sent"));
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(FrameViolation::NotUtf8);
    }
    Ok(Some(code))
}

/// Returns whether a close code may be sent (section 7.4): codes below 3000 must be defined, and some of those are never sent.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// A frame's header (section 5.2).
struct Header {
    is_final: bool,
    opcode: u8,
    mask: [u8; 4],
    /// The length of the payload.
    length: u64,
    /// The size of the header itself.
    size: usize,
}

impl Header {
    /// Returns `None` if more bytes are needed.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, FrameViolation> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        let (is_final, opcode) = (first & FIN != 0, first & 0x0f);
        if first & RESERVED != 0 {
            return Err(FrameViolation::Protocol("reserved bits of a WebSocket frame are set"));
        }
        if second & MASKED == 0 {
            return Err(FrameViolation::Protocol("a device's WebSocket frames must be masked"));
        }
        let Some((length, length_bytes)) = read_length(second & !MASKED, rest) else { return Ok(None) };
        match opcode {
            CONTINUATION | TEXT | BINARY => {}
            CLOSE | PING | PONG if is_final && length <= MAX_CONTROL_BYTES as u64 => {}
            CLOSE | PING | PONG => {
                return Err(FrameViolation::Protocol("a control frame is too large or in parts"));
            }
            _ => return Err(FrameViolation::Protocol("a WebSocket frame of an unknown kind")),
        }
        let Some(mask) = rest[length_bytes..].first_chunk() else { return Ok(None) };
        Ok(Some(Self { is_final, opcode, mask: *mask, length, size: 2 + length_bytes + mask.len() }))
    }
}

/// Returns a payload's length and how many further bytes hold it, or `None` if more bytes are needed.
fn read_length(short: u8, rest: &[u8]) -> Option<(u64, usize)> {
    match short {
        126 => rest.first_chunk().map(|bytes| (u16::from_be_bytes(*bytes).into(), 2)),
        127 => rest.first_chunk().map(|bytes| (u64::from_be_bytes(*bytes), 8)),
        short => Some((short.into(), 0)),
    }
}

/// Unmasks a payload (section 5.3).
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let mut chunks = payload.chunks_exact_mut(mask.len());
    for chunk in &mut chunks {
        chunk.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }
    chunks.into_remainder().iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

/// Returns the header of a message of this length in one frame, and the size of the header.
pub(super) fn message_header(kind: MessageKind, length: usize) -> ([u8; MAX_HEADER_BYTES], usize) {
    let mut header = [0; MAX_HEADER_BYTES];
    let mut rest = header.as_mut_slice();
    rest.put_u8(match kind {
        MessageKind::Text => FIN | TEXT,
        MessageKind::Binary => FIN | BINARY,
    });
    match length {
        0..=125 => rest.put_u8(length as u8),
        126..=0xffff => {
            rest.put_u8(126);
            rest.put_u16(length as u16);
        }
        _ => {
            rest.put_u8(127);
            rest.put_u64(length as u64);
        }
    }
    let size = MAX_HEADER_BYTES - rest.len();
    (header, size)
}

/// Encodes the answer to a ping.
pub(super) fn pong_frame(payload: &[u8]) -> Bytes {
    control(PONG, &[payload])
}

/// Encodes a close with a code and a reason of at most 123 bytes.
pub(super) fn close_frame(code: CloseCode, reason: &str) -> Bytes {
    control(CLOSE, &[&code.code().to_be_bytes(), reason.as_bytes()])
}

/// Encodes the answer to a close, which repeats the code.
pub(super) fn close_answer_frame(code: Option<u16>) -> Bytes {
    match code {
        Some(code) => control(CLOSE, &[&code.to_be_bytes()]),
        None => control(CLOSE, &[]),
    }
}

fn control(opcode: u8, parts: &[&[u8]]) -> Bytes {
    let payload = parts.concat();
    debug_assert!(payload.len() <= MAX_CONTROL_BYTES);
    let mut frame = BytesMut::with_capacity(2 + payload.len());
    frame.put_u8(FIN | opcode);
    frame.put_u8(payload.len() as u8);
    frame.extend_from_slice(&payload);
    frame.freeze()
}

#[cfg(test)]
mod tests;
