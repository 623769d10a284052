//! Friends, requests for friendship, and people who are blocked.

use serde::Serialize;
use sqlx::AnyConnection;
use utoipa::ToSchema;

use crate::{
    app::App,
    database::now_ms,
    identity::account::{self, User, checked_text},
    refusal::{Refusal, Result},
};

/// A friend.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Friend {
    user: User,
    /// What the caller calls this friend; empty: by the name.
    remark: String,
    since_at: i64,
}

/// A request for friendship that nobody has answered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FriendRequest {
    user: User,
    text: String,
    at: i64,
    /// `in` or `out`.
    direction: &'static str,
}

/// Everybody with whom the caller has to do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct People {
    friends: Vec<Friend>,
    requests: Vec<FriendRequest>,
    blocked: Vec<User>,
}

/// What became of a request for friendship.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Asked {
    /// The other one has to answer.
    Asked,
    /// The other one had asked before.
    Friends,
}

/// Returns `true` if two users are friends.
pub(crate) async fn are_friends(app: &App, one: &str, other: &str) -> Result<bool> {
    let select =
        sqlx::query("SELECT 1 FROM friends WHERE user_id = $1 AND friend_id = $2").bind(one).bind(other);
    Ok(select.fetch_optional(app.database.pool()).await?.is_some())
}

/// Lists the ids of a user's friends.
pub(crate) async fn friend_ids(app: &App, user: &str) -> Result<Vec<String>> {
    let ids: Vec<(String,)> =
        sqlx::query_as("SELECT friend_id FROM friends WHERE user_id = $1 ORDER BY friend_id")
            .bind(user)
            .fetch_all(app.database.pool())
            .await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

pub(crate) async fn list(app: &App, user: &str) -> Result<People> {
    let database = app.database.pool();
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT friend_id, remark, since_at FROM friends WHERE user_id = $1 ORDER BY friend_id",
    )
    .bind(user)
    .fetch_all(database)
    .await?;
    let mut friends = Vec::with_capacity(rows.len());
    for (id, remark, since_at) in rows {
        if let Some(user) = account::find(app, &id).await? {
            friends.push(Friend { user, remark, since_at });
        }
    }
    let mut requests = Vec::new();
    let rows: Vec<(String, String, String, i64)> = sqlx::query_as(
        "SELECT from_id, to_id, text, at FROM friend_requests WHERE from_id = $1 OR to_id = $1 ORDER BY at DESC",
    )
    .bind(user)
    .fetch_all(database)
    .await?;
    for (from, to, text, at) in rows {
        let (other, direction) = if from == user { (to, "out") } else { (from, "in") };
        if let Some(user) = account::find(app, &other).await? {
            requests.push(FriendRequest { user, text, at, direction });
        }
    }
    let blocked: Vec<(String,)> =
        sqlx::query_as("SELECT blocked_id FROM blocks WHERE user_id = $1 ORDER BY blocked_id")
            .bind(user)
            .fetch_all(database)
            .await?;
    let blocked: Vec<&str> = blocked.iter().map(|(id,)| id.as_str()).collect();
    Ok(People { friends, requests, blocked: account::find_all(app, &blocked).await? })
}

