//! Sends of back ends and publishes of devices reach every device, wherever it is connected.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use im_proto::{pb, pb::frame::Body};
use im_sdk::{
    HistoryRange,
    backend::{
        Acceptance, Durability, Im, Incoming, InvalidMessage, Message, Receipt, Refusal, SendError, Service,
        user, users,
    },
    client::{Client, CloseCode, PublishError, device_store::MemoryStore},
    content::Content,
    id::{Device, Terminal, UserId},
    limits::{MAX_CONTENT_BYTES, MAX_TEXT_BYTES},
};
use im_tests::{
    Setup, Stack, TestClient, Via, everywhere,
    raw::{Heard, Raw},
    stack::{PATIENCE, ServerOptions, token},
    wait_until,
};

everywhere!(
    reaches_every_device_on_every_server,
    says_who_is_offline,
    reaches_chosen_terminals,
    custom_content_arrives_unchanged,
    publishes_keep_their_order_over_two_back_ends,
    a_device_finds_its_own_messages_by_their_local_ids,
    a_handler_refuses_changes_and_answers,
    a_publish_waits_for_a_back_end,
    many_publishes_at_once_are_all_answered,
    what_cannot_be_sent_is_refused_for_good,
    an_answer_that_no_device_takes_harms_nobody_else,
    wrong_messages_are_refused,
    tells_who_is_online,
    kicks_across_servers,
    lists_servers_least_loaded_first,
);

fn id(user: &str) -> UserId {
    UserId::parse(user).unwrap()
}

fn devices(receipt: &Receipt) -> BTreeSet<String> {
    receipt.pushed.iter().map(|pushed| format!("{}:{}", pushed.user, pushed.device)).collect()
}

fn set<const N: usize>(items: [&str; N]) -> BTreeSet<String> {
    items.map(String::from).into()
}

/// Serves, accepts everything and counts.
async fn relay(im: &Im, handled: &Arc<AtomicUsize>) -> Service {
    let handled = Arc::clone(handled);
    let handler = move |incoming: Incoming| {
        handled.fetch_add(1, Ordering::Relaxed);
        async move { Ok(incoming.accept()) }
    };
    im.serve(handler).await.unwrap()
}

async fn reaches_every_device_on_every_server(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let mut phone = stack.connect("bob", "ios/phone", 0, via).await;
    let mut browser = stack.connect("bob", "web/tab", 1, via).await;
    let mut carol = stack.connect("carol", "web/tab", 1, via).await;

    let receipt = im.send(Message::to(users(["bob", "carol"])).from("alice").text("hi")).await.unwrap();
    assert_eq!(devices(&receipt), set(["bob:ios/phone", "bob:web/tab", "carol:web/tab"]));
    assert!(receipt.offline.is_empty() && receipt.unconfirmed.is_empty(), "{receipt:?}");
    for client in [&mut phone, &mut browser, &mut carol] {
        let message = client.message().await;
        assert_eq!(message.id, receipt.message_id);
        assert_eq!(message.from, Some(id("alice")));
        assert_eq!(message.to, None, "one of several");
        assert_eq!(message.content, Content::text("hi"));
    }

    let receipt = im.send(Message::to(user("bob")).text("from the back end")).await.unwrap();
    assert_eq!(devices(&receipt), set(["bob:ios/phone", "bob:web/tab"]));
    let message = phone.message().await;
    assert_eq!((message.from, message.to), (None, Some(id("bob"))));
}

async fn says_who_is_offline(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let receipt = im.send(Message::to(user("bob")).text("hi")).await.unwrap();
    assert_eq!((receipt.pushed.len(), receipt.offline.as_slice()), (0, [id("bob")].as_slice()));

    let bob = stack.connect("bob", "web/tab", 0, via).await;
    let receipt = im.send(Message::to(users(["bob", "nobody"])).text("hi")).await.unwrap();
    assert!(receipt.reached(&id("bob")) && !receipt.reached(&id("nobody")));
    assert_eq!(receipt.offline, [id("nobody")]);

    bob.client().shutdown().await;
    stack.wait_online(&im, "bob", 0).await;
    let receipt = im.send(Message::to(user("bob")).text("hi")).await.unwrap();
    assert_eq!(receipt.offline, [id("bob")]);
}

