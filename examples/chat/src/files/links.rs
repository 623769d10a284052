//! Links by which a browser reads a file without a header: signed, and for a while.

use ring::hmac;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{File, FileStore};
use crate::database::now_ms;

/// Links end between one and two of these, so that the same file has the same link for a while and browsers cache it.
const PERIOD_MS: i64 = 3600 * 1000;

/// Which bytes of a file a link gives, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Variant {
    Original,
    Thumbnail,
    /// To be saved, not shown.
    Download,
}

impl Variant {
    fn as_str(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Thumbnail => "thumbnail",
            Self::Download => "download",
        }
    }
}

/// The links of a file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Links {
    pub(crate) url: String,
    pub(crate) thumbnail: Option<String>,
    pub(crate) download: String,
    pub(crate) ends_at: i64,
}

/// What a link carries.
#[derive(Debug, Deserialize, IntoParams)]
pub(crate) struct Signature {
    #[param(value_type = String)]
    pub(crate) variant: Variant,
    pub(crate) until: i64,
    pub(crate) key: String,
}

impl FileStore {
    /// Returns links to a file, for a reader who may read it.
    pub(crate) fn links(&self, file: &File) -> Links {
        let ends_at = (now_ms() / PERIOD_MS + 2) * PERIOD_MS;
        let link = |variant: Variant| {
            let key = hmac::sign(&self.key, message(&file.id, variant, ends_at).as_bytes());
            let key = data_encoding::BASE64URL_NOPAD.encode(key.as_ref());
            format!("/files/{}?variant={}&until={ends_at}&key={key}", file.id, variant.as_str())
        };
        Links {
            url: link(Variant::Original),
            thumbnail: file.has_thumbnail.0.then(|| link(Variant::Thumbnail)),
            download: link(Variant::Download),
            ends_at,
        }
    }

    /// Returns `true` if a link was made here and has not ended.
    pub(crate) fn verify(&self, id: &str, signature: &Signature) -> bool {
        let Ok(key) = data_encoding::BASE64URL_NOPAD.decode(signature.key.as_bytes()) else { return false };
        let message = message(id, signature.variant, signature.until);
        signature.until > now_ms() && hmac::verify(&self.key, message.as_bytes(), &key).is_ok()
    }
}

fn message(id: &str, variant: Variant, ends_at: i64) -> String {
    format!("{id}\n{}\n{ends_at}", variant.as_str())
}
