//! Live rooms and calls.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::FromRow;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{DONE, Done};
use crate::{
    app::{Caller, SharedApp},
    refusal::{Refusal, Result},
};

pub(super) fn router() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(list_rooms)).routes(routes!(like)).routes(routes!(get_ice_servers))
}

#[derive(Debug, FromRow, Serialize, ToSchema)]
struct Room {
    /// The id, which is that of the SDK's room.
    id: String,
    title: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Rooms {
    rooms: Vec<Room>,
}

/// Lists live rooms.
#[utoipa::path(get, path = "/api/rooms", responses((status = 200, body = Rooms)))]
async fn list_rooms(State(app): State<SharedApp>, _: Caller) -> Result<Json<Rooms>> {
    let rooms =
        sqlx::query_as("SELECT id, title FROM rooms ORDER BY id").fetch_all(app.database.pool()).await?;
    Ok(Json(Rooms { rooms }))
}

#[derive(Debug, Deserialize, ToSchema)]
struct Likes {
    /// 1 to 50: pages add up the likes of a second.
    count: u64,
}

/// Likes what happens in a room. The sum of all likes goes to everybody in it, some times a second.
#[utoipa::path(post, path = "/api/rooms/{id}/likes", request_body = Likes, responses((status = 200, body = Done)))]
async fn like(
    State(app): State<SharedApp>,
    _: Caller,
    Path(id): Path<String>,
    Json(likes): Json<Likes>,
) -> Result<Json<Done>> {
    let known = sqlx::query("SELECT 1 FROM rooms WHERE id = $1").bind(&id);
    known.fetch_optional(app.database.pool()).await?.ok_or(Refusal::NotFound)?;
    app.im.room(id.as_str()).count("like", likes.count.clamp(1, 50))?;
    Ok(DONE)
}

/// Returns the servers by which calls find a way through firewalls. This application has none of its own, so calls work within
/// a network.
#[utoipa::path(get, path = "/api/ice", responses((status = 200, body = Value)))]
async fn get_ice_servers(_: Caller) -> Json<Value> {
    Json(json!({ "iceServers": [] }))
}
