//! Groups: their members are rows of the application's own tables, which the SDK reads.

pub(crate) mod joining;
pub(crate) mod members;
pub(crate) mod permissions;

use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, FromRow};
use utoipa::ToSchema;

use self::permissions::{Action, Role};
use crate::{
    app::App,
    database::{fold, new_id, now_ms},
    files,
    identity::account::{Flag, checked_name, checked_text},
    outbox::Effect,
    people,
    refusal::{Refusal, Result},
};

/// The most members of a group.
pub(crate) const MOST_MEMBERS: i64 = 100_000;

/// A group, as one of its readers sees it.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(crate) struct Group {
    /// The id, which is that of the SDK's channel.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) announcement: String,
    pub(crate) avatar: Option<String>,
    pub(crate) owner: String,
    pub(crate) member_count: i64,
    /// `owner`, `admin`, `member`, or nothing for somebody else.
    pub(crate) my_role: Option<String>,
    pub(crate) my_nickname: Option<String>,
    pub(crate) my_remark: Option<String>,
    pub(crate) muted_until_at: Option<i64>,
    #[sqlx(try_from = "i64")]
    pub(crate) all_muted: Flag,
    /// `invite`, `request` or `open`.
    pub(crate) joining: String,
    /// The department that the group belongs to.
    pub(crate) department: Option<String>,
    pub(crate) created_at: i64,
}

const SELECT: &str = "SELECT id, name, announcement, avatar, owner, member_count, role AS my_role, nickname AS my_nickname, \
     remark AS my_remark, muted_until_at, all_muted, joining, department, created_at \
     FROM chat_groups LEFT JOIN group_members ON group_id = id AND user_id = $1";

/// Lists the groups of a user.
pub(crate) async fn list(app: &App, user: &str) -> Result<Vec<Group>> {
    let select = format!("{SELECT} WHERE role IS NOT NULL AND is_dissolved = 0 ORDER BY name_folded, id");
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(select)).bind(user).fetch_all(app.database.pool()).await?)
}

/// Finds a group, for a reader who is a member or may become one.
pub(crate) async fn find(app: &App, user: &str, id: &str) -> Result<Group> {
    let group = find_any(app, user, id).await?;
    match group.my_role.is_some() || group.joining != "invite" {
        true => Ok(group),
        // Groups by invitation are nobody else's business.
        false => Err(Refusal::NoSuchGroup.into()),
    }
}

async fn find_any(app: &App, user: &str, id: &str) -> Result<Group> {
    let select = format!("{SELECT} WHERE id = $2 AND is_dissolved = 0");
    let group =
        sqlx::query_as(sqlx::AssertSqlSafe(select)).bind(user).bind(id).fetch_optional(app.database.pool());
    group.await?.ok_or_else(|| Refusal::NoSuchGroup.into())
}

/// Finds groups by their names: the user's own ones, and those that can be joined or asked for.
pub(crate) async fn search(app: &App, user: &str, text: &str, limit: i64) -> Result<Vec<Group>> {
    let text = fold(text).replace(['%', '_', '\\'], "");
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let select = format!(
        "{SELECT} WHERE is_dissolved = 0 AND name_folded LIKE $2 AND (role IS NOT NULL OR joining <> 'invite') \
         ORDER BY name_folded, id LIMIT $3"
    );
    let groups = sqlx::query_as(sqlx::AssertSqlSafe(select)).bind(user).bind(format!("%{text}%")).bind(limit);
    Ok(groups.fetch_all(app.database.pool()).await?)
}

/// Creates a group of a user and some friends. Returns its id.
pub(crate) async fn create(app: &App, owner: &str, name: &str, members: &[String]) -> Result<String> {
    let name = checked_name(name)?;
    if i64::try_from(members.len()).unwrap_or(i64::MAX) >= MOST_MEMBERS {
        return Err(Refusal::GroupFull.into());
    }
    for member in members.iter().filter(|member| *member != owner) {
        if !people::are_friends(app, owner, member).await? {
            return Err(Refusal::NotFriends.into());
        }
    }
    let mut transaction = app.database.begin().await?;
    let id = insert(&mut transaction, owner, &name, "invite", None).await?;
    let mut added = vec![owner.to_owned()];
    for member in members {
        if members::insert(&mut transaction, &id, member, Role::Member).await? {
            added.push(member.clone());
        }
    }
    let parameters = [("by", owner.to_owned()), ("users", added[1..].join(",")), ("name", name.clone())];
    let effects = [
        Effect::Members { group: id.clone(), added: added.clone(), removed: Vec::new() },
        Effect::notice(&id, "group.created", format!("{owner} created the group {name}"), parameters),
        Effect::Changed { users: added, what: "groups".into(), id: Some(id.clone()) },
    ];
    app.outbox.add(&mut transaction, effects).await?;
    transaction.commit().await?;
    app.outbox.wake();
    app.audit(owner, "group.create", &id, &name).await?;
    Ok(id)
}

