//! WebSocket (RFC 6455), plain or over TLS. A binary message holds one or several whole frames.

mod framing;
mod handshake_limit;
mod http;
mod link;
mod upgrade;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use self::{handshake_limit::HandshakeLimit, link::WebSocketLink, upgrade::UpgradeError};
use crate::{session, shared::Shared};

/// How long to wait after the operating system refused a new connection, usually for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until the server stops accepting.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    loop {
        let accepted = tokio::select! {
            biased; // A stopping server takes nobody in.
            () = shared.draining.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Small frames must not wait for an acknowledgement (Nagle): the session batches by itself.
                let _ = stream.set_nodelay(true);
                serve(&shared, stream, peer, tls.as_ref());
            }
            Err(error) => {
                if let Some(times) = shared.strangers.unaccepted.note() {
                    tracing::warn!(%error, times, "cannot accept a WebSocket connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn serve(shared: &Arc<Shared>, stream: TcpStream, peer: SocketAddr, tls: Option<&TlsAcceptor>) {
    // Dropped without a word, which costs the least.
    let Some(arrival) = shared.arrivals.try_enter(peer.ip()) else { return };
    match tls.cloned() {
        None => {
            let link = {
                let shared = Arc::clone(shared);
                async move { upgrade(&shared, stream, peer).await }
            };
            shared.tasks.spawn(session::serve(Arc::clone(shared), arrival, link));
        }
        Some(tls) => {
            let link = {
                let shared = Arc::clone(shared);
                async move {
                    let stream = accept_tls(&shared, &tls, stream, peer).await?;
                    upgrade(&shared, stream, peer).await
                }
            };
            shared.tasks.spawn(session::serve(Arc::clone(shared), arrival, link));
        }
    }
}

async fn accept_tls(
    shared: &Shared,
    tls: &TlsAcceptor,
    mut stream: TcpStream,
    peer: SocketAddr,
) -> Option<TlsStream<HandshakeLimit<TcpStream>>> {
    let mut first = [0];
    // No TLS record begins like a request does.
    if stream.peek(&mut first).await.is_ok() && first[0].is_ascii_uppercase() {
        shared.strangers.note_plain(peer.ip());
        upgrade::ask_for_tls(&mut stream, &mut shared.arrivals.unheard()).await;
        return None;
    }
    let failed = |error: &io::Error| tracing::debug!(%peer, %error, "TLS handshake failed");
    let mut stream = tls.accept(HandshakeLimit::new(stream)).await.inspect_err(failed).ok()?;
    stream.get_mut().0.lift();
    Some(stream)
}

/// Sends back what comes on a connection.
#[cfg(feature = "bench")]
pub(crate) async fn echo(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let arrivals = std::sync::Arc::new(crate::arrivals::Arrivals::new(&crate::config::Limits::default()));
    if upgrade::upgrade(&mut stream, &mut arrivals.unheard()).await.is_ok() {
        link::echo(stream).await;
    }
}

async fn upgrade<S: AsyncRead + AsyncWrite + Unpin + Send>(
    shared: &Shared,
    mut stream: S,
    peer: SocketAddr,
) -> Option<WebSocketLink<S>> {
    let mut unheard = shared.arrivals.unheard();
    match upgrade::upgrade(&mut stream, &mut unheard).await {
        Ok(()) => Some(WebSocketLink::arriving(stream, unheard)),
        Err(error) => {
            if matches!(error, UpgradeError::Tls) {
                shared.strangers.note_tls(peer.ip());
            }
            tracing::debug!(%peer, %error, "WebSocket handshake failed");
            None
        }
    }
}
