//! A back end process without rules of its own. It accepts everything that devices publish, with the default settings of a back
//! end, shows who is online, and carries out the commands on its standard input.
//!
//! ```text
//! plain-backend REDIS NATS [DATABASE]    with a database, everything is archived in it
//! send FROM TO TEXT                      answered with `sent ID` or `failed ERROR`
//! ```
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a failed step of a test is a panic")]

use std::{io::BufRead as _, process::ExitCode, sync::Arc};

use im_sdk::{
    backend::{
        Acceptance, Durability, Handler, Im, Incoming, Message, Refusal, message_store::SqlMessageStore, user,
    },
    cluster::{ArchiveConfig, Cluster, ClusterConfig, DeviceAck},
    id::UserId,
};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [redis, nats, database @ ..] = &arguments[..] else {
        eprintln!("plain-backend REDIS NATS [DATABASE]");
        return ExitCode::FAILURE;
    };
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
    let (mut cluster, mut config) = (ClusterConfig::new([redis], [nats]), Im::builder());
    let mut store = None;
    if let Some(url) = database.first() {
        cluster.archive = Some(ArchiveConfig { max_bytes: 256 << 20, ..ArchiveConfig::default() });
        let database = Arc::new(SqlMessageStore::connect(url).await.expect("the database opens"));
        config = config.message_store(database.clone()).default_durability(Durability::Archived);
        store = Some(database);
    }
    let cluster = Cluster::connect(cluster).await.expect("Redis and NATS");
    let im = config.start(cluster).await.expect("the back end starts");
    let archiver = store.map(|store| im.start_archiver(store).expect("an archive"));
    let service = im.serve(Plain).await.expect("it serves");
    println!("ready");
    let mut orders = orders();
    while let Some(order) = orders.recv().await {
        obey(&im, &order).await;
    }
    service.shutdown().await;
    drop(archiver);
    im.shutdown().await;
    ExitCode::SUCCESS
}

/// Accepts everything, shows everybody's presence to everybody, and prints acknowledgements.
struct Plain;

impl Handler for Plain {
    async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
        Ok(incoming.accept())
    }

    async fn may_watch(&self, _: UserId, users: Vec<UserId>) -> Vec<UserId> {
        users
    }

    async fn acked(&self, ack: DeviceAck) {
        println!("acked {ack:?}");
    }
}

async fn obey(im: &Im, order: &str) {
    let mut words = order.splitn(4, ' ');
    let (Some("send"), Some(from), Some(to), Some(text)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        println!("failed unknown order: {order}");
        return;
    };
    match im.send(Message::to(user(to)).from(from).text(text)).await {
        Ok(receipt) => println!("sent {}", receipt.message_id.as_u64()),
        Err(error) => println!("failed {error}"),
    }
}

/// Reads the lines of standard input.
fn orders() -> mpsc::Receiver<String> {
    let (sender, orders) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    orders
}
