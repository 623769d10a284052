//! Two servers and a back end.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use im_sdk::{
    backend::{Archiver, Durability, Im, Message, Service, message_store::MemoryMessageStore, user},
    cluster::LoginPolicy,
    token::CLOCK_LEEWAY,
};

use super::{
    Failure, Scenario,
    script::{Texts, TokenKind},
};
use crate::{
    Setup, Stack,
    archiving_stack::bounded_logs,
    permissive_handler::PermissiveHandler,
    stack::{AUDIENCE, ISSUER, KEY_ID, SECRET, ServerOptions, StackServer},
};

/// A deployment of processes, for one scenario.
pub(super) struct Deployment {
    stack: Stack,
    /// The servers; `None` for one that was killed.
    servers: Vec<Option<StackServer>>,
    endpoints: Vec<String>,
    im: Im,
    service: Service,
    archiver: Archiver,
}

impl Deployment {
    pub(super) async fn start(scenario: &Scenario) -> Self {
        let options = ServerOptions { login_policy: LoginPolicy::Unlimited, ..ServerOptions::default() };
        let logs = bounded_logs(scenario.log_entries.unwrap_or(LOG_ENTRIES));
        let mut stack = Stack::start_all(Setup::Clustered, SERVERS, options, Some(logs)).await;
        let store = Arc::new(MemoryMessageStore::new());
        let settings = Im::builder().message_store(store.clone()).default_durability(Durability::Archived);
        let im = stack.backend_with(settings).await;
        let archiver = im.start_archiver(store).expect("an archive");
        let service = PermissiveHandler::default().serve(&im).await;
        let servers: Vec<_> = stack.servers.drain(..).map(Some).collect();
        let websocket = |server: &StackServer| server.endpoint(crate::Via::WebSocket);
        let endpoints = servers.iter().flatten().map(websocket).collect();
        Self { stack, servers, endpoints, im, service, archiver }
    }

    /// Returns the endpoints of all servers, the first one of this number, counted from 1.
    pub(super) fn endpoints(&self, first: usize) -> Vec<String> {
        let mut endpoints = self.endpoints.clone();
        endpoints.rotate_left((first - 1) % SERVERS);
        endpoints
    }

    pub(super) fn fingerprint(&self) -> String {
        self.stack.certificate.sha256_hex()
    }

    pub(super) async fn kill_server(&mut self, number: usize) -> Result<(), Failure> {
        let server = number.checked_sub(1).and_then(|index| self.servers.get_mut(index)?.take());
        server.ok_or_else(|| Failure::new(format!("there is no server {number}")))?.kill();
        Ok(())
    }

    pub(super) async fn add_members(&self, channel: &str, members: &[String]) -> Result<(), Failure> {
        let members = members.iter().map(String::as_str);
        self.im.channel(channel).add_members(members).await.map_err(failed)?;
        Ok(())
    }

    pub(super) async fn send(&self, to: &str, texts: &Texts) -> Result<(), Failure> {
        for text in texts.list() {
            self.im.send(Message::to(user(to)).text(text)).await.map_err(failed)?;
        }
        Ok(())
    }

    pub(super) async fn kick(&self, user: &str, reason: &str) -> Result<(), Failure> {
        match self.im.kick(user, None, reason).await.map_err(failed)? {
            0 => Err(Failure::new(format!("{user} was not connected"))),
            _ => Ok(()),
        }
    }

    pub(super) async fn shutdown(self) {
        self.archiver.shutdown().await;
        self.service.shutdown().await;
        self.im.shutdown().await;
    }
}

/// Mints a token.
pub(super) fn token(user: &str, kind: TokenKind) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Servers accept an expired token for the leeway of their clocks.
    let end = match kind {
        TokenKind::Valid => now + Duration::from_secs(3600),
        TokenKind::Ending => now + ENDING - CLOCK_LEEWAY,
        TokenKind::Expired => now - Duration::from_secs(3600),
    };
    let header = format!(r#"{{"alg":"HS256","kid":"{KEY_ID}"}}"#);
    let claims = format!(r#"{{"sub":"{user}","iss":"{ISSUER}","aud":"{AUDIENCE}","exp":{}}}"#, end.as_secs());
    let unsigned = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = ring::hmac::sign(&key, unsigned.as_bytes());
    format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn failed(error: impl std::error::Error) -> Failure {
    Failure::new(error.to_string())
}

/// The number of servers.
const SERVERS: usize = 2;

/// The maximum number of entries of a log, unless a scenario sets it.
const LOG_ENTRIES: u64 = 10_000;

/// The time for which a token that expires soon is accepted: enough for a slow machine to connect with it.
const ENDING: Duration = Duration::from_secs(6);
