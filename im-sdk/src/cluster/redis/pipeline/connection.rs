//! A socket to Redis: the handshake, replies, and invalidations that Redis pushes.

use std::{
    future::{Future as _, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use bytes::{Buf as _, BytesMut};
use redis::{
    ConnectionAddr, ConnectionInfo, ErrorKind, PushKind, RedisConnectionInfo, RedisError, RedisResult,
    ServerErrorKind, Value,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    net::TcpStream,
};

use super::Shared;
use crate::cluster::{
    config::ClusterConfig,
    redis::{
        discovery::connection_info,
        resp::{Commands, Malformed, Reply, first},
    },
};

/// The number of bytes read at once.
const READ: usize = 64 * 1024;

/// The largest write buffer that is reused.
const KEPT_ROOM: usize = 1024 * 1024;

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

pub(super) struct Connection {
    socket: Box<dyn Socket>,
    unread: BytesMut,
    /// The bytes to be written, followed by the number of those already written.
    writing: Vec<u8>,
    written: usize,
    shared: Arc<Shared>,
}

/// The progress of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Did {
    /// All buffered bytes were written.
    Write,
    /// Bytes were read; there may be replies.
    Read,
}

impl Connection {
    pub(super) async fn open(
        config: &ClusterConfig,
        address: &str,
        shared: &Arc<Shared>,
    ) -> RedisResult<Self> {
        let info = connection_info(config, address)?;
        let socket = connect(&info, config).await?;
        let (unread, writing) = (BytesMut::new(), Vec::new());
        let mut connection = Self { socket, unread, writing, written: 0, shared: Arc::clone(shared) };
        connection.greet(info.redis_settings()).await?;
        // A node that is loading, or a replica that has lost its master, refuses this.
        connection.ask(&redis::cmd("PING")).await?.extract_error()?;
        let tracking = shared.options.tracking && connection.track().await?;
        shared.tracking.store(tracking, Ordering::Release);
        Ok(connection)
    }

    /// Switches to version 3 of the protocol, in which Redis can push messages.
    async fn greet(&mut self, settings: &RedisConnectionInfo) -> RedisResult<()> {
        let mut hello = redis::cmd("HELLO");
        hello.arg(3);
        if let Some(password) = settings.password() {
            hello.arg("AUTH").arg(settings.username().unwrap_or("default")).arg(password);
        }
        let greeting = self.ask(&hello).await?.extract_error()?;
        if is_replica(greeting)? {
            return Err(replica());
        }
        if settings.db() != 0 {
            self.ask(redis::cmd("SELECT").arg(settings.db())).await?.extract_error()?;
        }
        Ok(())
    }

    /// Enables invalidations of values read behind `CLIENT CACHING YES`. Returns `false` if Redis
    /// refuses, for lack of a right for example.
    async fn track(&mut self) -> RedisResult<bool> {
        let answer = self.ask(redis::cmd("CLIENT").arg("TRACKING").arg("ON").arg("OPTIN")).await?;
        let Err(error) = answer.extract_error() else { return Ok(true) };
        tracing::debug!(%error, "Redis cannot report changes: routes are read for each send");
        Ok(false)
    }

    async fn ask(&mut self, command: &redis::Cmd) -> RedisResult<Value> {
        let mut commands = Commands::default();
        commands.add_command(command);
        self.write(&commands);
        loop {
            let mut answered = None;
            self.answers(|answer| answered = Some(answer.value()))?;
            if let Some(answer) = answered {
                return answer;
            }
            self.advance().await?;
        }
    }

    /// Buffers commands; [`Connection::advance`] writes them.
    pub(super) fn write(&mut self, commands: &Commands) {
        self.writing.extend_from_slice(commands.bytes());
    }

    /// Returns the number of bytes still to be written.
    pub(super) fn unwritten(&self) -> usize {
        self.writing.len() - self.written
    }

    /// Writes and reads. Cancel-safe: dropping the future loses nothing.
    pub(super) async fn advance(&mut self) -> io::Result<Did> {
        poll_fn(|context| self.poll_advance(context)).await
    }

    fn poll_advance(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Did>> {
        while self.unwritten() > 0 {
            let unwritten = &self.writing[self.written..];
            let Poll::Ready(written) = Pin::new(&mut self.socket).poll_write(context, unwritten) else {
                // Redis may continue to read only when its replies are read.
                return self.poll_read(context);
            };
            self.written += match written? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => written,
            };
            if self.unwritten() == 0 {
                self.writing.clear();
                self.writing.shrink_to(KEPT_ROOM);
                self.written = 0;
                return Poll::Ready(Ok(Did::Write));
            }
        }
        self.poll_read(context)
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Did>> {
        self.unread.reserve(READ);
        let read = pin!(self.socket.read_buf(&mut self.unread)).poll(context);
        read.map(|read| match read? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(Did::Read),
        })
    }

    /// Passes the received replies to `take`, in their order. Invalidations that Redis pushed
    /// before a reply are handled before it.
    pub(super) fn answers(&mut self, mut take: impl FnMut(Reply<'_>)) -> RedisResult<()> {
        let mut at = 0;
        let cut = loop {
            match first(&self.unread[at..]) {
                Ok(Some(length)) => {
                    let answer = Reply(&self.unread[at..at + length]);
                    if answer.is_push() {
                        hear(answer, &self.shared)?
                    } else {
                        take(answer)
                    }
                    at += length;
                }
                Ok(None) => break Ok(()),
                Err(malformed) => break Err(broken(malformed)),
            }
        };
        self.unread.advance(at);
        cut
    }
}

/// Returns whether a reply to `HELLO` is that of a replica.
fn is_replica(greeting: Value) -> RedisResult<bool> {
    let fields = greeting.into_map_iter().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let mut fields = fields.filter_map(|(name, value)| {
        let (name, value) =
            (redis::from_redis_value::<String>(name), redis::from_redis_value::<String>(value));
        Some((name.ok()?, value.ok()?))
    });
    Ok(fields.any(|(name, role)| name == "role" && role != "master"))
}

fn replica() -> RedisError {
    RedisError::from((ErrorKind::Server(ServerErrorKind::ReadOnly), "it is a replica, not a master"))
}

async fn connect(info: &ConnectionInfo, config: &ClusterConfig) -> RedisResult<Box<dyn Socket>> {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) => {
            let socket = TcpStream::connect((host.as_str(), *port)).await?;
            socket.set_nodelay(true)?;
            // A peer that vanished silently would otherwise keep its connection for a quarter of an
            // hour.
            #[cfg(target_os = "linux")]
            socket2::SockRef::from(&socket).set_tcp_user_timeout(Some(config.connect_timeout))?;
            #[cfg(not(target_os = "linux"))]
            let _ = config;
            Ok(Box::new(socket))
        }
        #[cfg(unix)]
        ConnectionAddr::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
        _ => Err(RedisError::from((ErrorKind::InvalidClientConfig, "this kind of address is not supported"))),
    }
}

fn broken(malformed: Malformed) -> RedisError {
    io::Error::new(io::ErrorKind::InvalidData, malformed).into()
}

fn hear(push: Reply<'_>, shared: &Shared) -> RedisResult<()> {
    let Value::Push { kind: PushKind::Invalidate, data } = push.value()? else { return Ok(()) };
    let Some(listener) = shared.listener.get() else { return Ok(()) };
    match data.first() {
        Some(Value::Array(keys)) => keys.iter().for_each(|key| match key {
            Value::BulkString(key) => listener.invalidate(key),
            Value::SimpleString(key) => listener.invalidate(key.as_bytes()),
            _ => listener.invalidate_all(),
        }),
        // The database was emptied, or replaced by that of another master.
        _ => listener.invalidate_all(),
    }
    Ok(())
}
