//! One side of a carried connection: its socket, its TLS, and what the socket has not taken yet.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use telemetry::stats::{Block, Shard};
use tls::{Progress, Session, TlsError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::socket::Socket;
use crate::worker::Buffers;

/// Why a side can't go on.
#[derive(Debug)]
pub(super) enum Broken {
    /// The socket: mostly a reset.
    Socket(io::Error),
    /// TLS failed; the alert is in the output.
    Tls(TlsError),
}

impl Broken {
    /// Whether the peer reset the connection.
    pub(super) fn is_reset(&self) -> bool {
        matches!(self, Broken::Socket(error) if error.kind() == io::ErrorKind::ConnectionReset)
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Broken::Socket(error) => error.fmt(f),
            Broken::Tls(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Broken::Socket(error)
    }
}

/// What [`Leg::receive`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// So many bytes in the worker's read buffer.
    Plain(usize),
    /// Bytes in the worker's plaintext buffer, possibly none.
    Decrypted,
    /// Nothing more will come.
    Ended,
    /// Nothing for now.
    Blocked,
}

/// Whether more may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Open,
    /// The end is in the output (`close_notify`) and follows it on the socket.
    Ending,
    /// The socket is shut down for writing.
    Ended,
}

/// One side.
pub(super) struct Leg {
    socket: Socket,
    tls: Option<Box<Session>>,
    /// Received by listener filters, before this was made.
    unread: Vec<u8>,
    /// Decrypted with the end of the handshake.
    decrypted: Vec<u8>,
    /// For the socket, from `sent` on. Without memory while empty.
    output: Vec<u8>,
    sent: usize,
    input_ended: bool,
    sending: Sending,
    /// Where an ended handshake is counted, and TLS failures.
    ssl_stats: Option<Arc<Block>>,
}

impl Leg {
    fn new(socket: Socket, tls: Option<Box<Session>>, ssl_stats: Option<Arc<Block>>) -> Self {
        Leg {
            socket,
            tls,
            unread: Vec::new(),
            decrypted: Vec::new(),
            output: Vec::new(),
            sent: 0,
            input_ended: false,
            sending: Sending::Open,
            ssl_stats,
        }
    }

    /// The caller's side, of which `received` was read already.
    pub(super) fn accepted(
        socket: Socket,
        tls: Option<Box<Session>>,
        received: Vec<u8>,
        ssl_stats: Option<Arc<Block>>,
    ) -> Self {
        Leg {
            unread: received,
            ..Leg::new(socket, tls, ssl_stats)
        }
    }

    /// An endpoint's side.
    pub(super) fn connected(socket: Socket) -> Self {
        Leg::new(socket, None, None)
    }

    /// Secures it: `hello` is the session's first flight.
    pub(super) fn secure(&mut self, session: Session, hello: Vec<u8>, ssl_stats: &Arc<Block>) {
        self.tls = Some(Box::new(session));
        self.output = hello;
        self.ssl_stats = Some(Arc::clone(ssl_stats));
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) fn tls(&self) -> Option<&Session> {
        self.tls.as_deref()
    }

    pub(super) fn input_ended(&self) -> bool {
        self.input_ended
    }

    /// Whether everything was sent that ever will be.
    pub(super) fn output_ended(&self) -> bool {
        self.sending == Sending::Ended
    }

    /// Whether data can be sent now: nothing waits, and TLS is up.
    pub(super) fn takes_data(&self) -> bool {
        self.output.is_empty()
            && self.sending == Sending::Open
            && self.tls.as_ref().is_none_or(|tls| tls.is_established())
    }

