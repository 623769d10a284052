//! Effects of a transaction in the SDK: written in the transaction, carried out after its commit.
//!
//! A change of members and the notice of it happen both or not at all, whatever becomes of the process in between. One backend
//! at a time carries effects out, in their order; an effect that fails is tried again, and each has its effect once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use im_sdk::{content::Notice, id::ChannelId};
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use tokio::sync::Notify;

use crate::{
    app::App,
    database::{new_id, now_ms},
    groups,
    refusal::Result,
};

/// How often the backend looks for effects of other backends.
const POLL: Duration = Duration::from_millis(100);
const LEASE_MS: i64 = 10_000;

/// Something to do in the SDK.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Effect {
    /// Tells the SDK that the members of a group have changed.
    Members { group: String, added: Vec<String>, removed: Vec<String> },
    /// Writes a notice into a group.
    Notice { group: String, kind: String, text: String, parameters: BTreeMap<String, String> },
    /// Ends a group, and deletes its rows.
    Dissolve { group: String },
    /// Tells devices to look again.
    Changed { users: Vec<String>, what: String, id: Option<String> },
}

impl Effect {
    /// A notice. Its text is for devices that do not know its kind.
    pub(crate) fn notice<'a>(
        group: &str,
        kind: &str,
        text: impl Into<String>,
        parameters: impl IntoIterator<Item = (&'a str, String)>,
    ) -> Self {
        let parameters = parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self::Notice { group: group.to_owned(), kind: kind.to_owned(), text: text.into(), parameters }
    }
}

/// The effects that wait.
#[derive(Debug)]
pub(crate) struct Outbox {
    last: AtomicI64,
    added: Notify,
    holder: String,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self { last: AtomicI64::new(0), added: Notify::new(), holder: new_id("b") }
    }

    /// Adds effects to a transaction. Call [`wake`](Self::wake) after its commit.
    pub(crate) async fn add(
        &self,
        connection: &mut AnyConnection,
        effects: impl IntoIterator<Item = Effect>,
    ) -> Result<()> {
        for effect in effects {
            sqlx::query("INSERT INTO outbox (id, effect, created_at) VALUES ($1, $2, $3)")
                .bind(self.next_id())
                .bind(serde_json::to_string(&effect)?)
                .bind(now_ms())
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }

    /// Has the effects carried out now.
    pub(crate) fn wake(&self) {
        self.added.notify_one();
    }

    /// Ids ascend within a process. Those of several processes are apart by their low bits.
    fn next_id(&self) -> i64 {
        let now = (now_ms() << 20) | i64::from(rand::random::<u16>());
        let next = |last: i64| Some(now.max(last + 1));
        match self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) {
            Ok(last) | Err(last) => now.max(last + 1),
        }
    }
}

/// Carries out effects until the task is dropped.
pub(crate) async fn run(app: Arc<App>) {
    loop {
        if let Err(error) = relay(&app).await {
            tracing::warn!(refusal = ?error.refusal, "effects of the outbox not carried out, trying again");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        _ = tokio::time::timeout(POLL, app.outbox.added.notified()).await;
    }
}

/// Carries out what waits now, and returns when it is done.
pub(crate) async fn drain(app: &App) -> Result<()> {
    relay(app).await
}

/// Carries out everything that waits, if no other backend does.
async fn relay(app: &App) -> Result<()> {
    loop {
        let waiting: Vec<(i64, String)> =
            sqlx::query_as("SELECT id, effect FROM outbox ORDER BY id LIMIT 100")
                .fetch_all(app.database.pool())
                .await?;
        if waiting.is_empty() || !take_lease(app).await? {
            return Ok(());
        }
        for (id, effect) in waiting {
            match serde_json::from_str(&effect) {
                Ok(effect) => carry_out(app, id, effect).await?,
                Err(error) => tracing::error!(%error, id, "effect of the outbox not understood, left out"),
            }
            sqlx::query("DELETE FROM outbox WHERE id = $1").bind(id).execute(app.database.pool()).await?;
        }
    }
}

async fn take_lease(app: &App) -> Result<bool> {
    let now = now_ms();
    let take = "INSERT INTO outbox_lease (name, holder, ends_at) VALUES ('relay', $1, $2) \
         ON CONFLICT (name) DO UPDATE SET holder = $1, ends_at = $2 \
         WHERE outbox_lease.holder = $1 OR outbox_lease.ends_at < $3";
    let taken = sqlx::query(take).bind(&app.outbox.holder).bind(now + LEASE_MS).bind(now);
    Ok(taken.execute(app.database.pool()).await?.rows_affected() == 1)
}

async fn carry_out(app: &App, id: i64, effect: Effect) -> Result<()> {
    match effect {
        Effect::Members { group, added, removed } => {
            let added: Vec<&str> = added.iter().map(String::as_str).collect();
            let removed: Vec<&str> = removed.iter().map(String::as_str).collect();
            app.im.channel(group.as_str()).members_changed(added, removed).await?;
        }
        Effect::Notice { group, kind, text, parameters } => {
            let notice = Notice::new(kind, text);
            let notice =
                parameters.into_iter().fold(notice, |notice, (name, value)| notice.parameter(name, value));
            app.notice(&ChannelId::parse(&group)?, notice, &format!("outbox-{id}")).await?;
        }
        Effect::Dissolve { group } => {
            app.im.channel(group.as_str()).dissolve().await?;
            groups::delete_rows(app, &group).await?;
        }
        Effect::Changed { users, what, id } => {
            app.changed(users.iter().map(String::as_str), &what, id.as_deref()).await;
        }
    }
    Ok(())
}
