//! Servers and backends read and write the same bytes with types of their own.

use bytes::Bytes;
use im_proto::{
    frame,
    pb::{self, device_frame, frame::Body, response},
};
use prost::Message;

use crate::{asked::*, cluster::*, conversations::conversations, golden::unhex, list::frames, said::*};

/// A server reads devices' frames as `DeviceFrame`: the fields that it knows must have the same
/// values, and other frames have no body.
#[test]
fn device_frames_read_what_frames_write() {
    for (name, body) in frames() {
        let read = read_as_device_frame(body.clone());
        let expected = match body {
            Body::Hello(hello) => Some(device_frame::Body::Hello(hello)),
            Body::Ping(ping) => Some(device_frame::Body::Ping(ping)),
            Body::Pong(pong) => Some(device_frame::Body::Pong(pong)),
            Body::Publish(publish) => Some(device_frame::Body::Publish(publish.encode_to_vec().into())),
            Body::Sync(sync) => Some(device_frame::Body::Sync(sync.encode_to_vec().into())),
            Body::Ack(ack) => Some(device_frame::Body::Ack(ack.encode_to_vec().into())),
            Body::Request(request) => Some(device_frame::Body::Request(request.encode_to_vec().into())),
            Body::Signal(signal) => Some(device_frame::Body::Signal(signal.encode_to_vec().into())),
            Body::Signalled(_) | Body::Presence(_) | Body::RoomLeft(_) | Body::ConversationsChanged(_) => {
                None
            }
            Body::Welcome(_) | Body::Push(_) | Body::PublishResult(_) | Body::GoAway(_) => None,
            Body::SyncDone(_) | Body::Reset(_) | Body::SyncHint(_) | Body::Response(_) => None,
        };
        assert_eq!(read.body, expected, "{name}");
        match read.body {
            Some(device_frame::Body::Publish(bytes)) => {
                let (publish, head) = (pb::Publish::decode(bytes.clone()), pb::PublishHead::decode(bytes));
                let (publish, head) = (publish.unwrap(), head.unwrap());
                assert_eq!((head.number, head.channel), (publish.number, publish.channel), "{name}");
            }
            Some(device_frame::Body::Request(bytes)) => {
                let number = pb::Request::decode(bytes.clone()).unwrap().number;
                assert_eq!(pb::RequestHead::decode(bytes).unwrap().number, number, "{name}");
            }
            Some(device_frame::Body::Signal(bytes)) => {
                let channel = pb::Signal::decode(bytes.clone()).unwrap().channel;
                assert_eq!(pb::SignalHead::decode(bytes).unwrap().channel, channel, "{name}");
            }
            _ => {}
        }
    }
}

/// A server passes on the device's bytes, including fields unknown to this version, in the device's
/// order.
#[test]
fn a_publish_is_passed_on_byte_for_byte() {
    let publish = unhex("1a 06 0a 04 0a 02 68 69 f8 07 05 12 03 62 6f 62 08 01");
    let frame = pb::DeviceFrame { body: Some(device_frame::Body::Publish(publish.clone())) };
    let bytes = Bytes::from(frame.encode_to_vec());

    let read = pb::DeviceFrame::decode(bytes.clone()).unwrap();
    let Some(device_frame::Body::Publish(passed_on)) = read.body else { panic!("{read:?}") };
    assert_eq!(passed_on, publish);
    assert!(bytes.as_ptr_range().contains(&passed_on.as_ptr()), "shared, not copied");

    let known = frame::decode(bytes).unwrap();
    assert_eq!(known, Some(self::publish(1, "bob", text("hi"))));
}

/// A backend writes entries as `RawFrame`, with the message as in the log: devices read a `Frame`.
#[test]
fn raw_frames_read_as_frames() {
    let raw = pb::RawFrame { push: Some(raw_push()), response: None }.encode_to_vec();
    let read = frame::decode(raw.into()).unwrap();
    let push = entry("team", 7, push("bob", "", text("to the team")));
    assert_eq!(read, Some(push.clone()));

    let Body::Push(push) = push else { panic!("{push:?}") };
    let history = pb::History { entries: vec![push], more: true, ..Default::default() };
    let read = frame::decode(raw_response().encode_to_vec().into()).unwrap();
    assert_eq!(read, Some(response(3, response::Outcome::History(history))));
    let read = frame::decode(raw_conversations().encode_to_vec().into()).unwrap();
    assert_eq!(read, Some(response(4, response::Outcome::Conversations(conversations()))));

    let read = frame::decode(raw_joined_room().encode_to_vec().into()).unwrap();
    assert_eq!(read, Some(response(4, response::Outcome::JoinedRoom(joined_room()))));

    let read = frame::decode(raw_found().encode_to_vec().into()).unwrap();
    assert_eq!(read, Some(response(4, response::Outcome::Found(found()))));
}

pub(crate) fn read_as_device_frame(body: Body) -> pb::DeviceFrame {
    let frame = pb::Frame { body: Some(body) };
    pb::DeviceFrame::decode(&frame.encode_to_vec()[..]).unwrap()
}
