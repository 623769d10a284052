//! What Redis and NATS take of the same bytes, when nobody builds them and nobody reads the answers.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use bytes::Bytes;
use im_proto::{frame, pb};
use im_sdk::cluster::Subject;
use prost::Message as _;

use super::Send;
use crate::target::Path;

/// Messages that are under way at once, in two halves: as many as the SDK has.
const WINDOW: usize = super::LANES;

/// See the module's description.
pub(super) struct Floor {
    redis: Wire,
    nats: Wire,
    next: usize,
}

/// A connection, and the bytes of half a window, one after another.
struct Wire {
    stream: TcpStream,
    /// What is written, each ending with something that is answered with `end`.
    parts: Vec<Vec<u8>>,
    end: &'static [u8],
    unread: Vec<u8>,
}

impl Floor {
    /// Builds all bytes.
    pub(super) fn connect(
        redis: &str,
        nats: &str,
        send: &Send,
        subject: &Subject,
        records: f64,
    ) -> Result<Self, String> {
        let half = WINDOW / 2;
        let parts = (send.connections as usize / half).max(1);
        let commands = |part: usize| {
            let mut bytes = Vec::new();
            for index in part * half..(part + 1) * half {
                commands(send, index, &mut bytes);
            }
            bytes.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
            bytes
        };
        let envelopes = |_| {
            let mut bytes = Vec::new();
            let records = (records.round() as usize).clamp(1, half);
            for number in 0..half / records {
                let envelope = envelope(send, number as u64, records).encode_to_vec();
                bytes
                    .extend_from_slice(format!("PUB {} {}\r\n", subject.as_str(), envelope.len()).as_bytes());
                bytes.extend_from_slice(&envelope);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"PING\r\n");
            bytes
        };
        let redis = Wire::connect(redis, (0..parts).map(commands).collect(), b"+PONG\r\n")?;
        let mut nats = Wire::connect(nats, (0..parts).map(envelopes).collect(), b"PONG\r\n")?;
        nats.write(b"CONNECT {\"verbose\":false}\r\nPING\r\n")?;
        nats.wait()?;
        Ok(Self { redis, nats, next: 0 })
    }

    /// How many messages a second.
    pub(super) fn run(&mut self, time: Duration) -> Result<f64, String> {
        let (started, mut halves) = (Instant::now(), 0_u64);
        self.begin()?;
        while started.elapsed() < time {
            self.begin()?;
            self.redis.wait()?;
            self.nats.wait()?;
            halves += 1;
        }
        self.redis.wait()?;
        self.nats.wait()?;
        Ok((halves + 1) as f64 * (WINDOW / 2) as f64 / started.elapsed().as_secs_f64())
    }

    fn begin(&mut self) -> Result<(), String> {
        self.redis.begin(self.next)?;
        self.nats.begin(self.next)?;
        self.next += 1;
        Ok(())
    }
}

impl Wire {
    fn connect(address: &str, parts: Vec<Vec<u8>>, end: &'static [u8]) -> Result<Self, String> {
        let host = address.split("://").nth(1).unwrap_or(address);
        let stream = TcpStream::connect(host).map_err(|error| format!("{host}: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Self { stream, parts, end, unread: Vec::new() })
    }

    fn begin(&mut self, number: usize) -> Result<(), String> {
        let part = &self.parts[number % self.parts.len()];
        self.stream.write_all(part).map_err(|error| error.to_string())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).map_err(|error| error.to_string())
    }

    /// Until the next part has been answered.
    fn wait(&mut self) -> Result<(), String> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if let Some(at) = memchr::memmem::find(&self.unread, self.end) {
                self.unread.drain(..at + self.end.len());
                return Ok(());
            }
            // The end may come in two pieces.
            let keep = self.unread.len().saturating_sub(self.end.len());
            self.unread.drain(..keep);
            match self.stream.read(&mut buffer).map_err(|error| error.to_string())? {
                0 => return Err("the connection ended".to_owned()),
                read => self.unread.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

/// The message as it is logged.
fn message(send: &Send) -> Vec<u8> {
    let text = pb::content::Body::Text(pb::Text { text: "x".repeat(send.payload) });
    let content = Some(text.into());
    let (from, to) = ("sender-100".to_owned(), "u1000".to_owned());
    pb::Message { id: u64::MAX / 3, from, to, content }.encode_to_vec()
}

fn commands(send: &Send, index: usize, bytes: &mut Vec<u8>) {
    let user = format!("u{}", index % send.connections.max(1) as usize);
    let sender = format!("sender-{}", index % super::LANES);
    if send.path == Path::Live {
        return command(&[b"HGETALL", format!("im:{{u:{user}}}:routes").as_bytes()], bytes);
    }
    let payload = message(send);
    for user in [sender, user] {
        let key = format!("im:{{u:{user}}}:inbox");
        let id = (u64::MAX / 3).to_string();
        command(
            &[
                b"XADD",
                key.as_bytes(),
                b"MAXLEN",
                b"~",
                b"10000",
                b"0-*",
                b"i",
                id.as_bytes(),
                b"p",
                &payload,
            ],
            bytes,
        );
    }
}

fn command(parts: &[&[u8]], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        bytes.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
}

fn envelope(send: &Send, number: u64, records: usize) -> pb::Envelope {
    let message = pb::Message::decode(&*message(send)).ok();
    let push = pb::Push { message, channel: String::new(), seq: 1000 };
    let frames: Bytes = frame::encode(pb::frame::Body::Push(push));
    let record = |connection: usize| pb::Record {
        connections: vec![connection as u64],
        effect: Some(pb::record::Effect::Frames(frames.clone())),
        ..Default::default()
    };
    pb::Envelope {
        publisher: "be-0000000000000000".to_owned(),
        number: number + 1,
        answer_to: "im.up.answers-floor".to_owned(),
        records: (0..records).map(record).collect(),
        goodbye: false,
    }
}
