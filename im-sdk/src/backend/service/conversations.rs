//! Requests of devices about their conversations.

use prost::Message as _;

use super::{
    Handler,
    call::Deadline,
    context::ServiceContext,
    reach::{Reach, ReachKind, may_show},
    request::{RequestKind, permit},
    requester::{Requester, check_member},
    response::{ENTRY_OVERHEAD, FRAME_OVERHEAD, RETRY_MS, own_rule, push, refused},
};
use crate::{
    ConversationChange, ConversationState, Recipient,
    backend::conversations::{
        ConversationError, MAX_CONVERSATION_PAGE, MAX_NAMED_READERS, Marked, PeerReceipt, RawConversation,
        RawList, Which,
    },
    cluster::{MAX_MARKED_SEQ, ReadLimit},
    conversation::{message::last_recall, recipient},
    id::{ChannelId, MessageId, UserId},
    log_throttle::throttled,
    proto::{
        limits::{MAX_FRAME_BYTES, MAX_MARKS, MAX_READERS, USUAL_PAGE},
        pb,
        pb::RefusalKind,
    },
    refusal_code::NOT_A_MEMBER,
};

/// Responds with the list, or with the states that changed after a version.
pub(super) async fn list(
    context: &ServiceContext,
    user: &UserId,
    asked: &pb::ConversationsRequest,
) -> Result<pb::RawConversations, pb::Refused> {
    let limit = limit(asked.limit, MAX_CONVERSATION_PAGE);
    if let Some(since) = asked.since {
        let page = context.cluster.conversations().changed_since(user, since, limit).await;
        let page = page.map_err(|error| failed(user, &error.into()))?;
        let version = page.version;
        let conversations = page.states.into_iter().map(set).collect();
        let all = pb::RawConversations { version, conversations, more: page.more, ..Default::default() };
        return Ok(fit(all));
    }
    let skip = usize::try_from(asked.skip).unwrap_or(usize::MAX);
    // Limited to the size of a frame.
    let limit = ReadLimit::new(limit).with_bytes(MAX_FRAME_BYTES);
    let list = context
        .conversations
        .lists
        .read(user, Which::All, skip, limit)
        .await
        .map_err(|error| failed(user, &error))?;
    let RawList { conversations, more, unread, version, inbox_end } = list;
    let (unread, unread_more) = (unread.count, unread.more);
    let conversations = conversations.into_iter().map(listed).collect();
    Ok(fit(pb::RawConversations { version, conversations, more, unread, unread_more, inbox_end }))
}

/// Cuts a list to a frame.
fn fit(mut all: pb::RawConversations) -> pb::RawConversations {
    let mut bytes = FRAME_OVERHEAD;
    let fits = |conversation: &&pb::RawConversation| {
        bytes += conversation.encoded_len() + ENTRY_OVERHEAD;
        bytes <= MAX_FRAME_BYTES
    };
    let count = all.conversations.iter().take_while(fits).count();
    all.more |= count < all.conversations.len();
    all.conversations.truncate(count);
    all
}

fn set(state: ConversationState) -> pb::RawConversation {
    pb::RawConversation { state: Some(state.into()), ..Default::default() }
}

fn listed(listed: RawConversation) -> pb::RawConversation {
    let RawConversation { state, last, last_edit, last_recalled, unread, end, .. } = listed;
    let channel = state.conversation.as_channel().map(ToString::to_string).unwrap_or_default();
    let mut listed = pb::RawConversation {
        state: Some(state.into()),
        last: last.map(|last| push(last, &channel)),
        end,
        unread: unread.count(),
        unread_more: unread.more,
        unread_seqs: unread.seqs(),
        mention_seqs: unread.mentions(),
        mentions: unread.mentioned(),
        unread_ids: unread.ids().into_iter().map(MessageId::as_u64).collect(),
        last_edit: last_edit.map_or(0, |edit| edit.change.as_u64()),
        last_recall: last_recalled.map(last_recall),
    };
    // The rest of the frame may leave no room for its content.
    if FRAME_OVERHEAD + ENTRY_OVERHEAD + listed.encoded_len() > MAX_FRAME_BYTES
        && let Some(last) = &mut listed.last
    {
        let message = pb::Message::decode(last.message.clone()).unwrap_or_default();
        last.message = pb::Message { content: None, ..message }.encode_to_vec().into();
    }
    listed
}

