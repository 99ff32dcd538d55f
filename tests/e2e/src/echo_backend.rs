//! An HTTP/1.1 backend that answers with what it was sent, and agrees to every upgrade.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use testkit::http1;

/// A backend on 127.0.0.1. Its threads end with the test's process.
///
/// By the end of the path it answers with an `error`, with headers of a `server`, with `trailers`, or, at
/// `redirect-302`, with that status and a `location` that the request has in `x-location`; any other path
/// with the request's head, fields sorted, and its body. After an upgrade it sends everything back between angle
/// brackets, and `bye` when the caller has ended. A request with `x-answer` is answered with that as it is, where `^`
/// stands for CRLF, `|` for LF and `` ` `` for CR; with `x-end` as well the connection ends then.
#[derive(Debug)]
pub struct EchoBackend {
    port: u16,
    seen: Seen,
}

/// The request lines that came.
type Seen = Arc<Mutex<Vec<String>>>;

impl EchoBackend {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// There is no port.
    #[must_use]
    pub fn start() -> Self {
        Self::named("")
    }

    /// Starts one that says its name in `x-backend`, unless the name is empty.
    ///
    /// # Panics
    /// There is no port.
    #[must_use]
    pub fn named(name: &'static str) -> Self {
        let listener: TcpListener = testkit::ports::listener();
        let port = listener.local_addr().expect("it is bound").port();
        let seen = Seen::default();
        let noted = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&noted);
                std::thread::spawn(move || serve(stream, name, &seen));
            }
        });
        Self { port, seen }
    }

    /// The request lines of all requests that came.
    #[must_use]
    pub fn request_lines(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Serves a connection until it ends; what can't be written ends it too.
fn serve(mut stream: TcpStream, name: &str, seen: &Seen) -> Option<()> {
    let _ = stream.set_nodelay(true);
    let mut input = BufReader::new(stream.try_clone().ok()?);
    while let Some(mut request) = http1::read_head(&mut input).ok()? {
        seen.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request.start.clone());
        let upgrades = request.field("upgrade").is_some();
        if !upgrades {
            http1::read_body(&mut input, &mut request, false, false).ok()?;
        }
        if let Some(answer) = request.field("x-answer") {
            let answer = answer.replace('^', "\r\n").replace('|', "\n").replace('`', "\r");
            stream.write_all(answer.as_bytes()).ok()?;
            if request.field("x-end").is_some() {
                return Some(());
            }
            continue;
        }
        let mut fields: Vec<String> = request
            .fields
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        fields.sort();
        let mut shown = format!("{}\r\n{}", request.start, fields.concat()).into_bytes();
        shown.extend_from_slice(&request.body);
        let action = request
            .path()
            .split('?')
            .next()
            .unwrap_or("")
            .rsplit('/')
            .next()
            .unwrap_or("")
            .to_owned();
        match action.as_str() {
            "error" => stream.write_all(
                b"HTTP/1.1 500 Internal Server Error\r\nserver: backend\r\nx-kind: error\r\ncontent-length: 4\r\n\r\noops",
            ),
            "server" => stream.write_all(
                b"HTTP/1.1 200 OK\r\nserver: backend\r\nvia: back\r\ndate: yesterday\r\nX-Mixed-Case: Yes\r\n\
                  content-length: 2\r\n\r\nok",
            ),
            _ if action.starts_with("redirect-") => {
                let location = match request.field("x-location") {
                    Some(location) => format!("location: {location}\r\n"),
                    None => String::new(),
                };
                let head = format!(
                    "HTTP/1.1 {} Elsewhere\r\n{location}x-copied: one\r\nx-copied: two\r\ncontent-length: 5\r\n\r\nthere",
                    &action["redirect-".len()..]
                );
                stream.write_all(head.as_bytes())
            }
            "trailers" => stream.write_all(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-trailer: t\r\n\r\n",
            ),
            _ if upgrades => {
                stream
                    .write_all(
                        b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nx-ws: yes\r\n\r\n",
                    )
                    .ok()?;
                stream.write_all(&shown).ok()?;
                return echo(&mut stream, &mut input);
            }
            _ => {
                let who = match name {
                    "" => String::new(),
                    name => format!("x-backend: {name}\r\n"),
                };
                let head = format!("HTTP/1.1 200 OK\r\n{who}content-length: {}\r\n\r\n", shown.len());
                stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&shown))
            }
        }
        .ok()?;
    }
    Some(())
}

fn echo(stream: &mut TcpStream, input: &mut impl Read) -> Option<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = input.read(&mut buffer).ok()?;
        if length == 0 {
            return stream.write_all(b"bye").ok();
        }
        let bracketed = [b"<", &buffer[..length], b">"].concat();
        stream.write_all(&bracketed).ok()?;
    }
}
