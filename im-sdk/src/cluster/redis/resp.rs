//! Redis's protocol (RESP3), as far as the hot path needs it. The caller packs a command once, and
//! a reply keeps its bytes until the caller reads it.

use redis::{Cmd, Value};

/// Packed commands, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    bytes: Vec<u8>,
    count: usize,
}

impl Commands {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), count: 0 }
    }

    /// Adds a command: its name and its arguments.
    pub(crate) fn add(&mut self, words: &[&[u8]]) {
        let bytes: usize = words.iter().map(|word| word.len() + WORD_BYTES).sum();
        self.bytes.reserve(WORD_BYTES + bytes);
        self.length(b'*', words.len());
        for word in words {
            self.length(b'$', word.len());
            self.bytes.extend_from_slice(word);
            self.bytes.extend_from_slice(b"\r\n");
        }
        self.count += 1;
    }

    /// Adds a command of the client library.
    pub(crate) fn add_command(&mut self, command: &Cmd) {
        self.bytes.append(&mut command.get_packed_command());
        self.count += 1;
    }

    /// Returns the number of commands.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the emptied buffer for reuse.
    pub(super) fn into_room(mut self) -> Vec<u8> {
        // A large buffer is not held until the replies arrive.
        if self.bytes.capacity() > MAX_ROOM {
            return Vec::new();
        }
        self.bytes.clear();
        self.bytes
    }

    /// Adds a length line. Nearly all lengths have one or two digits.
    fn length(&mut self, kind: u8, length: usize) {
        let digit = |number: usize| b'0' + (number % 10) as u8;
        match length {
            0..10 => self.bytes.extend_from_slice(&[kind, digit(length), b'\r', b'\n']),
            10..100 => {
                self.bytes.extend_from_slice(&[kind, digit(length / 10), digit(length), b'\r', b'\n']);
            }
            _ => {
                self.bytes.push(kind);
                self.bytes.extend_from_slice(Decimal::new(length as u64).as_bytes());
                self.bytes.extend_from_slice(b"\r\n");
            }
        }
    }
}

/// The overhead of a word of less than a megabyte.
const WORD_BYTES: usize = 1 + 6 + 2 + 2;

/// The largest buffer of commands that is reused for their replies.
const MAX_ROOM: usize = 4096;

/// A number as decimal text.
pub(crate) struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    pub(crate) fn new(mut number: u64) -> Self {
        let (mut digits, mut start) = ([0; 20], 20);
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Self { digits, start };
            }
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

/// The replies to some commands, in their order, with the errors of single commands.
#[derive(Debug, Default)]
pub(crate) struct Replies(pub(super) Vec<u8>);

impl Replies {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Reply<'_>> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (answer, after) = rest.split_at(first(rest).ok()??);
            rest = after;
            Some(Reply(answer))
        })
    }
}

/// One reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply<'a>(pub(super) &'a [u8]);

impl<'a> Reply<'a> {
    /// Returns the text of a string; `None` for any other reply.
    pub(crate) fn string(self) -> Option<&'a [u8]> {
        let (head, rest) = self.0.strip_prefix(b"$")?.split_at(line_end(self.0.get(1..)?)?);
        let length: usize = std::str::from_utf8(head).ok()?.parse().ok()?;
        rest.get(2..)?.get(..length)
    }

    pub(crate) fn is_ok(self) -> bool {
        self.0 == b"+OK\r\n"
    }

    pub(crate) fn is_error(self) -> bool {
        self.0.starts_with(b"-")
    }

    /// Returns whether the reply states that this node does not act as a master: a replica, a node
    /// that is loading, or one that was cut off.
    pub(super) fn says_wrong_node(self) -> bool {
        let Some(error) = self.0.strip_prefix(b"-") else { return false };
        let code = error.split(|byte| *byte == b' ').next().unwrap_or_default();
        WRONG_NODE.contains(&code)
    }

    pub(super) fn is_push(self) -> bool {
        self.0.starts_with(b">")
    }

    /// Decodes the reply as the client library does. An error of the command is a value; `Err`
    /// means that it is no reply.
    pub(crate) fn value(self) -> redis::RedisResult<Value> {
        redis::parse_redis_value(self.0)
    }
}

/// The error codes of a node that does not act as a master. `UNBLOCKED` ends a `WAIT` when a master
/// becomes a replica. A master that was cut off from its replicas, which may have another master by
/// now, replies `NOREPLICAS`.
const WRONG_NODE: [&[u8]; 6] =
    [b"READONLY", b"MASTERDOWN", b"LOADING", b"NOREPLICAS", b"CLUSTERDOWN", b"UNBLOCKED"];

/// The received bytes do not follow Redis's protocol.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the received bytes do not follow Redis's protocol")]
pub(super) struct Malformed;

