//! Reports of child processes, one line each. Lines are written in one piece, so a killed process has reported
//! everything but its last step.

use std::{fmt, io::Write as _, str::FromStr};

use im_sdk::{
    client::{Log, ResetReason},
    cluster::LogId,
    id::{ChannelId, MessageId, UserId},
};

use super::{NoStamp, Seen, Stamp};

/// Report of a back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendLine {
    /// The back end serves and waits for the start of the load.
    Ready,
    /// A message is about to be sent.
    Sending {
        /// Number of the lane.
        lane: usize,
        /// Number of the message in the lane.
        number: u64,
    },
    /// `Im::send` returned Ok.
    Sent {
        /// Number of the lane.
        lane: usize,
        /// Number of the message in the lane.
        number: u64,
        /// Id of the message.
        id: MessageId,
        /// Logs and seqs.
        places: Vec<(LogId, u64)>,
    },
    /// `Im::send` returned an error.
    Failed {
        /// Number of the lane.
        lane: usize,
        /// Number of the message in the lane.
        number: u64,
        /// Set if the message is given up.
        last: bool,
        /// The error.
        error: String,
    },
    /// The load is over.
    Done,
}

impl fmt::Display for BackendLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => formatter.write_str("ready"),
            Self::Sending { lane, number } => write!(formatter, "s {lane} {number}"),
            Self::Sent { lane, number, id, places } => {
                write!(formatter, "a {lane} {number} {}", id.as_u64())?;
                places.iter().try_for_each(|(log, seq)| write!(formatter, " {log}={seq}"))
            }
            Self::Failed { lane, number, last, error } => {
                write!(formatter, "f {lane} {number} {} {}", u8::from(*last), error.replace('\n', " "))
            }
            Self::Done => formatter.write_str("done"),
        }
    }
}

impl FromStr for BackendLine {
    type Err = NoLine;

    fn from_str(line: &str) -> Result<Self, NoLine> {
        let mut words = Words(line.split(' '));
        Ok(match words.word()? {
            "ready" => Self::Ready,
            "done" => Self::Done,
            "s" => Self::Sending { lane: words.read()?, number: words.read()? },
            "a" => Self::Sent {
                lane: words.read()?,
                number: words.read()?,
                id: words.id()?,
                places: words.0.map(place).collect::<Result<_, _>>()?,
            },
            "f" => Self::Failed {
                lane: words.read()?,
                number: words.read()?,
                last: words.word()? == "1",
                error: words.0.collect::<Vec<_>>().join(" "),
            },
            _ => return Err(NoLine),
        })
    }
}

/// Report of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceLine {
    /// The device is up to date.
    UpToDate,
    /// The device saw something of a log.
    Seen(Log, Seen),
    /// The device is about to send its message with this number.
    Sending(u64),
    /// The client has queued the message, under a local id.
    Taken(u64, u64),
    /// The message with this local id was accepted.
    Published(u64, Option<MessageId>),
    /// The message with this local id failed permanently.
    Failed(u64, String),
    /// The device was disconnected.
    Disconnected(String),
    /// Every publish has a result. Contains the number of repeated entries.
    Finished(u64),
}

impl fmt::Display for DeviceLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UpToDate => formatter.write_str("up"),
            Self::Seen(Log::Channel(channel), seen) => {
                write!(formatter, "c {channel} {}", Self::Seen(Log::Inbox, seen.clone()))
            }
            Self::Seen(_, Seen::Entry { seq, id, stamp }) => {
                write!(formatter, "e {seq} {}", id.as_u64())?;
                stamp.iter().try_for_each(|stamp| write!(formatter, " {stamp}"))
            }
            Self::Seen(_, Seen::Reset { seq, reason }) => write!(formatter, "r {seq} {}", reason.as_str()),
            Self::Seen(_, Seen::Reopened { seq }) => write!(formatter, "o {seq}"),
            Self::Sending(number) => write!(formatter, "s {number}"),
            Self::Taken(number, local) => write!(formatter, "q {number} {local}"),
            Self::Published(local, id) => {
                write!(formatter, "a {local} {}", id.map_or(0, MessageId::as_u64))
            }
            Self::Failed(local, error) => write!(formatter, "f {local} {}", error.replace('\n', " ")),
            Self::Disconnected(why) => write!(formatter, "d {}", why.replace('\n', " ")),
            Self::Finished(repeated) => write!(formatter, "z {repeated}"),
        }
    }
}

impl FromStr for DeviceLine {
    type Err = NoLine;

    fn from_str(line: &str) -> Result<Self, NoLine> {
        let mut words = Words(line.split(' '));
        Ok(match words.word()? {
            "up" => Self::UpToDate,
            "c" => {
                let channel = ChannelId::parse(words.word()?).map_err(|_| NoLine)?;
                match words.0.collect::<Vec<_>>().join(" ").parse()? {
                    Self::Seen(_, seen) => Self::Seen(Log::Channel(channel), seen),
                    _ => return Err(NoLine),
                }
            }
            "e" => {
                let (seq, id) = (words.read()?, words.id()?);
                let rest = words.0.collect::<Vec<_>>().join(" ");
                Self::Seen(Log::Inbox, Seen::Entry { seq, id, stamp: rest.parse().ok() })
            }
            "r" => Self::Seen(Log::Inbox, Seen::Reset { seq: words.read()?, reason: reason(words.word()?)? }),
            "o" => Self::Seen(Log::Inbox, Seen::Reopened { seq: words.read()? }),
            "s" => Self::Sending(words.read()?),
            "q" => Self::Taken(words.read()?, words.read()?),
            "a" => Self::Published(words.read()?, MessageId::from_u64(words.read()?)),
            "f" => Self::Failed(words.read()?, words.0.collect::<Vec<_>>().join(" ")),
            "d" => Self::Disconnected(words.0.collect::<Vec<_>>().join(" ")),
            "z" => Self::Finished(words.read()?),
            _ => return Err(NoLine),
        })
    }
}

