//! Fan-out in groups: every member receives every message once and in order, on any server, and nobody else does.

use std::{collections::BTreeSet, time::Duration};

use im_sdk::{
    client::{Event, ResetReason},
    cluster::LogId,
    id::{ServerId, UserId},
};
use im_tests::{
    Setup, Stack, Via,
    channels::{
        EnvelopeTap, connect, events_before_marker, expect, group, reset, serve, servers_of, text_to,
    },
    everywhere,
    stack::{PATIENCE, ServerOptions},
    wait_until,
};

everywhere!(
    members_on_several_servers_receive_once_and_in_order,
    adding_and_removing_take_effect_at_once,
    whoever_is_added_while_connecting_gets_what_is_sent_then,
    whoever_is_removed_while_syncing_follows_no_more,
    a_killed_server_loses_nothing,
    routes_follow_the_members,
);

async fn members_on_several_servers_receive_once_and_in_order(setup: Setup, via: Via) {
    const COUNT: usize = 40;
    let stack = Stack::start(setup, 3).await;
    let (im, other) = (stack.backend().await, stack.backend().await);
    let _services = [serve(&im).await, serve(&other).await];
    im.channel("team").add_members(["a", "b", "c", "d", "offline"]).await.unwrap();
    let mut members = Vec::new();
    for (index, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        members.push(connect(&stack, name, index % 2, via).await);
    }
    let mut stranger = connect(&stack, "stranger", 0, via).await;
    let mut taps = [EnvelopeTap::on(&stack, 0).await, EnvelopeTap::on(&stack, 1).await];
    let mut outside = EnvelopeTap::on(&stack, 2).await;

    let mut seqs = Vec::new();
    for number in 0..COUNT {
        let im = if number % 2 == 0 { &im } else { &other };
        let receipt = text_to(im, "team", &format!("message {number}")).await;
        let told = receipt.channel.unwrap();
        seqs.push(told.seq);
        let servers: BTreeSet<&ServerId> = told.pushed.iter().collect();
        assert_eq!(servers, taps.iter().map(|tap| &tap.server).collect(), "both, and not the third");
        assert!(told.unconfirmed.is_empty());
    }
    assert_eq!(seqs, (1..=COUNT as u64).collect::<Vec<_>>(), "one entry each");
    let ends = stack.cluster().log().ends(&[LogId::Channel(group("team"))]).await.unwrap();
    assert_eq!(ends[0].last, COUNT as u64);
    for member in &mut members {
        for number in 0..COUNT {
            let message = member.message().await;
            assert_eq!(message.content.as_text(), Some(format!("message {number}").as_str()));
            assert_eq!(message.from, Some(UserId::parse("somebody").unwrap()));
            let position = message.position.unwrap();
            assert_eq!((position.log.as_str(), position.seq), ("team", number as u64 + 1));
        }
    }
    for (index, member) in members.iter_mut().enumerate() {
        assert_eq!(events_before_marker(&im, member, ["a", "b", "c", "d"][index]).await, [], "nothing twice");
    }
    assert_eq!(events_before_marker(&im, &mut stranger, "stranger").await, []);
    for tap in &mut taps {
        let records = tap.records("team", COUNT).await;
        assert!(records.iter().all(|record| record.connections.is_empty()));
        assert_eq!(tap.rest("team"), 0, "one record for a server and a message");
    }
    assert_eq!(outside.rest("team"), 0, "nobody is there");
}

async fn adding_and_removing_take_effect_at_once(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut bob = connect(&stack, "bob", 0, via).await;
    let mut carol = connect(&stack, "carol", 1, via).await;
    let team = im.channel("team");
    team.add_members(["bob"]).await.unwrap();
    reset(&mut bob, "team", ResetReason::New).await;
    text_to(&im, "team", "one").await;
    expect(&mut bob, "team", "one").await;
    assert!(team.is_member(&UserId::parse("bob").unwrap()).await.unwrap());

    team.remove_members(["bob", "carol"]).await.unwrap();
    // From now on, bob receives nothing from the channel.
    text_to(&im, "team", "two").await;
    reset(&mut bob, "team", ResetReason::Left).await;
    assert_eq!(events_before_marker(&im, &mut bob, "bob").await, []);
    assert_eq!(events_before_marker(&im, &mut carol, "carol").await, [], "who was no member is told nothing");

    team.add_members(["bob", "carol"]).await.unwrap();
    for client in [&mut bob, &mut carol] {
        reset(client, "team", ResetReason::New).await;
    }
    text_to(&im, "team", "three").await;
    for client in [&mut bob, &mut carol] {
        // It starts near the end of the log, with the messages of the last moments.
        client.next("three", |event| is_text(event, "three").then_some(())).await;
    }
    assert_eq!(team.members(None, 10).await.unwrap(), ["bob", "carol"].map(|id| UserId::parse(id).unwrap()));
}

