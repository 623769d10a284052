//! Sessions: one for each sign-in, with a short access token and a refresh token that is replaced at each use.
//!
//! The page keeps the access token in memory. The refresh token is in a cookie that scripts cannot read and other sites cannot
//! send. A refresh token that was used before ends its session (RFC 9700, 4.14.2), except in the seconds after its replacement: a
//! browser that was closed at the wrong moment has the old one.

use axum::http::{HeaderMap, HeaderValue, header::COOKIE};
use ring::digest;
use serde::Serialize;
use sqlx::FromRow;
use utoipa::ToSchema;

use super::account::Me;
use crate::{
    app::{App, Caller},
    database::{new_id, now_ms},
    refusal::{Refusal, Result},
};

pub(crate) type SessionId = String;

const ACCESS_MS: i64 = 10 * 60 * 1000;
const REFRESH_MS: i64 = 30 * 24 * 3600 * 1000;
/// How often the time of the last use is written.
const LAST_USE_MS: i64 = 60_000;

const COOKIE_NAME: &str = "chat_refresh";

/// What a sign-in and a refresh answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    pub(crate) access_token: String,
    pub(crate) expires_in_ms: i64,
    /// The id of the session.
    #[schema(value_type = String)]
    pub(crate) session: SessionId,
    pub(crate) me: Me,
}

/// A session with the refresh token that goes into the cookie; `None`: the one in the cookie stays.
pub(crate) struct Begun {
    pub(crate) session: Session,
    pub(crate) refresh_token: Option<String>,
}

/// Signs a user in: begins a session under a new id, whatever the browser had before.
pub(crate) async fn begin(app: &App, user: &str, device_name: &str) -> Result<Begun> {
    let (id, access, refresh, now) = (new_id("s"), token(), token(), now_ms());
    let insert = "INSERT INTO sessions (id, user_id, device_name, access_hash, access_ends_at, refresh_hash, rotated_at, \
         created_at, last_used_at, ends_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $7, $8)";
    sqlx::query(insert)
        .bind(&id)
        .bind(user)
        .bind(device_name.chars().take(100).collect::<String>())
        .bind(hash(&access))
        .bind(now + ACCESS_MS)
        .bind(hash(&refresh))
        .bind(now)
        .bind(now + REFRESH_MS)
        .execute(app.database.pool())
        .await?;
    app.audit(user, "session.begin", &id, device_name).await?;
    let me = Me::read(app, user).await?;
    let session = Session { access_token: access, expires_in_ms: ACCESS_MS, session: id, me };
    Ok(Begun { session, refresh_token: Some(refresh) })
}

/// Returns whose access token this is.
pub(crate) async fn authenticate(app: &App, access_token: &str) -> Result<Caller> {
    let select =
        "SELECT id, user_id, last_used_at FROM sessions WHERE access_hash = $1 AND access_ends_at > $2";
    let now = now_ms();
    let found: Option<(String, String, i64)> =
        sqlx::query_as(select).bind(hash(access_token)).bind(now).fetch_optional(app.database.pool()).await?;
    let (session, user, last_used_at) = found.ok_or(Refusal::SignedOut)?;
    if now - last_used_at > LAST_USE_MS {
        let update = "UPDATE sessions SET last_used_at = $1 WHERE id = $2";
        sqlx::query(update).bind(now).bind(&session).execute(app.database.pool()).await?;
    }
    Ok(Caller { id: user.parse()?, session })
}

/// Gives a new access token for a refresh token, and replaces that.
pub(crate) async fn refresh(app: &App, refresh_token: &str) -> Result<Begun> {
    let (used, access, next, now) = (hash(refresh_token), token(), token(), now_ms());
    let mut transaction = app.database.begin().await?;
    let select = "SELECT id, user_id FROM sessions WHERE refresh_hash = $1 AND ends_at > $2";
    let select = format!("{select}{}", app.database.for_update());
    let found: Option<(String, String)> = sqlx::query_as(sqlx::AssertSqlSafe(select))
        .bind(&used)
        .bind(now)
        .fetch_optional(&mut *transaction)
        .await?;
    let Some((session, user)) = found else {
        transaction.rollback().await?;
        return reused(app, &used, access).await;
    };
    let update = "UPDATE sessions SET access_hash = $1, access_ends_at = $2, refresh_hash = $3, rotated_at = $4, \
         last_used_at = $4, ends_at = $5 WHERE id = $6";
    sqlx::query(update)
        .bind(hash(&access))
        .bind(now + ACCESS_MS)
        .bind(hash(&next))
        .bind(now)
        .bind(now + REFRESH_MS)
        .bind(&session)
        .execute(&mut *transaction)
        .await?;
    sqlx::query("INSERT INTO used_refresh_tokens (hash, session, used_at) VALUES ($1, $2, $3)")
        .bind(&used)
        .bind(&session)
        .bind(now)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    let me = Me::read(app, &user).await?;
    let session = Session { access_token: access, expires_in_ms: ACCESS_MS, session, me };
    Ok(Begun { session, refresh_token: Some(next) })
}

