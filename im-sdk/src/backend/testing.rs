//! Unit tests of an application's own [`Handler`], without a server, a device or a network.
//!
//! A [`HandlerTest`] calls a handler as the service would, in the same order and with all rules of the SDK around it: membership
//! of channels, [`Handler::may_reach`], [`Handler::change`], [`ChangePolicy`](crate::backend::ChangePolicy) and
//! [`Handler::publish`]. Accepted messages are sent, and can be read from the [`Im`].
//!
//! ```
//! use im_sdk::{
//!     backend::{Acceptance, Handler, Incoming, Reach, ReachRights, Refusal, testing::HandlerTest},
//!     content::{Change, Content},
//!     id::UserId,
//! };
//!
//! struct Rules;
//!
//! impl Handler for Rules {
//!     async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
//!         match incoming.content.texts().iter().any(|text| text.contains("spam")) {
//!             true => Err(Refusal::new("no spam, please").with_code(7)),
//!             false => Ok(incoming.accept()),
//!         }
//!     }
//!
//!     async fn may_reach(&self, reach: &Reach) -> Result<ReachRights, Refusal> {
//!         match reach.from.as_str() {
//!             "eve" => Err(Refusal::new("you are blocked")),
//!             _ => Ok(ReachRights::Granted),
//!         }
//!     }
//! }
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let test = HandlerTest::new(Rules).await?;
//! let bob = UserId::parse("bob")?;
//! let sent = test.publish("alice", bob.clone(), "hi").await?;
//! // What the rule refuses does not get through as an edit.
//! let edit = Change::edit(sent.message_id.expect("it was sent"), "buy spam");
//! assert_eq!(test.publish("alice", bob.clone(), edit).await.unwrap_err().code, 7);
//! assert_eq!(test.publish("eve", bob, "hi").await.unwrap_err().reason, "you are blocked");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use prost::Message as _;

use super::{
    im::{Im, ImBuilder, StartError},
    service::{
        Handler, IncomingSignal, RequestKind,
        publish::{Publishes, Request},
        request::permit,
        requester::Requester,
        rooms::visible,
        signals::Signals,
    },
};
use crate::{
    Recipient, Signal,
    cluster::{Cluster, LogId, ReadLimit},
    content::{Body, Change, Content},
    id::{Device, InvalidId, MessageId, ServerId, UserId},
    proto::pb,
};

/// Calls a handler as the service would. See the [module](self).
pub struct HandlerTest<H> {
    im: Im,
    handler: Arc<H>,
    publishes: Publishes<H>,
    signals: Signals<H>,
    /// The number of the next publish, as devices count them.
    number: AtomicU64,
}

/// An accepted publish.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// The id of the message, or `None` if the handler sent none.
    pub message_id: Option<MessageId>,
    /// The handler's answer to the device.
    pub answer: Bytes,
}

/// A refusal by the handler or by the SDK.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused ({kind}, code {code}): {reason}")]
#[non_exhaustive]
pub struct Refused {
    /// The kind, as devices see it: `rule` for a refusal by the handler, or by a rule of the SDK
    /// with a negative code; otherwise `invalid`, `too_many`, `unavailable`, `internal` or
    /// `number_used`.
    pub kind: &'static str,
    /// The reason, for people.
    pub reason: String,
    /// The code of a `rule`, and 0 otherwise.
    pub code: i32,
}

impl From<pb::Refused> for Refused {
    fn from(refused: pb::Refused) -> Self {
        let kind = match refused.kind() {
            pb::RefusalKind::Unspecified => "unknown",
            pb::RefusalKind::Rule => "rule",
            pb::RefusalKind::Unavailable => "unavailable",
            pb::RefusalKind::Invalid => "invalid",
            pb::RefusalKind::TooMany => "too_many",
            pb::RefusalKind::Internal => "internal",
            pb::RefusalKind::NoBackend => "no_backend",
            pb::RefusalKind::NumberUsed => "number_used",
        };
        Self { kind, reason: refused.reason, code: refused.code }
    }
}

