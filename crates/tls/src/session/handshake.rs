//! The handshake, by rustls without buffers of its own, one record at a time.
//!
//! Records are shown to rustls one by one, so that when the handshake ends nothing beyond it has been
//! touched and the rest can go to our own record layer. A TLS 1.2 session stays here for good.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{CommonState, ProtocolVersion};

use super::record::{HEADER, KeySchedule, Traffic};
use crate::error::TlsError;

/// The most that may wait for the end of a record or a handshake message. rustls bounds messages at 64 KiB.
const MAX_BUFFERED: usize = 128 * 1024;

/// A rustls connection of either side.
pub(super) enum Rustls {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

impl Rustls {
    pub(super) fn common(&self) -> &CommonState {
        match self {
            Rustls::Server(connection) => connection,
            Rustls::Client(connection) => connection,
        }
    }
}

/// A session whose records rustls reads.
pub(super) struct Handshake {
    connection: Rustls,
    /// Received and not yet consumed; empty, and without memory, when all was.
    buffer: Vec<u8>,
    /// How much of the buffer rustls has been shown: whole records.
    shown: usize,
}

/// What one step of rustls came to.
enum Step {
    /// There is more to do without further input.
    Again,
    /// More input is needed, or there is nothing to do.
    Blocked,
    /// The peer will send nothing more.
    Closed,
    Failed(rustls::Error),
}

/// How far the session is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) established: bool,
    pub(super) closed: bool,
}

impl Handshake {
    pub(super) fn new(connection: Rustls, received: Vec<u8>) -> Handshake {
        Handshake {
            connection,
            buffer: received,
            shown: 0,
        }
    }

    pub(super) fn common(&self) -> &CommonState {
        self.connection.common()
    }

