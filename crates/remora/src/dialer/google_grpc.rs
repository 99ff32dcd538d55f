//! `google_grpc` services: a target in gRPC's own naming, with credentials of its own.
//!
//! Targets are those of gRPC's name syntax that need no configuration besides: `host:port` and `dns:`, `ipv4:`, `ipv6:`,
//! `unix:`, `unix-abstract:` (<https://grpc.github.io/grpc/core/md_doc_naming.html>).

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use config::config_source::ChannelCredentials;
use config::data_source::DataSource;
use tls::{Loader, TlsCertificate, UpstreamTlsContext};
use tokio::net::{TcpStream, UnixStream};
use upstream::transport::Transport;

use super::{other, secure};

/// The port of a target that names none.
const DEFAULT_PORT: u16 = 443;

/// Where systems keep the authorities they trust.
const SYSTEM_ROOTS: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// A target, understood.
#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    /// A name or an address, and a port.
    Host(&'a str, u16),
    /// Addresses, the first that answers.
    Addresses(Vec<SocketAddr>),
    /// A Unix domain socket; a leading NUL is the abstract namespace.
    Unix(String),
}

/// Connects to a target.
pub(super) async fn dial(
    target_uri: &str,
    credentials: Option<&ChannelCredentials>,
    loader: &Loader,
) -> io::Result<Box<dyn xds::Io>> {
    let target = parse(target_uri).ok_or_else(|| other(format!("target_uri {target_uri:?} is not understood")))?;
    let transport = transport(&target, credentials, loader)?;
    let addresses = match target {
        Target::Unix(path) => {
            let stream = UnixStream::connect(path).await?;
            return secure(stream, IpAddr::V4(Ipv4Addr::LOCALHOST), None, &transport, None).await;
        }
        Target::Host(host, port) => tokio::net::lookup_host((host, port)).await?.collect(),
        Target::Addresses(addresses) => addresses,
    };
    let is_local = matches!(credentials, Some(ChannelCredentials::Local));
    let mut last = other(format!("{target_uri} has no address"));
    for address in addresses {
        if is_local && !address.ip().is_loopback() {
            last = other(format!("local_credentials are for this machine, {address} is another"));
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return secure(stream, address.ip(), None, &transport, None).await;
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn parse(target: &str) -> Option<Target<'_>> {
    let (scheme, rest) = match target.split_once(':') {
        Some((scheme @ ("dns" | "ipv4" | "ipv6" | "unix" | "unix-abstract"), rest)) => (scheme, rest),
        _ => ("", target),
    };
    match scheme {
        "unix" => Some(Target::Unix(rest.strip_prefix("//").unwrap_or(rest).to_owned())),
        "unix-abstract" => Some(Target::Unix(format!("\0{rest}"))),
        "ipv4" | "ipv6" => {
            let address = |text: &str| {
                let alone = || {
                    Some(SocketAddr::new(
                        text.trim_matches(['[', ']']).parse().ok()?,
                        DEFAULT_PORT,
                    ))
                };
                text.parse().ok().or_else(alone)
            };
            rest.split(',')
                .map(address)
                .collect::<Option<_>>()
                .map(Target::Addresses)
        }
        _ => {
            // An authority is the name server to ask, of which there is one here: the system's.
            let host = match rest.strip_prefix("//") {
                Some(rest) => rest.split_once('/')?.1,
                None => rest,
            };
            host_and_port(host).map(|(host, port)| Target::Host(host, port))
        }
    }
}

fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, port.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, Some(port)),
            Some(_) => (text, None),
            None => (text, None),
        },
    };
    let port = port.map_or(Some(DEFAULT_PORT), |port| port.parse().ok())?;
    (!host.is_empty() && !host.contains('/')).then_some((host, port))
}

fn transport(target: &Target<'_>, credentials: Option<&ChannelCredentials>, loader: &Loader) -> io::Result<Transport> {
    let Some(ChannelCredentials::Ssl {
        root_certs,
        private_key,
        cert_chain,
    }) = credentials
    else {
        return Ok(Transport::RawBuffer);
    };
    let address;
    let host = match target {
        Target::Host(host, _) => host,
        Target::Addresses(addresses) => {
            address = addresses
                .first()
                .map(|address| address.ip().to_string())
                .unwrap_or_default();
            address.as_str()
        }
        Target::Unix(_) => "localhost",
    };
    let roots = match root_certs {
        Some(roots) => roots.clone(),
        None => system_roots()?,
    };
    let certificate = match (cert_chain, private_key) {
        (Some(certificate_chain), Some(private_key)) => Some(TlsCertificate {
            certificate_chain: certificate_chain.clone(),
            private_key: private_key.clone(),
        }),
        (None, None) => None,
        _ => {
            return Err(other(
                "ssl_credentials have a certificate without key or a key without certificate".to_owned(),
            ));
        }
    };
    let settings = UpstreamTlsContext::of_channel(host, roots, certificate)
        .ok_or_else(|| other(format!("{host:?} is no name for a certificate")))?;
    let context = loader.client(&settings, &|_: &str| None);
    context
        .map(Transport::Tls)
        .map_err(|error| other(format!("TLS: {error}")))
}