/// Changes states for a device. Skips channels that the user is not a member of, and conversations
/// beyond the limit, unless there are no others.
pub(super) async fn mark<H: Handler>(
    context: &ServiceContext,
    handler: &H,
    requester: &Requester,
    asked: pb::MarkRequest,
) -> Result<pb::Marked, pb::Refused> {
    let marks = parse(asked).map_err(|reason| refused(RefusalKind::Invalid, reason, 0))?;
    // All are checked before any is changed.
    for mark in &marks {
        let kind = RequestKind::Mark(mark.conversation.clone(), mark.change.clone());
        permit(context, handler, requester, kind).await?;
    }
    let (mut states, mut changed, mut not_set) = (Vec::new(), Vec::new(), None);
    for Asked { conversation, change, known, age_ms } in marks {
        let made = context.conversations.marks.made(Some(&requester.device), known, age_ms);
        match context.conversations.marks.change(&requester.user, &conversation, change, made).await {
            Ok((outcome, receipt)) => {
                if let Some(receipt) = receipt {
                    show_peer(context, handler, requester, receipt).await?;
                }
                states.push(outcome.state.clone().into());
                if outcome.changed {
                    changed.push(outcome);
                }
            }
            Err(error @ ConversationError::NotAMember) => not_set = Some(error),
            Err(error) if is_too_many(&error) => not_set = Some(error),
            Err(error) => return Err(failed(&requester.user, &error)),
        }
    }
    let news = changed.iter().map(|outcome| outcome.state.clone()).collect();
    context.conversations.pusher.tell_changes(&requester.user, Some(&requester.device), news).await;
    for outcome in changed {
        let (user, device) = (requester.user.clone(), Some(requester.device.clone()));
        let marked = Marked { user, device, state: outcome.state, read_before: outcome.read_before };
        let call = Deadline::new(context.settings.handler_timeout, "marked", &requester.user);
        // The mark is set, whatever the handler returns. A failure is in the log.
        let _ = call.run(|| handler.marked(marked)).await;
    }
    match not_set {
        Some(error) if states.is_empty() => Err(failed(&requester.user, &error)),
        _ => Ok(pb::Marked { states }),
    }
}

/// Shows the other user of a conversation how far it was read, if the requester may show it.
async fn show_peer<H: Handler>(
    context: &ServiceContext,
    handler: &H,
    requester: &Requester,
    receipt: PeerReceipt,
) -> Result<(), pb::Refused> {
    let (from, device) = (requester.user.clone(), requester.device.clone());
    let reach = Reach { from, device, to: receipt.peer.clone(), what: ReachKind::Receipt };
    if may_show(context, handler, &reach, receipt.is_of_peer).await {
        context
            .conversations
            .marks
            .show_peer(&requester.user, receipt)
            .await
            .map_err(|error| failed(&requester.user, &error))?;
    }
    Ok(())
}

/// A device's change of one conversation.
struct Asked {
    conversation: Recipient,
    change: ConversationChange,
    /// The version up to which the device knew all changes.
    known: u64,
    /// The age of the change.
    age_ms: u64,
}

/// Parses the changes, or returns the reason why they are not valid.
fn parse(asked: pb::MarkRequest) -> Result<Vec<Asked>, String> {
    if asked.marks.is_empty() || asked.marks.len() > MAX_MARKS {
        return Err(format!(
            "a request takes 1 to {MAX_MARKS} marks, and this one has {}",
            asked.marks.len()
        ));
    }
    let parse = |mark: pb::Mark| {
        let conversation = recipient(&mark.user, &mark.channel).map_err(|error| error.to_string())?;
        let seqs = [mark.read, mark.hidden.unwrap_or(0), mark.deleted];
        if seqs.iter().any(|seq| *seq > MAX_MARKED_SEQ) {
            return Err("no log has an entry as far as that".to_owned());
        }
        let (known, age_ms) = (mark.known, mark.age_ms.unwrap_or(0));
        Ok(Asked { conversation, change: ConversationChange::from(mark), known, age_ms })
    };
    asked.marks.into_iter().map(parse).collect()
}

/// Tells a member who has read a message.
pub(super) async fn readers<H: Handler>(
    context: &ServiceContext,
    handler: &H,
    requester: &Requester,
    asked: &pb::ReadersRequest,
) -> Result<pb::Readers, pb::Refused> {
    let channel = ChannelId::parse(&asked.channel)
        .map_err(|error| refused(RefusalKind::Invalid, error.to_string(), 0))?;
    let user = &requester.user;
    check_member(&context.cluster, user, &channel).await?;
    permit(context, handler, requester, RequestKind::Readers(channel.clone(), asked.seq)).await?;
    let limit = limit(asked.limit, MAX_READERS.min(MAX_NAMED_READERS));
    let readers = context.conversations.readers.readers(&channel, asked.seq, limit).await;
    let readers = readers.map_err(|error| failed(user, &error.into()))?;
    let users = readers.users.iter().map(ToString::to_string).collect();
    Ok(pb::Readers { count: readers.count, users })
}

fn is_too_many(error: &ConversationError) -> bool {
    matches!(error, ConversationError::Store(error) if error.is_too_many())
}

fn limit(asked: u32, most: usize) -> usize {
    match usize::try_from(asked) {
        Ok(0) => USUAL_PAGE.min(most),
        Ok(asked) => asked.min(most),
        Err(_) => most,
    }
}

fn failed(user: &UserId, error: &ConversationError) -> pb::Refused {
    match error {
        ConversationError::DraftTooLong { .. } => refused(RefusalKind::Invalid, error.to_string(), 0),
        ConversationError::NotAMember => own_rule(NOT_A_MEMBER, error.to_string()),
        error if is_too_many(error) => refused(RefusalKind::Invalid, error.to_string(), 0),
        _ => {
            throttled!(warn, %user, %error, "cannot read or change conversations");
            let reason = "the conversations could not be read or changed".to_owned();
            refused(RefusalKind::Unavailable, reason, RETRY_MS)
        }
    }
}
