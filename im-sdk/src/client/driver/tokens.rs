//! Asks the application for tokens, and for endpoints where none is left.

use std::{future::pending, sync::Arc};

use tokio::task::JoinHandle;

use crate::client::{Endpoint, TokenError, TokenProvider, TokenRequest};

/// What the application gives.
pub(super) struct Given {
    pub(super) token: Result<String, TokenError>,
    /// Empty where it was not asked for them.
    pub(super) endpoints: Vec<Endpoint>,
}

/// At most one question at a time, on a thread that may block. A question cannot be taken back, only its answer
/// ignored: a provider that hangs costs one thread, not one per attempt.
pub(super) struct Tokens {
    provider: Arc<dyn TokenProvider>,
    call: Option<JoinHandle<Given>>,
    /// The question whose answer is wanted.
    wanted: Option<TokenRequest>,
    /// The call asks the wanted question.
    current: bool,
    /// The next call asks for endpoints first.
    endpoints_wanted: bool,
}

impl Tokens {
    pub(super) fn new(provider: Arc<dyn TokenProvider>) -> Self {
        Self { provider, call: None, wanted: None, current: false, endpoints_wanted: false }
    }

    /// Asks another provider from here on, also what the last one has not answered yet.
    pub(super) fn replace(&mut self, provider: Arc<dyn TokenProvider>) {
        self.provider = provider;
        self.current = false;
    }

    /// The answer comes out of [`Tokens::answer`].
    pub(super) fn ask(&mut self, why: TokenRequest) {
        self.wanted = Some(why);
        self.current = false;
    }

    /// The next question for a token is one for endpoints too.
    pub(super) fn ask_endpoints(&mut self) {
        self.endpoints_wanted = true;
    }

    /// No answer is wanted any more.
    pub(super) fn forget(&mut self) {
        self.wanted = None;
        self.current = false;
    }

    /// The answer to the last question; waits for ever if there is none. Cancel-safe.
    pub(super) async fn answer(&mut self) -> Given {
        loop {
            let Some(why) = self.wanted.clone() else { return pending().await };
            let call = self.call.get_or_insert_with(|| {
                let provider = self.provider.clone();
                self.current = true;
                let ask_endpoints = std::mem::take(&mut self.endpoints_wanted);
                tokio::task::spawn_blocking(move || {
                    let endpoints = if ask_endpoints { provider.endpoints() } else { Vec::new() };
                    Given { token: provider.token(why), endpoints }
                })
            });
            let given = call.await;
            self.call = None;
            if std::mem::take(&mut self.current) {
                self.wanted = None;
                return given.unwrap_or_else(|error| Given {
                    token: Err(TokenError::Unavailable(error.to_string())),
                    endpoints: Vec::new(),
                });
            }
        }
    }
}