async fn reaches_chosen_terminals(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let mut phone = stack.connect("bob", "ios/phone", 0, via).await;
    let mut browser = stack.connect("bob", "web/tab", 0, via).await;
    let message = || Message::to(user("bob")).durability(Durability::Transient);
    let receipt = im.send(message().text("phone").terminals([Terminal::Ios])).await.unwrap();
    assert_eq!(devices(&receipt), set(["bob:ios/phone"]));
    let receipt = im.send(message().text("none").terminals([Terminal::Desktop])).await.unwrap();
    assert_eq!(receipt.offline, [id("bob")]);
    im.send(message().text("all")).await.unwrap();
    assert_eq!(phone.text().await, "phone");
    assert_eq!(phone.text().await, "all");
    assert_eq!(browser.text().await, "all", "what was for the phone did not come here");
}

async fn custom_content_arrives_unchanged(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let mut bob = stack.connect("bob", "web/tab", 0, via).await;
    // Larger than any buffer on the way, with every byte value.
    let data: Vec<u8> = (0..60_000_u32).map(|index| index as u8).collect();
    let content = Content::custom("order.paid", data);
    im.send(Message::to(user("bob")).content(content.clone())).await.unwrap();
    assert_eq!(bob.message().await.content, content);
}

async fn publishes_keep_their_order_over_two_back_ends(setup: Setup, via: Via) {
    const COUNT: usize = 60;
    let stack = Stack::start(setup, 2).await;
    let handled = [Arc::<AtomicUsize>::default(), Arc::default()];
    let (first, second) = (stack.backend().await, stack.backend().await);
    let _services = [relay(&first, &handled[0]).await, relay(&second, &handled[1]).await];
    let mut alice = stack.connect("alice", "web/tab", 0, via).await;
    alice.up_to_date().await;
    let bob = stack.connect("bob", "web/tab", 1, via).await;

    let texts: Vec<String> = (0..COUNT).map(|number| format!("message {number}")).collect();
    let publishes = texts.iter().map(|text| bob.publish("alice", text));
    for published in futures_util::future::join_all(publishes).await {
        assert!(published.unwrap().message_id.is_some());
    }
    for text in &texts {
        let message = alice.message().await;
        assert_eq!(message.content.as_text(), Some(text.as_str()));
        assert_eq!((message.from, message.to), (Some(id("bob")), Some(id("alice"))));
    }
    let counts = handled.map(|handled| handled.load(Ordering::Relaxed));
    assert_eq!(counts.iter().sum::<usize>(), COUNT, "each publish was handled once");
    assert!(counts.iter().all(|count| *count > 0), "both back ends had their share: {counts:?}");
}

async fn decide(incoming: Incoming) -> Result<Acceptance, Refusal> {
    match incoming.content.as_text() {
        Some("spam") => Err(Refusal::new("no spam, please").with_code(42)),
        Some("panic") => panic!("the handler fails"),
        Some("ping") => Ok(Acceptance::handled().with_answer("pong")),
        Some(text) => {
            let message = Message::to(&incoming.to).text(format!("[{text}]"));
            Ok(Acceptance::send(message).with_answer(incoming.device.to_string()))
        }
        None => Ok(incoming.accept()),
    }
}

async fn a_handler_refuses_changes_and_answers(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = im.serve(decide).await.unwrap();
    let mut alice = stack.connect("alice", "web/tab", 0, via).await;
    let bob = stack.connect("bob", "ios/phone", 0, via).await;

    match bob.publish("alice", "spam").await {
        Err(PublishError::Refused { reason, code, .. }) => {
            assert_eq!((reason.as_str(), code), ("no spam, please", 42));
        }
        other => panic!("{other:?}"),
    }
    let handled = bob.publish("alice", "ping").await.unwrap();
    assert_eq!((handled.message_id, &handled.answer[..]), (None, b"pong".as_slice()));
    let changed = bob.publish("alice", "hi").await.unwrap();
    assert_eq!(&changed.answer[..], b"ios/phone");
    let message = alice.message().await;
    assert_eq!(message.content.as_text(), Some("[hi]"));
    assert_eq!((Some(message.id), message.from), (changed.message_id, Some(id("bob"))));
    // A panic of a handler does not affect others.
    assert!(bob.publish("alice", "panic").await.is_err());
    assert!(bob.publish("alice", "again").await.is_ok());
}

