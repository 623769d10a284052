//! The server and the backend, in one process with nothing to install. Their data is in one directory.
//!
//! In production the two are separate, with Redis and NATS between them (`examples/backend`); [`Rules`] would be the
//! same.

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use im_sdk::{
    backend::{
        Acceptance, Handler, Im, Incoming, Message, Reach, ReachRights, Refusal, RoomJoin, RoomWelcome,
        Service, message_store::SqlMessageStore,
    },
    cluster::{Cluster, LoginPolicy},
    content::{Body, Notice},
    id::{ChannelId, UserId},
};
use im_server::{Server, ServerConfig};
use rand::Rng as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    Failure,
    dev::Development,
    groups::{BACK_END, Request},
    rooms,
};

/// Runs until a signal ends the process.
pub(crate) async fn run(data: &Path, listen: SocketAddr) -> Result<(), Failure> {
    let home = data.join("server");
    std::fs::create_dir_all(&home)?;
    let cluster = Cluster::embedded_at(home.join("logs.redb"))?;
    let back_end = BackEnd::start(cluster.clone(), &home.join("messages.db")).await?;
    let mut development = Development { secret: secret(data)?, ..Development::default() };
    let mut config = ServerConfig::new("cli-chat", development.verifier()?);
    (config.websocket, config.quic) = (Some(listen), Some(listen));
    // A user may have several terminals open.
    config.login_policy = LoginPolicy::Unlimited;
    config.drain_grace = DRAIN_GRACE;
    config.heartbeat = HEARTBEAT;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let server = Server::start(config, cluster).await?;
    development.endpoints = server.endpoints().to_vec();
    development.certificate_sha256 = server.certificate_sha256().map(|hash| hex(&hash));
    development.write(data)?;
    announce(data, &server);
    // A server on a machine that was suspended continues by itself.
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    server.shutdown().await;
    back_end.shutdown().await;
    Ok(())
}

/// The backend.
struct BackEnd {
    im: Im,
    service: Service,
}

impl BackEnd {
    async fn start(cluster: Cluster, messages: &Path) -> Result<Self, Failure> {
        let store = Arc::new(SqlMessageStore::connect(&format!("sqlite:{}", messages.display())).await?);
        // All messages are archived, so that they can be searched.
        let im = Im::builder().archive_to(store).start(cluster).await?;
        let service = im.serve(Rules { im: im.clone() }).await?;
        Ok(Self { im, service })
    }

    async fn shutdown(self) {
        self.service.shutdown().await;
        self.im.shutdown().await;
    }
}

/// The rules: all users may write to each other and join rooms; members of a group may add others.
struct Rules {
    im: Im,
}

impl Handler for Rules {
    async fn publish(&self, incoming: Incoming) -> Result<Acceptance, Refusal> {
        if incoming.in_room {
            return rooms::publish(&self.im, incoming).await;
        }
        if incoming.to.as_user().map(UserId::as_str) != Some(BACK_END) {
            return Ok(incoming.accept());
        }
        let request = match &incoming.content.body {
            Body::Custom(custom) => Request::parse(custom),
            _ => None,
        };
        let request = request.ok_or_else(|| Refusal::new("the back end does not understand that"))?;
        let answer = self.carry_out(incoming.from, request).await?;
        Ok(Acceptance::handled().with_answer(answer))
    }

    async fn join_room(&self, join: RoomJoin) -> Result<RoomWelcome, Refusal> {
        rooms::join(&join)
    }

    /// Lets all users write to each other. A product would check who has blocked whom.
    async fn may_reach(&self, _reach: &Reach) -> Result<ReachRights, Refusal> {
        Ok(ReachRights::Granted)
    }

    /// Shows everybody's presence. A product would show it to friends.
    async fn may_watch(&self, _watcher: UserId, users: Vec<UserId>) -> Vec<UserId> {
        users
    }
}

