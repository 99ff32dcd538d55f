//! Writes the certificates of `make bench`: an authority, a server and a client, as PEM files.

use std::fs;
use std::io;
use std::path::PathBuf;

use bench::tls::SERVER_NAME;
use clap::Parser;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa};
use rcgen::{KeyPair, KeyUsagePurpose};

/// Writes ca.pem, and for `server` and `client` NAME.pem, NAME.key and NAME.both.pem (certificate and key).
#[derive(Parser)]
struct Arguments {
    /// Where to write them.
    directory: PathBuf,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let directory = &arguments.directory;
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "bench authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let issuer = CertifiedIssuer::self_signed(authority, key).map_err(io::Error::other)?;
    fs::write(directory.join("ca.pem"), issuer.pem())?;
    for (name, host) in [("server", SERVER_NAME), ("client", "client.bench.example")] {
        let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(io::Error::other)?;
        params.distinguished_name.push(DnType::CommonName, host);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &issuer).map_err(io::Error::other)?.pem();
        let key = key.serialize_pem();
        fs::write(
            directory.join(format!("{name}.both.pem")),
            format!("{certificate}{key}"),
        )?;
        fs::write(directory.join(format!("{name}.pem")), certificate)?;
        fs::write(directory.join(format!("{name}.key")), key)?;
    }
    Ok(())
}
