//! Files.

use std::collections::BTreeMap;

use axum::{
    Json,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{DONE, Done};
use crate::{
    app::{Caller, SharedApp},
    files::{
        self, File, grants,
        links::{Links, Signature},
        serve,
        upload::{self, MOST_PART},
    },
    refusal::{Refusal, Result},
};

pub(super) fn router() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .routes(routes!(begin_upload))
        .routes(routes!(get_upload, add_part, cancel_upload))
        .routes(routes!(complete_upload))
        .routes(routes!(make_links))
        .routes(routes!(read_file))
        .layer(DefaultBodyLimit::max(MOST_PART))
}

#[derive(Debug, Deserialize, ToSchema)]
struct NewFile {
    name: String,
    /// The MIME type.
    #[serde(rename = "type")]
    content_type: String,
    bytes: i64,
}

#[derive(Debug, Serialize, ToSchema)]
struct Offset {
    offset: i64,
}

/// Begins an upload.
#[utoipa::path(post, path = "/api/files", request_body = NewFile, responses((status = 201, body = File)))]
async fn begin_upload(
    State(app): State<SharedApp>,
    caller: Caller,
    Json(new): Json<NewFile>,
) -> Result<(StatusCode, Json<File>)> {
    let file = upload::begin(&app, caller.as_str(), &new.name, &new.content_type, new.bytes).await?;
    Ok((StatusCode::CREATED, Json(file)))
}

/// Tells how far an upload is.
#[utoipa::path(get, path = "/api/files/{id}", responses((status = 200, body = File)))]
async fn get_upload(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<File>> {
    Ok(Json(upload::own(&app, caller.as_str(), &id).await?))
}

/// Takes the next bytes, at most 1 MiB: those from the offset on that the header `Upload-Offset` names.
#[utoipa::path(patch, path = "/api/files/{id}", request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = Offset)))]
async fn add_part(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    part: Bytes,
) -> Result<Json<Offset>> {
    let offset = headers.get("upload-offset").and_then(|offset| offset.to_str().ok()?.parse().ok());
    let offset =
        upload::add_part(&app, caller.as_str(), &id, offset.ok_or(Refusal::Malformed)?, part).await?;
    Ok(Json(Offset { offset }))
}

/// Cancels an upload.
#[utoipa::path(delete, path = "/api/files/{id}", responses((status = 200, body = Done)))]
async fn cancel_upload(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Done>> {
    upload::cancel(&app, caller.as_str(), &id).await?;
    Ok(DONE)
}

/// Completes an upload. From then on the file can be sent.
#[utoipa::path(post, path = "/api/files/{id}/complete", responses((status = 200, body = File)))]
async fn complete_upload(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<File>> {
    Ok(Json(upload::complete(&app, caller.as_str(), &id).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
struct Ids {
    /// At most 100.
    ids: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct FileLinks {
    links: BTreeMap<String, Links>,
}

/// Makes links to files, for an hour or two. Files that the caller may not read are left out.
#[utoipa::path(post, path = "/api/files/links", request_body = Ids, responses((status = 200, body = FileLinks)))]
async fn make_links(
    State(app): State<SharedApp>,
    caller: Caller,
    Json(request): Json<Ids>,
) -> Result<Json<FileLinks>> {
    let mut links = BTreeMap::new();
    for id in request.ids.into_iter().take(100) {
        if grants::may_read(&app, caller.as_str(), &id).await?
            && let Some(file) = files::find(&app, &id).await?.filter(|file| file.is_complete.0)
        {
            links.insert(id, app.files.links(&file));
        }
    }
    Ok(Json(FileLinks { links }))
}

/// Reads a file by its link. Ranges are possible.
#[utoipa::path(get, path = "/files/{id}", params(Signature), responses((status = 200), (status = 206)))]
async fn read_file(
    State(app): State<SharedApp>,
    Path(id): Path<String>,
    Query(signature): Query<Signature>,
    headers: HeaderMap,
) -> Result<Response> {
    serve::read(&app, &id, &signature, &headers).await
}
