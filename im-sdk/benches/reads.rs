//! Benchmarks of reads inside one process: `cargo bench -p im-sdk`.
//!
//! One inbox of 10,000 messages in 1,000 conversations; a tenth of them has a reaction, a twentieth
//! was edited.
#![allow(missing_docs, clippy::expect_used, reason = "a benchmark")]

use std::sync::{Arc, LazyLock};

use divan::{Bencher, black_box};
use im_sdk::{
    HistoryQuery, HistoryRange, Search,
    backend::{Durability, Im, Message, message_store::MemoryMessageStore, user, users},
    cluster::{Cluster, LogBounds, MemoryBus, MemoryLog, MemoryRoutes},
    content::Change,
    id::UserId,
};
use tokio::runtime::Runtime;

const MESSAGES: usize = 10_000;
const CONVERSATIONS: usize = 1_000;

fn main() {
    divan::main();
}

struct World {
    runtime: Runtime,
    im: Im,
    shop: UserId,
    customer: UserId,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("a runtime");
    let im = runtime.block_on(fill());
    let (shop, customer) = ("shop".parse().expect("a user"), "customer-7".parse().expect("a user"));
    World { runtime, im, shop, customer }
});

async fn fill() -> Im {
    let bounds =
        LogBounds { max_entries: 100_000, max_bytes: 1 << 30, inbox_shares: 1, ..LogBounds::default() };
    let log = Arc::new(MemoryLog::new(bounds));
    let cluster = Cluster::new(Arc::new(MemoryRoutes::new()), Arc::new(MemoryBus::new()), log);
    let store = Arc::new(MemoryMessageStore::new());
    let config = Im::builder().message_store(store);
    let im = config.start(cluster).await.expect("a back end");
    for number in 0..MESSAGES {
        let customer = format!("customer-{}", number % CONVERSATIONS);
        let text = format!("order {number}: when does it come?");
        let message =
            Message::to(user("shop")).from(customer.as_str()).text(text).durability(Durability::Logged);
        let id = im.send(message).await.expect("a message").message_id;
        if number % 10 == 0 {
            let reaction = Message::to(user(customer.as_str())).from("shop").content(Change::react(id, "ok"));
            im.send(reaction).await.expect("a reaction");
        }
        if number % 20 == 0 {
            im.change(users(["shop", customer.as_str()]), Change::edit(id, "never mind"))
                .await
                .expect("an edit");
        }
    }
    im
}

fn read_all(bencher: Bencher<'_, '_>, with: impl Into<im_sdk::Conversation> + Clone, limit: usize) {
    let World { runtime, im, shop, .. } = &*WORLD;
    let reading = || async {
        let mut query = HistoryQuery::newest();
        let mut count = 0;
        loop {
            let page = im.history(shop, with.clone(), query.clone(), limit).await.expect("a page");
            count += page.messages.len();
            let Some(next) = page.next else { return count };
            query = query.range(next);
        }
    };
    bencher.bench_local(|| runtime.block_on(reading()));
}

#[divan::bench]
fn newest_page_of_history(bencher: Bencher<'_, '_>) {
    let World { runtime, im, shop, .. } = &*WORLD;
    bencher.bench_local(|| {
        let page = im.history(shop, im_sdk::Conversation::Inbox, HistoryRange::Newest, 50);
        black_box(runtime.block_on(page).expect("a page"))
    });
}

#[divan::bench]
fn page_in_the_middle_of_history(bencher: Bencher<'_, '_>) {
    let World { runtime, im, shop, .. } = &*WORLD;
    bencher.bench_local(|| {
        let page = im.history(shop, im_sdk::Conversation::Inbox, HistoryRange::Before(5_000), 50);
        black_box(runtime.block_on(page).expect("a page"))
    });
}

#[divan::bench(sample_count = 10)]
fn all_history_page_by_page(bencher: Bencher<'_, '_>) {
    read_all(bencher, im_sdk::Conversation::Inbox, 50);
}

#[divan::bench(sample_count = 10)]
fn all_of_one_conversation(bencher: Bencher<'_, '_>) {
    read_all(bencher, &WORLD.customer, 50);
}

#[divan::bench(sample_count = 20)]
fn page_of_the_list(bencher: Bencher<'_, '_>) {
    let World { runtime, im, shop, .. } = &*WORLD;
    bencher.bench_local(|| black_box(runtime.block_on(im.conversations(shop, 0, 50)).expect("a page")));
}

/// Searches an archive with as many messages.
#[divan::bench(sample_count = 20)]
fn search(bencher: Bencher<'_, '_>) {
    static FOUND: LazyLock<(Runtime, Im)> = LazyLock::new(|| {
        let runtime = Runtime::new().expect("a runtime");
        let im = runtime.block_on(async {
            let store = Arc::new(MemoryMessageStore::new());
            let config = Im::builder().message_store(store.clone()).default_durability(Durability::Archived);
            let im = config.start(Cluster::embedded()).await.expect("a back end");
            let archiver = im.start_archiver(store).expect("an archive");
            for number in 0..MESSAGES {
                let text = format!("order {number}: when does it come?");
                let from = format!("customer-{}", number % CONVERSATIONS);
                im.send(Message::to(user("shop")).from(from.as_str()).text(text)).await.expect("a message");
            }
            while archiver.written() < 2 * MESSAGES as u64 {
                tokio::task::yield_now().await;
            }
            archiver.shutdown().await;
            im
        });
        (runtime, im)
    });
    let (runtime, im) = &*FOUND;
    let (shop, search) = (&WORLD.shop, Search::new("order 4711"));
    bencher.bench_local(|| black_box(runtime.block_on(im.search(shop, &search, 20)).expect("a page")));
}
