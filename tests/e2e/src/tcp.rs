//! Plain TCP callers and backends, for what is not HTTP.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

/// What a backend does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Sends back what it receives, and `bye` after the caller's end.
    Echo,
    /// Sends its name and ends at once, then reads to the caller's end.
    Greet(&'static str),
    /// Reads a little and resets.
    Reset,
    /// Reads to the caller's end, then says how much it was.
    Count,
}

/// Starts a backend on 127.0.0.1 and returns its port. Its threads end with the test's process.
///
/// # Panics
/// There is no port.
#[must_use]
pub fn backend(behaviour: Behaviour) -> u16 {
    let listener: TcpListener = testkit::ports::listener();
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream, behaviour));
        }
    });
    port
}

fn serve(mut stream: TcpStream, behaviour: Behaviour) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    match behaviour {
        Behaviour::Echo => {
            loop {
                match stream.read(&mut buffer)? {
                    0 => break,
                    length => stream.write_all(&buffer[..length])?,
                }
            }
            stream.write_all(b"bye")
        }
        Behaviour::Greet(name) => {
            stream.write_all(name.as_bytes())?;
            stream.shutdown(Shutdown::Write)?;
            while stream.read(&mut buffer)? > 0 {}
            Ok(())
        }
        Behaviour::Reset => {
            // Bytes that were not read make the close a reset.
            let mut one = [0];
            stream.read_exact(&mut one)?;
            Ok(())
        }
        Behaviour::Count => {
            let mut total = 0;
            loop {
                match stream.read(&mut buffer)? {
                    0 => break,
                    length => total += length,
                }
            }
            stream.write_all(format!("{total} bytes").as_bytes())
        }
    }
}

/// What a caller does after it has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Ends its half and reads to the end.
    End,
    /// Reads to the end, and then ends its half.
    Wait,
    /// Reads one answer and closes.
    One,
}

/// Connects, sends the pieces one after the other, and returns what came back and how it ended.
///
/// # Panics
/// Nothing listens on the port, or it takes longer than 10 seconds.
#[must_use]
pub fn exchange(port: u16, pieces: &[&[u8]], then: Then) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the proxy listens");
    stream.set_nodelay(true).expect("it is a TCP socket");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("the time is not zero");
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 {
            // Only so that the pieces are seen one by one; whatever is seen, the outcome is the same.
            std::thread::sleep(Duration::from_millis(20));
        }
        if stream.write_all(piece).is_err() {
            return "cut".to_owned();
        }
    }
    if then == Then::End && stream.shutdown(Shutdown::Write).is_err() {
        return "cut".to_owned();
    }
    let mut answer = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return format!("{} end", shown(&answer)),
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
            // A proxy that closes may reset: bytes it never read make the close one. Which it is depends on time.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return format!("{} end", shown(&answer)),
            Err(error) => panic!("{error} after {}", shown(&answer)),
        }
        if then == Then::One {
            return shown(&answer);
        }
    }
}

fn shown(answer: &[u8]) -> String {
    if answer.len() > 100 {
        return format!("{} bytes", answer.len());
    }
    format!("{:?}", String::from_utf8_lossy(answer))
}

/// A ClientHello as small as can be: enough for those who only look at it.
#[must_use]
pub fn client_hello(server_name: Option<&str>, alpn: &[&str]) -> Vec<u8> {
    let with_length = |length: usize, bytes: &[u8]| {
        let prefix = u32::try_from(bytes.len()).expect("it is short").to_be_bytes();
        [&prefix[4 - length..], bytes].concat()
    };
    let extension = |kind: u16, body: &[u8]| [kind.to_be_bytes().to_vec(), with_length(2, body)].concat();
    let mut extensions = Vec::new();
    if let Some(name) = server_name {
        let entry = [vec![0], with_length(2, name.as_bytes())].concat();
        extensions.extend(extension(0, &with_length(2, &entry)));
    }
    if !alpn.is_empty() {
        let names: Vec<u8> = alpn.iter().flat_map(|name| with_length(1, name.as_bytes())).collect();
        extensions.extend(extension(16, &with_length(2, &names)));
    }
    // supported_versions: TLS 1.3.
    extensions.extend(extension(43, &[2, 3, 4]));
    let body = [
        vec![3, 3],
        vec![7; 32],
        vec![0],
        with_length(2, &[0x13, 0x01]),
        vec![1, 0],
        with_length(2, &extensions),
    ]
    .concat();
    let message = [vec![1], with_length(3, &body)].concat();
    let records = message.chunks(8 * 1024);
    records
        .flat_map(|part| [vec![22, 3, 1], with_length(2, part)].concat())
        .collect()
}
