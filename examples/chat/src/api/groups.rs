//! Groups and their members.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{DONE, Done};
use crate::{
    app::{Caller, SharedApp},
    groups::{
        self, Group, GroupChange,
        joining::{self, JoinRequest},
        members::{self, MemberChange, MemberPage, MyChange},
        permissions,
    },
    refusal::Result,
};

pub(super) fn router() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .routes(routes!(list_groups, create_group))
        .routes(routes!(get_group, change_group, dissolve_group))
        .routes(routes!(list_members, invite))
        .routes(routes!(remove_member, change_member))
        .routes(routes!(change_mine))
        .routes(routes!(transfer))
        .routes(routes!(renew_link))
        .routes(routes!(get_link, join_by_link))
        .routes(routes!(list_requests, ask_to_join))
        .routes(routes!(accept_request, refuse_request))
        .routes(routes!(get_permissions))
}

#[derive(Debug, Serialize, ToSchema)]
struct Groups {
    groups: Vec<Group>,
}

/// Lists the caller's groups.
#[utoipa::path(get, path = "/api/groups", responses((status = 200, body = Groups)))]
async fn list_groups(State(app): State<SharedApp>, caller: Caller) -> Result<Json<Groups>> {
    Ok(Json(Groups { groups: groups::list(&app, caller.as_str()).await? }))
}

#[derive(Debug, Deserialize, ToSchema)]
struct NewGroup {
    name: String,
    /// Friends of the caller.
    #[serde(default)]
    members: Vec<String>,
}

/// Creates a group, which the caller owns.
#[utoipa::path(post, path = "/api/groups", request_body = NewGroup, responses((status = 201, body = Group)))]
async fn create_group(
    State(app): State<SharedApp>,
    caller: Caller,
    Json(new): Json<NewGroup>,
) -> Result<(StatusCode, Json<Group>)> {
    let id = groups::create(&app, caller.as_str(), &new.name, &new.members).await?;
    Ok((StatusCode::CREATED, Json(groups::find(&app, caller.as_str(), &id).await?)))
}