    /// Takes ciphertext and goes as far as it leads. Handshake records of ours go to `output`; once the
    /// session is established, TLS 1.2 data goes to `plaintext`.
    pub(super) fn read(
        &mut self,
        ciphertext: &[u8],
        plaintext: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Result<Reached, TlsError> {
        self.buffer.extend_from_slice(ciphertext);
        let mut reached = Reached::default();
        loop {
            match self.step(plaintext, output) {
                Step::Again => {}
                Step::Closed => reached.closed = true,
                Step::Failed(error) => {
                    self.collect_records(output);
                    self.buffer = Vec::new();
                    return Err(error.into());
                }
                Step::Blocked => {
                    if !self.common().is_handshaking() {
                        reached.established = true;
                        if self.is_tls13() {
                            break;
                        }
                    }
                    if reached.closed || !self.show_next_record()? {
                        break;
                    }
                }
            }
        }
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
        Ok(reached)
    }

    fn is_tls13(&self) -> bool {
        self.common().protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Lets rustls see one more record. False when none is whole.
    fn show_next_record(&mut self) -> Result<bool, TlsError> {
        let rest = &self.buffer[self.shown..];
        let Some(&[kind, major, _, high, low]) = rest.first_chunk::<HEADER>() else {
            return match rest.first() {
                Some(kind) if !is_tls_record(*kind) => Err(plaintext(rest)),
                _ => Ok(false),
            };
        };
        if !is_tls_record(kind) || major != 3 {
            return Err(plaintext(rest));
        }
        let length = HEADER + usize::from(u16::from_be_bytes([high, low]));
        if length > rest.len() {
            if self.buffer.len() > MAX_BUFFERED {
                return Err(TlsError::protocol("a handshake message that is too long"));
            }
            return Ok(false);
        }
        self.shown += length;
        Ok(true)
    }

    fn step(&mut self, plaintext: &mut Vec<u8>, output: &mut Vec<u8>) -> Step {
        let shown = &mut self.buffer[..self.shown];
        // The two sides have different types for the same states.
        macro_rules! handle {
            ($connection:expr) => {{
                let UnbufferedStatus {
                    mut discard, state, ..
                } = $connection.process_tls_records(shown);
                let step = match state {
                    Err(error) => Step::Failed(error),
                    Ok(ConnectionState::EncodeTlsData(mut record)) => {
                        append(output, |room| match record.encode(room) {
                            Ok(written) => Ok(written),
                            Err(EncodeError::InsufficientSize(error)) => Err(Some(error.required_size)),
                            Err(EncodeError::AlreadyEncoded) => Err(None),
                        });
                        Step::Again
                    }
                    Ok(ConnectionState::TransmitTlsData(sent)) => {
                        sent.done();
                        Step::Again
                    }
                    Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                        let mut step = Step::Again;
                        while let Some(record) = traffic.next_record() {
                            match record {
                                Ok(record) => {
                                    plaintext.extend_from_slice(record.payload);
                                    discard += record.discard;
                                }
                                Err(error) => step = Step::Failed(error),
                            }
                        }
                        step
                    }
                    Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Step::Closed,
                    // Early data is never accepted, the other states wait for input.
                    Ok(_) => Step::Blocked,
                };
                (discard, step)
            }};
        }
        let (discard, step) = match &mut self.connection {
            Rustls::Server(connection) => handle!(connection),
            Rustls::Client(connection) => handle!(connection),
        };
        self.buffer.drain(..discard);
        self.shown -= discard;
        step
    }

    /// Encrypts data of an established TLS 1.2 session.
    pub(super) fn write(&mut self, data: &[u8], output: &mut Vec<u8>) -> Result<(), TlsError> {
        let mut written = Err(TlsError::NotEstablished);
        append(output, |room| {
            let encrypted = match &mut self.connection {
                Rustls::Server(connection) => match connection.process_tls_records(&mut []).state {
                    Ok(ConnectionState::WriteTraffic(mut traffic)) => traffic.encrypt(data, room),
                    _ => return Err(None),
                },
                Rustls::Client(connection) => match connection.process_tls_records(&mut []).state {
                    Ok(ConnectionState::WriteTraffic(mut traffic)) => traffic.encrypt(data, room),
                    _ => return Err(None),
                },
            };
            match encrypted {
                Ok(length) => {
                    written = Ok(());
                    Ok(length)
                }
                Err(EncryptError::InsufficientSize(error)) => Err(Some(error.required_size)),
                Err(EncryptError::EncryptExhausted) => Err(None),
            }
        });
        written
    }

    /// Says that nothing more will be sent. Before the session is established there is nobody to say it to.
    pub(super) fn close_notify(&mut self, output: &mut Vec<u8>) {
        // Without room rustls keeps the alert and reports that it did not fit: the steps below fetch it.
        match &mut self.connection {
            Rustls::Server(connection) => {
                if let Ok(ConnectionState::WriteTraffic(mut traffic)) = connection.process_tls_records(&mut []).state {
                    let _ = traffic.queue_close_notify(&mut []);
                }
            }
            Rustls::Client(connection) => {
                if let Ok(ConnectionState::WriteTraffic(mut traffic)) = connection.process_tls_records(&mut []).state {
                    let _ = traffic.queue_close_notify(&mut []);
                }
            }
        }
        self.collect_records(output);
    }

    /// Fetches records rustls has ready. After a failure nothing else may be asked of it: it would look at its
    /// input again, and panic.
    fn collect_records(&mut self, output: &mut Vec<u8>) {
        let mut ignored = Vec::new();
        while self.common().wants_write() && matches!(self.step(&mut ignored, output), Step::Again) {}
    }

    /// Hands an established TLS 1.3 session to our own record layer; with it what was received beyond the
    /// handshake.
    pub(super) fn into_traffic(self) -> Result<(Traffic, Vec<u8>), TlsError> {
        if self.shown > 0 {
            // Part of a message came with the end of the handshake: keys change at record boundaries only.
            return Err(TlsError::protocol("data in the record that ends the handshake"));
        }
        let (secrets, schedule) = match self.connection {
            Rustls::Server(connection) => {
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                (secrets, KeySchedule::Server(Box::new(kernel)))
            }
            Rustls::Client(connection) => {
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                (secrets, KeySchedule::Client(Box::new(kernel)))
            }
        };
        Ok((Traffic::new(&secrets, schedule)?, self.buffer))
    }
}

/// Content types of TLS records (RFC 8446, section 5.1; 24 is the heartbeat of RFC 6520).
fn is_tls_record(kind: u8) -> bool {
    (20..=24).contains(&kind)
}

/// The peer's first bytes are not TLS.
pub(super) fn plaintext(bytes: &[u8]) -> TlsError {
    const SHOWN: usize = 16;
    let shown: String = bytes
        .iter()
        .take(SHOWN)
        .map(|byte| char::from(*byte))
        .map(printable)
        .collect();
    TlsError::Plaintext(shown.into())
}

fn printable(character: char) -> char {
    if character.is_ascii_graphic() || character == ' ' {
        character
    } else {
        '.'
    }
}

/// Appends what `write` puts into the room it asks for: it is called first without room to learn how much.
fn append(output: &mut Vec<u8>, mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>) {
    let start = output.len();
    let mut result = write(&mut []);
    if let Err(Some(required)) = result {
        output.resize(start + required, 0);
        result = write(&mut output[start..]);
    }
    output.truncate(start + result.unwrap_or(0));
}

/// A server's side of a new connection.
pub(super) fn server(config: Arc<rustls::ServerConfig>, received: Vec<u8>) -> Result<Handshake, TlsError> {
    let connection = UnbufferedServerConnection::new(config)?;
    Ok(Handshake::new(Rustls::Server(Box::new(connection)), received))
}
