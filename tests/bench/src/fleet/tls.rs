//! TLS on a connection, for `wss`. Uses rustls without buffers of its own: records are decrypted in place, so an idle
//! connection holds its keys and no other memory.

use std::{fmt::Display, sync::Arc};

use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        Resumption, UnbufferedClientConnection,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{self, CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus},
};

/// The TLS state of a connection.
pub(super) struct Tls {
    connection: UnbufferedClientConnection,
    /// Data to send after the handshake.
    plain: Vec<u8>,
}

impl Tls {
    pub(super) fn new(config: &Arc<ClientConfig>) -> Result<Self, String> {
        let name = ServerName::try_from("localhost").map_err(failed)?;
        let connection = UnbufferedClientConnection::new(Arc::clone(config), name).map_err(failed)?;
        Ok(Self { connection, plain: Vec::new() })
    }

    /// Encrypts data, now or after the handshake.
    pub(super) fn send(&mut self, plain: &[u8], unsent: &mut Vec<u8>) -> Result<(), String> {
        self.plain.extend_from_slice(plain);
        self.received(&mut [], unsent, |_| {}).map(drop)
    }

    /// Decrypts the complete records. Returns the number of bytes used; responses are appended to `unsent`.
    pub(super) fn received(
        &mut self,
        records: &mut [u8],
        unsent: &mut Vec<u8>,
        mut take: impl FnMut(&[u8]),
    ) -> Result<usize, String> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { mut discard, state, .. } =
                self.connection.process_tls_records(&mut records[used..]);
            let mut waits = false;
            match state.map_err(failed)? {
                ConnectionState::EncodeTlsData(mut data) => append(unsent, |out| {
                    data.encode(out).map_err(|error| match error {
                        EncodeError::InsufficientSize(size) => Short(size.required_size),
                        error => Failed(error.to_string()),
                    })
                })?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(failed)?;
                        discard += record.discard;
                        take(record.payload);
                    }
                }
                ConnectionState::WriteTraffic(mut traffic) => {
                    if !self.plain.is_empty() {
                        append(unsent, |out| {
                            traffic.encrypt(&self.plain, out).map_err(|error| match error {
                                EncryptError::InsufficientSize(size) => Short(size.required_size),
                                error @ EncryptError::EncryptExhausted => Failed(error.to_string()),
                            })
                        })?;
                        self.plain = Vec::new();
                    }
                    waits = true;
                }
                ConnectionState::PeerClosed | ConnectionState::Closed => {
                    return Err("the server ended TLS".to_owned());
                }
                // The other states need more bytes.
                _ => waits = true,
            }
            used += discard;
            if waits {
                return Ok(used);
            }
        }
    }
}

enum Refused {
    /// The buffer is too small; contains the required size.
    Short(usize),
    Failed(String),
}
use Refused::{Failed, Short};

/// Appends the output of `write`, and grows the buffer to the size that `write` requires.
fn append(
    out: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Refused>,
) -> Result<(), String> {
    let start = out.len();
    loop {
        match write(&mut out[start..]) {
            Ok(written) => {
                out.truncate(start + written);
                return Ok(());
            }
            Err(Short(required)) => out.resize(start + required, 0),
            Err(Failed(error)) => return Err(error),
        }
    }
}

/// Returns the TLS configuration of a fleet. It trusts the servers' certificates alone, and every handshake is
/// a full one.
pub(super) fn config(
    certificates: Vec<CertificateDer<'static>>,
    alpn: &[u8],
) -> Result<ClientConfig, String> {
    let mut provider = crypto::ring::default_provider();
    // The same preference as the SDK and browsers.
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    let provider = Arc::new(provider);
    let pinned = Pinned { certificates, provider: Arc::clone(&provider) };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(config)
}

fn failed(error: impl Display) -> String {
    format!("TLS: {error}")
}

/// Trusts these certificates and no others.
#[derive(Debug)]
struct Pinned {
    certificates: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.certificates.contains(certificate) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General(
            "the server has another certificate than the one that was made for it".into(),
        ))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
