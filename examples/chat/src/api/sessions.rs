//! Signing in and out.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::SET_COOKIE},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{DONE, Done};
use crate::{
    app::{App, Caller, FromPage, SharedApp},
    identity::{
        account::{self, NewAccount, User},
        attempts, code, password,
        session::{self, Begun, ListedSession, Session},
    },
    refusal::{Failure, Refusal, Result},
};

/// The life of a token for the SDK. Short, since a server accepts it until it ends.
const IM_TOKEN: Duration = Duration::from_secs(10 * 60);

pub(super) fn router() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new()
        .routes(routes!(create_account))
        .routes(routes!(sign_in, list_sessions, sign_out_everywhere))
        .routes(routes!(send_code))
        .routes(routes!(sign_in_by_code))
        .routes(routes!(refresh))
        .routes(routes!(sign_out))
        .routes(routes!(end_session))
        .routes(routes!(list_demo_users))
        .routes(routes!(sign_in_as_demo_user))
        .routes(routes!(im_token))
}

/// Answers a sign-in: the refresh token goes into the cookie, the rest to the page.
fn begun(app: &App, begun: Begun, status: StatusCode) -> Response {
    let mut response = (status, Json(begun.session)).into_response();
    if let Some(token) = begun.refresh_token {
        response.headers_mut().insert(SET_COOKIE, session::set_cookie(app, Some(&token)));
    }
    response
}

/// Creates an account and signs it in.
#[utoipa::path(post, path = "/api/accounts", request_body = NewAccount, responses((status = 201, body = Session)))]
async fn create_account(
    State(app): State<SharedApp>,
    _: FromPage,
    Json(account): Json<NewAccount>,
) -> Result<Response> {
    attempts::count(&app.database, "accounts", 1000, Duration::from_secs(3600)).await?;
    account::create(&app, &account).await?;
    let session = session::begin(&app, &account.id, &account.device_name).await?;
    Ok(begun(&app, session, StatusCode::CREATED))
}

#[derive(Debug, Deserialize, ToSchema)]
struct SignIn {
    id: String,
    password: String,
    #[serde(default)]
    device_name: String,
}

/// Signs in with a password. After 10 wrong ones an account waits for 15 minutes.
#[utoipa::path(post, path = "/api/sessions", request_body = SignIn, responses((status = 200, body = Session)))]
async fn sign_in(State(app): State<SharedApp>, _: FromPage, Json(request): Json<SignIn>) -> Result<Response> {
    let attempt = format!("password:{}", request.id);
    attempts::count(&app.database, &attempt, 10, Duration::from_secs(15 * 60)).await?;
    let hash: Option<(Option<String>,)> = sqlx::query_as("SELECT password_hash FROM users WHERE id = $1")
        .bind(&request.id)
        .fetch_optional(app.database.pool())
        .await?;
    if !password::verify(request.password, hash.and_then(|(hash,)| hash)).await? {
        return Err(Refusal::WrongPassword.into());
    }
    attempts::clear(&app.database, &attempt).await?;
    let session = session::begin(&app, &request.id, &request.device_name).await?;
    Ok(begun(&app, session, StatusCode::OK))
}

#[derive(Debug, Deserialize, ToSchema)]
struct Address {
    address: String,
}

/// Sends a one-time code to an address, if it belongs to an account: the answer does not tell.
#[utoipa::path(post, path = "/api/sessions/code", request_body = Address, responses((status = 202, body = Done)))]
async fn send_code(
    State(app): State<SharedApp>,
    _: FromPage,
    Json(request): Json<Address>,
) -> Result<(StatusCode, Json<Done>)> {
    code::send(&app, &code::ConsoleSender, &request.address).await?;
    Ok((StatusCode::ACCEPTED, DONE))
}

#[derive(Debug, Deserialize, ToSchema)]
struct SignInByCode {
    address: String,
    code: String,
    #[serde(default)]
    device_name: String,
}

/// Signs in with a one-time code.
#[utoipa::path(post, path = "/api/sessions/by-code", request_body = SignInByCode, responses((status = 200, body = Session)))]
async fn sign_in_by_code(
    State(app): State<SharedApp>,
    _: FromPage,
    Json(request): Json<SignInByCode>,
) -> Result<Response> {
    let user = code::redeem(&app, &request.address, &request.code).await?;
    let session = session::begin(&app, &user, &request.device_name).await?;
    Ok(begun(&app, session, StatusCode::OK))
}

/// Gives a new access token for the refresh token in the cookie.
#[utoipa::path(post, path = "/api/sessions/refresh", responses((status = 200, body = Session)))]
async fn refresh(State(app): State<SharedApp>, _: FromPage, headers: HeaderMap) -> Result<Response> {
    let token = session::cookie(&headers).ok_or(Refusal::SignedOut)?;
    Ok(begun(&app, session::refresh(&app, token).await?, StatusCode::OK))
}

