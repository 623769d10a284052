//! Outcomes of publishes, and how a device may react to them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use im_sdk::{
    Conversation, HistoryRange,
    backend::{Acceptance, Handler, Im, Incoming, Message, Refusal, user},
    client::{Client, PublishError, RefusalKind, RequestError, SendState},
    content::Content,
    id::{Device, UserId},
};
use im_tests::{
    Setup, Stack, TestClient, Via, everywhere,
    stack::{PATIENCE, ServerOptions, token},
    wait_until,
};
use tokio::sync::watch;

everywhere!(
    what_may_still_be_accepted_is_not_sent_anew,
    what_no_backend_takes_may_be_sent_anew_and_waits_in_order,
    a_handler_that_fails_leaves_it_open,
    a_handler_that_makes_nonsense_is_a_refusal,
    a_question_goes_behind_the_wish_for_a_connection,
);

fn id(user: &str) -> UserId {
    UserId::parse(user).unwrap()
}

/// Accepts publishes once it is told to, and records each.
#[derive(Clone)]
struct Slow {
    open: watch::Receiver<bool>,
    begun: Arc<Mutex<Vec<(UserId, Device, u64)>>>,
}

impl Handler for Slow {
    async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
        let Incoming { from, device, number, .. } = &incoming;
        self.begun.lock().unwrap().push((from.clone(), device.clone(), *number));
        self.open.clone().wait_for(|open| *open).await.unwrap();
        Ok(incoming.accept())
    }
}

async fn inbox(im: &Im, user: &str) -> Vec<String> {
    let page = im.history(&id(user), &Conversation::Inbox, HistoryRange::After(0), 100).await.unwrap();
    page.messages.into_iter().map(|entry| entry.content.summary().to_owned()).collect()
}

fn impatient(stack: &Stack, user: &str, via: Via) -> TestClient {
    let endpoints = [stack.servers[0].endpoint(via)];
    let mut config = stack.client_config("web/tab", &endpoints, Arc::new(token(user)));
    config.publish_timeout = Duration::from_millis(3500);
    let client = Client::open(config).unwrap();
    client.connect();
    TestClient::new(client)
}

async fn what_may_still_be_accepted_is_not_sent_anew(setup: Setup, via: Via) {
    let publish_timeout = Duration::from_millis(300);
    let options = ServerOptions { publish_timeout, ..ServerOptions::default() };
    let stack = Stack::start_with(setup, 1, options).await;
    let im = stack.backend().await;
    let (open, closed) = watch::channel(false);
    let handler = Slow { open: closed, begun: Arc::default() };
    let service = im.serve(handler.clone()).await.unwrap();
    let mut alice = impatient(&stack, "alice", via);
    alice.connected().await;

    let mut refused = alice.publish("bob", "pay 10").await.unwrap_err();
    // The retries that the documentation promises.
    for _ in 0..3 {
        if refused.is_retryable() {
            refused = alice.publish("bob", "pay 10").await.unwrap_err();
        }
    }
    let late = PublishError::Unconfirmed { reason: "no back end answered in time".to_owned() };
    assert_eq!(refused, late);
    open.send(true).unwrap();
    // All handlers that were started have ended.
    service.shutdown().await;
    assert_eq!(inbox(&im, "bob").await, ["pay 10"]);
    // The device repeats by itself, under one number, by which a handler can recognise a repetition.
    let begun = std::mem::take(&mut *handler.begun.lock().unwrap());
    assert!(begun.len() > 1 && begun.iter().all(|one| *one == begun[0]), "{begun:?}");
    let _service = im.serve(handler.clone()).await.unwrap();
    alice.publish("bob", "pay 10").await.unwrap();
    let (from, device, number) = handler.begun.lock().unwrap()[0].clone();
    assert_eq!((&from, &device), (&begun[0].0, &begun[0].1));
    assert!(number > begun[0].2, "the same words, and another publish");
    assert_eq!(inbox(&im, "bob").await.len(), 2);
}

