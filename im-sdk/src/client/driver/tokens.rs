//! Calls of the application's token provider.

use std::{future::pending, sync::Arc};

use tokio::task::JoinHandle;

use crate::{
    Endpoint,
    client::{TokenError, TokenProvider, TokenRequest},
};

/// The provider's answer.
pub(super) struct TokenReply {
    pub(super) token: Result<String, TokenError>,
    /// The endpoints, if they were requested.
    pub(super) endpoints: Vec<Endpoint>,
}

/// Calls the provider on a thread that may block, one call at a time. A call cannot be cancelled, only its answer
/// ignored: a provider that hangs costs one thread, not one for each attempt.
pub(super) struct TokenCalls {
    provider: Arc<dyn TokenProvider>,
    call: Option<JoinHandle<TokenReply>>,
    /// The question that waits for an answer.
    wanted: Option<TokenRequest>,
    /// Set if the running call asks that question.
    current: bool,
    /// Set if the next call asks for endpoints first.
    endpoints_wanted: bool,
}

impl TokenCalls {
    pub(super) fn new(provider: Arc<dyn TokenProvider>) -> Self {
        Self { provider, call: None, wanted: None, current: false, endpoints_wanted: false }
    }

    /// Uses another provider from now on, and repeats an unanswered question.
    pub(super) fn replace(&mut self, provider: Arc<dyn TokenProvider>) {
        self.provider = provider;
        self.current = false;
    }

    /// Asks for a token. [`TokenCalls::answer`] returns the answer.
    pub(super) fn ask(&mut self, why: TokenRequest) {
        self.wanted = Some(why);
        self.current = false;
    }

    /// Makes the next question for a token ask for endpoints too.
    pub(super) fn ask_endpoints(&mut self) {
        self.endpoints_wanted = true;
    }

    /// Drops the question.
    pub(super) fn forget(&mut self) {
        self.wanted = None;
        self.current = false;
    }

    /// Waits for the answer to the last question, or forever if there is none. Cancel-safe.
    pub(super) async fn answer(&mut self) -> TokenReply {
        loop {
            let Some(why) = self.wanted.clone() else { return pending().await };
            let call = self.call.get_or_insert_with(|| {
                let provider = self.provider.clone();
                self.current = true;
                let ask_endpoints = std::mem::take(&mut self.endpoints_wanted);
                tokio::task::spawn_blocking(move || {
                    let endpoints = if ask_endpoints { provider.endpoints() } else { Vec::new() };
                    TokenReply { token: provider.token(why), endpoints }
                })
            });
            let reply = call.await;
            self.call = None;
            if std::mem::take(&mut self.current) {
                self.wanted = None;
                return reply.unwrap_or_else(|error| TokenReply {
                    token: Err(TokenError::Unavailable(error.to_string())),
                    endpoints: Vec::new(),
                });
            }
        }
    }
}
