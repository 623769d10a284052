//! A TCP proxy that breaks a link as networks do. It breaks the link of one process alone if only that process is
//! given the proxy's address instead of the server's.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// Maximum number of bytes that the proxy holds for one direction of a connection.
const CHUNK: usize = 64 * 1024;

/// A TCP proxy in front of one server. Dropping it closes all connections.
#[derive(Debug)]
pub struct TcpProxy {
    url: String,
    plan: watch::Sender<Plan>,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

/// The state of the link.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Target of new connections.
    target: SocketAddr,
    /// Set if new connections are refused.
    refuses: bool,
    /// Set if bytes from clients are held back.
    up_held: bool,
    /// Set if bytes from the server are held back.
    down_held: bool,
    /// Delay of each chunk.
    delay: Duration,
    /// Number of times that all connections were dropped.
    drops: u64,
}

impl TcpProxy {
    /// Starts one in front of a URL such as `redis://127.0.0.1:6379`. Names and passwords in it stay in
    /// [`TcpProxy::url`].
    ///
    /// # Panics
    /// Panics if the URL has no IPv4 address with a port.
    pub async fn before(url: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let own = listener.local_addr().expect("the listener's address");
        let target = target(url);
        let plan = Plan {
            target,
            refuses: false,
            up_held: false,
            down_held: false,
            delay: Duration::ZERO,
            drops: 0,
        };
        let plan = watch::Sender::new(plan);
        let connections = Arc::new(AtomicUsize::new(0));
        let accepting = tokio::spawn(accept(listener, plan.subscribe(), Arc::clone(&connections)));
        let url = url.replace(&target.to_string(), &own.to_string());
        Self { url, plan, connections, accepting }
    }

    /// Returns the server's URL with the proxy's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the number of open connections.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Redirects new connections to the server of another URL, like a virtual address or DNS name that moves.
    /// Existing connections stay.
    pub fn lead_to(&self, url: &str) {
        self.plan.send_modify(|plan| plan.target = target(url));
    }

    /// Closes all existing connections.
    pub fn drop_connections(&self) {
        self.plan.send_modify(|plan| plan.drops += 1);
    }

    /// Closes all connections and every new one at once, as if nothing listened.
    pub fn refuse(&self) {
        self.plan.send_modify(|plan| (plan.refuses, plan.drops) = (true, plan.drops + 1));
    }

    /// Loses every packet in both directions. Connections stay open, new ones are accepted, and nothing is answered.
    pub fn hold(&self) {
        self.plan.send_modify(|plan| (plan.up_held, plan.down_held) = (true, true));
    }

    /// Loses the packets of clients; those of the server still arrive.
    pub fn hold_up(&self) {
        self.plan.send_modify(|plan| (plan.up_held, plan.down_held) = (true, false));
    }

    /// Loses the packets of the server; those of clients still arrive.
    pub fn hold_down(&self) {
        self.plan.send_modify(|plan| (plan.up_held, plan.down_held) = (false, true));
    }

    /// Delays each chunk.
    pub fn delay(&self, delay: Duration) {
        self.plan.send_modify(|plan| plan.delay = delay);
    }

