//! WebSocket (RFC 6455), plain or over TLS. A binary message holds one or several whole frames.

mod connection;
mod frame;
mod handshake_limit;
mod http;
mod upgrade;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use self::{connection::WebSocketConnection, handshake_limit::HandshakeLimit, upgrade::UpgradeError};
use crate::{connection::session, context::ServerContext};

/// The pause after the operating system failed to accept a connection, usually for lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until the server drains.
pub(crate) async fn accept(context: Arc<ServerContext>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    loop {
        let accepted = tokio::select! {
            biased; // A draining server accepts no connection.
            () = context.lifecycle.draining.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Small frames must not wait for an acknowledgement (Nagle's algorithm). The session batches by itself.
                let _ = stream.set_nodelay(true);
                serve(&context, stream, peer, tls.as_ref());
            }
            Err(error) => {
                if let Some(count) = context.rejections.accept_failed.note() {
                    tracing::warn!(%error, count, "cannot accept a WebSocket connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn serve(context: &Arc<ServerContext>, stream: TcpStream, peer: SocketAddr, tls: Option<&TlsAcceptor>) {
    // The connection is dropped without a response, which costs the least.
    let Some(permit) = context.admission.try_admit(peer.ip()) else { return };
    match tls.cloned() {
        None => {
            let transport = {
                let context = Arc::clone(context);
                async move { upgrade(&context, stream, peer).await }
            };
            context.tasks.spawn(session::serve(Arc::clone(context), permit, transport));
        }
        Some(tls) => {
            let transport = {
                let context = Arc::clone(context);
                async move {
                    let stream = accept_tls(&context, &tls, stream, peer).await?;
                    upgrade(&context, stream, peer).await
                }
            };
            context.tasks.spawn(session::serve(Arc::clone(context), permit, transport));
        }
    }
}

async fn accept_tls(
    context: &ServerContext,
    tls: &TlsAcceptor,
    mut stream: TcpStream,
    peer: SocketAddr,
) -> Option<TlsStream<HandshakeLimit<TcpStream>>> {
    let mut first = [0];
    // The first byte of a TLS record is never a letter.
    if stream.peek(&mut first).await.is_ok() && first[0].is_ascii_uppercase() {
        context.rejections.note_plain(peer.ip());
        upgrade::ask_for_tls(&mut stream, &mut context.admission.handshake_memory()).await;
        return None;
    }
    let failed = |error: &io::Error| tracing::debug!(%peer, %error, "TLS handshake failed");
    let mut stream = tls.accept(HandshakeLimit::new(stream)).await.inspect_err(failed).ok()?;
    stream.get_mut().0.lift();
    Some(stream)
}

/// Echoes the messages of a connection.
#[cfg(feature = "bench")]
pub(crate) async fn echo(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let admission = Arc::new(crate::registry::admission::Admission::new(&crate::config::Limits::default()));
    if upgrade::upgrade(&mut stream, &mut admission.handshake_memory()).await.is_ok() {
        connection::echo(stream).await;
    }
}

async fn upgrade<S: AsyncRead + AsyncWrite + Unpin + Send>(
    context: &ServerContext,
    mut stream: S,
    peer: SocketAddr,
) -> Option<WebSocketConnection<S>> {
    let mut handshake_memory = context.admission.handshake_memory();
    match upgrade::upgrade(&mut stream, &mut handshake_memory).await {
        Ok(()) => Some(WebSocketConnection::arriving(stream, handshake_memory)),
        Err(error) => {
            if matches!(error, UpgradeError::Tls) {
                context.rejections.note_tls(peer.ip());
            }
            tracing::debug!(%peer, %error, "WebSocket handshake failed");
            None
        }
    }
}
