//! Free and reserved numbers.

use im_proto::pb;
use prost_reflect::MessageDescriptor;

use crate::{pool::POOL, says};

const CONTRIBUTING: &str = include_str!("../../../CONTRIBUTING.md");

/// The last number of a frame whose tag takes two bytes at most, and which a reader of golden
/// vectors must ignore.
const LAST_KEPT: u32 = 31;

fn message(name: &str) -> MessageDescriptor {
    POOL.get_message_by_name(&format!("im.v1.{name}")).unwrap()
}

#[test]
fn frames_to_come_have_the_numbers_that_are_told() {
    let next = message("Frame").fields().map(|field| field.number()).max().unwrap() + 1;
    assert!(next <= LAST_KEPT, "there is no number left: keep others, and say so");
    says(&format!("the body numbers **{next} to {LAST_KEPT} of `Frame`** are kept"));
    let kept = format!("the next free number in `Frame` ({next} to {LAST_KEPT} are kept for frames to come)");
    assert!(CONTRIBUTING.contains(&kept), "CONTRIBUTING.md does not say {kept:?}");
    // No number of a frame was left out, or removed.
    assert_eq!(message("Frame").fields().count() as u32, next - 1);
}

#[test]
fn content_to_come_has_the_numbers_that_are_told() {
    let content = message("Content");
    let body = content.oneofs().next().unwrap();
    let custom = content.get_field_by_name("custom").unwrap().number();
    let kinds: Vec<_> = body.fields().map(|field| field.number()).filter(|kind| *kind != custom).collect();
    let (next, last) = (kinds.iter().max().unwrap() + 1, custom - 1);
    says(&format!("the kinds **{next} to {last}**"));
    let field = content.fields().map(|field| field.number()).max().unwrap() + 1;
    says(&format!("the fields **from {field} on of\n  `Content`**"));
    // A reader of content takes all others as unknown.
    assert_eq!(pb::Content::default().unknown, Vec::<u8>::new());
}
