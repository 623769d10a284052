//! Answers requests of devices: history and search here, rooms and presence in `rooms.rs`,
//! conversations in `conversations.rs`.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Once},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use prost::Message as _;

mod parse;

use super::{
    Handler,
    call::{Deadline, HandlerFailed},
    context::ServiceContext,
    conversations,
    queue::{Job, Limits},
    requester::{Requester, check_member},
    responder::Responder,
    response::{FRAME_OVERHEAD, RETRY_MS, answer, fit, fit_found, refusal, refused, response, rule},
};
use crate::{
    Conversation, ConversationChange, Recipient, Search,
    backend::history::{HistoryError, Shows, search::SearchError},
    cluster::ReadLimit,
    id::{ChannelId, Device, ServerId, UserId},
    log_throttle::throttled,
    proto::{limits::MAX_FRAME_BYTES, pb, pb::RefusalKind},
};

/// The number of requests that are answered at once, each with some pages of a log in memory, of
/// those of one user, and of waiting ones of one user.
const CONCURRENCY: usize = 256;
const PER_USER: usize = 2;
const WAITING_PER_USER: usize = 64;

/// The time that a request may wait, which is how long a server waits for the answer by default.
const PATIENCE: Duration = Duration::from_secs(10);

/// Logged once, since devices may search often: search needs a message store.
static ADVISED: Once = Once::new();

/// A request of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceRequest {
    /// The user, from the device's token.
    pub from: UserId,
    /// The device.
    pub device: Device,
    /// The kind of the request.
    pub kind: RequestKind,
}

/// The kinds of requests that are passed to [`Handler::may_request`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestKind {
    /// A page of the history of a conversation. Of a channel, the user is a member.
    History(Conversation),
    /// A search in everything that the user may see, or in one conversation.
    Search(Search),
    /// The list of the user's conversations.
    Conversations,
    /// A read mark or a setting of one of the user's conversations.
    Mark(Recipient, ConversationChange),
    /// The readers of the message at this seq in a channel's log.
    Readers(ChannelId, u64),
    /// The presence of these users. [`Handler::may_watch`] decides about each of them.
    Watch(Vec<UserId>),
}

/// Asks the handler whether a device may make a request.
pub(in crate::backend) async fn permit<H: Handler>(
    context: &ServiceContext,
    handler: &H,
    requester: &Requester,
    kind: RequestKind,
) -> Result<(), pb::Refused> {
    let request = DeviceRequest { from: requester.user.clone(), device: requester.device.clone(), kind };
    let call = Deadline::new(context.settings.handler_timeout, "may_request", &requester.user);
    call.run(|| handler.may_request(&request)).await.map_err(HandlerFailed::refused)?.map_err(rule)
}

/// Answers requests of devices.
pub(super) struct Requests<H> {
    pub(super) context: Arc<ServiceContext>,
    pub(super) handler: Arc<H>,
}

impl<H: Handler> Responder for Requests<H> {
    type Request = (Requester, pb::Request);

    const NAME: &'static str = "requests";

    fn limits(&self) -> Limits {
        Limits {
            concurrency: CONCURRENCY,
            batch: 1,
            per_user: PER_USER,
            waiting_per_user: WAITING_PER_USER,
            patience: PATIENCE,
        }
    }

    fn parse(&self, payload: Bytes) -> Vec<Job<(Requester, pb::Request)>> {
        let bytes = payload.len();
        let parsed = pb::UpstreamRequest::decode(payload).ok().and_then(|upstream| {
            let requester = Requester {
                server: ServerId::parse(&upstream.server).ok()?,
                connection: upstream.connection,
                user: UserId::parse(&upstream.user).ok()?,
                device: Device::try_from(upstream.device?).ok()?,
            };
            Some((requester, pb::Request::decode(upstream.request).ok()?))
        });
        if parsed.is_none() {
            throttled!(warn, "a request is not valid and was dropped");
        }
        let job = |(requester, request): (Requester, _)| {
            Job::new(requester.user.clone(), (requester, request), bytes)
        };
        parsed.map(job).into_iter().collect()
    }

    async fn handle(self: Arc<Self>, requests: Vec<(Requester, pb::Request)>) {
        for (requester, request) in requests {
            self.respond(requester, request).await;
        }
    }

    fn refuse(&self, (requester, request): (Requester, pb::Request)) -> Option<(ServerId, pb::Record)> {
        let reason = "too many requests of the user are waiting".to_owned();
        let refused = refused(RefusalKind::TooMany, reason, RETRY_MS);
        let record = record(&requester, request.number, refusal(request.number, refused));
        Some((requester.server, record))
    }
}

fn record(requester: &Requester, number: u64, frames: Bytes) -> pb::Record {
    let effect = pb::record::Effect::Response(pb::RequestAnswer { number, frames });
    pb::Record { connections: vec![requester.connection], effect: Some(effect), ..pb::Record::default() }
}

impl<H: Handler> Requests<H> {
    async fn respond(&self, requester: Requester, request: pb::Request) {
        let number = request.number;
        let answer = AssertUnwindSafe(self.answer(&requester, request)).catch_unwind().await;
        let answer = answer.unwrap_or_else(|_| {
            throttled!(error, user = %requester.user, "answering a request panicked");
            Err(refused(RefusalKind::Internal, "the backend failed".to_owned(), RETRY_MS))
        });
        let frames = answer.unwrap_or_else(|refused| refusal(number, refused));
        let record = record(&requester, number, frames);
        self.context.publisher.submit_and_forget(&requester.server, record).await;
    }

