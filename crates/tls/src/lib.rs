//! TLS for the data path: contexts from settings and secrets, sessions without I/O, and who the peer is.
//!
//! [`register`] adds the parsers of TLS transport sockets and secrets to [`config::Extensions`]; a [`Loader`]
//! makes [`ServerContext`]s and [`ClientContext`]s of what they parsed; a [`Session`] of either side turns
//! ciphertext into plaintext and back, in the caller's buffers. rustls makes handshakes, aws-lc-rs does the
//! arithmetic. Nothing here waits, opens a socket or keeps a buffer while a connection is idle.

mod certificate;
mod client;
mod error;
mod identity;
mod loader;
mod parameters;
pub mod peek;
mod peers;
mod resumption;
mod server;
mod session;
mod settings;
mod stats;
mod subject_alt_name;
#[cfg(test)]
mod test_certificates;
mod validation;
mod verifier;

pub use certificate::CertificateDetails;
pub use client::ClientContext;
pub use error::{AlertName, ContextError, TlsError, VerifyFailure};
pub use identity::PeerIdentity;
pub use loader::{Loader, Secrets};
pub use parameters::Parameters;
pub use server::ServerContext;
pub use session::{Peer, Progress, Session};
pub use settings::{
    CertificateValidationContext, Certificates, CommonTlsContext, DownstreamTlsContext, RawBuffer, SecretConfig,
    TABLES, TlsCertificate, UpstreamTlsContext, Validation, register,
};
pub use subject_alt_name::{SanMatcher, SanType, SubjectAltName, spiffe_trust_domain};