impl<H: Handler> HandlerTest<H> {
    /// Tests a handler on a cluster of its own, in this process.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn new(handler: H) -> Result<Self, StartError> {
        Self::with_settings(handler, Im::builder()).await
    }

    /// Tests a handler on a cluster of its own, with settings.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn with_settings(handler: H, settings: ImBuilder) -> Result<Self, StartError> {
        let im = settings.start(Cluster::embedded()).await?;
        Ok(Self::on(im, Arc::new(handler)))
    }

    /// Tests a handler beside an existing [`Im`], which the handler may hold itself.
    pub fn on(im: Im, handler: Arc<H>) -> Self {
        let publishes = Publishes::new(Arc::clone(&im.inner.service), Arc::clone(&handler));
        let signals = Signals::new(Arc::clone(&im.inner.service), Arc::clone(&handler));
        Self { im, handler, publishes, signals, number: AtomicU64::new(1) }
    }

    /// Returns the backend, to add members to channels, to send, and to read messages.
    pub fn im(&self) -> &Im {
        &self.im
    }

    /// Returns the handler.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// Publishes for a user's device: a message, or a [`Change`] of a message that is found by its
    /// id.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn publish(
        &self,
        from: &str,
        to: impl Into<Recipient>,
        content: impl Into<Content>,
    ) -> Result<Sent, Refused> {
        let (from, to, mut content) = (user(from)?, to.into(), content.into());
        if let Body::Change(change) = &mut content.body {
            change.seq = self.seq_of(&from, &to, change).await;
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (to, channel) = match &to {
            Recipient::User(user) => (user.to_string(), String::new()),
            Recipient::Channel(channel) => (String::new(), channel.to_string()),
        };
        let content = Some(pb::Content::from(content));
        let publish = pb::Publish { number, to, channel, content, ..pb::Publish::default() };
        let publish = pb::UpstreamPublish {
            user: from.to_string(),
            device: Some((&device()?).into()),
            number,
            publish: publish.encode_to_vec().into(),
            ..pb::UpstreamPublish::default()
        };
        let accepted = self.publishes.decide(&Request::new(server()?, from, publish)).await?;
        let message_id = MessageId::from_u64(accepted.message_id);
        Ok(Sent { message_id, answer: accepted.answer })
    }

    /// Signals for a user's device. Returns `true` if the signal would be passed on; devices are
    /// not told.
    ///
    /// # Errors
    /// [`Refused`]: the user's id is not valid.
    pub async fn signal(
        &self,
        from: &str,
        to: impl Into<Recipient>,
        signal: Signal,
    ) -> Result<bool, Refused> {
        let (from, device, to) = (user(from)?, device()?, to.into());
        let incoming = IncomingSignal { from, device, to, to_device: None, signal };
        Ok(self.signals.is_passed_on(incoming).await)
    }

    /// Requests something for a user's device. See [`Handler::may_request`]. Rules of the SDK, such
    /// as that a channel is for its members, are not applied.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn request(&self, from: &str, kind: RequestKind) -> Result<(), Refused> {
        let requester = Requester { server: server()?, connection: 0, user: user(from)?, device: device()? };
        Ok(permit(&self.im.inner.service, &*self.handler, &requester, kind).await?)
    }

    /// Returns those of some users that a user's device may watch: see [`Handler::may_watch`].
    ///
    /// # Errors
    /// [`Refused`]: an id is not valid, or the handler panicked or took too long.
    pub async fn watch(&self, watcher: &str, users: &[&str]) -> Result<Vec<UserId>, Refused> {
        let users = users.iter().map(|name| user(name)).collect::<Result<Vec<_>, _>>()?;
        let visible =
            visible(&self.im.inner.service, &*self.handler, &user(watcher)?, &device()?, users).await;
        visible.map_err(|failed| failed.refused().into())
    }

    /// Returns the seq of the changed message in the log of the user who changes it, or 0 if it is
    /// not there.
    async fn seq_of(&self, from: &UserId, to: &Recipient, change: &Change) -> u64 {
        let log = match to {
            Recipient::User(_) => LogId::Inbox(from.clone()),
            Recipient::Channel(channel) => LogId::Channel(channel.clone()),
        };
        let mut after = 0;
        while let Ok(page) = self.im.cluster().log().read(&log, after, ReadLimit::new(256)).await {
            let found = page.entries.iter().find(|entry| entry.message_id == change.message_id);
            if let Some(found) = found {
                return found.seq;
            }
            let Some(last) = page.entries.last() else { break };
            after = last.seq;
        }
        0
    }
}

