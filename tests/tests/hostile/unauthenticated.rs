//! Connections that never send a token.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use im_tests::{
    Via,
    memory::{Memory, mib},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::arena::{Arena, UNNOTICED};

const STRANGERS: usize = 800;

/// Memory of a connection's own state, in addition to what the documents grant to each.
const MAX_MIB: f64 = STRANGERS as f64 * 48.0 / 1024.0;

/// Opens a WebSocket and sends a message of this size without its last byte, as far as the server accepts it.
async fn incomplete(address: &str, size: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let upgrade = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let mut message = vec![0x82, 0xff];
    message.extend((size as u64).to_be_bytes());
    message.resize(message.len() + 4 + size - 1, 0);
    // The server may have closed already.
    let _ = tokio::time::timeout(Duration::from_secs(2), stream.write_all(&message)).await;
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incomplete_messages_cost_what_the_documents_say() {
    for size in [262_000, 32_000, 16_000] {
        let arena = Arena::start().await;
        let server = arena.stack.servers[0].process().process_id();
        let address = arena.stack.servers[0].endpoint(Via::WebSocket).replace("ws://", "");
        let before = Memory::of(server);
        let attack = async {
            let strangers = (0..STRANGERS).map(|_| incomplete(&address, size));
            stream::iter(strangers).buffer_unordered(64).collect::<Vec<_>>().await
        };
        let (strangers, report) = arena.beside("800 strangers with an incomplete message", attack).await;
        let grew = mib(Memory::of(server).peak_since(before));
        println!("{size} bytes each: {grew:.1} MiB more, {:.1} KiB each", grew * 1024.0 / STRANGERS as f64);
        drop(strangers);
        assert!(grew <= MAX_MIB, "{size} bytes each: {grew:.1} MiB more, {MAX_MIB:.1} are allowed");
        report.bystander.check(UNNOTICED);
    }
}
