//! A scripted HTTP/1.1 backend in threads: what it does is in the request's path, what it saw can be asked.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::http1::{self, Message};

/// A backend on 127.0.0.1. Its threads end with the test's process.
///
/// By the end of the path, it: `echo`es the body; answers `chunked` with trailers; answers with a `large` body;
/// `refuse`s an upload before it has read it; `hang`s; `close`s without an answer; answers `garbage`; ends in the
/// `middle` of the body it announced; answers `nobody` (204) or `unchanged` (304); answers after `hints` (103). Any
/// other path is answered 200 with the backend's name.
#[derive(Clone, Debug)]
pub struct Backend {
    name: String,
    port: u16,
    seen: Arc<Mutex<Vec<Message>>>,
    connections: Arc<Mutex<usize>>,
}

/// The length of the body of `large`.
pub const LARGE: usize = 1 << 20;

impl Backend {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// There is no port.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let listener = crate::ports::listener();
        let backend = Self {
            name: name.to_owned(),
            port: listener.local_addr().expect("it is bound").port(),
            seen: Arc::default(),
            connections: Arc::default(),
        };
        let serving = backend.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = serving.clone();
                *connection.connections.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                std::thread::spawn(move || connection.serve(stream));
            }
        });
        backend
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The requests seen since the last time this was asked.
    #[must_use]
    pub fn take_seen(&self) -> Vec<Message> {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many requests have been seen since they were last taken.
    #[must_use]
    pub fn seen_count(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn saw(&self, request: &Message) {
        if !request.start.ends_with(" HTTP/1.1") {
            return; // another protocol's bytes
        }
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request.clone());
    }

    fn serve(&self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let Ok(reading) = stream.try_clone() else { return };
        let mut input = BufReader::new(reading);
        while let Ok(Some(mut request)) = http1::read_head(&mut input) {
            let path = request.path().split('?').next().unwrap_or("").to_owned();
            let action = path.rsplit('/').next().unwrap_or("").to_owned();
            if action == "refuse" {
                self.saw(&request);
                let _ = stream.write_all(
                    b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 8\r\nconnection: close\r\n\r\ntoo much",
                );
                let _ = stream.shutdown(Shutdown::Write);
                // Reading on keeps the system from answering what still comes with a reset that overtakes the answer.
                let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
                let _ = std::io::copy(&mut input, &mut std::io::sink());
                return;
            }
            if request.field("expect").is_some() && stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_err() {
                return;
            }
            if http1::read_body(&mut input, &mut request, false, false).is_err() {
                return;
            }
            self.saw(&request);
            if !self.answer(&mut stream, &request, &action) {
                return;
            }
        }
    }

    /// Answers a request; false if the connection ends with it.
    fn answer(&self, stream: &mut TcpStream, request: &Message, action: &str) -> bool {
        let head = request.start.starts_with("HEAD ");
        match action {
            "hang" => {
                let mut rest = [0; 1024];
                while stream.read(&mut rest).is_ok_and(|read| read > 0) {}
                false
            }
            "close" => false,
            "garbage" => {
                let _ = stream.write_all(b"garbage\r\n\r\n");
                false
            }
            "middle" => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nthe beginning");
                false
            }
            "nobody" => stream
                .write_all(b"HTTP/1.1 204 No Content\r\nx-kind: none\r\n\r\n")
                .is_ok(),
            "unchanged" => stream
                .write_all(b"HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n")
                .is_ok(),
            "hints" => stream
                .write_all(
                    b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                )
                .is_ok(),
            "chunked" => stream
                .write_all(
                    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                      5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\nx-sum: 12\r\n\r\n",
                )
                .is_ok(),
            "until-close" => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nto the end");
                false
            }
            "repeated" => stream
                .write_all(
                    b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nServer: backend\r\n\
                      keep-alive: timeout=5\r\nX-Mixed-Case: Yes\r\ncontent-length: 2\r\n\r\nok",
                )
                .is_ok(),
            "error" => stream
                .write_all(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\n\r\noops")
                .is_ok(),
            "large" => self.whole(stream, head, &vec![b'x'; LARGE]),
            "echo" => self.whole(stream, head, &request.body),
            _ => self.whole(stream, head, format!("{}\n", self.name).as_bytes()),
        }
    }

    fn whole(&self, stream: &mut TcpStream, head: bool, body: &[u8]) -> bool {
        let start = format!(
            "HTTP/1.1 200 OK\r\nx-backend: {}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n",
            self.name,
            body.len()
        );
        stream.write_all(start.as_bytes()).is_ok() && (head || stream.write_all(body).is_ok())
    }
}

/// An address that answers no connection attempt: a listener whose queue is full.
#[derive(Debug)]
pub struct Blackhole {
    port: u16,
    _held: (TcpListener, Vec<TcpStream>),
}

impl Blackhole {
    /// Makes one.
    ///
    /// # Panics
    /// The queue does not fill.
    #[must_use]
    pub fn start() -> Self {
        let listener = crate::ports::listener();
        let address = listener.local_addr().expect("it is bound");
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            waiting.push(stream);
            assert!(waiting.len() < 10_000, "the queue of a listener does not fill");
        }
        Self {
            port: address.port(),
            _held: (listener, waiting),
        }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}
