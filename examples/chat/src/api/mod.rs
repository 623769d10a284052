//! The HTTP API. `/docs` shows it, made from these functions.

mod accounts;
mod admin;
mod files;
mod friends;
mod groups;
mod live;
mod sessions;

use axum::Json;
use serde::Serialize;
use serde_json::Value;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{app::SharedApp, refusal::Refusal};

#[derive(OpenApi)]
#[openapi(info(
    title = "Chat",
    description = "Users, friends, groups, departments and files of the chat application. Messages are sent over the SDK. \
        Requests carry `Authorization: Bearer <access token>`; those that change something also carry `X-Chat: 1`. \
        A failure has a code, and a text in English and Chinese."
))]
struct Document;

/// Returns the routes of the API and their description.
pub(crate) fn router() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(sessions::router())
        .merge(accounts::router())
        .merge(friends::router())
        .merge(groups::router())
        .merge(files::router())
        .merge(live::router())
        .merge(admin::router())
        .routes(routes!(list_refusals))
}

/// An answer that says nothing but that it is done.
#[derive(Debug, Serialize, ToSchema)]
struct Done {}

const DONE: Json<Done> = Json(Done {});

/// Lists all refusals, with their numbers in the SDK and their texts.
#[utoipa::path(get, path = "/api/refusals", responses((status = 200, body = Value)))]
async fn list_refusals() -> Json<Value> {
    Json(Refusal::list())
}