    /// Repairs the link. Bytes held back on existing connections are delivered, as TCP retransmits lost packets.
    pub fn repair(&self) {
        self.plan.send_modify(|plan| {
            (plan.refuses, plan.up_held, plan.down_held) = (false, false, false);
            plan.delay = Duration::ZERO;
        });
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Returns the address in a URL.
fn target(url: &str) -> SocketAddr {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let address = rest.split('/').next().unwrap_or_default();
    address.parse().unwrap_or_else(|error| panic!("{url:?}: {error}"))
}

#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down,
}

impl Plan {
    fn holds(&self, direction: Direction) -> bool {
        match direction {
            Direction::Up => self.up_held,
            Direction::Down => self.down_held,
        }
    }
}

async fn accept(listener: TcpListener, plan: watch::Receiver<Plan>, connections: Arc<AtomicUsize>) {
    let mut links = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                if !plan.borrow().refuses {
                    links.spawn(link(client, plan.clone(), Arc::clone(&connections)));
                }
            }
            Some(_) = links.join_next() => {}
        }
    }
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs one connection until either side closes it or all are dropped.
async fn link(client: TcpStream, mut plan: watch::Receiver<Plan>, connections: Arc<AtomicUsize>) {
    connections.fetch_add(1, Ordering::Relaxed);
    let _counted = Counted(connections);
    let Plan { target, drops, .. } = *plan.borrow();
    let (up, down) = (plan.clone(), plan.clone());
    let forward = async {
        // While every packet is lost, the packets that would open the connection to the server are lost too.
        until_open(&mut up.clone(), Direction::Up).await?;
        let server = TcpStream::connect(target).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::try_join!(
            pump(from_client, to_server, up, Direction::Up),
            pump(from_server, to_client, down, Direction::Down),
        )
    };
    tokio::select! {
        _ = forward => {}
        // An error means that the proxy was dropped.
        _ = plan.wait_for(|plan| plan.drops > drops) => {}
    }
}

async fn until_open(plan: &mut watch::Receiver<Plan>, direction: Direction) -> io::Result<Duration> {
    let open = plan.wait_for(|plan| !plan.holds(direction)).await;
    open.map(|plan| plan.delay).map_err(|_| io::ErrorKind::ConnectionAborted.into())
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut plan: watch::Receiver<Plan>,
    direction: Direction,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await?;
        let delay = until_open(&mut plan, direction).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(100);

    /// Starts a server that sends its name and then echoes.
    async fn echo(name: &'static [u8; 1]) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("redis://user:secret@{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    stream.write_all(name).await?;
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        url
    }

    async fn connect(proxy: &TcpProxy) -> TcpStream {
        TcpStream::connect(target(proxy.url())).await.expect("a connection")
    }

    async fn byte(stream: &mut TcpStream) -> Option<u8> {
        stream.read_u8().await.ok()
    }

    #[tokio::test]
    async fn a_link_can_be_broken_in_each_way_and_repaired() {
        let (first, second) = (echo(b"1").await, echo(b"2").await);
        let proxy = TcpProxy::before(&first).await;
        assert!(proxy.url().starts_with("redis://user:secret@127.0.0.1:") && proxy.url() != first);
        let mut stream = connect(&proxy).await;
        assert_eq!(byte(&mut stream).await, Some(b'1'));
        for hold in [TcpProxy::hold, TcpProxy::hold_up, TcpProxy::hold_down] {
            hold(&proxy);
            stream.write_u8(b'x').await.expect("the kernel takes it");
            assert!(timeout(SHORT, byte(&mut stream)).await.is_err(), "something came through");
            proxy.repair();
            assert_eq!(byte(&mut stream).await, Some(b'x'));
        }
        proxy.hold();
        let mut silent = connect(&proxy).await;
        assert!(timeout(SHORT, byte(&mut silent)).await.is_err(), "the server was reached");
        proxy.repair();
        assert_eq!(byte(&mut silent).await, Some(b'1'));

        proxy.lead_to(&second);
        stream.write_u8(b'y').await.expect("it stays where it is");
        assert_eq!(byte(&mut stream).await, Some(b'y'));
        assert_eq!(byte(&mut connect(&proxy).await).await, Some(b'2'));

        proxy.delay(SHORT);
        let before = std::time::Instant::now();
        stream.write_u8(b'z').await.expect("it goes");
        assert_eq!(byte(&mut stream).await, Some(b'z'));
        assert!(before.elapsed() >= 2 * SHORT);
        proxy.repair();

        proxy.drop_connections();
        assert_eq!(byte(&mut stream).await, None);
        assert_eq!(byte(&mut connect(&proxy).await).await, Some(b'2'));
        proxy.refuse();
        assert_eq!(byte(&mut connect(&proxy).await).await, None);
        proxy.repair();
        assert_eq!(byte(&mut connect(&proxy).await).await, Some(b'2'));
    }
}
