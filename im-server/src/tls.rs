//! The server's certificate, for QUIC and `wss`.

use std::{path::PathBuf, sync::Arc};

use ring::digest;
use rustls::{
    ServerConfig, crypto,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::config::TlsConfig;

/// The certificate chain and its key.
#[derive(Debug)]
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
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
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// No self-signed certificate could be made.
    #[error("cannot make a self-signed certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error("the certificate and its key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

impl Identity {
    pub(crate) fn load(config: &TlsConfig) -> Result<Self, TlsError> {
        match config {
            TlsConfig::SelfSigned => Self::self_signed(),
            TlsConfig::Files { certificate, key } => Self::read(certificate, key),
        }
    }

    fn self_signed() -> Result<Self, TlsError> {
        let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
        let made = rcgen::generate_simple_self_signed(names)?;
        let made = Self { chain: vec![made.cert.der().clone()], key: made.signing_key.into() };
        if let Some(fingerprint) = made.fingerprint() {
            let sha256: String = fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
            tracing::info!(
                sha256,
                "made a self-signed certificate, by which devices can pin it until the next start"
            );
        }
        Ok(made)
    }

    fn read(certificate: &PathBuf, key: &PathBuf) -> Result<Self, TlsError> {
        let unreadable = |what, path: &PathBuf| {
            let path = path.clone();
            move |source| TlsError::Unreadable { what, path, source }
        };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .map_err(unreadable("the certificate", certificate))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(unreadable("the private key", key))?;
        Ok(Self { chain, key })
    }

    /// SHA-256 of the leaf certificate, which a device may pin.
    pub(crate) fn fingerprint(&self) -> Option<[u8; 32]> {
        let leaf = self.chain.first()?;
        digest::digest(&digest::SHA256, leaf).as_ref().try_into().ok()
    }

    /// What a listener needs. The crypto provider is named here, so that no process-wide one has to be installed.
    pub(crate) fn server_config(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }
}
