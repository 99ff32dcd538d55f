//! The task of one stream: connect, exchange messages, wait, again.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use config::ResourceType;
use config::config_source::ApiConfigSource;
use tokio::sync::Notify;

use super::Shared;
use super::transport::{Reader, Transport, Writer};
use crate::backoff::Backoff;
use crate::engine::Engine;
use crate::source::SourceId;

/// Where a stream leads.
pub(super) struct Servers {
    pub(super) source: SourceId,
    pub(super) api: Arc<ApiConfigSource>,
    /// The only type asked for, where the stream is not aggregated.
    pub(super) only: Option<ResourceType>,
}

/// Keeps a stream open for as long as the client lives.
pub(super) async fn keep_open(shared: Arc<Shared>, servers: Servers, wake: Arc<Notify>) {
    let (initial, maximum) = shared.settings.backoff;
    let mut backoff = Backoff::new(initial, maximum, RandomState::new().build_hasher().finish());
    let mut server = 0;
    loop {
        let mut responded = false;
        let reason = match Transport::connect(&*shared.connector, &shared.settings, &servers, server).await {
            Ok(transport) => exchange(&shared, &servers, transport, &wake, &mut responded).await,
            Err(reason) => reason,
        };
        if responded {
            // A server that answered and went away is restarting or shedding load: that is no failure.
            tracing::info!(source = ?servers.source, "discovery stream ended: {reason}");
            backoff.reset();
        } else {
            tracing::warn!(source = ?servers.source, "discovery stream failed: {reason}");
            server = (server + 1) % servers.api.grpc_services.len().max(1);
        }
        shared.with(|engine, now| engine.stream_closed(servers.source, reason, now));
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// Exchanges messages until the stream ends, and returns why it did.
///
/// Reading never waits for writing: were the two to wait for each other on both sides, the stream would stand still. A
/// request is made when there is room for it; what is waiting until then are sets of names, not messages.
async fn exchange(
    shared: &Shared,
    servers: &Servers,
    transport: Transport,
    wake: &Notify,
    responded: &mut bool,
) -> String {
    let source = servers.source;
    let (writer, mut reader): (Writer, Reader) = transport.open(&shared.settings, servers);
    shared.with(|engine, now| engine.stream_opened(source, now));
    loop {
        let has_request = shared.lock().has_request(source, super::now());
        tokio::select! {
            message = reader.next() => match message {
                Ok(Some(response)) => {
                    *responded = true;
                    if let Err(unexpected) = shared.with(|engine, now| engine.receive(source, response, now)) {
                        tracing::warn!(?source, "ignored a {unexpected}");
                    }
                    // A flood of responses must not keep the other tasks of this thread waiting.
                    tokio::task::yield_now().await;
                }
                Ok(None) => return "closed by the server".to_owned(),
                Err(status) => return format!("{}: {}", status.code(), status.message()),
            },
            room = writer.room(), if has_request => match room {
                Some(room) => {
                    if let Some(request) = shared.with(|engine: &mut Engine, now| engine.next_request(source, now)) {
                        room.send(request);
                    }
                }
                None => return "the stream takes no more requests".to_owned(),
            },
            () = wake.notified() => {}
        }
    }
}