/// Publishes until the server is certain that no backend has taken it. It cannot tell while a sync of the same device is under way
/// whose fate is not known either.
async fn refused_for_certain(device: &mut TestClient) {
    let mut refused = Vec::new();
    while refused.len() < 4 {
        let error = device.publish("bob", "lost").await.unwrap_err();
        if error.is_retryable() {
            return;
        }
        refused.push(error);
    }
    panic!("{refused:?}");
}

async fn what_no_backend_takes_may_be_sent_anew_and_waits_in_order(setup: Setup, via: Via) {
    let accept = |incoming: Incoming| async move { Ok(incoming.accept()) };
    let stack = Stack::start(setup, 1).await;
    let mut alice = impatient(&stack, "alice", via);
    alice.connected().await;
    refused_for_certain(&mut alice).await;

    let im = stack.backend().await;
    let service = im.serve(accept).await.unwrap();
    alice.publish("bob", "one").await.unwrap();
    service.shutdown().await;
    // Shortly after a publish that was accepted.
    refused_for_certain(&mut alice).await;

    let kept = ["two", "three", "four"];
    for text in kept {
        alice.client().send(id("bob"), Content::text(text)).await.unwrap();
    }
    wait_until("the first one has been tried", PATIENCE, async || {
        alice.client().unsettled_sends().await.iter().any(|send| send.state == SendState::Sent)
    })
    .await;
    assert_eq!(alice.client().unsettled_sends().await.len(), kept.len(), "none has failed");
    let _service = im.serve(accept).await.unwrap();
    wait_until("all have come", PATIENCE, async || inbox(&im, "bob").await.len() == 1 + kept.len()).await;
    assert_eq!(inbox(&im, "bob").await, ["one", "two", "three", "four"]);
}

async fn a_handler_that_fails_leaves_it_open(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let sender = im.clone();
    let handler = move |incoming: Incoming| {
        let im = sender.clone();
        async move {
            im.send(Message::to(incoming.to).from(&incoming.from).text("sent")).await.unwrap();
            assert!(incoming.in_room, "it fails when all is done");
            Err::<Acceptance, _>(Refusal::new("never"))
        }
    };
    let _service = im.serve(handler).await.unwrap();
    let alice = stack.connect("alice", "web/tab", 0, via).await;
    let failed = alice.publish("bob", "hi").await.unwrap_err();
    assert_eq!(failed, PublishError::Unconfirmed { reason: "the backend failed".to_owned() });
    assert!(!failed.is_retryable());
    assert_eq!(inbox(&im, "bob").await, ["sent"]);
}

async fn a_handler_that_makes_nonsense_is_a_refusal(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let handler = async |_: Incoming| Ok(Acceptance::send(Message::to(user("no user")).text("hi")));
    let _service = im.serve(handler).await.unwrap();
    let alice = stack.connect("alice", "web/tab", 0, via).await;
    let refused = alice.publish("bob", "hi").await.unwrap_err();
    assert!(!refused.is_retryable(), "{refused:?}");
    let PublishError::Refused { kind: RefusalKind::Invalid, reason, .. } = refused else {
        panic!("{refused:?}")
    };
    assert!(reason.contains("cannot be sent"), "{reason}");
}

async fn a_question_goes_behind_the_wish_for_a_connection(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.unwrap();
    for number in 0..20 {
        let endpoints = [stack.servers[0].endpoint(via)];
        let config = stack.client_config("web/tab", &endpoints, Arc::new(token(&format!("u{number}"))));
        let client = Client::open(config).unwrap();
        let ask = || client.history(Conversation::Inbox, HistoryRange::Newest, 1);
        assert_eq!(ask().await, Err(RequestError::NotConnected));
        // The publish and the connect reach the client on different channels.
        client.connect();
        ask().await.unwrap();
        client.disconnect();
        assert_eq!(ask().await, Err(RequestError::NotConnected));
        // A message that is kept on purpose: it is sent with the next connection.
        let local_id = client.send(id("bob"), Content::text("later")).await.unwrap().local_id();
        assert_eq!(client.unsettled_sends().await[0].local_id(), local_id);
        client.connect();
        ask().await.unwrap();
        client.shutdown().await;
    }
    wait_until("all has come", PATIENCE, async || inbox(&im, "bob").await.len() == 20).await;
}
