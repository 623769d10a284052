//! The program's configuration: a TOML file, and variables of the environment that override it. `im-server.example.toml` shows every key.
//! An unknown key or `IM_...` variable is an error, so that a typing mistake does not pass for a setting. No error shows a value, which
//! may be a secret, except for paths and the ids of keys.
//!
//! # Why not serde and a layering crate
//!
//! Deserializing into types would replace `document.rs`, `partial.rs` and `keys.rs`. The errors forbid it:
//!
//! - serde's messages quote the value that has the wrong type (`invalid type: string "...", expected u64`), and those of `toml` show the
//!   source line. A secret on the wrong line, or under the wrong key, would get into the log.
//! - figment and config report the file of a value, not its line. Errors here report line and column also for a value that is out of
//!   range, which is found after all layers are merged, when serde has dropped the positions.
//! - All of them either ignore unknown variables with the prefix, which are typing mistakes, or reject those that Kubernetes sets for a
//!   service named `im`. Here the former are errors, and the latter are ignored.
//!
//! The only part of a layering crate that had to be written here is one table, `keys.rs`. If one of these crates can report the position
//! of merged values, and can withhold values from its errors, it should replace this module.

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

/// The prefix of every variable.
pub const VARIABLE_PREFIX: &str = "IM_";

/// Reads the file, if one is given, and the variables. Returns the configuration of the server and of its cluster.
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

/// A position in the file, counted from 1.
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

/// The origin of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The file.
    File(Position),
    /// A variable.
    Variable(String),
    /// The default.
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
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file is not TOML, has an unknown key, or a value of the wrong type.
    #[error("the configuration file {} is not valid: {position}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The position in the file.
        position: Position,
        /// The cause.
        problem: String,
    },
    /// A variable is unknown.
    #[error("the variable {0} does not exist: see im-server.example.toml for those that do")]
    UnknownVariable(String),
    /// A variable's value has the wrong type.
    #[error("the variable {name} takes {expected}")]
    WrongVariable {
        /// The variable.
        name: String,
        /// The type that it takes.
        expected: &'static str,
    },
    /// A variable's value is not UTF-8.
    #[error("the variable {0} is not valid UTF-8: write its value anew")]
    VariableNotUtf8(String),
    /// A token key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A public key cannot be used.
    #[error("{source}: see {}", path.display())]
    PublicKey {
        /// The cause.
        source: KeyError,
        /// The key's file.
        path: PathBuf,
    },
    /// A public key's file cannot be read.
    #[error("cannot read the public key of token key {id:?} from {}: {source}", path.display())]
    UnreadableKey {
        /// The key's id.
        id: String,
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A secret is published in the documentation.
    #[error(
        "the secret of token key {id:?} ({key}) stands in the documentation, so anybody could forge tokens: make one with \
         `openssl rand -base64 32`, give it to all servers and back ends, and set it there or by the variables \
         IM_AUTH_HS256_KEY_ID and IM_AUTH_HS256_SECRET"
    )]
    PublishedSecret {
        /// The key's id.
        id: String,
        /// The key that sets the secret: `auth.hs256_secret`, or `secret` below `[[auth.keys]]`.
        key: &'static str,
    },
    /// A value is out of range.
    #[error("{source} ({origin})")]
    Config {
        /// The cause.
        source: InvalidConfig,
        /// The origin of the value.
        origin: Origin,
    },
    /// A required key is not set.
    #[error("{key} is missing: set it in the configuration file, or by the variable {variable}")]
    Missing {
        /// The key, as `im-server.example.toml` names it.
        key: String,
        /// The variable that sets it.
        variable: String,
    },
    /// Settings contradict each other.
    #[error("{0}")]
    Contradiction(String),
}

/// Returns the variable that sets a key.
fn variable(section: &str, name: &str) -> String {
    format!("{VARIABLE_PREFIX}{section}_{name}").to_ascii_uppercase()
}

/// Returns a required value.
fn required<T>(value: Option<T>, section: &str, name: &str) -> Result<T, FileError> {
    value.ok_or_else(|| missing(section, name))
}

fn missing(section: &str, name: &str) -> FileError {
    FileError::Missing { key: format!("{section}.{name}"), variable: variable(section, name) }
}

fn contradiction<T>(what: impl Into<String>) -> Result<T, FileError> {
    Err(FileError::Contradiction(what.into()))
}

#[cfg(test)]
mod tests;