    /// Goes on with the handshake until it is done. The bytes decrypted with its end are kept for later.
    pub(super) fn poll_handshake(
        &mut self,
        buffers: &mut Buffers,
        shard: Shard,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            self.flush(&mut buffers.ciphertext, context)?;
            if self.tls.as_ref().is_none_or(|tls| tls.is_established()) {
                return Poll::Ready(Ok(()));
            }
            match self.receive(buffers, usize::MAX, shard, context)? {
                Received::Blocked => return Poll::Pending,
                Received::Ended => {
                    let error = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Poll::Ready(Err(Broken::Socket(error)));
                }
                Received::Decrypted => self.decrypted.extend_from_slice(&buffers.plaintext),
                // Not without TLS.
                Received::Plain(_) => {}
            }
        }
    }

    /// Reads what there is, at most `limit` bytes, into the worker's buffers.
    pub(super) fn receive(
        &mut self,
        buffers: &mut Buffers,
        limit: usize,
        shard: Shard,
        context: &mut Context<'_>,
    ) -> Result<Received, Broken> {
        if self.input_ended {
            return Ok(Received::Ended);
        }
        if !self.decrypted.is_empty() {
            buffers.plaintext.clear();
            buffers.plaintext.append(&mut self.decrypted);
            self.decrypted = Vec::new();
            return Ok(Received::Decrypted);
        }
        let length = self.read(buffers, limit, context)?;
        let length = match length {
            None => return Ok(Received::Blocked),
            Some(0) => {
                self.input_ended = true;
                return Ok(Received::Ended);
            }
            Some(length) => length,
        };
        let Some(session) = &mut self.tls else {
            return Ok(Received::Plain(length));
        };
        buffers.plaintext.clear();
        let outcome = session.read_tls(&buffers.read[..length], &mut buffers.plaintext, &mut self.output);
        match outcome {
            Ok(Progress { handshake_done, closed }) => {
                if handshake_done && let Some(stats) = &self.ssl_stats {
                    session.count_handshake(stats.local(shard));
                }
                self.input_ended = closed;
                Ok(Received::Decrypted)
            }
            Err(error) => {
                if let Some(stats) = &self.ssl_stats {
                    stats.increment(shard, error.stat());
                }
                Err(Broken::Tls(error))
            }
        }
    }

    /// Bytes into the read buffer: 0 at the end, none when there is nothing for now.
    fn read(&mut self, buffers: &mut Buffers, limit: usize, context: &mut Context<'_>) -> io::Result<Option<usize>> {
        let room = buffers.read.len().min(limit);
        if !self.unread.is_empty() {
            let length = self.unread.len().min(room);
            buffers.read[..length].copy_from_slice(&self.unread[..length]);
            self.unread.drain(..length);
            if self.unread.is_empty() {
                self.unread = Vec::new();
            }
            return Ok(Some(length));
        }
        let mut target = ReadBuf::new(&mut buffers.read[..room]);
        match Pin::new(&mut self.socket).poll_read(context, &mut target) {
            Poll::Pending => Ok(None),
            Poll::Ready(Ok(())) => Ok(Some(target.filled().len())),
            Poll::Ready(Err(error)) => Err(error),
        }
    }

    /// Sends data; what the socket does not take now is kept. `spare` is lent while something is written.
    pub(super) fn send(&mut self, data: &[u8], spare: &mut Vec<u8>, context: &mut Context<'_>) -> Result<(), Broken> {
        let Some(session) = &mut self.tls else {
            return Ok(self.send_plain(data, context)?);
        };
        if self.output.is_empty() {
            std::mem::swap(&mut self.output, spare);
        }
        session.write(data, &mut self.output).map_err(Broken::Tls)?;
        self.flush(spare, context)?;
        Ok(())
    }

    fn send_plain(&mut self, mut data: &[u8], context: &mut Context<'_>) -> io::Result<()> {
        if self.output.is_empty() {
            while !data.is_empty() {
                match Pin::new(&mut self.socket).poll_write(context, data) {
                    Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Ok(length)) => data = &data[length..],
                    Poll::Ready(Err(error)) => return Err(error),
                    Poll::Pending => break,
                }
            }
        }
        self.output.extend_from_slice(data);
        Ok(())
    }

    /// Says that nothing more will be sent, once what waits has gone.
    pub(super) fn end(&mut self) {
        if self.sending == Sending::Open {
            self.sending = Sending::Ending;
            if let Some(session) = &mut self.tls {
                session.close_notify(&mut self.output);
            }
        }
    }

    /// Writes what waits. True when nothing does any more.
    pub(super) fn flush(&mut self, spare: &mut Vec<u8>, context: &mut Context<'_>) -> io::Result<bool> {
        while self.sent < self.output.len() {
            match Pin::new(&mut self.socket).poll_write(context, &self.output[self.sent..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(length)) => self.sent += length,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(false),
            }
        }
        if self.output.capacity() > 0 {
            self.output.clear();
            self.sent = 0;
            std::mem::swap(&mut self.output, spare);
            // The worker keeps one such buffer, a connection none.
            self.output = Vec::new();
        }
        if self.sending == Sending::Ending {
            // An error here is of a peer that is gone already.
            let _ = Pin::new(&mut self.socket).poll_shutdown(context);
            self.sending = Sending::Ended;
        }
        Ok(true)
    }
}
