//! The binary's configuration: a TOML file, and variables of the environment that override it. `im-server.example.toml`
//! shows every key. A key or an `IM_...` variable that does not exist is an error: a typing mistake must not pass for
//! a setting. No error shows a value, which may be a secret, but for paths and the ids of keys.

mod auth;
mod document;
mod keys;
mod partial;
mod variables;

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use im_sdk::{cluster::ClusterConfig, token::KeyError};

pub use self::variables::variable_names;
use self::{document::ParseError, partial::PartialConfig};
use crate::config::{InvalidConfig, ServerConfig};

/// What every variable starts with.
pub const VARIABLE_PREFIX: &str = "IM_";

/// Reads the file, if one is given, and the variables, and returns the server's configuration and how to reach the
/// cluster.
///
/// # Errors
/// [`FileError`].
pub fn load(
    path: Option<&PathBuf>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(ServerConfig, ClusterConfig), FileError> {
    let unreadable = |path: &PathBuf| {
        let path = path.clone();
        |source| FileError::Unreadable { path, source }
    };
    let file = match path {
        Some(path) => Some((path.as_path(), std::fs::read_to_string(path).map_err(unreadable(path))?)),
        None => None,
    };
    parse(file.as_ref().map(|(path, text)| (*path, text.as_str())), variables)
}

fn parse(
    file: Option<(&Path, &str)>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(ServerConfig, ClusterConfig), FileError> {
    let mut partial = PartialConfig::new();
    if let Some((path, text)) = file {
        let wrong = |ParseError { position, problem }| FileError::Invalid {
            path: path.to_owned(),
            position,
            problem,
        };
        document::read(text, &mut partial).map_err(wrong)?;
        partial.auth.check_ids()?;
    }
    variables::read(variables, &mut partial)?;
    partial.finish()
}

/// A place in the file, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}, column {}", self.line, self.column)
    }
}

/// Where a key got its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// In the file.
    File(Position),
    /// From a variable.
    Variable(String),
    /// Nowhere: it has its default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(position) => write!(formatter, "the configuration file sets it, {position}"),
            Self::Variable(name) => write!(formatter, "the variable {name} sets it"),
            Self::Default => formatter.write_str("it has its default"),
        }
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// It is no TOML, has a key that does not exist, or a value is of the wrong kind.
    #[error("the configuration file {} is not valid: {position}: {problem}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        position: Position,
        /// What is wrong.
        problem: String,
    },
    /// A variable that does not exist.
    #[error("the variable {0} does not exist: see im-server.example.toml for those that do")]
    UnknownVariable(String),
    /// A variable's value is of the wrong kind.
    #[error("the variable {name} takes {expected}")]
    WrongVariable {
        /// Which variable.
        name: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A variable's value is no text.
    #[error("the variable {0} is not valid UTF-8: write its value anew")]
    VariableNotUtf8(String),
    /// A token key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A public key cannot be used.
    #[error("{source}: see {}", path.display())]
    PublicKey {
        /// What is wrong.
        source: KeyError,
        /// The key's file.
        path: PathBuf,
    },
    /// A public key's file cannot be read.
    #[error("cannot read the public key of token key {id:?} from {}: {source}", path.display())]
    UnreadableKey {
        /// The key's id.
        id: String,
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A secret that everybody can read.
    #[error(
        "the secret of token key {id:?} ({key}) stands in the documentation, so anybody could forge tokens: make one with \
         `openssl rand -base64 32`, give it to all servers and back ends, and set it there or by the variables \
         IM_AUTH_HS256_KEY_ID and IM_AUTH_HS256_SECRET"
    )]
    PublishedSecret {
        /// The key's id.
        id: String,
        /// Where the secret is set: `auth.hs256_secret` or `secret` below `[[auth.keys]]`.
        key: &'static str,
    },
    /// A value makes no sense.
    #[error("{source} ({origin})")]
    Config {
        /// What is wrong.
        source: InvalidConfig,
        /// Where the value comes from.
        origin: Origin,
    },
    /// What must be set is not.
    #[error("{key} is missing: set it in the configuration file, or by the variable {variable}")]
    Missing {
        /// As `im-server.example.toml` names it.
        key: String,
        /// The variable for it.
        variable: String,
    },
    /// What is set does not fit together.
    #[error("{0}")]
    Contradiction(String),
}

#[cfg(test)]
mod tests;
