//! The script that makes a cluster: two backends and two servers behind HAProxy, of which some are killed.

use std::path::PathBuf;

use im_sdk::{client::Event, id::UserId};
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::harness::{Program, next, text};

/// Kills one of the processes of the cluster with `SIGKILL`.
fn kill(data: &str, name: &str) {
    let pid = std::fs::read_to_string(PathBuf::from(data).join(format!("{name}.pid"))).unwrap();
    kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_conversation_goes_on_when_a_server_and_a_backend_are_killed() {
    let program = Program::start_cluster();
    let line = program.line("logs and process ids are in ");
    let data = line.split(';').next().unwrap();
    let [alice, bob] = program.friends(["alice", "bob"]).await;
    let group = alice.group("Team", &[&bob]).await;
    let (hers, his) = (alice.device("other/a").await, bob.device("other/b").await);
    let to: UserId = "bob".parse().unwrap();
    let mut texts = Vec::new();
    for number in 0..30 {
        if number == 10 {
            // One of the two: whoever is there comes back on the other one.
            kill(data, "im-server1");
        }
        if number == 20 {
            kill(data, "backend1");
        }
        texts.push(format!("number {number}"));
        hers.send(to.clone(), &*texts[number]).outcome().await.unwrap();
    }
    let mut received = Vec::new();
    while received.len() < texts.len() {
        let is_text =
            |event: &Event| matches!(event, Event::Message(message) if message.content.as_text().is_some());
        let Event::Message(message) = next(&his, "a message", is_text).await else { unreachable!() };
        received.extend(message.content.as_text().map(str::to_owned));
    }
    assert_eq!(received, texts, "all, in order, once");

    // The other backend serves the page and the rules alone now.
    bob.ok(Method::PATCH, "/api/me", json!({ "name": "Bob" })).await;
    assert_eq!(alice.get(&format!("/api/groups/{group}")).await["member_count"], 2);
    his.send(group.parse::<im_sdk::id::ChannelId>().unwrap(), "still here").outcome().await.unwrap();
    text(&hers, "still here").await;
}