async fn a_publish_waits_for_a_back_end(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let mut alice = stack.connect("alice", "web/tab", 0, via).await;
    let bob = stack.connect("bob", "web/tab", 0, via).await;
    // No back end serves. The device is told so at once and retries by itself.
    let publish = bob.publish("alice", "is anybody there?");
    tokio::pin!(publish);
    let early = tokio::time::timeout(std::time::Duration::from_millis(300), &mut publish).await;
    assert!(early.is_err(), "it cannot have been answered: {early:?}");
    let handled = Arc::default();
    let _service = relay(&im, &handled).await;
    publish.await.unwrap();
    assert_eq!(alice.text().await, "is anybody there?");
    assert_eq!(handled.load(Ordering::Relaxed), 1);
}

async fn many_publishes_at_once_are_all_answered(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let handled = Arc::default();
    let _service = relay(&im, &handled).await;
    let bob = stack.connect("bob", "web/tab", 0, via).await;
    let users: Vec<String> = (0..200).map(|number| format!("user-{number}")).collect();
    let publishes = users.iter().map(|user| bob.publish(user, "hi"));
    for published in futures_util::future::join_all(publishes).await {
        published.unwrap();
    }
    assert_eq!(handled.load(Ordering::Relaxed), users.len());
}

async fn wrong_messages_are_refused(setup: Setup, _: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let send = async |message| im.send(message).await.unwrap_err();
    assert!(matches!(
        send(Message::to(user("no user")).text("hi")).await,
        SendError::Invalid(InvalidMessage::User(_))
    ));
    assert!(matches!(
        send(Message::to(users::<&str>([])).text("hi")).await,
        SendError::Invalid(InvalidMessage::NoRecipient)
    ));
    assert!(matches!(send(Message::to(user("bob"))).await, SendError::Invalid(InvalidMessage::NoContent)));
    let large = Message::to(user("bob")).text("x".repeat(70_000));
    assert!(matches!(
        send(large).await,
        SendError::Invalid(InvalidMessage::TooLarge { limit: MAX_CONTENT_BYTES, .. })
    ));
    assert!(matches!(
        send(Message::to(user("bob")).text("")).await,
        SendError::Invalid(InvalidMessage::NoContent)
    ));
}

async fn tells_who_is_online(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _phone = stack.connect("bob", "ios/phone", 0, via).await;
    let _browser = stack.connect("bob", "web/tab", 1, via).await;
    let online = im.online(&[id("alice"), id("bob")]).await.unwrap();
    assert_eq!(online.len(), 1);
    let found: Vec<_> =
        online[&id("bob")].iter().map(|found| (found.device.to_string(), &found.server)).collect();
    let (first, second) =
        (stack.server_id(&stack.servers[0]).await, stack.server_id(&stack.servers[1]).await);
    assert_eq!(found, [("web/tab".to_owned(), &second), ("ios/phone".to_owned(), &first)]);
}

async fn kicks_across_servers(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let mut phone = stack.connect("bob", "ios/phone", 0, via).await;
    let mut browser = stack.connect("bob", "web/tab", 1, via).await;
    let device: Device = "ios/phone".parse().unwrap();
    assert_eq!(im.kick(&id("bob"), Some(&device), "lost phone").await.unwrap(), 1);
    assert_eq!(phone.stopped().await, (Some(CloseCode::Kicked), "lost phone".to_owned()));
    stack.wait_online(&im, "bob", 1).await;
    assert_eq!(im.kick(&id("bob"), None, "goodbye").await.unwrap(), 1);
    assert_eq!(browser.stopped().await, (Some(CloseCode::Kicked), "goodbye".to_owned()));
    stack.wait_online(&im, "bob", 0).await;
    assert_eq!(im.kick(&id("bob"), None, "nobody there").await.unwrap(), 0);
}

async fn lists_servers_least_loaded_first(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 2).await;
    let im = stack.backend().await;
    let _busy = stack.connect("bob", "web/tab", 0, via).await;
    let busy = stack.server_id(&stack.servers[0]).await;
    wait_until("the busy server is listed last", PATIENCE, async || {
        let endpoints = im.endpoints();
        endpoints.len() == 2 && endpoints[1].server == busy && endpoints[1].connections == 1
    })
    .await;
    assert_eq!(im.endpoints()[1].addresses, stack.servers[0].endpoints());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websocket_works_behind_tls() {
    let options = ServerOptions { websocket_tls: true, ..ServerOptions::default() };
    let stack = Stack::start_with(Setup::Clustered, 1, options).await;
    let im = stack.backend().await;
    let _service = relay(&im, &Arc::default()).await;
    assert!(stack.servers[0].endpoint(Via::WebSocket).starts_with("wss://"));
    let mut bob = stack.connect("bob", "web/tab", 0, Via::WebSocket).await;
    bob.up_to_date().await;
    let data: Vec<u8> = (0..60_000_u32).map(|index| index as u8).collect();
    let content = Content::custom("large", data);
    im.send(Message::to(user("bob")).content(content.clone())).await.unwrap();
    assert_eq!(bob.message().await.content, content);
    bob.publish("bob", "to myself").await.unwrap();
    assert_eq!(bob.text().await, "to myself");
}

