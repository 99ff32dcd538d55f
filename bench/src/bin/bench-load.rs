//! The load generator of `make bench`: HTTP/2 with or without TLS, closed loop or paced, and a report in JSON.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bench::{Peer, connect, drive, settings, tls};
use clap::{Parser, ValueEnum};
use codec::event::Event;
use codec::h2;
use codec::headers::HeaderBlock;
use codec::names::KnownName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Sends gRPC-shaped requests and reports counts and latencies as JSON.
#[derive(Parser)]
struct Arguments {
    /// Where to connect.
    #[arg(long)]
    target: SocketAddr,
    /// Connections.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Requests in flight on each connection.
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// Seconds to run.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Requests a second over all connections; 0 sends the next as soon as one is answered.
    #[arg(long, default_value_t = 0)]
    pace: u64,
    /// What to ask for.
    #[arg(long, value_enum, default_value = "unary")]
    shape: Shape,
    /// Open the connections, send one request on each, then hold them idle.
    #[arg(long)]
    idle: bool,
    /// Make a new connection for each request, so many at a time.
    #[arg(long)]
    reconnect: bool,
    /// Speak TLS and present a certificate; the files `bench-certificates` wrote there.
    #[arg(long)]
    tls: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Shape {
    /// A 64-byte message each way.
    Unary,
    /// The same with twelve more headers (1.1 KiB).
    Headers,
    /// A thousand messages of 1 KiB from the server.
    Stream,
    /// A 1 MiB answer.
    Body,
}

struct Plan {
    head: HeaderBlock,
    message: Vec<u8>,
    streams: usize,
    until: Instant,
    /// Time between two requests of one connection, when paced.
    interval: Option<Duration>,
    idle: bool,
    reconnect: bool,
    target: SocketAddr,
    tls: Option<TlsConnector>,
}

#[derive(Default)]
struct Tally {
    requests: u64,
    errors: u64,
    bytes: u64,
    /// Microseconds.
    latencies: Vec<u32>,
}

struct Caller {
    plan: Rc<Plan>,
    tally: Tally,
    in_flight: usize,
    /// With `reconnect`: the connection has had its request.
    asked: bool,
    next: Instant,
    epoch: Instant,
}

impl Caller {
    fn ask(&mut self, codec: &mut h2::Connection, now: Instant) -> bool {
        let Ok(stream) = codec.open_stream() else {
            return false;
        };
        // Where connections are measured, the handshake counts.
        let started = if self.plan.reconnect { self.next } else { now };
        codec.set_tag(stream, started.duration_since(self.epoch).as_micros() as u64);
        if codec.send_head(stream, &self.plan.head, false).is_err()
            || codec.send_data(stream, &self.plan.message, true).is_err()
        {
            self.tally.errors += 1;
            return false;
        }
        self.in_flight += 1;
        true
    }

    fn answered(&mut self, started: u64, now: Instant, ok: bool) {
        self.in_flight -= 1;
        if ok {
            self.tally.requests += 1;
        } else {
            self.tally.errors += 1;
        }
        let taken = (now.duration_since(self.epoch).as_micros() as u64).saturating_sub(started);
        self.tally.latencies.push(u32::try_from(taken).unwrap_or(u32::MAX));
    }
}

impl Peer for Caller {
    fn on_event(&mut self, codec: &mut h2::Connection, event: Event<'_>, now: Instant) {
        match event {
            Event::Head {
                stream,
                head,
                end_stream,
            } => {
                let ok =
                    head.status() == Some(200) && head.get(KnownName::GrpcStatus).is_none_or(|status| status == b"0");
                if !ok {
                    self.tally.errors += 1;
                }
                if end_stream {
                    self.answered(codec.tag(stream), now, ok);
                }
            }
            Event::Data {
                stream,
                data,
                credit,
                end_stream,
            } => {
                self.tally.bytes += data.len() as u64;
                codec.release_credit(stream, credit);
                if end_stream {
                    self.answered(codec.tag(stream), now, true);
                }
            }
            Event::Trailers { stream, trailers } => {
                let ok = trailers.get(KnownName::GrpcStatus) == Some(b"0");
                self.answered(codec.tag(stream), now, ok);
            }
            Event::Reset { stream, .. } => self.answered(codec.tag(stream), now, false),
            _ => {}
        }
    }