/// Inserts the row of a group and that of its owner. Returns its id.
pub(crate) async fn insert(
    connection: &mut AnyConnection,
    owner: &str,
    name: &str,
    joining: &str,
    department: Option<&str>,
) -> Result<String> {
    let id = new_id("g");
    let insert = "INSERT INTO chat_groups (id, name, name_folded, owner, joining, department, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)";
    sqlx::query(insert)
        .bind(&id)
        .bind(name)
        .bind(fold(name))
        .bind(owner)
        .bind(joining)
        .bind(department)
        .bind(now_ms())
        .execute(&mut *connection)
        .await?;
    if department.is_none() {
        members::insert(connection, &id, owner, Role::Owner).await?;
    }
    Ok(id)
}

/// What is changed of a group.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct GroupChange {
    name: Option<String>,
    announcement: Option<String>,
    /// The id of a picture that the user has uploaded; an empty text: none.
    avatar: Option<String>,
    /// `invite`, `request` or `open`.
    joining: Option<String>,
    all_muted: Option<bool>,
}

/// Changes a group, as far as the user's role allows it.
pub(crate) async fn change(app: &App, user: &str, id: &str, change: GroupChange) -> Result<()> {
    let role = members::role(app, id, user).await?;
    let by = || ("by", user.to_owned());
    let mut effects = Vec::new();
    let mut transaction = app.database.begin().await?;
    if let Some(name) = change.name {
        role.check(Action::Rename)?;
        let name = checked_name(&name)?;
        let update = "UPDATE chat_groups SET name = $1, name_folded = $2 WHERE id = $3";
        sqlx::query(update).bind(&name).bind(fold(&name)).bind(id).execute(&mut *transaction).await?;
        let text = format!("{user} renamed the group to {name}");
        effects.push(Effect::notice(id, "group.renamed", text, [by(), ("name", name)]));
    }
    if let Some(announcement) = change.announcement {
        role.check(Action::Announce)?;
        let text = checked_text(&announcement, 2000)?;
        let update = "UPDATE chat_groups SET announcement = $1 WHERE id = $2";
        sqlx::query(update).bind(&text).bind(id).execute(&mut *transaction).await?;
        effects.push(Effect::notice(id, "group.announced", text.clone(), [by(), ("text", text)]));
    }
    if let Some(avatar) = change.avatar {
        role.check(Action::Rename)?;
        let avatar = files::grants::publish_picture(app, user, &avatar).await?;
        let update = "UPDATE chat_groups SET avatar = $1 WHERE id = $2";
        sqlx::query(update).bind(avatar).bind(id).execute(&mut *transaction).await?;
    }
    if let Some(joining) = change.joining {
        role.check(Action::Link)?;
        if !matches!(&*joining, "invite" | "request" | "open") {
            return Err(Refusal::Malformed.into());
        }
        let update = "UPDATE chat_groups SET joining = $1 WHERE id = $2";
        sqlx::query(update).bind(joining).bind(id).execute(&mut *transaction).await?;
    }
    if let Some(all_muted) = change.all_muted {
        role.check(Action::MuteAll)?;
        let update = "UPDATE chat_groups SET all_muted = $1 WHERE id = $2";
        sqlx::query(update).bind(i64::from(all_muted)).bind(id).execute(&mut *transaction).await?;
        let text = if all_muted { "only admins may write now" } else { "everybody may write again" };
        effects.push(Effect::notice(id, "group.all_muted", text, [by(), ("muted", all_muted.to_string())]));
    }
    app.outbox.add(&mut transaction, effects).await?;
    transaction.commit().await?;
    app.outbox.wake();
    tell(app, id).await
}

/// Ends a group. Its owner may, and whoever may manage all groups.
pub(crate) async fn dissolve(app: &App, user: &str, id: &str) -> Result<()> {
    let group = find_any(app, user, id).await?;
    if group.department.is_some() {
        return Err(Refusal::DepartmentGroup.into());
    }
    if !app.is_permitted(user, "groups.manage").await? {
        members::role(app, id, user).await?.check(Action::Dissolve)?;
    }
    let mut transaction = app.database.begin().await?;
    let update = "UPDATE chat_groups SET is_dissolved = 1, link = NULL WHERE id = $1";
    sqlx::query(update).bind(id).execute(&mut *transaction).await?;
    let notice = Effect::notice(id, "group.dissolved", "the group was dissolved", [("by", user.to_owned())]);
    app.outbox.add(&mut transaction, [notice, Effect::Dissolve { group: id.to_owned() }]).await?;
    transaction.commit().await?;
    tell(app, id).await?;
    app.outbox.wake();
    app.audit(user, "group.dissolve", id, &group.name).await
}

/// Deletes the rows of a dissolved group.
pub(crate) async fn delete_rows(app: &App, id: &str) -> Result<()> {
    for delete in [
        "DELETE FROM group_requests WHERE group_id = $1",
        "DELETE FROM group_members WHERE group_id = $1",
        "DELETE FROM chat_groups WHERE id = $1",
    ] {
        sqlx::query(delete).bind(id).execute(app.database.pool()).await?;
    }
    Ok(())
}

/// Tells the devices of a group's members to look again. Those of a large group see it at their next look.
pub(crate) async fn tell(app: &App, id: &str) -> Result<()> {
    let members: Vec<(String,)> =
        sqlx::query_as("SELECT user_id FROM group_members WHERE group_id = $1 LIMIT 1000")
            .bind(id)
            .fetch_all(app.database.pool())
            .await?;
    app.changed(members.iter().map(|(user,)| user.as_str()), "groups", Some(id)).await;
    Ok(())
}
