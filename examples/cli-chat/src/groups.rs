//! Requests about groups, from a device to the backend. The SDK leaves them to the application. Most products use an HTTP API;
//! here a request is a message of a custom kind to the backend, which answers it and does not forward it.

use im_sdk::{
    content::{Body, Content, Custom},
    id::{ChannelId, UserId},
};

/// A request about a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Adds users. A new group begins with its first member, the requesting user.
    Add(ChannelId, Vec<UserId>),
    /// Removes the requesting user.
    Leave(ChannelId),
    /// Lists the members.
    Members(ChannelId),
}

/// The user id of the backend.
pub(crate) const BACK_END: &str = "back-end";

/// The name of this kind of message.
const KIND: &str = "cli-chat.group";

impl Request {
    /// Encodes the request as a message.
    pub(crate) fn content(&self) -> Content {
        let words = match self {
            Self::Add(group, users) => {
                let users: String = users.iter().map(|user| format!(" {user}")).collect();
                format!("add {group}{users}")
            }
            Self::Leave(group) => format!("leave {group}"),
            Self::Members(group) => format!("members {group}"),
        };
        Content::custom(KIND, words)
    }

    /// Returns `true` if a message is a request, which no chat shows.
    pub(crate) fn is_one(content: &Content) -> bool {
        matches!(&content.body, Body::Custom(custom) if custom.kind == KIND)
    }

    /// Parses the output of [`Request::content`]. Names have no spaces.
    pub(crate) fn parse(custom: &Custom) -> Option<Self> {
        let text = std::str::from_utf8(&custom.data).ok().filter(|_| custom.kind == KIND)?;
        let mut words = text.split(' ');
        let (verb, group) = (words.next()?, ChannelId::parse(words.next()?).ok()?);
        let users: Vec<UserId> = words.map(UserId::parse).collect::<Result<_, _>>().ok()?;
        match verb {
            "add" => Some(Self::Add(group, users)),
            "leave" if users.is_empty() => Some(Self::Leave(group)),
            "members" if users.is_empty() => Some(Self::Members(group)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(content: &Content) -> Option<Request> {
        match &content.body {
            Body::Custom(custom) => Request::parse(custom),
            _ => None,
        }
    }

    #[test]
    fn requests_travel() {
        let (team, bob) = (ChannelId::parse("team").unwrap(), UserId::parse("bob").unwrap());
        for request in [
            Request::Add(team.clone(), vec![bob.clone(), bob]),
            Request::Add(team.clone(), Vec::new()),
            Request::Leave(team.clone()),
            Request::Members(team),
        ] {
            assert_eq!(parse(&request.content()), Some(request));
        }
    }

    #[test]
    fn what_is_none_is_not_taken_for_one() {
        for words in ["", "add", "add {", "leave team bob", "dance team", "add team  bob"] {
            assert_eq!(parse(&Content::custom(KIND, words)), None, "{words:?}");
        }
        assert_eq!(parse(&Content::custom("other", "leave team")), None);
    }
}
