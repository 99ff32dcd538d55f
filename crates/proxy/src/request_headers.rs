//! What the proxy does to a request's head, in Envoy's order: the connection manager's part before
//! the route is chosen ([`prepare`]), the route's part after ([`forward`]).

use std::net::IpAddr;
use std::time::Instant;

use codec::headers::{HeaderBlock, hop_by_hop};
use codec::names::KnownName;
use config::http_connection_manager::{ForwardClientCertDetails, HttpConnectionManager, Scheme};
use config::http_protocol_options::HeadersWithUnderscoresAction;
use config::route::Action;

use crate::authority;
use crate::client_address::Client;
use crate::downstream::{Downstream, Protocol};
use crate::failure::Failure;
use crate::header_operations::{self, RequestHead};
use crate::manager::Manager;
use crate::path::Verdict;
use crate::route_rewrites::{new_host, new_path, set_host};
use crate::route_table::{RouteRef, RouteTable};
use crate::stream::Stream;
use crate::upgrade::Upgrade;

/// Headers that steer the proxy and are believed from internal callers only. Nobody is internal
/// unless `internal_address_config` says so (Envoy: HTTP header sanitizing).
const INTERNAL_ONLY: [KnownName; 14] = [
    KnownName::XEnvoyRetriableStatusCodes,
    KnownName::XEnvoyRetriableHeaderNames,
    KnownName::XEnvoyUpstreamAltStatName,
    KnownName::XEnvoyUpstreamRqTimeoutMs,
    KnownName::XEnvoyUpstreamRqPerTryTimeoutMs,
    KnownName::XEnvoyUpstreamRqTimeoutAltResponse,
    KnownName::XEnvoyExpectedRqTimeoutMs,
    KnownName::XEnvoyRetryOn,
    KnownName::XEnvoyRetryGrpcOn,
    KnownName::XEnvoyMaxRetries,
    KnownName::XEnvoyIpTags,
    KnownName::XEnvoyOriginalUrl,
    KnownName::XEnvoyHedgeOnPerTryTimeout,
    KnownName::XEnvoyInternal,
];

/// Those of them that the router acts on and does not pass on.
const CONSUMED: [KnownName; 10] = [
    KnownName::XEnvoyRetriableStatusCodes,
    KnownName::XEnvoyRetriableHeaderNames,
    KnownName::XEnvoyUpstreamAltStatName,
    KnownName::XEnvoyUpstreamRqTimeoutMs,
    KnownName::XEnvoyUpstreamRqPerTryTimeoutMs,
    KnownName::XEnvoyUpstreamRqTimeoutAltResponse,
    KnownName::XEnvoyRetryOn,
    KnownName::XEnvoyRetryGrpcOn,
    KnownName::XEnvoyMaxRetries,
    KnownName::XEnvoyHedgeOnPerTryTimeout,
];

/// Headers that only proxies behind the edge say to each other: at the edge nobody is believed.
const BEHIND_EDGE_ONLY: [KnownName; 4] = [
    KnownName::XEnvoyDecoratorOperation,
    KnownName::XEnvoyDownstreamServiceCluster,
    KnownName::XEnvoyDownstreamServiceNode,
    KnownName::XEnvoyOriginalPath,
];

/// The host before the route's rewrite.
pub(crate) const ORIGINAL_HOST: &[u8] = b"x-envoy-original-host";

/// A set of known names, one bit each.
const fn set_of(names: &[KnownName]) -> [u64; 4] {
    let mut set = [0; 4];
    let mut index = 0;
    while index < names.len() {
        let bit = names[index].index();
        set[bit / 64] |= 1 << (bit % 64);
        index += 1;
    }
    set
}

const INTERNAL_ONLY_SET: [u64; 4] = set_of(&INTERNAL_ONLY);
const CONSUMED_SET: [u64; 4] = set_of(&CONSUMED);
const BEHIND_EDGE_ONLY_SET: [u64; 4] = set_of(&BEHIND_EDGE_ONLY);

fn contains(set: &[u64; 4], name: KnownName) -> bool {
    let bit = name.index();
    set[bit / 64] & (1 << (bit % 64)) != 0
}

