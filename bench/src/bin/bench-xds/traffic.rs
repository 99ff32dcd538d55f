//! Backends that say who they are, and a caller that asks.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Starts a backend that answers every HTTP/1.1 request with one letter.
///
/// # Errors
/// What the system says.
pub(crate) fn backend(letter: char) -> io::Result<u16> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            std::thread::spawn(move || answer_all(socket, letter));
        }
    });
    Ok(port)
}

fn answer_all(mut socket: TcpStream, letter: char) {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{letter}");
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    // Nagle would delay the answers to a caller that waits for each.
    let _ = socket.set_nodelay(true);
    while let Ok(count @ 1..) = socket.read(&mut buffer) {
        received.extend_from_slice(&buffer[..count]);
        while let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            received.drain(..end + 4);
            if socket.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// A caller with one connection.
#[derive(Debug)]
pub(crate) struct Caller {
    proxy: u16,
    socket: Option<TcpStream>,
}

impl Caller {
    /// A caller of the proxy on this port; connects when it first calls.
    pub(crate) fn new(proxy: u16) -> Self {
        Self { proxy, socket: None }
    }

    /// One request: the status and the letter that came back.
    ///
    /// # Errors
    /// What the socket says; the next call connects anew.
    pub(crate) fn call(&mut self, host: &str) -> io::Result<(u16, Option<char>)> {
        let outcome = self.exchange(host);
        if outcome.is_err() {
            self.socket = None;
        }
        outcome
    }

    fn exchange(&mut self, host: &str) -> io::Result<(u16, Option<char>)> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            None => {
                let socket = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], self.proxy)))?;
                socket.set_nodelay(true)?;
                socket.set_read_timeout(Some(Duration::from_secs(10)))?;
                self.socket.insert(socket)
            }
        };
        socket.write_all(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes())?;
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            if let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&received[..end]).to_lowercase();
                let length = head
                    .split("content-length:")
                    .nth(1)
                    .and_then(|rest| rest.split("\r\n").next()?.trim().parse().ok())
                    .unwrap_or(0_usize);
                if received.len() >= end + 4 + length {
                    let status = head.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0);
                    return Ok((status, received.get(end + 4).map(|byte| char::from(*byte))));
                }
            }
            match socket.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => received.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

/// Calls at a fixed pace and returns how long each call took from the time it was due, sorted.
///
/// # Errors
/// A call fails or is not answered with 200.
pub(crate) fn paced(proxy: u16, host: &str, calls: usize, pace: Duration) -> io::Result<Vec<Duration>> {
    let mut caller = Caller::new(proxy);
    caller.call(host)?;
    let begin = Instant::now();
    let mut taken = Vec::with_capacity(calls);
    for number in 0..calls {
        let due = begin + pace * number as u32;
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(early);
        }
        let (status, _) = caller.call(host)?;
        if status != 200 {
            return Err(io::Error::other(format!(
                "call {number} of {calls} was answered with {status}"
            )));
        }
        taken.push(due.elapsed());
    }
    taken.sort_unstable();
    Ok(taken)
}
