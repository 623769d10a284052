//! Tokens and endpoints from the application, in any language.

use std::sync::Arc;

use im_sdk::client as sdk;

use crate::{OpenError, TokenError};

/// The reason for which the client asks for a token.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum TokenRequest {
    /// The first connection of a login.
    First,
    /// The first connection after the application was opened again. It does not take the place of other
    /// devices.
    Reopened,
    /// A later connection. The last token is good enough while it is valid.
    Reconnect,
    /// A server refused the last token. Return another one.
    Rejected {
        /// The close code.
        code: u16,
        /// The reason, for logs.
        reason: String,
    },
}

/// Provides a token for each connection of the client.
#[uniffi::export(rust, foreign)]
pub trait TokenProvider: Send + Sync {
    /// Returns a JSON Web Token whose `sub` is the user.
    ///
    /// It is called on a thread of its own and may block. It should give up after some seconds.
    ///
    /// # Errors
    /// [`TokenError`] tells the client whether to ask again later. Any other exception counts as `Unavailable`.
    fn token(&self, why: TokenRequest) -> Result<String, TokenError>;
}

/// Provides the endpoints of the current servers.
#[uniffi::export(rust, foreign)]
pub trait EndpointProvider: Send + Sync {
    /// Returns endpoints, best first. With none, or if one is not valid, the client keeps those it has.
    ///
    /// It is called like `TokenProvider::token`, before the next token, when none of the known endpoints could be reached.
    ///
    /// # Errors
    /// [`TokenError`], of any kind: the client keeps the endpoints it has.
    fn endpoints(&self) -> Result<Vec<String>, TokenError>;
}

/// The application's providers in the form that the SDK uses.
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
