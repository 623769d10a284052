//! Who somebody is: accounts, passwords, sessions, one-time codes, roles.

pub(crate) mod account;
pub(crate) mod attempts;
pub(crate) mod code;
pub(crate) mod password;
pub(crate) mod session;
