//! Asks the application for tokens.

use std::{future::pending, sync::Arc};

use tokio::task::JoinHandle;

use crate::client::{TokenError, TokenProvider, TokenRequest};

type Answer = Result<String, TokenError>;

/// At most one question at a time, on a thread that may block. A question cannot be taken back, only its answer
/// ignored: a provider that hangs costs one thread, not one per attempt.
pub(super) struct Tokens {
    provider: Arc<dyn TokenProvider>,
    call: Option<JoinHandle<Answer>>,
    /// The question whose answer is wanted.
    wanted: Option<TokenRequest>,
    /// The call asks the wanted question.
    current: bool,
}

impl Tokens {
    pub(super) fn new(provider: Arc<dyn TokenProvider>) -> Self {
        Self { provider, call: None, wanted: None, current: false }
    }

    /// The answer comes out of [`Tokens::answer`].
    pub(super) fn ask(&mut self, why: TokenRequest) {
        self.wanted = Some(why);
        self.current = false;
    }

    /// No answer is wanted any more.
    pub(super) fn forget(&mut self) {
        self.wanted = None;
        self.current = false;
    }

    /// The answer to the last question; waits for ever if there is none. Cancel-safe.
    pub(super) async fn answer(&mut self) -> Answer {
        loop {
            let Some(why) = self.wanted.clone() else { return pending().await };
            let call = self.call.get_or_insert_with(|| {
                let provider = self.provider.clone();
                self.current = true;
                tokio::task::spawn_blocking(move || provider.token(why))
            });
            let answer = call.await;
            self.call = None;
            if std::mem::take(&mut self.current) {
                self.wanted = None;
                return answer.unwrap_or_else(|error| Err(TokenError::Unavailable(error.to_string())));
            }
        }
    }
}
