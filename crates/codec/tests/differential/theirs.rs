//! The `h2` crate's side, polled by hand: no runtime, no clock, no race.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::generate::Script;
use super::{Outcome, Stream, refusals};

/// Polls that have to come to nothing before a side counts as quiet.
const QUIET: usize = 3;

fn fields(map: &http::HeaderMap) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut fields: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for (name, value) in map {
        fields
            .entry(name.as_str().to_owned())
            .or_default()
            .push(value.as_bytes().to_vec());
    }
    fields
}

fn write(pipe: &mut DuplexStream, bytes: &[u8], context: &mut Context<'_>) {
    match Pin::new(pipe).poll_write(context, bytes) {
        Poll::Ready(Ok(count)) => assert_eq!(count, bytes.len()),
        other => panic!("{other:?}"),
    }
}

fn read(pipe: &mut DuplexStream, context: &mut Context<'_>) -> Vec<u8> {
    let mut collected = Vec::new();
    let mut space = vec![0; 65_536];
    loop {
        let mut buffer = ReadBuf::new(&mut space);
        match Pin::new(&mut *pipe).poll_read(context, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => collected.extend_from_slice(buffer.filled()),
            _ => return collected,
        }
    }
}

/// Takes what there is of a body.
fn collect(stream: &mut Stream, body: &mut h2::RecvStream, context: &mut Context<'_>) {
    loop {
        match body.poll_data(context) {
            Poll::Ready(Some(Ok(data))) => {
                let _ = body.flow_control().release_capacity(data.len());
                stream.body.extend_from_slice(&data);
            }
            Poll::Ready(Some(Err(error))) => return note(stream, &error),
            Poll::Ready(None) => break,
            Poll::Pending => return,
        }
    }
    match body.poll_trailers(context) {
        Poll::Ready(Ok(trailers)) => {
            stream.trailers = trailers.as_ref().map(fields);
            stream.ended = true;
        }
        Poll::Ready(Err(error)) => note(stream, &error),
        Poll::Pending => {}
    }
}

fn note(stream: &mut Stream, error: &h2::Error) {
    if error.is_reset() && error.is_remote() {
        stream.reset = true;
    } else if error.is_reset() {
        stream.refused = Some(error.to_string());
    }
}

fn finish(outcome: &mut Outcome, error: Option<h2::Error>, written: &[u8]) {
    let (resets, goaway) = refusals(written);
    if let Some(code) = goaway {
        outcome.connection_error = Some(format!("GOAWAY {code}"));
    } else if let Some(error) = error {
        outcome.connection_error = Some(error.to_string());
    }
    for (stream, code) in resets {
        outcome
            .streams
            .entry(stream)
            .or_default()
            .refused
            .get_or_insert_with(|| format!("code {code}"));
    }
}

/// Runs a script through the `h2` crate.
pub(crate) fn run(script: &Script, server: bool) -> Outcome {
    if server { run_server(script) } else { run_client(script) }
}

fn run_server(script: &Script) -> Outcome {
    let mut context = Context::from_waker(Waker::noop());
    let mut outcome = Outcome::default();
    let (mut near, far) = tokio::io::duplex(1 << 20);
    write(&mut near, &script.bytes(), &mut context);
    let mut handshake = pin!(
        h2::server::Builder::new()
            .max_concurrent_streams(100)
            .max_header_list_size(60 * 1024)
            .max_pending_accept_reset_streams(usize::MAX)
            .max_local_error_reset_streams(None)
            .handshake::<_, Bytes>(far)
    );
    let mut connection = loop {
        match handshake.as_mut().poll(&mut context) {
            Poll::Ready(Ok(connection)) => break connection,
            Poll::Ready(Err(error)) => {
                let written = read(&mut near, &mut context);
                finish(&mut outcome, Some(error), &written);
                return outcome;
            }
            Poll::Pending => {}
        }
    };
    let mut bodies = Vec::new();
    let mut quiet = 0;
    let mut failed = None;
    let mut written = Vec::new();
    while quiet < QUIET {
        match connection.poll_accept(&mut context) {
            Poll::Ready(Some(Ok((request, respond)))) => {
                let (parts, body) = request.into_parts();
                let id = respond.stream_id().as_u32();
                let mut line = vec![parts.method.to_string()];
                line.extend(parts.uri.scheme_str().map(str::to_owned));
                line.extend(parts.uri.authority().map(ToString::to_string));
                line.extend(parts.uri.path_and_query().map(ToString::to_string));
                let stream = outcome.streams.entry(id).or_default();
                stream.line = line;
                stream.fields = fields(&parts.headers);
                bodies.push((id, body, respond));
            }
            Poll::Ready(Some(Err(error))) => {
                failed = Some(error);
                quiet += 1;
            }
            Poll::Ready(None) | Poll::Pending => quiet += 1,
        }
        for (id, body, _) in &mut bodies {
            let stream = outcome.streams.entry(*id).or_default();
            if !stream.ended && !stream.reset && stream.refused.is_none() {
                collect(stream, body, &mut context);
            }
        }
        written.extend(read(&mut near, &mut context));
    }
    finish(&mut outcome, failed, &written);
    outcome
}

fn run_client(script: &Script) -> Outcome {
    let mut context = Context::from_waker(Waker::noop());
    let mut outcome = Outcome::default();
    let (mut near, far) = tokio::io::duplex(1 << 20);
    let mut handshake = pin!(
        h2::client::Builder::new()
            .enable_push(false)
            .max_header_list_size(60 * 1024)
            .max_local_error_reset_streams(None)
            .handshake::<_, Bytes>(far)
    );
    let Poll::Ready(Ok((mut client, connection))) = handshake.as_mut().poll(&mut context) else {
        panic!("the handshake of a client needs no input")
    };
    let mut connection = pin!(connection);
    let mut responses = Vec::new();
    for method in script.requests() {
        while client.poll_ready(&mut context).is_pending() {
            let _ = connection.as_mut().poll(&mut context);
        }
        let request = http::Request::builder()
            .method(*method)
            .uri("http://a/")
            .body(())
            .unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        let id = response.stream_id().as_u32();
        outcome.streams.entry(id).or_default();
        responses.push((id, Some(response), None));
        let _ = connection.as_mut().poll(&mut context);
    }
    write(&mut near, &script.bytes(), &mut context);
    let mut failed = None;
    let mut over = false;
    let mut written = Vec::new();
    for _ in 0..QUIET {
        if !over {
            match connection.as_mut().poll(&mut context) {
                Poll::Ready(Err(error)) => {
                    failed = Some(error);
                    over = true;
                }
                Poll::Ready(Ok(())) => over = true,
                Poll::Pending => {}
            }
        }
        for (id, waiting, body) in &mut responses {
            let stream = outcome.streams.entry(*id).or_default();
            if let Some(mut response) = waiting.take() {
                match Pin::new(&mut response).poll(&mut context) {
                    Poll::Ready(Ok(response)) => {
                        let (parts, received) = response.into_parts();
                        stream.line = vec![parts.status.as_u16().to_string()];
                        stream.fields = fields(&parts.headers);
                        *body = Some(received);
                    }
                    Poll::Ready(Err(error)) => note(stream, &error),
                    Poll::Pending => *waiting = Some(response),
                }
            }
            if let Some(body) = body
                && !stream.ended
                && !stream.reset
                && stream.refused.is_none()
            {
                collect(stream, body, &mut context);
            }
        }
        written.extend(read(&mut near, &mut context));
    }
    finish(&mut outcome, failed, &written);
    outcome
}
