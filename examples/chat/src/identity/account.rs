//! Accounts and profiles.

use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, FromRow};
use utoipa::ToSchema;

use super::password;
use crate::{
    app::App,
    database::{fold, now_ms},
    files,
    refusal::{Refusal, Result},
};

/// A user, as everybody sees them.
#[derive(Clone, Debug, FromRow, Serialize, ToSchema)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) about: String,
    /// The id of a file.
    pub(crate) avatar: Option<String>,
    pub(crate) department: Option<String>,
    #[sqlx(try_from = "i64")]
    pub(crate) is_system: Flag,
}

/// A flag, which the tables hold as 0 or 1.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(transparent)]
pub(crate) struct Flag(pub(crate) bool);

impl From<i64> for Flag {
    fn from(value: i64) -> Self {
        Self(value != 0)
    }
}

/// The columns of a [`User`].
pub(crate) const COLUMNS: &str =
    "users.id, users.name, users.about, users.avatar, users.department, users.is_system";

/// A user, as they see themselves.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Me {
    #[serde(flatten)]
    pub(crate) user: User,
    /// Where one-time codes go.
    pub(crate) address: Option<String>,
    pub(crate) language: String,
    pub(crate) permissions: Vec<String>,
}

impl Me {
    pub(crate) async fn read(app: &App, id: &str) -> Result<Self> {
        let user = find(app, id).await?.ok_or(Refusal::SignedOut)?;
        let (address, language): (Option<String>, String) =
            sqlx::query_as("SELECT address, language FROM users WHERE id = $1")
                .bind(id)
                .fetch_one(app.database.pool())
                .await?;
        let permissions = "SELECT DISTINCT permission FROM user_roles JOIN role_permissions USING (role) \
             WHERE user_id = $1 ORDER BY permission";
        let permissions: Vec<(String,)> =
            sqlx::query_as(permissions).bind(id).fetch_all(app.database.pool()).await?;
        let permissions = permissions.into_iter().map(|(permission,)| permission).collect();
        Ok(Self { user, address, language, permissions })
    }
}

/// A new account.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NewAccount {
    /// 3 to 32 of `a-z`, `0-9`, `.`, `_` and `-`. It never changes.
    pub(crate) id: String,
    pub(crate) name: String,
    /// 8 to 200 characters.
    pub(crate) password: String,
    /// `en` or `zh`.
    pub(crate) language: String,
    #[serde(default)]
    pub(crate) device_name: String,
}

/// Creates an account. The first one of a deployment is its administrator.
pub(crate) async fn create(app: &App, account: &NewAccount) -> Result<()> {
    check_id(&account.id)?;
    let name = checked_name(&account.name)?;
    let language = checked_language(&account.language)?;
    password::check(&account.password)?;
    let hash = password::hash(account.password.clone()).await?;
    let mut transaction = app.database.begin().await?;
    let insert = "INSERT INTO users (id, name, name_folded, language, password_hash, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    let inserted = sqlx::query(insert)
        .bind(&account.id)
        .bind(&name)
        .bind(fold(&name))
        .bind(language)
        .bind(hash)
        .bind(now_ms())
        .execute(&mut *transaction)
        .await?;
    if inserted.rows_affected() == 0 {
        return Err(Refusal::IdTaken.into());
    }
    let others =
        sqlx::query("SELECT 1 FROM users WHERE is_system = 0 AND id <> $1 LIMIT 1").bind(&account.id);
    if others.fetch_optional(&mut *transaction).await?.is_none() {
        grant_role(&mut transaction, &account.id, "administrator").await?;
    }
    transaction.commit().await?;
    app.audit(&account.id, "account.create", &account.id, "").await
}