fn is_text(event: &Event, text: &str) -> bool {
    matches!(event, Event::Message(message) if message.content.as_text() == Some(text))
}

async fn whoever_is_added_while_connecting_gets_what_is_sent_then(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    for round in 0..8 {
        let (name, user) = (format!("team-{round}"), format!("user-{round}"));
        let mut client = stack.open(&user, "web/tab", &[stack.servers[round % 2].endpoint(via)]);
        let send = async {
            // Sometimes before it is connected, sometimes after, mostly while it connects.
            for _ in 0..round * 50 {
                tokio::task::yield_now().await;
            }
            im.channel(&*name).add_members([&*user]).await.unwrap();
            for text in ["one", "two", "three"] {
                text_to(&im, &name, text).await;
            }
        };
        let receive = async {
            for text in ["one", "two", "three"] {
                expect(&mut client, &name, text).await;
            }
        };
        tokio::join!(send, receive);
    }
}

async fn whoever_is_removed_while_syncing_follows_no_more(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let (im, other) = (stack.backend().await, stack.backend().await);
    let _services = [serve(&im).await, serve(&other).await];
    for round in 0..6 {
        let (name, user) = (format!("team-{round}"), format!("user-{round}"));
        let team = im.channel(&*name);
        team.add_members([&*user]).await.unwrap();
        let mut client = connect(&stack, &user, 0, via).await;
        text_to(&im, &name, "one").await;
        expect(&mut client, &name, "one").await;
        client.client().disconnect();
        stack.wait_online(&im, &user, 0).await;
        for _ in 0..50 {
            text_to(&im, &name, "more").await;
        }
        client.client().connect();
        client.connected().await;
        for _ in 0..round * 40 {
            tokio::task::yield_now().await;
        }
        team.remove_members([&*user]).await.unwrap();
        let mut left = 0;
        client
            .next("left", |event| match event {
                Event::Reset { reason: ResetReason::Left, .. } => {
                    left += 1;
                    Some(())
                }
                _ => None,
            })
            .await;
        wait_until("nothing of it comes any more", PATIENCE, async || {
            text_to(&im, &name, "too late").await;
            let before = events_before_marker(&im, &mut client, &user).await;
            !before.iter().any(|event| matches!(event, Event::Message(_) | Event::Reset { .. }))
        })
        .await;
    }
}

async fn a_killed_server_loses_nothing(setup: Setup, via: Via) {
    const COUNT: usize = 60;
    let options = ServerOptions {
        heartbeat: Duration::from_millis(500),
        lease: Duration::from_secs(2),
        ..ServerOptions::default()
    };
    let mut stack = Stack::start_with(setup, 2, options).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["a", "b"]).await.unwrap();
    let endpoints = [stack.servers[0].endpoint(via), stack.servers[1].endpoint(via)];
    let mut moving = stack.open("a", "web/tab", &endpoints);
    assert_eq!(moving.connected().await, endpoints[0]);
    moving.up_to_date().await;
    let mut staying = connect(&stack, "b", 1, via).await;
    let dead = stack.server_id(&stack.servers[0]).await;
    for number in 0..COUNT {
        if number == COUNT / 3 {
            stack.servers.remove(0).kill();
            assert!(
                servers_of(&stack, "team").await.contains(&dead),
                "a server that dies takes nothing away"
            );
        }
        text_to(&im, "team", &format!("message {number}")).await;
    }
    for client in [&mut moving, &mut staying] {
        for number in 0..COUNT {
            expect(client, "team", &format!("message {number}")).await;
        }
    }
    wait_until("the dead server's route is swept", PATIENCE, async || {
        text_to(&im, "team", "more").await;
        !servers_of(&stack, "team").await.contains(&dead)
    })
    .await;
}

async fn routes_follow_the_members(setup: Setup, via: Via) {
    let mut stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    im.channel("team").add_members(["a", "b"]).await.unwrap();
    let ids = [stack.server_id(&stack.servers[0]).await, stack.server_id(&stack.servers[1]).await];
    assert_eq!(servers_of(&stack, "team").await, BTreeSet::new());
    let mut a = connect(&stack, "a", 0, via).await;
    let _b = connect(&stack, "b", 1, via).await;
    assert_eq!(servers_of(&stack, "team").await, ids.clone().into());
    a.client().disconnect();
    wait_until("the first server has no member any more", PATIENCE, async || {
        servers_of(&stack, "team").await == BTreeSet::from([ids[1].clone()])
    })
    .await;
    a.client().connect();
    a.up_to_date().await;
    assert_eq!(
        servers_of(&stack, "team").await,
        ids.clone().into(),
        "it comes back before the logs are read"
    );
    text_to(&im, "team", "hi").await;
    expect(&mut a, "team", "hi").await;
    stack.servers.remove(0).shutdown().await;
    assert_eq!(servers_of(&stack, "team").await, BTreeSet::from([ids[1].clone()]), "it takes its own away");
}
