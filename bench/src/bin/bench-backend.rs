//! The backend of `make bench`: answers gRPC-shaped HTTP/2 requests by their path.
//!
//! `/bench.Bench/Unary` 64 bytes and trailers; `/bench.Bench/Stream` 1000 messages of 1 KiB and
//! trailers; `/bench.Bench/Body` 1 MiB.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use bench::{Peer, drive, listen, settings, tls};
use clap::Parser;
use codec::event::{Event, StreamId};
use codec::h2;
use codec::headers::HeaderBlock;
use codec::names::KnownName;

/// Answers gRPC-shaped HTTP/2 requests by their path.
#[derive(Parser)]
struct Arguments {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// Speak TLS and want a client's certificate; the files `bench-certificates` wrote there.
    #[arg(long)]
    tls: Option<PathBuf>,
}

#[derive(Clone, Copy)]
enum Shape {
    Unary,
    Stream,
    Body,
}

struct Backend {
    head: HeaderBlock,
    body_head: HeaderBlock,
    trailers: HeaderBlock,
    unary: Vec<u8>,
    stream: Vec<u8>,
    body: Vec<u8>,
}

impl Backend {
    fn new() -> Self {
        let mut head = HeaderBlock::new();
        head.set_status(200);
        head.append(KnownName::ContentType, b"application/grpc");
        let mut body_head = HeaderBlock::new();
        body_head.set_status(200);
        body_head.append(KnownName::ContentType, b"application/octet-stream");
        let mut trailers = HeaderBlock::new();
        trailers.append(KnownName::GrpcStatus, b"0");
        let message = |length: usize| {
            let mut message = vec![0];
            message.extend_from_slice(&(length as u32).to_be_bytes());
            message.resize(5 + length, b'x');
            message
        };
        Backend {
            head,
            body_head,
            trailers,
            unary: message(64),
            stream: message(1024),
            body: vec![b'x'; 1 << 20],
        }
    }

    fn answer(
        &self,
        codec: &mut h2::Connection,
        stream: StreamId,
        shape: Shape,
    ) -> Result<(), codec::event::SendError> {
        match shape {
            Shape::Unary => {
                codec.send_head(stream, &self.head, false)?;
                codec.send_data(stream, &self.unary, false)?;
                codec.send_trailers(stream, &self.trailers)
            }
            Shape::Stream => {
                codec.send_head(stream, &self.head, false)?;
                for _ in 0..1000 {
                    codec.send_data(stream, &self.stream, false)?;
                }
                codec.send_trailers(stream, &self.trailers)
            }
            Shape::Body => {
                codec.send_head(stream, &self.body_head, false)?;
                codec.send_data(stream, &self.body, true).map(|_| ())
            }
        }
    }
}

impl Peer for Backend {
    fn on_event(&mut self, codec: &mut h2::Connection, event: Event<'_>, _: Instant) {
        let finished = match event {
            Event::Head {
                stream,
                head,
                end_stream,
            } => {
                let shape = match head.path() {
                    Some(b"/bench.Bench/Stream") => Shape::Stream,
                    Some(b"/bench.Bench/Body") => Shape::Body,
                    _ => Shape::Unary,
                };
                codec.set_tag(stream, shape as u64);
                end_stream.then_some(stream)
            }
            Event::Data {
                stream,
                credit,
                end_stream,
                ..
            } => {
                codec.release_credit(stream, credit);
                end_stream.then_some(stream)
            }
            Event::Trailers { stream, .. } => Some(stream),
            _ => None,
        };
        if let Some(stream) = finished {
            let shape = match codec.tag(stream) {
                1 => Shape::Stream,
                2 => Shape::Body,
                _ => Shape::Unary,
            };
            // Refused only if the caller reset the stream, and then nobody waits for the answer.
            let _ = self.answer(codec, stream, shape);
        }
    }

    fn turn(&mut self, _: &mut h2::Connection, _: Instant) -> (Option<Instant>, bool) {
        (None, false)
    }
}

#[tokio::main(flavor = "local")]
async fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let listener = listen(arguments.listen)?;
    let settings = settings();
    let acceptor = arguments.tls.as_deref().map(tls::acceptor).transpose()?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let (settings, acceptor) = (settings.clone(), acceptor.clone());
        tokio::task::spawn_local(async move {
            let codec = || h2::Connection::server(&settings, Instant::now());
            let mut backend = Backend::new();
            // An error ends this one connection; its caller reports it.
            let _ = match acceptor {
                None => drive(socket, codec(), &mut backend).await,
                Some(acceptor) => match acceptor.accept(socket).await {
                    Ok(socket) => drive(socket, codec(), &mut backend).await,
                    Err(error) => Err(error),
                },
            };
        });
    }
}
