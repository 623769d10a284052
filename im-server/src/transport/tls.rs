//! The server's certificate, for QUIC and `wss`.

use std::{path::PathBuf, sync::Arc};

use data_encoding::HEXLOWER;
use quinn::crypto::HmacKey;
use ring::{digest, hmac};
use rustls::{
    ServerConfig, crypto,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::config::TlsConfig;

/// A certificate chain and its private key.
#[derive(Debug)]
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// The origin of both, for errors.
    origin: String,
}

/// The certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("cannot read {what} from {}: {source}", path.display())]
    Unreadable {
        /// `the certificate` or `the private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rustls::pki_types::pem::Error,
    },
    /// The file contains no certificate.
    #[error("there is no certificate in {}: it takes a chain in PEM, the server's own certificate first", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// No self-signed certificate could be made.
    #[error("cannot make a self-signed certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error("{what} cannot be used: {source}")]
    Unusable {
        /// The certificate and the key, with their files.
        what: String,
        /// The cause.
        source: rustls::Error,
    },
}

impl Identity {
    pub(crate) fn load(config: &TlsConfig) -> Result<Self, TlsError> {
        match config {
            TlsConfig::SelfSigned => Self::self_signed(),
            TlsConfig::Files { certificate, key } => {
                let identity = Self::read(certificate, key)?;
                // The certificate and the key may not belong together.
                identity.server_config(&[])?;
                Ok(identity)
            }
        }
    }

    fn self_signed() -> Result<Self, TlsError> {
        let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
        let made = rcgen::generate_simple_self_signed(names)?;
        let origin = "the self-signed certificate".to_owned();
        let made = Self { chain: vec![made.cert.der().clone()], key: made.signing_key.into(), origin };
        if let Some(fingerprint) = made.fingerprint() {
            let sha256 = HEXLOWER.encode(&fingerprint);
            tracing::info!(sha256, "made a self-signed certificate; devices can pin it until the next start");
        }
        Ok(made)
    }

    fn read(certificate: &PathBuf, key: &PathBuf) -> Result<Self, TlsError> {
        let origin = format!("the certificate {} with the key {}", certificate.display(), key.display());
        let unreadable = |what, path: &PathBuf| {
            let path = path.clone();
            move |source| TlsError::Unreadable { what, path, source }
        };
        let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .map_err(unreadable("the certificate", certificate))?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate { path: certificate.clone() });
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(unreadable("the private key", key))?;
        Ok(Self { chain, key, origin })
    }

    /// Returns the SHA-256 digest of the leaf certificate, which a device may pin.
    pub(crate) fn fingerprint(&self) -> Option<[u8; 32]> {
        let leaf = self.chain.first()?;
        digest::digest(&digest::SHA256, leaf).as_ref().try_into().ok()
    }

    /// Returns the key of QUIC's stateless resets. It derives from the certificate's key, so that a restarted server can reset
    /// connections of its predecessor, which it does not know (RFC 9000, section 10.3.2).
    pub(crate) fn reset_key(&self) -> Arc<dyn HmacKey> {
        let private = hmac::Key::new(hmac::HMAC_SHA256, self.key.secret_der());
        let derived = hmac::sign(&private, b"im-server: QUIC stateless reset");
        Arc::new(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// Returns the configuration of a listener. It names the crypto provider, so that no process-wide one has to be installed.
    pub(crate) fn server_config(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(crypto::ring::default_provider());
        let unusable = |source| TlsError::Unusable { what: self.origin.clone(), source };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(unusable)?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Returns the error of a server with these two files.
    fn error(directory: &tempfile::TempDir, certificate: &str, key: &str) -> String {
        let path = |name, text| {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let (certificate, key) = (path("tls.crt", certificate), path("tls.key", key));
        Identity::load(&TlsConfig::Files { certificate, key }).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let made = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (one, other) = (made(), made());
        let (certificate, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        let none = error(&directory, "", &key);
        assert!(none.contains("there is no certificate in") && none.contains("tls.crt"), "{none}");
        let swapped = error(&directory, &key, &key);
        assert!(swapped.contains("there is no certificate in") && swapped.contains("tls.crt"), "{swapped}");
        let no_key = error(&directory, &certificate, &certificate);
        assert!(no_key.contains("private key") && no_key.contains("tls.key"), "{no_key}");
        let cut = error(&directory, &certificate[..certificate.len() / 2], &key);
        assert!(cut.contains("tls.crt"), "{cut}");
        let foreign = error(&directory, &certificate, &other.signing_key.serialize_pem());
        assert!(foreign.contains("tls.crt") && foreign.contains("tls.key"), "{foreign}");
    }
}
