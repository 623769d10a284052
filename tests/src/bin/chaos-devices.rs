//! Devices of the chaos tests in a process of their own: they keep what they must not forget in files, and report
//! everything that their application sees on standard output.
#![allow(clippy::expect_used, reason = "a failed step of a test is a panic")]

use std::{io::BufRead as _, process::ExitCode, sync::Arc};

use im_sdk::client::{Trust, device_store::SqliteStore};
use im_tests::chaos::{
    DeviceSetup, ProcessSetup, Wish,
    lines::{Tagged, print},
};
use tokio::{sync::watch, task::JoinSet};

#[tokio::main]
async fn main() -> ExitCode {
    let Some((setup, stores, devices)) = ProcessSetup::from_arguments(std::env::args().skip(1)) else {
        eprintln!("chaos-devices is started by the chaos tests");
        return ExitCode::FAILURE;
    };
    let certificate = std::fs::read(&setup.certificate).expect("the certificate");
    let trust = Trust::pem(&certificate).expect("the certificate is valid");
    let wishes = wishes();
    let mut running = JoinSet::new();
    for (index, next_number) in devices {
        let store = SqliteStore::open(stores.join(format!("u{index}.db"))).expect("the store opens");
        let device = DeviceSetup {
            index,
            users: setup.users,
            servers: setup.servers.clone(),
            turn: 0,
            trust: trust.clone(),
            store: Arc::new(store),
            next_number,
            every: setup.every,
        };
        running.spawn(device.run(wishes.clone(), move |line| print(Tagged { device: index, line })));
    }
    running.join_all().await;
    ExitCode::SUCCESS
}

/// Reads instructions from standard input. The devices end with it.
fn wishes() -> watch::Receiver<Wish> {
    let (sender, wishes) = watch::channel(Wish::default());
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            sender.send_modify(|wish| match &*line {
                "send" => wish.send = true,
                "hush" => wish.send = false,
                _ => wish.finish = true,
            });
        }
    });
    wishes
}
