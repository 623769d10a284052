//! Departments, roles and the audit log.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{DONE, Done};
use crate::{
    app::{Caller, SharedApp},
    departments::{self, Department},
    identity::account::{self, User},
    refusal::{Refusal, Result},
};

pub(super) fn router() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .routes(routes!(list_departments, create_department))
        .routes(routes!(change_department, delete_department))
        .routes(routes!(list_people))
        .routes(routes!(list_roles))
        .routes(routes!(grant_role, revoke_role))
        .routes(routes!(read_audit))
}

#[derive(Debug, Serialize, ToSchema)]
struct Departments {
    departments: Vec<Department>,
}

/// Lists all departments.
#[utoipa::path(get, path = "/api/departments", responses((status = 200, body = Departments)))]
async fn list_departments(State(app): State<SharedApp>, _: Caller) -> Result<Json<Departments>> {
    Ok(Json(Departments { departments: departments::list(&app).await? }))
}

#[derive(Debug, Deserialize, ToSchema)]
struct NewDepartment {
    name: String,
    parent: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Created {
    id: String,
}

/// Creates a department and its group. Needs `departments.manage`.
#[utoipa::path(post, path = "/api/departments", request_body = NewDepartment, responses((status = 201, body = Created)))]
async fn create_department(
    State(app): State<SharedApp>,
    caller: Caller,
    Json(new): Json<NewDepartment>,
) -> Result<(StatusCode, Json<Created>)> {
    app.require(caller.as_str(), "departments.manage").await?;
    let id = departments::create(&app, caller.as_str(), &new.name, new.parent.as_deref()).await?;
    Ok((StatusCode::CREATED, Json(Created { id })))
}

#[derive(Debug, Deserialize, ToSchema)]
struct DepartmentChange {
    name: Option<String>,
    /// The id of the department above; an empty text: none.
    parent: Option<String>,
}

/// Renames or moves a department. Needs `departments.manage`.
#[utoipa::path(patch, path = "/api/departments/{id}", request_body = DepartmentChange, responses((status = 200, body = Done)))]
async fn change_department(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
    Json(change): Json<DepartmentChange>,
) -> Result<Json<Done>> {
    app.require(caller.as_str(), "departments.manage").await?;
    if let Some(name) = change.name {
        departments::rename(&app, caller.as_str(), &id, &name).await?;
    }
    if let Some(parent) = change.parent {
        let parent = Some(parent.as_str()).filter(|parent| !parent.is_empty());
        departments::set_parent(&app, caller.as_str(), &id, parent).await?;
    }
    Ok(DONE)
}

/// Deletes an empty department. Needs `departments.manage`.
#[utoipa::path(delete, path = "/api/departments/{id}", responses((status = 200, body = Done)))]
async fn delete_department(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Done>> {
    app.require(caller.as_str(), "departments.manage").await?;
    departments::delete(&app, caller.as_str(), &id).await?;
    Ok(DONE)
}

#[derive(Debug, Serialize, ToSchema)]
struct Users {
    users: Vec<User>,
}

/// Lists the people of a department, without those below it.
#[utoipa::path(get, path = "/api/departments/{id}/people", responses((status = 200, body = Users)))]
async fn list_people(State(app): State<SharedApp>, _: Caller, Path(id): Path<String>) -> Result<Json<Users>> {
    Ok(Json(Users { users: departments::people(&app, &id).await? }))
}

#[derive(Debug, FromRow, Serialize, ToSchema)]
struct RolePermission {
    role: String,
    permission: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Roles {
    roles: Vec<RolePermission>,
}

/// Lists roles with their permissions.
#[utoipa::path(get, path = "/api/roles", responses((status = 200, body = Roles)))]
async fn list_roles(State(app): State<SharedApp>, _: Caller) -> Result<Json<Roles>> {
    let roles = sqlx::query_as("SELECT role, permission FROM role_permissions ORDER BY role, permission");
    Ok(Json(Roles { roles: roles.fetch_all(app.database.pool()).await? }))
}

/// Gives a user a role. Needs `roles.manage`.
#[utoipa::path(put, path = "/api/users/{id}/roles/{role}", responses((status = 200, body = Done)))]
async fn grant_role(
    State(app): State<SharedApp>,
    caller: Caller,
    Path((id, role)): Path<(String, String)>,
) -> Result<Json<Done>> {
    app.require(caller.as_str(), "roles.manage").await?;
    account::find(&app, &id).await?.ok_or(Refusal::NoSuchUser)?;
    let known = sqlx::query("SELECT 1 FROM role_permissions WHERE role = $1").bind(&role);
    known.fetch_optional(app.database.pool()).await?.ok_or(Refusal::NotFound)?;
    let mut connection = app.database.pool().acquire().await?;
    account::grant_role(&mut connection, &id, &role).await?;
    drop(connection);
    app.audit(caller.as_str(), "role.grant", &id, &role).await?;
    app.changed([id.as_str()], "me", None).await;
    Ok(DONE)
}

/// Takes a role from a user. Needs `roles.manage`.
#[utoipa::path(delete, path = "/api/users/{id}/roles/{role}", responses((status = 200, body = Done)))]
async fn revoke_role(
    State(app): State<SharedApp>,
    caller: Caller,
    Path((id, role)): Path<(String, String)>,
) -> Result<Json<Done>> {
    app.require(caller.as_str(), "roles.manage").await?;
    let delete = sqlx::query("DELETE FROM user_roles WHERE user_id = $1 AND role = $2").bind(&id).bind(&role);
    delete.execute(app.database.pool()).await?;
    app.audit(caller.as_str(), "role.revoke", &id, &role).await?;
    app.changed([id.as_str()], "me", None).await;
    Ok(DONE)
}

#[derive(Debug, Deserialize, IntoParams)]
struct AuditQuery {
    /// The time before which entries are listed.
    before: Option<i64>,
}

#[derive(Debug, FromRow, Serialize, ToSchema)]
struct AuditEntry {
    id: String,
    at: i64,
    actor: String,
    action: String,
    target: String,
    detail: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct AuditPage {
    entries: Vec<AuditEntry>,
    /// `before` of the next page; `null` behind the last one.
    next: Option<i64>,
}

/// Reads the audit log, newest first. Needs `audit.read`.
#[utoipa::path(get, path = "/api/audit", params(AuditQuery), responses((status = 200, body = AuditPage)))]
async fn read_audit(
    State(app): State<SharedApp>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditPage>> {
    const PAGE: usize = 100;
    app.require(caller.as_str(), "audit.read").await?;
    let select =
        "SELECT id, at, actor, action, target, detail FROM audit WHERE at < $1 ORDER BY at DESC, id LIMIT $2";
    let entries: Vec<AuditEntry> = sqlx::query_as(select)
        .bind(query.before.unwrap_or(i64::MAX))
        .bind(PAGE as i64)
        .fetch_all(app.database.pool())
        .await?;
    let next = entries.last().filter(|_| entries.len() == PAGE).map(|last| last.at);
    Ok(Json(AuditPage { entries, next }))
}
