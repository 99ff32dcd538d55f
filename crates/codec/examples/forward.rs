//! Forwards HTTP/2 without TLS, round robin over backends: the smallest proxy on this codec.
//!
//! ```text
//! cargo run --release -p codec --example forward -- --listen 127.0.0.1:8080 --backends 127.0.0.1:9001,127.0.0.1:9002 --workers 2
//! ```
//!
//! Each worker is a thread with its own runtime, its own SO_REUSEPORT socket and one connection to each backend. A
//! stream's tag names its counterpart, so that an event is passed on with one look-up. Everything a product adds
//! (routing, retries, timeouts, statistics) is missing on purpose.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use codec::event::{ErrorCode, Event, Scratch, StreamId};
use codec::h2::{Config, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// Reads of one turn before other connections get theirs.
const READS_PER_TURN: usize = 16;
/// Pause before a lost backend connection is made again.
const RECONNECT: Duration = Duration::from_millis(100);

/// A worker's connections.
#[derive(Default)]
struct Worker {
    connections: Vec<Option<Record>>,
    free: Vec<usize>,
    /// Position of each backend's connection, while there is one.
    backends: Vec<Option<usize>>,
    next_backend: usize,
}

/// Buffers lent to whichever connection is read.
struct Buffers {
    read: Vec<u8>,
    scratch: Scratch,
}

struct Record {
    codec: Connection,
    waker: Option<Waker>,
    scheduled: bool,
}

impl Record {
    fn wake(&mut self) {
        if !self.scheduled
            && let Some(waker) = &self.waker
        {
            self.scheduled = true;
            waker.wake_by_ref();
        }
    }
}

/// Names a stream of a connection of this worker. 0 is nobody: connection numbers begin at 1 here.
fn tag(connection: usize, stream: StreamId) -> u64 {
    (connection as u64 + 1) << 32 | u64::from(stream.0)
}

fn untag(tag: u64) -> Option<(usize, StreamId)> {
    let connection = (tag >> 32) as usize;
    Some((connection.checked_sub(1)?, StreamId(tag as u32)))
}

impl Worker {
    fn add(&mut self, codec: Connection) -> usize {
        let record = Record {
            codec,
            waker: None,
            scheduled: false,
        };
        match self.free.pop() {
            Some(at) => {
                self.connections[at] = Some(record);
                at
            }
            None => {
                self.connections.push(Some(record));
                self.connections.len() - 1
            }
        }
    }

    fn get(&mut self, at: usize) -> Option<&mut Record> {
        self.connections.get_mut(at)?.as_mut()
    }

    /// A backend connection with room for a stream, beginning with the one whose turn it is.
    fn pick(&mut self) -> Option<usize> {
        for _ in 0..self.backends.len() {
            self.next_backend = (self.next_backend + 1) % self.backends.len();
            if let Some(at) = self.backends[self.next_backend]
                && self.get(at).is_some_and(|record| record.codec.streams_available() > 0)
            {
                return Some(at);
            }
        }
        None
    }

    fn on_event(&mut self, at: usize, event: Event<'_>) {
        match event {
            Event::Head {
                stream,
                head,
                end_stream,
            } => {
                let peer = self.peer(at, stream).or_else(|| self.open(at, stream));
                match peer.and_then(|(peer, peer_stream)| Some((self.get(peer)?, peer_stream))) {
                    Some((peer, peer_stream)) => {
                        // Refused only if the stream has gone, which its own event tells.
                        let _ = peer.codec.send_head(peer_stream, head, end_stream);
                        peer.wake();
                    }
                    None => self.refuse(at, stream),
                }
            }
            Event::Data {
                stream,
                data,
                credit,
                end_stream,
            } => {
                let mut passed = credit as usize;
                if let Some((peer, peer_stream)) = self.peer(at, stream)
                    && let Some(peer) = self.get(peer)
                {
                    passed -= data.len();
                    passed += peer
                        .codec
                        .send_data(peer_stream, data, end_stream)
                        .unwrap_or(data.len());
                    peer.wake();
                }
                self.release(at, stream, passed);
            }
            Event::Trailers { stream, trailers } => {
                if let Some((peer, peer_stream)) = self.peer(at, stream)
                    && let Some(peer) = self.get(peer)
                {
                    let _ = peer.codec.send_trailers(peer_stream, trailers);
                    peer.wake();
                }
            }
            Event::Informational { stream, head } => {
                if let Some((peer, peer_stream)) = self.peer(at, stream)
                    && let Some(peer) = self.get(peer)
                {
                    let _ = peer.codec.send_informational(peer_stream, head);
                    peer.wake();
                }
            }
            Event::Sent { stream, bytes } => {
                if let Some((peer, peer_stream)) = self.peer(at, stream) {
                    self.release(peer, peer_stream, bytes);
                }
            }
            Event::Reset { stream, reason } => {
                if let Some((peer, peer_stream)) = self.peer(at, stream)
                    && let Some(peer) = self.get(peer)
                {
                    peer.codec.reset(peer_stream, reason.code);
                    peer.wake();
                }
            }
            Event::Goaway { .. } => {
                if let Some(backend) = self.backends.iter_mut().find(|backend| **backend == Some(at)) {
                    *backend = None;
                }
            }
            _ => {}
        }
    }

    /// The other half of a stream.
    fn peer(&mut self, at: usize, stream: StreamId) -> Option<(usize, StreamId)> {
        untag(self.get(at)?.codec.tag(stream))
    }

    fn open(&mut self, at: usize, stream: StreamId) -> Option<(usize, StreamId)> {
        let backend = self.pick()?;
        let record = self.get(backend)?;
        let backend_stream = record.codec.open_stream().ok()?;
        record.codec.set_tag(backend_stream, tag(at, stream));
        self.get(at)?.codec.set_tag(stream, tag(backend, backend_stream));
        Some((backend, backend_stream))
    }

    fn refuse(&mut self, at: usize, stream: StreamId) {
        if let Some(record) = self.get(at) {
            record.codec.reset(stream, ErrorCode::REFUSED_STREAM);
        }
    }

    fn release(&mut self, at: usize, stream: StreamId, bytes: usize) {
        if bytes > 0
            && let Some(record) = self.get(at)
        {
            record.codec.release_credit(stream, bytes as u32);
            record.wake();
        }
    }
}

type Shared = Rc<(RefCell<Worker>, RefCell<Buffers>)>;

/// The task of one connection: reads until the socket is drained, hands events on, writes once.
async fn drive(shared: &Shared, at: usize, mut socket: TcpStream) {
    poll_fn(|context| turn(shared, at, &mut socket, context)).await;
    let mut worker = shared.0.borrow_mut();
    let mut buffers = shared.1.borrow_mut();
    let now = Instant::now();
    while let Some(record) = worker.get(at)
        && let Ok(Some(event)) = record.codec.end_of_input(&mut buffers.scratch, now)
    {
        worker.on_event(at, event);
    }
    for backend in &mut worker.backends {
        if *backend == Some(at) {
            *backend = None;
        }
    }
    worker.connections[at] = None;
    worker.free.push(at);
}

fn turn(shared: &Shared, at: usize, socket: &mut TcpStream, context: &mut Context<'_>) -> Poll<()> {
    let mut worker = shared.0.borrow_mut();
    let mut buffers = shared.1.borrow_mut();
    let Buffers { read, scratch } = &mut *buffers;
    let now = Instant::now();
    if let Some(record) = worker.get(at) {
        record.scheduled = true;
        record.waker = Some(context.waker().clone());
    }
    for reads in 0.. {
        if reads == READS_PER_TURN {
            context.waker().wake_by_ref();
            break;
        }
        let mut target = ReadBuf::new(read);
        match Pin::new(&mut *socket).poll_read(context, &mut target) {
            Poll::Pending => break,
            Poll::Ready(Ok(())) if target.filled().is_empty() => return Poll::Ready(()),
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Ready(Ok(())) => {
                let mut input = target.filled();
                while let Some(record) = worker.get(at) {
                    match record.codec.receive(&mut input, scratch, now) {
                        Ok(Some(event)) => worker.on_event(at, event),
                        Ok(None) => break,
                        // The GOAWAY that says why still goes out below.
                        Err(_) => break,
                    }
                }
            }
        }
    }
    flush(&mut worker, at, scratch, socket, context)
}

fn flush(
    worker: &mut Worker,
    at: usize,
    scratch: &mut Scratch,
    socket: &mut TcpStream,
    context: &mut Context<'_>,
) -> Poll<()> {
    loop {
        let Some(record) = worker.get(at) else {
            return Poll::Ready(());
        };
        let mut blocked = false;
        while !record.codec.output().is_empty() {
            match Pin::new(&mut *socket).poll_write(context, record.codec.output()) {
                Poll::Ready(Ok(count)) => record.codec.advance_output(count),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {
                    blocked = true;
                    break;
                }
            }
        }
        let mut progressed = false;
        while let Some(record) = worker.get(at)
            && let Some(event) = record.codec.next_event(scratch)
        {
            progressed = true;
            worker.on_event(at, event);
        }
        let Some(record) = worker.get(at) else {
            return Poll::Ready(());
        };
        if record.codec.is_closed() {
            return Poll::Ready(());
        }
        if blocked || !progressed {
            record.scheduled = false;
            return Poll::Pending;
        }
    }
}

/// Keeps one connection to a backend.
async fn reach(shared: Shared, config: Arc<Config>, index: usize, address: SocketAddr) {
    loop {
        if let Ok(socket) = TcpStream::connect(address).await {
            let _ = socket.set_nodelay(true);
            let at = {
                let mut worker = shared.0.borrow_mut();
                let at = worker.add(Connection::client(&config, Instant::now()));
                worker.backends[index] = Some(at);
                at
            };
            drive(&shared, at, socket).await;
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn serve(listen: SocketAddr, backends: Vec<SocketAddr>) -> io::Result<()> {
    // Streams are limited by the backends; windows are chosen for memory.
    let config = Arc::new(Config {
        max_concurrent_streams: 100_000,
        initial_stream_window_size: 256 * 1024,
        initial_connection_window_size: 1024 * 1024,
        ..Config::default()
    });
    let worker = Worker {
        backends: vec![None; backends.len()],
        ..Worker::default()
    };
    let buffers = Buffers {
        read: vec![0; 64 * 1024],
        scratch: Scratch::new(),
    };
    let shared: Shared = Rc::new((RefCell::new(worker), RefCell::new(buffers)));
    for (index, address) in backends.into_iter().enumerate() {
        tokio::task::spawn_local(reach(shared.clone(), config.clone(), index, address));
    }
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(listen)?;
    let listener = socket.listen(4096)?;
    loop {
        let (socket, _) = listener.accept().await?;
        let _ = socket.set_nodelay(true);
        let at = shared.0.borrow_mut().add(Connection::server(&config, Instant::now()));
        let shared = shared.clone();
        tokio::task::spawn_local(async move { drive(&shared, at, socket).await });
    }
}

struct Arguments {
    listen: SocketAddr,
    backends: Vec<SocketAddr>,
    workers: usize,
}

fn arguments() -> Result<Arguments, String> {
    let mut listen = None;
    let mut backends = Vec::new();
    let mut workers = 1;
    let mut rest = env::args().skip(1);
    while let Some(name) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("{name} wants a value"))?;
        let invalid = |error: &dyn std::fmt::Display| format!("{name} {value}: {error}");
        match name.as_str() {
            "--listen" => listen = Some(value.parse().map_err(|error| invalid(&error))?),
            "--backends" => {
                for address in value.split(',') {
                    backends.push(address.parse().map_err(|error| invalid(&error))?);
                }
            }
            "--workers" => workers = value.parse().map_err(|error| invalid(&error))?,
            _ => return Err(format!("unknown option {name}")),
        }
    }
    match listen {
        Some(listen) if !backends.is_empty() => Ok(Arguments {
            listen,
            backends,
            workers,
        }),
        _ => Err("usage: forward --listen ADDR --backends ADDR,ADDR [--workers N]".to_owned()),
    }
}

fn main() -> io::Result<()> {
    let Arguments {
        listen,
        backends,
        workers,
    } = arguments().map_err(|message| io::Error::new(io::ErrorKind::InvalidInput, message))?;
    let run = move |backends: Vec<SocketAddr>| -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())?;
        runtime.block_on(serve(listen, backends))
    };
    let mut threads = Vec::new();
    for _ in 0..workers {
        let backends = backends.clone();
        threads.push(thread::spawn(move || run(backends)));
    }
    for thread in threads {
        thread.join().map_err(|_| io::Error::other("a worker panicked"))??;
    }
    Ok(())
}
