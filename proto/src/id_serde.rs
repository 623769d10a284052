//! Serde support for ids as text, also of numbers: JavaScript's have 53 bits.

use std::{fmt::Display, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::id::{ChannelId, Device, DeviceId, MessageId, ServerId, Terminal, UserId};

fn parse<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(deserializer: D) -> Result<T, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}

macro_rules! as_text {
    ($($name:ident)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                parse(deserializer)
            }
        }
    )*};
}

as_text!(ChannelId Device DeviceId MessageId ServerId Terminal UserId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_text() {
        let device: Device = "ios/4f1c".parse().unwrap();
        assert_eq!(serde_json::to_string(&device).unwrap(), "\"ios/4f1c\"");
        assert_eq!(serde_json::from_str::<Device>("\"ios/4f1c\"").unwrap(), device);
        let id = MessageId::from_u64(253_077_862_244_079_616).unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"253077862244079616\"");
        assert_eq!(serde_json::from_str::<MessageId>("\"253077862244079616\"").unwrap(), id);
        assert!(
            serde_json::from_str::<MessageId>("7").is_err(),
            "a number would have lost digits on the way"
        );
        assert!(serde_json::from_str::<UserId>("\"not a user\"").is_err());
    }
}