impl<H> std::fmt::Debug for HandlerTest<H> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("HandlerTest").finish_non_exhaustive()
    }
}

/// Returns the device, which is the same for all users.
fn device() -> Result<Device, Refused> {
    "desktop/test".parse().map_err(invalid)
}

fn server() -> Result<ServerId, Refused> {
    ServerId::parse("test-00000000").map_err(invalid)
}

fn user(name: &str) -> Result<UserId, Refused> {
    UserId::parse(name).map_err(invalid)
}

fn invalid(error: InvalidId) -> Refused {
    Refused { kind: "invalid", reason: error.to_string(), code: 0 }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Mutex,
            atomic::{AtomicBool, Ordering},
        },
        time::Duration,
    };

    use tokio::{sync::mpsc, time::timeout};

    use super::*;
    use crate::{
        Conversation, HistoryRange,
        backend::{
            Acceptance, ChangeRights, DeviceRequest, Durability, Incoming, IncomingChange, LoggedPublish,
            Message, Reach, ReachKind, ReachRights, ReachRule, Refusal,
        },
        cluster::Publication,
        content::{ChangeKind, File, Media},
        id::ChannelId,
        refusal_code,
    };

    fn bob() -> UserId {
        user("bob").unwrap()
    }

    fn team() -> ChannelId {
        ChannelId::parse("team").unwrap()
    }

    /// The rule of the README.
    async fn no_spam(incoming: Incoming) -> Result<Acceptance, Refusal> {
        if incoming.content.texts().iter().any(|text| text.contains("spam")) {
            return Err(Refusal::new("no spam, please").with_code(7));
        }
        Ok(incoming.accept())
    }

    async fn texts<H: Handler>(test: &HandlerTest<H>) -> Vec<String> {
        let page = test.im().history(&bob(), &Conversation::Inbox, HistoryRange::Newest, 99).await.unwrap();
        let texts = page.messages.iter().filter_map(|entry| entry.content.as_text().map(str::to_owned));
        texts.collect()
    }

    #[tokio::test]
    async fn what_a_closure_refuses_does_not_get_through_as_something_else() {
        let test = HandlerTest::new(no_spam).await.unwrap();
        let id = test.publish("alice", bob(), "hi").await.unwrap().message_id.unwrap();
        let spam: [Content; 5] = [
            "buy spam".into(),
            Change::edit(id, "buy spam").into(),
            Change::edit(id, File::new(Media::new("u")).caption("spam")).into(),
            Change::react(id, "spam").into(),
            File::new(Media::new("u").name("spam.pdf")).into(),
        ];
        for spam in spam {
            let refused = test.publish("alice", bob(), spam.clone()).await.unwrap_err();
            assert_eq!(
                (refused.kind, refused.code, &*refused.reason),
                ("rule", 7, "no spam, please"),
                "{spam:?}"
            );
        }
        for fine in [Change::react(id, "👍"), Change::pin(id), Change::edit(id, "hello")] {
            test.publish("alice", bob(), fine).await.unwrap();
        }
        assert_eq!(texts(&test).await, ["hello"]);
        test.publish("alice", bob(), Change::recall(id)).await.unwrap();
    }

    #[tokio::test]
    async fn whoever_a_closure_refuses_adds_nothing_to_a_conversation() {
        static BLOCKED: AtomicBool = AtomicBool::new(false);
        let rule = |incoming: Incoming| async move {
            match BLOCKED.load(Ordering::SeqCst) && incoming.from.as_str() == "eve" {
                true => Err(Refusal::new("you are blocked")),
                false => Ok(incoming.accept()),
            }
        };
        let test = HandlerTest::new(rule).await.unwrap();
        test.im().channel("team").add_members(["eve", "bob"]).await.unwrap();
        let eve = user("eve").unwrap();
        let hers = test.publish("eve", bob(), "hi bob").await.unwrap().message_id.unwrap();
        let his = test.publish("bob", eve.clone(), "hi eve").await.unwrap().message_id.unwrap();
        let in_team = test.publish("eve", team(), "hi all").await.unwrap().message_id.unwrap();
        assert!(test.signal("eve", bob(), Signal::typing()).await.unwrap());
        assert!(test.signal("eve", team(), Signal::typing()).await.unwrap());
        BLOCKED.store(true, Ordering::SeqCst);
        for said in ["let me in".into(), Change::react(his, "🖕").into(), Change::pin(hers).into()] {
            let said: Content = said;
            test.publish("eve", bob(), said).await.unwrap_err();
        }
        test.publish("eve", bob(), Change::edit(hers, "you cannot get rid of me")).await.unwrap_err();
        test.publish("eve", team(), Change::edit(in_team, "nor you")).await.unwrap_err();
        test.publish("eve", team(), Change::react(in_team, "🖕")).await.unwrap_err();
        assert!(!test.signal("eve", bob(), Signal::typing()).await.unwrap());
        assert!(!test.signal("eve", team(), Signal::typing()).await.unwrap());
        assert!(test.signal("bob", eve.clone(), Signal::typing()).await.unwrap(), "nobody has refused bob");
        // A change that only removes something is still allowed.
        test.publish("eve", bob(), Change::recall(hers)).await.unwrap();
        BLOCKED.store(false, Ordering::SeqCst);
        test.publish("eve", bob(), "hi again").await.unwrap();
        assert!(test.signal("eve", bob(), Signal::typing()).await.unwrap());
    }

    #[tokio::test]
    async fn an_edit_is_masked_as_a_message_is() {
        let mask = |incoming: Incoming| async move {
            let text = incoming.content.as_text().map(|text| text.replace("damn", "****"));
            let answer = if incoming.change.is_some() { "changed" } else { "new" };
            let masked = match text {
                Some(text) => incoming.replace_text(text),
                None => incoming,
            };
            Ok(masked.accept().with_answer(answer))
        };
        let test = HandlerTest::new(mask).await.unwrap();
        let said = Content::text("damn, @bob").mention(bob());
        let sent = test.publish("alice", bob(), said).await.unwrap();
        assert_eq!(&sent.answer[..], b"new");
        let page = test.im().history(&bob(), &Conversation::Inbox, HistoryRange::Newest, 9).await.unwrap();
        assert_eq!(page.messages[0].content, Content::text("****, @bob").mention(bob()));
        let edit = Change::edit(sent.message_id.unwrap(), "damn it");
        assert_eq!(&test.publish("alice", bob(), edit).await.unwrap().answer[..], b"changed");
        assert_eq!(texts(&test).await, ["**** it"]);
    }

    /// Refuses spam and pins. All other changes get these rights.
    struct Moderated(ChangeRights);

    impl Handler for Moderated {
        async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
            no_spam(incoming).await
        }

        async fn change(&self, incoming: &IncomingChange) -> Result<ChangeRights, Refusal> {
            match incoming.change.kind {
                ChangeKind::Pin { .. } => Err(Refusal::new("pins are for moderators").with_code(9)),
                _ => Ok(self.0),
            }
        }
    }

    #[tokio::test]
    async fn a_handler_that_decides_about_changes_has_its_way() {
        for (rights, own, foreign) in [
            (ChangeRights::ByPolicy, Some(7), Some(refusal_code::CHANGE_NOT_ALLOWED)),
            (ChangeRights::Checked, None, Some(refusal_code::CHANGE_NOT_ALLOWED)),
            (ChangeRights::Granted, None, None),
        ] {
            let test = HandlerTest::new(Moderated(rights)).await.unwrap();
            let id = test.publish("alice", bob(), "hi").await.unwrap().message_id.unwrap();
            let code = async |from: &str, to: UserId, change: Change| {
                test.publish(from, to, change).await.err().map(|refused| refused.code)
            };
            let alice = user("alice").unwrap();
            assert_eq!(code("alice", bob(), Change::pin(id)).await, Some(9));
            assert_eq!(code("bob", alice, Change::edit(id, "spam")).await, foreign, "{rights:?}");
            assert_eq!(code("alice", bob(), Change::edit(id, "spam")).await, own, "{rights:?}");
        }
    }

    #[tokio::test]
    async fn refusals_of_the_sdk_have_codes_of_their_own() {
        let test = HandlerTest::new(no_spam).await.unwrap();
        let code = async |from: &str, to: Recipient, content: Content| {
            test.publish(from, to, content).await.unwrap_err().code
        };
        let stranger = code("alice", team().into(), "hi".into()).await;
        assert_eq!(stranger, refusal_code::NOT_A_MEMBER);
        let id = test.publish("alice", bob(), "hi").await.unwrap().message_id.unwrap();
        let alice = Recipient::from(user("alice").unwrap());
        let not_hers = code("bob", alice.clone(), Change::recall(id).into()).await;
        assert_eq!(not_hers, refusal_code::CHANGE_NOT_ALLOWED);
        for emoji in 0..crate::proto::limits::MAX_REACTIONS_PER_USER {
            test.publish("bob", alice.clone(), Change::react(id, emoji.to_string())).await.unwrap();
        }
        let one_too_many = code("bob", alice, Change::react(id, "x").into()).await;
        assert_eq!(one_too_many, refusal_code::TOO_MANY_REACTIONS);
    }

    /// Refuses eve everything, and records the questions.
    #[derive(Default)]
    struct Closed(Mutex<Vec<ReachKind>>);

    impl Handler for Closed {
        async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
            Ok(incoming.accept())
        }

        async fn may_reach(&self, reach: &Reach) -> Result<ReachRights, Refusal> {
            self.0.lock().unwrap().push(reach.what);
            match reach.from.as_str() {
                "eve" => Err(Refusal::new("blocked").with_code(3)),
                _ => Ok(ReachRights::Granted),
            }
        }

        async fn may_watch(&self, _: UserId, users: Vec<UserId>) -> Vec<UserId> {
            users
        }

        async fn may_request(&self, request: &DeviceRequest) -> Result<(), Refusal> {
            match (request.from.as_str(), &request.kind) {
                ("eve", RequestKind::History(_)) => Err(Refusal::new("no history for you").with_code(4)),
                _ => Ok(()),
            }
        }
    }

    #[tokio::test]
    async fn who_may_not_reach_a_user_does_not_see_it_either() {
        let test = HandlerTest::new(Closed::default()).await.unwrap();
        assert_eq!(test.watch("eve", &["bob", "eve"]).await.unwrap(), [user("eve").unwrap()]);
        assert_eq!(test.watch("alice", &["bob"]).await.unwrap(), [bob()]);
        assert_eq!(*test.handler().0.lock().unwrap(), [ReachKind::Presence; 2]);
        assert!(!test.signal("eve", bob(), Signal::typing()).await.unwrap());
        assert_eq!(test.publish("eve", bob(), "hi").await.unwrap_err().code, 3);
    }

    #[tokio::test]
    async fn a_request_is_refused_with_a_code_and_a_text() {
        let test = HandlerTest::new(Closed::default()).await.unwrap();
        let history = || RequestKind::History(Conversation::Inbox);
        let refused = test.request("eve", history()).await.unwrap_err();
        assert_eq!((refused.kind, refused.code, &*refused.reason), ("rule", 4, "no history for you"));
        test.request("alice", history()).await.unwrap();
        test.request("eve", RequestKind::Conversations).await.unwrap();
    }

    #[tokio::test]
    async fn a_closure_gets_a_rule_for_who_reaches_whom() {
        let reached = |reach: Reach| async move {
            match reach.from.as_str() {
                "eve" => Err(Refusal::new("blocked").with_code(3)),
                _ => Ok(ReachRights::Granted),
            }
        };
        let test = HandlerTest::new(ReachRule::new(no_spam, reached)).await.unwrap();
        assert_eq!(test.publish("eve", bob(), "hi").await.unwrap_err().code, 3);
        assert_eq!(test.publish("alice", bob(), "spam").await.unwrap_err().code, 7);
        assert!(!test.signal("eve", bob(), Signal::typing()).await.unwrap());
        assert!(test.signal("alice", bob(), Signal::typing()).await.unwrap());
    }

    /// Records logged publishes.
    #[derive(Default)]
    struct Noted(Mutex<Vec<LoggedPublish>>);

    impl Handler for Noted {
        async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
            match incoming.content.as_text() {
                Some("live") => {
                    Ok(Acceptance::send(Message::to(incoming.to).durability(Durability::Transient).text("x")))
                }
                Some("handled") => Ok(Acceptance::handled()),
                Some("panic") => {
                    Ok(Acceptance::send(Message::to(incoming.to).content(Content::text("panic in the hook"))))
                }
                _ => Ok(incoming.replace_text("masked").accept()),
            }
        }

        async fn logged(&self, message: LoggedPublish) {
            assert_ne!(message.content.as_text(), Some("panic in the hook"));
            self.0.lock().unwrap().push(message);
        }
    }

    #[tokio::test]
    async fn a_handler_is_told_what_was_logged_and_where() {
        let test = HandlerTest::new(Noted::default()).await.unwrap();
        test.im().channel("team").add_members(["alice"]).await.unwrap();
        for nothing in ["live", "handled"] {
            test.publish("alice", bob(), nothing).await.unwrap();
        }
        let first = test.publish("alice", bob(), "hi").await.unwrap().message_id.unwrap();
        let in_team = test.publish("alice", team(), "hi all").await.unwrap().message_id.unwrap();
        let recall = test.publish("alice", bob(), Change::recall(first)).await.unwrap().message_id.unwrap();
        test.publish("alice", bob(), "panic").await.expect("it is logged, whatever the hook does");
        let told = test.handler().0.lock().unwrap();
        let places: Vec<_> = told.iter().map(|told| (told.message_id, told.places.clone())).collect();
        let inbox = |seq| vec![(LogId::Inbox(bob()), seq)];
        let channel = vec![(LogId::Channel(team()), 1)];
        assert_eq!(places, [(first, inbox(1)), (in_team, channel), (recall, inbox(2))]);
        assert_eq!(
            (told[0].content.as_text(), told[0].from.as_str(), told[0].number),
            (Some("masked"), "alice", 3)
        );
        assert!(told[2].content.as_change().is_some() && !told.iter().any(|told| told.repeated));
    }

    #[tokio::test]
    async fn a_service_whose_handler_hangs_comes_to_its_end() {
        let limit = Duration::from_millis(50);
        let im = Im::builder().handler_timeout(limit).send_timeout(limit);
        let im = im.start(Cluster::embedded()).await.unwrap();
        let (begun, mut heard) = mpsc::unbounded_channel();
        let handler = move |_: Incoming| {
            begun.send(()).unwrap();
            std::future::pending()
        };
        let service = im.serve(handler).await.unwrap();
        let content = Some(pb::Content::from(Content::text("hi")));
        let publish = pb::Publish { number: 1, to: "bob".into(), content, ..pb::Publish::default() };
        let publish = pb::UpstreamPublish {
            user: "alice".into(),
            device: Some((&device().unwrap()).into()),
            number: 1,
            publish: publish.encode_to_vec().into(),
            ..pb::UpstreamPublish::default()
        };
        let upstream = pb::Upstream { server: server().unwrap().to_string(), publishes: vec![publish] };
        let (subject, payload) = (im.cluster().names().upstream_publish(), upstream.encode_to_vec().into());
        im.cluster().bus().publish(Publication { subject, return_to: None, payload }).await.unwrap();
        heard.recv().await.unwrap();
        timeout(Duration::from_secs(20), service.shutdown()).await.expect("it ends");
    }
}
