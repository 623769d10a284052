//! Who may read a file: its owner, and whoever it was sent to.

use im_sdk::{Recipient, content::Content, id::UserId};

use super::{find, upload};
use crate::{
    app::App,
    refusal::{Refusal, Result},
};

/// Returns `true` if a user may read a file.
pub(crate) async fn may_read(app: &App, user: &str, id: &str) -> Result<bool> {
    let select = "SELECT 1 FROM files WHERE id = $1 AND owner = $2 \
         UNION SELECT 1 FROM file_grants WHERE file_id = $1 AND reader IN ('*', $3) \
         UNION SELECT 1 FROM file_grants JOIN group_members ON reader = 'c:' || group_id \
         WHERE file_id = $1 AND user_id = $2";
    let found =
        sqlx::query(select).bind(id).bind(user).bind(format!("u:{user}")).fetch_optional(app.database.pool());
    Ok(found.await?.is_some())
}

/// Lets the recipients of a message read its files. Refuses files that are elsewhere, and those that the sender may not read.
pub(crate) async fn grant(app: &App, from: &UserId, to: &Recipient, content: &Content) -> Result<()> {
    for media in content.media() {
        let id = media.url.strip_prefix("/files/").ok_or(Refusal::ForeignMedia)?;
        let file = find(app, id).await?.filter(|file| file.is_complete.0).ok_or(Refusal::NoSuchFile)?;
        if !may_read(app, from.as_str(), id).await? {
            return Err(Refusal::NoSuchFile.into());
        }
        let readers = match to {
            Recipient::User(user) => vec![format!("u:{user}"), format!("u:{from}")],
            Recipient::Channel(channel) => vec![format!("c:{channel}"), format!("u:{from}")],
        };
        for reader in readers {
            insert(app, &file.id, &reader).await?;
        }
    }
    Ok(())
}

/// Lets everybody read a picture that a user has uploaded, for a profile or a group. An empty id is none.
pub(crate) async fn publish_picture(app: &App, user: &str, id: &str) -> Result<Option<String>> {
    if id.is_empty() {
        return Ok(None);
    }
    let file = upload::own(app, user, id).await?;
    if !file.is_complete.0 || !file.content_type.starts_with("image/") {
        return Err(Refusal::FileType.into());
    }
    insert(app, id, "*").await?;
    Ok(Some(file.id))
}

async fn insert(app: &App, file: &str, reader: &str) -> Result<()> {
    sqlx::query("INSERT INTO file_grants (file_id, reader) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(file)
        .bind(reader)
        .execute(app.database.pool())
        .await?;
    Ok(())
}
