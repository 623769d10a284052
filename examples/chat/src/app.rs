//! What all requests share.

use std::{path::PathBuf, sync::Arc};

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::{Method, header::AUTHORIZATION, request::Parts},
};
use im_sdk::{
    backend::{Durability, Im, Message, users},
    content::{Content, Notice},
    id::{ChannelId, UserId},
    token::TokenMinter,
};
use serde_json::json;

use crate::{
    database::{Database, now_ms},
    files::FileStore,
    identity::session::{self, SessionId},
    refusal::{Failure, Refusal, Result},
};

/// The user in whose name the application speaks.
pub(crate) const SYSTEM_USER: &str = "workspace";

/// The application: its tables, its files, and the SDK.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) database: Database,
    pub(crate) files: FileStore,
    pub(crate) im: Im,
    pub(crate) minter: TokenMinter,
    pub(crate) outbox: crate::outbox::Outbox,
    pub(crate) options: Options,
}

/// How the application was started.
#[derive(Debug)]
pub(crate) struct Options {
    /// Whether people may sign in as demo users.
    pub(crate) demo: bool,
    /// Whether the page is served over TLS, so that cookies must be.
    pub(crate) secure: bool,
    /// For how long a refresh token that was replaced still counts.
    pub(crate) refresh_grace_ms: i64,
    /// Where devices connect, if it is not where the servers say.
    pub(crate) endpoints: Vec<String>,
    /// Files of the web client that replace the built-in ones.
    pub(crate) assets: Option<PathBuf>,
}

pub(crate) type SharedApp = Arc<App>;

impl App {
    /// Tells the devices of these users that something of theirs has changed. What is lost is seen at the next look.
    pub(crate) async fn changed<'a>(
        &self,
        who: impl IntoIterator<Item = &'a str>,
        what: &str,
        id: Option<&str>,
    ) {
        let who: Vec<UserId> = who.into_iter().filter_map(|user| user.parse().ok()).collect();
        if who.is_empty() {
            return;
        }
        let data = json!({ "what": what, "id": id }).to_string();
        let message = Message::to(users(&who))
            .content(Content::custom("chat.changed", data).silent())
            .durability(Durability::Transient);
        if let Err(error) = self.im.send(message).await {
            tracing::warn!(%error, what, "devices not told of a change");
        }
    }

    /// Writes a notice into a group's log: once, however often it is repeated with this key.
    pub(crate) async fn notice(&self, group: &ChannelId, notice: Notice, key: &str) -> Result<()> {
        let message = Message::new().content(Content::from(notice).silent()).idempotency_key(key);
        self.im.channel(group).send(message).await?;
        Ok(())
    }

    /// Adds to the audit log.
    pub(crate) async fn audit(&self, actor: &str, action: &str, target: &str, detail: &str) -> Result<()> {
        sqlx::query(
            "INSERT INTO audit (id, at, actor, action, target, detail) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(crate::database::new_id("a"))
        .bind(now_ms())
        .bind(actor)
        .bind(action)
        .bind(target)
        .bind(detail)
        .execute(self.database.pool())
        .await?;
        Ok(())
    }

    /// Refuses a user who has no role with this permission.
    pub(crate) async fn require(&self, user: &str, permission: &str) -> Result<()> {
        match self.is_permitted(user, permission).await? {
            true => Ok(()),
            false => Err(Refusal::NotPermitted.into()),
        }
    }

    pub(crate) async fn is_permitted(&self, user: &str, permission: &str) -> Result<bool> {
        let select = "SELECT 1 FROM user_roles JOIN role_permissions USING (role) WHERE user_id = $1 AND permission = $2";
        let found =
            sqlx::query(select).bind(user).bind(permission).fetch_optional(self.database.pool()).await?;
        Ok(found.is_some())
    }
}

/// The signed-in user who makes a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) id: UserId,
    pub(crate) session: SessionId,
}

impl Caller {
    pub(crate) fn as_str(&self) -> &str {
        self.id.as_str()
    }
}

impl FromRequestParts<SharedApp> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self> {
        check_origin(parts)?;
        let header = parts.headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok());
        let token = header.and_then(|header| header.strip_prefix("Bearer ")).ok_or(Refusal::SignedOut)?;
        session::authenticate(app, token).await
    }
}

/// Links, which people open before they sign in.
impl OptionalFromRequestParts<SharedApp> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Option<Self>> {
        match parts.headers.contains_key(AUTHORIZATION) {
            true => <Self as FromRequestParts<SharedApp>>::from_request_parts(parts, app).await.map(Some),
            false => Ok(None),
        }
    }
}

/// A request that was made by the page itself. Other sites cannot set a header without the browser's permission, which is not
/// given (OWASP, Cross-Site Request Forgery Prevention: custom request headers).
#[derive(Debug)]
pub(crate) struct FromPage;

impl FromRequestParts<SharedApp> for FromPage {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &SharedApp) -> Result<Self> {
        check_origin(parts).map(|()| Self)
    }
}

fn check_origin(parts: &Parts) -> Result<()> {
    let changes = !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    match changes && !parts.headers.contains_key("x-chat") {
        true => Err(Refusal::Forged.into()),
        false => Ok(()),
    }
}
