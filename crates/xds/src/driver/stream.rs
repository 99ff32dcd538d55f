//! The task of one stream: connect, exchange messages, wait, again; and the choice among several servers.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use config::ResourceType;
use config::config_source::ApiConfigSource;
use tokio::sync::Notify;

use super::transport::{Reader, Transport, Writer};
use super::{Shared, Wake, fallback};
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

/// Keeps a stream open for as long as the client lives: to the first server, or, while that cannot be reached and
/// something is asked for that is held from nowhere, to one after it (gRFC A71).
pub(super) async fn keep_open(shared: Arc<Shared>, servers: Servers, wake: Arc<Wake>) {
    let mut server = 0;
    let mut opened = None;
    loop {
        let preferred = tokio::select! {
            biased;
            (preferred, writer, reader) = fallback::preferred_server(&shared, &servers, server, &wake.probe) => {
                Some((preferred, (writer, reader)))
            }
            () = serve(&shared, &servers, server, opened.take(), &wake.serving) => None,
        };
        if let Some((preferred, halves)) = preferred {
            server = preferred;
            opened = Some(halves);
        } else {
            // The one that was being tried may be tried again beside the next.
            shared.with(|engine, _| engine.probe_closed(servers.source));
            server += 1;
            tracing::warn!(source = ?servers.source, "falling back to server {server}");
        }
    }
}

/// A stream that stood this long has worked, though nothing came: in the delta protocol a server has nothing to say to a
/// client that holds everything.
const STANDING: Duration = Duration::from_secs(5);

/// Keeps a stream to one server open until it is time to fall back to the next. With `opened` there is one already, which
/// the server has answered on.
async fn serve(shared: &Shared, servers: &Servers, server: usize, mut opened: Option<(Writer, Reader)>, wake: &Notify) {
    let (initial, maximum) = shared.settings.backoff;
    let mut backoff = Backoff::new(initial, maximum, RandomState::new().build_hasher().finish());
    let source = servers.source;
    loop {
        let mut responded = opened.is_some();
        let mut stood = Duration::ZERO;
        let halves = match opened.take() {
            Some(halves) => Ok(halves),
            None => open(shared, servers, server).await,
        };
        let reason = match halves {
            Ok((writer, reader)) => {
                let begun = super::now();
                let reason = exchange(shared, source, writer, reader, wake, &mut responded).await;
                stood = super::now().saturating_duration_since(begun);
                reason
            }
            Err(reason) => reason,
        };
        if responded {
            // A server that answered and went away is restarting or shedding load: that is no failure.
            tracing::info!(?source, "discovery stream ended: {reason}");
        } else {
            tracing::warn!(?source, "discovery stream failed: {reason}");
        }
        if responded || stood >= STANDING {
            backoff.reset();
        }
        shared.with(|engine, now| engine.stream_closed(source, reason, now));
        let may_fall_back = !responded && server + 1 < servers.api.grpc_services.len();
        if may_fall_back && shared.lock().has_uncached(source) {
            return;
        }
        if wait(shared, source, backoff.next_delay(), may_fall_back, wake).await {
            return;
        }
    }
}

/// Waits before the next attempt. Returns at once, and true, when something new is asked for that another server may have.
async fn wait(shared: &Shared, source: SourceId, delay: Duration, may_fall_back: bool, wake: &Notify) -> bool {
    let delay = tokio::time::sleep(delay);
    tokio::pin!(delay);
    loop {
        tokio::select! {
            () = &mut delay => return false,
            () = wake.notified(), if may_fall_back => {
                if shared.lock().has_uncached(source) {
                    return true;
                }
            }
        }
    }
}

async fn open(shared: &Shared, servers: &Servers, server: usize) -> Result<(Writer, Reader), String> {
    let transport = Transport::connect(&*shared.connector, &shared.settings, servers, server).await?;
    let halves = transport.open(servers);
    shared.with(|engine, now| engine.stream_opened(servers.source, server, now));
    Ok(halves)
}

/// Exchanges messages until the stream ends, and returns why it did.
///
/// Reading never waits for writing: were the two to wait for each other on both sides, the stream would stand still. A
/// request is made when there is room for it; what is waiting until then are sets of names, not messages.
async fn exchange(
    shared: &Shared,
    source: SourceId,
    writer: Writer,
    mut reader: Reader,
    wake: &Notify,
    responded: &mut bool,
) -> String {
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
