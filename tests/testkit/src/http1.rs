//! HTTP/1.1 by hand: messages read from a socket as they are, nothing interpreted more than needed.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long a test waits for a peer's next byte.
const PATIENCE: Duration = Duration::from_secs(10);

/// The start line, the fields in wire order, the body and trailers of a message.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The request line or status line, without its end.
    pub start: String,
    /// The fields, names as they came.
    pub fields: Vec<(String, String)>,
    /// The body, without its chunks.
    pub body: Vec<u8>,
    /// The trailers of a chunked body.
    pub trailers: Vec<(String, String)>,
    /// The statuses of the informational responses before it.
    pub informational: Vec<u16>,
    /// The body ended before its announced end.
    pub cut: bool,
}

impl Message {
    /// The value of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The status of a response, 0 if this is none.
    #[must_use]
    pub fn status(&self) -> u16 {
        let mut words = self.start.split(' ');
        words.next();
        words.next().and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    /// The path of a request.
    #[must_use]
    pub fn path(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or("")
    }
}

/// Reads a message's start line and fields; `None` at the connection's end.
///
/// # Errors
/// The connection broke, or nothing came in time.
pub fn read_head(input: &mut impl BufRead) -> io::Result<Option<Message>> {
    let mut message = Message::default();
    let Some(start) = read_line(input)? else {
        return Ok(None);
    };
    message.start = start;
    message.fields = read_fields(input)?;
    Ok(Some(message))
}

/// Reads the body of a message whose head came; `without` if it has none whatever its fields say, `to_end` if it
/// lasts to the connection's end when they say nothing.
///
/// # Errors
/// The connection broke, or nothing came in time.
pub fn read_body(input: &mut impl BufRead, message: &mut Message, without: bool, to_end: bool) -> io::Result<()> {
    if without {
        return Ok(());
    }
    if message
        .field("transfer-encoding")
        .is_some_and(|value| value.contains("chunked"))
    {
        return read_chunks(input, message);
    }
    if let Some(length) = message
        .field("content-length")
        .and_then(|value| value.parse::<u64>().ok())
    {
        let read = input.take(length).read_to_end(&mut message.body)?;
        message.cut = (read as u64) < length;
    } else if to_end {
        input.read_to_end(&mut message.body)?;
    }
    Ok(())
}

fn read_chunks(input: &mut impl BufRead, message: &mut Message) -> io::Result<()> {
    loop {
        let Some(line) = read_line(input)? else {
            message.cut = true;
            return Ok(());
        };
        let length = u64::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16)
            .map_err(|_| io::Error::other(format!("a chunk of length {line:?}")))?;
        if length == 0 {
            message.trailers = read_fields(input)?;
            return Ok(());
        }
        if (input.take(length).read_to_end(&mut message.body)? as u64) < length {
            message.cut = true;
            return Ok(());
        }
        read_line(input)?;
    }
}

fn read_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if input.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(
        String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned(),
    ))
}

fn read_fields(input: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut fields = Vec::new();
    while let Some(line) = read_line(input)?.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((line.as_str(), ""));
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(fields)
}

/// A caller.
#[derive(Debug)]
pub struct Client {
    input: BufReader<TcpStream>,
    output: TcpStream,
}

impl Client {
    /// Connects to `127.0.0.1:port`.
    ///
    /// # Panics
    /// Nobody listens there.
    #[must_use]
    pub fn connect(port: u16) -> Self {
        let output = TcpStream::connect(("127.0.0.1", port)).expect("somebody listens there");
        output.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        output.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let _ = output.set_nodelay(true);
        let input = BufReader::new(output.try_clone().expect("a socket can be shared"));
        Self { input, output }
    }

    /// Sends bytes as they are; false if the peer does not take them any more.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.output.write_all(bytes).is_ok()
    }

    /// Reads the next head, informational ones too; `None` if the connection ended.
    ///
    /// # Panics
    /// Nothing came in time.
    pub fn head(&mut self) -> Option<Message> {
        match read_head(&mut self.input) {
            Ok(head) => head,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("no response came: {error}"),
            Err(_) => None,
        }
    }

    /// Reads the next final response with its body; `None` if the connection ended before it.
    ///
    /// # Panics
    /// Nothing came in time.
    pub fn response(&mut self, method: &str) -> Option<Message> {
        let mut informational = Vec::new();
        loop {
            let mut message = self.head()?;
            let status = message.status();
            if status < 200 {
                informational.push(status);
            } else {
                message.informational = informational;
                let without = method == "HEAD" || status == 204 || status == 304;
                if read_body(&mut self.input, &mut message, without, true).is_err() {
                    message.cut = true;
                }
                return Some(message);
            }
        }
    }

    /// Whether the peer closes the connection without another byte, and does so in time.
    pub fn closed_within(&mut self, patience: Duration) -> bool {
        let _ = self.output.set_read_timeout(Some(patience));
        let ended = match self.input.fill_buf() {
            Ok(rest) => rest.is_empty(),
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        };
        let _ = self.output.set_read_timeout(Some(PATIENCE));
        ended
    }

    /// A request without a body in a connection of its own.
    ///
    /// # Panics
    /// Nobody listens there, or nothing came in time.
    #[must_use]
    pub fn get(port: u16, path: &str) -> Option<Message> {
        let mut client = Self::connect(port);
        client.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").as_bytes());
        client.response("GET")
    }
}
