//! Tokens from the application, in whatever language it is written.

use std::sync::Arc;

use im_sdk::client as sdk;

use crate::{OpenError, TokenError};

/// Why the client asks for a token.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum TokenRequest {
    /// The first connection of a login.
    First,
    /// The first connection of an application that was opened again: it takes its place from no other device.
    Reopened,
    /// A later connection. The last token will do as long as it is valid.
    Reconnect,
    /// A server refused the last token. Only another one helps.
    Rejected {
        /// The close code.
        code: u16,
        /// The reason, for logs.
        reason: String,
    },
}

/// Gives the client a token for each connection.
#[uniffi::export(rust, foreign)]
pub trait TokenProvider: Send + Sync {
    /// A JSON Web Token whose `sub` is the user.
    ///
    /// It is called on a thread of its own and may block; it should give up after some seconds.
    ///
    /// # Errors
    /// [`TokenError`] says whether asking again later makes sense. Any other exception counts as `Unavailable`.
    fn token(&self, why: TokenRequest) -> Result<String, TokenError>;
}

/// Gives the client the endpoints of the servers that there are now.
#[uniffi::export(rust, foreign)]
pub trait EndpointProvider: Send + Sync {
    /// Endpoints, best first; none: the client goes on with those that it knows, as it does where they make no sense.
    ///
    /// It is called like `TokenProvider::token`, before the next token, when none of the known endpoints could be reached.
    ///
    /// # Errors
    /// [`TokenError`], whichever: the client goes on with those that it knows.
    fn endpoints(&self) -> Result<Vec<String>, TokenError>;
}

/// The providers of the application as the SDK sees them.
pub(crate) struct Foreign {
    pub(crate) tokens: Arc<dyn TokenProvider>,
    pub(crate) endpoints: Option<Arc<dyn EndpointProvider>>,
}

impl sdk::TokenProvider for Foreign {
    fn token(&self, why: sdk::TokenRequest) -> Result<String, sdk::TokenError> {
        Ok(self.tokens.token(why.into())?)
    }

    fn endpoints(&self) -> Vec<im_sdk::Endpoint> {
        let Some(provider) = &self.endpoints else { return Vec::new() };
        provider.endpoints().ok().and_then(|endpoints| parse_endpoints(&endpoints).ok()).unwrap_or_default()
    }
}

impl From<sdk::TokenRequest> for TokenRequest {
    fn from(why: sdk::TokenRequest) -> Self {
        match why {
            sdk::TokenRequest::First => Self::First,
            sdk::TokenRequest::Reopened => Self::Reopened,
            sdk::TokenRequest::Rejected { code, reason } => Self::Rejected { code: code.code(), reason },
            _ => Self::Reconnect,
        }
    }
}

pub(crate) fn parse_endpoints(endpoints: &[String]) -> Result<Vec<im_sdk::Endpoint>, OpenError> {
    endpoints.iter().map(|text| text.parse().map_err(OpenError::invalid)).collect()
}
