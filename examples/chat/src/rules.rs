//! The rules for devices: who may reach whom, and what may be said where.
//!
//! The SDK asks them for messages, edits, reactions, pins, signals, read marks, presence and rooms alike, whatever client a device
//! runs: the page refuses nothing that is not refused here too.

use std::sync::Arc;

use im_sdk::{
    Recipient, Signal,
    backend::{
        Acceptance, ChangeRights, Handler, Incoming, IncomingChange, IncomingSignal, Reach, ReachKind,
        ReachRights, Refusal as SdkRefusal, Relay, RoomJoin, RoomWelcome,
    },
    content::ChangeKind,
    id::{ChannelId, UserId},
};

use crate::{
    app::{App, SYSTEM_USER},
    database::now_ms,
    files::grants,
    groups::permissions::{Action, Role},
    people,
    refusal::{Refusal, Result},
};

/// The messages of a room's log that come with joining it.
const RECENT: usize = 50;

#[derive(Debug)]
pub(crate) struct Rules(pub(crate) Arc<App>);

impl Handler for Rules {
    async fn publish(&self, incoming: Incoming) -> Result<Acceptance, SdkRefusal> {
        self.check(&incoming).await?;
        Ok(incoming.accept())
    }

    async fn may_reach(&self, reach: &Reach) -> Result<ReachRights, SdkRefusal> {
        let (from, to) = (reach.from.as_str(), reach.to.as_str());
        match reach.what {
            // What was said can be taken back, also from somebody who is no friend any more.
            ReachKind::Change => return Ok(ReachRights::Granted),
            ReachKind::Receipt if to == SYSTEM_USER => return Ok(ReachRights::Granted),
            _ if to == SYSTEM_USER => return Err(Refusal::NoMessagesToSystem.into()),
            // Notes to oneself.
            _ if from == to => return Ok(ReachRights::Granted),
            _ => {}
        }
        match people::are_friends(&self.0, from, to).await? {
            true => Ok(ReachRights::Granted),
            false => Err(Refusal::NotFriends.into()),
        }
    }

    async fn change(&self, change: &IncomingChange) -> Result<ChangeRights, SdkRefusal> {
        let recalls = matches!(change.change.kind, ChangeKind::Recall);
        if recalls && self.0.is_permitted(change.from.as_str(), "messages.recall").await? {
            self.0
                .audit(change.from.as_str(), "message.recall", &change.message.message_id.to_string(), "")
                .await?;
            return Ok(ChangeRights::Granted);
        }
        let Recipient::Channel(group) = &change.to else { return Ok(ChangeRights::ByPolicy) };
        let Some(member) = self.member(group, &change.from).await? else { return Ok(ChangeRights::ByPolicy) };
        match change.change.kind {
            ChangeKind::Recall if member.role.may(Action::RecallAny) => Ok(ChangeRights::Granted),
            ChangeKind::Pin { .. } => Ok(member.role.check(Action::Pin).map(|()| ChangeRights::ByPolicy)?),
            _ => Ok(ChangeRights::ByPolicy),
        }
    }

    async fn join_room(&self, join: RoomJoin) -> Result<RoomWelcome, SdkRefusal> {
        match self.is_room(&join.channel).await? {
            true => Ok(RoomWelcome::new().with_recent(RECENT)),
            false => Err(Refusal::NotFound.into()),
        }
    }

    /// A call that is answered stops ringing on the other devices of whoever answers.
    async fn signal(&self, signal: IncomingSignal) -> Option<Relay> {
        let is_call = matches!(signal.signal, Signal::Call { .. });
        let relay = signal.relay();
        Some(if is_call { relay.also_own_devices() } else { relay })
    }

    /// Friends see when friends come and go; `may_reach` says who they are.
    async fn may_watch(&self, _: UserId, users: Vec<UserId>) -> Vec<UserId> {
        users
    }
}

/// What the rules ask of a member.
struct Member {
    role: Role,
    muted_until_at: Option<i64>,
    all_muted: bool,
}

impl Rules {
    /// Checks a message, or an edit, a reaction or a pin.
    async fn check(&self, incoming: &Incoming) -> Result<()> {
        if let Recipient::Channel(channel) = &incoming.to {
            if incoming.in_room {
                // Whoever is in a room sees what comes; files are for people who are known.
                return match incoming.content.media().is_empty() {
                    true => Ok(()),
                    false => Err(Refusal::ForeignMedia.into()),
                };
            }
            self.check_member(channel, incoming).await?;
        }
        grants::grant(&self.0, &incoming.from, &incoming.to, &incoming.content).await
    }

    async fn check_member(&self, group: &ChannelId, incoming: &Incoming) -> Result<()> {
        let member = self.member(group, &incoming.from).await?.ok_or(Refusal::NotMember)?;
        if member.all_muted && member.role == Role::Member {
            return Err(Refusal::AllMuted.into());
        }
        if member.muted_until_at.is_some_and(|until| until > now_ms()) {
            return Err(Refusal::Muted.into());
        }
        let mentions_all = incoming.content.mentions.everybody
            || incoming.content.as_change().is_some_and(
                |change| matches!(&change.kind, ChangeKind::Edit(content) if content.mentions.everybody),
            );
        if mentions_all && !member.role.may(Action::MentionAll) {
            return Err(Refusal::NotToEverybody.into());
        }
        Ok(())
    }

    async fn member(&self, group: &ChannelId, user: &UserId) -> Result<Option<Member>> {
        let select = "SELECT role, muted_until_at, all_muted FROM group_members JOIN chat_groups ON id = group_id \
             WHERE group_id = $1 AND user_id = $2 AND is_dissolved = 0";
        let row: Option<(String, Option<i64>, i64)> = sqlx::query_as(select)
            .bind(group.as_str())
            .bind(user.as_str())
            .fetch_optional(self.0.database.pool())
            .await?;
        Ok(row.and_then(|(role, muted_until_at, all_muted)| {
            Some(Member { role: Role::parse(&role)?, muted_until_at, all_muted: all_muted != 0 })
        }))
    }

    async fn is_room(&self, room: &ChannelId) -> Result<bool> {
        let select = sqlx::query("SELECT 1 FROM rooms WHERE id = $1").bind(room.as_str());
        Ok(select.fetch_optional(self.0.database.pool()).await?.is_some())
    }
}
