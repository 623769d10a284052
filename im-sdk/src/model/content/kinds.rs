//! Locations, cards, notices, and kinds of the application.

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
    /// The name of the place.
    pub name: String,
    /// The address of the place.
    pub address: String,
}

const E7: f64 = 1e7;

impl Location {
    /// Creates a location from degrees north and east, with a precision of a centimetre.
    pub fn new(latitude: f64, longitude: f64) -> Self {
        // A value out of range stays out of range, and is refused when it is sent.
        let e7 = |degrees: f64| (degrees * E7).round() as i32;
        Self { latitude_e7: e7(latitude), longitude_e7: e7(longitude), ..Self::default() }
    }

    /// Sets the name and the address.
    #[must_use]
    pub fn named(self, name: impl Into<String>, address: impl Into<String>) -> Self {
        Self { name: name.into(), address: address.into(), ..self }
    }

    /// Returns the degrees north of the equator.
    pub fn latitude(&self) -> f64 {
        f64::from(self.latitude_e7) / E7
    }

    /// Returns the degrees east of Greenwich.
    pub fn longitude(&self) -> f64 {
        f64::from(self.longitude_e7) / E7
    }
}

/// A card for something with a title: a user, a group, a link, an article.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Card {
    /// The kind of subject: `user`, `channel`, `link`, or the application's own word.
    pub kind: String,
    /// The id of the subject, such as the user id.
    pub id: String,
    /// The title.
    pub title: String,
    /// Further text.
    pub text: String,
    /// The target of the card.
    pub url: String,
    /// The picture of the card.
    pub image: Option<Media>,
}

impl Card {
    /// Creates a card of some kind, such as `user`, for the subject with this id.
    pub fn new(kind: impl Into<String>, id: impl Into<String>, title: impl Into<String>) -> Self {
        Self { kind: kind.into(), id: id.into(), title: title.into(), ..Self::default() }
    }

    /// Creates a link with a title.
    pub fn link(url: impl Into<String>, title: impl Into<String>) -> Self {
        Self { kind: "link".to_owned(), url: url.into(), title: title.into(), ..Self::default() }
    }

    /// Sets the text.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        Self { text: text.into(), ..self }
    }

    /// Sets the picture.
    #[must_use]
    pub fn image(self, image: Media) -> Self {
        Self { image: Some(image), ..self }
    }
}

/// A notice of the system in a conversation: a user joined, a call ended. Backends send notices;
/// those of devices are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Notice {
    /// The application's name for the notice, such as `member.joined`.
    pub kind: String,
    /// The text for devices that do not know the kind.
    pub text: String,
    /// The parameters from which a device makes a sentence in its user's language.
    pub parameters: BTreeMap<String, String>,
}

impl Notice {
    /// Creates a notice with the text for devices that do not know the kind.
    pub fn new(kind: impl Into<String>, text: impl Into<String>) -> Self {
        Self { kind: kind.into(), text: text.into(), parameters: BTreeMap::new() }
    }

    /// Adds a parameter.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.insert(name.into(), value.into());
        self
    }
}

/// A content that the application defines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Custom {
    /// The application's name for the kind, such as `order.paid`.
    pub kind: String,
    /// The application's bytes.
    #[cfg_attr(feature = "serde", serde(with = "crate::model::base64_bytes"))]
    pub data: Bytes,
}
