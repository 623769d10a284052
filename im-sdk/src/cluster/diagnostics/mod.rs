//! Checks of addresses and versions before a connection is used, so that a wrong setting is
//! reported as such.

pub(super) mod addresses;
pub(super) mod versions;
