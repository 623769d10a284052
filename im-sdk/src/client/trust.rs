//! Trust in servers' certificates.

use std::sync::Arc;

use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring::default_provider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

/// The server certificates to trust. It applies to `quic` and `wss` endpoints; `ws` has no certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// The certificate authorities that browsers trust (the list of Mozilla, compiled in).
    #[default]
    WebPki,
    /// The platform's authorities and these certificates (DER), for a company's own authority. See [`Trust::pem`].
    Roots(Vec<Vec<u8>>),
    /// The one certificate with this SHA-256 fingerprint, whatever its names and its issuer are. For self-signed
    /// development servers: the fingerprint changes with every new certificate.
    CertificateSha256([u8; 32]),
}

impl Trust {
    /// Makes [`Trust::Roots`] from the certificates of a PEM file.
    ///
    /// # Errors
    /// [`TrustError`] if the text is not PEM or has no certificate.
    pub fn pem(text: &[u8]) -> Result<Self, TrustError> {
        let certificates: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(text).map(|found| found.map(|der| der.to_vec())).collect();
        match certificates {
            Ok(found) if !found.is_empty() => Ok(Self::Roots(found)),
            Ok(_) => Err(TrustError { problem: "it has no certificate".to_owned() }),
            Err(error) => Err(TrustError { problem: error.to_string() }),
        }
    }

    /// Makes [`Trust::CertificateSha256`] from 64 hexadecimal digits. Colons between them are ignored.
    ///
    /// # Errors
    /// [`TrustError`] for any other text.
    ///
    /// ```
    /// use im_sdk::client::Trust;
    ///
    /// assert_eq!(Trust::sha256_hex(&"0f".repeat(32))?, Trust::CertificateSha256([15; 32]));
    /// # Ok::<(), im_sdk::client::TrustError>(())
    /// ```
    pub fn sha256_hex(text: &str) -> Result<Self, TrustError> {
        let digits: String = text.chars().filter(|char| *char != ':').collect();
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(TrustError { problem: "a fingerprint takes 64 hexadecimal digits".to_owned() });
        }
        let byte = |index| u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).unwrap_or_default();
        Ok(Self::CertificateSha256(std::array::from_fn(byte)))
    }
}

/// A text is not valid for [`Trust`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate or fingerprint is not valid: {problem}")]
pub struct TrustError {
    problem: String,
}

impl TrustError {
    /// Returns a name that is stable over versions and languages: `invalid_trust`.
    pub fn code(&self) -> &'static str {
        "invalid_trust"
    }
}

/// Returns the TLS configuration of both transports; the caller adds the protocol name (ALPN). It uses `ring` explicitly,
/// whatever other crates choose and whatever the process's default is.
pub(super) fn tls_config(trust: &Trust) -> Result<ClientConfig, Error> {
    let provider = Arc::new(provider());
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    Ok(match trust {
        Trust::WebPki => builder.with_root_certificates(web_pki()).with_no_client_auth(),
        Trust::Roots(extra) => builder.with_root_certificates(with_extra(extra)?).with_no_client_auth(),
        Trust::CertificateSha256(fingerprint) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pin { fingerprint: *fingerprint, provider }))
            .with_no_client_auth(),
    })
}

/// Returns the crypto provider, with AES-128 first, as in browsers. The keys of a connection are then derived with
/// SHA-256, which processors have instructions for, instead of SHA-384. That saves a server a tenth of the cost of a
/// connection.
fn provider() -> CryptoProvider {
    let mut provider = default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}

fn web_pki() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

fn with_extra(extra: &[Vec<u8>]) -> Result<RootCertStore, Error> {
    let mut roots = web_pki();
    for certificate in extra {
        roots.add(certificate.as_slice().into())?;
    }
    Ok(roots)
}

/// Trusts one certificate. The handshake's signature is still checked: a fingerprint is public, and only the holder
/// of the private key can sign.
#[derive(Debug)]
struct Pin {
    fingerprint: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let digest = ring::digest::digest(&ring::digest::SHA256, end_entity);
        if digest.as_ref() == self.fingerprint {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::General("the server's certificate has another fingerprint".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_64_digits() {
        let plain = "00ff".repeat(16);
        let colons =
            plain.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect::<Vec<_>>();
        assert_eq!(Trust::sha256_hex(&plain), Trust::sha256_hex(&colons.join(":").to_uppercase()));
        for wrong in ["", "00", &plain[1..], &format!("{plain}0"), &plain.replace('f', "g")] {
            assert!(Trust::sha256_hex(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_cheapest_to_begin_with_is_offered_first() {
        let config = tls_config(&Trust::WebPki).unwrap();
        let offered: Vec<_> =
            config.crypto_provider().cipher_suites.iter().map(|suite| suite.suite()).collect();
        assert_eq!(offered.first(), Some(&CipherSuite::TLS13_AES_128_GCM_SHA256));
        assert_eq!(offered.len(), default_provider().cipher_suites.len());
    }

    #[test]
    fn pem_needs_a_certificate() {
        assert!(Trust::pem(b"").is_err());
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        assert!(tls_config(&Trust::pem(key.cert.pem().as_bytes()).unwrap()).is_ok());
        assert!(tls_config(&Trust::Roots(vec![vec![1, 2, 3]])).is_err());
    }
}
