//! Tokens, which the application provides.

use crate::{Endpoint, proto::close::CloseCode};

/// The reason for which a client asks for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenRequest {
    /// The first connection of a login: the store was never connected before, or the application
    /// [states](crate::client::ClientConfig::new_login) that the user has just logged in, or it connects again after another
    /// device has taken the place of this one.
    First,
    /// The first connection after the application was opened again, with a store that was connected before. It takes no other
    /// device's place. A backend that allows each user one login can refuse a token here to a device that is not the last.
    Reopened,
    /// A later connection. The last token is good while it is valid.
    Reconnect,
    /// A server refused the last token. Only a different one helps.
    Rejected {
        /// The code of the refusal.
        code: CloseCode,
        /// The reason, for logs.
        reason: String,
    },
}

/// The application cannot provide a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// There is none at the moment, for example because the network is down. The client asks again, with backoff.
    #[error("no token is available at the moment: {0}")]
    Unavailable(String),
    /// There will be none, for example because the user is logged out. The client stops.
    #[error("no token is given: {0}")]
    Denied(String),
}

impl TokenError {
    /// Returns a name that is stable over versions and languages: `unavailable` or `denied`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Denied(_) => "denied",
        }
    }
}

/// Provides a token for each connection.
///
/// A closure is a provider, and so is a text, which is the only token then: when a server refuses it, the client
/// stops.
///
/// ```
/// use im_sdk::client::{TokenError, TokenProvider, TokenRequest};
///
/// let fixed = "eyJhbGciOi...";
/// assert!(fixed.token(TokenRequest::First).is_ok());
///
/// let asks_the_back_end = |why: TokenRequest| match why {
///     TokenRequest::Rejected { .. } => Err(TokenError::Denied("log in again".into())),
///     _ => Ok("eyJhbGciOi...".to_owned()),
/// };
/// assert!(asks_the_back_end.token(TokenRequest::Reconnect).is_ok());
/// ```
pub trait TokenProvider: Send + Sync + 'static {
    /// Returns a JSON Web Token whose `sub` is the user.
    ///
    /// The method runs on a thread of its own and may block, for example on an HTTP request. It should give up after some
    /// seconds, since nothing else happens to this client's connection until then. It is not called twice at once. To wait for a
    /// future, use `block_on` of a `tokio::runtime::Handle` that the application took before.
    ///
    /// # Errors
    /// [`TokenError`] tells whether asking again later makes sense.
    fn token(&self, why: TokenRequest) -> Result<String, TokenError>;

    /// Returns the current endpoints, best first, which replace
    /// [`ClientConfig::endpoints`](crate::client::ClientConfig::endpoints). If the list is empty, as by default, the client
    /// keeps those that it has.
    ///
    /// The method is called when all known endpoints have failed since the last connection, before the next attempt and before
    /// its [`token`](TokenProvider::token), on the same thread and under the same conditions. An application that returns both
    /// together never keeps a client on servers that are gone. [`Client::set_endpoints`](crate::client::Client::set_endpoints)
    /// replaces the endpoints without being asked.
    ///
    /// ```
    /// use im_sdk::{Endpoint, client::{TokenError, TokenProvider, TokenRequest}};
    ///
    /// /// Asks the application's backend, which has `TokenMinter` and `Im::endpoints`.
    /// struct Account;
    /// # impl Account {
    /// #     fn post(&self, _: &str) -> Result<String, TokenError> { Ok("wss://im3.example.com".into()) }
    /// # }
    ///
    /// impl TokenProvider for Account {
    ///     fn token(&self, _: TokenRequest) -> Result<String, TokenError> {
    ///         self.post("/im/token")
    ///     }
    ///
    ///     fn endpoints(&self) -> Vec<Endpoint> {
    ///         let lines = self.post("/im/endpoints").unwrap_or_default();
    ///         lines.lines().filter_map(|line| line.parse().ok()).collect()
    ///     }
    /// }
    /// # assert_eq!(Account.endpoints().len(), 1);
    /// ```
    fn endpoints(&self) -> Vec<Endpoint> {
        Vec::new()
    }
}

impl<F> TokenProvider for F
where
    F: Fn(TokenRequest) -> Result<String, TokenError> + Send + Sync + 'static,
{
    fn token(&self, why: TokenRequest) -> Result<String, TokenError> {
        self(why)
    }
}

impl TokenProvider for String {
    fn token(&self, why: TokenRequest) -> Result<String, TokenError> {
        only_token(self, &why)
    }
}

impl TokenProvider for &'static str {
    fn token(&self, why: TokenRequest) -> Result<String, TokenError> {
        only_token(self, &why)
    }
}

fn only_token(token: &str, why: &TokenRequest) -> Result<String, TokenError> {
    match why {
        TokenRequest::Rejected { code, reason } => {
            Err(TokenError::Denied(format!("the only token was refused: {code}: {reason}")))
        }
        _ => Ok(token.to_owned()),
    }
}
