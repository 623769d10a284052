//! Authentication, permissions, limits, and devices that break or abuse the protocol.

mod least_privilege;
mod login_policies;
mod malformed_input;
mod misuse;
mod protocol_violations;
mod rate_limits;
mod resource_limits;
mod token_keys;
mod tokens;
mod traffic;
mod unfinished_handshakes;
