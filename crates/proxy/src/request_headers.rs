//! What the proxy does to a request's head, in Envoy's order: the connection manager's part before
//! the route is chosen ([`prepare`]), the route's part after ([`forward`]).

use std::net::IpAddr;

use codec::headers::{HeaderBlock, hop_by_hop};
use codec::names::KnownName;
use config::header_mutation::{HeaderAppendAction, HeaderMutations, HeaderValueOption};
use config::http_connection_manager::{ForwardClientCertDetails, HttpConnectionManager, StripPortMode};
use config::route::{Action, HostRewrite, PathRewrite, PathSpecifier, Route, RouteAction};

use crate::downstream::Downstream;
use crate::failure::Failure;
use crate::manager::Manager;
use crate::route_table::{RouteRef, RouteTable};

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

fn contains(set: &[u64; 4], name: KnownName) -> bool {
    let bit = name.index();
    set[bit / 64] & (1 << (bit % 64)) != 0
}

/// The connection manager's checks and changes, before routing.
///
/// # Errors
/// What is wrong with the request.
pub(crate) fn prepare(request: &mut HeaderBlock, downstream: &Downstream, manager: &Manager) -> Result<(), Failure> {
    let config = &manager.config;
    if request.authority().is_none_or(<[u8]>::is_empty) {
        return Err(Failure::MissingHost);
    }
    if request.method() == Some(b"CONNECT") || request.contains(KnownName::Upgrade) || request.protocol().is_some() {
        return Err(Failure::UpgradeNotAllowed);
    }
    match request.path() {
        Some([b'/', ..]) => {}
        // Envoy answers a path that is not absolute, `*` too, as it answers one without a route.
        _ => return Err(Failure::PathNotAbsolute),
    }
    // What the caller said for this hop must not reach the next one (RFC 9110 section 7.6.1).
    hop_by_hop::remove(request);
    if config.strip_port_mode != StripPortMode::Keep {
        strip_port(request, config, downstream);
    }
    remove_internal_only(request);
    forwarded(request, downstream, manager);
    client_certificate(request, downstream, config);
    if let Some(via) = &config.via {
        append_to_list(request, KnownName::Via, via.as_bytes(), b", ");
    }
    let external_edge = config.use_remote_address && !config.preserve_external_request_id;
    if config.generate_request_id && (external_edge || !request.contains(KnownName::XRequestId)) {
        request.set(KnownName::XRequestId, &telemetry::request_id::generate());
    }
    Ok(())
}

fn remove_internal_only(request: &mut HeaderBlock) {
    let is_internal_only = |known: Option<KnownName>| known.is_some_and(|name| contains(&INTERNAL_ONLY_SET, name));
    // Nearly every request has none: look before taking the block apart.
    if request.iter().any(|field| is_internal_only(field.known)) {
        request.retain(|field| !is_internal_only(field.known));
    }
}

fn strip_port(request: &mut HeaderBlock, config: &HttpConnectionManager, downstream: &Downstream) {
    let Some(authority) = request.authority() else {
        return;
    };
    let Some(colon) = authority.iter().rposition(|byte| *byte == b':') else {
        return;
    };
    let (host, port) = (&authority[..colon], &authority[colon + 1..]);
    let port: Option<u16> = std::str::from_utf8(port).ok().and_then(|port| port.parse().ok());
    let bare_ipv6 = host.contains(&b':') && !host.ends_with(b"]");
    let Some(port) = port.filter(|_| !bare_ipv6) else {
        return;
    };
    if config.strip_port_mode == StripPortMode::Any || downstream.local.map(|local| local.port()) == Some(port) {
        let host = host.to_vec();
        request.set_authority(&host);
    }
}