/// Report of one of several devices in a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// Number of its user.
    pub device: usize,
    /// Its report.
    pub line: DeviceLine,
}

impl fmt::Display for Tagged {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.device, self.line)
    }
}

impl FromStr for Tagged {
    type Err = NoLine;

    fn from_str(line: &str) -> Result<Self, NoLine> {
        let (device, line) = line.split_once(' ').ok_or(NoLine)?;
        Ok(Self { device: device.parse().map_err(|_| NoLine)?, line: line.parse()? })
    }
}

/// A line that is not a report, such as output of a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoLine;

impl From<NoStamp> for NoLine {
    fn from(_: NoStamp) -> Self {
        Self
    }
}

/// Writes a line to standard output at once.
///
/// # Panics
/// Panics if nobody reads it any more.
pub fn print(line: impl fmt::Display) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).expect("the test reads this");
}

struct Words<'a>(std::str::Split<'a, char>);

impl<'a> Words<'a> {
    fn word(&mut self) -> Result<&'a str, NoLine> {
        self.0.next().ok_or(NoLine)
    }

    fn read<T: FromStr>(&mut self) -> Result<T, NoLine> {
        self.word()?.parse().map_err(|_| NoLine)
    }

    fn id(&mut self) -> Result<MessageId, NoLine> {
        MessageId::from_u64(self.read()?).ok_or(NoLine)
    }
}

fn place(word: &str) -> Result<(LogId, u64), NoLine> {
    let (log, seq) = word.split_once('=').ok_or(NoLine)?;
    let log = match log.split_once(':').ok_or(NoLine)? {
        ("u", user) => LogId::Inbox(UserId::parse(user).map_err(|_| NoLine)?),
        (_, channel) => LogId::Channel(ChannelId::parse(channel).map_err(|_| NoLine)?),
    };
    Ok((log, seq.parse().map_err(|_| NoLine)?))
}

fn reason(word: &str) -> Result<ResetReason, NoLine> {
    let reasons = [ResetReason::New, ResetReason::Trimmed, ResetReason::Forked, ResetReason::Left];
    reasons.into_iter().find(|reason| reason.as_str() == word).ok_or(NoLine)
}

impl Stamp {
    /// Returns the stamp of a text, if it has one.
    pub fn of(text: Option<&str>) -> Option<Self> {
        text?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_back_what_they_write() {
        let id = MessageId::from_u64(1_234_567).unwrap();
        let channel = ChannelId::parse("g2").unwrap();
        let places =
            vec![(LogId::Inbox(UserId::parse("u1").unwrap()), 3), (LogId::Channel(channel.clone()), 9)];
        for line in [
            BackendLine::Ready,
            BackendLine::Sending { lane: 3, number: 7 },
            BackendLine::Sent { lane: 3, number: 7, id, places },
            BackendLine::Sent { lane: 3, number: 7, id, places: vec![] },
            BackendLine::Failed { lane: 3, number: 7, last: true, error: "no such luck".into() },
            BackendLine::Done,
        ] {
            assert_eq!(line.to_string().parse(), Ok(line));
        }
        let stamp = Some(Stamp::new("d1", "u1>u2", 4));
        for line in [
            DeviceLine::UpToDate,
            DeviceLine::Seen(Log::Inbox, Seen::Entry { seq: 4, id, stamp: stamp.clone() }),
            DeviceLine::Seen(Log::Inbox, Seen::Entry { seq: 4, id, stamp: None }),
            DeviceLine::Seen(Log::Inbox, Seen::Reset { seq: 4, reason: ResetReason::Forked }),
            DeviceLine::Seen(Log::Inbox, Seen::Reopened { seq: 4 }),
            DeviceLine::Seen(Log::Channel(channel.clone()), Seen::Entry { seq: 4, id, stamp }),
            DeviceLine::Seen(Log::Channel(channel), Seen::Reopened { seq: 4 }),
            DeviceLine::Sending(9),
            DeviceLine::Taken(9, 12),
            DeviceLine::Published(12, Some(id)),
            DeviceLine::Published(12, None),
            DeviceLine::Failed(12, "no such luck".into()),
            DeviceLine::Disconnected("gone away".into()),
            DeviceLine::Finished(2),
        ] {
            assert_eq!(line.to_string().parse(), Ok(line));
        }
        for nonsense in ["", "x", "a 1", "s one two"] {
            assert_eq!(nonsense.parse::<BackendLine>(), Err(NoLine), "{nonsense}");
            assert_eq!(nonsense.parse::<DeviceLine>(), Err(NoLine), "{nonsense}");
        }
    }
}
