//! Measures what well-behaved users notice of an attack or a fault.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use im_sdk::{
    backend::{Im, Message, user},
    client::{Client, Event},
    content::Content,
    id::UserId,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::{Stack, Via, stack::PATIENCE};

/// Two users who exchange messages during an attack, and a back end that sends to one of them.
///
/// In each round, the back end sends to the bystander, and the bystander publishes to its friend and requests its list
/// of conversations. The latency of every step is measured.
#[derive(Debug)]
pub struct Bystander {
    stop: watch::Sender<bool>,
    steps: JoinSet<()>,
    listening: JoinSet<()>,
    seen: Arc<Seen>,
}

/// Latencies, losses and failures of a [`Bystander`].
#[derive(Debug)]
pub struct BystanderReport {
    /// Latencies from the back end's send to the bystander's device.
    pub sends: Latencies,
    /// Latencies from the bystander's publish to its friend's device.
    pub messages: Latencies,
    /// Latencies from the bystander's publish to its result.
    pub publishes: Latencies,
    /// Latencies from a request to its response.
    pub requests: Latencies,
    /// Number of accepted messages that had not arrived [`PATIENCE`] after the last one was sent.
    pub lost: usize,
    /// Number of disconnects of the two devices.
    pub disconnects: usize,
    /// Errors of sends, publishes and requests.
    pub failures: Vec<String>,
}

/// Latencies of one kind of step.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    sorted: Vec<Duration>,
}

impl Latencies {
    fn new(mut taken: Vec<Duration>) -> Self {
        taken.sort_unstable();
        Self { sorted: taken }
    }

    /// Returns how many latencies were measured.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// Returns the quantile for `share` (0 to 1), or zero if nothing was measured.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = (self.sorted.len() as f64 * share).ceil() as usize;
        self.sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Returns the median.
    pub fn p50(&self) -> Duration {
        self.quantile(0.5)
    }

    /// Returns the longest.
    pub fn max(&self) -> Duration {
        self.quantile(1.0)
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| self.quantile(share).as_secs_f64() * 1000.0);
        write!(formatter, "{} in p50 {p50:.1} / p99 {p99:.1} / max {max:.1} ms", self.count())
    }
}

impl fmt::Display for BystanderReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sends, messages, publishes, requests, lost, disconnects, failures } = self;
        write!(
            formatter,
            "sends {sends}; messages {messages}; publishes {publishes}; requests {requests}; {lost} lost, \
             {disconnects} disconnects, {} failures",
            failures.len()
        )?;
        failures.first().map_or(Ok(()), |failure| write!(formatter, " ({failure})"))
    }
}

impl BystanderReport {
    /// Asserts that the users noticed nothing: no loss, no disconnect, no failure, and no step slower than `slowest`.
    ///
    /// # Panics
    /// Panics if they noticed anything.
    pub fn check(&self, slowest: Duration) {
        assert!(self.lost == 0 && self.disconnects == 0 && self.failures.is_empty(), "{self}");
        for latencies in [&self.sends, &self.messages, &self.publishes, &self.requests] {
            assert!(latencies.count() > 0, "nothing was measured: {self}");
            assert!(latencies.max() <= slowest, "slower than {slowest:?}: {self}");
        }
    }
}

#[derive(Debug, Default)]
struct Seen {
    /// Texts that have not arrived yet, with the time they were sent at.
    awaited: Mutex<HashMap<String, Instant>>,
    taken: Mutex<HashMap<Step, Vec<Duration>>>,
    failures: Mutex<Vec<String>>,
    disconnects: Mutex<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Send,
    Message,
    Publish,
    Request,
}

impl Seen {
    fn took(&self, step: Step, since: Instant) {
        self.taken.lock().expect("no thread panicked").entry(step).or_default().push(since.elapsed());
    }

    fn sent(&self, text: &str) -> Instant {
        let now = Instant::now();
        self.awaited.lock().expect("no thread panicked").insert(text.to_owned(), now);
        now
    }

    fn failed(&self, text: Option<&str>, why: String) {
        if let Some(text) = text {
            self.awaited.lock().expect("no thread panicked").remove(text);
        }
        self.failures.lock().expect("no thread panicked").push(why);
    }

    fn came(&self, step: Step, text: &str) {
        // Each device also receives the copies of what its own user sent.
        if text.starts_with(if step == Step::Send { "send" } else { "message" }) {
            let sent = self.awaited.lock().expect("no thread panicked").remove(text);
            sent.into_iter().for_each(|sent| self.took(step, sent));
        }
    }
}

impl Bystander {
    /// Connects both users to the first server and starts a round every `pace`. `im` is the back end
    /// that sends.
    pub async fn start(stack: &Stack, im: &Im, pace: Duration) -> Self {
        Self::start_on(stack, im, pace, 0).await
    }

