//! Profiles, and the search for people and groups.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{DONE, Done};
use crate::{
    app::{Caller, SharedApp},
    departments,
    groups::{self, Group},
    identity::{
        account::{self, Me, ProfileChange, User},
        attempts, password, session,
    },
    people,
    refusal::{Refusal, Result},
};
use std::time::Duration;

pub(super) fn router() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .routes(routes!(get_me, change_me))
        .routes(routes!(change_password))
        .routes(routes!(get_users))
        .routes(routes!(search))
        .routes(routes!(set_department))
}

/// Returns the caller's profile and permissions.
#[utoipa::path(get, path = "/api/me", responses((status = 200, body = Me)))]
async fn get_me(State(app): State<SharedApp>, caller: Caller) -> Result<Json<Me>> {
    Ok(Json(Me::read(&app, caller.as_str()).await?))
}

/// Changes the caller's profile.
#[utoipa::path(patch, path = "/api/me", request_body = ProfileChange, responses((status = 200, body = Me)))]
async fn change_me(
    State(app): State<SharedApp>,
    caller: Caller,
    Json(change): Json<ProfileChange>,
) -> Result<Json<Me>> {
    account::change_profile(&app, caller.as_str(), change).await?;
    let mut told = people::friend_ids(&app, caller.as_str()).await?;
    told.push(caller.as_str().to_owned());
    app.changed(told.iter().map(String::as_str), "users", Some(caller.as_str())).await;
    Ok(Json(Me::read(&app, caller.as_str()).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
struct PasswordChange {
    old: String,
    new: String,
}

/// Changes the caller's password, and signs all other sessions out.
#[utoipa::path(put, path = "/api/me/password", request_body = PasswordChange, responses((status = 200, body = Done)))]
async fn change_password(
    State(app): State<SharedApp>,
    caller: Caller,
    Json(change): Json<PasswordChange>,
) -> Result<Json<Done>> {
    password::check(&change.new)?;
    let attempt = format!("password:{}", caller.as_str());
    attempts::count(&app.database, &attempt, 10, Duration::from_secs(15 * 60)).await?;
    let (hash,): (Option<String>,) = sqlx::query_as("SELECT password_hash FROM users WHERE id = $1")
        .bind(caller.as_str())
        .fetch_one(app.database.pool())
        .await?;
    // A demo user has none, and sets the first one.
    if hash.is_some() && !password::verify(change.old, hash).await? {
        return Err(Refusal::WrongPassword.into());
    }
    attempts::clear(&app.database, &attempt).await?;
    let hash = password::hash(change.new).await?;
    sqlx::query("UPDATE users SET password_hash = $1 WHERE id = $2")
        .bind(hash)
        .bind(caller.as_str())
        .execute(app.database.pool())
        .await?;
    app.audit(caller.as_str(), "account.password", caller.as_str(), "").await?;
    session::end_all(&app, caller.as_str(), Some(&caller.session), "the password was changed").await?;
    Ok(DONE)
}

#[derive(Debug, Deserialize, IntoParams)]
struct Ids {
    /// At most 100 ids, separated by commas.
    ids: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Users {
    users: Vec<User>,
}

/// Returns profiles. Users who do not exist are left out.
#[utoipa::path(get, path = "/api/users", params(Ids), responses((status = 200, body = Users)))]
async fn get_users(State(app): State<SharedApp>, _: Caller, Query(query): Query<Ids>) -> Result<Json<Users>> {
    let ids: Vec<&str> = query.ids.split(',').filter(|id| !id.is_empty()).collect();
    Ok(Json(Users { users: account::find_all(&app, &ids).await? }))
}

#[derive(Debug, Deserialize, IntoParams)]
struct Search {
    q: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Found {
    people: Vec<User>,
    groups: Vec<Group>,
}

/// Finds people by name or id, and groups by name: the caller's own ones, and those that can be asked for or joined.
#[utoipa::path(get, path = "/api/search", params(Search), responses((status = 200, body = Found)))]
async fn search(
    State(app): State<SharedApp>,
    caller: Caller,
    Query(query): Query<Search>,
) -> Result<Json<Found>> {
    let people = account::search(&app, &query.q, 20).await?;
    let groups = groups::search(&app, caller.as_str(), &query.q, 20).await?;
    Ok(Json(Found { people, groups }))
}

#[derive(Debug, Deserialize, ToSchema)]
struct Move {
    /// The id of a department; `null`: none.
    department: Option<String>,
}

/// Moves a user to another department, and so into its groups. Needs `departments.manage`.
#[utoipa::path(put, path = "/api/users/{id}/department", request_body = Move, responses((status = 200, body = Done)))]
async fn set_department(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
    Json(request): Json<Move>,
) -> Result<Json<Done>> {
    departments::move_user(&app, caller.as_str(), &id, request.department.as_deref()).await?;
    Ok(DONE)
}
