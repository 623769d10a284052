//! What every message of the load says about itself.

use std::{fmt, str::FromStr};

/// Who sent a message, in which conversation, and the how manieth it is there. It is the message's text, so a device that
/// sees it knows what it has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp {
    /// Who numbered it: one run of a back end, or a device. No blanks.
    pub publisher: String,
    /// What it belongs to, such as `u1>u2`. No blanks.
    pub conversation: String,
    /// Counted from 1 per publisher and conversation.
    pub number: u64,
}

impl Stamp {
    /// A stamp.
    pub fn new(publisher: impl Into<String>, conversation: impl Into<String>, number: u64) -> Self {
        Self { publisher: publisher.into(), conversation: conversation.into(), number }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.publisher, self.conversation, self.number)
    }
}

/// A text is no stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoStamp;

impl FromStr for Stamp {
    type Err = NoStamp;

    /// Reads a stamp; what follows a further blank is padding.
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
