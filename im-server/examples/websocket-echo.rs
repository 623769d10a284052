//! Sends back every WebSocket message, with the server's own framing: `cargo run -p im-server --example websocket-echo
//! [ADDRESS]`. The Autobahn test suite talks to it: `tests/autobahn.sh`.
#![allow(clippy::print_stdout, reason = "it tells where it listens")]

use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("{}", listener.local_addr()?);
    im_server::bench::echo(listener).await
}
