//! What the proxy does to the head of an answer, whether it came from an endpoint or is made here.

use std::time::Duration;

use codec::headers::{HeaderBlock, hop_by_hop};
use codec::names::KnownName;
use config::http_connection_manager::ServerHeaderTransformation;

use crate::connection::Role;
use crate::header_operations::{self, ResponseHead};
use crate::manager::Manager;
use crate::request_headers::decimal;
use crate::slab::Key;
use crate::stream::Stream;
use crate::worker::Worker;

/// The router's part for an endpoint's answer: nothing of its hop, and timing if the request was complete.
pub(crate) fn from_upstream(head: &mut HeaderBlock, stream: &Stream, upstream_time: Option<Duration>) {
    hop_by_hop::remove(head);
    if !stream.manager.suppresses_envoy_headers()
        && let Some(upstream_time) = upstream_time
    {
        let mut text = [0u8; 20];
        let value = decimal(upstream_time.as_millis() as u64, &mut text);
        head.set(KnownName::XEnvoyUpstreamServiceTime, value);
    }
    for cookie in stream.rare.iter().flat_map(|rare| &rare.set_cookies) {
        head.append(KnownName::SetCookie, cookie);
    }
}

/// Applies the route's header lists, to an endpoint's answer or to one made here.
pub(crate) fn apply_route_lists(worker: &mut Worker, key: Key<Stream>, head: &mut HeaderBlock) {
    let Some(stream) = worker.streams.get(key) else {
        return;
    };
    let (Some(table), Some(at)) = (stream.route_table(), stream.route) else {
        return;
    };
    if stream.record.reached_router && table.virtual_host(at).include_attempt_count_in_response {
        let mut text = [0u8; 20];
        head.set(
            KnownName::XEnvoyAttemptCount,
            decimal(stream.record.attempts.into(), &mut text),
        );
    }
    let cluster = stream.weighted.and_then(|index| table.weighted(at, index));
    let levels = [
        cluster.map(|cluster| &cluster.response_headers),
        Some(&table.route(at).response_headers),
        Some(&table.virtual_host(at).response_headers),
        Some(&table.config.response_headers),
    ];
    if header_operations::are_empty(&levels) {
        return;
    }
    let Some(Role::Downstream(downstream)) = worker.connections.get(stream.downstream).map(|found| &found.role) else {
        return;
    };
    let mut target = ResponseHead {
        head,
        stream,
        downstream,
        now: worker.now,
    };
    let wins = table.config.most_specific_header_mutations_wins;
    header_operations::apply(&mut target, levels, wins, &mut worker.log_line);
}

/// The connection manager's part: `date`, `server`, `via`, request id.
pub(crate) fn finish(head: &mut HeaderBlock, manager: &Manager, date: &[u8], request_id: Option<&[u8]>) {
    let config = &manager.config;
    if config.always_set_request_id_in_response
        && let Some(id) = request_id
    {
        head.set(KnownName::XRequestId, id);
    }
    if !head.contains(KnownName::Date) {
        head.append(KnownName::Date, date);
    }
    let server = config.server_name.as_bytes();
    match config.server_header_transformation {
        ServerHeaderTransformation::Overwrite => head.set(KnownName::Server, server),
        ServerHeaderTransformation::AppendIfAbsent if !head.contains(KnownName::Server) => {
            head.append(KnownName::Server, server);
        }
        ServerHeaderTransformation::AppendIfAbsent | ServerHeaderTransformation::PassThrough => {}
    }
    if let Some(via) = &config.via {
        match head.get(KnownName::Via) {
            None => head.append(KnownName::Via, via.as_bytes()),
            Some(old) => {
                let joined = [old, b", ", via.as_bytes()].concat();
                head.set(KnownName::Via, &joined);
            }
        }
    }
}

/// What the body of a local reply to an HTTP caller is announced with.
///
/// A type that the route's headers say stays, unless the body is no longer that of the route.
pub(crate) fn http_body(head: &mut HeaderBlock, body: &[u8], content_type: Option<&str>, is_rewritten: bool) {
    if body.is_empty() {
        head.remove(KnownName::ContentType);
        return;
    }
    let mut text = [0u8; 20];
    head.set(KnownName::ContentLength, decimal(body.len() as u64, &mut text));
    if is_rewritten || !head.contains(KnownName::ContentType) {
        head.set(KnownName::ContentType, content_type.unwrap_or("text/plain").as_bytes());
    }
}

/// What makes a head a local reply to a gRPC caller: a trailers-only answer (gRPC over HTTP2, Responses).
pub(crate) fn grpc_reply(head: &mut HeaderBlock, code: u8, message: &[u8]) {
    head.set(KnownName::ContentType, b"application/grpc");
    let mut text = [0u8; 20];
    head.set(KnownName::GrpcStatus, decimal(code.into(), &mut text));
    if !message.is_empty() {
        let mut encoded = Vec::with_capacity(message.len());
        percent_encode(message, &mut encoded);
        head.set(KnownName::GrpcMessage, &encoded);
    }
}

/// Percent-encoding of `grpc-message`: everything but printable ASCII, and the percent sign.
fn percent_encode(message: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in message {
        match byte {
            b'%' | 0..0x20 | 0x7f.. => {
                out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_message_is_percent_encoded() {
        let mut out = Vec::new();
        percent_encode("100% ü\n".as_bytes(), &mut out);
        assert_eq!(out, b"100%25 %C3%BC%0A");
    }

    #[test]
    fn a_local_reply_says_what_its_body_is() {
        let mut head = HeaderBlock::new();
        http_body(&mut head, b"", None, false);
        assert!(head.is_empty());
        http_body(&mut head, b"no healthy upstream", None, false);
        assert_eq!(head.get(KnownName::ContentLength), Some(&b"19"[..]));
        assert_eq!(head.get(KnownName::ContentType), Some(&b"text/plain"[..]));
    }
}