fn system_roots() -> io::Result<DataSource> {
    let known = SYSTEM_ROOTS
        .into_iter()
        .find(|path| std::path::Path::new(path).exists());
    let path = known.ok_or_else(|| other("there are no root_certs, and the system has none".to_owned()))?;
    Ok(DataSource::Filename {
        path: Arc::from(path),
        watched_directory: None,
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, UnixListener};

    use super::*;

    #[test]
    fn targets_are_understood_as_grpc_does() {
        let host = |host, port| Some(Target::Host(host, port));
        for (text, expected) in [
            ("istiod:15010", host("istiod", 15010)),
            ("istiod", host("istiod", 443)),
            ("dns:istiod:15010", host("istiod", 15010)),
            (
                "dns:///istiod.istio-system.svc:15012",
                host("istiod.istio-system.svc", 15012),
            ),
            ("dns://8.8.8.8/istiod:1", host("istiod", 1)),
            ("[::1]:5", host("::1", 5)),
            ("::1", host("::1", 443)),
            ("unix:/run/xds.sock", Some(Target::Unix("/run/xds.sock".into()))),
            ("unix:///run/xds.sock", Some(Target::Unix("/run/xds.sock".into()))),
            ("unix-abstract:xds", Some(Target::Unix("\0xds".into()))),
            ("ipv4:10.0.0.1:80,10.0.0.2", {
                let address = |d, port| SocketAddr::from(([10, 0, 0, d], port));
                Some(Target::Addresses(vec![address(1, 80), address(2, 443)]))
            }),
            ("", None),
            ("host:port", None),
            ("xds:///service", None),
            ("ipv4:name:80", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn plaintext_goes_to_addresses_and_sockets() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        for target in [
            format!("127.0.0.1:{port}"),
            format!("ipv4:127.0.0.1:{port}"),
            format!("dns:///localhost:{port}"),
        ] {
            for credentials in [None, Some(ChannelCredentials::Local)] {
                let stream = dial(&target, credentials.as_ref(), &Loader::new()).await;
                assert!(stream.expect("connected").write_all(b"x").await.is_ok(), "{target}");
            }
        }
        let name = format!("remora-google-grpc-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let _unix = UnixListener::bind(&path).expect("a free path");
        let target = format!("unix:{}", path.display());
        let dialled = dial(&target, None, &Loader::new()).await;
        let _ = std::fs::remove_file(&path);
        assert!(dialled.is_ok());
    }

    #[tokio::test]
    async fn local_credentials_are_for_this_machine_alone() {
        let error = dial("ipv4:192.0.2.1:80", Some(&ChannelCredentials::Local), &Loader::new()).await;
        let error = error.err().expect("refused").to_string();
        assert!(error.contains("192.0.2.1:80 is another"), "{error}");
    }

    #[tokio::test]
    async fn tls_checks_the_name_that_was_dialled() {
        let signed = |name: &str| {
            let key = rcgen::KeyPair::generate().expect("a key");
            let certificate = rcgen::CertificateParams::new(vec![name.to_owned()])
                .and_then(|parameters| parameters.self_signed(&key))
                .expect("a certificate");
            (certificate.pem(), key.serialize_pem())
        };
        let inline = |pem: &str| DataSource::Inline(Arc::from(pem.as_bytes()));
        for (name, accepted) in [("localhost", true), ("elsewhere.example", false)] {
            let (certificate, key) = signed(name);
            let certificates = rustls::pki_types::pem::PemObject::pem_slice_iter(certificate.as_bytes())
                .collect::<Result<Vec<_>, _>>()
                .expect("PEM");
            let key = rustls::pki_types::pem::PemObject::from_pem_slice(key.as_bytes()).expect("PEM");
            let mut server = rustls::ServerConfig::builder()
                .with_no_client_auth()
                .with_single_cert(certificates, key)
                .expect("a pair");
            server.alpn_protocols = vec![b"h2".to_vec()];
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let port = listener.local_addr().expect("bound").port();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let _ = acceptor.accept(stream).await;
                }
            });
            let credentials = ChannelCredentials::Ssl {
                root_certs: Some(inline(&certificate)),
                private_key: None,
                cert_chain: None,
            };
            let dialled = dial(&format!("localhost:{port}"), Some(&credentials), &Loader::new()).await;
            assert_eq!(dialled.is_ok(), accepted, "{name}: {:?}", dialled.err());
        }
    }
}