/// Returns the length of the first reply, or `None` if it is incomplete.
pub(super) fn first(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let (mut at, mut open) = (0, 1_usize);
    while open > 0 {
        let Some(end) = bytes.get(at..).and_then(line_end) else {
            return if bytes.len() > at + MAX_LINE { Err(Malformed) } else { Ok(None) };
        };
        let line = &bytes[at..at + end];
        at += end + 2;
        open -= 1;
        match line.split_first().ok_or(Malformed)? {
            (b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(', _) => {}
            (b'$' | b'!' | b'=', length) => {
                if let Some(length) = number(length)? {
                    at += length + 2;
                }
            }
            (b'*' | b'~' | b'>', count) => open += number(count)?.unwrap_or_default(),
            (b'%', pairs) => open += 2 * number(pairs)?.unwrap_or_default(),
            // Attributes precede what they describe.
            (b'|', pairs) => open += 2 * number(pairs)?.unwrap_or_default() + 1,
            _ => return Err(Malformed),
        }
        // Not even their first bytes can be there.
        if open > MAX_VALUES {
            return Err(Malformed);
        }
    }
    Ok((at <= bytes.len()).then_some(at))
}

/// The maximum length of a line: a number, a status or an error.
const MAX_LINE: usize = 64 * 1024;

/// The maximum length of a string and number of values in a reply: more than Redis ever sends here.
const MAX_VALUES: usize = 1 << 30;

fn line_end(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let end = from + bytes.get(from..)?.iter().position(|byte| *byte == b'\r')?;
        match bytes.get(end + 1) {
            Some(b'\n') => return Some(end),
            Some(_) => from = end + 1,
            None => return None,
        }
    }
}

/// Parses a length; `None` for a null.
fn number(text: &[u8]) -> Result<Option<usize>, Malformed> {
    if text == b"-1" {
        return Ok(None);
    }
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.filter(|number| *number <= MAX_VALUES).map(Some).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One reply of each kind.
    const ANSWERS: [&[u8]; 14] = [
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":42\r\n",
        b"$5\r\n0-123\r\n",
        b"$2\r\n\r\n\r\n",
        b"$0\r\n\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"_\r\n",
        b"*3\r\n$1\r\na\r\n:1\r\n*2\r\n+x\r\n#t\r\n",
        b"%2\r\n+a\r\n:1\r\n+b\r\n~1\r\n,1.5\r\n",
        b"|1\r\n+ttl\r\n:3\r\n$1\r\na\r\n",
        b">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n",
        b"=7\r\ntxt:abc\r\n",
    ];

    #[test]
    fn answers_are_cut_where_they_end_however_they_come() {
        for answer in ANSWERS {
            for end in 0..answer.len() {
                assert_eq!(first(&answer[..end]), Ok(None), "{:?}", answer[..end].escape_ascii().to_string());
            }
            let followed = [answer, b"+OK\r\n"].concat();
            assert_eq!(first(&followed), Ok(Some(answer.len())));
        }
        let answers = Replies(ANSWERS.concat());
        assert_eq!(answers.iter().map(|answer| answer.0).collect::<Vec<_>>(), ANSWERS);
        assert!(answers.iter().all(|answer| answer.value().is_ok()), "the client library reads them too");
    }

    #[test]
    fn strings_are_read() {
        let strings: Vec<_> = ANSWERS.into_iter().filter_map(|answer| Reply(answer).string()).collect();
        assert_eq!(strings, [b"0-123".as_slice(), b"\r\n", b""]);
    }

    #[test]
    fn what_is_not_of_the_protocol_is_refused() {
        for wrong in ["x\r\n", "\r\n", "$x\r\n", "$-2\r\n", "*99999999999\r\n", "*\r\n"] {
            assert_eq!(first(wrong.as_bytes()), Err(Malformed), "{wrong:?}");
        }
        assert_eq!(first(&[b'+'; MAX_LINE + 1]), Err(Malformed));
    }

    #[test]
    fn commands_are_packed_as_the_client_library_packs_them() {
        let mut command = redis::cmd("XADD");
        command.arg("im:{u:a}:inbox").arg(u64::MAX).arg(0).arg(b"\r\n\0".as_slice());
        let mut commands = Commands::default();
        let (most, least) = (Decimal::new(u64::MAX), Decimal::new(0));
        commands.add(&[b"XADD", b"im:{u:a}:inbox", most.as_bytes(), least.as_bytes(), b"\r\n\0"]);
        commands.add_command(&command);
        assert_eq!(commands.bytes(), command.get_packed_command().repeat(2));
        assert_eq!(commands.count(), 2);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Some(length)) = first(&bytes) {
                prop_assert!(length <= bytes.len());
            }
            _ = Replies(bytes).iter().count();
        }
    }
}
