//! Answers that are made here: errors, direct responses, redirects, what filters say.

use std::rc::Rc;

use codec::event::{ErrorCode, StreamId};
use codec::headers::HeaderBlock;
use codec::names::KnownName;
use telemetry::access_log::ResponseFlag;
use telemetry::stats::http as stat;

use super::finish::{complete, fail, finish};
use super::{closing, filtering, response};
use crate::connection::Connection;
use crate::failure::{Failure, Meaning, Refusal, grpc_status_of_http};
use crate::filters::http_filter::{LocalReply, ReplyKind};
use crate::filters::router::StrictHeader;
use crate::local_reply;
use crate::response_headers;
use crate::route_table::RouteRef;
use crate::slab::Key;
use crate::stream::{Phase, Stream};
use crate::worker::Worker;

/// The caller's codec found fault with the rest of a request that has begun: it is answered, and ends.
pub(crate) fn refuse(worker: &mut Worker, key: Key<Stream>, status: u16, refusal: &Refusal) {
    closing::end(worker, key, Some(Failure::DownstreamGone));
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    stream.record.flag = Some(ResponseFlag::DownstreamProtocolError);
    stream.record.details = refusal.details;
    let stats = stream.manager.stats.local(worker.shard);
    stats.add(stat::DOWNSTREAM_RQ_RX_RESET, 1);
    send_reply(worker, key, Form::of(status), refusal.body.as_bytes(), |_| {});
}

/// What an answer made here is.
struct Form {
    status: u16,
    /// Where it is not the one that follows from `status`.
    grpc_status: Option<u8>,
    kind: ReplyKind,
    /// Value of `content-type`; plain text when none.
    content_type: Option<Box<str>>,
}

impl Form {
    fn of(status: u16) -> Form {
        Form {
            status,
            grpc_status: None,
            kind: ReplyKind::Local,
            content_type: None,
        }
    }
}

/// Answers with what the route says, without an endpoint.
pub(crate) fn respond_directly(worker: &mut Worker, key: Key<Stream>, at: RouteRef, status: u16) {
    let now = worker.now;
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    stream
        .manager
        .stats
        .local(worker.shard)
        .add(stat::RQ_DIRECT_RESPONSE, 1);
    stream.record.details = "direct_response";
    let (manager, snapshot) = (Rc::clone(&stream.manager), Rc::clone(&stream.snapshot));
    let Some(table) = manager.route_table(&snapshot) else {
        return;
    };
    let body = table.direct_body(at);
    let downstream = worker
        .connections
        .get(stream.downstream)
        .and_then(Connection::downstream);
    match (table.body_format(at), downstream) {
        (Some(format), Some(downstream)) => {
            let body = format.fill(stream, downstream, None, &body, now);
            let form = Form {
                content_type: Some(format.content_type().into()),
                ..Form::of(status)
            };
            send_reply(worker, key, form, &body, |_| {});
        }
        _ => send_reply(worker, key, Form::of(status), &body, |_| {}),
    }
}

/// Answers with what a filter says.
pub(super) fn reply(worker: &mut Worker, key: Key<Stream>, reply: LocalReply) {
    // An endpoint that has part of the request already learns that nobody waits for its answer.
    closing::end(worker, key, Some(Failure::DownstreamGone));
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    if let Some(flag) = reply.flag {
        stream.record.filter_flags.set(flag);
    }
    stream.record.details = reply.details;
    if stream.phase.has_answered() {
        let (connection, id) = (stream.downstream, stream.downstream_id);
        super::reset(worker, connection, id, ErrorCode::INTERNAL_ERROR);
        return finish(worker, key);
    }
    let form = Form {
        grpc_status: reply.grpc_status,
        kind: reply.kind,
        ..Form::of(reply.status)
    };
    send_reply(worker, key, form, &reply.body, |head| {
        for (name, value) in &reply.headers {
            head.append(name.as_bytes(), value);
        }
    });
}

/// Sends the caller to the path that the one it asked for stands for.
pub(crate) fn redirect_to_path(worker: &mut Worker, key: Key<Stream>, path: &[u8]) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let stats = stream.manager.stats.local(worker.shard);
    stats.add(stat::DOWNSTREAM_RQ_REDIRECTED_WITH_NORMALIZED_PATH, 1);
    stream.record.details = Failure::PathNotNormal.meaning().details;
    send_reply(worker, key, Form::of(307), b"", |head| {
        head.append(KnownName::Location, path);
    });
}

/// Refuses a request for the name of a header: as Envoy does, HTTP/2 resets the stream and HTTP/1.1 answers.
pub(crate) fn refuse_name(worker: &mut Worker, key: Key<Stream>) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let (connection, id) = (stream.downstream, stream.downstream_id);
    let is_http2 = worker
        .connections
        .get(connection)
        .and_then(|found| found.codec.as_ref())
        .is_some_and(codec::Connection::is_h2);
    if !is_http2 {
        return fail(worker, key, Failure::UnderscoreInName);
    }
    let meaning = Failure::UnderscoreInName.meaning();
    stream.record.flag = meaning.flag;
    stream.record.details = meaning.details;
    super::reset(worker, connection, id, ErrorCode::PROTOCOL_ERROR);
    finish(worker, key);
}

/// Refuses a request for the value of a header that steers the router (`strict_check_headers`).
pub(super) fn refuse_header(worker: &mut Worker, key: Key<Stream>, header: StrictHeader) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    stream.record.flag = Some(ResponseFlag::InvalidEnvoyRequestHeaders);
    stream.record.details = header.details();
    let value = stream.request.get(header.name()).unwrap_or_default();
    let name = header.name();
    let body = format!(
        "invalid header '{}' with value '{}'",
        name.as_str(),
        String::from_utf8_lossy(value)
    );
    send_reply(worker, key, Form::of(400), body.as_bytes(), |_| {});
}

