//! The members of a group: their roles, names and silences.

use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use utoipa::ToSchema;

use super::{
    MOST_MEMBERS,
    permissions::{Action, Role},
    tell,
};
use crate::{
    app::App,
    database::{fold, now_ms},
    identity::account::{self, User, checked_text},
    outbox::Effect,
    people,
    refusal::{Refusal, Result},
};

/// A member of a group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Member {
    user: User,
    nickname: String,
    role: String,
    muted_until_at: Option<i64>,
    joined_at: i64,
}

/// A page of members.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemberPage {
    members: Vec<Member>,
    /// Where the next page begins; `null` behind the last one.
    next: Option<String>,
}

/// Returns a member's role, or refuses somebody who is none.
pub(crate) async fn role(app: &App, group: &str, user: &str) -> Result<Role> {
    let role: Option<(String,)> = sqlx::query_as(
        "SELECT role FROM group_members JOIN chat_groups ON id = group_id \
         WHERE group_id = $1 AND user_id = $2 AND is_dissolved = 0",
    )
    .bind(group)
    .bind(user)
    .fetch_optional(app.database.pool())
    .await?;
    role.and_then(|(role,)| Role::parse(&role)).ok_or_else(|| Refusal::NotMember.into())
}

/// Lists members by their ids, behind `after`. A text finds those whose id, name or nickname begins with it.
pub(crate) async fn list(
    app: &App,
    user: &str,
    group: &str,
    after: &str,
    text: &str,
    limit: i64,
) -> Result<MemberPage> {
    role(app, group, user).await?;
    let limit = limit.clamp(1, 200);
    let text = fold(text).replace(['%', '_', '\\'], "");
    let select = "SELECT user_id, nickname, role, muted_until_at, joined_at FROM group_members \
         JOIN users ON users.id = user_id WHERE group_id = $1 AND user_id > $2 \
         AND ($3 = '' OR user_id LIKE $4 OR name_folded LIKE $4 OR LOWER(nickname) LIKE $4) ORDER BY user_id LIMIT $5";
    let rows: Vec<(String, String, String, Option<i64>, i64)> = sqlx::query_as(select)
        .bind(group)
        .bind(after)
        .bind(&text)
        .bind(format!("{text}%"))
        .bind(limit + 1)
        .fetch_all(app.database.pool())
        .await?;
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    let next = (rows.len() > page).then(|| rows[page - 1].0.clone());
    let mut members = Vec::with_capacity(rows.len());
    for (id, nickname, role, muted_until_at, joined_at) in rows.into_iter().take(page) {
        if let Some(user) = account::find(app, &id).await? {
            members.push(Member { user, nickname, role, muted_until_at, joined_at });
        }
    }
    Ok(MemberPage { members, next })
}

/// Inserts a member, and counts. Returns `false` if the user was one.
pub(crate) async fn insert(
    connection: &mut AnyConnection,
    group: &str,
    user: &str,
    role: Role,
) -> Result<bool> {
    let insert = "INSERT INTO group_members (group_id, user_id, role, joined_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT DO NOTHING";
    let inserted = sqlx::query(insert)
        .bind(group)
        .bind(user)
        .bind(role.as_str())
        .bind(now_ms())
        .execute(&mut *connection)
        .await?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("DELETE FROM group_requests WHERE group_id = $1 AND user_id = $2")
        .bind(group)
        .bind(user)
        .execute(&mut *connection)
        .await?;
    count(connection, group, 1).await?;
    Ok(true)
}

/// Deletes a member. Returns `false` if the user was none.
pub(crate) async fn delete(connection: &mut AnyConnection, group: &str, user: &str) -> Result<bool> {
    let delete =
        sqlx::query("DELETE FROM group_members WHERE group_id = $1 AND user_id = $2").bind(group).bind(user);
    if delete.execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(false);
    }
    count(connection, group, -1).await?;
    Ok(true)
}

