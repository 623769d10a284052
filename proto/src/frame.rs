//! Framing: a varint length, followed by that many bytes of a protobuf `Frame`.
//!
//! A QUIC stream is a sequence of frames; a binary WebSocket message contains one or several
//! complete ones. So the same bytes serve both transports, and a server passes on the frames of a
//! backend without decoding them.

use bytes::{Buf, Bytes, BytesMut};
use prost::Message as _;

use crate::{limits::MAX_PREFIX_BYTES, pb};

/// The bytes are no sequence of frames.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length prefix exceeds the limit.
    #[error("frame of {bytes} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// The length in the prefix.
        bytes: u64,
        /// The limit.
        limit: usize,
    },
    /// The length prefix is not a 32-bit varint.
    #[error("frame length is not a varint of at most {MAX_PREFIX_BYTES} bytes")]
    BadLength,
    /// A message ended in the middle of a frame.
    #[error("message ends in the middle of a frame ({bytes} bytes left over)")]
    Truncated {
        /// The number of remaining bytes.
        bytes: usize,
    },
    /// The bytes are not a protobuf `Frame`.
    #[error("frame is not valid protobuf: {0}")]
    Malformed(#[from] prost::DecodeError),
}

/// Encodes one frame, including its length prefix.
pub fn encode(body: pb::frame::Body) -> Bytes {
    pb::Frame { body: Some(body) }.encode_length_delimited_to_vec().into()
}

/// Decodes the body of one frame, as returned by [`split`] or [`take`]. Returns `None` for a frame
/// that this version does not know, which must be ignored.
///
/// # Errors
/// [`FrameError::Malformed`].
pub fn decode(frame: Bytes) -> Result<Option<pb::frame::Body>, FrameError> {
    Ok(pb::Frame::decode(frame)?.body)
}

/// Takes the next frame, without its prefix, off the front of a stream's buffer. Returns `None` if
/// more bytes are needed.
///
/// # Errors
/// [`FrameError::TooLarge`] as soon as the prefix exceeds the limit, [`FrameError::BadLength`]. The
/// stream cannot continue then.
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

/// Splits a complete WebSocket message into frames, without their prefixes. Ends after the first
/// error.
pub fn split(message: Bytes, limit: usize) -> Split {
    Split { rest: message, limit }
}

/// The iterator returned by [`split`].
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
    /// Sets the limit for the remaining frames.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    fn cut(&mut self) -> Result<Bytes, FrameError> {
        let bytes = self.rest.len();
        let (prefix, length) = read_prefix(&self.rest, self.limit)?.ok_or(FrameError::Truncated { bytes })?;
        if bytes < prefix + length {
            return Err(FrameError::Truncated { bytes });
        }
        self.rest.advance(prefix);
        Ok(self.rest.split_to(length))
    }
}

