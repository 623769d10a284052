//! Places, cards, notices, and the application's own.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Media;

/// A place on earth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Location {
    /// Degrees north of the equator, times ten million.
    pub latitude_e7: i32,
    /// Degrees east of Greenwich, times ten million.
    pub longitude_e7: i32,
    /// What it is called.
    pub name: String,
    /// Where that is.
    pub address: String,
}

const E7: f64 = 1e7;

impl Location {
    /// A place, in degrees north and east. What is kept of them is a centimetre.
    pub fn new(latitude: f64, longitude: f64) -> Self {
        // What is out of range is too far, and refused when it is sent.
        let e7 = |degrees: f64| (degrees * E7).round() as i32;
        Self { latitude_e7: e7(latitude), longitude_e7: e7(longitude), ..Self::default() }
    }

    /// The same with a name and an address.
    #[must_use]
    pub fn named(self, name: impl Into<String>, address: impl Into<String>) -> Self {
        Self { name: name.into(), address: address.into(), ..self }
    }

    /// Degrees north of the equator.
    pub fn latitude(&self) -> f64 {
        f64::from(self.latitude_e7) / E7
    }

    /// Degrees east of Greenwich.
    pub fn longitude(&self) -> f64 {
        f64::from(self.longitude_e7) / E7
    }
}

/// Something with a title: a user, a group, a link, an article.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Card {
    /// What it stands for: `user`, `channel`, `link`, or the application's own word.
    pub kind: String,
    /// Which one, such as the user id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What else there is to say.
    pub text: String,
    /// Where it leads.
    pub url: String,
    /// What it looks like.
    pub image: Option<Media>,
}

impl Card {
    /// A card of some kind, such as `user`, for the one with this id.
    pub fn new(kind: impl Into<String>, id: impl Into<String>, title: impl Into<String>) -> Self {
        Self { kind: kind.into(), id: id.into(), title: title.into(), ..Self::default() }
    }

    /// A link with a title.
    pub fn link(url: impl Into<String>, title: impl Into<String>) -> Self {
        Self { kind: "link".to_owned(), url: url.into(), title: title.into(), ..Self::default() }
    }

    /// The same with a text.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        Self { text: text.into(), ..self }
    }

    /// The same with a picture.
    #[must_use]
    pub fn image(self, image: Media) -> Self {
        Self { image: Some(image), ..self }
    }
}

/// What the system says in a conversation: somebody joined, a call ended. Back ends send it; from devices it is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Notice {
    /// The application's name for it, such as `member.joined`.
    pub kind: String,
    /// For devices that do not know the kind.
    pub text: String,
    /// What a device makes a sentence of, in its user's language.
    pub parameters: BTreeMap<String, String>,
}

impl Notice {
    /// A notice, and what it says where nobody knows the kind.
    pub fn new(kind: impl Into<String>, text: impl Into<String>) -> Self {
        Self { kind: kind.into(), text: text.into(), parameters: BTreeMap::new() }
    }

    /// The same with a parameter.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.insert(name.into(), value.into());
        self
    }
}

/// Whatever the application defines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Custom {
    /// The application's name for the kind, such as `order.paid`.
    pub kind: String,
    /// The application's bytes.
    #[cfg_attr(feature = "serde", serde(with = "crate::base64_bytes"))]
    pub data: Bytes,
}
