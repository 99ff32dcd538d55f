//! `istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig` (`istio.alpn`): which application protocols TLS with an
//! endpoint offers, by the version of HTTP spoken there.
//!
//! In Istio's proxy the filter puts the list into filter state, from where the TLS socket takes it. Here requests pass the
//! filter unseen: the chain knows its lists, and whoever asks for a connection looks there (`pool::Kind`).

use std::sync::Arc;

use config::{Context, ExtensionConfig, ExtensionKind, Extensions, Reported};
use xds_api::istio::alpn as pb;

use super::http_filter::{BuildContext, Configured, FilterSettings, HttpFilter, Interests};

/// The longest name of an application protocol (RFC 7301 section 3.1).
const LONGEST_PROTOCOL: usize = 255;

/// Application protocols in the order in which they are offered; at least one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Protocols(Box<[Box<[u8]>]>);

impl Protocols {
    /// The protocols as TLS takes them.
    pub(crate) fn offered(&self) -> Vec<&[u8]> {
        self.0.iter().map(|protocol| &**protocol).collect()
    }
}

/// What is offered in place of a cluster's own protocols.
#[derive(Clone, Debug, Default)]
pub(crate) struct AlpnOverrides {
    http1: Option<Arc<Protocols>>,
    http2: Option<Arc<Protocols>>,
}

impl AlpnOverrides {
    /// What is offered where this version is to be spoken.
    pub(crate) fn of(&self, http2: bool) -> Option<&Arc<Protocols>> {
        if http2 {
            self.http2.as_ref()
        } else {
            self.http1.as_ref()
        }
    }
}

pub(super) fn register(extensions: &mut Extensions) {
    extensions.register(
        ExtensionKind::HttpFilter,
        "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
        parse,
    );
}

fn parse(context: &mut Context<'_>, bytes: &[u8]) -> Result<Arc<dyn ExtensionConfig>, Reported> {
    let message: pb::FilterConfig = context.decode(bytes)?;
    context.check(&message);
    let entries: Vec<_> = context.each("alpn_override", &message.alpn_override, parse_entry)?;
    let mut overrides = AlpnOverrides::default();
    for (version, protocols) in entries {
        let place = match version {
            // Read and never used, as in Istio's proxy: no endpoint is spoken to in HTTP/1.0.
            pb::Protocol::Http10 => continue,
            pb::Protocol::Http11 => &mut overrides.http1,
            pb::Protocol::Http2 => &mut overrides.http2,
        };
        // The first entry for a version counts, also one that changes nothing.
        place.get_or_insert(protocols);
    }
    // An empty list leaves the cluster's own.
    for place in [&mut overrides.http1, &mut overrides.http2] {
        *place = place.take().filter(|protocols| !protocols.0.is_empty());
    }
    Ok(Configured::of(overrides))
}

fn parse_entry(
    context: &mut Context<'_>,
    message: &pb::AlpnOverride,
) -> Result<(pb::Protocol, Arc<Protocols>), Reported> {
    context.check(message);
    let version = context.enumeration("upstream_protocol", message.upstream_protocol);
    let protocols: Result<Vec<Vec<Box<[u8]>>>, _> =
        context.each("alpn_override", &message.alpn_override, |context, text| {
            // As in Envoy, an entry may be a list itself.
            let parts = text.split(',').map(|protocol| match protocol.len() {
                1..=LONGEST_PROTOCOL => Ok(protocol.as_bytes().into()),
                length => Err(context.reject(format!(
                    "holds a protocol of {length} bytes, expected 1 to {LONGEST_PROTOCOL}"
                ))),
            });
            parts.collect()
        });
    let protocols = protocols?.into_iter().flatten().collect();
    Ok((version?, Arc::new(Protocols(protocols))))
}

impl FilterSettings for AlpnOverrides {
    fn build(&self, _context: &BuildContext<'_>) -> Option<Box<dyn HttpFilter>> {
        let does_something = self.http1.is_some() || self.http2.is_some();
        does_something.then(|| Box::new(self.clone()) as Box<dyn HttpFilter>)
    }
}

impl HttpFilter for AlpnOverrides {
    fn interests(&self) -> Interests {
        Interests::default()
    }

    fn alpn_overrides(&self) -> Option<&AlpnOverrides> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use config::Rejected;
    use telemetry::stats::Registry;
    use xds_api::prost::Message;

    use super::*;
    use crate::local_info::LocalInfo;
    use crate::slots::Slots;

    fn entry(version: i32, offered: &[&str]) -> pb::AlpnOverride {
        pb::AlpnOverride {
            upstream_protocol: version,
            alpn_override: offered.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    fn parsed(entries: &[pb::AlpnOverride]) -> Result<Arc<dyn ExtensionConfig>, Vec<Rejected>> {
        let message = pb::FilterConfig {
            alpn_override: entries.to_vec(),
        };
        let extensions = Extensions::new();
        Context::parse(&extensions, |context| parse(context, &message.encode_to_vec())).map(|parsed| parsed.value)
    }

    /// What is offered for HTTP/1.1 and HTTP/2 by the filter that comes of these entries, if one does.
    fn offered(entries: &[pb::AlpnOverride]) -> Option<[Option<Vec<String>>; 2]> {
        let settings = parsed(entries).expect("it is accepted");
        let (stats, slots) = (Registry::new(1), Slots::default());
        let context = BuildContext {
            stats: &stats,
            stat_prefix: "http.test.",
            clusters: &slots,
            local: &Arc::new(LocalInfo::default()),
        };
        let filter = settings
            .get::<Configured>()
            .expect("it is a filter's")
            .build(&context)?;
        let overrides = filter.alpn_overrides().expect("it is this filter");
        Some([false, true].map(|http2| {
            let names = overrides.of(http2)?.offered().into_iter();
            Some(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
        }))
    }

    #[test]
    fn each_version_of_http_has_its_list_in_the_order_given() {
        let istiods = [
            entry(0, &["istio-http/1.0", "istio", "http/1.0"]),
            entry(1, &["istio-http/1.1", "istio", "http/1.1"]),
            entry(2, &["istio-h2,istio", "h2"]),
        ];
        let names = |names: [&str; 3]| Some(names.map(str::to_owned).to_vec());
        assert_eq!(
            offered(&istiods),
            Some([
                names(["istio-http/1.1", "istio", "http/1.1"]),
                names(["istio-h2", "istio", "h2"])
            ])
        );
    }

    #[test]
    fn the_first_entry_counts_and_an_empty_one_leaves_the_clusters_own() {
        assert_eq!(
            offered(&[entry(1, &["a"]), entry(1, &["b"]), entry(2, &[]), entry(2, &["c"])]),
            Some([Some(vec!["a".to_owned()]), None])
        );
        assert_eq!(
            offered(&[entry(0, &["a"]), entry(2, &[])]),
            None,
            "there is nothing to do"
        );
    }

    #[test]
    fn what_is_no_protocol_is_refused_where_it_stands() {
        let long = "x".repeat(256);
        let faults = parsed(&[entry(3, &["a"]), entry(1, &["a", "b,,c", &long])]).expect_err("it is refused");
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            faults,
            [
                "alpn_override[0].upstream_protocol: is 3, which is no value of this enum",
                "alpn_override[1].alpn_override[1]: holds a protocol of 0 bytes, expected 1 to 255",
                "alpn_override[1].alpn_override[2]: holds a protocol of 256 bytes, expected 1 to 255",
            ]
        );
    }
}