/// Why a request gets no route.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is answered with an error.
    Failure(Failure),
    /// The caller is sent to the path that this one stands for.
    Redirect(Vec<u8>),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Refused::Failure(failure)
    }
}

/// The changes that the connection manager makes before it looks at anything (`early_header_mutation_extensions`).
pub(crate) fn mutate_early(stream: &mut Stream, downstream: &Downstream, now: Instant, buffer: &mut Vec<u8>) {
    if stream.manager.config.early_header_mutations.is_empty() {
        return;
    }
    let manager = std::rc::Rc::clone(&stream.manager);
    let mut target = RequestHead {
        stream,
        downstream,
        now,
    };
    for mutation in &manager.config.early_header_mutations {
        header_operations::mutate(&mut target, mutation, buffer);
    }
}

/// The connection manager's checks and changes, before routing.
///
/// # Errors
/// What is wrong with the request.
pub(crate) fn prepare(stream: &mut Stream, downstream: &Downstream) -> Result<(), Refused> {
    let Stream { request, manager, .. } = stream;
    let config = &manager.config;
    match config.common_http_protocol_options.headers_with_underscores_action {
        HeadersWithUnderscoresAction::Allow => {}
        _ if !request.iter().any(|field| has_underscore(field.name)) => {}
        HeadersWithUnderscoresAction::RejectRequest => return Err(Failure::UnderscoreInName.into()),
        HeadersWithUnderscoresAction::DropHeader => request.retain(|field| !has_underscore(field.name)),
    }
    if request.authority().is_none_or(<[u8]>::is_empty) {
        return Err(Failure::MissingHost.into());
    }
    let takes_trailers = takes_trailers(request);
    // What the caller said for this hop must not reach the next one (RFC 9110 section 7.6.1).
    match Upgrade::take(request) {
        Some(upgrade) => stream.rare.get_or_insert_default().upgrade = Some(upgrade),
        None => hop_by_hop::remove(request),
    }
    if takes_trailers {
        request.set(KnownName::Te, b"trailers");
    }
    match request.path() {
        // Only CONNECT has none.
        None if request.method() == Some(b"CONNECT") => {}
        Some(path @ [b'/', ..]) => match manager.path_rules.apply(path) {
            Verdict::Unchanged => {}
            Verdict::Changed(path) => request.set_path(&path),
            Verdict::Redirect(_) if stream.is_grpc => return Err(Failure::PathNotNormal.into()),
            Verdict::Redirect(path) => return Err(Refused::Redirect(path)),
            Verdict::Reject => return Err(Failure::PathNotNormal.into()),
        },
        // Envoy answers a path that is not absolute, `*` too, as it answers one without a route.
        _ => return Err(Failure::PathNotAbsolute.into()),
    }
    authority::normalize(request, config, downstream.local.map(|local| local.port()));
    set_scheme(request, config, downstream);
    let client = manager
        .clients
        .judge(request, downstream.peer.map(|peer| peer.ip()), config.skip_xff_append);
    stream.named_client = client.named;
    stream.is_internal = client.is_internal;
    forwarded(request, downstream, manager, client);
    sanitize(request, config, client.is_internal);
    client_certificate(request, downstream, config);
    if let Some(via) = &config.via {
        append_to_list(request, KnownName::Via, via.as_bytes(), b", ");
    }
    let is_edge = config.use_remote_address && !client.is_internal;
    if config.generate_request_id
        && ((is_edge && !config.preserve_external_request_id)
            || request.get(KnownName::XRequestId).is_none_or(<[u8]>::is_empty))
    {
        request.set(KnownName::XRequestId, &telemetry::request_id::generate());
    }
    Ok(())
}

/// Some servers take an underscore for a dash: such a name could pass for another one there.
fn has_underscore(name: &[u8]) -> bool {
    name.contains(&b'_')
}

