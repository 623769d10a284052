//! The configuration that was read so far, and the checks of a complete one.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use im_sdk::{cluster::ClusterConfig, token::TokenVerifier};

use super::{FileError, Origin, auth::Auth, contradiction, missing, required};
use crate::config::{InvalidConfig, ServerConfig, TlsConfig, check_cluster};

/// The configuration that was read so far. It holds secrets, so it is not `Debug`.
pub(super) struct PartialConfig {
    /// The server's settings, without its name and its verifier.
    pub(super) server: ServerConfig,
    pub(super) cluster: ClusterConfig,
    pub(super) name: Option<String>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) private_key: Option<PathBuf>,
    pub(super) auth: Auth,
    /// The origins of values, by the paths of their keys.
    origins: HashMap<String, Origin>,
    sections: HashSet<String>,
}

impl PartialConfig {
    pub(super) fn new() -> Self {
        Self {
            server: ServerConfig::new(String::new(), TokenVerifier::new("", "", [])),
            cluster: ClusterConfig::new::<[String; 0], [String; 0]>([], []),
            name: None,
            certificate: None,
            private_key: None,
            auth: Auth::default(),
            origins: HashMap::new(),
            sections: HashSet::new(),
        }
    }

    /// Remembers the origin of the value of a section's key.
    pub(super) fn came_from(&mut self, section: &str, path: String, origin: Origin) {
        self.open(section);
        self.origins.insert(path, origin);
    }

    /// Remembers that a section exists.
    pub(super) fn open(&mut self, section: &str) {
        self.sections.insert(section.to_owned());
    }

    /// Completes the configuration and checks it.
    pub(super) fn finish(mut self) -> Result<(ServerConfig, ClusterConfig), FileError> {
        self.server.name = required(self.name.take(), "server", "name")?;
        self.server.verifier = std::mem::take(&mut self.auth).verifier()?.into();
        self.server.tls = match (self.certificate.take(), self.private_key.take()) {
            (Some(certificate), Some(key)) => TlsConfig::Files { certificate, key },
            (None, None) => TlsConfig::SelfSigned,
            _ => return contradiction("tls.certificate and tls.key go together: set both"),
        };
        self.check_listeners()?;
        self.server.check().map_err(|source| self.invalid(source))?;
        self.check_cluster()?;
        Ok((self.server, self.cluster))
    }

    fn check_listeners(&self) -> Result<(), FileError> {
        for (section, listen) in [("websocket", self.server.websocket), ("quic", self.server.quic)] {
            if listen.is_none() && self.sections.contains(section) {
                return Err(missing(section, "listen"));
            }
        }
        if self.server.websocket.is_none() && self.server.quic.is_none() {
            return contradiction(
                "the server has no address to listen on: set websocket.listen or quic.listen",
            );
        }
        Ok(())
    }

    fn check_cluster(&self) -> Result<(), FileError> {
        for (key, addresses) in [("redis", &self.cluster.redis), ("nats", &self.cluster.nats)] {
            if addresses.is_empty() {
                return Err(missing("cluster", key));
            }
        }
        check_cluster(&self.cluster).map_err(|source| self.invalid(source))
    }

    fn invalid(&self, source: InvalidConfig) -> FileError {
        let origin = self.origins.get(source.key()).cloned().unwrap_or(Origin::Default);
        FileError::Config { source, origin }
    }
}
