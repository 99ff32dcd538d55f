//! Trying the servers that are preferred to the one in use, until one of them answers (gRFC A71).

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use tokio::sync::Notify;

use super::Shared;
use super::stream::Servers;
use super::transport::{Reader, Transport, Writer};
use crate::backoff::Backoff;
use crate::session::Response;

/// Waits until a server before `current` answers, and returns its place and its stream; the engine takes that for the one
/// in use by then. Never, when there is no such server.
pub(super) async fn preferred_server(
    shared: &Shared,
    servers: &Servers,
    current: usize,
    wake: &Notify,
) -> (usize, Writer, Reader) {
    let (initial, maximum) = shared.settings.backoff;
    let mut backoff = Backoff::new(initial, maximum, RandomState::new().build_hasher().finish());
    if current == 0 {
        std::future::pending::<()>().await;
    }
    loop {
        for server in 0..current {
            tokio::time::sleep(backoff.next_delay()).await;
            match first_answer(shared, servers, server, wake).await {
                Ok((writer, reader)) => {
                    tracing::info!(source = ?servers.source, "back to server {server}, which is preferred");
                    return (server, writer, reader);
                }
                Err(reason) => {
                    shared.with(|engine, _| engine.probe_closed(servers.source));
                    tracing::debug!(source = ?servers.source, "server {server} is still away: {reason}");
                }
            }
        }
    }
}

/// Asks a server until its first answer, which the engine is given.
async fn first_answer(
    shared: &Shared,
    servers: &Servers,
    server: usize,
    wake: &Notify,
) -> Result<(Writer, Reader), String> {
    let transport = Transport::connect(&*shared.connector, &shared.settings, servers, server).await?;
    let (writer, mut reader) = transport.open(servers);
    let source = servers.source;
    shared.with(|engine, _| engine.probe_opened(source, server));
    // A server that takes the questions and says nothing is no better than one that is away.
    let patience = shared.settings.does_not_exist_timeout;
    let answer = tokio::time::timeout(patience, answer(shared, servers, &writer, &mut reader, wake));
    let response = answer.await.map_err(|_| format!("no answer within {patience:?}"))??;
    let taken = shared.with(|engine, now| {
        let is_current = engine.is_probe_current(source);
        is_current.then(|| engine.probe_answered(source, response, now))
    });
    match taken {
        Some(Ok(())) => Ok((writer, reader)),
        Some(Err(unexpected)) => {
            tracing::warn!(?source, "ignored a {unexpected}");
            Ok((writer, reader))
        }
        None => Err("more came from the server in use after it was asked".to_owned()),
    }
}

async fn answer(
    shared: &Shared,
    servers: &Servers,
    writer: &Writer,
    reader: &mut Reader,
    wake: &Notify,
) -> Result<Response, String> {
    let source = servers.source;
    loop {
        let has_request = shared.lock().has_probe_request(source);
        tokio::select! {
            message = reader.next() => return match message {
                Ok(Some(response)) => Ok(response),
                Ok(None) => Err("closed by the server".to_owned()),
                Err(status) => Err(format!("{}: {}", status.code(), status.message())),
            },
            room = writer.room(), if has_request => match room {
                Some(room) => {
                    if let Some(request) = shared.with(|engine, now| engine.next_probe_request(source, now)) {
                        room.send(request);
                    }
                }
                None => return Err("the stream takes no more requests".to_owned()),
            },
            () = wake.notified() => {}
        }
    }
}
