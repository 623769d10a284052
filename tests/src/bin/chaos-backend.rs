//! A back end of the chaos tests: it serves, sends its share of the load when told to `go`, and reports every result on
//! standard output.
#![allow(clippy::expect_used, reason = "a failed step of a test is a panic")]

use std::{io::BufRead as _, process::ExitCode, sync::Arc};

use im_sdk::{
    backend::{Im, Incoming},
    cluster::{Cluster, ClusterConfig},
};
use im_tests::chaos::{
    BackendSetup, DroppingBus,
    lines::{BackendLine, print},
    log_bounds,
};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> ExitCode {
    let Some(setup) = BackendSetup::from_arguments(std::env::args().skip(1)) else {
        eprintln!("chaos-backend is started by the chaos tests");
        return ExitCode::FAILURE;
    };
    let config = Im::builder().send_timeout(setup.send_timeout);
    let im = config.start(cluster(&setup).await).await.expect("the back end starts");
    let service =
        im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.expect("it serves");
    let mut orders = orders();
    print(BackendLine::Ready);
    if orders.recv().await.is_some() {
        setup.share.run(&im, &setup.publisher, print).await;
    }
    // Goes on serving until the test closes its input.
    while orders.recv().await.is_some() {}
    service.shutdown().await;
    im.shutdown().await;
    ExitCode::SUCCESS
}

async fn cluster(setup: &BackendSetup) -> Cluster {
    let mut config = ClusterConfig::new([&*setup.redis], [&*setup.nats]);
    (config.min_replicas, config.request_timeout) = (setup.min_replicas, setup.request_timeout);
    config.log_bounds = log_bounds();
    let cluster = Cluster::connect(config).await.expect("Redis and NATS");
    if setup.drop_percent == 0 {
        return cluster;
    }
    let bus = DroppingBus::new(cluster.bus().clone(), setup.drop_percent);
    let members = cluster.members().clone();
    Cluster::new(cluster.routes().clone(), Arc::new(bus), cluster.log().clone()).with_members(members)
}

/// Reads the lines of standard input.
fn orders() -> mpsc::Receiver<String> {
    let (sender, orders) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    orders
}
