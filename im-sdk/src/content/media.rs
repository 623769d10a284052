//! What lies elsewhere: pictures, files, recordings.

use bytes::Bytes;

/// Where the bytes of a picture, a recording or a file are, and what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Media {
    /// Where they are: at most [`MAX_URL_BYTES`](crate::proto::limits::MAX_URL_BYTES).
    pub url: String,
    /// Such as `image/jpeg`; empty: not told.
    pub mime_type: String,
    /// How many; 0: not told.
    pub bytes: u64,
    /// To check what was fetched.
    pub sha256: Option<[u8; 32]>,
    /// The file's name, as it is to be shown.
    pub name: String,
}

impl Media {
    /// What lies there.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// The same with a type, such as `image/jpeg`.
    #[must_use]
    pub fn mime_type(self, mime_type: impl Into<String>) -> Self {
        Self { mime_type: mime_type.into(), ..self }
    }

    /// The same with a size.
    #[must_use]
    pub fn bytes(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }

    /// The same with a digest.
    #[must_use]
    pub fn sha256(self, sha256: [u8; 32]) -> Self {
        Self { sha256: Some(sha256), ..self }
    }

    /// The same with a file's name.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }
}

/// A picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Image {
    /// The picture itself.
    pub media: Media,
    /// Pixels; 0: not told.
    pub width: u32,
    /// Pixels; 0: not told.
    pub height: u32,
    /// A smaller one, to be shown until it is wanted.
    pub thumbnail: Option<Media>,
    /// What is written below it.
    pub caption: String,
}

impl Image {
    /// A picture that lies elsewhere.
    pub fn new(media: Media) -> Self {
        Self { media, ..Self::default() }
    }

    /// The same with its width and height.
    #[must_use]
    pub fn pixels(self, width: u32, height: u32) -> Self {
        Self { width, height, ..self }
    }

    /// The same with a thumbnail.
    #[must_use]
    pub fn thumbnail(self, thumbnail: Media) -> Self {
        Self { thumbnail: Some(thumbnail), ..self }
    }

    /// The same with a caption.
    #[must_use]
    pub fn caption(self, caption: impl Into<String>) -> Self {
        Self { caption: caption.into(), ..self }
    }
}

/// Any file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct File {
    /// The file itself.
    pub media: Media,
    /// What is written below it.
    pub caption: String,
}

impl File {
    /// A file that lies elsewhere.
    pub fn new(media: Media) -> Self {
        Self { media, ..Self::default() }
    }

    /// The same with a caption.
    #[must_use]
    pub fn caption(self, caption: impl Into<String>) -> Self {
        Self { caption: caption.into(), ..self }
    }
}

/// Recorded speech.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Voice {
    /// The recording itself.
    pub media: Media,
    /// How long it takes, in milliseconds.
    pub duration_ms: u32,
    /// Loudness over its whole length, one byte for each of as many equal parts; at most
    /// [`MAX_WAVEFORM_BYTES`](crate::proto::limits::MAX_WAVEFORM_BYTES).
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::base64_bytes", skip_serializing_if = "bytes::Bytes::is_empty")
    )]
    pub waveform: Bytes,
}

impl Voice {
    /// A recording that lies elsewhere, and how long it takes.
    pub fn new(media: Media, duration_ms: u32) -> Self {
        Self { media, duration_ms, waveform: Bytes::new() }
    }

    /// The same with its loudness.
    #[must_use]
    pub fn waveform(self, waveform: impl Into<Bytes>) -> Self {
        Self { waveform: waveform.into(), ..self }
    }
}

/// A moving picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Video {
    /// The video itself.
    pub media: Media,
    /// Pixels; 0: not told.
    pub width: u32,
    /// Pixels; 0: not told.
    pub height: u32,
    /// How long it takes, in milliseconds.
    pub duration_ms: u32,
    /// A still picture of it.
    pub thumbnail: Option<Media>,
    /// What is written below it.
    pub caption: String,
}

impl Video {
    /// A video that lies elsewhere, and how long it takes.
    pub fn new(media: Media, duration_ms: u32) -> Self {
        Self { media, duration_ms, ..Self::default() }
    }

    /// The same with its width and height.
    #[must_use]
    pub fn pixels(self, width: u32, height: u32) -> Self {
        Self { width, height, ..self }
    }

    /// The same with a still picture.
    #[must_use]
    pub fn thumbnail(self, thumbnail: Media) -> Self {
        Self { thumbnail: Some(thumbnail), ..self }
    }

    /// The same with a caption.
    #[must_use]
    pub fn caption(self, caption: impl Into<String>) -> Self {
        Self { caption: caption.into(), ..self }
    }
}
