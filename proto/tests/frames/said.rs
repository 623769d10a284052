//! Vectors of messages, results and signals.

use bytes::Bytes;
use im_proto::pb::{
    self, CallStep, RefusalKind, Terminal, content, frame::Body, publish_result::Outcome, signal, signalled,
};

use crate::session::{device, message_id};

pub(crate) fn text(text: &str) -> pb::Content {
    content::Body::Text(pb::Text { text: text.into() }).into()
}

pub(crate) fn custom(kind: &str, data: &'static [u8]) -> pb::Content {
    let data = Bytes::from_static(data);
    content::Body::Custom(pb::Custom { kind: kind.into(), data }).into()
}

pub(crate) fn push(from: &str, to: &str, content: pb::Content) -> Body {
    let message = pb::Message {
        id: message_id(),
        from: from.into(),
        to: to.into(),
        content: Some(content),
        ..Default::default()
    };
    Body::Push(pb::Push { message: Some(message), ..Default::default() })
}

/// Adds its position in a log to a push.
pub(crate) fn entry(channel: &str, seq: u64, push: Body) -> Body {
    let Body::Push(push) = push else { panic!("{push:?}") };
    Body::Push(pb::Push { channel: channel.into(), seq, ..push })
}

pub(crate) fn publish(number: u64, to: &str, content: pb::Content) -> Body {
    Body::Publish(pb::Publish { number, to: to.into(), content: Some(content), ..Default::default() })
}

pub(crate) fn publish_to_channel(number: u64, channel: &str, content: pb::Content) -> Body {
    let channel = channel.to_owned();
    Body::Publish(pb::Publish { number, content: Some(content), channel, ..Default::default() })
}

pub(crate) fn publish_of_installation(number: u64, to: &str, content: pb::Content) -> Body {
    let installation = 0x0123_4567_89ab_cdef;
    Body::Publish(pb::Publish {
        number,
        to: to.into(),
        content: Some(content),
        installation,
        ..Default::default()
    })
}

pub(crate) fn publish_with_origin(number: u64, to: &str, content: pb::Content) -> Body {
    let Body::Publish(publish) = publish_of_installation(number, to, content) else { panic!("no publish") };
    Body::Publish(pb::Publish { origin: ORIGIN, ..publish })
}

/// Returns a push with the `origin` of the publish from which it results.
pub(crate) fn push_with_origin(from: &str, to: &str, content: pb::Content) -> Body {
    let Body::Push(push) = push(from, to, content) else { panic!("no push") };
    let message = push.message.map(|message| pb::Message { origin: ORIGIN, ..message });
    Body::Push(pb::Push { message, ..push })
}

const ORIGIN: u64 = 0xfedc_ba98_7654_3210;

pub(crate) fn result(number: u64, outcome: Outcome) -> Body {
    Body::PublishResult(pb::PublishResult { number, outcome: Some(outcome) })
}

pub(crate) fn accepted(message_id: u64, answer: &'static [u8]) -> Outcome {
    Outcome::Accepted(pb::Accepted { message_id, answer: Bytes::from_static(answer) })
}

pub(crate) fn refused(kind: RefusalKind, reason: &str, code: i32, retry_after_ms: u32) -> Outcome {
    Outcome::Refused(pb::Refused { kind: kind.into(), reason: reason.into(), code, retry_after_ms })
}

pub(crate) fn signal(body: signal::Body) -> Body {
    Body::Signal(pb::Signal { to: "bob".into(), body: Some(body), ..Default::default() })
}

pub(crate) fn signal_to_channel() -> Body {
    let body = signal::Body::Typing(pb::Typing { stopped: true });
    Body::Signal(pb::Signal { channel: "lobby".into(), body: Some(body), ..Default::default() })
}

pub(crate) fn signal_to_device() -> Body {
    let device = Some(device(Terminal::Ios, "4f1c"));
    let body = Some(signal::Body::Call(call(CallStep::Candidate, b"udp")));
    Body::Signal(pb::Signal { to: "bob".into(), channel: String::new(), device, body })
}

pub(crate) fn signalled(channel: &str, body: signalled::Body) -> Body {
    let (from, device) = ("alice".into(), Some(device(Terminal::Web, "tab-1")));
    Body::Signalled(pb::Signalled { from, device, channel: channel.into(), body: Some(body) })
}

pub(crate) fn call(step: CallStep, data: &'static [u8]) -> pb::Call {
    pb::Call { id: "c-17".into(), step: step.into(), data: Bytes::from_static(data) }
}

pub(crate) fn custom_signal() -> pb::Custom {
    pb::Custom { kind: "cursor".into(), data: Bytes::from_static(b"\x00\xff") }
}
