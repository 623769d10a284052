//! Files: uploaded in parts, checked, stored in an object store, and read by signed links.

pub(crate) mod content_type;
pub(crate) mod grants;
pub(crate) mod links;
pub(crate) mod serve;
pub(crate) mod thumbnail;
pub(crate) mod upload;

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use object_store::{
    ObjectStore, ObjectStoreExt, aws::AmazonS3Builder, local::LocalFileSystem, path::Path as Key,
};
use ring::hmac;
use serde::Serialize;
use sqlx::FromRow;
use utoipa::ToSchema;

use crate::{app::App, identity::account::Flag, refusal::Result};

/// The most bytes of a file.
pub(crate) const MOST_BYTES: i64 = 50 << 20;

/// Where files are: a directory, or a bucket of any store that speaks S3.
#[derive(Debug)]
pub(crate) struct FileStore {
    objects: Arc<dyn ObjectStore>,
    /// Signs links.
    key: hmac::Key,
}

impl FileStore {
    /// Opens `s3://bucket`, whose credentials are in the environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, ..), or a directory.
    pub(crate) fn open(location: &str, secret: &[u8]) -> Result<Self, Box<dyn std::error::Error>> {
        let objects: Arc<dyn ObjectStore> = match location.strip_prefix("s3://") {
            Some(bucket) => Arc::new(AmazonS3Builder::from_env().with_bucket_name(bucket).build()?),
            None => {
                std::fs::create_dir_all(Path::new(location))?;
                Arc::new(LocalFileSystem::new_with_prefix(location)?)
            }
        };
        Ok(Self { objects, key: hmac::Key::new(hmac::HMAC_SHA256, secret) })
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.objects.put(&Key::from(key), bytes.into()).await?;
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Bytes> {
        Ok(self.objects.get(&Key::from(key)).await?.bytes().await?)
    }

    /// Deletes an object. One that is not there is deleted.
    async fn delete(&self, key: &str) -> Result<()> {
        match self.objects.delete(&Key::from(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A file.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(crate) struct File {
    pub(crate) id: String,
    #[serde(skip)]
    pub(crate) owner: String,
    pub(crate) name: String,
    /// The MIME type, which was checked against the content.
    #[sqlx(rename = "type")]
    #[serde(rename = "type")]
    pub(crate) content_type: String,
    pub(crate) bytes: i64,
    /// How many bytes have been received.
    #[sqlx(rename = "received")]
    pub(crate) offset: i64,
    #[sqlx(try_from = "i64")]
    pub(crate) is_complete: Flag,
    /// Pixels, of a picture.
    pub(crate) width: Option<i64>,
    pub(crate) height: Option<i64>,
    #[sqlx(try_from = "i64")]
    pub(crate) has_thumbnail: Flag,
}

/// Finds a file.
pub(crate) async fn find(app: &App, id: &str) -> Result<Option<File>> {
    let select = "SELECT id, owner, name, type, bytes, received, is_complete, width, height, has_thumbnail FROM files \
         WHERE id = $1";
    Ok(sqlx::query_as(select).bind(id).fetch_optional(app.database.pool()).await?)
}

fn data_key(id: &str) -> String {
    format!("{id}/data")
}

fn thumbnail_key(id: &str) -> String {
    format!("{id}/thumbnail")
}

fn part_key(id: &str, offset: i64) -> String {
    format!("{id}/part-{offset:010}")
}
