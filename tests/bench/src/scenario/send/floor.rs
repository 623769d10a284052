//! The minimum work of a correct sender, without the cost of building messages: it sends the same bytes to Redis and NATS in
//! the same order, and awaits every answer.
//!
//! The two appends of a logged message are answered before its envelope goes out. A live message asks Redis for nothing,
//! since the recipient's routes are cached. An envelope has as many records as the SDK's, and the same stand-in answers it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use bytes::Bytes;
use im_proto::{frame, pb};
use im_sdk::{
    cluster::{Names, Subject},
    id::ServerId,
};
use prost::Message as _;

use super::Send;
use crate::target::Path;

/// Messages in flight, in two halves: as many as the SDK's.
const WINDOW: usize = super::LANES;

const HALF: usize = WINDOW / 2;

/// Publisher name of the floor on the bus.
const PUBLISHER: &str = "be-0000000000000000";

/// See the module's description.
pub(super) struct Floor {
    /// Connection to Redis; `None` if nothing is logged.
    redis: Option<Wire>,
    nats: Wire,
}

/// A connection, with the bytes of one half of the window per part.
struct Wire {
    stream: TcpStream,
    parts: Vec<Vec<u8>>,
    next: usize,
    /// Prefix of an answer; each part gets `answers` of them.
    answer: Vec<u8>,
    answers: usize,
    unread: Vec<u8>,
}

impl Floor {
    /// Connects, and builds all bytes.
    pub(super) fn connect(
        redis: &str,
        nats: &str,
        send: &Send,
        server: &ServerId,
        records: f64,
    ) -> Result<Self, String> {
        let parts = (send.connections as usize / HALF).max(1);
        let part = |part: usize| {
            let mut bytes = Vec::new();
            (part * HALF..(part + 1) * HALF).for_each(|index| appends(send, index, &mut bytes));
            bytes.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
            bytes
        };
        let redis = match send.path {
            Path::Logged => Some(Wire::connect(redis, (0..parts).map(part).collect(), b"+PONG\r\n", 1)?),
            _ => None,
        };
        let envelopes = ((HALF as f64 / records.max(1.0)).round() as usize).clamp(1, HALF);
        let names = Names::default();
        let part = |part| {
            let mut bytes = Vec::new();
            for envelope in 0..envelopes {
                let number = (part * envelopes + envelope) as u64 + 1;
                let records = HALF * (envelope + 1) / envelopes - HALF * envelope / envelopes;
                let payload = self::envelope(send, &names, number, records).encode_to_vec();
                let (to, back) = (names.server(server), names.undelivered(PUBLISHER, server, number));
                bytes.extend_from_slice(format!("PUB {to} {back} {}\r\n", payload.len()).as_bytes());
                bytes.extend_from_slice(&payload);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes
        };
        let answers = names.answers(PUBLISHER);
        let answer = format!("MSG {answers} ");
        let mut nats = Wire::connect(nats, (0..parts).map(part).collect(), answer.as_bytes(), envelopes)?;
        nats.subscribe(&answers)?;
        Ok(Self { redis, nats })
    }

    /// Runs for a time, and returns the messages per second.
    pub(super) fn run(&mut self, time: Duration) -> Result<f64, String> {
        // With logging, one half is at Redis while the other is on NATS, or both are at Redis.
        let (started, on_nats) = (Instant::now(), if self.redis.is_some() { 1 } else { 2 });
        self.append()?;
        self.append()?;
        let mut halves = on_nats;
        for _ in 0..on_nats {
            self.publish()?;
        }
        while started.elapsed() < time {
            self.nats.wait()?;
            self.append()?;
            self.publish()?;
            halves += 1;
        }
        for _ in 0..on_nats {
            self.nats.wait()?;
        }
        if let Some(redis) = &mut self.redis {
            redis.wait()?;
        }
        Ok(halves as f64 * HALF as f64 / started.elapsed().as_secs_f64())
    }

    fn append(&mut self) -> Result<(), String> {
        self.redis.as_mut().map_or(Ok(()), Wire::begin)
    }

    /// Publishes the half that has been appended.
    fn publish(&mut self) -> Result<(), String> {
        if let Some(redis) = &mut self.redis {
            redis.wait()?;
        }
        self.nats.begin()
    }
}

impl Wire {
    fn connect(address: &str, parts: Vec<Vec<u8>>, answer: &[u8], answers: usize) -> Result<Self, String> {
        let host = address.split("://").nth(1).unwrap_or(address);
        let stream = TcpStream::connect(host).map_err(|error| format!("{host}: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Self { stream, parts, next: 0, answer: answer.to_vec(), answers, unread: Vec::new() })
    }

    /// Subscribes to the answers, on NATS.
    fn subscribe(&mut self, answers: &Subject) -> Result<(), String> {
        let hello = "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}";
        self.write(format!("{hello}\r\nSUB {answers} 1\r\nPING\r\n").as_bytes())?;
        self.wait_for(b"PONG\r\n", 1)
    }

    fn begin(&mut self) -> Result<(), String> {
        let part = &self.parts[self.next % self.parts.len()];
        self.next += 1;
        self.stream.write_all(part).map_err(|error| error.to_string())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).map_err(|error| error.to_string())
    }

    /// Waits until the next part has been answered.
    fn wait(&mut self) -> Result<(), String> {
        let (answer, answers) = (std::mem::take(&mut self.answer), self.answers);
        let waited = self.wait_for(&answer, answers);
        self.answer = answer;
        waited
    }

    fn wait_for(&mut self, answer: &[u8], count: usize) -> Result<(), String> {
        let (mut buffer, mut found) = (vec![0; 64 * 1024], 0);
        loop {
            let mut done = 0;
            for at in memchr::memmem::find_iter(&self.unread, answer).take(count - found) {
                done = at + answer.len();
                found += 1;
            }
            self.unread.drain(..done);
            if found == count {
                return Ok(());
            }
            // Keeps the tail, since an answer may come in two pieces.
            let keep = self.unread.len().saturating_sub(answer.len());
            self.unread.drain(..keep);
            match self.stream.read(&mut buffer).map_err(|error| error.to_string())? {
                0 => return Err("the connection ended".to_owned()),
                read => self.unread.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

/// Encodes the message as it is logged.
fn message(send: &Send) -> Vec<u8> {
    let text = pb::content::Body::Text(pb::Text { text: "x".repeat(send.payload) });
    let content = Some(text.into());
    let (from, to) = ("sender-100".to_owned(), "u1000".to_owned());
    pb::Message { id: u64::MAX / 3, from, to, content, ..Default::default() }.encode_to_vec()
}

/// Writes the appends to the inboxes of sender and recipient.
fn appends(send: &Send, index: usize, bytes: &mut Vec<u8>) {
    let user = format!("u{}", index % send.connections.max(1) as usize);
    let sender = format!("sender-{}", index % super::LANES);
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

fn envelope(send: &Send, names: &Names, number: u64, records: usize) -> pb::Envelope {
    let message = pb::Message::decode(&*message(send)).ok();
    let push = pb::Push { message, channel: String::new(), seq: 1000 };
    let frames: Bytes = frame::encode(pb::frame::Body::Push(push));
    let record = |connection: usize| pb::Record {
        connections: vec![connection as u64],
        effect: Some(pb::record::Effect::Frames(frames.clone())),
        ..Default::default()
    };
    pb::Envelope {
        publisher: PUBLISHER.to_owned(),
        number,
        answer_to: names.answers(PUBLISHER).to_string(),
        records: (0..records).map(record).collect(),
        goodbye: false,
    }
}
