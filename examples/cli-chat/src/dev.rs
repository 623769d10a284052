//! Discovery of the server on one machine, for development: `serve` writes a file, and chats read it.
//!
//! The file contains the key that signs tokens, so anyone who can read it can impersonate any user. In a product, the key stays
//! with the backend, which gives a token to a user who has logged in.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use im_sdk::{
    client::{TokenError, TokenProvider, TokenRequest},
    id::UserId,
    token::{KeyError, SigningKey, TokenMinter, TokenVerifier, VerificationKey},
};

/// The contents of the file.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Development {
    /// The server's addresses, best first.
    pub(crate) endpoints: Vec<String>,
    /// The SHA-256 fingerprint of its certificate.
    pub(crate) certificate_sha256: Option<String>,
    /// The secret that signs tokens.
    pub(crate) secret: String,
}

impl Development {
    /// Reads the file of a directory. Returns `None` if there is none.
    pub(crate) fn read(data: &Path) -> io::Result<Option<Self>> {
        match fs::read_to_string(path(data)) {
            Ok(text) => Ok(Some(Self::parse(&text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the file, readable by its owner alone. A concurrent reader sees either the old file or the new one.
    pub(crate) fn write(&self, data: &Path) -> io::Result<()> {
        let new = path(data).with_extension("new");
        // The mode of an existing file might let others read it.
        _ = fs::remove_file(&new);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(self.text().as_bytes())?;
        fs::rename(new, path(data))
    }

    /// Returns a verifier of the tokens that [`tokens`] mints.
    pub(crate) fn verifier(&self) -> Result<TokenVerifier, KeyError> {
        let key = VerificationKey::hs256(KEY_ID, self.secret.as_bytes())?;
        Ok(TokenVerifier::new(ISSUER, AUDIENCE, [key]))
    }

    fn text(&self) -> String {
        let endpoints = self.endpoints.iter().map(|endpoint| format!("endpoint {endpoint}\n"));
        let certificate = self.certificate_sha256.iter().map(|hex| format!("certificate-sha256 {hex}\n"));
        let secret = format!("secret {}\n", self.secret);
        [WARNING.to_owned()].into_iter().chain(endpoints).chain(certificate).chain([secret]).collect()
    }

    fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            match name {
                "endpoint" => parsed.endpoints.push(value.to_owned()),
                "certificate-sha256" => parsed.certificate_sha256 = Some(value.to_owned()),
                "secret" => value.clone_into(&mut parsed.secret),
                _ => {}
            }
        }
        parsed
    }
}

/// Returns the path of the file.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("server.dev")
}

/// Returns a provider that mints tokens for a user, as a backend does after a login. It reads the file each time, since a new
/// server may have a new key.
pub(crate) fn tokens(data: PathBuf, user: UserId) -> impl TokenProvider {
    move |_: TokenRequest| {
        let unavailable = |error: &dyn std::error::Error| TokenError::Unavailable(error.to_string());
        let found = Development::read(&data).map_err(|error| unavailable(&error))?;
        let development =
            found.ok_or_else(|| TokenError::Unavailable(format!("{} is gone", path(&data).display())))?;
        let key =
            SigningKey::hs256(KEY_ID, development.secret.as_bytes()).map_err(|error| unavailable(&error))?;
        TokenMinter::new(key, ISSUER, AUDIENCE).mint(&user, TOKEN_TTL).map_err(|error| unavailable(&error))
    }
}

const KEY_ID: &str = "dev";
const ISSUER: &str = "cli-chat";
const AUDIENCE: &str = "im";

/// The lifetime of a token. It may be short: the client asks for another one.
const TOKEN_TTL: Duration = Duration::from_secs(3600);

const WARNING: &str = "\
# Written by `cli-chat serve`, for development only: whoever can read the secret can be any user.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let data = tempfile::tempdir().unwrap();
        assert!(Development::read(data.path()).unwrap().is_none());
        let mut written = Development {
            endpoints: vec!["quic://127.0.0.1:1".to_owned(), "ws://127.0.0.1:1".to_owned()],
            certificate_sha256: Some("0f".repeat(32)),
            secret: "s".repeat(64),
        };
        written.write(data.path()).unwrap();
        assert!(Development::read(data.path()).unwrap().as_ref() == Some(&written));
        written.certificate_sha256 = None;
        written.write(data.path()).unwrap();
        assert!(Development::read(data.path()).unwrap().as_ref() == Some(&written), "it is replaced");
    }

    #[test]
    fn only_the_own_user_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().unwrap();
        Development::default().write(data.path()).unwrap();
        assert_eq!(fs::metadata(path(data.path())).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_server_takes_the_tokens_that_are_given() {
        let data = tempfile::tempdir().unwrap();
        let bob = UserId::parse("bob").unwrap();
        let tokens = tokens(data.path().to_owned(), bob.clone());
        assert!(matches!(tokens.token(TokenRequest::First), Err(TokenError::Unavailable(_))));
        let development = Development { secret: "s".repeat(64), ..Development::default() };
        development.write(data.path()).unwrap();
        let verified = development.verifier().unwrap().verify(&tokens.token(TokenRequest::First).unwrap());
        assert_eq!(verified.unwrap().user, bob);
    }
}