/// Counts members, and refuses more than a group can have.
async fn count(connection: &mut AnyConnection, group: &str, change: i64) -> Result<()> {
    let update = "UPDATE chat_groups SET member_count = member_count + $1 WHERE id = $2 AND is_dissolved = 0 \
         RETURNING member_count";
    let count: Option<(i64,)> =
        sqlx::query_as(update).bind(change).bind(group).fetch_optional(connection).await?;
    match count {
        None => Err(Refusal::NoSuchGroup.into()),
        Some((count,)) if count > MOST_MEMBERS => Err(Refusal::GroupFull.into()),
        Some(_) => Ok(()),
    }
}

/// Adds friends of a member.
pub(crate) async fn invite(app: &App, user: &str, group: &str, invited: &[String]) -> Result<()> {
    role(app, group, user).await?.check(Action::Invite)?;
    refuse_department(app, group).await?;
    for other in invited {
        if !people::are_friends(app, user, other).await? {
            return Err(Refusal::NotFriends.into());
        }
    }
    add(app, user, group, invited, "group.joined").await
}

/// Adds members and tells the group.
pub(super) async fn add(app: &App, by: &str, group: &str, users: &[String], kind: &str) -> Result<()> {
    let mut transaction = app.database.begin().await?;
    let mut added = Vec::new();
    for user in users {
        if insert(&mut transaction, group, user, Role::Member).await? {
            added.push(user.clone());
        }
    }
    if !added.is_empty() {
        let names = added.join(", ");
        let parameters = [("by", by.to_owned()), ("users", added.join(","))];
        let effects = [
            Effect::Members { group: group.to_owned(), added: added.clone(), removed: Vec::new() },
            Effect::notice(group, kind, format!("{names} joined the group"), parameters),
            Effect::Changed { users: added, what: "groups".into(), id: Some(group.to_owned()) },
        ];
        app.outbox.add(&mut transaction, effects).await?;
    }
    transaction.commit().await?;
    app.outbox.wake();
    tell(app, group).await
}

/// Removes a member: oneself, or somebody of a lower rank.
pub(crate) async fn remove(app: &App, user: &str, group: &str, member: &str) -> Result<()> {
    let mine = role(app, group, user).await?;
    refuse_department(app, group).await?;
    let kind = if user == member {
        if mine == Role::Owner {
            return Err(Refusal::OwnerStays.into());
        }
        "group.left"
    } else {
        mine.check(Action::Kick)?;
        mine.check_outranks(role(app, group, member).await?)?;
        "group.kicked"
    };
    let mut transaction = app.database.begin().await?;
    if delete(&mut transaction, group, member).await? {
        let parameters = [("by", user.to_owned()), ("users", member.to_owned())];
        let effects = [
            Effect::Members { group: group.to_owned(), added: Vec::new(), removed: vec![member.to_owned()] },
            Effect::notice(group, kind, format!("{member} left the group"), parameters),
            Effect::Changed {
                users: vec![member.to_owned()],
                what: "groups".into(),
                id: Some(group.to_owned()),
            },
        ];
        app.outbox.add(&mut transaction, effects).await?;
    }
    transaction.commit().await?;
    app.outbox.wake();
    if user != member {
        app.audit(user, "group.kick", group, member).await?;
    }
    tell(app, group).await
}

/// What is changed of a member by somebody else.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct MemberChange {
    /// `admin` or `member`.
    role: Option<String>,
    /// Until when the member may not write; 0: they may write again.
    muted_until_at: Option<i64>,
}

