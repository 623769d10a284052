//! Stamps: the contents of every payload, by which every delivery is verified and timed.
//!
//! ```text
//! ~imbench 0000123456789abc 00000007 0000002a ....
//! magic    nanoseconds      audience sequence padding up to the payload's size
//! ```
//! (without the spaces). It is ASCII, so that it also fits into JSON, and is found by its magic in any
//! surrounding bytes: once connected, the load client needs no parser of any protocol.

use memchr::memmem;
use rustix::time::{ClockId, clock_gettime};

const MAGIC: &[u8; 8] = b"~imbench";

/// The length of a stamp, and the smallest payload.
pub(crate) const LEN: usize = MAGIC.len() + 16 + 8 + 8;

/// The stamp of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Time at which it was due, by [`now`].
    pub(crate) time: u64,
    /// Number of the audience.
    pub(crate) audience: u32,
    /// Sequence number within the audience, from 0.
    pub(crate) sequence: u32,
}

impl Stamp {
    /// Appends a payload of `bytes` bytes, at least [`LEN`].
    pub(crate) fn write(self, bytes: usize, payload: &mut Vec<u8>) {
        let end = payload.len() + bytes.max(LEN);
        payload.extend_from_slice(MAGIC);
        write_hex(self.time, 16, payload);
        write_hex(self.audience.into(), 8, payload);
        write_hex(self.sequence.into(), 8, payload);
        payload.resize(end, b'.');
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let number = |from: usize, digits: usize| read_hex(bytes.get(from..from + digits)?);
        let audience = u32::try_from(number(24, 8)?).ok()?;
        let sequence = u32::try_from(number(32, 8)?).ok()?;
        Some(Self { time: number(8, 16)?, audience, sequence })
    }
}

/// Returns the system's monotonic time in nanoseconds, the same in every process of this machine.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Finds stamps in a stream of bytes, including those that span two reads.
#[derive(Debug)]
pub(crate) struct Scanner {
    /// The last bytes of the previous read, too few for a whole stamp.
    carry: [u8; LEN - 1],
    carried: usize,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { carry: [0; LEN - 1], carried: 0 }
    }
}

impl Scanner {
    /// Calls `found` for each stamp that these bytes complete.
    pub(crate) fn feed(&mut self, finder: &Finder, bytes: &[u8], mut found: impl FnMut(Stamp)) {
        let mut seam = [0; 2 * (LEN - 1)];
        let head = bytes.len().min(LEN - 1);
        let seam_len = self.carried + head;
        seam[..self.carried].copy_from_slice(&self.carry[..self.carried]);
        seam[self.carried..seam_len].copy_from_slice(&bytes[..head]);
        // Stamps that start in the carry end in the head. Those that start after it are found below.
        finder.scan(&seam[..seam_len], |at, stamp| {
            if at < self.carried {
                found(stamp);
            }
        });
        finder.scan(bytes, |_, stamp| found(stamp));
        let tail = if bytes.len() >= LEN - 1 { &bytes[bytes.len() - (LEN - 1)..] } else { &seam[..seam_len] };
        let tail = &tail[tail.len().saturating_sub(LEN - 1)..];
        self.carry[..tail.len()].copy_from_slice(tail);
        self.carried = tail.len();
    }
}

/// A prepared search for stamps, shared by all connections of a thread.
#[derive(Debug)]
pub(crate) struct Finder(memmem::Finder<'static>);

impl Default for Finder {
    fn default() -> Self {
        Self(memmem::Finder::new(MAGIC))
    }
}

impl Finder {
    /// Calls `found` for each complete stamp, with its offset.
    fn scan(&self, bytes: &[u8], mut found: impl FnMut(usize, Stamp)) {
        let mut from = 0;
        while let Some(at) = self.0.find(&bytes[from..]) {
            let start = from + at;
            let Some(stamp) = bytes.get(start..start + LEN) else { return };
            from = start + MAGIC.len();
            if let Some(stamp) = Stamp::read(stamp) {
                found(start, stamp);
                from = start + LEN;
            }
        }
    }
}

fn write_hex(number: u64, digits: u32, out: &mut Vec<u8>) {
    for digit in (0..digits).rev() {
        out.push(HEX[(number >> (4 * digit)) as usize & 15]);
    }
}

fn read_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    fn stamps(count: u32) -> Vec<Stamp> {
        (0..count).map(|n| Stamp { time: u64::from(n) << 40 | 5, audience: n * 7, sequence: n }).collect()
    }

    #[test]
    fn stamps_are_found_however_the_stream_is_cut() {
        let sent = stamps(9);
        let mut stream = Vec::new();
        for stamp in &sent {
            stream.extend_from_slice(b"~im~imben\x81{");
            stamp.write(64, &mut stream);
        }
        for size in 1..stream.len() {
            let (mut scanner, mut found) = (Scanner::default(), Vec::new());
            for part in stream.chunks(size) {
                scanner.feed(&Finder::default(), part, |stamp| found.push(stamp));
            }
            assert_eq!(found, sent, "in parts of {size}");
        }
    }

    #[test]
    fn a_payload_has_the_size_that_was_asked_for() {
        for (asked, got) in [(0, LEN), (LEN, LEN), (128, 128)] {
            let mut payload = Vec::new();
            stamps(1)[0].write(asked, &mut payload);
            assert_eq!(payload.len(), got);
        }
    }
}