/// Returns the size of the prefix and the length in it; `None` if the prefix is incomplete.
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 300;

    fn take_from(bytes: &[u8], limit: usize) -> (Result<Option<Bytes>, FrameError>, BytesMut) {
        let mut buffer = BytesMut::from(bytes);
        (take(&mut buffer, limit), buffer)
    }

    fn split_all(bytes: &'static [u8]) -> Vec<Result<Bytes, FrameError>> {
        split(Bytes::from_static(bytes), LIMIT).collect()
    }

    /// Returns a prefix followed by that many bytes.
    fn frame_of(length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        prost::encode_length_delimiter(length, &mut bytes).unwrap();
        bytes.resize(bytes.len() + length, 0x55);
        bytes
    }

    #[test]
    fn a_frame_of_exactly_the_limit_passes_and_one_more_byte_does_not() {
        let (taken, rest) = take_from(&frame_of(LIMIT), LIMIT);
        assert_eq!(taken.unwrap().unwrap().len(), LIMIT);
        assert!(rest.is_empty());

        let too_large = FrameError::TooLarge { bytes: 301, limit: LIMIT };
        assert_eq!(take_from(&frame_of(LIMIT + 1), LIMIT).0, Err(too_large.clone()));
        assert_eq!(split(frame_of(LIMIT + 1).into(), LIMIT).next(), Some(Err(too_large)));
    }

    #[test]
    fn an_empty_frame_is_a_frame_without_a_body() {
        let (taken, rest) = take_from(&[0, 0], LIMIT);
        assert_eq!(taken, Ok(Some(Bytes::new())));
        assert_eq!(rest[..], [0]);
        assert_eq!(split_all(&[0, 0]), [Ok(Bytes::new()), Ok(Bytes::new())]);
        assert_eq!(decode(Bytes::new()), Ok(None));
        assert_eq!(take_from(&[0], 0).0, Ok(Some(Bytes::new())), "also where nothing else is allowed");
    }

    #[test]
    fn nothing_is_not_a_frame() {
        assert_eq!(take_from(&[], LIMIT).0, Ok(None));
        assert_eq!(split_all(&[]), []);
    }

    #[test]
    fn prefixes_have_up_to_five_bytes() {
        let five = [0x80, 0x80, 0x80, 0x80, 0x01];
        assert_eq!(
            take_from(&five, 1 << 28).0,
            Ok(None),
            "a length of exactly the limit, nothing of it here"
        );
        assert_eq!(take_from(&five, LIMIT).0, Err(FrameError::TooLarge { bytes: 1 << 28, limit: LIMIT }));
        for complete in 1..five.len() {
            assert_eq!(take_from(&five[..complete], LIMIT).0, Ok(None), "{complete} bytes of the prefix");
        }
        assert_eq!(take_from(&[0x80; 5], LIMIT).0, Err(FrameError::BadLength));
        assert_eq!(take_from(&[0xff; 9], usize::MAX).0, Err(FrameError::BadLength));
    }

    #[test]
    fn a_length_of_more_than_32_bits_is_too_large() {
        let too_large = FrameError::TooLarge { bytes: (1 << 35) - 1, limit: LIMIT };
        assert_eq!(take_from(&[0xff, 0xff, 0xff, 0xff, 0x7f], LIMIT).0, Err(too_large));
    }

    #[test]
    fn a_prefix_longer_than_needed_is_accepted() {
        let (taken, rest) = take_from(&[0x82, 0x80, 0x80, 0x80, 0x00, 1, 2, 3], LIMIT);
        assert_eq!(taken, Ok(Some(Bytes::from_static(&[1, 2]))));
        assert_eq!(rest[..], [3]);
    }

    #[test]
    fn an_unfinished_frame_stays_in_the_buffer() {
        let (taken, rest) = take_from(&[3, 1, 2], LIMIT);
        assert_eq!(taken, Ok(None));
        assert_eq!(rest[..], [3, 1, 2]);
    }

    #[test]
    fn a_message_must_end_with_a_frame() {
        assert_eq!(
            split_all(&[1, 9, 3, 1, 2]),
            [Ok(Bytes::from_static(&[9])), Err(FrameError::Truncated { bytes: 3 })]
        );
        assert_eq!(split_all(&[0x80]), [Err(FrameError::Truncated { bytes: 1 })]);
    }

    #[test]
    fn nothing_follows_an_error() {
        let mut frames = split(Bytes::from_static(&[0x80, 0x80, 0x80, 0x80, 0x80, 1, 9]), LIMIT);
        assert_eq!(frames.next(), Some(Err(FrameError::BadLength)));
        assert_eq!(frames.next(), None);
    }

    #[test]
    fn a_limit_can_change_within_a_message() {
        let message = [&[1, 9][..], &frame_of(LIMIT)].concat();
        let mut frames = split(message.into(), 1);
        assert_eq!(frames.next(), Some(Ok(Bytes::from_static(&[9]))));
        frames.set_limit(LIMIT);
        assert_eq!(frames.next().unwrap().unwrap().len(), LIMIT);
    }
}
