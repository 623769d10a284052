//! What a message carries, for back ends and devices alike.

use bytes::Bytes;

use crate::proto::pb;

/// What a message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Whatever the application defines.
    Custom {
        /// The application's name for the kind, such as `order.paid`.
        kind: String,
        /// The application's bytes.
        data: Bytes,
    },
    /// A kind that this version does not know: show a placeholder.
    Unknown,
}

impl Content {
    /// Plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Whatever the application defines.
    pub fn custom(kind: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self::Custom { kind: kind.into(), data: data.into() }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Content> for pb::Content {
    fn from(content: Content) -> Self {
        let body = match content {
            Content::Text(text) => Some(pb::content::Body::Text(pb::Text { text })),
            Content::Custom { kind, data } => Some(pb::content::Body::Custom(pb::Custom { kind, data })),
            Content::Unknown => None,
        };
        Self { body }
    }
}

impl From<Option<pb::Content>> for Content {
    fn from(content: Option<pb::Content>) -> Self {
        match content.and_then(|content| content.body) {
            Some(pb::content::Body::Text(text)) => Self::Text(text.text),
            Some(pb::content::Body::Custom(custom)) => Self::Custom { kind: custom.kind, data: custom.data },
            None => Self::Unknown,
        }
    }
}
