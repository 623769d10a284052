//! Publishers for im-server: envelopes on the server's subject, or the SDK.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use im_proto::{frame, pb};
use im_sdk::{
    backend::{Durability, Im, Message, user},
    cluster::{BusEvent, Cluster, Publication, Subject},
    id::UserId,
};
use prost::Message as _;
use tokio::{runtime::Runtime, sync::mpsc, time::timeout};

use super::user_name;
use crate::{
    audience::Audience,
    stamp::Stamp,
    target::{Path, Publisher, TargetOptions},
};

/// Publishes envelopes to the servers' subjects.
pub(super) struct EdgePublisher {
    runtime: Arc<Runtime>,
    cluster: Cluster,
    subjects: Vec<Subject>,
    names: Vec<u64>,
    payload: usize,
    audience: Audience,
    records: Vec<Vec<pb::Record>>,
}

impl EdgePublisher {
    /// Creates the publisher, and has the connections join their channels, if any.
    pub(super) fn start(
        runtime: Arc<Runtime>,
        cluster: Cluster,
        subjects: &[Subject],
        names: &[u64],
        options: &TargetOptions,
    ) -> Result<Self, String> {
        let publisher = Self {
            runtime,
            cluster,
            subjects: subjects.to_vec(),
            names: names.to_vec(),
            payload: options.payload,
            audience: options.audience,
            records: vec![Vec::new(); subjects.len()],
        };
        if options.audience != Audience::One {
            publisher.runtime.block_on(publisher.join())?;
        }
        Ok(publisher)
    }

    /// Waits until each server has confirmed that all of its connections are in their channels and the routes
    /// are written.
    async fn join(&self) -> Result<(), String> {
        let answer_to = self.cluster.names().answers(PUBLISHER);
        let answers = self.cluster.bus().subscribe(answer_to.clone()).await;
        let mut answers = answers.map_err(|error| format!("cannot hear of joins: {error}"))?;
        for (server, subject) in self.subjects.iter().enumerate() {
            for records in self.joins(server).chunks(JOINS_AT_ONCE) {
                let envelope = pb::Envelope {
                    answer_to: answer_to.as_str().to_owned(),
                    records: records.to_vec(),
                    ..pb::Envelope::default()
                };
                self.publish_envelope(subject, envelope).await?;
                let answer = async {
                    loop {
                        match answers.next().await {
                            Some(BusEvent::Message(message)) => {
                                return pb::Delivered::decode(message.payload).ok();
                            }
                            Some(_) => {}
                            None => return None,
                        }
                    }
                };
                match timeout(JOIN_TIMEOUT, answer).await {
                    Ok(Some(answer)) if answer.missed.is_empty() => {}
                    Ok(Some(_)) => return Err("a connection could not join its channel".to_owned()),
                    _ => return Err(format!("a server did not answer a join within {JOIN_TIMEOUT:?}")),
                }
            }
        }
        Ok(())
    }

    /// Returns one record for each channel that has members on a server.
    fn joins(&self, server: usize) -> Vec<pb::Record> {
        let (connections, servers) = (self.names.len() as u32, self.subjects.len());
        let join = |audience| {
            let members = self.audience.members_of(audience, connections);
            let here = members.filter(|member| *member as usize % servers == server);
            let connections: Vec<u64> = here.map(|member| self.names[member as usize]).collect();
            let join = pb::record::Effect::Join(pb::Channels {
                channels: vec![channel_name(audience)],
                ..Default::default()
            });
            let effect = Some(join);
            (!connections.is_empty()).then(|| pb::Record { connections, effect, ..Default::default() })
        };
        (0..self.audience.count(connections)).filter_map(join).collect()
    }

    /// Returns whether a channel has members on a server.
    fn reaches(&self, audience: u32, server: usize) -> bool {
        let (connections, servers) = (self.names.len() as u32, self.subjects.len());
        servers == 1
            || self
                .audience
                .members_of(audience, connections)
                .any(|member| member as usize % servers == server)
    }

    async fn publish_envelope(&self, subject: &Subject, envelope: pb::Envelope) -> Result<(), String> {
        let payload = pb::Envelope { publisher: PUBLISHER.to_owned(), ..envelope }.encode_to_vec().into();
        let publication = Publication { subject: subject.clone(), return_to: None, payload };
        let published = self.cluster.bus().publish(publication).await;
        published.map_err(|error| format!("cannot publish: {error}"))
    }
}