/// Returns a group.
#[utoipa::path(get, path = "/api/groups/{id}", responses((status = 200, body = Group)))]
async fn get_group(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Group>> {
    Ok(Json(groups::find(&app, caller.as_str(), &id).await?))
}

/// Changes a group.
#[utoipa::path(patch, path = "/api/groups/{id}", request_body = GroupChange, responses((status = 200, body = Group)))]
async fn change_group(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
    Json(change): Json<GroupChange>,
) -> Result<Json<Group>> {
    groups::change(&app, caller.as_str(), &id, change).await?;
    Ok(Json(groups::find(&app, caller.as_str(), &id).await?))
}

/// Dissolves a group.
#[utoipa::path(delete, path = "/api/groups/{id}", responses((status = 200, body = Done)))]
async fn dissolve_group(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Done>> {
    groups::dissolve(&app, caller.as_str(), &id).await?;
    Ok(DONE)
}

#[derive(Debug, Deserialize, IntoParams)]
struct MemberQuery {
    /// The last user of the page before.
    #[serde(default)]
    after: String,
    /// The beginning of an id, a name or a nickname.
    #[serde(default)]
    q: String,
    /// At most 200; 50 by default.
    limit: Option<i64>,
}

/// Lists members.
#[utoipa::path(get, path = "/api/groups/{id}/members", params(MemberQuery), responses((status = 200, body = MemberPage)))]
async fn list_members(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<MemberQuery>,
) -> Result<Json<MemberPage>> {
    let limit = query.limit.unwrap_or(50);
    Ok(Json(members::list(&app, caller.as_str(), &id, &query.after, &query.q, limit).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
struct Invited {
    users: Vec<String>,
}

/// Adds friends of the caller.
#[utoipa::path(post, path = "/api/groups/{id}/members", request_body = Invited, responses((status = 200, body = Done)))]
async fn invite(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
    Json(invited): Json<Invited>,
) -> Result<Json<Done>> {
    members::invite(&app, caller.as_str(), &id, &invited.users).await?;
    Ok(DONE)
}

/// Removes a member. Whoever removes themselves leaves.
#[utoipa::path(delete, path = "/api/groups/{id}/members/{user}", responses((status = 200, body = Done)))]
async fn remove_member(
    State(app): State<SharedApp>,
    caller: Caller,
    Path((id, user)): Path<(String, String)>,
) -> Result<Json<Done>> {
    members::remove(&app, caller.as_str(), &id, &user).await?;
    Ok(DONE)
}

/// Changes a member's role, or mutes them.
#[utoipa::path(patch, path = "/api/groups/{id}/members/{user}", request_body = MemberChange, responses((status = 200, body = Done)))]
async fn change_member(
    State(app): State<SharedApp>,
    caller: Caller,
    Path((id, user)): Path<(String, String)>,
    Json(change): Json<MemberChange>,
) -> Result<Json<Done>> {
    members::change(&app, caller.as_str(), &id, &user, change).await?;
    Ok(DONE)
}

/// Changes the caller's nickname in a group, and what they call it.
#[utoipa::path(patch, path = "/api/groups/{id}/mine", request_body = MyChange, responses((status = 200, body = Group)))]
async fn change_mine(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
    Json(change): Json<MyChange>,
) -> Result<Json<Group>> {
    members::change_mine(&app, caller.as_str(), &id, change).await?;
    Ok(Json(groups::find(&app, caller.as_str(), &id).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
struct Owner {
    user: String,
}

/// Hands a group over to another member.
#[utoipa::path(put, path = "/api/groups/{id}/owner", request_body = Owner, responses((status = 200, body = Done)))]
async fn transfer(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
    Json(owner): Json<Owner>,
) -> Result<Json<Done>> {
    groups::members::transfer(&app, caller.as_str(), &id, &owner.user).await?;
    Ok(DONE)
}

#[derive(Debug, Serialize, ToSchema)]
struct Link {
    link: String,
}

/// Makes a new link to a group, by which anybody joins. The one before is no longer valid.
#[utoipa::path(post, path = "/api/groups/{id}/link", responses((status = 200, body = Link)))]
async fn renew_link(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Link>> {
    Ok(Json(Link { link: joining::renew_link(&app, caller.as_str(), &id).await? }))
}

#[derive(Debug, Serialize, ToSchema)]
struct LinkedGroup {
    group: Group,
}

/// Shows the group of a link.
#[utoipa::path(get, path = "/api/links/{link}", responses((status = 200, body = LinkedGroup)))]
async fn get_link(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(link): Path<String>,
) -> Result<Json<LinkedGroup>> {
    Ok(Json(LinkedGroup { group: joining::group_of_link(&app, caller.as_str(), &link).await? }))
}

/// Joins by a link.
#[utoipa::path(post, path = "/api/links/{link}", responses((status = 200, body = Group)))]
async fn join_by_link(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(link): Path<String>,
) -> Result<Json<Group>> {
    let id = joining::join_by_link(&app, caller.as_str(), &link).await?;
    Ok(Json(groups::find(&app, caller.as_str(), &id).await?))
}

#[derive(Debug, Default, Deserialize, ToSchema)]
struct Greeting {
    #[serde(default)]
    text: String,
}

/// Asks to join a group. An open one is joined at once.
#[utoipa::path(post, path = "/api/groups/{id}/requests", request_body = Greeting, responses((status = 200, body = Done)))]
async fn ask_to_join(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
    Json(greeting): Json<Greeting>,
) -> Result<Json<Done>> {
    joining::ask(&app, caller.as_str(), &id, &greeting.text).await?;
    Ok(DONE)
}

#[derive(Debug, Serialize, ToSchema)]
struct JoinRequests {
    requests: Vec<JoinRequest>,
}

/// Lists requests to join.
#[utoipa::path(get, path = "/api/groups/{id}/requests", responses((status = 200, body = JoinRequests)))]
async fn list_requests(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<JoinRequests>> {
    Ok(Json(JoinRequests { requests: joining::list(&app, caller.as_str(), &id).await? }))
}

/// Accepts a request to join.
#[utoipa::path(post, path = "/api/groups/{id}/requests/{user}", responses((status = 200, body = Done)))]
async fn accept_request(
    State(app): State<SharedApp>,
    caller: Caller,
    Path((id, user)): Path<(String, String)>,
) -> Result<Json<Done>> {
    joining::answer(&app, caller.as_str(), &id, &user, true).await?;
    Ok(DONE)
}

/// Refuses a request to join.
#[utoipa::path(delete, path = "/api/groups/{id}/requests/{user}", responses((status = 200, body = Done)))]
async fn refuse_request(
    State(app): State<SharedApp>,
    caller: Caller,
    Path((id, user)): Path<(String, String)>,
) -> Result<Json<Done>> {
    joining::answer(&app, caller.as_str(), &id, &user, false).await?;
    Ok(DONE)
}

#[derive(Debug, Serialize, ToSchema)]
struct Permissions {
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    matrix: BTreeMap<&'static str, Vec<&'static str>>,
}

/// Returns which roles may do what in a group.
#[utoipa::path(get, path = "/api/group-permissions", responses((status = 200, body = Permissions)))]
async fn get_permissions() -> Json<Permissions> {
    Json(Permissions { matrix: permissions::matrix() })
}
