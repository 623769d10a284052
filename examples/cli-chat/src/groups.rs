//! What a device asks of the back end about groups. The SDK leaves that to the application: most have an interface of their
//! own for it (HTTP); here it is a message of an own kind to the back end, which answers it and sends nothing on.

use im_sdk::{
    Content,
    content::{Body, Custom},
    id::{ChannelId, UserId},
};

/// Something to be done with a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Bring users in. A group comes into being with its first member, who is the one that asks.
    Add(ChannelId, Vec<UserId>),
    /// Take the one that asks out.
    Leave(ChannelId),
    /// Tell who is in it.
    Members(ChannelId),
}

/// The user that stands for the back end.
pub(crate) const BACK_END: &str = "back-end";

/// The name of this kind of message.
const KIND: &str = "cli-chat.group";

impl Request {
    /// As it travels.
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

    /// Whether it is one of these, which nobody should see.
    pub(crate) fn is_one(content: &Content) -> bool {
        matches!(&content.body, Body::Custom(custom) if custom.kind == KIND)
    }

    /// What [`Request::content`] made. Names have no spaces.
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
