//! A room of tens of thousands of devices: the whole path of a join, from a device's request to its answer, without sockets.

use std::{
    task::{Context, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use im_proto::{frame, limits::MAX_FRAME_BYTES, pb, pb::frame::Body};
use im_sdk::{
    backend::{Acceptance, Handler, Im, Incoming, Message, Refusal, RoomJoin, RoomWelcome},
    cluster::Cluster,
};
use prost::Message as _;
use tokio::time::sleep;

use crate::{
    Server,
    registry::{Registration, frame_batch::FrameBatch, outbox::Outbox},
    testing,
};

const CROWD: usize = 20_000;

/// The number of concurrent joins: as many as a backend answers at once.
const AT_ONCE: usize = 256;

/// The time limit on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct OpenHouse;

impl Handler for OpenHouse {
    async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
        Ok(incoming.accept())
    }

    async fn join_room(&self, _: RoomJoin) -> Result<RoomWelcome, Refusal> {
        Ok(RoomWelcome::new())
    }
}

/// Registers connections that have an outbox and nothing behind it.
fn register(server: &Server, count: usize) -> Vec<Registration> {
    let context = server.context();
    let register = |number| {
        let user = format!("user-{number}");
        testing::register_with(&context.registry, &user, Outbox::new(100_000))
    };
    (0..count).map(register).collect()
}

fn join() -> Bytes {
    let join = pb::JoinRoom { channel: "lobby".into(), ..Default::default() };
    let question = Some(pb::request::Question::JoinRoom(join));
    pb::Request { number: 1, question }.encode_to_vec().into()
}

/// Returns the next frames of each connection, as soon as each has some.
async fn frames(registrations: &[Registration]) -> Vec<Vec<Body>> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut all = Vec::with_capacity(registrations.len());
    let began = Instant::now();
    for registration in registrations {
        let mut batch = FrameBatch::default();
        while registration.connection.outbox.poll_take(&mut cx, &mut batch).is_pending() {
            assert!(began.elapsed() < PATIENCE, "{} of {} have something", all.len(), registrations.len());
            sleep(Duration::from_millis(1)).await;
        }
        let frames = batch.iter().flat_map(|frames| frame::split(frames.clone(), MAX_FRAME_BYTES));
        all.push(frames.map(|frame| frame::decode(frame.unwrap()).unwrap().unwrap()).collect());
    }
    all
}

/// Returns the size of this process's anonymous memory (Linux, proc(5)).
fn anonymous_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().unwrap_or_default() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tens_of_thousands_join_a_room_hear_and_leave() {
    let cluster = Cluster::embedded();
    let server = testing::server_on(cluster.clone()).await;
    let im = Im::with_cluster(cluster).await.unwrap();
    let _service = im.serve(OpenHouse).await.unwrap();
    let room = im.room("lobby");
    let crowd = register(&server, CROWD);
    let (before, began, mut slowest) = (anonymous_bytes(), Instant::now(), Duration::ZERO);
    let mut joined = 0;
    for some in crowd.chunks(AT_ONCE) {
        let started = Instant::now();
        for registration in some {
            server.context().upstream.requests.try_forward(&registration.connection, 1, join());
        }
        for frames in frames(some).await {
            let [Body::Response(pb::Response { outcome: Some(outcome), .. })] = &frames[..] else {
                panic!("{frames:?}")
            };
            let pb::response::Outcome::JoinedRoom(welcome) = outcome else { panic!("{outcome:?}") };
            assert!((1..=CROWD as u64).contains(&welcome.online), "{welcome:?}");
        }
        joined += some.len();
        slowest = slowest.max(started.elapsed());
    }
    let each = began.elapsed() / CROWD as u32;
    let bytes = anonymous_bytes().saturating_sub(before) / CROWD;
    println!("{joined} joins: {each:?} each, {slowest:?} for the slowest {AT_ONCE}, {bytes} bytes each");
    assert_eq!(room.online().await.unwrap(), CROWD as u64);
    let receipt = room.send(Message::new().text("hello, everybody")).await.unwrap();
    assert_eq!((receipt.shed(), receipt.channel.unwrap().connections), (0, CROWD as u64));
    let heard = frames(&crowd).await;
    assert!(heard.iter().all(|frames| matches!(&frames[..], [Body::Push(_)])), "each one once");
    room.close("good night").await.unwrap();
    assert_eq!(room.online().await.unwrap(), 0);
    let heard = frames(&crowd).await;
    assert!(heard.iter().all(|frames| matches!(&frames[..], [Body::RoomLeft(_)])), "and each is told");
}