/// Sends the caller elsewhere.
pub(crate) fn redirect(worker: &mut Worker, key: Key<Stream>, status: u16, location: &[u8]) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let stats = stream.manager.stats.local(worker.shard);
    // Envoy counts redirects so, and never as `rq_redirect`.
    stats.add(stat::RQ_DIRECT_RESPONSE, 1);
    stream.record.details = "direct_response";
    send_reply(worker, key, Form::of(status), b"", |head| {
        head.append(KnownName::Location, location);
    });
}

/// Answers with what a failure means to the caller.
pub(super) fn local_reply(worker: &mut Worker, key: Key<Stream>, meaning: Meaning, marking: Option<&'static [u8]>) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    stream.record.details = match stream.record.transport_failure {
        Some(cause) => cause.details(),
        None => meaning.details,
    };
    let status = match (meaning.flag, stream.cluster_not_found_status()) {
        (Some(ResponseFlag::NoClusterFound), Some(status)) => status,
        // Envoy: it is the caller who was slow as long as his request is not complete.
        _ if meaning.details == Failure::DownstreamMaxDuration.meaning().details && stream.body.complete => 504,
        _ => meaning.status,
    };
    let of_retry = match meaning.body.split_once("reset reason") {
        // What was sent again because it was provably not processed is no retry of the route's.
        Some((before, after)) if stream.record.attempts > 1 + u32::from(stream.transparent_retries) => {
            Some([before, "retried and the latest reset reason", after].concat())
        }
        _ => None,
    };
    send_reply(
        worker,
        key,
        Form {
            grpc_status: meaning.grpc_status,
            ..Form::of(status)
        },
        of_retry.as_deref().unwrap_or(meaning.body).as_bytes(),
        |head| {
            if let Some(name) = marking {
                head.append(name, b"true");
            }
        },
    );
}

/// Sends an answer made here, in the caller's own form: to a gRPC caller always a gRPC answer.
fn send_reply(worker: &mut Worker, key: Key<Stream>, form: Form, body: &[u8], add: impl FnOnce(&mut HeaderBlock)) {
    let Form {
        status,
        grpc_status,
        kind,
        content_type,
    } = form;
    let mut head = worker.take_block();
    let Some(stream) = worker.streams.get_mut(key) else {
        return worker.give_block(head);
    };
    stream.phase = Phase::Responding;
    stream.record.local_reply = true;
    let is_own = kind == ReplyKind::Own;
    let is_grpc = stream.is_grpc && !is_own;
    head.clear();
    head.set_status(if is_grpc { 200 } else { status });
    add(&mut head);
    // As in Envoy, the route's headers are made before the status is known.
    if !is_own {
        response_headers::apply_route_lists(worker, key, &mut head);
    }
    if let Some(stream) = worker.streams.get_mut(key) {
        stream.record.status = status;
        stream.record.counted_status = status;
    }
    let said = head.get(KnownName::ContentType).map(<[u8]>::to_vec);
    let reply = match is_own {
        true => local_reply::Reply::unchanged(status, body),
        false => local_reply::rewrite(worker, key, &mut head, status, body, content_type),
    };
    let Some(stream) = worker.streams.get_mut(key) else {
        return worker.give_block(head);
    };
    let body = &*reply.body;
    let end_with_head = if is_grpc {
        let code = grpc_status
            .filter(|_| reply.status == status)
            .unwrap_or_else(|| grpc_status_of_http(reply.status));
        stream.record.status = 200;
        stream.record.grpc_status = Some(code.into());
        response_headers::grpc_reply(&mut head, code, reply.grpc_message());
        true
    } else {
        stream.record.status = reply.status;
        head.set_status(reply.status);
        let has_new_type = head.get(KnownName::ContentType) != said.as_deref();
        let is_rewritten = reply.is_rewritten() && !has_new_type;
        response_headers::http_body(&mut head, body, reply.content_type.as_deref(), is_rewritten);
        body.is_empty() || stream.is_head
    };
    filtering::on_response_head(worker, key, &mut head, end_with_head);
    let Some(stream) = worker.streams.get_mut(key) else {
        return worker.give_block(head);
    };
    stream.record.status = head.status().unwrap_or(status);
    response_headers::finish(
        &mut head,
        &stream.manager,
        worker.date.value(worker.now),
        stream.request_id(),
    );
    stream.record.keep_head(&stream.manager, &head);
    let ends_connection = [
        Failure::UpgradeNotAllowed,
        Failure::MissingHost,
        Failure::UnderscoreInName,
    ]
    .iter()
    .any(|failure| stream.record.details == failure.meaning().details);
    if (ends_connection || !stream.body.complete)
        && worker
            .connections
            .get(stream.downstream)
            .and_then(|found| found.codec.as_ref())
            .is_some_and(|codec| !codec.is_h2())
    {
        // Nobody reads what still comes, or it may be of another protocol: the connection ends with this answer.
        head.append(KnownName::Connection, b"close");
    }
    response::send_head(worker, key, &head, end_with_head);
    worker.give_block(head);
    if !end_with_head && let Some(stream) = worker.streams.get_mut(key) {
        stream.record.bytes_sent += body.len() as u64;
        let (connection, id) = (stream.downstream, stream.downstream_id);
        send_body(worker, connection, id, body);
    }
    complete(worker, key);
}

fn send_body(worker: &mut Worker, connection: Key<Connection>, id: StreamId, body: &[u8]) {
    if let Some(found) = worker.connections.get_mut(connection)
        && let Some(codec) = found.open_codec()
    {
        // Refused only if the stream has gone, which its own event tells.
        let _ = codec.send_data(id, body, true);
        found.wake();
    }
}