    async fn answer(&self, requester: &Requester, request: pb::Request) -> Result<Bytes, pb::Refused> {
        use pb::{request::Question, response::Outcome};
        let (context, number) = (&self.context, request.number);
        match request.question {
            Some(Question::History(asked)) => {
                let history = Some(self.history(requester, &asked).await?);
                Ok(answer(pb::RawResponse { number, history, ..Default::default() }))
            }
            Some(Question::Search(asked)) => {
                let found = Some(self.search(requester, &asked).await?);
                Ok(answer(pb::RawResponse { number, found, ..Default::default() }))
            }
            Some(Question::JoinRoom(join)) => self.join_room(requester, number, join).await,
            Some(Question::LeaveRoom(leave)) => self.leave_room(requester, number, leave).await,
            Some(Question::Watch(watch)) => self.watch(requester, number, watch).await,
            Some(Question::Conversations(asked)) => {
                self.permit(requester, RequestKind::Conversations).await?;
                let conversations = Some(conversations::list(context, &requester.user, &asked).await?);
                Ok(answer(pb::RawResponse { number, conversations, ..Default::default() }))
            }
            Some(Question::Mark(asked)) => {
                let marked = conversations::mark(context, &*self.handler, requester, asked).await?;
                Ok(response(number, Outcome::Marked(marked)))
            }
            Some(Question::Readers(asked)) => {
                let readers = conversations::readers(context, &*self.handler, requester, &asked).await?;
                Ok(response(number, Outcome::Readers(readers)))
            }
            None => {
                let reason = "the question is missing or of a kind that this backend does not know";
                Err(refused(RefusalKind::Invalid, reason.to_owned(), 0))
            }
        }
    }

    pub(super) async fn permit(&self, requester: &Requester, kind: RequestKind) -> Result<(), pb::Refused> {
        permit(&self.context, &*self.handler, requester, kind).await
    }

    async fn history(
        &self,
        requester: &Requester,
        asked: &pb::HistoryRequest,
    ) -> Result<pb::RawHistory, pb::Refused> {
        let user = &requester.user;
        let invalid = |reason: String| refused(RefusalKind::Invalid, reason, 0);
        let conversation = parse::conversation(asked).map_err(invalid)?;
        self.check_reading(user, Some(&conversation)).await?;
        let query = parse::query(asked).map_err(invalid)?;
        self.permit(requester, RequestKind::History(conversation.clone())).await?;
        // Limited to the size of a frame.
        let limit = ReadLimit::new(parse::limit(asked.limit)).with_bytes(MAX_FRAME_BYTES);
        let page = match asked.messages {
            true => self.context.history.messages_of(user, &conversation, &query, limit).await,
            false => {
                self.context
                    .history
                    .read_conversation(user, &conversation, &query, limit, Shows::Entries)
                    .await
            }
        };
        match page {
            Ok(page) => Ok(fit(page, &conversation, parse::is_forward(asked), FRAME_OVERHEAD)),
            Err(error @ HistoryError::NoSuchMessage(_)) => Err(invalid(error.to_string())),
            Err(error) => {
                throttled!(warn, %user, %error, "history could not be read");
                let reason = "the history could not be read".to_owned();
                Err(refused(RefusalKind::Unavailable, reason, RETRY_MS))
            }
        }
    }

    async fn search(
        &self,
        requester: &Requester,
        asked: &pb::SearchRequest,
    ) -> Result<pb::RawFound, pb::Refused> {
        let user = &requester.user;
        let invalid = |reason: String| refused(RefusalKind::Invalid, reason, 0);
        let search = parse::search(asked).map_err(invalid)?;
        self.check_reading(user, search.conversation.as_ref()).await?;
        self.permit(requester, RequestKind::Search(search.clone())).await?;
        match self.context.search.search_in_turn(user, &search, parse::limit(asked.limit)).await {
            Ok(found) => Ok(fit_found(found)),
            Err(error @ (SearchError::Invalid(_) | SearchError::TooManyChannels)) => {
                Err(invalid(error.to_string()))
            }
            // A retry does not help the device: the backend needs a message store.
            Err(error @ SearchError::NoMessageStore) => {
                ADVISED.call_once(|| tracing::warn!(%error, "a device wants to search"));
                Err(refused(RefusalKind::Unavailable, "search is not available".to_owned(), 0))
            }
            Err(error @ SearchError::Busy) => Err(refused(RefusalKind::TooMany, error.to_string(), RETRY_MS)),
            Err(error) => {
                throttled!(warn, %user, %error, "messages could not be searched");
                let reason = "the messages could not be searched".to_owned();
                Err(refused(RefusalKind::Unavailable, reason, RETRY_MS))
            }
        }
    }

    async fn check_reading(
        &self,
        user: &UserId,
        conversation: Option<&Conversation>,
    ) -> Result<(), pb::Refused> {
        match conversation {
            Some(Conversation::Channel(channel)) => check_member(&self.context.cluster, user, channel).await,
            _ => Ok(()),
        }
    }
}