/// Whether `te` asks for trailers, beside other things or alone: that is passed on, the rest is for this hop.
fn takes_trailers(request: &HeaderBlock) -> bool {
    request.contains(KnownName::Te)
        && request
            .get_all(&KnownName::Te)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// The scheme: as configured, or at HTTP/1.1 as the proxy in front says it was.
fn set_scheme(request: &mut HeaderBlock, config: &HttpConnectionManager, downstream: &Downstream) {
    let scheme: &[u8] = match config.scheme_to_overwrite {
        Some(Scheme::Http) => b"http",
        Some(Scheme::Https) => b"https",
        None if downstream.protocol() == Some(Protocol::Http2) => return,
        None => match request.get(KnownName::XForwardedProto) {
            Some(b"https") => b"https",
            Some(b"http") => b"http",
            _ => return,
        },
    };
    request.set_scheme(scheme);
    if config.scheme_to_overwrite.is_some() {
        request.set(KnownName::XForwardedProto, scheme);
    }
}

/// Takes out what only internal callers, or only proxies behind the edge, may say.
fn sanitize(request: &mut HeaderBlock, config: &HttpConnectionManager, is_internal: bool) {
    if is_internal {
        request.set(KnownName::XEnvoyInternal, b"true");
        return;
    }
    remove_all(request, &INTERNAL_ONLY_SET);
    if config.use_remote_address {
        remove_all(request, &BEHIND_EDGE_ONLY_SET);
        request.remove(ORIGINAL_HOST);
    }
}

fn remove_all(request: &mut HeaderBlock, set: &[u64; 4]) {
    let is_in_set = |known: Option<KnownName>| known.is_some_and(|name| contains(set, name));
    // Nearly every request has none: look before taking the block apart.
    if request.iter().any(|field| is_in_set(field.known)) {
        request.retain(|field| !is_in_set(field.known));
    }
}

/// `x-forwarded-for`, `x-forwarded-proto`, `x-forwarded-port`, and who the caller is taken for.
fn forwarded(request: &mut HeaderBlock, downstream: &Downstream, manager: &Manager, client: Client) {
    let config = &manager.config;
    if client.append
        && let Some(peer) = downstream.peer
    {
        let mut text = [0u8; 45];
        let address = write_address(manager.clients.shown(peer.ip()), &mut text);
        append_to_list(request, KnownName::XForwardedFor, address, b",");
    }
    let trusts_nobody = config.use_remote_address && config.xff_num_trusted_hops == 0;
    if (trusts_nobody && config.scheme_to_overwrite.is_none()) || !request.contains(KnownName::XForwardedProto) {
        let scheme: &[u8] = if downstream.is_tls { b"https" } else { b"http" };
        request.set(KnownName::XForwardedProto, scheme);
    }
    if config.append_x_forwarded_port
        && (trusts_nobody || !request.contains(KnownName::XForwardedPort))
        && let Some(local) = downstream.local
    {
        let mut text = [0u8; 20];
        request.set(KnownName::XForwardedPort, decimal(local.port().into(), &mut text));
    }
    if config.use_remote_address
        && !client.is_internal
        && let Some(address) = client.named.or(downstream.peer.map(|peer| peer.ip()))
    {
        let mut text = [0u8; 45];
        request.set(KnownName::XEnvoyExternalAddress, write_address(address, &mut text));
    }
}

fn write_address(address: IpAddr, text: &mut [u8; 45]) -> &[u8] {
    use std::io::Write;
    let mut cursor = std::io::Cursor::new(&mut text[..]);
    // 45 bytes hold every address.
    let _ = write!(cursor, "{address}");
    let length = cursor.position() as usize;
    &text[..length]
}

/// `x-forwarded-client-cert` (Envoy: HTTP header manipulation).
fn client_certificate(request: &mut HeaderBlock, downstream: &Downstream, config: &HttpConnectionManager) {
    use ForwardClientCertDetails as Details;
    let details = config.forward_client_cert_details;
    let mutual = downstream.peer_identity.is_some();
    match details {
        Details::AlwaysForwardOnly => return,
        Details::ForwardOnly if mutual => return,
        Details::AppendForward if mutual => {}
        Details::Sanitize | Details::SanitizeSet | Details::ForwardOnly | Details::AppendForward => {
            request.remove(KnownName::XForwardedClientCert);
        }
    }
    if let (Details::AppendForward | Details::SanitizeSet, Some(identity)) = (details, &downstream.peer_identity) {
        let mut value = Vec::with_capacity(256);
        crate::client_certificate::write(
            &mut value,
            identity,
            downstream.local_uri_san(),
            config.set_current_client_cert_details,
        );
        append_to_list(request, KnownName::XForwardedClientCert, &value, b",");
    }
}

/// Appends to the value of a header that holds a list, or adds it.
pub(crate) fn append_to_list(request: &mut HeaderBlock, name: KnownName, value: &[u8], separator: &[u8]) {
    match request.get(name) {
        None => request.append(name, value),
        Some(old) => {
            let joined = [old, separator, value].concat();
            request.set(name, &joined);
        }
    }
}

/// The route's changes, after routing: path, host, header lists. `buffer` is scratch space.
pub(crate) fn forward(
    stream: &mut Stream,
    downstream: &Downstream,
    table: &RouteTable,
    at: RouteRef,
    now: Instant,
    buffer: &mut Vec<u8>,
) {
    let route = table.route(at);
    let host = table.virtual_host(at);
    let Action::Route(action) = &route.action else {
        return;
    };
    let cluster = stream.weighted.and_then(|index| table.weighted(at, index));
    let levels = [
        cluster.map(|cluster| &cluster.request_headers),
        Some(&route.request_headers),
        Some(&host.request_headers),
        Some(&table.config.request_headers),
    ];
    if !header_operations::are_empty(&levels) {
        let mut target = RequestHead {
            stream,
            downstream,
            now,
        };
        header_operations::apply(
            &mut target,
            levels,
            table.config.most_specific_header_mutations_wins,
            buffer,
        );
    }
    let of_cluster = cluster.and_then(|cluster| cluster.host_rewrite_literal.as_deref());
    if action.path_rewrite.is_some() || action.host_rewrite.is_some() || of_cluster.is_some() {
        let target = RequestHead {
            stream,
            downstream,
            now,
        };
        let tells = !target.stream.manager.suppresses_envoy_headers();
        // That of the weighted cluster comes first and leaves no trace; the route's has the last word.
        if let Some(host) = of_cluster {
            target.stream.request.set_authority(host.as_bytes());
        }
        if let Some(host) = new_host(&target, action, table.host_format(at)) {
            set_host(&mut target.stream.request, &host, action.append_x_forwarded_host, tells);
        }
        // As in Envoy the path is made when the host is new already, which a text for it may name.
        let path = action.path_rewrite.as_ref();
        if let Some(path) = path.and_then(|rewrite| new_path(&target, route, rewrite)) {
            let request = &mut target.stream.request;
            if tells {
                let original = request.path().unwrap_or_default().to_vec();
                request.set(KnownName::XEnvoyOriginalPath, &original);
            }
            request.set_path(&path);
        }
    }
    let request = &mut stream.request;
    if host.include_request_attempt_count {
        request.set(KnownName::XEnvoyAttemptCount, b"1");
    }
}

/// Takes out what steers this proxy and is not for the next one.
pub(crate) fn remove_consumed(request: &mut HeaderBlock) {
    remove_all(request, &CONSUMED_SET);
}

/// A number in decimal.
pub(crate) fn decimal(number: u64, text: &mut [u8; 20]) -> &[u8] {
    let mut rest = number;
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return &text[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        let mut text = [0; 20];
        assert_eq!(decimal(0, &mut text), b"0");
        assert_eq!(decimal(15_000, &mut text), b"15000");
        assert_eq!(decimal(u64::MAX, &mut text), u64::MAX.to_string().as_bytes());
    }

    #[test]
    fn headers_that_steer_the_proxy_are_not_believed_from_callers() {
        let mut request = HeaderBlock::new();
        request.append(KnownName::XEnvoyRetryOn, b"5xx");
        request.append(KnownName::UserAgent, b"test");
        request.append(KnownName::XEnvoyUpstreamRqTimeoutMs, b"1");
        remove_all(&mut request, &INTERNAL_ONLY_SET);
        let names: Vec<_> = request.iter().map(|field| field.name.to_vec()).collect();
        assert_eq!(names, [b"user-agent".to_vec()]);
    }
}
