//! `cargo run -p axum-chat`
//!
//! A shop's backend: an HTTP API (axum), its own tables (SQLite), and chat. One process, nothing to install.
//!
//! ```sh
//! curl -X POST http://127.0.0.1:8080/signup/alice                                      # a key, which stands for a password
//! curl -X POST -H "Authorization: Bearer $KEY" http://127.0.0.1:8080/login             # a token, and where to connect
//! CHAT_TOKEN=$TOKEN cargo run -p cli-chat -- alice --server ws://127.0.0.1:7800        # a device
//! curl -X PUT -H "Authorization: Bearer $KEY" http://127.0.0.1:8080/friends/bob        # /groups/team/alice, ..
//! curl -H "Authorization: Bearer $KEY" http://127.0.0.1:8080/unread                    # for a badge
//! curl -H "Authorization: Bearer $KEY" "http://127.0.0.1:8080/history?user=bob"        # or ?group=team, &before=<next>
//! ```
//!
//! In production the im-servers are processes of their own: replace `Cluster::embedded_at` by `Cluster::connect`, with Redis and
//! NATS, and leave out `Server::start`. The rest stays.
#![allow(clippy::print_stdout, reason = "prints its address, and notifications in place of sending them")]

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{FromRequestParts, Path, Query, State},
    http::{StatusCode, header::AUTHORIZATION, request::Parts},
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use clap::Parser;
use im_sdk::{
    HistoryRange, Recipient,
    backend::{
        Acceptance, Handler, Im, Incoming, LoggedMessage, LoggedPublish, Message, Reach, ReachRights,
        Refusal, SendError, message_store::SqlMessageStore, user,
    },
    cluster::{Cluster, LogId, MemberTables, MembersError},
    id::{ChannelId, MessageId, UserId},
    token::{SigningKey, TokenMinter, TokenVerifier, VerificationKey, random_secret},
};
use im_server::{Server, ServerConfig};
use ring::digest;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};

#[derive(Parser)]
struct Arguments {
    /// The address of the HTTP API.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The address to which devices connect.
    #[arg(long, default_value = "127.0.0.1:7800")]
    devices: SocketAddr,
    /// The directory for tables and logs.
    #[arg(long, default_value = "axum-chat-data")]
    data: PathBuf,
    /// A user who may recall other users' messages. Can be repeated.
    #[arg(long = "moderator")]
    moderators: Vec<UserId>,
}

/// The shop's own tables. The SDK is shown `members` alone.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, key TEXT);
CREATE TABLE IF NOT EXISTS friends (user TEXT, friend TEXT, PRIMARY KEY (user, friend));
CREATE TABLE IF NOT EXISTS members (team TEXT, user TEXT, PRIMARY KEY (team, user));
CREATE INDEX IF NOT EXISTS teams ON members (user);
CREATE TABLE IF NOT EXISTS pushes (
    user TEXT, message TEXT, sender TEXT, team TEXT, text TEXT, due INTEGER, PRIMARY KEY (user, message));
-- Nobody signs up under the shop's own name.
INSERT OR IGNORE INTO users VALUES ('shop', NULL);
";

const QUEUE_PUSH: &str = "INSERT OR IGNORE INTO pushes VALUES (?, ?, ?, NULL, ?, unixepoch() + 5)";
const QUEUE_GROUP_PUSH: &str = "INSERT OR IGNORE INTO pushes \
    SELECT user, ?2, ?3, ?1, ?4, unixepoch() + 5 FROM members WHERE team = ?1 AND user <> ?3";

struct Shop {
    im: Im,
    tables: Tables,
    minter: TokenMinter,
    arguments: Arguments,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let data = |file: &str| arguments.data.join(file);
    std::fs::create_dir_all(&arguments.data)?;
    let tables = SqliteConnectOptions::new().filename(data("shop.db")).create_if_missing(true);
    let tables = Tables(SqlitePool::connect_with(tables).await?);
    sqlx::raw_sql(SCHEMA).execute(&tables.0).await?;

    // The server for devices. It verifies the tokens that the shop mints, with a secret that ends with this process.
    let secret = random_secret();
    let verifier = TokenVerifier::new("shop", "im", [VerificationKey::hs256("k1", &secret)?]);
    let minter = TokenMinter::new(SigningKey::hs256("k1", &secret)?, "shop", "im");
    let cluster = Cluster::embedded_at(data("logs.redb"))?.with_member_tables(Arc::new(tables.clone()));
    let mut config = ServerConfig::new("shop", verifier);
    config.websocket = Some(arguments.devices);
    let server = Server::start(config, cluster.clone()).await?;