/// Asks for a friendship, or accepts the other one's request.
pub(crate) async fn ask(app: &App, user: &str, other: &str, text: &str) -> Result<Asked> {
    let text = checked_text(text, 200)?;
    if user == other {
        return Err(Refusal::Yourself.into());
    }
    let known = account::find(app, other).await?.filter(|other| !other.is_system.0);
    known.ok_or(Refusal::NoSuchUser)?;
    if are_friends(app, user, other).await? {
        return Err(Refusal::AlreadyFriends.into());
    }
    let mut transaction = app.database.begin().await?;
    if has_blocked(&mut transaction, user, other).await? {
        return Err(Refusal::Blocked.into());
    }
    if answer(&mut transaction, other, user).await? {
        befriend(&mut transaction, user, other).await?;
        transaction.commit().await?;
        app.changed([user, other], "friends", None).await;
        return Ok(Asked::Friends);
    }
    // Whoever is blocked is not told: the request is taken, and nobody sees it.
    if !has_blocked(&mut transaction, other, user).await? {
        let insert = "INSERT INTO friend_requests (from_id, to_id, text, at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (from_id, to_id) DO UPDATE SET text = $3, at = $4";
        sqlx::query(insert)
            .bind(user)
            .bind(other)
            .bind(text)
            .bind(now_ms())
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    app.changed([user, other], "friends", None).await;
    Ok(Asked::Asked)
}

/// Refuses a request, or takes one's own back.
pub(crate) async fn refuse(app: &App, user: &str, other: &str) -> Result<()> {
    let mut transaction = app.database.begin().await?;
    let refused =
        answer(&mut transaction, other, user).await? || answer(&mut transaction, user, other).await?;
    transaction.commit().await?;
    if !refused {
        return Err(Refusal::NoRequest.into());
    }
    app.changed([user, other], "friends", None).await;
    Ok(())
}

/// Ends a friendship. What was said stays.
pub(crate) async fn unfriend(app: &App, user: &str, other: &str) -> Result<()> {
    let mut transaction = app.database.begin().await?;
    let deleted = part(&mut transaction, user, other).await?;
    transaction.commit().await?;
    if !deleted {
        return Err(Refusal::NotFriends.into());
    }
    app.changed([user, other], "friends", None).await;
    Ok(())
}

pub(crate) async fn set_remark(app: &App, user: &str, friend: &str, remark: &str) -> Result<()> {
    let update = sqlx::query("UPDATE friends SET remark = $1 WHERE user_id = $2 AND friend_id = $3")
        .bind(checked_text(remark, 64)?)
        .bind(user)
        .bind(friend);
    match update.execute(app.database.pool()).await?.rows_affected() {
        0 => Err(Refusal::NotFriends.into()),
        _ => {
            app.changed([user], "friends", None).await;
            Ok(())
        }
    }
}

/// Blocks somebody: they can neither write nor ask, and are no friend any more.
pub(crate) async fn block(app: &App, user: &str, other: &str) -> Result<()> {
    if user == other {
        return Err(Refusal::Yourself.into());
    }
    account::find(app, other).await?.ok_or(Refusal::NoSuchUser)?;
    let mut transaction = app.database.begin().await?;
    sqlx::query("INSERT INTO blocks (user_id, blocked_id, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        .bind(user)
        .bind(other)
        .bind(now_ms())
        .execute(&mut *transaction)
        .await?;
    answer(&mut transaction, user, other).await?;
    answer(&mut transaction, other, user).await?;
    part(&mut transaction, user, other).await?;
    transaction.commit().await?;
    app.changed([user, other], "friends", None).await;
    Ok(())
}

pub(crate) async fn unblock(app: &App, user: &str, other: &str) -> Result<()> {
    let delete =
        sqlx::query("DELETE FROM blocks WHERE user_id = $1 AND blocked_id = $2").bind(user).bind(other);
    delete.execute(app.database.pool()).await?;
    app.changed([user], "friends", None).await;
    Ok(())
}

/// Makes two users friends.
pub(crate) async fn befriend(connection: &mut AnyConnection, one: &str, other: &str) -> Result<()> {
    for (user, friend) in [(one, other), (other, one)] {
        sqlx::query(
            "INSERT INTO friends (user_id, friend_id, since_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(user)
        .bind(friend)
        .bind(now_ms())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Deletes a request. Returns `false` if there was none.
async fn answer(connection: &mut AnyConnection, from: &str, to: &str) -> Result<bool> {
    let delete =
        sqlx::query("DELETE FROM friend_requests WHERE from_id = $1 AND to_id = $2").bind(from).bind(to);
    Ok(delete.execute(connection).await?.rows_affected() > 0)
}

/// Deletes a friendship. Returns `false` if there was none.
async fn part(connection: &mut AnyConnection, one: &str, other: &str) -> Result<bool> {
    let delete =
        "DELETE FROM friends WHERE (user_id = $1 AND friend_id = $2) OR (user_id = $2 AND friend_id = $1)";
    Ok(sqlx::query(delete).bind(one).bind(other).execute(connection).await?.rows_affected() > 0)
}

async fn has_blocked(connection: &mut AnyConnection, user: &str, other: &str) -> Result<bool> {
    let select =
        sqlx::query("SELECT 1 FROM blocks WHERE user_id = $1 AND blocked_id = $2").bind(user).bind(other);
    Ok(select.fetch_optional(connection).await?.is_some())
}
