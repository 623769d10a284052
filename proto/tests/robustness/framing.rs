//! Boundaries of frames, in streams and in messages.

use bytes::{Bytes, BytesMut};
use im_proto::{
    frame::{self, FrameError},
    limits::MAX_PREFIX_BYTES,
    pb::frame::Body,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{LIMIT, accident::garbage, any::body, concatenation};

proptest! {
    #[test]
    fn a_stream_in_any_chunks_yields_what_was_written(
        bodies in vec(body(), 0..12),
        cuts in vec(any::<Index>(), 0..24),
    ) {
        let stream = concatenation(&bodies);
        let (frames, end) = take_in_chunks(&stream, &cuts, usize::MAX);
        prop_assert_eq!(end, Ok(0));
        prop_assert_eq!(decode_all(frames), bodies);
    }

    #[test]
    fn a_message_of_whole_frames_yields_what_was_written(bodies in vec(body(), 0..12)) {
        let frames: Result<Vec<_>, _> = frame::split(concatenation(&bodies), usize::MAX).collect();
        prop_assert_eq!(decode_all(frames.unwrap()), bodies);
    }

    #[test]
    fn a_cut_message_yields_its_whole_frames_and_an_error(bodies in vec(body(), 1..6), cut in any::<Index>()) {
        let whole = concatenation(&bodies);
        let part = whole.slice(..cut.index(whole.len()));
        let ends = ends(&bodies);
        let complete = ends.iter().filter(|end| **end <= part.len()).count();
        let begun = part.len() - complete.checked_sub(1).map_or(0, |last| ends[last]);

        let (frames, error) = split_until_error(part, usize::MAX);
        prop_assert_eq!(decode_all(frames), &bodies[..complete]);
        prop_assert_eq!(error, (begun > 0).then_some(FrameError::Truncated { bytes: begun }));
    }

    #[test]
    fn a_stream_and_a_message_read_the_same(bytes in garbage(), cuts in vec(any::<Index>(), 0..12)) {
        let (from_message, error) = split_until_error(bytes.clone(), LIMIT);
        let (from_stream, end) = take_in_chunks(&bytes, &cuts, LIMIT);
        prop_assert_eq!(from_stream, from_message);
        match (end, error) {
            (Ok(0), None) => {}
            (Ok(left), Some(FrameError::Truncated { bytes })) => prop_assert_eq!(left, bytes),
            (Err(from_stream), Some(from_message)) => prop_assert_eq!(from_stream, from_message),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn no_frame_is_larger_than_the_limit(bytes in garbage(), limit in 0_usize..64) {
        for frame in frame::split(bytes, limit).flatten() {
            prop_assert!(frame.len() <= limit);
        }
    }

    #[test]
    fn an_over_limit_prefix_is_refused_at_its_last_byte(limit in 0_u32..1 << 20, over in 1_u32..=u32::MAX - (1 << 20)) {
        let mut prefix = Vec::new();
        prost::encode_length_delimiter((limit + over) as usize, &mut prefix).unwrap();
        let mut buffer = BytesMut::new();
        for (index, byte) in prefix.iter().enumerate() {
            buffer.extend_from_slice(&[*byte]);
            let taken = frame::take(&mut buffer, limit as usize);
            if index + 1 < prefix.len() {
                prop_assert_eq!(taken, Ok(None));
            } else {
                let too_large = FrameError::TooLarge { bytes: (limit + over).into(), limit: limit as usize };
                prop_assert_eq!(taken, Err(too_large));
            }
        }
    }
}

/// Returns the end of each frame in the concatenation.
fn ends(bodies: &[Body]) -> Vec<usize> {
    let sizes = bodies.iter().map(|body| frame::encode(body.clone()).len());
    sizes
        .scan(0, |end, size| {
            *end += size;
            Some(*end)
        })
        .collect()
}

fn decode_all(frames: Vec<Bytes>) -> Vec<Body> {
    frames.into_iter().map(|frame| frame::decode(frame).unwrap().unwrap()).collect()
}

/// Returns the frames, and the error that ended them.
fn split_until_error(message: Bytes, limit: usize) -> (Vec<Bytes>, Option<FrameError>) {
    let mut frames = Vec::new();
    let mut rest = frame::split(message, limit);
    for frame in rest.by_ref() {
        match frame {
            Ok(frame) => frames.push(frame),
            Err(error) => {
                assert_eq!(rest.next(), None, "nothing follows an error");
                return (frames, Some(error));
            }
        }
    }
    (frames, None)
}

/// Returns the frames of a stream that arrives in chunks, and the number of remaining bytes, or the
/// error that ended it.
fn take_in_chunks(stream: &[u8], cuts: &[Index], limit: usize) -> (Vec<Bytes>, Result<usize, FrameError>) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.push(stream.len());
    cuts.sort_unstable();

    let (mut frames, mut buffer, mut fed) = (Vec::new(), BytesMut::new(), 0);
    for cut in cuts {
        buffer.extend_from_slice(&stream[fed..cut]);
        fed = cut;
        loop {
            match frame::take(&mut buffer, limit) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
        assert!(buffer.len() < MAX_PREFIX_BYTES.saturating_add(limit), "what waits is less than one frame");
    }
    (frames, Ok(buffer.len()))
}
