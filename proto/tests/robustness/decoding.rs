//! Any bytes, decoded as any message.

use std::collections::BTreeSet;

use bytes::Bytes;
use im_proto::{frame, pb};
use proptest::{collection::vec, prelude::*};
use prost::Message;

use crate::{
    accident::{garbage, garbage_of_any_type},
    any,
    pool::POOL,
};

/// Lists each message once, with its decoder.
macro_rules! messages {
    ($($message:ident)+) => {
        const MESSAGES: &[(&str, fn(&Bytes) -> Result<(), TestCaseError>)] =
            &[$((stringify!($message), decode::<pb::$message>),)+];
    };
}

messages! {
    Accepted Ack Amended ArchivePlace ArchiveRecord BackEndAlive Call Card Change Channels Content ContentKind Conversation ConversationState
    Conversations ConversationsChanged ConversationsRequest Cursor Custom DeleteForMe Delivered Device DeviceFrame Done
    Envelope File Forwarded ForwardedEntry Found Frame GoAway Hello History HistoryRequest Image JoinRoom JoinedRoom Kick
    LastRecall LeaveRoom Limits Location Mark MarkRequest Marked Media Mentions Message Missed Notice Pin Ping Pong Presence
    Presences Publish PublishAnswer PublishHead PublishResult Push Quote RawConversation RawConversations RawFound RawFrame
    RawHistory RawJoinedRoom RawPush RawResponse Reached Reaction ReadReceipt Readers ReadersRequest Recall Record Refused
    Request RequestAnswer RequestHead Reset Response RoomLeft SearchRequest ServerInfo SettingStamp Signal SignalHead Signalled
    StoreReport StoredConversation Sync SyncDone SyncEnded SyncHint SyncRest TerminalPresence Text Typing Upstream UpstreamAck UpstreamAcks
    UpstreamMembership UpstreamPresence UpstreamPresences UpstreamPublish UpstreamRequest UpstreamSignal UpstreamSignals
    UpstreamStoreCheck UpstreamSync Video Voice Watch Welcome
}

#[test]
fn every_message_is_tried() {
    let all: BTreeSet<_> = POOL
        .all_messages()
        .filter(|message| !message.is_map_entry())
        .map(|message| message.name().to_owned())
        .collect();
    let tried: BTreeSet<_> = MESSAGES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(tried, all);
}

/// A decoded message takes, written again, at most twice the received bytes (a negative number in
/// five bytes is written in ten), and reads the same.
fn decode<M: Message + Default + PartialEq + std::fmt::Debug>(bytes: &Bytes) -> Result<(), TestCaseError> {
    if let Ok(message) = M::decode(bytes.clone()) {
        prop_assert!(message.encoded_len() <= 2 * bytes.len());
        let written = message.encode_to_vec();
        prop_assert_eq!(written.len(), message.encoded_len());
        // `Content::unknown` may hold fields of a kind that a later one replaced; they are not
        // written.
        let again = M::decode(&written[..]).unwrap();
        prop_assert!(again == message || again.encode_to_vec() == written, "{again:?} is not {message:?}");
    }
    Ok(())
}

fn decode_as_everything(bytes: &Bytes) -> Result<(), TestCaseError> {
    for (name, decode) in MESSAGES {
        decode(bytes).map_err(|error| TestCaseError::fail(format!("{name}: {error}")))?;
    }
    Ok(())
}

proptest! {
    #[test]
    fn decoding_anything_fails_or_yields_no_more_than_came(bytes in garbage()) {
        decode_as_everything(&bytes)?;
        for frame in frame::split(bytes, usize::MAX).flatten() {
            decode_as_everything(&frame)?;
        }
    }

    #[test]
    fn also_what_servers_and_back_ends_say(bytes in prop_oneof![any::message(), garbage_of_any_type()]) {
        decode_as_everything(&bytes)?;
    }

    #[test]
    fn what_a_frame_reads_a_device_frame_reads(bytes in garbage()) {
        for frame in frame::split(bytes, usize::MAX).flatten() {
            if frame::decode(frame.clone()).is_ok() {
                prop_assert!(pb::DeviceFrame::decode(frame).is_ok());
            }
        }
    }

    /// A few bytes that open thousands of nested messages must not overflow the stack.
    #[test]
    fn nothing_lies_too_deep(depth in 1_usize..3000, tags in vec(proptest::sample::select(NESTING_TAGS), 1..4)) {
        let mut bytes = Vec::new();
        for level in 0..depth {
            let mut outer = vec![tags[level % tags.len()]];
            prost::encode_length_delimiter(bytes.len(), &mut outer).unwrap();
            outer.append(&mut bytes);
            bytes = outer;
            if bytes.len() > 20_000 {
                break;
            }
        }
        decode_as_everything(&bytes.into())?;
    }
}

/// Fields 1 to 5, 8 and 10 with a length: between them they lead through every message that can
/// contain itself.
const NESTING_TAGS: &[u8] = &[0x0a, 0x12, 0x1a, 0x22, 0x2a, 0x42, 0x52];
