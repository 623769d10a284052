//! Records as they stand in an envelope. Each is encoded by whoever sends it, so that the task of a link only joins them.

use prost::{
    Message as _,
    encoding::{WireType, encode_key},
};

use crate::proto::pb;

/// `Envelope.records`.
const RECORDS: u32 = 4;

/// A record as a field of an envelope.
#[derive(Debug)]
pub(super) struct Encoded(pub(super) Vec<u8>);

impl Encoded {
    pub(super) fn new(record: &pb::Record) -> Self {
        // A key and a length of up to ten bytes.
        let mut encoded = Vec::with_capacity(record.encoded_len() + 11);
        encode_key(RECORDS, WireType::LengthDelimited, &mut encoded);
        // Only a buffer that cannot grow has too little room.
        let _ = record.encode_length_delimited(&mut encoded);
        Self(encoded)
    }
}

/// An envelope of records that are encoded already.
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
        let joined: Vec<u8> = records.iter().flat_map(|record| Encoded::new(record).0).collect();
        let decoded = pb::Envelope::decode(&*envelope(&head, &joined)).unwrap();
        assert_eq!(decoded, pb::Envelope { records: records.into(), ..head });
    }
}