    fn turn(&mut self, codec: &mut h2::Connection, now: Instant) -> (Option<Instant>, bool) {
        let plan = Rc::clone(&self.plan);
        if plan.reconnect {
            if self.asked {
                return (Some(now + Duration::from_secs(5)), self.in_flight == 0);
            }
            self.asked = self.ask(codec, now);
            return (Some(now + Duration::from_secs(5)), false);
        }
        if now >= plan.until {
            return (
                Some(now + Duration::from_secs(5)),
                self.in_flight == 0 || now > plan.until + Duration::from_secs(4),
            );
        }
        if plan.idle {
            if self.tally.requests == 0 && self.in_flight == 0 {
                self.ask(codec, now);
            }
            return (Some(plan.until), false);
        }
        match plan.interval {
            None => {
                while self.in_flight < plan.streams && self.ask(codec, now) {}
                (Some(plan.until), false)
            }
            Some(interval) => {
                while self.next <= now && self.in_flight < 10_000 && self.ask(codec, now) {
                    self.next += interval;
                }
                (Some(self.next.min(plan.until)), false)
            }
        }
    }
}

fn head(arguments: &Arguments) -> HeaderBlock {
    let mut head = HeaderBlock::new();
    head.set_method(b"POST");
    head.set_scheme(if arguments.tls.is_some() { b"https" } else { b"http" });
    head.set_path(match arguments.shape {
        Shape::Unary | Shape::Headers => b"/bench.Bench/Unary",
        Shape::Stream => b"/bench.Bench/Stream",
        Shape::Body => b"/bench.Bench/Body",
    });
    head.set_authority(b"bench.example:50051");
    head.append(KnownName::ContentType, b"application/grpc");
    head.append(KnownName::Te, b"trailers");
    head.append(KnownName::UserAgent, b"bench-load/1");
    if arguments.shape == Shape::Headers {
        for n in 0..12 {
            let name = format!("x-bench-header-{n:02}");
            let value = format!("{n:02}-{}", "abcdefgh/0123456789".repeat(4));
            head.append(name.as_bytes(), &value.as_bytes()[..72]);
        }
    }
    head
}

/// A connection, with or without TLS.
enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects, handshake included.
async fn open(plan: &Plan) -> io::Result<Socket> {
    let socket = connect(plan.target).await?;
    match &plan.tls {
        None => Ok(Socket::Plain(socket)),
        Some(connector) => Ok(Socket::Tls(Box::new(tls::connect(connector, socket).await?))),
    }
}

/// Drives one connection to its end.
async fn call(socket: Socket, settings: &Arc<h2::Config>, caller: &mut Caller) -> io::Result<()> {
    let codec = h2::Connection::client(settings, Instant::now());
    match socket {
        Socket::Plain(socket) => drive(socket, codec, caller).await,
        Socket::Tls(socket) => drive(socket, codec, caller).await,
    }
}

#[tokio::main(flavor = "local")]
async fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let epoch = Instant::now();
    let mut message = vec![0, 0, 0, 0, 64];
    message.resize(5 + 64, b'x');
    let plan = Rc::new(Plan {
        head: head(&arguments),
        message,
        streams: arguments.streams,
        until: epoch + Duration::from_secs_f64(arguments.seconds),
        interval: (arguments.pace > 0)
            .then(|| Duration::from_secs_f64(arguments.connections as f64 / arguments.pace as f64)),
        idle: arguments.idle,
        reconnect: arguments.reconnect,
        target: arguments.target,
        tls: arguments.tls.as_deref().map(tls::connector).transpose()?,
    });
    let settings = settings();
    let mut callers = Vec::new();
    for n in 0..arguments.connections {
        let plan = Rc::clone(&plan);
        let settings = settings.clone();
        // Connections are made in turn unless that is what is measured: listeners need not bear a burst.
        let mut socket = if plan.reconnect { None } else { Some(open(&plan).await?) };
        callers.push(tokio::task::spawn_local(async move {
            let now = Instant::now();
            let offset = plan.interval.unwrap_or_default().mul_f64(n as f64 / 64.0);
            let mut caller = Caller {
                plan: Rc::clone(&plan),
                tally: Tally::default(),
                in_flight: 0,
                asked: false,
                next: now + offset,
                epoch,
            };
            loop {
                let begun = Instant::now();
                if plan.reconnect {
                    caller.next = begun;
                }
                let outcome = match socket.take() {
                    Some(socket) => call(socket, &settings, &mut caller).await,
                    None => match open(&plan).await {
                        Ok(socket) => call(socket, &settings, &mut caller).await,
                        Err(error) => Err(error),
                    },
                };
                if outcome.is_err() {
                    caller.tally.errors += 1 + caller.in_flight as u64;
                }
                if !plan.reconnect || Instant::now() >= plan.until {
                    return caller.tally;
                }
                if outcome.is_err() {
                    // A target that refuses is not to be asked in a tight loop.
                    tokio::time::sleep_until((begun + Duration::from_millis(10)).into()).await;
                }
                caller.in_flight = 0;
                caller.asked = false;
            }
        }));
    }
    let mut total = Tally::default();
    for caller in callers {
        if let Ok(tally) = caller.await {
            total.requests += tally.requests;
            total.errors += tally.errors;
            total.bytes += tally.bytes;
            total.latencies.extend(tally.latencies);
        }
    }
    let seconds = epoch.elapsed().as_secs_f64();
    total.latencies.sort_unstable();
    let percentile = |p: f64| {
        let at = (total.latencies.len() as f64 * p) as usize;
        total
            .latencies
            .get(at.min(total.latencies.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0)
    };
    let report = serde_json::json!({
        "requests": total.requests, "errors": total.errors, "bytes": total.bytes, "seconds": seconds,
        "p50_us": percentile(0.50), "p99_us": percentile(0.99),
    });
    writeln!(io::stdout(), "{report}")
}
