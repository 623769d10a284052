//! Parses ids as callers give them: as text, as an id, or as a reference to one.

use crate::id::{InvalidId, UserId};

/// Parses a user's id.
pub(super) fn parse_user(
    user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
) -> Result<UserId, InvalidId> {
    user.try_into().map_err(Into::into)
}

/// Parses users' ids.
pub(super) fn parse_users<I>(users: impl IntoIterator<Item = I>) -> Result<Vec<UserId>, InvalidId>
where
    I: TryInto<UserId, Error: Into<InvalidId>>,
{
    users.into_iter().map(parse_user).collect()
}
