//! Departments: a tree, of which each one owns a group of all people in it and below it.

use std::collections::BTreeSet;

use serde::Serialize;
use sqlx::{AnyConnection, FromRow};
use utoipa::ToSchema;

use crate::{
    app::{App, SYSTEM_USER},
    database::{fold, new_id},
    groups::{self, members, permissions::Role},
    identity::account::{self, User, checked_name},
    outbox::Effect,
    refusal::{Refusal, Result},
};

/// The depth of the tree: a bound for walks up, should rows ever form a circle.
const MOST_LEVELS: usize = 32;

/// A department.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(crate) struct Department {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) parent: Option<String>,
    /// Its group.
    #[sqlx(rename = "group_id")]
    pub(crate) group: String,
    /// How many people are in it and below it.
    pub(crate) people: i64,
}

pub(crate) async fn list(app: &App) -> Result<Vec<Department>> {
    let select = "SELECT departments.id, departments.name, parent, group_id, member_count AS people FROM departments \
         JOIN chat_groups ON chat_groups.id = group_id ORDER BY name_folded, departments.id";
    Ok(sqlx::query_as(select).fetch_all(app.database.pool()).await?)
}

/// Lists the people of a department itself.
pub(crate) async fn people(app: &App, id: &str) -> Result<Vec<User>> {
    let select = format!(
        "SELECT {} FROM users WHERE department = $1 ORDER BY name_folded, id LIMIT 1000",
        account::COLUMNS
    );
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(select)).bind(id).fetch_all(app.database.pool()).await?)
}

/// Creates a department and its group. Returns its id.
pub(crate) async fn create(app: &App, user: &str, name: &str, parent: Option<&str>) -> Result<String> {
    let name = checked_name(name)?;
    let mut transaction = app.database.begin().await?;
    if let Some(parent) = parent {
        ancestors(&mut transaction, parent).await?;
    }
    let id = new_id("d");
    let group = groups::insert(&mut transaction, SYSTEM_USER, &name, "invite", Some(&id)).await?;
    sqlx::query("INSERT INTO departments (id, name, parent, group_id) VALUES ($1, $2, $3, $4)")
        .bind(&id)
        .bind(&name)
        .bind(parent)
        .bind(&group)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    app.audit(user, "department.create", &id, &name).await?;
    Ok(id)
}

/// Renames a department and its group.
pub(crate) async fn rename(app: &App, user: &str, id: &str, name: &str) -> Result<()> {
    let name = checked_name(name)?;
    let mut transaction = app.database.begin().await?;
    let group: Option<(String,)> =
        sqlx::query_as("UPDATE departments SET name = $1 WHERE id = $2 RETURNING group_id")
            .bind(&name)
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await?;
    let (group,) = group.ok_or(Refusal::NoSuchDepartment)?;
    sqlx::query("UPDATE chat_groups SET name = $1, name_folded = $2 WHERE id = $3")
        .bind(&name)
        .bind(fold(&name))
        .bind(&group)
        .execute(&mut *transaction)
        .await?;
    let parameters = [("by", user.to_owned()), ("name", name.clone())];
    let notice =
        Effect::notice(&group, "group.renamed", format!("the department is now called {name}"), parameters);
    app.outbox.add(&mut transaction, [notice]).await?;
    transaction.commit().await?;
    app.outbox.wake();
    app.audit(user, "department.rename", id, &name).await?;
    groups::tell(app, &group).await
}

/// Puts a department below another one. Its people leave the groups above the old place and come into those above the new one.
pub(crate) async fn set_parent(app: &App, user: &str, id: &str, parent: Option<&str>) -> Result<()> {
    let mut transaction = app.database.begin().await?;
    let before = ancestors(&mut transaction, id).await?;
    let above = match parent {
        Some(parent) => ancestors(&mut transaction, parent).await?,
        None => Vec::new(),
    };
    if above.iter().any(|department| department == id) {
        return Err(Refusal::DepartmentLoop.into());
    }
    sqlx::query("UPDATE departments SET parent = $1 WHERE id = $2")
        .bind(parent)
        .bind(id)
        .execute(&mut *transaction)
        .await?;
    let people: Vec<(String,)> = sqlx::query_as(
        "SELECT user_id FROM group_members JOIN departments ON departments.group_id = group_members.group_id \
         WHERE departments.id = $1",
    )
    .bind(id)
    .fetch_all(&mut *transaction)
    .await?;
    let before: BTreeSet<String> = before.into_iter().filter(|department| department != id).collect();
    let after: BTreeSet<String> = above.into_iter().collect();
    let people: Vec<String> = people.into_iter().map(|(user,)| user).collect();
    shift(app, &mut transaction, user, &people, &before, &after).await?;
    transaction.commit().await?;
    app.outbox.wake();
    app.audit(user, "department.move", id, parent.unwrap_or("-")).await
}

