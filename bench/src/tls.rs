//! TLS for the load generator and the backend: one certificate for each side, from one authority.
//!
//! `bench-certificates DIRECTORY` writes the files. Both sides present a certificate and verify the other's; sessions are
//! not resumed, so that every connection is a whole handshake.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The name the server's certificate is for.
pub const SERVER_NAME: &str = "bench.example";

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn roots(directory: &Path) -> io::Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(directory.join("ca.pem")).map_err(invalid)?;
    roots.add(authority).map_err(invalid)?;
    Ok(Arc::new(roots))
}

fn identity(directory: &Path, name: &str) -> io::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let certificate = CertificateDer::from_pem_file(directory.join(format!("{name}.pem"))).map_err(invalid)?;
    let key = PrivateKeyDer::from_pem_file(directory.join(format!("{name}.key"))).map_err(invalid)?;
    Ok((vec![certificate], key))
}

/// The caller's side, with the files of `directory`.
///
/// # Errors
/// A file is missing or is not what its name says.
pub fn connector(directory: &Path) -> io::Result<TlsConnector> {
    let (chain, key) = identity(directory, "client")?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(invalid)?
        .with_root_certificates(roots(directory)?)
        .with_client_auth_cert(chain, key)
        .map_err(invalid)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The backend's side, with the files of `directory`.
///
/// # Errors
/// A file is missing or is not what its name says.
pub fn acceptor(directory: &Path) -> io::Result<TlsAcceptor> {
    let (chain, key) = identity(directory, "server")?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(directory)?, provider())
        .build()
        .map_err(invalid)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(invalid)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(invalid)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The caller's handshake.
///
/// # Errors
/// What the socket or TLS says.
pub async fn connect(
    connector: &TlsConnector,
    socket: TcpStream,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let name = ServerName::try_from(SERVER_NAME).map_err(invalid)?;
    connector.connect(name, socket).await
}
