//! Friends.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{DONE, Done};
use crate::{
    app::{Caller, SharedApp},
    people::{self, Asked, People},
    refusal::Result,
};

pub(super) fn router() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .routes(routes!(list_friends))
        .routes(routes!(ask, unfriend))
        .routes(routes!(refuse))
        .routes(routes!(set_remark))
        .routes(routes!(block, unblock))
}

/// Lists the caller's friends, open requests and blocked people.
#[utoipa::path(get, path = "/api/friends", responses((status = 200, body = People)))]
async fn list_friends(State(app): State<SharedApp>, caller: Caller) -> Result<Json<People>> {
    Ok(Json(people::list(&app, caller.as_str()).await?))
}

#[derive(Debug, Default, Deserialize, ToSchema)]
struct Greeting {
    #[serde(default)]
    text: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct AskAnswer {
    state: Asked,
}

/// Asks somebody to become a friend, or accepts a request.
#[utoipa::path(post, path = "/api/friends/{id}", request_body = Greeting, responses((status = 200, body = AskAnswer)))]
async fn ask(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
    Json(greeting): Json<Greeting>,
) -> Result<Json<AskAnswer>> {
    let state = people::ask(&app, caller.as_str(), &id, &greeting.text).await?;
    Ok(Json(AskAnswer { state }))
}

/// Ends a friendship.
#[utoipa::path(delete, path = "/api/friends/{id}", responses((status = 200, body = Done)))]
async fn unfriend(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Done>> {
    people::unfriend(&app, caller.as_str(), &id).await?;
    Ok(DONE)
}

/// Refuses somebody's request, or takes the caller's own back.
#[utoipa::path(post, path = "/api/friends/{id}/refuse", responses((status = 200, body = Done)))]
async fn refuse(State(app): State<SharedApp>, caller: Caller, Path(id): Path<String>) -> Result<Json<Done>> {
    people::refuse(&app, caller.as_str(), &id).await?;
    Ok(DONE)
}

#[derive(Debug, Deserialize, ToSchema)]
struct Remark {
    remark: String,
}

/// Sets what the caller calls a friend.
#[utoipa::path(put, path = "/api/friends/{id}/remark", request_body = Remark, responses((status = 200, body = Done)))]
async fn set_remark(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
    Json(request): Json<Remark>,
) -> Result<Json<Done>> {
    people::set_remark(&app, caller.as_str(), &id, &request.remark).await?;
    Ok(DONE)
}

/// Blocks somebody.
#[utoipa::path(put, path = "/api/blocks/{id}", responses((status = 200, body = Done)))]
async fn block(State(app): State<SharedApp>, caller: Caller, Path(id): Path<String>) -> Result<Json<Done>> {
    people::block(&app, caller.as_str(), &id).await?;
    Ok(DONE)
}

/// Unblocks somebody.
#[utoipa::path(delete, path = "/api/blocks/{id}", responses((status = 200, body = Done)))]
async fn unblock(State(app): State<SharedApp>, caller: Caller, Path(id): Path<String>) -> Result<Json<Done>> {
    people::unblock(&app, caller.as_str(), &id).await?;
    Ok(DONE)
}
