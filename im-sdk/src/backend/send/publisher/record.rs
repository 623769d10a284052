//! Encoding of records in an envelope. The sender of a record encodes it behind the queued ones, so
//! that a link's task only puts the envelope's head in front.

use prost::{
    Message as _,
    encoding::{WireType, encode_key},
};

use crate::proto::pb;

/// `Envelope.records`.
const RECORDS: u32 = 4;

/// Adds a record as a field of an envelope.
pub(super) fn encode(record: &pb::Record, records: &mut Vec<u8>) {
    encode_key(RECORDS, WireType::LengthDelimited, records);
    // Fails only for a buffer that cannot grow.
    let _ = record.encode_length_delimited(records);
}

/// Encodes an envelope with encoded records.
pub(super) fn envelope(head: &pb::Envelope, records: &[u8]) -> Vec<u8> {
    let head = head.encode_to_vec();
    [&head, records].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_are_joined_are_those_of_the_envelope() {
        let record = |number| pb::Record {
            connections: vec![number, 7],
            effect: Some(pb::record::Effect::Frames(vec![1; 300].into())),
            ..Default::default()
        };
        let head =
            pb::Envelope { publisher: "be-1".into(), number: 3, answer_to: "a".into(), ..Default::default() };
        let records = [record(1), record(2)];
        let mut joined = Vec::new();
        records.iter().for_each(|record| encode(record, &mut joined));
        let decoded = pb::Envelope::decode(&*envelope(&head, &joined)).unwrap();
        assert_eq!(decoded, pb::Envelope { records: records.into(), ..head });
    }
}