/// Answers a refresh token that was replaced: a moment ago it still counts, later it was stolen by somebody.
async fn reused(app: &App, used: &str, access: String) -> Result<Begun> {
    let select = "SELECT sessions.id, user_id, used_at FROM used_refresh_tokens \
         JOIN sessions ON sessions.id = session WHERE hash = $1";
    let found: Option<(String, String, i64)> =
        sqlx::query_as(select).bind(used).fetch_optional(app.database.pool()).await?;
    let (session, user, used_at) = found.ok_or(Refusal::SignedOut)?;
    let now = now_ms();
    if now - used_at >= app.options.refresh_grace_ms {
        app.audit(&user, "session.token_reused", &session, "ended").await?;
        end(app, &user, &session, "signed out: a sign-in was used twice").await?;
        return Err(Refusal::SignedOut.into());
    }
    let update = "UPDATE sessions SET access_hash = $1, access_ends_at = $2 WHERE id = $3";
    sqlx::query(update)
        .bind(hash(&access))
        .bind(now + ACCESS_MS)
        .bind(&session)
        .execute(app.database.pool())
        .await?;
    let me = Me::read(app, &user).await?;
    Ok(Begun {
        session: Session { access_token: access, expires_in_ms: ACCESS_MS, session, me },
        refresh_token: None,
    })
}

/// A session, as its user sees it in a list.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(crate) struct ListedSession {
    pub(crate) id: String,
    pub(crate) device_name: String,
    /// The device in the SDK, once it has connected.
    #[sqlx(rename = "im_device")]
    pub(crate) device: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) last_used_at: i64,
    #[sqlx(skip)]
    pub(crate) is_current: bool,
}

pub(crate) async fn list(app: &App, caller: &Caller) -> Result<Vec<ListedSession>> {
    let select = "SELECT id, device_name, im_device, created_at, last_used_at FROM sessions \
         WHERE user_id = $1 AND ends_at > $2 ORDER BY last_used_at DESC, id";
    let mut sessions: Vec<ListedSession> =
        sqlx::query_as(select).bind(caller.as_str()).bind(now_ms()).fetch_all(app.database.pool()).await?;
    for session in &mut sessions {
        session.is_current = session.id == caller.session;
    }
    Ok(sessions)
}

/// Ends a session of a user, and closes the sockets of its device. Returns `false` if there is none.
pub(crate) async fn end(app: &App, user: &str, session: &str, reason: &str) -> Result<bool> {
    let device: Option<(Option<String>,)> =
        sqlx::query_as("DELETE FROM sessions WHERE id = $1 AND user_id = $2 RETURNING im_device")
            .bind(session)
            .bind(user)
            .fetch_optional(app.database.pool())
            .await?;
    let Some((device,)) = device else { return Ok(false) };
    sqlx::query("DELETE FROM used_refresh_tokens WHERE session = $1")
        .bind(session)
        .execute(app.database.pool())
        .await?;
    app.audit(user, "session.end", session, reason).await?;
    // A device that is not known by its id yet is closed with the others, which come back by themselves.
    let device = device.and_then(|device| device.parse().ok());
    app.im.kick(user, device.as_ref(), reason).await?;
    Ok(true)
}

/// Ends all sessions of a user but the named one, and closes the sockets of their devices.
pub(crate) async fn end_all(app: &App, user: &str, but: Option<&str>, reason: &str) -> Result<()> {
    let others = "SELECT id FROM sessions WHERE user_id = $1 AND id <> $2";
    let others: Vec<(String,)> = sqlx::query_as(others)
        .bind(user)
        .bind(but.unwrap_or_default())
        .fetch_all(app.database.pool())
        .await?;
    for (session,) in others {
        end(app, user, &session, reason).await?;
    }
    if but.is_none() {
        app.im.kick(user, None, reason).await?;
    }
    Ok(())
}

/// Remembers which device of the SDK belongs to a session, so that it can be closed with it.
pub(crate) async fn set_device(app: &App, caller: &Caller, device: &str) -> Result<()> {
    let update = "UPDATE sessions SET im_device = $1 WHERE id = $2";
    sqlx::query(update).bind(device).bind(&caller.session).execute(app.database.pool()).await?;
    Ok(())
}

/// Deletes sessions that are over.
pub(crate) async fn sweep(app: &App) -> Result<()> {
    let now = now_ms();
    sqlx::query("DELETE FROM sessions WHERE ends_at <= $1").bind(now).execute(app.database.pool()).await?;
    sqlx::query("DELETE FROM used_refresh_tokens WHERE used_at <= $1")
        .bind(now - REFRESH_MS)
        .execute(app.database.pool())
        .await?;
    Ok(())
}

/// Returns the refresh token of a request's cookie.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).into_iter().filter_map(|cookies| cookies.to_str().ok());
    cookies
        .flat_map(|cookies| cookies.split("; "))
        .find_map(|cookie| cookie.strip_prefix(COOKIE_NAME)?.strip_prefix('='))
}

/// Returns the header that stores a refresh token in the browser; without one it deletes it.
pub(crate) fn set_cookie(app: &App, refresh_token: Option<&str>) -> HeaderValue {
    let secure = if app.options.secure { "; Secure" } else { "" };
    let (value, age) = refresh_token.map_or(("", 0), |token| (token, REFRESH_MS / 1000));
    let cookie = format!(
        "{COOKIE_NAME}={value}; Path=/api/sessions; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"
    );
    HeaderValue::try_from(cookie).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Returns a new token: 256 random bits.
pub(crate) fn token() -> String {
    let bits: [u8; 32] = rand::random();
    data_encoding::BASE64URL_NOPAD.encode(&bits)
}

/// Returns a token as it is stored. It is random, so a fast hash is enough.
pub(crate) fn hash(token: &str) -> String {
    data_encoding::HEXLOWER.encode(digest::digest(&digest::SHA256, token.as_bytes()).as_ref())
}