    /// Like [`Bystander::start`], but connects to the server with index `server`.
    pub async fn start_on(stack: &Stack, im: &Im, pace: Duration, server: usize) -> Self {
        let seen = Arc::new(Seen::default());
        let mut listening = JoinSet::new();
        let mut devices = Vec::new();
        for (name, step) in [("bystander", Step::Send), ("friend", Step::Message)] {
            let mut device = stack.connect(name, "web/bystander", server, Via::WebSocket).await;
            device.up_to_date().await;
            let client = Arc::new(device.into_client());
            listening.spawn(listen(Arc::clone(&client), step, Arc::clone(&seen)));
            devices.push(client);
        }
        let (stop, stopped) = watch::channel(false);
        let mut steps = JoinSet::new();
        let bystander = &devices[0];
        steps.spawn(send(im.clone(), Arc::clone(&seen), Turns::new(pace, &stopped)));
        steps.spawn(publish(Arc::clone(bystander), Arc::clone(&seen), Turns::new(pace, &stopped)));
        steps.spawn(request(Arc::clone(bystander), Arc::clone(&seen), Turns::new(pace, &stopped)));
        Self { stop, steps, listening, seen }
    }

    /// Returns the number of disconnects so far.
    pub fn disconnects(&self) -> usize {
        *self.seen.disconnects.lock().expect("no thread panicked")
    }

    /// Stops the rounds, and waits up to [`PATIENCE`] for messages that have not arrived.
    ///
    /// # Panics
    /// Panics if one of its tasks panicked.
    pub async fn stop(mut self) -> BystanderReport {
        self.stop.send_replace(true);
        while let Some(ended) = self.steps.join_next().await {
            ended.expect("a step runs to its end");
        }
        let seen = &self.seen;
        let all_came = async {
            while !seen.awaited.lock().expect("no thread panicked").is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = timeout(PATIENCE, all_came).await;
        self.listening.abort_all();
        let mut taken = seen.taken.lock().expect("no thread panicked");
        let mut of = |step| Latencies::new(taken.remove(&step).unwrap_or_default());
        BystanderReport {
            sends: of(Step::Send),
            messages: of(Step::Message),
            publishes: of(Step::Publish),
            requests: of(Step::Request),
            lost: seen.awaited.lock().expect("no thread panicked").len(),
            disconnects: *seen.disconnects.lock().expect("no thread panicked"),
            failures: std::mem::take(&mut seen.failures.lock().expect("no thread panicked")),
        }
    }
}

/// Ticks until it is stopped.
struct Turns {
    ticks: tokio::time::Interval,
    stopped: watch::Receiver<bool>,
    number: u64,
}

impl Turns {
    fn new(pace: Duration, stopped: &watch::Receiver<bool>) -> Self {
        let mut ticks = interval(pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, stopped: stopped.clone(), number: 0 }
    }

    async fn next(&mut self) -> Option<u64> {
        tokio::select! {
            biased;
            _ = self.stopped.wait_for(|stopped| *stopped) => None,
            _ = self.ticks.tick() => {
                self.number += 1;
                Some(self.number)
            }
        }
    }
}

async fn send(im: Im, seen: Arc<Seen>, mut turns: Turns) {
    while let Some(number) = turns.next().await {
        let text = format!("send {number}");
        seen.sent(&text);
        if let Err(error) = im.send(Message::to(user("bystander")).from("friend").text(&text)).await {
            seen.failed(Some(&text), format!("send: {error}"));
        }
    }
}

async fn publish(client: Arc<Client>, seen: Arc<Seen>, mut turns: Turns) {
    while let Some(number) = turns.next().await {
        let text = format!("message {number}");
        let since = seen.sent(&text);
        match client.send(UserId::parse("friend").expect("a user"), Content::text(&text)).outcome().await {
            Ok(_) => seen.took(Step::Publish, since),
            Err(error) => seen.failed(Some(&text), format!("publish: {error}")),
        }
    }
}

async fn request(client: Arc<Client>, seen: Arc<Seen>, mut turns: Turns) {
    while turns.next().await.is_some() {
        let since = Instant::now();
        match client.conversations(0, 10).await {
            Ok(_) => seen.took(Step::Request, since),
            Err(error) => seen.failed(None, format!("request: {error}")),
        }
    }
}

async fn listen(client: Arc<Client>, step: Step, seen: Arc<Seen>) {
    loop {
        let events = client.next_events(100).await;
        if events.is_empty() {
            return;
        }
        for event in events {
            match event {
                Event::Message(message) => {
                    seen.came(step, message.content.as_text().unwrap_or_default());
                    if let Some(position) = &message.position {
                        client.ack(position);
                    }
                }
                Event::Disconnected { .. } | Event::Stopped { .. } => {
                    *seen.disconnects.lock().expect("no thread panicked") += 1;
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_what_was_measured() {
        let latencies = Latencies::new((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!(latencies.p50(), Duration::from_millis(100));
        assert_eq!(latencies.quantile(0.99), Duration::from_millis(198));
        assert_eq!(latencies.max(), Duration::from_millis(200));
        assert_eq!(Latencies::default().max(), Duration::ZERO);
    }
}
