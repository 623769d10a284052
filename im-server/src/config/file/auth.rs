//! The section `[auth]`: the keys that verify tokens, and the issuer and audience of accepted tokens.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    str::FromStr,
};

use im_sdk::token::{self, TokenVerifier, VerificationKey};

use super::{FileError, contradiction, required};
use crate::config::DEV_SECRET;

/// The settings of `[auth]` that were read so far.
#[derive(Default)]
pub(super) struct Auth {
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) hs256: Hs256,
    pub(super) public: Public,
    /// The keys below `[[auth.keys]]`.
    pub(super) keys: Vec<TokenKey>,
}

/// The settings `auth.hs256_...`.
#[derive(Default)]
pub(super) struct Hs256 {
    pub(super) id: Option<String>,
    pub(super) secret: Option<String>,
}

/// The settings `auth.public_key_...`.
#[derive(Default)]
pub(super) struct Public {
    pub(super) id: Option<String>,
    pub(super) algorithm: Option<Algorithm>,
    pub(super) path: Option<PathBuf>,
}

/// The algorithm of a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    EdDsa,
    Es256,
}

impl FromStr for Algorithm {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "EdDSA" => Ok(Self::EdDsa),
            "ES256" => Ok(Self::Es256),
            _ => Err(()),
        }
    }
}

/// A key that verifies tokens. It holds a secret, so it is not `Debug`.
pub(super) struct TokenKey {
    pub(super) id: String,
    pub(super) material: Material,
}

pub(super) enum Material {
    /// A secret, and the key that set it.
    Secret(String, &'static str),
    File(Algorithm, PathBuf),
}

impl Auth {
    /// Checks that the ids in the file differ: of two keys with one id, one would never be used.
    pub(super) fn check_ids(&self) -> Result<(), FileError> {
        let listed = self.keys.iter().map(|key| &key.id);
        check_different(listed.chain(&self.hs256.id).chain(&self.public.id))
    }

    /// Loads the keys. A key of `auth.hs256_...` or `auth.public_key_...` replaces the one below `[[auth.keys]]` with the same id.
    /// [`Auth::check_ids`] has made sure that it comes from variables.
    pub(super) fn verifier(self) -> Result<TokenVerifier, FileError> {
        let issuer = required(self.issuer, "auth", "issuer")?;
        let audience = required(self.audience, "auth", "audience")?;
        check_different(self.hs256.id.iter().chain(&self.public.id))?;
        let single: Vec<TokenKey> = [self.hs256.key()?, self.public.key()?].into_iter().flatten().collect();
        let mut keys = self.keys;
        keys.retain(|key| single.iter().all(|other| other.id != key.id));
        keys.extend(single);
        if keys.is_empty() {
            return contradiction(
                "no token key is configured: set auth.hs256_key_id and auth.hs256_secret, or auth.public_key_id, _algorithm and \
                 _path, or add one below [[auth.keys]]",
            );
        }
        let keys = keys.into_iter().map(TokenKey::load).collect::<Result<Vec<_>, _>>()?;
        Ok(TokenVerifier::new(&issuer, &audience, keys))
    }
}

fn check_different<'a>(ids: impl Iterator<Item = &'a String>) -> Result<(), FileError> {
    let mut seen = HashSet::new();
    match { ids }.find(|id| !seen.insert(*id)) {
        Some(id) => contradiction(format!("two token keys have the id {id:?}: take one out")),
        None => Ok(()),
    }
}

impl Hs256 {
    fn key(self) -> Result<Option<TokenKey>, FileError> {
        match (self.id, self.secret) {
            (Some(id), Some(secret)) => {
                Ok(Some(TokenKey { id, material: Material::Secret(secret, "auth.hs256_secret") }))
            }
            (None, None) => Ok(None),
            _ => contradiction("auth.hs256_key_id and auth.hs256_secret go together: set both"),
        }
    }
}

impl Public {
    fn key(self) -> Result<Option<TokenKey>, FileError> {
        match (self.id, self.algorithm, self.path) {
            (Some(id), Some(algorithm), Some(path)) => {
                Ok(Some(TokenKey { id, material: Material::File(algorithm, path) }))
            }
            (None, None, None) => Ok(None),
            _ => contradiction(
                "auth.public_key_id, auth.public_key_algorithm and auth.public_key_path go together: set all three",
            ),
        }
    }
}

impl TokenKey {
    fn load(self) -> Result<VerificationKey, FileError> {
        match self.material {
            Material::Secret(secret, key) if is_published(&secret) => {
                Err(FileError::PublishedSecret { id: self.id, key })
            }
            Material::Secret(secret, _) => Ok(VerificationKey::hs256(self.id, secret.as_bytes())?),
            Material::File(algorithm, path) => {
                let pem = read(&self.id, &path)?;
                let key = match algorithm {
                    Algorithm::EdDsa => VerificationKey::eddsa_pem(self.id, &pem),
                    Algorithm::Es256 => VerificationKey::es256_pem(self.id, &pem),
                };
                key.map_err(|source| FileError::PublicKey { source, path })
            }
        }
    }
}

fn read(id: &str, path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(|source| FileError::UnreadableKey {
        id: id.to_owned(),
        path: path.to_owned(),
        source,
    })
}

/// Returns whether a secret is one that examples, the guide or `--dev` show.
fn is_published(secret: &str) -> bool {
    token::is_published(secret.as_bytes()) || secret.to_ascii_lowercase().contains(DEV_SECRET)
}
