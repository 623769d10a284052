//! Frames on the wire: a varint length, then that many bytes of a protobuf `Frame`.
//!
//! A QUIC stream is a sequence of frames; a binary WebSocket message holds one or several whole ones. So the same
//! bytes serve both transports, and a server passes on what a back end encoded without looking into it.

use bytes::{Buf, Bytes, BytesMut};
use prost::Message as _;

use crate::{limits::MAX_PREFIX_BYTES, pb};

/// A byte sequence that is not a sequence of frames.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length prefix promises more than the limit.
    #[error("frame of {bytes} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// What the prefix says.
        bytes: u64,
        /// What is allowed.
        limit: usize,
    },
    /// The length prefix is not a 32-bit varint.
    #[error("frame length is not a varint of at most {MAX_PREFIX_BYTES} bytes")]
    BadLength,
    /// A message ended in the middle of a frame.
    #[error("message ends in the middle of a frame ({bytes} bytes left over)")]
    Truncated {
        /// How many bytes were left over.
        bytes: usize,
    },
    /// The bytes are not a protobuf `Frame`.
    #[error("frame is not valid protobuf: {0}")]
    Malformed(#[from] prost::DecodeError),
}

/// Encodes one frame, length prefix included.
pub fn encode(body: pb::frame::Body) -> Bytes {
    pb::Frame { body: Some(body) }.encode_length_delimited_to_vec().into()
}

/// Decodes the body of one frame (as [`split`] or [`take`] yield it). `None`: a frame that this version does not
/// know, to be ignored.
///
/// # Errors
/// [`FrameError::Malformed`].
pub fn decode(frame: Bytes) -> Result<Option<pb::frame::Body>, FrameError> {
    Ok(pb::Frame::decode(frame)?.body)
}

/// Takes the next frame's bytes, without the prefix, off the front of a stream's buffer. `None`: more bytes are needed.
///
/// # Errors
/// [`FrameError::TooLarge`] as soon as the prefix says so, [`FrameError::BadLength`]. The stream cannot go on then.
pub fn take(buffer: &mut BytesMut, limit: usize) -> Result<Option<Bytes>, FrameError> {
    let Some((prefix, length)) = read_prefix(buffer, limit)? else {
        return Ok(None);
    };
    if buffer.len() < prefix + length {
        return Ok(None);
    }
    buffer.advance(prefix);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// Cuts a whole WebSocket message into frames' bytes, without their prefixes. After an error nothing follows.
pub fn split(message: Bytes, limit: usize) -> Split {
    Split { rest: message, limit }
}

/// See [`split`].
#[derive(Debug)]
pub struct Split {
    rest: Bytes,
    limit: usize,
}

impl Iterator for Split {
    type Item = Result<Bytes, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let result = self.cut();
        if result.is_err() {
            self.rest.clear();
        }
        Some(result)
    }
}

impl Split {
    fn cut(&mut self) -> Result<Bytes, FrameError> {
        let bytes = self.rest.len();
        let (prefix, length) =
            read_prefix(&self.rest, self.limit)?.ok_or(FrameError::Truncated { bytes })?;
        if bytes < prefix + length {
            return Err(FrameError::Truncated { bytes });
        }
        self.rest.advance(prefix);
        Ok(self.rest.split_to(length))
    }
}

/// The prefix's own size and the length that it tells; `None` when the prefix is not complete yet.
fn read_prefix(bytes: &[u8], limit: usize) -> Result<Option<(usize, usize)>, FrameError> {
    let mut length = 0_u64;
    for (index, byte) in bytes.iter().take(MAX_PREFIX_BYTES).enumerate() {
        length |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return match usize::try_from(length) {
                Ok(length) if length <= limit => Ok(Some((index + 1, length))),
                _ => Err(FrameError::TooLarge { bytes: length, limit }),
            };
        }
    }
    if bytes.len() >= MAX_PREFIX_BYTES { Err(FrameError::BadLength) } else { Ok(None) }
}
