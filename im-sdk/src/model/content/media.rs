//! References to media: pictures, files, recordings.

use bytes::Bytes;

/// A reference to the bytes of a picture, a recording or a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Media {
    /// The URL of the bytes: at most [`MAX_URL_BYTES`](crate::limits::MAX_URL_BYTES).
    pub url: String,
    /// The MIME type, such as `image/jpeg`; empty if it is not stated.
    pub mime_type: String,
    /// The size; 0 if it is not stated.
    pub bytes: u64,
    /// The digest, to check the downloaded bytes.
    pub sha256: Option<[u8; 32]>,
    /// The name of the file, for display.
    pub name: String,
}

impl Media {
    /// Creates a reference to a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Sets the MIME type, such as `image/jpeg`.
    #[must_use]
    pub fn mime_type(self, mime_type: impl Into<String>) -> Self {
        Self { mime_type: mime_type.into(), ..self }
    }

    /// Sets the size.
    #[must_use]
    pub fn bytes(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }

    /// Sets the digest.
    #[must_use]
    pub fn sha256(self, sha256: [u8; 32]) -> Self {
        Self { sha256: Some(sha256), ..self }
    }

    /// Sets the name of the file.
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
    /// The width in pixels; 0 if it is not stated.
    pub width: u32,
    /// The height in pixels; 0 if it is not stated.
    pub height: u32,
    /// A smaller picture, shown until the full one is wanted.
    pub thumbnail: Option<Media>,
    /// The caption.
    pub caption: String,
}

impl Image {
    /// Creates a picture.
    pub fn new(media: Media) -> Self {
        Self { media, ..Self::default() }
    }

    /// Sets the width and height.
    #[must_use]
    pub fn pixels(self, width: u32, height: u32) -> Self {
        Self { width, height, ..self }
    }

    /// Sets the thumbnail.
    #[must_use]
    pub fn thumbnail(self, thumbnail: Media) -> Self {
        Self { thumbnail: Some(thumbnail), ..self }
    }

    /// Sets the caption.
    #[must_use]
    pub fn caption(self, caption: impl Into<String>) -> Self {
        Self { caption: caption.into(), ..self }
    }
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct File {
    /// The file itself.
    pub media: Media,
    /// The caption.
    pub caption: String,
}

impl File {
    /// Creates a file.
    pub fn new(media: Media) -> Self {
        Self { media, ..Self::default() }
    }

    /// Sets the caption.
    #[must_use]
    pub fn caption(self, caption: impl Into<String>) -> Self {
        Self { caption: caption.into(), ..self }
    }
}

/// A voice message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Voice {
    /// The recording itself.
    pub media: Media,
    /// The duration in milliseconds.
    pub duration_ms: u32,
    /// The loudness over the whole duration, one byte for each of that many equal parts; at most
    /// [`MAX_WAVEFORM_BYTES`](crate::limits::MAX_WAVEFORM_BYTES).
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::model::base64_bytes", skip_serializing_if = "bytes::Bytes::is_empty")
    )]
    pub waveform: Bytes,
}

impl Voice {
    /// Creates a voice message with a duration.
    pub fn new(media: Media, duration_ms: u32) -> Self {
        Self { media, duration_ms, waveform: Bytes::new() }
    }

    /// Sets the loudness.
    #[must_use]
    pub fn waveform(self, waveform: impl Into<Bytes>) -> Self {
        Self { waveform: waveform.into(), ..self }
    }
}

/// A video.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Video {
    /// The video itself.
    pub media: Media,
    /// The width in pixels; 0 if it is not stated.
    pub width: u32,
    /// The height in pixels; 0 if it is not stated.
    pub height: u32,
    /// The duration in milliseconds.
    pub duration_ms: u32,
    /// A still picture of the video.
    pub thumbnail: Option<Media>,
    /// The caption.
    pub caption: String,
}

impl Video {
    /// Creates a video with a duration.
    pub fn new(media: Media, duration_ms: u32) -> Self {
        Self { media, duration_ms, ..Self::default() }
    }

    /// Sets the width and height.
    #[must_use]
    pub fn pixels(self, width: u32, height: u32) -> Self {
        Self { width, height, ..self }
    }

    /// Sets the still picture.
    #[must_use]
    pub fn thumbnail(self, thumbnail: Media) -> Self {
        Self { thumbnail: Some(thumbnail), ..self }
    }

    /// Sets the caption.
    #[must_use]
    pub fn caption(self, caption: impl Into<String>) -> Self {
        Self { caption: caption.into(), ..self }
    }
}
