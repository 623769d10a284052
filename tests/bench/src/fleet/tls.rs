//! TLS on top of a connection, for `wss`. rustls without buffers of its own: records are decrypted where they were read
//! to, so an idle connection holds its keys and no memory beside.

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

/// One connection's end of TLS.
pub(super) struct Tls {
    connection: UnbufferedClientConnection,
    /// What is to be sent as soon as the handshake is over.
    plain: Vec<u8>,
}

impl Tls {
    pub(super) fn new(config: &Arc<ClientConfig>) -> Result<Self, String> {
        let name = ServerName::try_from("localhost").map_err(failed)?;
        let connection = UnbufferedClientConnection::new(Arc::clone(config), name).map_err(failed)?;
        Ok(Self { connection, plain: Vec::new() })
    }

    /// Encrypts this, now or after the handshake.
    pub(super) fn send(&mut self, plain: &[u8], unsent: &mut Vec<u8>) -> Result<(), String> {
        self.plain.extend_from_slice(plain);
        self.received(&mut [], unsent, |_| {}).map(drop)
    }

    /// Decrypts the complete records among these. Returns how many bytes were used up; what answers is put into `unsent`.
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
                // Only more bytes lead on from here.
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
    /// It wants so much room.
    Short(usize),
    Failed(String),
}
use Refused::{Failed, Short};

/// Appends what is written, which says itself how much room it wants.
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

/// What a fleet speaks TLS with: it believes the servers' certificates alone, and each handshake is a full one.
pub(super) fn config(
    certificates: Vec<CertificateDer<'static>>,
    alpn: &[u8],
) -> Result<ClientConfig, String> {
    let mut provider = crypto::ring::default_provider();
    // As the SDK and browsers have it.
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

/// Believes these certificates and no other.
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
