//! Throttled log messages for rejected connections: bad tokens, users over their limits, TLS on a plain port, plain HTTP on a TLS port.
//!
//! Rejections come from mistakes in a deployment as well as from arbitrary clients. Each kind has a throttle of its own, so that
//! many of one kind hide no other. No text of a client's free choice gets into the log.

use std::{
    collections::HashMap,
    mem::{Discriminant, discriminant},
    net::IpAddr,
};

use im_sdk::{id::UserId, token::TokenError};
use parking_lot::Mutex;

use super::throttle::LogThrottle;

/// The throttles, one for each kind of rejection.
#[derive(Debug, Default)]
pub(crate) struct RejectionLog {
    /// By the kind of error.
    tokens: Mutex<HashMap<Discriminant<TokenError>, LogThrottle>>,
    /// The operating system did not hand out a connection.
    pub(crate) accept_failed: LogThrottle,
    user_limits: LogThrottle,
    tls_to_plain: LogThrottle,
    plain_to_tls: LogThrottle,
}

impl RejectionLog {
    /// Notes that a token was refused. The reason must be a single line.
    pub(crate) fn note_token(&self, peer: IpAddr, error: TokenError, reason: &str) {
        let Some(count) = self.count_token(error) else { return };
        if error == TokenError::Expired {
            // Devices that were offline for long come with expired tokens.
            tracing::info!(%peer, count, reason, "token refused");
        } else {
            tracing::warn!(%peer, count, reason, "token refused");
        }
    }

    fn count_token(&self, error: TokenError) -> Option<u64> {
        let mut tokens = self.tokens.lock();
        tokens.entry(discriminant(&error)).or_default().note()
    }

    /// Notes that a user has too many connections, or connects too often.
    pub(crate) fn note_user_limit(&self, user: &UserId, reason: &str) {
        if let Some(count) = self.user_limits.note() {
            tracing::warn!(%user, count, reason, "connection refused: the user is over its limits");
        }
    }

    /// Notes a TLS handshake on the plain WebSocket port.
    pub(crate) fn note_tls(&self, peer: IpAddr) {
        if let Some(count) = self.tls_to_plain.note() {
            tracing::info!(
                %peer, count,
                "TLS handshake on the plain WebSocket port: use ws://, or set websocket.tls"
            );
        }
    }

    /// Notes plain HTTP on the WebSocket port with TLS.
    pub(crate) fn note_plain(&self, peer: IpAddr) {
        if let Some(count) = self.plain_to_tls.note() {
            tracing::info!(
                %peer, count,
                "plain HTTP on the WebSocket port with TLS: use wss://"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_of_one_kind_hide_no_other() {
        let rejections = RejectionLog::default();
        assert_eq!(rejections.count_token(TokenError::Expired), Some(1));
        assert!((0..1000).all(|_| rejections.count_token(TokenError::Expired).is_none()));
        assert_eq!(rejections.count_token(TokenError::BadSignature), Some(1));
    }
}
