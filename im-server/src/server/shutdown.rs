//! The end of a server: with a drain or without, and faster if the operator asks for that.

use std::{future::pending, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use im_proto::close::CloseCode;
use quinn::Endpoint;
use tokio::time::sleep;

use super::{
    Run, Server, StopReason, drain,
    shutdown_timer::{ShutdownTimer, StepTimeout},
};
use crate::registry::{connection::Connection, outbox::Close};

/// The time limit, after the grace period, for connections to hand over their close codes and to release their routes.
const LAST_CLOSES: StepTimeout =
    StepTimeout { usual: Duration::from_secs(3), expedited: Duration::from_secs(1) };

/// The time limit of each later step: publishing queued messages, removing routes of channels, ending the lease.
const LAST_STEP: StepTimeout =
    StepTimeout { usual: Duration::from_secs(3), expedited: Duration::from_millis(200) };

/// The reason sent to devices with [`CloseCode::GoingAway`].
const STOPPING: &str = "the server is stopping";

impl Server {
    /// Drains and stops.
    ///
    /// Accepts no new connections, asks the devices to move to other servers, spread over the grace period, closes the remaining
    /// ones, and releases all routes and its addresses. Nothing is lost, and no device waits longer than it takes to reconnect.
    /// Ends early when no device is left.
    ///
    /// ```no_run
    /// # async fn run(server: im_server::Server) {
    /// server.shutdown().await;
    /// # }
    /// ```
    pub async fn shutdown(self) {
        self.shutdown_until(pending()).await;
    }

    /// Drains and stops, faster once `expedite` is ready.
    ///
    /// Then the grace period is over: the remaining devices are closed at once, and routes and the lease are released. All of that
    /// takes at most two seconds, whatever does not answer.
    ///
    /// ```no_run
    /// # async fn run(server: im_server::Server) {
    /// // The first Ctrl-C drains the server, the second one hurries it.
    /// _ = tokio::signal::ctrl_c().await;
    /// server.shutdown_until(async { _ = tokio::signal::ctrl_c().await }).await;
    /// # }
    /// ```
    pub async fn shutdown_until(mut self, expedite: impl Future<Output = ()> + Send) {
        // At once: a device that sends its `Hello` while the run is being taken over already goes elsewhere.
        self.supervisor.context().lifecycle.draining.cancel();
        if let Some(run) = self.take_run().await {
            run.shutdown_until(expedite).await;
        }
    }

    /// Stops without a drain: closes all devices at once, which reconnect elsewhere, and releases all routes.
    ///
    /// ```no_run
    /// # async fn run(server: im_server::Server) {
    /// server.close().await;
    /// # }
    /// ```
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

    async fn shutdown_until(mut self, expedite: impl Future<Output = ()> + Send) {
        let timer = ShutdownTimer::default();
        let expediting = async {
            expedite.await;
            timer.expedite();
            pending().await
        };
        // Boxed, as in `close`: otherwise the compiler cannot prove to applications that the future is `Send`.
        let stopping: BoxFuture<'_, ()> = Box::pin(async {
            self.drain(&timer).await;
            self.end(&timer).await;
        });
        tokio::select! {
            () = stopping => {}
            () = expediting => {}
        }
    }

    pub(super) async fn close(self) {
        let timer = ShutdownTimer::default();
        let ending: BoxFuture<'_, ()> = Box::pin(self.end(&timer));
        ending.await;
    }

    /// Waits until no device is left, the grace period is over, or there is nothing to wait for.
    async fn drain(&mut self, timer: &ShutdownTimer) {
        let context = &self.context;
        let lifecycle = &context.lifecycle;
        // An isolated run drains because it is unreachable.
        let is_isolated =
            lifecycle.unreachable.is_cancelled() && lifecycle.stop_reason() == StopReason::Isolated;
        lifecycle.draining.cancel();
        context.tasks.close();
        let grace = async {
            let deadline = sleep(context.config.drain_grace);
            drain::ask_to_leave(&context.registry, context.config.drain_grace).await;
            deadline.await;
        };
        tokio::select! {
            biased;
            () = timer.expedited() => {}
            // The tasks include connections that are being admitted.
            () = context.tasks.wait() => {}
            // Messages do not reach the remaining devices any more. This also ends the drain of an isolated run when the route
            // store answers again.
            () = lifecycle.lease_lost.cancelled() => tracing::warn!("drain cut short: the lease is over"),
            () = lifecycle.unreachable.cancelled(), if !is_isolated => {
                tracing::warn!(reason = ?lifecycle.stop_reason(), "drain cut short");
            }
            () = grace => {}
        }
    }

    async fn end(mut self, timer: &ShutdownTimer) {
        let context = Arc::clone(&self.context);
        context.lifecycle.draining.cancel();
        context.tasks.close();
        close_all(&context.registry.all());
        timer.wait(LAST_CLOSES, context.tasks.wait()).await;
        let leaving = async {
            // Devices that have gone by now are reported, and no others.
            context.upstream.presences.close();
            timer.wait(LAST_STEP, &mut self.presences).await;
            context.lifecycle.leaving_channels.cancel();
            timer.wait(LAST_STEP, &mut self.channel_routes).await;
            let ended = timer.wait(LAST_STEP, context.cluster.routes().end_server_lease(&context.id)).await;
            if let Some(Err(error)) = ended {
                tracing::warn!(%error, "cannot end the server's lease; it will run out");
            }
            // Without a connection to the bus, a flush waits for the next one.
            timer.wait(LAST_STEP, context.cluster.bus().flush()).await;
        };
        let freeing = async {
            close_quic(timer, self.addresses.quic_endpoint.as_ref()).await;
            for listener in &mut self.accepting {
                timer.wait(LAST_STEP, listener).await;
            }
            // The next server may want to listen on the same addresses.
            timer.wait(LAST_STEP, self.addresses.released()).await;
        };
        tokio::join!(leaving, freeing);
    }
}

/// Closes the QUIC endpoint, and with it the connections whose sessions had no time for that. Their devices would otherwise notice
/// the end of the server only by its silence.
async fn close_quic(timer: &ShutdownTimer, endpoint: Option<&Endpoint>) {
    let Some(endpoint) = endpoint else { return };
    endpoint.close(u32::from(CloseCode::GoingAway.code()).into(), STOPPING.as_bytes());
    timer.wait(LAST_STEP, endpoint.wait_idle()).await;
}

pub(super) fn close_all(connections: &[Arc<Connection>]) {
    for connection in connections {
        connection.outbox.close(Close::new(CloseCode::GoingAway, STOPPING));
    }
}
