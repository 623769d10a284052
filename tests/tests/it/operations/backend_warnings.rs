//! Warnings of a back end about its deployment: no server, a foreign back end that answers, a handler that is too slow.

use std::time::Duration;

use im_sdk::{
    backend::{Acceptance, Handler, Im, ImBuilder, Incoming, Refusal, Service},
    cluster::Cluster,
    token::{TokenVerifier, VerificationKey},
};
use im_server::{Server, ServerConfig};
use im_tests::{LogCapture, Setup, Stack, Via, stack::PATIENCE, wait_until};
use tokio::sync::watch;

async fn wait_for(log: &LogCapture, something: &str) {
    wait_until(something, PATIENCE, async || !log.lines(something).is_empty()).await;
}

#[tokio::test]
async fn a_backend_without_a_server_says_so_and_when_there_is_one() {
    let log = LogCapture::start();
    let cluster = Cluster::embedded();
    let builder = Im::builder().directory_refresh(Duration::from_millis(100));
    let im = builder.start(cluster.clone()).await.unwrap();
    wait_for(&log, "no live im-server").await;
    assert!(im.endpoints().is_empty());
    assert_eq!(log.lines("found a live server").len(), 0);
    let key = VerificationKey::hs256("k1", &[7; 32]).unwrap();
    let mut config = ServerConfig::new("im1", TokenVerifier::new("backend", "im", [key]));
    config.websocket = Some("127.0.0.1:0".parse().unwrap());
    let server = Server::start(config, cluster).await.unwrap();
    wait_for(&log, "found a live server").await;
    assert_eq!(log.lines("no live im-server").len(), 1, "{}", log.text());
    server.shutdown().await;
    im.shutdown().await;
}

/// Serves under a service name.
async fn serve(cluster: &Cluster, builder: ImBuilder) -> (Im, Service) {
    let im = builder.start(cluster.clone()).await.unwrap();
    let service = im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.unwrap();
    (im, service)
}

#[tokio::test]
async fn a_foreign_backend_that_answers_is_told_and_one_of_the_same_name_is_not() {
    let log = LogCapture::start();
    let cluster = Cluster::embedded();
    let (shop, _service) = serve(&cluster, Im::builder().service_name("shop")).await;
    let (_, _twin) = serve(&cluster, Im::builder().service_name("shop")).await;
    wait_until("both know of each other", PATIENCE, async || shop.health().await.back_ends.len() == 2).await;
    assert_eq!(log.lines("another service answers").len(), 0, "{}", log.text());
    let (_, _foreign) = serve(&cluster, Im::builder().service_name("old-shop")).await;
    for (own, other) in [("own=shop", "other=old-shop"), ("own=old-shop", "other=shop")] {
        wait_until("each is told of the other", PATIENCE, async || {
            let lines = log.lines("another service answers");
            lines.iter().any(|line| line.contains("WARN") && line.contains(own) && line.contains(other))
        })
        .await;
    }
}

/// Waits in the handler until the test ends.
struct Slow(watch::Receiver<bool>);

impl Handler for Slow {
    async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
        _ = self.0.clone().wait_for(|ends| *ends).await;
        Ok(incoming.accept())
    }
}

#[tokio::test]
async fn a_handler_whose_places_are_taken_is_told() {
    const LINE: &str = "all calls of this backend are in progress";
    let log = LogCapture::start();
    let stack = Stack::start(Setup::Embedded, 1).await;
    let im = Im::builder().handler_concurrency(2).start(stack.cluster().clone()).await.unwrap();
    let (end, ends) = watch::channel(false);
    let _service = im.serve(Slow(ends)).await.unwrap();
    let mut devices = Vec::new();
    for user in ["alice", "bob", "carol"] {
        devices.push(stack.connect(user, "web/tab", 0, Via::WebSocket).await);
    }
    let publish = devices.iter().map(|device| device.publish("dave", "hi"));
    let all = futures_util::future::join_all(publish);
    let told = async {
        wait_for(&log, LINE).await;
        end.send(true).unwrap();
    };
    let (published, ()) = tokio::join!(all, told);
    assert!(published.iter().all(Result::is_ok), "{published:?}");
    let lines = log.lines(LINE);
    assert!(
        matches!(&lines[..], [one] if one.contains("WARN") && one.contains("concurrency=2")),
        "{lines:?}"
    );
}