/// Deletes a department in which nobody is and below which nothing is.
pub(crate) async fn delete(app: &App, user: &str, id: &str) -> Result<()> {
    let mut transaction = app.database.begin().await?;
    let used = "SELECT 1 FROM departments WHERE parent = $1 UNION SELECT 1 FROM users WHERE department = $1";
    if sqlx::query(used).bind(id).fetch_optional(&mut *transaction).await?.is_some() {
        return Err(Refusal::DepartmentInUse.into());
    }
    let group: Option<(String,)> = sqlx::query_as("DELETE FROM departments WHERE id = $1 RETURNING group_id")
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await?;
    let (group,) = group.ok_or(Refusal::NoSuchDepartment)?;
    sqlx::query("UPDATE chat_groups SET is_dissolved = 1 WHERE id = $1")
        .bind(&group)
        .execute(&mut *transaction)
        .await?;
    app.outbox.add(&mut transaction, [Effect::Dissolve { group }]).await?;
    transaction.commit().await?;
    app.outbox.wake();
    app.audit(user, "department.delete", id, "").await
}

/// Moves a user to another department, into its groups and out of the old ones: in one transaction, with the notices of it.
pub(crate) async fn move_user(app: &App, by: &str, user: &str, department: Option<&str>) -> Result<()> {
    app.require(by, "departments.manage").await?;
    let mut transaction = app.database.begin().await?;
    place(app, &mut transaction, by, user, department).await?;
    transaction.commit().await?;
    app.outbox.wake();
    app.changed([user], "me", None).await;
    app.audit(by, "department.user", user, department.unwrap_or("-")).await
}

/// Does the same within a transaction.
pub(crate) async fn place(
    app: &App,
    connection: &mut AnyConnection,
    by: &str,
    user: &str,
    department: Option<&str>,
) -> Result<()> {
    let select = format!("SELECT department FROM users WHERE id = $1{}", app.database.for_update());
    let old: Option<(Option<String>,)> =
        sqlx::query_as(sqlx::AssertSqlSafe(select)).bind(user).fetch_optional(&mut *connection).await?;
    let (old,) = old.ok_or(Refusal::NoSuchUser)?;
    let before = match old {
        Some(old) => ancestors(connection, &old).await?,
        None => Vec::new(),
    };
    let after = match department {
        Some(department) => ancestors(connection, department).await?,
        None => Vec::new(),
    };
    sqlx::query("UPDATE users SET department = $1 WHERE id = $2")
        .bind(department)
        .bind(user)
        .execute(&mut *connection)
        .await?;
    let (before, after) = (before.into_iter().collect(), after.into_iter().collect());
    shift(app, connection, by, &[user.to_owned()], &before, &after).await
}

/// Takes people out of the groups of some departments and into those of others.
async fn shift(
    app: &App,
    connection: &mut AnyConnection,
    by: &str,
    people: &[String],
    before: &BTreeSet<String>,
    after: &BTreeSet<String>,
) -> Result<()> {
    let mut effects = Vec::new();
    for (departments, comes) in [(before - after, false), (after - before, true)] {
        for department in departments {
            let (group,): (String,) = sqlx::query_as("SELECT group_id FROM departments WHERE id = $1")
                .bind(&department)
                .fetch_one(&mut *connection)
                .await?;
            let mut changed = Vec::new();
            for user in people {
                let has_changed = match comes {
                    true => members::insert(connection, &group, user, Role::Member).await?,
                    false => members::delete(connection, &group, user).await?,
                };
                if has_changed {
                    changed.push(user.clone());
                }
            }
            if changed.is_empty() {
                continue;
            }
            let parameters = [("by", by.to_owned()), ("users", changed.join(","))];
            let (kind, verb) = if comes { ("group.joined", "joined") } else { ("group.left", "left") };
            let text = format!("{} {verb} the department", changed.join(", "));
            let (added, removed) =
                if comes { (changed.clone(), Vec::new()) } else { (Vec::new(), changed.clone()) };
            effects.extend([
                Effect::Members { group: group.clone(), added, removed },
                Effect::notice(&group, kind, text, parameters),
                Effect::Changed { users: changed, what: "groups".into(), id: Some(group) },
            ]);
        }
    }
    app.outbox.add(connection, effects).await
}

/// Returns a department and all above it.
async fn ancestors(connection: &mut AnyConnection, id: &str) -> Result<Vec<String>> {
    let mut path = Vec::new();
    let mut next = Some(id.to_owned());
    while let Some(id) = next {
        let parent: Option<(Option<String>,)> =
            sqlx::query_as("SELECT parent FROM departments WHERE id = $1")
                .bind(&id)
                .fetch_optional(&mut *connection)
                .await?;
        let (parent,) = parent.ok_or(Refusal::NoSuchDepartment)?;
        if path.len() == MOST_LEVELS || path.contains(&id) {
            return Err(Refusal::DepartmentLoop.into());
        }
        path.push(id);
        next = parent;
    }
    Ok(path)
}
