//! Reading a ClientHello without answering it: what the tls_inspector listener filter and the choice of a
//! server context need to know before the handshake begins (RFC 8446, section 4.1.2; RFC 6066, section 3;
//! RFC 7301).

/// The most a ClientHello may take before it is given up, records included (Envoy's tls_inspector: 16 KiB).
pub const MAX_CLIENT_HELLO: usize = 16 * 1024;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peek {
    /// So far they could become a ClientHello: more are needed.
    Incomplete,
    /// They are no TLS handshake.
    NotTls,
    /// They began as a TLS handshake, but hold no ClientHello that can be read. A handshake with them fails
    /// and says why.
    Invalid,
    /// They would be longer than [`MAX_CLIENT_HELLO`].
    TooLarge,
    /// A whole ClientHello.
    Hello(ClientHello),
}

/// What a client asks for before anything is decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The host name asked for, in lower case (RFC 6066 `server_name`).
    pub server_name: Option<Box<str>>,
    /// The application protocols offered, most wanted first; empty without the extension.
    pub alpn: Vec<Box<[u8]>>,
}

impl ClientHello {
    /// Whether the client offers this application protocol.
    pub fn offers(&self, protocol: &[u8]) -> bool {
        self.alpn.iter().any(|offered| **offered == *protocol)
    }
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;

/// Looks at the first bytes a client sent. To be asked again with more bytes while it says
/// [`Peek::Incomplete`]; nothing is kept between calls.
pub fn client_hello(bytes: &[u8]) -> Peek {
    // A ClientHello may be split over several records: its pieces are put together here. Mostly there is
    // one piece and nothing is copied.
    let mut joined = Vec::new();
    let mut rest = bytes;
    loop {
        let (payload, after, whole) = match record(rest) {
            Ok(parts) => parts,
            Err(verdict) if joined.is_empty() => return verdict,
            Err(Peek::NotTls) => return Peek::Invalid,
            Err(verdict) => return verdict,
        };
        let message = if joined.is_empty() {
            payload
        } else {
            joined.extend_from_slice(payload);
            &joined
        };
        if let Some(first) = message.first()
            && *first != CLIENT_HELLO
        {
            return Peek::Invalid;
        }
        if message.len() >= MESSAGE_HEADER {
            let length = usize::from(message[1]) << 16 | usize::from(message[2]) << 8 | usize::from(message[3]);
            if length + MESSAGE_HEADER + RECORD_HEADER > MAX_CLIENT_HELLO {
                return Peek::TooLarge;
            }
            if let Some(body) = message.get(MESSAGE_HEADER..MESSAGE_HEADER + length) {
                return parse(body).map_or(Peek::Invalid, Peek::Hello);
            }
        }
        if !whole {
            return if bytes.len() > MAX_CLIENT_HELLO {
                Peek::TooLarge
            } else {
                Peek::Incomplete
            };
        }
        if payload.is_empty() {
            // RFC 8446 5.1: no empty handshake fragments; they would make this loop long.
            return Peek::Invalid;
        }
        if joined.is_empty() {
            joined.extend_from_slice(payload);
        }
        rest = after;
    }
}

/// Payload of the first record as far as it has come, what follows it, and whether it is whole.
fn record(bytes: &[u8]) -> Result<(&[u8], &[u8], bool), Peek> {
    match *bytes {
        [] => return Err(Peek::Incomplete),
        [HANDSHAKE] | [HANDSHAKE, 3] => return Err(Peek::Incomplete),
        [HANDSHAKE, 3, ..] => {}
        _ => return Err(Peek::NotTls),
    }
    let Some((header, payload)) = bytes.split_at_checked(RECORD_HEADER) else {
        return Err(Peek::Incomplete);
    };
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if length > 16 * 1024 {
        return Err(Peek::Invalid);
    }
    match payload.split_at_checked(length) {
        Some((payload, after)) => Ok((payload, after, true)),
        None => Ok((payload, &[], false)),
    }
}

/// Takes bytes off the front of what is left of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<usize> {
        self.take(1).map(|bytes| usize::from(bytes[0]))
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A vector with a length of one byte in front.
    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length)
    }

    /// A vector with a length of two bytes in front.
    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.u16()?);
        self.take(length)
    }
}

/// The body of a ClientHello. `None` where it contradicts itself.
fn parse(body: &[u8]) -> Option<ClientHello> {
    let mut body = Reader(body);
    let _version_and_random = body.take(2 + 32)?;
    let _session_id = body.vector8()?;
    let _cipher_suites = body.vector16()?;
    let _compression_methods = body.vector8()?;
    let mut hello = ClientHello::default();
    if body.0.is_empty() {
        // RFC 5246 7.4.1.2: extensions may be absent as a whole.
        return Some(hello);
    }
    let mut extensions = Reader(body.vector16()?);
    if !body.0.is_empty() {
        return None;
    }
    let (mut seen_server_name, mut seen_alpn) = (false, false);
    while !extensions.0.is_empty() {
        let (kind, value) = (extensions.u16()?, extensions.vector16()?);
        // RFC 8446 4.2: no extension twice.
        match kind {
            SERVER_NAME if std::mem::replace(&mut seen_server_name, true) => return None,
            ALPN if std::mem::replace(&mut seen_alpn, true) => return None,
            SERVER_NAME => hello.server_name = server_name(value)?,
            ALPN => hello.alpn = protocols(value)?,
            _ => {}
        }
    }
    Some(hello)
}

/// RFC 6066, section 3: a list of names, of which only host names (type 0) exist.
fn server_name(value: &[u8]) -> Option<Option<Box<str>>> {
    let mut value = Reader(value);
    let mut names = Reader(value.vector16()?);
    if !value.0.is_empty() {
        return None;
    }
    let mut host = None;
    while !names.0.is_empty() {
        let (kind, name) = (names.u8()?, names.vector16()?);
        if kind == 0 && host.is_none() {
            // A name that is not ASCII is not a host name: it matches nothing.
            host = std::str::from_utf8(name)
                .ok()
                .filter(|name| name.is_ascii() && !name.is_empty());
        }
    }
    Some(host.map(|name| name.to_ascii_lowercase().into_boxed_str()))
}

/// RFC 7301, section 3.1.
fn protocols(value: &[u8]) -> Option<Vec<Box<[u8]>>> {
    let mut value = Reader(value);
    let mut list = Reader(value.vector16()?);
    if !value.0.is_empty() {
        return None;
    }
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        let protocol = list.vector8()?;
        if protocol.is_empty() {
            return None;
        }
        protocols.push(protocol.into());
    }
    Some(protocols)
}

#[cfg(test)]
mod tests;
