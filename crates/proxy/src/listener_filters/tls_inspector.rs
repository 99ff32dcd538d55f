//! `tls_inspector`: whether a connection begins with TLS, and for whom (Envoy: Listener filters > TLS inspector).

use std::sync::Arc;

use telemetry::stats::{Block, Registry, Scope, Shard, tls_inspector as stat};
use tls::peek::{self, Peek};

use super::{Inspector, Look};
use crate::accepted::Accepted;

/// The filter.
#[derive(Debug)]
pub(super) struct TlsInspector {
    settings: config::listener_filters::TlsInspector,
    stats: Arc<Block>,
}

impl TlsInspector {
    pub(super) fn new(settings: config::listener_filters::TlsInspector, stats: &Arc<Registry>) -> Self {
        TlsInspector {
            settings,
            stats: stats.block(Scope::Process("tls_inspector."), &stat::TABLE),
        }
    }
}

impl Inspector for TlsInspector {
    fn look(&self, received: &[u8], accepted: &mut Accepted, shard: Shard) -> Look {
        let stats = self.stats.local(shard);
        let limit = self.settings.max_client_hello_size as usize;
        let found = match peek::client_hello(received) {
            Peek::Incomplete if received.len() >= limit => Peek::TooLarge,
            found => found,
        };
        match found {
            Peek::Incomplete => return Look::More,
            Peek::TooLarge => {
                stats.add(stat::CLIENT_HELLO_TOO_LARGE, 1);
                return Look::Close;
            }
            Peek::NotTls | Peek::Invalid => {
                stats.add(stat::TLS_NOT_FOUND, 1);
                if self.settings.close_connection_on_client_hello_parsing_errors {
                    return Look::Close;
                }
            }
            Peek::Hello(hello) => {
                stats.add(stat::TLS_FOUND, 1);
                let alpn = if hello.alpn.is_empty() {
                    stat::ALPN_NOT_FOUND
                } else {
                    stat::ALPN_FOUND
                };
                let sni = if hello.server_name.is_some() {
                    stat::SNI_FOUND
                } else {
                    stat::SNI_NOT_FOUND
                };
                stats.add(alpn, 1);
                stats.add(sni, 1);
                accepted.is_tls = true;
                accepted.server_name = hello.server_name;
                // A protocol that is no text is in no filter chain either.
                let texts = hello.alpn.iter().filter_map(|name| std::str::from_utf8(name).ok());
                accepted.application_protocols = texts.map(Into::into).collect();
            }
        }
        stats.record(stat::BYTES_PROCESSED, received.len().min(limit) as u64);
        Look::PEEKED
    }
}
