//! Stamps: the texts by which messages of the load are identified.

use std::{fmt, str::FromStr};

/// Publisher, conversation and number of a message. The stamp is the message's text, so a device that
/// sees the message knows which one it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp {
    /// Publisher: one run of a back end, or a device. Contains no blanks.
    pub publisher: String,
    /// Conversation, such as `u1>u2`. Contains no blanks.
    pub conversation: String,
    /// Number, counted from 1 per publisher and conversation.
    pub number: u64,
}

impl Stamp {
    /// Creates a stamp.
    pub fn new(publisher: impl Into<String>, conversation: impl Into<String>, number: u64) -> Self {
        Self { publisher: publisher.into(), conversation: conversation.into(), number }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.publisher, self.conversation, self.number)
    }
}

/// Error for a text that is not a stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoStamp;

impl FromStr for Stamp {
    type Err = NoStamp;

    /// Parses a stamp. Anything after another blank is padding.
    fn from_str(text: &str) -> Result<Self, NoStamp> {
        let mut words = text.splitn(4, ' ');
        let (Some(publisher), Some(conversation), Some(number)) = (words.next(), words.next(), words.next())
        else {
            return Err(NoStamp);
        };
        let number = number.parse().map_err(|_| NoStamp)?;
        Ok(Self::new(publisher, conversation, number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_back_what_it_writes() {
        let stamp = Stamp::new("b0.1", "u1>u2", 17);
        assert_eq!(stamp.to_string().parse(), Ok(stamp.clone()));
        assert_eq!(format!("{stamp} xxxx").parse(), Ok(stamp));
        for nonsense in ["", "b0", "b0 u1>u2", "b0 u1>u2 x"] {
            assert_eq!(nonsense.parse::<Stamp>(), Err(NoStamp), "{nonsense}");
        }
    }
}
