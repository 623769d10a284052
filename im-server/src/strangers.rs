//! What is said of those who are not let in: mistakes in a deployment look like this, and so do strangers who try. Each kind is
//! counted by itself, so that many of one hide no other; nothing that they could choose freely gets into the log.

use std::{
    collections::HashMap,
    mem::{Discriminant, discriminant},
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use im_sdk::{id::UserId, token::TokenError};

use crate::occurrences::Occurrences;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    /// By what is wrong with them.
    tokens: Mutex<HashMap<Discriminant<TokenError>, Occurrences>>,
    /// Connections that the operating system did not hand out.
    pub(crate) unaccepted: Occurrences,
    not_let_in: Occurrences,
    tls_to_plain: Occurrences,
    plain_to_tls: Occurrences,
}

impl Strangers {
    /// A token was refused. The reason must not be longer than a line.
    pub(crate) fn note_token(&self, peer: IpAddr, error: TokenError, reason: &str) {
        let Some(times) = self.count_token(error) else { return };
        if error == TokenError::Expired {
            // Devices that were away for long come with one.
            tracing::info!(%peer, times, reason, "a device's token was refused");
        } else {
            tracing::warn!(%peer, times, reason, "a device's token was refused");
        }
    }

    fn count_token(&self, error: TokenError) -> Option<u64> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.entry(discriminant(&error)).or_default().note()
    }

    /// A user has too many connections, or connects too often.
    pub(crate) fn note_not_let_in(&self, user: &UserId, reason: &str) {
        if let Some(times) = self.not_let_in.note() {
            tracing::warn!(%user, times, reason, "a device was not let in");
        }
    }

    /// Somebody speaks TLS to the plain WebSocket port.
    pub(crate) fn note_tls(&self, peer: IpAddr) {
        if let Some(times) = self.tls_to_plain.note() {
            tracing::info!(
                %peer, times,
                "a TLS handshake came to the WebSocket port, which has no TLS: use ws:// there, or set websocket.tls"
            );
        }
    }

    /// Somebody speaks HTTP without TLS to the WebSocket port that has it.
    pub(crate) fn note_plain(&self, peer: IpAddr) {
        if let Some(times) = self.plain_to_tls.note() {
            tracing::info!(
                %peer, times,
                "a request without TLS came to the WebSocket port, which has TLS: use wss:// there"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_of_one_kind_hide_no_other() {
        let strangers = Strangers::default();
        assert_eq!(strangers.count_token(TokenError::Expired), Some(1));
        assert!((0..1000).all(|_| strangers.count_token(TokenError::Expired).is_none()));
        assert_eq!(strangers.count_token(TokenError::BadSignature), Some(1));
    }
}
