//! Devices that keep to the protocol and ask for too much, for nonsense or for what belongs to others: they are
//! refused, and nothing changes for anybody.

mod contents;
mod floods;
mod removed_members;
mod requests;
mod rooms;
mod unsolicited;

use im_proto::{pb, pb::frame::Body, pb::request::Question};
use im_sdk::{cluster::LogId, id::UserId};
use im_tests::{
    Stack, Via,
    raw::{Heard, Raw},
    timeline_device::TimelineDevice,
};

fn id(name: &str) -> UserId {
    name.parse().unwrap()
}

/// Connects two devices of alice and one of bob.
async fn three(stack: &Stack, via: Via) -> [TimelineDevice; 3] {
    [
        TimelineDevice::connect(stack, "alice", "ios/phone", 0, via).await,
        TimelineDevice::connect(stack, "alice", "web/tab", 0, via).await,
        TimelineDevice::connect(stack, "bob", "desktop/pc", 0, via).await,
    ]
}

/// Logs in and waits until the initial sync is complete.
async fn raw(stack: &Stack, user: &str, via: Via) -> Raw {
    let mut raw = Raw::connect(stack, 0, via).await;
    raw.log_in(user).await;
    while !matches!(raw.heard().await, Heard::Frame(Body::SyncDone(_))) {}
    raw
}

/// Publishes under `number` and returns the message id, or the refusal.
async fn publish(raw: &mut Raw, number: u64, publish: pb::Publish) -> Result<u64, (pb::RefusalKind, String)> {
    raw.send_frame(Body::Publish(pb::Publish { number, ..publish })).await;
    loop {
        match raw.heard().await {
            Heard::Frame(Body::PublishResult(result)) if result.number == number => {
                return match result.outcome.unwrap() {
                    pb::publish_result::Outcome::Accepted(accepted) => Ok(accepted.message_id),
                    pb::publish_result::Outcome::Refused(refused) => {
                        assert_eq!(refused.retry_after_ms, 0, "{refused:?}: trying again is of no use");
                        Err((refused.kind(), refused.reason))
                    }
                };
            }
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("closed: {code}"),
        }
    }
}

async fn ask(raw: &mut Raw, number: u64, question: Question) -> pb::response::Outcome {
    raw.send_frame(Body::Request(pb::Request { number, question: Some(question) })).await;
    loop {
        match raw.heard().await {
            Heard::Frame(Body::Response(response)) if response.number == number => {
                return response.outcome.unwrap();
            }
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("closed: {code}"),
        }
    }
}

fn invalid(outcome: &pb::response::Outcome) -> bool {
    matches!(outcome, pb::response::Outcome::Refused(refused)
        if refused.kind() == pb::RefusalKind::Invalid && refused.retry_after_ms == 0)
}

async fn last(stack: &Stack, log: LogId) -> u64 {
    stack.cluster().log().ends(&[log]).await.unwrap()[0].last
}