impl Rules {
    /// Carries out a request. A request comes again if its answer got lost, and has no effect the second
    /// time.
    async fn carry_out(&self, by: UserId, request: Request) -> Result<String, Refusal> {
        let members = |group: &ChannelId| self.members(group.clone());
        let stranger = |group: &ChannelId| Refusal::new(format!("{by} is not in #{group}"));
        match request {
            Request::Add(group, users) => {
                let members = members(&group).await?;
                if !members.is_empty() && !members.contains(&by) {
                    return Err(Refusal::new(format!("#{group} has members: one of them can bring {by} in")));
                }
                self.add(&group, &members, &by, users).await
            }
            Request::Leave(group) => {
                if !members(&group).await?.contains(&by) {
                    return Err(stranger(&group));
                }
                self.im.channel(&group).remove_members([&by]).await.map_err(failed)?;
                self.tell(&group, format!("{by} has left")).await?;
                Ok(format!("{by} has left #{group}"))
            }
            Request::Members(group) => {
                let members = members(&group).await?;
                if members.contains(&by) {
                    Ok(format!("in #{group}: {}", names(&members)))
                } else {
                    Err(stranger(&group))
                }
            }
        }
    }

    async fn add(
        &self,
        group: &ChannelId,
        members: &[UserId],
        by: &UserId,
        users: Vec<UserId>,
    ) -> Result<String, Refusal> {
        let mut new: Vec<UserId> = [by.clone()].into_iter().chain(users).collect();
        new.sort();
        new.dedup();
        new.retain(|user| !members.contains(user));
        if members.len() + new.len() > MAX_MEMBERS {
            return Err(Refusal::new(format!("a group has at most {MAX_MEMBERS} members")));
        }
        if new.is_empty() {
            return Ok(format!("#{group} has all of them already"));
        }
        self.im.channel(group).add_members(&new).await.map_err(failed)?;
        new.retain(|user| user != by);
        let what = match (members.is_empty(), new.is_empty()) {
            (true, true) => format!("{by} has made the group"),
            (true, false) => format!("{by} has made the group with {}", names(&new)),
            (false, _) => format!("{by} has brought in {}", names(&new)),
        };
        self.tell(group, what).await?;
        Ok(format!("#{group} has {} members", members.len() + new.len() + usize::from(members.is_empty())))
    }

    /// Sends the members a notice.
    async fn tell(&self, group: &ChannelId, text: String) -> Result<(), Refusal> {
        let notice = Message::new().content(Notice::new("group.changed", text));
        self.im.channel(group).send(notice).await.map(drop).map_err(failed)
    }

    async fn members(&self, group: ChannelId) -> Result<Vec<UserId>, Refusal> {
        self.im.channel(&group).members(None, MAX_MEMBERS).await.map_err(failed)
    }
}

fn names(users: &[UserId]) -> String {
    users.iter().map(UserId::as_str).collect::<Vec<_>>().join(", ")
}

pub(crate) fn failed(error: impl std::error::Error) -> Refusal {
    Refusal::new(format!("the back end failed: {error}"))
}

/// Returns the secret of an earlier run, or a new one.
fn secret(data: &Path) -> io::Result<String> {
    let found = Development::read(data)?.map(|development| development.secret);
    Ok(found.filter(|secret| secret.len() >= 2 * SECRET_BYTES).unwrap_or_else(|| {
        let mut bytes = [0; SECRET_BYTES];
        rand::rng().fill_bytes(&mut bytes);
        hex(&bytes)
    }))
}

#[expect(clippy::print_stdout, reason = "this is what the program tells people and scripts")]
fn announce(data: &Path, server: &Server) {
    println!(
        "for development only: anyone who can read {} can impersonate any user",
        crate::dev::path(data).display()
    );
    println!("listening on {}", server.endpoints().join(" and "));
    println!("ready: `cli-chat alice` and `cli-chat bob`, with the same --data, in other terminals");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The most members. In larger groups, members are not told at once how far others have read.
const MAX_MEMBERS: usize = im_sdk::backend::MAX_TOLD_MEMBERS;

const SECRET_BYTES: usize = 32;

/// Short, so that devices soon notice that this process was killed: over QUIC there is no other sign of it.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// No drain: nobody waits for a development server.
const DRAIN_GRACE: Duration = Duration::from_secs(1);