    // The backend. Messages are archived: history reaches back for ever, and a message is found by its id.
    let store = format!("sqlite:{}", data("messages.db").display());
    let store = Arc::new(SqlMessageStore::connect(&store).await?);
    // The shop's own messages stand in a conversation, and count as unread.
    let im = Im::builder().archive_to(store).system_user("shop").start(cluster).await?;

    let listener = tokio::net::TcpListener::bind(arguments.listen).await?;
    let shop = Arc::new(Shop { im: im.clone(), tables, minter, arguments });
    let service = im.serve(Rules(shop.clone())).await?;
    let pushes = tokio::spawn(shop.clone().push());
    println!("listening on http://{}", listener.local_addr()?);
    let interrupted = async { _ = tokio::signal::ctrl_c().await };
    axum::serve(listener, routes(shop)).with_graceful_shutdown(interrupted).await?;

    // The devices leave first, then the parts that serve them.
    server.shutdown().await;
    service.shutdown().await;
    pushes.abort();
    im.shutdown().await;
    Ok(())
}

// The HTTP API.

fn routes(shop: Arc<Shop>) -> Router {
    Router::new()
        .route("/signup/{user}", post(sign_up))
        .route("/login", post(log_in))
        .route("/friends/{user}", put(add_friend))
        .route("/groups/{group}/{user}", put(add_member))
        .route("/unread", get(unread))
        .route("/history", get(history))
        .route("/messages/{id}", delete(recall))
        .with_state(shop)
}

/// A request that failed: a status, and the reason for the caller.
struct Failure(StatusCode, String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

/// Logs errors of the database and of the SDK, and answers with a general failure.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        tracing::error!(%error, "request failed");
        Self(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong, try again later".to_owned())
    }
}

fn fail<T>(status: StatusCode, reason: impl Into<String>) -> Result<T, Failure> {
    Err(Failure(status, reason.into()))
}

/// The shop, and the user whose key the request carries.
struct Caller(Arc<Shop>, UserId);

impl FromRequestParts<Arc<Shop>> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, shop: &Arc<Shop>) -> Result<Self, Failure> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok());
        let key = hash(header.and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default());
        match shop.tables.column("SELECT id FROM users WHERE key = ?", &[&key]).await?.pop() {
            Some(user) => Ok(Self(shop.clone(), user.parse()?)),
            None => fail(StatusCode::UNAUTHORIZED, "the key is wrong"),
        }
    }
}

async fn sign_up(State(shop): State<Arc<Shop>>, Path(id): Path<UserId>) -> Result<Json<Value>, Failure> {
    let key = format!("{:032x}", rand::random::<u128>());
    let insert = "INSERT OR IGNORE INTO users VALUES (?, ?)";
    if shop.tables.execute(insert, &[id.as_str(), &hash(&key)]).await? == 0 {
        return fail(StatusCode::CONFLICT, "the name is taken");
    }
    shop.tell(&id, format!("Welcome, {id}!"), "welcome").await?;
    Ok(Json(json!({ "key": key })))
}

/// Answers with what a device's `TokenProvider` asks for: a token, and where to connect, least loaded server first.
async fn log_in(Caller(shop, me): Caller) -> Result<Json<Value>, Failure> {
    let token = shop.minter.mint(&me, Duration::from_secs(3600))?;
    let endpoints: Vec<_> = shop.im.endpoints().into_iter().flat_map(|server| server.addresses).collect();
    Ok(Json(json!({ "token": token, "endpoints": endpoints })))
}

/// Asks for a friendship, or accepts the other user's request.
async fn add_friend(Caller(shop, me): Caller, Path(friend): Path<UserId>) -> Result<(), Failure> {
    let select = "SELECT id FROM users WHERE id = ?";
    if friend == me || shop.tables.column(select, &[friend.as_str()]).await?.is_empty() {
        return fail(StatusCode::NOT_FOUND, format!("there is no other user {friend}"));
    }
    let insert = "INSERT OR IGNORE INTO friends VALUES (?, ?)";
    shop.tables.execute(insert, &[me.as_str(), friend.as_str()]).await?;
    shop.tell(&friend, format!("{me} is your friend, if you are {me}'s."), &format!("friend-{me}")).await
}

