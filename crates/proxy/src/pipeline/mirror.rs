//! Copies of requests to other clusters (`request_mirror_policies`): each is a record of its own that nobody waits for.
//!
//! A copy is made when the request is forwarded and is given what follows of the request as it comes. What its endpoint
//! has not taken yet is bounded by what may be kept for retries; a slower one is dropped. Its answer is thrown away.

use std::rc::Rc;
use std::sync::Arc;

use codec::headers::HeaderBlock;
use codec::names::KnownName;
use config::route::{MirrorCluster, RequestMirrorPolicy};
use telemetry::stats::cluster as stat;
use upstream::cluster::ClusterHandle;

use super::attempt::{self, Why};
use super::{closing, count};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::header_operations::{self, OtherBlock};
use crate::slab::Key;
use crate::stream::{Phase, RequestBody, Stream};
use crate::worker::Worker;

/// Starts the copies of a request that is being forwarded.
pub(super) fn start(worker: &mut Worker, key: Key<Stream>) {
    let Some(stream) = worker.streams.get(key) else {
        return;
    };
    let (manager, snapshot) = (Rc::clone(&stream.manager), Rc::clone(&stream.snapshot));
    let (Some(table), Some(at)) = (manager.route_table(&snapshot), stream.route) else {
        return;
    };
    for (policy, slot) in table.mirrors(at) {
        let included = policy
            .runtime_fraction
            .as_ref()
            .is_none_or(|fraction| fraction.default_value.includes(telemetry::random::next()));
        let cluster = match (&policy.cluster, slot) {
            (_, Some(slot)) => snapshot.cluster(slot),
            (MirrorCluster::Header(name), None) => worker
                .streams
                .get(key)
                .and_then(|stream| stream.request.get_bytes(name.as_bytes()))
                .and_then(|name| snapshot.cluster_by_name(name)),
            (MirrorCluster::Name(_), None) => None,
        };
        if let Some(cluster) = cluster
            && included
        {
            start_one(worker, key, policy, cluster);
        }
    }
}

fn start_one(worker: &mut Worker, key: Key<Stream>, policy: &RequestMirrorPolicy, cluster: &Arc<ClusterHandle>) {
    let now = worker.now;
    let mut request = worker.take_block();
    let Some(original) = worker.streams.get(key) else {
        return worker.give_block(request);
    };
    request.copy_from(&original.request);
    // Envoy: what the proxy sends of its own is internal.
    request.set(KnownName::XEnvoyInternal, b"true");
    if !policy.request_headers_mutations.is_empty()
        && let Some(downstream) = worker
            .connections
            .get(original.downstream)
            .and_then(Connection::downstream)
    {
        let mut target = OtherBlock {
            block: &mut request,
            stream: original,
            downstream,
            now,
        };
        for mutation in &policy.request_headers_mutations {
            header_operations::mutate(&mut target, mutation, &mut worker.log_line);
        }
    }
    match &policy.host_rewrite_literal {
        Some(host) => request.set_authority(host.as_bytes()),
        None if !policy.disable_shadow_host_suffix_append => append_shadow(&mut request),
        None => {}
    }
    let mut trailers = None;
    if let Some(block) = &original.body.trailers {
        let mut copy = HeaderBlock::new();
        copy.copy_from(block);
        trailers = Some(Box::new(copy));
    }
    let body = RequestBody {
        // What filters held back until now is there at once.
        kept: original.body.kept.clone(),
        received: original.body.received,
        complete: original.body.complete,
        limit: original.body.limit,
        trailers,
        ..RequestBody::default()
    };
    let route_deadline = original
        .timeouts
        .global
        .filter(|_| body.complete)
        .map(|limit| now + limit);
    let nobody = (Key::<Connection>::NONE, original.downstream_id);
    let (manager, snapshot) = (Rc::clone(&original.manager), Rc::clone(&original.snapshot));
    let mut copy = Stream::new(nobody, manager, snapshot, request, now);
    copy.is_mirror = true;
    copy.phase = Phase::Connecting;
    copy.route = original.route;
    copy.cluster = Some(Arc::clone(cluster));
    // A filter that is off says nothing of the connections of the copy either.
    copy.filters.skipped = original.filters.skipped;
    copy.is_grpc = original.is_grpc;
    copy.hash = original.hash;
    copy.body = body;
    copy.timeouts = original.timeouts;
    copy.route_deadline = route_deadline;
    copy.max_duration = original.max_duration;
    copy.request_deadline = None;
    let mirror = worker.streams.insert(copy);
    if let Some(original) = worker.streams.get_mut(key) {
        original.rare.get_or_insert_default().mirrors.push(mirror);
    }
    attempt::start(worker, mirror, Why::First);
    super::arm(worker, mirror);
}