/// `x-forwarded-for`, `x-forwarded-proto` and who the caller is taken for.
fn forwarded(request: &mut HeaderBlock, downstream: &Downstream, manager: &Manager) {
    let config = &manager.config;
    let scheme: &[u8] = if downstream.is_tls { b"https" } else { b"http" };
    if config.use_remote_address {
        if let Some(peer) = downstream.peer {
            let mut text = [0u8; 45];
            let address = write_address(peer.ip(), &mut text);
            if config.xff_num_trusted_hops == 0 {
                request.set(KnownName::XEnvoyExternalAddress, address);
            }
            if !config.skip_xff_append {
                // As in Envoy a caller on this machine is known by the machine's address.
                let mut of_machine = [0u8; 45];
                let address = if peer.ip().is_loopback() {
                    write_address(manager.local_address, &mut of_machine)
                } else {
                    address
                };
                append_to_list(request, KnownName::XForwardedFor, address, b",");
            }
        }
        if config.xff_num_trusted_hops == 0 || !request.contains(KnownName::XForwardedProto) {
            request.set(KnownName::XForwardedProto, scheme);
        }
    } else if !request.contains(KnownName::XForwardedProto) {
        request.append(KnownName::XForwardedProto, scheme);
    }
    if config.append_x_forwarded_port
        && !request.contains(KnownName::XForwardedPort)
        && let Some(local) = downstream.local
    {
        request.append(KnownName::XForwardedPort, local.port().to_string().as_bytes());
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
fn append_to_list(request: &mut HeaderBlock, name: KnownName, value: &[u8], separator: &[u8]) {
    match request.get(name) {
        None => request.append(name, value),
        Some(old) => {
            let joined = [old, separator, value].concat();
            request.set(name, &joined);
        }
    }
}

/// The route's changes, after routing: path, host, header lists.
pub(crate) fn forward(request: &mut HeaderBlock, table: &RouteTable, at: RouteRef, weighted: Option<u32>) {
    let route = table.route(at);
    let host = table.virtual_host(at);
    let Action::Route(action) = &route.action else {
        return;
    };
    let cluster = weighted.and_then(|index| table.weighted(at, index));
    let levels = [
        cluster.map(|cluster| &cluster.request_headers),
        Some(&route.request_headers),
        Some(&host.request_headers),
        Some(&table.config.request_headers),
    ];
    apply_levels(request, levels, table.config.most_specific_header_mutations_wins);
    rewrite_path(request, route, action);
    rewrite_host(
        request,
        action,
        cluster.and_then(|cluster| cluster.host_rewrite_literal.as_deref()),
    );
    if host.include_request_attempt_count {
        request.set(KnownName::XEnvoyAttemptCount, b"1");
    }
}

/// Applies header lists of all levels, the most specific one first unless it is to win.
pub(crate) fn apply_levels(block: &mut HeaderBlock, levels: [Option<&HeaderMutations>; 4], most_specific_wins: bool) {
    let mut apply = |level: Option<&HeaderMutations>| {
        if let Some(mutations) = level
            && !mutations.is_empty()
        {
            mutate(block, mutations);
        }
    };
    if most_specific_wins {
        levels.into_iter().rev().for_each(&mut apply);
    } else {
        levels.into_iter().for_each(&mut apply);
    }
}

/// One level's removals and additions. Values with command operators are refused by `config`.
fn mutate(block: &mut HeaderBlock, mutations: &HeaderMutations) {
    for name in &mutations.remove {
        block.remove(name.as_bytes());
    }
    for header in &mutations.add {
        add_header(block, header);
    }
}

/// Adds one header as its action says.
pub(crate) fn add_header(block: &mut HeaderBlock, header: &HeaderValueOption) {
    if header.value.is_empty() && !header.keep_empty_value {
        return;
    }
    let (name, value) = (header.name.as_bytes(), header.value.as_bytes());
    match header.append_action {
        HeaderAppendAction::AppendIfExistsOrAdd => block.append(name, value),
        HeaderAppendAction::AddIfAbsent if block.contains(name) => {}
        HeaderAppendAction::AddIfAbsent => block.append(name, value),
        HeaderAppendAction::OverwriteIfExistsOrAdd => block.set(name, value),
        HeaderAppendAction::OverwriteIfExists if block.contains(name) => block.set(name, value),
        HeaderAppendAction::OverwriteIfExists => {}
    }
}

/// How many bytes of a path its route matched, for a prefix rewrite.
pub(crate) fn matched_length(route: &Route, path: &[u8]) -> usize {
    match &route.route_match.path {
        PathSpecifier::Prefix(prefix) | PathSpecifier::PathSeparatedPrefix(prefix) => prefix.len(),
        PathSpecifier::Path(_) | PathSpecifier::SafeRegex(_) | PathSpecifier::ConnectMatcher => path_length(path),
    }
}

/// Length of a path without its query.
pub(crate) fn path_length(path: &[u8]) -> usize {
    path.iter()
        .position(|byte| matches!(byte, b'?' | b'#'))
        .unwrap_or(path.len())
}

fn rewrite_path(request: &mut HeaderBlock, route: &Route, action: &RouteAction) {
    let Some(rewrite) = &action.path_rewrite else {
        return;
    };
    let Some(path) = request.path() else {
        return;
    };
    let original = path.to_vec();
    let mut rewritten = Vec::with_capacity(original.len() + 16);
    match rewrite {
        PathRewrite::Prefix(prefix) => {
            rewritten.extend_from_slice(prefix.as_bytes());
            rewritten.extend_from_slice(&original[matched_length(route, &original).min(original.len())..]);
        }
        PathRewrite::Regex(rewrite) => {
            let length = path_length(&original);
            rewrite.rewrite(&original[..length], &mut rewritten);
            rewritten.extend_from_slice(&original[length..]);
        }
    }
    request.set(KnownName::XEnvoyOriginalPath, &original);
    request.set_path(&rewritten);
}

fn rewrite_host(request: &mut HeaderBlock, action: &RouteAction, of_cluster: Option<&str>) {
    let new = match (of_cluster, &action.host_rewrite) {
        (Some(literal), _) => literal.as_bytes().to_vec(),
        (None, Some(HostRewrite::Literal(literal))) => literal.as_bytes().to_vec(),
        (None, Some(HostRewrite::Header(name))) => match request.get(name.as_bytes()) {
            Some(value) if !value.is_empty() => value.to_vec(),
            _ => return,
        },
        (None, Some(HostRewrite::PathRegex(rewrite))) => {
            let path = request.path().unwrap_or_default();
            let mut host = Vec::new();
            rewrite.rewrite(&path[..path_length(path)], &mut host);
            host
        }
        // `Auto` waits for the endpoint.
        (None, Some(HostRewrite::Auto) | None) => return,
    };
    set_host(request, &new, action.append_x_forwarded_host);
}

/// Replaces the host, keeping the original in `x-forwarded-host` where that is asked for.
pub(crate) fn set_host(request: &mut HeaderBlock, host: &[u8], keep_original: bool) {
    if keep_original && let Some(original) = request.authority() {
        let original = original.to_vec();
        append_to_list(request, KnownName::XForwardedHost, &original, b",");
    }
    request.set_authority(host);
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
        remove_internal_only(&mut request);
        let names: Vec<_> = request.iter().map(|field| field.name.to_vec()).collect();
        assert_eq!(names, [b"user-agent".to_vec()]);
    }
}
