//! Devices that follow `GoAway` while messages arrive and leave.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use im_sdk::{
    backend::{Im, Message, user},
    client::{Client, CloseCode, Event},
    content::Content,
    id::UserId,
};
use im_tests::{
    Setup, Stack, Via,
    channels::serve,
    everywhere,
    stack::{PATIENCE, ServerOptions},
};
use tokio::time::{interval, timeout};

everywhere!(who_is_asked_to_leave_loses_nothing_and_gets_nothing_twice);

/// Few devices, so that each is asked at a time of its own.
const DEVICES: usize = 4;

/// Interval between two messages in each direction.
const PACE: Duration = Duration::from_millis(10);

/// The last message.
const END: &str = "end";

/// Everything that a device received.
#[derive(Debug, Default)]
struct Seen {
    /// Texts by sender.
    texts: BTreeMap<String, Vec<String>>,
    connected: Vec<String>,
    /// Close codes, and the delay after each.
    lost: Vec<(Option<CloseCode>, Option<Duration>)>,
}

impl Seen {
    fn of(&self, from: &str) -> &[String] {
        self.texts.get(from).map_or(&[], Vec::as_slice)
    }
}

/// User without a device.
const BACK_END: &str = "";

/// Reads everything that a device receives, up to the last message.
async fn read(client: &Client) -> Seen {
    let mut seen = Seen::default();
    loop {
        for event in client.next_events(100).await {
            match event {
                Event::Message(message) => {
                    let text = message.content.as_text().unwrap().to_owned();
                    if text == END {
                        return seen;
                    }
                    let from = message.from.as_ref().map_or(BACK_END, |from| from.as_str()).to_owned();
                    seen.texts.entry(from).or_default().push(text);
                }
                Event::Connected { endpoint, .. } => {
                    seen.connected.push(endpoint.to_string().trim_end_matches('/').to_owned());
                }
                Event::Disconnected { code, retry_in, .. } => seen.lost.push((code, retry_in)),
                _ => {}
            }
        }
    }
}

fn name(number: usize) -> String {
    format!("device-{number}")
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// Sends to all devices until `over` is set; returns the number of messages per device.
async fn send(im: &Im, over: &AtomicBool) -> usize {
    let (mut pace, mut count) = (interval(PACE), 0);
    while !over.load(Ordering::Relaxed) {
        pace.tick().await;
        for number in 0..DEVICES {
            im.send(Message::to(user(name(number))).text(count.to_string())).await.unwrap();
        }
        count += 1;
    }
    count
}

/// Publishes to the sink until `over` is set; returns the number of messages.
async fn publish(client: &Client, over: &AtomicBool) -> usize {
    let (mut pace, mut count) = (interval(PACE), 0);
    while !over.load(Ordering::Relaxed) {
        pace.tick().await;
        let sink: UserId = "sink".parse().unwrap();
        client.send(sink, Content::text(count.to_string())).outcome().await.unwrap();
        count += 1;
    }
    count
}

async fn who_is_asked_to_leave_loses_nothing_and_gets_nothing_twice(setup: Setup, via: Via) {
    // More than enough for the last device, which is asked after three fifths of the time: it is not closed.
    let options = ServerOptions { drain_grace: Duration::from_secs(8), ..ServerOptions::default() };
    let mut stack = Stack::start_with(setup, 2, options).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let endpoints = [stack.servers[0].endpoint(via), stack.servers[1].endpoint(via)];
    let mut sink = stack.connect("sink", "web/tab", 1, via).await;
    sink.up_to_date().await;
    let mut devices = Vec::new();
    for number in 0..DEVICES {
        let mut device = stack.open(&name(number), "web/tab", &endpoints);
        assert_eq!(device.connected().await, endpoints[0]);
        device.up_to_date().await;
        devices.push(device);
    }
    let over = AtomicBool::new(false);
    let leaving = async {
        stack.servers.remove(0).shutdown().await;
        over.store(true, Ordering::Relaxed);
    };
    let talking = async {
        let publishing = join_all(devices.iter().map(|device| publish(device.client(), &over)));
        let ((), sent, published) = tokio::join!(leaving, send(&im, &over), publishing);
        for number in 0..DEVICES {
            im.send(Message::to(user(name(number))).text(END)).await.unwrap();
        }
        im.send(Message::to(user("sink")).text(END)).await.unwrap();
        (sent, published)
    };
    let reading = join_all(devices.iter().map(|device| read(device.client())));
    let all = async { tokio::join!(talking, reading, read(sink.client())) };
    let ((sent, published), seen, sunk) = timeout(2 * PATIENCE, all).await.unwrap();

    for (number, (published, seen)) in published.into_iter().zip(seen).enumerate() {
        assert_eq!(seen.of(BACK_END), numbered(sent));
        assert_eq!(seen.of(&name(number)), numbered(published), "what it sent itself");
        assert_eq!(sunk.of(&name(number)), numbered(published));
        // It left by itself before it was closed; otherwise it would have waited.
        assert_eq!(seen.lost, [(Some(CloseCode::GoingAway), Some(Duration::ZERO))]);
        assert_eq!(seen.connected, endpoints[1..]);
    }
}