/// Adds the caller to a new group, or a friend of the caller to one of the caller's groups.
async fn add_member(Caller(shop, me): Caller, Path(new): Path<(ChannelId, UserId)>) -> Result<(), Failure> {
    let (group, new) = new;
    let channel = shop.im.channel(&group);
    let may_add = match new == me {
        true => channel.members(None, 1).await?.is_empty(),
        false => channel.is_member(&me).await? && shop.tables.are_friends(&me, &new).await?,
    };
    if !may_add {
        return fail(StatusCode::FORBIDDEN, "the first member adds itself, the others are added by friends");
    }
    // First the shop's own transaction, then the call that tells connected devices.
    let insert = "INSERT OR IGNORE INTO members VALUES (?, ?)";
    shop.tables.execute(insert, &[group.as_str(), new.as_str()]).await?;
    Ok(channel.members_changed([&new], []).await?)
}

async fn unread(Caller(shop, me): Caller) -> Result<Json<Value>, Failure> {
    Ok(Json(json!({ "unread": shop.im.unread(&me).await?.count })))
}

#[derive(Deserialize)]
struct Page {
    user: Option<UserId>,
    group: Option<ChannelId>,
    before: Option<u64>,
}

/// Answers with messages as they are now: a recalled one is empty, an edited one says what its last edit says.
async fn history(Caller(shop, me): Caller, Query(page): Query<Page>) -> Result<Json<Value>, Failure> {
    let conversation = match (page.user, page.group) {
        (Some(user), None) => Recipient::from(user),
        // `Im::history` does not ask whether the user is a member.
        (None, Some(group)) if shop.im.channel(&group).is_member(&me).await? => group.into(),
        _ => return fail(StatusCode::FORBIDDEN, "name another user, or a group of yours"),
    };
    let range = page.before.map_or(HistoryRange::Newest, HistoryRange::Before);
    let page = shop.im.history(&me, conversation, range, 50).await?;
    let json = |of: &LoggedMessage| json!({ "id": of.message_id, "from": of.from, "content": of.content });
    let messages: Vec<Value> = page.messages.iter().map(json).collect();
    let next = page.next.and_then(|next| if let HistoryRange::Before(seq) = next { Some(seq) } else { None });
    Ok(Json(json!({ "messages": messages, "next": next })))
}

async fn recall(Caller(shop, me): Caller, Path(id): Path<MessageId>) -> Result<(), Failure> {
    if !shop.arguments.moderators.contains(&me) {
        return fail(StatusCode::FORBIDDEN, "only moderators recall other users' messages");
    }
    match shop.im.recall(id).await {
        Err(SendError::NoSuchMessage { .. }) => fail(StatusCode::NOT_FOUND, format!("no message {id}")),
        recalled => Ok(recalled.map(drop)?),
    }
}

// The rules for devices.

struct Rules(Arc<Shop>);

impl Handler for Rules {
    /// Decides about messages, and about edits alike.
    async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
        match incoming.content.texts().iter().any(|text| text.contains("damn")) {
            true => Err(Refusal::new("please mind your language").with_code(1)),
            false => Ok(incoming.accept()),
        }
    }

    /// Decides who reaches whom, by messages, changes, typing notices, receipts and presence alike.
    async fn may_reach(&self, reach: &Reach) -> Result<ReachRights, Refusal> {
        match self.0.tables.are_friends(&reach.from, &reach.to).await {
            Ok(are_friends) if are_friends || reach.to.as_str() == "shop" => Ok(ReachRights::Granted),
            Ok(_) => Err(Refusal::new(format!("{} is not your friend", reach.to)).with_code(2)),
            Err(error) => {
                tracing::error!(%error, from = %reach.from, "friends not read");
                Err(Refusal::new("something went wrong, try again later").with_code(3))
            }
        }
    }

    /// Queues notifications for the recipients of a message, which is in their logs now.
    async fn logged(&self, message: LoggedPublish) {
        let is_new = message.content.as_change().is_none(); // an edit or a reaction notifies nobody
        for (log, _) in message.places.iter().filter(|_| is_new) {
            let (insert, to) = match log {
                LogId::Inbox(user) => (QUEUE_PUSH, user.as_str()),
                LogId::Channel(group) => (QUEUE_GROUP_PUSH, group.as_str()),
            };
            let id = message.message_id.to_string();
            let values = [to, &id, message.from.as_str(), message.content.summary()];
            if let Err(error) = self.0.tables.execute(insert, &values).await {
                tracing::error!(%error, id, "notifications not queued");
            }
        }
    }
}