#[derive(Debug, Serialize, ToSchema)]
struct Sessions {
    sessions: Vec<ListedSession>,
}

/// Lists the caller's sessions.
#[utoipa::path(get, path = "/api/sessions", responses((status = 200, body = Sessions)))]
async fn list_sessions(State(app): State<SharedApp>, caller: Caller) -> Result<Json<Sessions>> {
    Ok(Json(Sessions { sessions: session::list(&app, &caller).await? }))
}

/// Signs the caller out of this session, and closes its sockets.
#[utoipa::path(delete, path = "/api/sessions/current", responses((status = 200, body = Done)))]
async fn sign_out(State(app): State<SharedApp>, caller: Caller) -> Result<Response> {
    session::end(&app, caller.as_str(), &caller.session, "signed out").await?;
    Ok(([(SET_COOKIE, session::set_cookie(&app, None))], DONE).into_response())
}

/// Signs another session of the caller out.
#[utoipa::path(delete, path = "/api/sessions/{id}", responses((status = 200, body = Done)))]
async fn end_session(
    State(app): State<SharedApp>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Done>> {
    match session::end(&app, caller.as_str(), &id, "signed out from another device").await? {
        true => Ok(DONE),
        false => Err(Refusal::NotFound.into()),
    }
}

/// Signs the caller out of all sessions, and closes all sockets.
#[utoipa::path(delete, path = "/api/sessions", responses((status = 200, body = Done)))]
async fn sign_out_everywhere(State(app): State<SharedApp>, caller: Caller) -> Result<Response> {
    session::end_all(&app, caller.as_str(), None, "signed out everywhere").await?;
    Ok(([(SET_COOKIE, session::set_cookie(&app, None))], DONE).into_response())
}

#[derive(Debug, Serialize, ToSchema)]
struct Users {
    users: Vec<User>,
}

/// Lists the users of a demonstration, who need no password. Empty in any other deployment.
#[utoipa::path(get, path = "/api/demo", responses((status = 200, body = Users)))]
async fn list_demo_users(State(app): State<SharedApp>) -> Result<Json<Users>> {
    if !app.options.demo {
        return Ok(Json(Users { users: Vec::new() }));
    }
    let select =
        format!("SELECT {} FROM users WHERE is_demo = 1 ORDER BY created_at, id LIMIT 12", account::COLUMNS);
    let users = sqlx::query_as(sqlx::AssertSqlSafe(select)).fetch_all(app.database.pool()).await?;
    Ok(Json(Users { users }))
}

#[derive(Debug, Deserialize, ToSchema)]
struct DemoSignIn {
    id: String,
    #[serde(default)]
    device_name: String,
}

/// Signs in as a user of a demonstration.
#[utoipa::path(post, path = "/api/demo/sessions", request_body = DemoSignIn, responses((status = 200, body = Session)))]
async fn sign_in_as_demo_user(
    State(app): State<SharedApp>,
    _: FromPage,
    Json(request): Json<DemoSignIn>,
) -> Result<Response> {
    let demo = sqlx::query("SELECT 1 FROM users WHERE id = $1 AND is_demo = 1").bind(&request.id);
    if !app.options.demo || demo.fetch_optional(app.database.pool()).await?.is_none() {
        return Err(Failure::from(Refusal::NoSuchUser));
    }
    let session = session::begin(&app, &request.id, &request.device_name).await?;
    Ok(begun(&app, session, StatusCode::OK))
}

#[derive(Debug, Deserialize, ToSchema)]
struct ImTokenRequest {
    /// The id of the device in the SDK, once it is known, such as `web/ab12`.
    #[serde(default)]
    device: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct ImToken {
    token: String,
    endpoints: Vec<String>,
    expires_in_ms: u64,
}

/// Gives the caller's device a token for the SDK, and tells where to connect.
#[utoipa::path(post, path = "/api/im-token", request_body = ImTokenRequest, responses((status = 200, body = ImToken)))]
async fn im_token(
    State(app): State<SharedApp>,
    caller: Caller,
    Json(request): Json<ImTokenRequest>,
) -> Result<Json<ImToken>> {
    if let Ok(device) = request.device.parse::<im_sdk::id::Device>() {
        session::set_device(&app, &caller, &device.to_string()).await?;
    }
    let token = app.minter.mint(&caller.id, IM_TOKEN)?;
    let endpoints = match app.options.endpoints.is_empty() {
        true => {
            let addresses = app.im.endpoints().into_iter().flat_map(|server| server.addresses);
            addresses.map(|address| address.to_string()).filter(|address| address.starts_with("ws")).collect()
        }
        false => app.options.endpoints.clone(),
    };
    Ok(Json(ImToken { token, endpoints, expires_in_ms: IM_TOKEN.as_millis() as u64 }))
}
