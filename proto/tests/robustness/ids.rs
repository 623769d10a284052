//! Ids, close codes and reasons as arbitrary texts and numbers.

use im_proto::{
    close::{CloseCode, fit_reason},
    id::{ChannelId, Device, DeviceId, MessageId, NodeId, ServerId, Terminal, UserId},
    limits::MAX_CLOSE_REASON_BYTES,
    pb,
};
use proptest::prelude::*;

proptest! {
    #[test]
    fn ids_are_refused_or_read_back(text in id_text()) {
        reads_back::<UserId>(&text)?;
        reads_back::<DeviceId>(&text)?;
        reads_back::<ChannelId>(&text)?;
        reads_back::<ServerId>(&text)?;
        reads_back::<Device>(&text)?;
        reads_back::<Terminal>(&text)?;
        if let Ok(id) = text.parse::<MessageId>() {
            prop_assert_eq!(id.to_string().parse::<MessageId>().unwrap(), id);
        }
    }

    #[test]
    fn a_device_is_refused_or_read_back(terminal in prop_oneof![-1..9, any::<i32>()], id in id_text()) {
        let wire = pb::Device { terminal, id };
        if let Ok(device) = Device::try_from(wire.clone()) {
            let again = pb::Device::from(&device);
            prop_assert_eq!(&again.id, &wire.id);
            prop_assert_eq!(Device::try_from(again).unwrap(), device);
        }
    }

    #[test]
    fn message_ids_are_refused_or_read_back(id: u64) {
        prop_assert_eq!(MessageId::from_u64(id).is_some(), id != 0 && id < 1 << 63);
        if let Some(read) = MessageId::from_u64(id) {
            prop_assert_eq!(read.as_u64(), id);
            prop_assert_eq!(MessageId::from_parts(read.unix_ms(), read.node(), read.sequence()), read);
        }
    }

    #[test]
    fn message_ids_hold_their_parts(unix_ms: u64, node in 0..NodeId::COUNT, sequence in 0..MessageId::PER_MS) {
        let node = NodeId::new(node).unwrap();
        let id = MessageId::from_parts(unix_ms, node, sequence);
        prop_assert_eq!(MessageId::from_u64(id.as_u64()), Some(id));
        prop_assert_eq!((id.node(), id.sequence()), (node, sequence));
        prop_assert_eq!(MessageId::from_parts(id.unix_ms(), node, sequence), id);
    }

    #[test]
    fn reasons_are_cut_no_more_than_needed(reason in "\\PC{0,150}") {
        let fitted = fit_reason(&reason);
        prop_assert!(reason.starts_with(fitted) && fitted.len() <= MAX_CLOSE_REASON_BYTES);
        let next = reason[fitted.len()..].chars().next().map_or(usize::MAX, char::len_utf8);
        prop_assert!(next == usize::MAX || fitted.len() + next > MAX_CLOSE_REASON_BYTES);
    }
}

#[test]
fn ids_hold_where_the_clock_is_not_set() {
    let id = MessageId::from_parts(0, NodeId::new(0).unwrap(), 0);
    assert_eq!(MessageId::from_u64(id.as_u64()), Some(id));
}

#[test]
fn close_codes_keep_their_numbers() {
    for number in 0..=u16::MAX {
        let code = CloseCode::from(number);
        assert_eq!(code.code(), number);
        assert_eq!(matches!(code, CloseCode::Unknown(_)), !CloseCode::ALL.contains(&code));
        let _ = (code.policy(), code.to_string());
    }
}

/// Returns texts of which some are ids.
fn id_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,80}",
        any::<String>(),
        "[!-~]{0,70}",
        "(web|android|ios|desktop|mini_program|other|toaster)/[!-~]{0,66}",
        any::<u64>().prop_map(|number| number.to_string()),
    ]
}

fn reads_back<T>(text: &str) -> Result<(), TestCaseError>
where
    T: std::str::FromStr<Err: std::fmt::Display> + ToString,
{
    match text.parse::<T>() {
        Ok(id) => prop_assert_eq!(id.to_string(), text),
        Err(error) => prop_assert!(!error.to_string().is_empty()),
    }
    Ok(())
}
