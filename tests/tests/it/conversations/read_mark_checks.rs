//! Invalid read marks are refused, and handlers are notified of valid ones.

use std::sync::{Arc, Mutex};

use im_proto::{pb, pb::frame::Body};
use im_sdk::{
    ConversationChange, MAX_DRAFT_BYTES,
    backend::{Acceptance, Handler, Incoming, Marked, Refusal},
    client::MarkError,
    content::Content,
};
use im_tests::{
    Setup, Stack, Via,
    channels::{connect, serve},
    conversation_list::{id, position, say},
    everywhere,
    raw::{Heard, Raw},
    stack::PATIENCE,
    wait_until,
};

everywhere!(what_makes_no_sense_is_refused, a_handler_sees_marks);

async fn what_makes_no_sense_is_refused(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    say(&im, "bob", "alice", "1").await;
    im.channel("team").add_members(["bob"]).await.unwrap();
    let mut raw = Raw::connect(&stack, 0, via).await;
    raw.log_in("alice").await;
    let with = |user: &str| pb::Mark { user: user.into(), ..Default::default() };
    let team = pb::Mark { channel: "team".into(), read: 1, ..Default::default() };
    let (rule, invalid) = (pb::RefusalKind::Rule, pb::RefusalKind::Invalid);
    let wrong = [
        (vec![team.clone()], rule),
        (vec![], invalid),
        (vec![with("bob"); 33], invalid),
        (vec![with("no user")], invalid),
        (vec![with("")], invalid),
        (vec![pb::Mark { read: u64::MAX, ..with("bob") }], invalid),
        (vec![pb::Mark { hidden: Some(1 << 53), ..with("bob") }], invalid),
        (vec![pb::Mark { draft: Some("x".repeat(MAX_DRAFT_BYTES + 1)), ..with("bob") }], invalid),
    ];
    for (number, (marks, kind)) in wrong.into_iter().enumerate() {
        let what = format!("{marks:?}");
        let outcome = mark(&mut raw, number as u64 + 1, marks).await;
        let pb::response::Outcome::Refused(refused) = outcome else { panic!("{what}: {outcome:?}") };
        assert_eq!((refused.kind(), refused.retry_after_ms), (kind, 0), "{what}");
    }
    // In a request with other marks, a channel of which the user is not a member is skipped.
    let outcome = mark(&mut raw, 100, vec![team, pb::Mark { read: 99, ..with("bob") }]).await;
    let pb::response::Outcome::Marked(marked) = outcome else { panic!("{outcome:?}") };
    assert_eq!(marked.states.len(), 1);
    assert_eq!((&*marked.states[0].user, marked.states[0].read), ("bob", 1), "cut to the end");
    // A mark alone does not create a conversation for the other user.
    let outcome = mark(&mut raw, 101, vec![pb::Mark { read: 1, ..with("mallory") }]).await;
    assert!(matches!(outcome, pb::response::Outcome::Marked(_)));
    assert_eq!(im.conversations(&id("mallory"), 0, 10).await.unwrap().conversations, []);
    // The client checks this before it sends anything.
    let client = connect(&stack, "alice", 0, via).await;
    let long = ConversationChange::new().draft("x".repeat(MAX_DRAFT_BYTES + 1));
    let error = client.client().set_conversation(id("bob"), long).await.unwrap_err();
    assert_eq!(error, MarkError::DraftTooLong { bytes: MAX_DRAFT_BYTES + 1 });
}

async fn mark(raw: &mut Raw, number: u64, marks: Vec<pb::Mark>) -> pb::response::Outcome {
    let question = Some(pb::request::Question::Mark(pb::MarkRequest { marks }));
    raw.send_frame(Body::Request(pb::Request { number, question })).await;
    let looking = async {
        loop {
            if let Heard::Frame(Body::Response(response)) = raw.heard().await {
                assert_eq!(response.number, number);
                return response.outcome.unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap()
}

#[derive(Clone, Default)]
struct Watcher(Arc<Mutex<Vec<Marked>>>);

impl Handler for Watcher {
    async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
        Ok(incoming.accept())
    }

    async fn marked(&self, marked: Marked) {
        self.0.lock().unwrap().push(marked);
    }
}

async fn a_handler_sees_marks(setup: Setup, via: Via) {
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let watcher = Watcher::default();
    let _service = im.serve(watcher.clone()).await.unwrap();
    let mut alice = stack.connect("alice", "ios/phone", 0, via).await;
    alice.up_to_date().await;
    let bob = connect(&stack, "bob", 0, via).await;
    bob.client().send(id("alice"), Content::text("1")).outcome().await.unwrap();
    let first = position(&mut alice, "1").await;
    alice.client().mark_read(id("bob"), &first).await.unwrap();
    wait_until("the handler is told", PATIENCE, async || !watcher.0.lock().unwrap().is_empty()).await;
    let marked = watcher.0.lock().unwrap()[0].clone();
    assert_eq!((marked.user, marked.read_before, marked.state.read.seq), (id("alice"), 0, 1));
    assert_eq!(marked.device.unwrap().to_string(), "ios/phone");
}