pub(crate) async fn change(
    app: &App,
    user: &str,
    group: &str,
    member: &str,
    change: MemberChange,
) -> Result<()> {
    let (mine, theirs) = (role(app, group, user).await?, role(app, group, member).await?);
    mine.check_outranks(theirs)?;
    let parameters = |name: &'static str, value: String| {
        [("by", user.to_owned()), ("users", member.to_owned()), (name, value)]
    };
    let mut effects = Vec::new();
    let mut transaction = app.database.begin().await?;
    if let Some(role) = change.role {
        mine.check(Action::SetRole)?;
        let role = Role::parse(&role).filter(|role| *role != Role::Owner).ok_or(Refusal::Malformed)?;
        set_role(&mut transaction, group, member, role).await?;
        let text = format!("{member} is now {}", role.as_str());
        effects.push(Effect::notice(group, "group.role", text, parameters("role", role.as_str().to_owned())));
    }
    if let Some(until) = change.muted_until_at {
        mine.check(Action::Mute)?;
        let until = Some(until).filter(|until| *until > now_ms());
        let update = "UPDATE group_members SET muted_until_at = $1 WHERE group_id = $2 AND user_id = $3";
        sqlx::query(update).bind(until).bind(group).bind(member).execute(&mut *transaction).await?;
        let text =
            if until.is_some() { format!("{member} was muted") } else { format!("{member} may write again") };
        let until = until.unwrap_or_default().to_string();
        effects.push(Effect::notice(group, "group.muted", text, parameters("until", until)));
    }
    app.outbox.add(&mut transaction, effects).await?;
    transaction.commit().await?;
    app.outbox.wake();
    app.audit(user, "group.member", group, member).await?;
    tell(app, group).await
}

/// Hands a group over to another member. The owner stays as an admin.
pub(crate) async fn transfer(app: &App, user: &str, group: &str, owner: &str) -> Result<()> {
    role(app, group, user).await?.check(Action::Transfer)?;
    role(app, group, owner).await?;
    if user == owner {
        return Err(Refusal::Yourself.into());
    }
    let mut transaction = app.database.begin().await?;
    // Of two transfers at the same time one is the owner's.
    let update = sqlx::query("UPDATE chat_groups SET owner = $1 WHERE id = $2 AND owner = $3");
    if update.bind(owner).bind(group).bind(user).execute(&mut *transaction).await?.rows_affected() == 0 {
        return Err(Refusal::GroupRole.into());
    }
    set_role(&mut transaction, group, user, Role::Admin).await?;
    set_role(&mut transaction, group, owner, Role::Owner).await?;
    let parameters = [("by", user.to_owned()), ("users", owner.to_owned())];
    let notice = Effect::notice(group, "group.owner", format!("{owner} owns the group now"), parameters);
    app.outbox.add(&mut transaction, [notice]).await?;
    transaction.commit().await?;
    app.outbox.wake();
    app.audit(user, "group.transfer", group, owner).await?;
    tell(app, group).await
}

async fn set_role(connection: &mut AnyConnection, group: &str, member: &str, role: Role) -> Result<()> {
    let update = sqlx::query("UPDATE group_members SET role = $1 WHERE group_id = $2 AND user_id = $3");
    match update.bind(role.as_str()).bind(group).bind(member).execute(connection).await?.rows_affected() {
        0 => Err(Refusal::NotMember.into()),
        _ => Ok(()),
    }
}

/// What a member changes for themselves.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct MyChange {
    /// What the others call this member; empty: by the name.
    nickname: Option<String>,
    /// What this member calls the group.
    remark: Option<String>,
}

pub(crate) async fn change_mine(app: &App, user: &str, group: &str, change: MyChange) -> Result<()> {
    role(app, group, user).await?;
    if let Some(nickname) = change.nickname {
        let update = "UPDATE group_members SET nickname = $1 WHERE group_id = $2 AND user_id = $3";
        let nickname = checked_text(&nickname, 64)?;
        sqlx::query(update).bind(nickname).bind(group).bind(user).execute(app.database.pool()).await?;
        tell(app, group).await?;
    }
    if let Some(remark) = change.remark {
        let update = "UPDATE group_members SET remark = $1 WHERE group_id = $2 AND user_id = $3";
        let remark = checked_text(&remark, 64)?;
        sqlx::query(update).bind(remark).bind(group).bind(user).execute(app.database.pool()).await?;
        app.changed([user], "groups", Some(group)).await;
    }
    Ok(())
}

/// The members of a department's group are those of the department.
async fn refuse_department(app: &App, group: &str) -> Result<()> {
    let department =
        sqlx::query("SELECT 1 FROM chat_groups WHERE id = $1 AND department IS NOT NULL").bind(group);
    match department.fetch_optional(app.database.pool()).await? {
        Some(_) => Err(Refusal::DepartmentGroup.into()),
        None => Ok(()),
    }
}
