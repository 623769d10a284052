//! Close codes: the reason why a connection ended, and how the device reconnects.
//!
//! The number is both the status code of a WebSocket close frame (RFC 6455, section 7.4; 4000-4999
//! are free for applications) and the application error code of a QUIC `CONNECTION_CLOSE` (RFC
//! 9000, section 19.19). Its hundreds carry the reconnect policy, so that a client handles a code
//! correctly that it does not know.

use std::fmt;

/// How a device reconnects after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReconnectPolicy {
    /// Reconnect with backoff and jitter.
    Backoff,
    /// Get a fresh token, then reconnect as with `Backoff`.
    FreshToken,
    /// Do not reconnect until the user or the application asks.
    Never,
}

macro_rules! close_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $text:literal;)+) => {
        /// The reason why a connection was closed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum CloseCode {
            $($(#[doc = $doc])+ $name,)+
            /// A code that this version does not know. Its number still carries the policy.
            Unknown(u16),
        }

        impl CloseCode {
            /// Every code that this version knows.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns the number on the wire.
            pub fn code(self) -> u16 {
                match self { $(Self::$name => $code,)+ Self::Unknown(code) => code }
            }

            /// Returns the name in logs and metrics.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ Self::Unknown(_) => "unknown" }
            }
        }

        impl From<u16> for CloseCode {
            fn from(code: u16) -> Self {
                match code { $($code => Self::$name,)+ other => Self::Unknown(other) }
            }
        }
    };
}

close_codes! {
    /// The server is stopping.
    GoingAway = 4000, "going_away";
    /// The device did not read fast enough and its queue is full.
    SlowConsumer = 4001, "slow_consumer";
    /// The device sent nothing for longer than the heartbeat allows.
    IdleTimeout = 4002, "idle_timeout";
    /// The device sent no `Hello` in time.
    HelloTimeout = 4003, "hello_timeout";
    /// The server has the maximum number of connections.
    Overloaded = 4004, "overloaded";
    /// The server failed, for example to reach its route store.
    Internal = 4005, "internal";
    /// The token has expired.
    TokenExpired = 4200, "token_expired";
    /// The token is invalid: its signature, key, algorithm, issuer, audience or form.
    TokenInvalid = 4201, "token_invalid";
    /// The device violated the protocol.
    ProtocolError = 4400, "protocol_error";
    /// No protocol version is supported by both sides.
    UnsupportedVersion = 4401, "unsupported_version";
    /// A frame exceeded the limit.
    FrameTooLarge = 4402, "frame_too_large";
    /// Another connection displaced this device under the login policy.
    Replaced = 4403, "replaced";
    /// The backend disconnected the device.
    Kicked = 4404, "kicked";
    /// The device closed the connection itself.
    ClientClosed = 4405, "client_closed";
}

impl CloseCode {
    /// Returns how the device reconnects. Codes outside 4000-4999, such as WebSocket's own
    /// 1000-1015, mean backoff.
    pub fn policy(self) -> ReconnectPolicy {
        match self.code() {
            4200..=4399 => ReconnectPolicy::FreshToken,
            4400..=4599 => ReconnectPolicy::Never,
            _ => ReconnectPolicy::Backoff,
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.name(), self.code())
    }
}

/// Shortens a close reason to the size of a WebSocket close frame, at a character boundary.
pub fn fit_reason(reason: &str) -> &str {
    let mut end = reason.len().min(crate::limits::MAX_CLOSE_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_round_trips_and_has_its_own_number() {
        let mut numbers: Vec<u16> = CloseCode::ALL.iter().map(|code| code.code()).collect();
        for code in CloseCode::ALL {
            assert_eq!(CloseCode::from(code.code()), *code);
        }
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), CloseCode::ALL.len());
    }

    #[test]
    fn unknown_codes_keep_number_and_policy() {
        assert_eq!(CloseCode::from(4399), CloseCode::Unknown(4399));
        assert_eq!(CloseCode::from(4399).policy(), ReconnectPolicy::FreshToken);
        assert_eq!(CloseCode::from(4499).policy(), ReconnectPolicy::Never);
        assert_eq!(CloseCode::from(1006).policy(), ReconnectPolicy::Backoff);
        assert_eq!(CloseCode::from(4999).policy(), ReconnectPolicy::Backoff);
    }

    #[test]
    fn reasons_are_cut_at_character_boundaries() {
        let reason = "ä".repeat(100);
        assert_eq!(fit_reason(&reason).len(), 122);
        assert_eq!(fit_reason("short"), "short");
    }
}
