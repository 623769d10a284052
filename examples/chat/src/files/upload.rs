//! Uploads in parts, which go on where they stopped: also on another backend, and after a restart.

use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart, path::Path as Key};

use super::{File, MOST_BYTES, content_type, data_key, find, part_key, thumbnail, thumbnail_key};
use crate::{
    app::App,
    database::{new_id, now_ms},
    identity::account::checked_name,
    refusal::{Refusal, Result},
};

/// The most bytes of a part.
pub(crate) const MOST_PART: usize = 1 << 20;
/// The most uploads of a user that are not complete.
const MOST_OPEN: i64 = 20;
/// After this time an upload that was left is deleted.
const ABANDONED_MS: i64 = 24 * 3600 * 1000;

/// Begins an upload.
pub(crate) async fn begin(app: &App, user: &str, name: &str, claimed_type: &str, bytes: i64) -> Result<File> {
    // Whatever system it comes from, a name is no path.
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name.chars().rev().take(64).collect::<Vec<_>>().into_iter().rev().collect();
    let name = checked_name(&name)?;
    let content_type = content_type::accepted(claimed_type).ok_or(Refusal::FileType)?;
    if !(1..=MOST_BYTES).contains(&bytes) {
        return Err(Refusal::FileTooLarge.into());
    }
    let open = sqlx::query_as("SELECT COUNT(*) FROM files WHERE owner = $1 AND is_complete = 0").bind(user);
    let (open,): (i64,) = open.fetch_one(app.database.pool()).await?;
    if open >= MOST_OPEN {
        return Err(Refusal::TooManyFiles.into());
    }
    let id = new_id("f");
    sqlx::query(
        "INSERT INTO files (id, owner, name, type, bytes, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(&id)
    .bind(user)
    .bind(name)
    .bind(content_type)
    .bind(bytes)
    .bind(now_ms())
    .execute(app.database.pool())
    .await?;
    own(app, user, &id).await
}

/// Finds a file of a user.
pub(crate) async fn own(app: &App, user: &str, id: &str) -> Result<File> {
    find(app, id).await?.filter(|file| file.owner == user).ok_or_else(|| Refusal::NoSuchFile.into())
}

/// Takes the bytes from an offset on. Returns the new offset.
pub(crate) async fn add_part(app: &App, user: &str, id: &str, offset: i64, part: Bytes) -> Result<i64> {
    let file = own(app, user, id).await?;
    let end = offset + i64::try_from(part.len())?;
    if file.is_complete.0 || file.offset != offset || part.is_empty() || end > file.bytes {
        return Err(Refusal::FileOffset.into());
    }
    if offset == 0 && !content_type::matches(&file.content_type, &part[..part.len().min(8192)]) {
        return Err(Refusal::FileContent.into());
    }
    app.files.put(&part_key(id, offset), part).await?;
    // Of two parts at the same offset one counts.
    let update =
        sqlx::query("UPDATE files SET received = $1 WHERE id = $2 AND received = $3 AND is_complete = 0");
    match update.bind(end).bind(id).bind(offset).execute(app.database.pool()).await?.rows_affected() {
        0 => Err(Refusal::FileOffset.into()),
        _ => Ok(end),
    }
}

/// Puts the parts together, and makes a thumbnail of a picture. Calling it again returns the same file.
pub(crate) async fn complete(app: &App, user: &str, id: &str) -> Result<File> {
    let file = own(app, user, id).await?;
    if file.is_complete.0 {
        return Ok(file);
    }
    if file.offset != file.bytes {
        return Err(Refusal::FileIncomplete.into());
    }
    let parts = parts(app, id, file.bytes).await?;
    let upload = app.files.objects.put_multipart(&Key::from(data_key(id))).await?;
    let mut upload = WriteMultipart::new(upload);
    for part in &parts {
        upload.put(app.files.get(part).await?);
    }
    upload.finish().await?;
    let picture = match file.content_type.starts_with("image/") {
        true => {
            let bytes = app.files.get(&data_key(id)).await?;
            // A picture that cannot be read is no picture.
            Some(thumbnail::make(bytes).await?.ok_or(Refusal::FileContent)?)
        }
        false => None,
    };
    if let Some(thumbnail) = picture.as_ref().and_then(|picture| picture.thumbnail.clone()) {
        app.files.put(&thumbnail_key(id), thumbnail).await?;
    }
    sqlx::query(
        "UPDATE files SET is_complete = 1, width = $1, height = $2, has_thumbnail = $3 WHERE id = $4",
    )
    .bind(picture.as_ref().map(|picture| i64::from(picture.width)))
    .bind(picture.as_ref().map(|picture| i64::from(picture.height)))
    .bind(i64::from(picture.as_ref().is_some_and(|picture| picture.thumbnail.is_some())))
    .bind(id)
    .execute(app.database.pool())
    .await?;
    for part in parts {
        app.files.delete(&part).await?;
    }
    own(app, user, id).await
}

/// Deletes an upload that is not complete.
pub(crate) async fn cancel(app: &App, user: &str, id: &str) -> Result<()> {
    let file = own(app, user, id).await?;
    if file.is_complete.0 {
        return Err(Refusal::NotPermitted.into());
    }
    delete(app, id, file.offset).await
}

/// Deletes uploads that were left.
pub(crate) async fn sweep(app: &App) -> Result<()> {
    let left: Vec<(String, i64)> =
        sqlx::query_as("SELECT id, received FROM files WHERE is_complete = 0 AND created_at < $1 LIMIT 1000")
            .bind(now_ms() - ABANDONED_MS)
            .fetch_all(app.database.pool())
            .await?;
    for (id, received) in left {
        delete(app, &id, received).await?;
    }
    Ok(())
}

async fn delete(app: &App, id: &str, received: i64) -> Result<()> {
    for part in parts(app, id, received).await? {
        app.files.delete(&part).await?;
    }
    sqlx::query("DELETE FROM files WHERE id = $1 AND is_complete = 0")
        .bind(id)
        .execute(app.database.pool())
        .await?;
    Ok(())
}

/// Lists the keys of a file's parts, by their offsets, up to its end. A part beyond was overtaken.
async fn parts(app: &App, id: &str, end: i64) -> Result<Vec<String>> {
    use futures_util::TryStreamExt;
    let prefix = Key::from(id);
    let mut parts: Vec<(i64, String)> = app
        .files
        .objects
        .list(Some(&prefix))
        .try_filter_map(async |object| {
            let key = object.location.to_string();
            let offset = key.rsplit_once("/part-").and_then(|(_, offset)| offset.parse().ok());
            Ok(offset.filter(|offset| *offset < end).map(|offset: i64| (offset, key)))
        })
        .try_collect()
        .await?;
    parts.sort();
    Ok(parts.into_iter().map(|(_, key)| key).collect())
}
