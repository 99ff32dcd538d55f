//! A stream brought to each state of RFC 9113 section 5.1, at either role, and what a frame does to it then.

use super::script::*;
use crate::event::{ErrorCode, StreamId};

pub(super) const PROTOCOL: ErrorCode = ErrorCode::PROTOCOL_ERROR;
pub(super) const SIZE: ErrorCode = ErrorCode::FRAME_SIZE_ERROR;
pub(super) const FLOW: ErrorCode = ErrorCode::FLOW_CONTROL_ERROR;
pub(super) const CLOSED: ErrorCode = ErrorCode::STREAM_CLOSED;

/// The states of section 5.1, as the side under test sees them, for stream 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Idle,
    Open,
    HalfClosedLocal,
    HalfClosedRemote,
    /// Both sides have ended it.
    Closed,
    /// Closed by the peer's RST_STREAM.
    ResetByPeer,
    /// Closed by ours.
    ResetByUs,
}

pub(super) const STATES: [State; 7] = [
    State::Idle,
    State::Open,
    State::HalfClosedLocal,
    State::HalfClosedRemote,
    State::Closed,
    State::ResetByPeer,
    State::ResetByUs,
];

/// A server or a client whose stream 1 has come to `state`; its output is read.
pub(super) fn reach(state: State, server: bool) -> Script {
    let mut script = if server { Script::server() } else { Script::client() };
    let (we_ended, peer_ended) = match state {
        State::Idle => return script,
        State::Open | State::ResetByPeer | State::ResetByUs => (false, false),
        State::HalfClosedLocal => (true, false),
        State::HalfClosedRemote => (false, true),
        State::Closed => (true, true),
    };
    if server {
        script.feed(&headers(1, POST, peer_ended));
        script.respond(1, OK, we_ended);
    } else {
        script.request(POST, we_ended);
        script.feed(&headers(1, OK, peer_ended));
    }
    match state {
        State::ResetByPeer => assert_eq!(script.feed(&rst(1, ErrorCode::CANCEL)), ["RESET 1 CANCEL remote"]),
        State::ResetByUs => script.connection.reset(StreamId(1), ErrorCode::CANCEL),
        _ => {}
    }
    script.sent();
    script
}

/// What a frame does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// It is an event.
    Tell,
    /// Nothing at all.
    Nothing,
    /// The stream ends with this code, the connection goes on.
    EndStream(ErrorCode),
    /// The connection ends with this code.
    EndConnection(ErrorCode),
}

pub(super) use Does::{EndConnection, EndStream, Nothing, Tell};

pub(super) fn check(mut script: Script, input: &[u8], expected: Does, what: &str) {
    let found = match script.try_feed(input) {
        Err((_, error)) => {
            let sent = script.sent();
            let last = sent.last().map(String::as_str).unwrap_or_default();
            assert!(
                last.starts_with("GOAWAY") && last.contains(error.code.name()),
                "{what}: {sent:?}"
            );
            EndConnection(error.code)
        }
        Ok(events) => {
            let sent = script.sent();
            let code = [PROTOCOL, SIZE, FLOW, CLOSED]
                .into_iter()
                .find(|code| sent.contains(&format!("RST_STREAM 1 {}", code.name())));
            script.assert_usable();
            match code {
                Some(code) => EndStream(code),
                None if events.is_empty() => Nothing,
                None => Tell,
            }
        }
    };
    assert_eq!(found, expected, "{what}");
}
