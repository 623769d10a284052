//! Coming into a group: by a link, by a request, or freely.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Group, find, find_any, members,
    permissions::{Action, Role},
};
use crate::{
    app::App,
    database::now_ms,
    identity::{
        account::{self, User, checked_text},
        session::token,
    },
    refusal::{Refusal, Result},
};

/// A request to join that nobody has answered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JoinRequest {
    user: User,
    text: String,
    at: i64,
}

/// Makes a new link by which anybody joins, and invalidates the one before.
pub(crate) async fn renew_link(app: &App, user: &str, group: &str) -> Result<String> {
    members::role(app, group, user).await?.check(Action::Link)?;
    if find(app, user, group).await?.department.is_some() {
        return Err(Refusal::DepartmentGroup.into());
    }
    let link = token();
    sqlx::query("UPDATE chat_groups SET link = $1 WHERE id = $2")
        .bind(&link)
        .bind(group)
        .execute(app.database.pool())
        .await?;
    Ok(link)
}

/// Finds the group of a link.
pub(crate) async fn group_of_link(app: &App, user: &str, link: &str) -> Result<Group> {
    let group: Option<(String,)> =
        sqlx::query_as("SELECT id FROM chat_groups WHERE link = $1 AND is_dissolved = 0")
            .bind(link)
            .fetch_optional(app.database.pool())
            .await?;
    let (group,) = group.ok_or(Refusal::BadLink)?;
    find_any(app, user, &group).await
}

/// Joins by a link.
pub(crate) async fn join_by_link(app: &App, user: &str, link: &str) -> Result<String> {
    let group = group_of_link(app, user, link).await?.id;
    members::add(app, user, &group, &[user.to_owned()], "group.joined").await?;
    Ok(group)
}

/// Asks to join. An open group is joined at once.
pub(crate) async fn ask(app: &App, user: &str, id: &str, text: &str) -> Result<()> {
    let group = find(app, user, id).await?;
    match &*group.joining {
        _ if group.my_role.is_some() => Ok(()),
        "open" => members::add(app, user, id, &[user.to_owned()], "group.joined").await,
        "request" => {
            let insert = "INSERT INTO group_requests (group_id, user_id, text, at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (group_id, user_id) DO UPDATE SET text = $3, at = $4";
            sqlx::query(insert)
                .bind(id)
                .bind(user)
                .bind(checked_text(text, 200)?)
                .bind(now_ms())
                .execute(app.database.pool())
                .await?;
            tell_admins(app, id).await
        }
        _ => Err(Refusal::NotByRequest.into()),
    }
}

/// Lists requests, for those who may answer them.
pub(crate) async fn list(app: &App, user: &str, group: &str) -> Result<Vec<JoinRequest>> {
    members::role(app, group, user).await?.check(Action::Kick)?;
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT user_id, text, at FROM group_requests WHERE group_id = $1 ORDER BY at LIMIT 200",
    )
    .bind(group)
    .fetch_all(app.database.pool())
    .await?;
    let mut requests = Vec::with_capacity(rows.len());
    for (id, text, at) in rows {
        if let Some(user) = account::find(app, &id).await? {
            requests.push(JoinRequest { user, text, at });
        }
    }
    Ok(requests)
}

/// Accepts or refuses a request.
pub(crate) async fn answer(app: &App, user: &str, group: &str, asker: &str, accepts: bool) -> Result<()> {
    members::role(app, group, user).await?.check(Action::Kick)?;
    let delete = sqlx::query("DELETE FROM group_requests WHERE group_id = $1 AND user_id = $2")
        .bind(group)
        .bind(asker);
    if delete.execute(app.database.pool()).await?.rows_affected() == 0 {
        return Err(Refusal::NoRequest.into());
    }
    if accepts {
        members::add(app, user, group, &[asker.to_owned()], "group.joined").await?;
    }
    tell_admins(app, group).await
}

async fn tell_admins(app: &App, group: &str) -> Result<()> {
    let admins: Vec<(String,)> =
        sqlx::query_as("SELECT user_id FROM group_members WHERE group_id = $1 AND role <> $2 LIMIT 100")
            .bind(group)
            .bind(Role::Member.as_str())
            .fetch_all(app.database.pool())
            .await?;
    app.changed(admins.iter().map(|(user,)| user.as_str()), "requests", Some(group)).await;
    Ok(())
}
