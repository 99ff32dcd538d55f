//! HTTP/2 by hand, at either end of a connection: frames written octet by octet, and what comes back told as lines.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Types of frames (RFC 9113 section 6).
pub const DATA: u8 = 0;
/// See [`DATA`].
pub const HEADERS: u8 = 1;
/// See [`DATA`].
pub const PRIORITY: u8 = 2;
/// See [`DATA`].
pub const RST_STREAM: u8 = 3;
/// See [`DATA`].
pub const SETTINGS: u8 = 4;
/// See [`DATA`].
pub const PUSH_PROMISE: u8 = 5;
/// See [`DATA`].
pub const PING: u8 = 6;
/// See [`DATA`].
pub const GOAWAY: u8 = 7;
/// See [`DATA`].
pub const WINDOW_UPDATE: u8 = 8;
/// See [`DATA`].
pub const CONTINUATION: u8 = 9;

/// Flags of frames: of SETTINGS and PING.
pub const ACK: u8 = 1;
/// Of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// Of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 4;
/// Of DATA and HEADERS.
pub const PADDED: u8 = 8;
/// Of HEADERS: it has a priority.
pub const WITH_PRIORITY: u8 = 0x20;

/// What a client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Error codes by their number (RFC 9113 section 7).
const CODES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// Names and values of a header block.
pub type Fields<'a> = &'a [(&'a str, &'a str)];

/// A request without content.
pub const GET: Fields<'static> = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "test"),
];

/// A request with content.
pub const POST: Fields<'static> = &[
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "test"),
];

/// A frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut octets = vec![length[1], length[2], length[3], kind, flags];
    octets.extend_from_slice(&stream.to_be_bytes());
    octets.extend_from_slice(payload);
    octets
}

/// A header block of literals that leave the dynamic table alone.
#[must_use]
pub fn block(fields: Fields<'_>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name.as_bytes());
        string(&mut block, value.as_bytes());
    }
    block
}

/// Appends a string without Huffman code (RFC 7541 section 5.2).
pub fn string(block: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    if length < 127 {
        block.push(length as u8);
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push((length % 128) as u8 | 128);
            length /= 128;
        }
        block.push(length as u8);
    }
    block.extend_from_slice(text);
}

/// HEADERS with a whole block.
#[must_use]
pub fn headers(stream: u32, fields: Fields<'_>, end: bool) -> Vec<u8> {
    let flags = END_HEADERS | if end { END_STREAM } else { 0 };
    frame(HEADERS, flags, stream, &block(fields))
}

/// DATA.
#[must_use]
pub fn data(stream: u32, content: &[u8], end: bool) -> Vec<u8> {
    frame(DATA, if end { END_STREAM } else { 0 }, stream, content)
}

/// RST_STREAM.
#[must_use]
pub fn rst(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// WINDOW_UPDATE.
#[must_use]
pub fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

/// PRIORITY: dependency and weight.
#[must_use]
pub fn priority(stream: u32, dependency: u32, weight: u8) -> Vec<u8> {
    frame(
        PRIORITY,
        0,
        stream,
        &[&dependency.to_be_bytes()[..], &[weight]].concat(),
    )
}

/// SETTINGS.
#[must_use]
pub fn settings(parameters: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = parameters
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
        .collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// SETTINGS acknowledged.
#[must_use]
pub fn settings_ack() -> Vec<u8> {
    frame(SETTINGS, ACK, 0, b"")
}

/// PING.
#[must_use]
pub fn ping(payload: &[u8; 8]) -> Vec<u8> {
    frame(PING, 0, 0, payload)
}

/// GOAWAY.
#[must_use]
pub fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// The name of an error code.
#[must_use]
pub fn code_name(code: u32) -> String {
    CODES
        .get(code as usize)
        .map_or_else(|| format!("code {code}"), |name| (*name).to_owned())
}

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Whether a flag is set.
    #[must_use]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The error code of RST_STREAM or GOAWAY.
    #[must_use]
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        self.payload
            .get(at..at + 4)
            .and_then(|octets| octets.try_into().ok())
            .map_or(u32::MAX, u32::from_be_bytes)
    }

    /// The status of a response, if it is among those of HPACK's static table and written as that.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        // Behind what may come before it: updates of the table's size.
        let first = self.payload.iter().find(|octet| **octet & 0xe0 != 0x20)?;
        Some(match first {
            0x88 => 200,
            0x89 => 204,
            0x8a => 206,
            0x8b => 304,
            0x8c => 400,
            0x8d => 404,
            0x8e => 500,
            _ => return None,
        })
    }
}

