//! How a server ends: with a drain or without, and in a hurry.

use std::{future::pending, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use im_proto::close::CloseCode;
use quinn::Endpoint;
use tokio::time::sleep;

use super::{Run, Server, Stopped};
use crate::{
    drain,
    haste::{Haste, Patience},
    outbox::Close,
    registry::Connection,
};

/// After the grace period: how long connections may take to hand over their close codes and to release their routes.
const LAST_CLOSES: Patience = Patience { usual: Duration::from_secs(3), hurried: Duration::from_secs(1) };

/// How long each step after that may take: what was published and has not left, routes of channels, the lease.
const LAST_STEP: Patience = Patience { usual: Duration::from_secs(3), hurried: Duration::from_millis(200) };

/// What devices are told with [`CloseCode::GoingAway`].
const STOPPING: &str = "the server is stopping";

impl Server {
    /// Drains and stops: takes no new connections, asks the devices to go elsewhere, spread over the grace period,
    /// closes who is left, and releases all routes and its addresses. Nothing is lost, and no device waits longer than it takes
    /// to reconnect. Ends early when nobody is left.
    pub async fn shutdown(self) {
        self.shutdown_until(pending()).await;
    }

    /// The same for an operator who may lose patience: when `enough` is ready, the grace period is over. Who is left is
    /// closed at once, routes and the lease are released, and all of that takes no longer than two seconds, whatever does
    /// not answer.
    pub async fn shutdown_until(mut self, enough: impl Future<Output = ()> + Send) {
        // At once: whoever says hello while the run is taken over is sent elsewhere already.
        self.life.shared().draining.cancel();
        if let Some(run) = self.take_run().await {
            run.shutdown_until(enough).await;
        }
    }

    /// Stops without a drain: closes all devices at once, which come back elsewhere, and releases all routes.
    pub async fn close(mut self) {
        if let Some(run) = self.take_run().await {
            run.close().await;
        }
    }
}

impl Run {
    pub(super) async fn shutdown(self) {
        self.shutdown_until(pending()).await;
    }

    async fn shutdown_until(mut self, enough: impl Future<Output = ()> + Send) {
        let shared = Arc::clone(&self.shared);
        let hurrying = async move {
            enough.await;
            shared.haste.hurry();
            pending().await
        };
        // Boxed, as in `close`: else the compiler cannot tell applications that the future may go to another thread.
        let stopping: BoxFuture<'_, ()> = Box::pin(async move {
            self.drain().await;
            self.end().await;
        });
        tokio::select! {
            () = stopping => {}
            () = hurrying => {}
        }
    }

    pub(super) async fn close(self) {
        let ending: BoxFuture<'_, ()> = Box::pin(self.end());
        ending.await;
    }

    /// Ends when nobody is left, when the grace period is over, or when there is nothing to wait for.
    async fn drain(&mut self) {
        let shared = Arc::clone(&self.shared);
        // That is why it drains.
        let is_isolated = shared.ended.is_cancelled() && shared.why_ended() == Stopped::Isolated;
        shared.draining.cancel();
        shared.tasks.close();
        let grace = async {
            let deadline = sleep(shared.config.drain_grace);
            drain::ask_to_leave(&shared.registry, shared.config.drain_grace).await;
            deadline.await;
        };
        tokio::select! {
            biased;
            () = shared.haste.hurried() => {}
            // Those who arrive are among them.
            () = shared.tasks.wait() => {}
            // Whoever stays cannot be reached any more.
            // Also one who drains for want of the route store: it is there again.
            () = shared.lease_lost.cancelled() => tracing::warn!("the lease is over: the drain is cut short"),
            () = shared.ended.cancelled(), if !is_isolated => {
                tracing::warn!(why = ?shared.why_ended(), "the drain is cut short");
            }
            () = grace => {}
        }
    }

    async fn end(mut self) {
        let shared = &self.shared;
        let haste = &shared.haste;
        shared.draining.cancel();
        shared.tasks.close();
        close_all(&shared.registry.all());
        haste.wait(LAST_CLOSES, shared.tasks.wait()).await;
        let leaving = async {
            // Who has gone now is told of, and nobody after that.
            shared.presences.close();
            haste.wait(LAST_STEP, &mut self.presences).await;
            shared.leaving_channels.cancel();
            haste.wait(LAST_STEP, &mut self.channels).await;
            let ended = haste.wait(LAST_STEP, shared.cluster.routes().end_server_lease(&shared.id)).await;
            if let Some(Err(error)) = ended {
                tracing::warn!(%error, "cannot end the server's lease, it will run out");
            }
            // Without a connection to the bus a flush waits for the next one.
            haste.wait(LAST_STEP, shared.cluster.bus().flush()).await;
        };
        let freeing = async {
            close_quic(haste, self.addresses.quic_endpoint.as_ref()).await;
            for listener in &mut self.accepting {
                haste.wait(LAST_STEP, listener).await;
            }
            // Whoever starts next may want to listen on the same addresses.
            haste.wait(LAST_STEP, self.addresses.released()).await;
        };
        tokio::join!(leaving, freeing);
    }
}

/// Sends what closes connections, also to those whose sessions had no time for it: over QUIC, nothing but silence would tell
/// their devices that the server is gone.
async fn close_quic(haste: &Haste, endpoint: Option<&Endpoint>) {
    let Some(endpoint) = endpoint else { return };
    endpoint.close(u32::from(CloseCode::GoingAway.code()).into(), STOPPING.as_bytes());
    haste.wait(LAST_STEP, endpoint.wait_idle()).await;
}

pub(super) fn close_all(connections: &[Arc<Connection>]) {
    for connection in connections {
        connection.outbox.close(Close::new(CloseCode::GoingAway, STOPPING));
    }
}