// Notifications for users who have not read a message after some seconds, whether their phones are offline or asleep.

impl Shop {
    /// Sends one of the shop's own messages, once for each key.
    async fn tell(&self, to: &UserId, text: String, key: &str) -> Result<(), Failure> {
        let message = Message::to(user(to)).text(text).idempotency_key(format!("{key}-{to}"));
        Ok(self.im.send(message).await.map(drop)?)
    }

    /// Sends what is due until the process ends. A notification that is not sent yet is there after a restart.
    async fn push(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            _ = self.push_due().await; // a failure is in the log
        }
    }

    async fn push_due(&self) -> Result<(), Failure> {
        let due = "SELECT user, message, sender, team, text FROM pushes WHERE due <= unixepoch() LIMIT 100";
        let due = sqlx::query_as::<_, (String, String, String, Option<String>, String)>(due);
        for (user, message, sender, team, text) in due.fetch_all(&self.tables.0).await? {
            let conversation = match team {
                Some(team) => Recipient::from(ChannelId::parse(&team)?),
                None => UserId::parse(&sender)?.into(),
            };
            // Muted and read conversations do not disturb; the list knows both, and the badge.
            let page = self.im.conversations(&UserId::parse(&user)?, 0, 50).await?;
            let listed = page.conversations.iter().find(|listed| listed.state.conversation == conversation);
            if listed.is_some_and(|listed| listed.unread > 0 && !listed.state.muted) {
                println!("push to {user}: {text:?} from {sender}, badge {}", page.unread); // APNs, FCM, ..
            }
            let sent = "DELETE FROM pushes WHERE user = ? AND message = ?";
            self.tables.execute(sent, &[&user, &message]).await?;
        }
        Ok(())
    }
}

// The shop's own tables.

#[derive(Clone, Debug)]
struct Tables(SqlitePool);

impl Tables {
    /// Runs a statement; returns how many rows it changed.
    async fn execute(&self, sql: &'static str, values: &[&str]) -> Result<u64, sqlx::Error> {
        let query = values.iter().fold(sqlx::query(sql), |query, value| query.bind(*value));
        Ok(query.execute(&self.0).await?.rows_affected())
    }

    /// Returns the first column.
    async fn column(&self, sql: &'static str, values: &[&str]) -> Result<Vec<String>, sqlx::Error> {
        let query = values.iter().fold(sqlx::query_scalar(sql), |query, value| query.bind(*value));
        query.fetch_all(&self.0).await
    }

    /// Returns `true` if each user has requested the other's friendship.
    async fn are_friends(&self, one: &UserId, other: &UserId) -> Result<bool, sqlx::Error> {
        let select = "SELECT user FROM friends WHERE (user, friend) IN (VALUES (?1, ?2), (?2, ?1))";
        Ok(self.column(select, &[one.as_str(), other.as_str()]).await?.len() == 2)
    }
}

/// The members of groups, which the SDK reads when it needs them.
#[im_sdk::async_trait]
impl MemberTables for Tables {
    async fn channels(&self, user: &UserId) -> Result<Vec<ChannelId>, MembersError> {
        let teams = self.column("SELECT team FROM members WHERE user = ?", &[user.as_str()]).await;
        let teams = teams.map_err(|error| MembersError::new("list a user's groups", error))?;
        Ok(teams.iter().filter_map(|team| team.parse().ok()).collect())
    }

    async fn is_member(&self, channel: &ChannelId, user: &UserId) -> Result<bool, MembersError> {
        let select = "SELECT user FROM members WHERE team = ? AND user = ?";
        let found = self.column(select, &[channel.as_str(), user.as_str()]).await;
        found.map(|found| !found.is_empty()).map_err(|error| MembersError::new("look for a member", error))
    }

    async fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, MembersError> {
        let select = "SELECT user FROM members WHERE team = ? AND user > ? ORDER BY user LIMIT ?";
        let after = after.map_or("", UserId::as_str);
        let users = self.column(select, &[channel.as_str(), after, &limit.to_string()]).await;
        let users = users.map_err(|error| MembersError::new("list a group's members", error))?;
        Ok(users.iter().filter_map(|user| user.parse().ok()).collect())
    }
}

/// Returns a key as it is stored.
fn hash(key: &str) -> String {
    let digest = digest::digest(&digest::SHA256, key.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