impl Publisher for EdgePublisher {
    fn publish(&mut self, batch: &[Stamp]) -> Result<(), String> {
        let servers = self.subjects.len();
        for stamp in batch {
            let effect = Some(pb::record::Effect::Frames(push(*stamp, self.payload)));
            if self.audience == Audience::One {
                let connections = vec![self.names[stamp.audience as usize]];
                let record = pb::Record { connections, effect, ..Default::default() };
                self.records[stamp.audience as usize % servers].push(record);
                continue;
            }
            let channel = channel_name(stamp.audience);
            let record = pb::Record { channel, effect, ..Default::default() };
            for server in
                (0..servers).filter(|server| self.reaches(stamp.audience, *server)).collect::<Vec<_>>()
            {
                self.records[server].push(record.clone());
            }
        }
        let mut ready: Vec<_> = self.records.iter_mut().map(std::mem::take).collect();
        for (subject, records) in
            self.subjects.iter().zip(&mut ready).filter(|(_, records)| !records.is_empty())
        {
            let envelope = pb::Envelope { records: std::mem::take(records), ..pb::Envelope::default() };
            self.runtime.block_on(self.publish_envelope(subject, envelope))?;
        }
        Ok(())
    }
}

/// Publisher name of the load tool on the bus.
const PUBLISHER: &str = "im-bench";

/// Number of channels that are joined with one envelope. The answer comes once their routes are written.
const JOINS_AT_ONCE: usize = 256;

const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

fn channel_name(audience: u32) -> String {
    format!("bench-{audience}")
}

fn push(stamp: Stamp, payload: usize) -> Bytes {
    let text = pb::content::Body::Text(pb::Text { text: text(stamp, payload) });
    let message = pb::Message {
        id: stamp.time,
        from: "bench".to_owned(),
        to: String::new(),
        content: Some(text.into()),
        ..Default::default()
    };
    frame::encode(pb::frame::Body::Push(pb::Push { message: Some(message), channel: String::new(), seq: 0 }))
}

fn text(stamp: Stamp, payload: usize) -> String {
    let mut bytes = Vec::with_capacity(payload);
    stamp.write(payload, &mut bytes);
    // A stamp is ASCII.
    String::from_utf8(bytes).unwrap_or_default()
}

/// Builds a message to the user of a connection.
pub(crate) fn message(stamp: Stamp, payload: usize, durability: Durability) -> Message {
    Message::to(user(user_name(stamp.audience))).text(text(stamp, payload)).durability(durability)
}

/// Sends with `im.send`. Each lane sends one message after another, so that those to one recipient stay in
/// order.
pub(super) struct SendPublisher {
    /// Leads to the task that distributes them to the lanes. Waking it costs the sending thread one wake-up per batch;
    /// waking lanes from there is cheap.
    batches: mpsc::Sender<Vec<Stamp>>,
    failed: Arc<AtomicU64>,
}

/// Number of messages that are sent at once.
const LANES: usize = 2048;

/// Maximum number of batches queued for the lanes.
const BATCHES: usize = 4;

impl SendPublisher {
    pub(super) fn start(runtime: &Runtime, im: Im, options: &TargetOptions) -> Result<Self, String> {
        if options.audience != Audience::One {
            return Err("channels are measured with --path edge only".to_owned());
        }
        let failed = Arc::new(AtomicU64::new(0));
        let durability = if options.path == Path::Live { Durability::Transient } else { Durability::Logged };
        let payload = options.payload;
        let lane = |number: usize| {
            let (lane, mut stamps) = mpsc::channel::<Stamp>(8);
            let (im, failed) = (im.clone(), Arc::clone(&failed));
            runtime.spawn(async move {
                let from = UserId::parse(&format!("sender-{number}"));
                while let Some(stamp) = stamps.recv().await {
                    let mut message = message(stamp, payload, durability);
                    if let Ok(from) = &from {
                        message = message.from(from);
                    }
                    if im.send(message).await.is_err() {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            lane
        };
        let lanes: Vec<_> = (0..LANES).map(lane).collect();
        let (batches, mut waiting) = mpsc::channel::<Vec<Stamp>>(BATCHES);
        runtime.spawn(async move {
            while let Some(batch) = waiting.recv().await {
                for stamp in batch {
                    // A lane ends only if it panicked. Its messages count as lost.
                    _ = lanes[stamp.audience as usize % LANES].send(stamp).await;
                }
            }
        });
        Ok(Self { batches, failed })
    }
}

impl Publisher for SendPublisher {
    fn publish(&mut self, batch: &[Stamp]) -> Result<(), String> {
        self.batches.blocking_send(batch.to_vec()).map_err(|_| "the lanes have ended".to_owned())
    }

    fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}
