//! Bounds the bytes read during the TLS handshake: rustls keeps what it has of a handshake, and a client may never complete it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The maximum number of bytes that a client may send until the handshake is over. A usual client hello has some KiB.
const MAX_HANDSHAKE_BYTES: u32 = 16 * 1024;

/// A stream that begins with a TLS handshake.
#[derive(Debug)]
pub(super) struct HandshakeLimit<S> {
    stream: S,
    /// The number of bytes that may still come during the handshake; [`u32::MAX`] once it is over.
    left: u32,
}

impl<S> HandshakeLimit<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, left: MAX_HANDSHAKE_BYTES }
    }

    /// Lifts the limit after the handshake: later bytes are bounded elsewhere.
    pub(super) fn lift(&mut self) {
        self.left = u32::MAX;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HandshakeLimit<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if self.left < u32::MAX {
            let read = u32::try_from(buffer.filled().len() - before).unwrap_or(u32::MAX);
            let Some(left) = self.left.checked_sub(read) else {
                // A failed read must have read nothing.
                buffer.set_filled(before);
                let too_large = io::Error::new(io::ErrorKind::InvalidData, "the TLS handshake is too large");
                return Poll::Ready(Err(too_large));
            };
            self.left = left;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HandshakeLimit<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_handshake_is_bounded_and_what_follows_is_not() {
        for lifted in [false, true] {
            let (mut client, server) = tokio::io::duplex(64 * 1024);
            client.write_all(&[7; 2 * MAX_HANDSHAKE_BYTES as usize]).await.unwrap();
            drop(client);
            let mut server = HandshakeLimit::new(server);
            if lifted {
                server.lift();
            }
            let read = server.read_to_end(&mut Vec::new()).await;
            assert_eq!(read.is_ok(), lifted, "{read:?}");
        }
    }
}