pub(crate) async fn grant_role(connection: &mut AnyConnection, user: &str, role: &str) -> Result<()> {
    sqlx::query("INSERT INTO user_roles (user_id, role) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(user)
        .bind(role)
        .execute(connection)
        .await?;
    Ok(())
}

/// Finds one user.
pub(crate) async fn find(app: &App, id: &str) -> Result<Option<User>> {
    let select = format!("SELECT {COLUMNS} FROM users WHERE id = $1");
    let user = sqlx::query_as(sqlx::AssertSqlSafe(select)).bind(id).fetch_optional(app.database.pool());
    Ok(user.await?)
}

/// Finds the users who exist among these.
pub(crate) async fn find_all(app: &App, ids: &[&str]) -> Result<Vec<User>> {
    let mut users = Vec::with_capacity(ids.len());
    for id in ids.iter().take(100) {
        users.extend(find(app, id).await?);
    }
    Ok(users)
}

/// Finds people whose id or name begins with a text, or whose name has a word that does.
pub(crate) async fn search(app: &App, text: &str, limit: i64) -> Result<Vec<User>> {
    let text = fold(text).replace(['%', '_', '\\'], "");
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let select = format!(
        "SELECT {COLUMNS} FROM users WHERE is_system = 0 AND (id LIKE $1 OR name_folded LIKE $1 OR name_folded LIKE $2) \
         ORDER BY name_folded, id LIMIT $3"
    );
    let users = sqlx::query_as(sqlx::AssertSqlSafe(select))
        .bind(format!("{text}%"))
        .bind(format!("% {text}%"))
        .bind(limit)
        .fetch_all(app.database.pool());
    Ok(users.await?)
}

/// What a user changes of their profile.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct ProfileChange {
    name: Option<String>,
    about: Option<String>,
    /// The id of a picture that the user has uploaded; an empty text: none.
    avatar: Option<String>,
    language: Option<String>,
    /// An address for one-time codes; an empty text: none.
    address: Option<String>,
}

pub(crate) async fn change_profile(app: &App, user: &str, change: ProfileChange) -> Result<()> {
    let database = app.database.pool();
    if let Some(name) = change.name {
        let name = checked_name(&name)?;
        let update = "UPDATE users SET name = $1, name_folded = $2 WHERE id = $3";
        sqlx::query(update).bind(&name).bind(fold(&name)).bind(user).execute(database).await?;
    }
    if let Some(about) = change.about {
        let about = checked_text(&about, 500)?;
        sqlx::query("UPDATE users SET about = $1 WHERE id = $2")
            .bind(about)
            .bind(user)
            .execute(database)
            .await?;
    }
    if let Some(avatar) = change.avatar {
        let avatar = files::grants::publish_picture(app, user, &avatar).await?;
        sqlx::query("UPDATE users SET avatar = $1 WHERE id = $2")
            .bind(avatar)
            .bind(user)
            .execute(database)
            .await?;
    }
    if let Some(language) = change.language {
        let update = sqlx::query("UPDATE users SET language = $1 WHERE id = $2");
        update.bind(checked_language(&language)?).bind(user).execute(database).await?;
    }
    if let Some(address) = change.address {
        set_address(app, user, &address).await?;
    }
    Ok(())
}

async fn set_address(app: &App, user: &str, address: &str) -> Result<()> {
    let address = checked_text(address, 200)?.to_lowercase();
    let address = Some(address).filter(|address| !address.is_empty());
    let update = sqlx::query("UPDATE users SET address = $1 WHERE id = $2").bind(address).bind(user);
    match update.execute(app.database.pool()).await {
        Ok(_) => app.audit(user, "account.address", user, "").await,
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Err(Refusal::AddressTaken.into()),
        Err(error) => Err(error.into()),
    }
}

fn check_id(id: &str) -> Result<()> {
    let is_valid = (3..=32).contains(&id.len())
        && id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
    if is_valid { Ok(()) } else { Err(Refusal::InvalidId.into()) }
}

/// Returns a name without blanks around it and without characters that cannot be seen.
pub(crate) fn checked_name(name: &str) -> Result<String> {
    let name: String = name.trim().chars().filter(|character| !is_hidden(*character)).collect();
    match (1..=64).contains(&name.chars().count()) {
        true => Ok(name),
        false => Err(Refusal::InvalidName.into()),
    }
}

/// Returns a text of at most so many characters.
pub(crate) fn checked_text(text: &str, most: usize) -> Result<String> {
    match text.trim().chars().count() <= most {
        true => Ok(text.trim().to_owned()),
        false => Err(Refusal::TooLong.into()),
    }
}

/// Characters by which a name would pretend to be another one: controls, and those that change the direction of writing.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

fn checked_language(language: &str) -> Result<&'static str> {
    match language {
        "en" => Ok("en"),
        "zh" => Ok("zh"),
        _ => Err(Refusal::Malformed.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_visible_and_cannot_turn_the_text_round() {
        assert_eq!(checked_name("  Ali\u{202E}ce\u{200B} ").unwrap(), "Alice");
        assert!(checked_name(" \u{200B} ").is_err());
        assert!(checked_name(&"x".repeat(65)).is_err());
        assert_eq!(checked_name("爱丽丝").unwrap(), "爱丽丝");
    }

    #[test]
    fn ids_are_plain() {
        for id in ["al", "Alice", "al ice", "../etc", "爱丽丝", "a\u{0}bc", &"x".repeat(33)] {
            assert!(check_id(id).is_err(), "{id:?}");
        }
        assert!(check_id("alice.b-2_c").is_ok());
    }
}