/// How a wait for frames ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// What was waited for came.
    Came,
    /// The peer closed the connection.
    Closed,
    /// Nothing of it in time.
    Silent,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Wire {
    socket: TcpStream,
    pending: Vec<u8>,
    /// Every frame that came.
    pub frames: Vec<Frame>,
    closed: bool,
}

impl Wire {
    /// A client's end of a connection to 127.0.0.1; nothing has been said.
    ///
    /// # Panics
    /// Nobody listens there.
    #[must_use]
    pub fn connect(port: u16) -> Self {
        Self::new(TcpStream::connect(("127.0.0.1", port)).expect("somebody listens there"))
    }

    /// An end of a connection.
    #[must_use]
    pub fn new(socket: TcpStream) -> Self {
        let _ = socket.set_nodelay(true);
        let _ = socket.set_write_timeout(Some(Duration::from_secs(5)));
        Self {
            socket,
            pending: Vec::new(),
            frames: Vec::new(),
            closed: false,
        }
    }

    /// A client that has said `parameters`, been told the server's, and acknowledged them.
    ///
    /// # Panics
    /// The server does not do its part.
    #[must_use]
    pub fn client(port: u16, parameters: &[(u16, u32)]) -> Self {
        let mut wire = Self::connect(port);
        wire.send(&[PREFACE, &settings(parameters)].concat());
        wire.shake_hands();
        wire
    }

    /// A server of a connection that was accepted, after the same.
    ///
    /// # Panics
    /// The client does not do its part.
    #[must_use]
    pub fn server(socket: TcpStream, parameters: &[(u16, u32)]) -> Self {
        let mut wire = Self::new(socket);
        let mut preface = [0; PREFACE.len()];
        let _ = wire.socket.set_read_timeout(Some(Duration::from_secs(5)));
        wire.socket.read_exact(&mut preface).expect("a client's preface comes");
        assert_eq!(preface, PREFACE);
        wire.send(&settings(parameters));
        wire.shake_hands();
        wire
    }

    fn shake_hands(&mut self) {
        let theirs = self.wait(5, |frame| frame.kind == SETTINGS && !frame.has(ACK));
        assert_eq!(theirs, End::Came, "SETTINGS come");
        self.send(&settings_ack());
        let acknowledged = self.wait(5, |frame| frame.kind == SETTINGS && frame.has(ACK));
        assert_eq!(acknowledged, End::Came, "SETTINGS are acknowledged");
    }

    /// Sends octets; false if the peer takes no more.
    pub fn send(&mut self, octets: &[u8]) -> bool {
        self.socket.write_all(octets).is_ok()
    }

    /// Waits until a frame is there that `wanted` wants, those that came before this call included.
    pub fn wait(&mut self, seconds: u64, mut wanted: impl FnMut(&Frame) -> bool) -> End {
        self.wait_for(Duration::from_secs(seconds), |frames| frames.iter().any(&mut wanted))
    }

    /// Waits until all frames so far are what is wanted.
    pub fn wait_for(&mut self, time: Duration, mut wanted: impl FnMut(&[Frame]) -> bool) -> End {
        let deadline = Instant::now() + time;
        loop {
            if wanted(&self.frames) {
                return End::Came;
            }
            if self.closed {
                return End::Closed;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return End::Silent;
            }
            self.read(left);
        }
    }

    /// Reads what comes at once.
    pub fn read_what_is_there(&mut self) {
        self.read(Duration::from_millis(20));
    }

    /// Whether the peer closes the connection within `seconds`.
    pub fn closes(&mut self, seconds: u64) -> bool {
        self.wait_for(Duration::from_secs(seconds), |_| false) == End::Closed
    }

    /// Reads once, for no longer than `time`.
    fn read(&mut self, time: Duration) {
        let _ = self.socket.set_read_timeout(Some(time.max(Duration::from_millis(1))));
        let mut buffer = [0; 65536];
        match self.socket.read(&mut buffer) {
            Ok(0) => self.closed = true,
            Ok(length) => {
                self.pending.extend_from_slice(&buffer[..length]);
                self.parse();
            }
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(_) => self.closed = true,
        }
    }

    fn parse(&mut self) {
        let mut at = 0;
        while let Some(header) = self.pending.get(at..at + 9) {
            let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
            let Some(payload) = self.pending.get(at + 9..at + 9 + length) else {
                break;
            };
            self.frames.push(Frame {
                kind: header[3],
                flags: header[4],
                stream: u32::from_be_bytes([header[5] & 0x7f, header[6], header[7], header[8]]),
                payload: payload.to_vec(),
            });
            at += 9 + length;
        }
        self.pending.drain(..at);
    }
}