/// The host of a copy says that it is one: `host-shadow:port`.
fn append_shadow(request: &mut HeaderBlock) {
    let host = request.authority().unwrap_or_default();
    let port = host.iter().position(|byte| *byte == b':').unwrap_or(host.len());
    let shadow = [&host[..port], b"-shadow", &host[port..]].concat();
    request.set_authority(&shadow);
}

/// The copies of a request that still take what follows of it.
fn mirrors(worker: &Worker, key: Key<Stream>) -> Vec<Key<Stream>> {
    let rare = worker.streams.get(key).and_then(|stream| stream.rare.as_ref());
    rare.map_or_else(Vec::new, |rare| rare.mirrors.clone())
}

/// Part of the original's body.
pub(super) fn on_data(worker: &mut Worker, key: Key<Stream>, data: &[u8], end_stream: bool) {
    for mirror in mirrors(worker, key) {
        let Some(copy) = worker.streams.get_mut(mirror) else {
            continue;
        };
        copy.body.received += data.len() as u64;
        let passed = copy.attempt.as_ref().map_or(0, |attempt| attempt.body_passed);
        if copy.body.received.saturating_sub(passed) > copy.body.limit as u64 {
            if let Some(cluster) = &copy.cluster {
                cluster.stats().add(worker.shard, stat::RETRY_OR_SHADOW_ABANDONED, 1);
            }
            drop_copy(worker, mirror);
            continue;
        }
        if copy.is_sending() {
            copy.body.forget();
        } else {
            copy.body.kept.extend_from_slice(data);
        }
        let sending = copy.is_sending();
        if end_stream {
            on_complete(worker, mirror);
        }
        if sending {
            attempt::send_data(worker, mirror, data, end_stream);
        }
    }
}

/// The original's trailers.
pub(super) fn on_trailers(worker: &mut Worker, key: Key<Stream>, trailers: &HeaderBlock) {
    for mirror in mirrors(worker, key) {
        let mut block = worker.take_block();
        block.copy_from(trailers);
        let Some(copy) = worker.streams.get_mut(mirror) else {
            worker.give_block(block);
            continue;
        };
        copy.body.trailers = Some(block);
        let sending = copy.is_sending();
        on_complete(worker, mirror);
        if sending {
            attempt::send_trailers(worker, mirror);
        }
    }
}

fn on_complete(worker: &mut Worker, mirror: Key<Stream>) {
    let now = worker.now;
    if let Some(copy) = worker.streams.get_mut(mirror) {
        copy.body.complete = true;
        copy.route_deadline = copy.timeouts.global.map(|limit| now + limit);
    }
    super::arm(worker, mirror);
}

/// The original has ended: copies that lack the rest of it are dropped.
pub(super) fn on_original_ended(worker: &mut Worker, mirrors: &[Key<Stream>]) {
    for mirror in mirrors {
        if worker.streams.get(*mirror).is_some_and(|copy| !copy.body.complete) {
            drop_copy(worker, *mirror);
        }
    }
}

fn drop_copy(worker: &mut Worker, mirror: Key<Stream>) {
    closing::end(worker, mirror, Some(Failure::DownstreamGone));
    end(worker, mirror);
}

/// The head of a copy's answer.
pub(super) fn on_head(worker: &mut Worker, mirror: Key<Stream>, head: &HeaderBlock, end_stream: bool) {
    if let Some(copy) = worker.streams.get_mut(mirror) {
        copy.phase = Phase::Responding;
        copy.record.status = head.status().unwrap_or(0);
    }
    if end_stream {
        complete(worker, mirror);
    }
}

/// All of a copy's answer has come, and been thrown away.
pub(super) fn complete(worker: &mut Worker, mirror: Key<Stream>) {
    closing::end(worker, mirror, None);
    end(worker, mirror);
}

/// A copy ended, whatever way; its attempt is closed.
pub(super) fn end(worker: &mut Worker, mirror: Key<Stream>) {
    let Some(copy) = worker.streams.remove(mirror) else {
        return;
    };
    worker.disarm(copy.timer);
    count::count_mirror(worker, &copy);
    worker.recycle(copy);
}