async fn what_cannot_be_sent_is_refused_for_good(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = relay(&im, &Arc::default()).await;
    let bob = stack.connect("bob", "web/tab", 0, via).await;
    // Fits into a publish, but not into a push with the sender's name.
    let refused = bob.publish("alice", &"x".repeat(65_480)).await.unwrap_err();
    assert!(matches!(refused, PublishError::TooLarge { limit: MAX_CONTENT_BYTES, .. }), "{refused:?}");
    assert_eq!(bob.publish("alice", "").await, Err(PublishError::NoContent));
    // The limit of the device leaves room for the longest names.
    let name = "n".repeat(64);
    bob.publish(&name, &"x".repeat(MAX_TEXT_BYTES)).await.unwrap();
    bob.publish("alice", "short").await.unwrap();
    // A device that does not check the size itself.
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.log_in("mallory").await;
    for (number, text) in (1..).zip([String::new(), "x".repeat(65_480)]) {
        let content = Some(Content::text(text).into());
        let publish = pb::Publish { number, to: "alice".into(), content, ..Default::default() };
        raw.send_frame(Body::Publish(publish)).await;
        let refused = loop {
            let Heard::Frame(Body::PublishResult(result)) = raw.heard().await else { continue };
            let Some(pb::publish_result::Outcome::Refused(refused)) = result.outcome else { panic!("taken") };
            break refused;
        };
        assert_eq!((refused.kind(), refused.retry_after_ms), (pb::RefusalKind::Invalid, 0), "{refused:?}");
    }
}

async fn an_answer_that_no_device_takes_harms_nobody_else(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let handler = async |incoming: Incoming| {
        let size = if incoming.to == id("greedy") { 2 * 1024 * 1024 } else { 1 };
        Ok(Acceptance::handled().with_answer(vec![7; size]))
    };
    let _service = im.serve(handler).await.unwrap();
    let bob = stack.connect("bob", "web/tab", 0, via).await;
    let (greedy, modest) = tokio::join!(bob.publish("greedy", "hi"), bob.publish("modest", "hi"));
    // The publish whose answer was too large has been carried out.
    assert!(matches!(greedy, Err(PublishError::Unconfirmed { .. })), "{greedy:?}");
    assert_eq!(modest.unwrap().answer.len(), 1);
}

async fn a_device_finds_its_own_messages_by_their_local_ids(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = relay(&im, &Arc::default()).await;
    let store = Arc::new(MemoryStore::new());
    let open = || {
        let endpoints = [stack.servers[0].endpoint(via)];
        let mut config = stack.client_config("ios/phone", &endpoints, Arc::new(token("alice")));
        config.store = store.clone();
        let client = Client::open(config).unwrap();
        client.connect();
        TestClient::new(client)
    };
    let mut phone = open();
    phone.up_to_date().await;
    let (mut tablet, mut bob) =
        (stack.connect("alice", "web/tab", 0, via).await, stack.connect("bob", "web/tab", 0, via).await);
    tablet.up_to_date().await;
    bob.up_to_date().await;
    let sent = phone.client().send(id("bob"), "hi").await.unwrap();
    let local_id = Some(sent.local_id());
    sent.outcome().await.unwrap();
    // The phone ends without a disconnect and without an acknowledgement: it receives the message again.
    assert_eq!(phone.message().await.local_id, local_id);
    drop(phone);
    let mut phone = open();
    assert_eq!(phone.message().await.local_id, local_id);
    let page = phone.client().history(id("bob"), HistoryRange::Newest, 1).await.unwrap();
    assert_eq!(page.messages[0].local_id, local_id);
    for other in [&mut tablet, &mut bob] {
        assert_eq!(other.message().await.local_id, None, "it is another device's");
    }
    im.send(Message::to(user("bob")).from("alice").text("from elsewhere")).await.unwrap();
    assert_eq!(phone.message().await.local_id, None, "no device has sent it");
}
