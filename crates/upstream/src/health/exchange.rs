//! One HTTP request and its answer on a connection of its own, HTTP/1.1 or HTTP/2, by the proxy's own codec.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use codec::event::{ConnectionError, Event, Scratch, StreamId};
use codec::headers::HeaderBlock;
use codec::{Connection, h1, h2};

use telemetry::stats::{Block, Shard};

use super::link::{Link, LinkError};

/// A connection that speaks HTTP.
pub(super) struct HttpLink {
    link: Link,
    http: Box<Connection>,
    /// Lent to the codec; a health check is too rare to share it with others.
    scratch: Scratch,
    input: Vec<u8>,
    /// What the codec counts.
    stats: Arc<Block>,
}

/// An answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Pseudo-headers and fields.
    pub(super) head: HeaderBlock,
    /// As much of the body as was asked for.
    pub(super) body: Vec<u8>,
    /// Trailers; empty if there were none.
    pub(super) trailers: HeaderBlock,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum ExchangeError {
    Link(LinkError),
    Codec(ConnectionError),
    Reset(codec::event::ErrorCode),
    /// The connection takes no (more) requests.
    Refused,
    Closed,
}

impl HttpLink {
    /// Speaks HTTP/1.1. `stats` is the block `http1.` of the cluster.
    pub(super) fn http1(link: Link, stats: Arc<Block>) -> Self {
        Self::new(
            link,
            stats,
            Connection::h1_client(&Arc::new(h1::Config::default()), Instant::now()),
        )
    }

    /// Speaks HTTP/2, without asking whether the other side does. `stats` is the block `http2.` of the cluster.
    pub(super) fn http2(link: Link, stats: Arc<Block>) -> Self {
        Self::new(
            link,
            stats,
            Connection::h2_client(&Arc::new(h2::Config::default()), Instant::now()),
        )
    }

    fn new(link: Link, stats: Arc<Block>, http: Connection) -> Self {
        Self {
            link,
            http: Box::new(http),
            scratch: Scratch::new(),
            input: Vec::new(),
            stats,
        }
    }

    /// Whether it can take another request: reads what came since the last one, which may be the end.
    pub(super) async fn is_reusable(&mut self) -> bool {
        let Ok(true) = self.link.receive_available(&mut self.input).await else {
            return false;
        };
        let mut nothing = Answer::default();
        if self.process(None, &mut nothing, 0).is_err() || self.flush().await.is_err() {
            return false;
        }
        !self.is_draining()
    }

    /// Whether it takes no more requests.
    pub(super) fn is_draining(&self) -> bool {
        self.http.is_draining() || self.http.is_closed()
    }

    /// Sends a request and waits for its whole answer; of the body at most `body_limit` bytes are kept.
    pub(super) async fn request(
        &mut self,
        head: &HeaderBlock,
        body: Option<&[u8]>,
        body_limit: usize,
    ) -> Result<Answer, ExchangeError> {
        let stream = self.send_request(head, body)?;
        let mut answer = Answer::default();
        loop {
            self.flush().await?;
            let open = self.link.receive(&mut self.input).await?;
            if self.process(Some(stream), &mut answer, body_limit)? {
                // Window updates and acknowledgements that are due.
                self.flush().await?;
                return Ok(answer);
            }
            if !open {
                return if self.end_of_input(stream, &mut answer, body_limit)? {
                    Ok(answer)
                } else {
                    Err(ExchangeError::Closed)
                };
            }
        }
    }

    fn send_request(&mut self, head: &HeaderBlock, body: Option<&[u8]>) -> Result<StreamId, ExchangeError> {
        let stream = self.http.open_stream().map_err(|_| ExchangeError::Refused)?;
        self.http
            .send_head(stream, head, body.is_none())
            .map_err(|_| ExchangeError::Refused)?;
        if let Some(body) = body {
            self.http
                .send_data(stream, body, true)
                .map_err(|_| ExchangeError::Refused)?;
        }
        Ok(stream)
    }

    async fn flush(&mut self) -> Result<(), LinkError> {
        while self.http.wants_write() {
            let n = self.http.output().len();
            self.link.send(self.http.output()).await?;
            self.http.advance_output(n);
        }
        Ok(())
    }

    /// Takes what came in. Whether the answer on `stream` is complete.
    fn process(
        &mut self,
        stream: Option<StreamId>,
        answer: &mut Answer,
        body_limit: usize,
    ) -> Result<bool, ExchangeError> {
        let Self {
            http, scratch, input, ..
        } = self;
        let mut rest = &input[..];
        let now = Instant::now();
        let mut complete = false;
        while let Some(event) = http.receive(&mut rest, scratch, now)? {
            complete |= answer.take(event, stream, body_limit, http)?;
        }
        input.clear();
        Ok(complete)
    }

    /// The other side closed: an HTTP/1.1 body may end that way.
    fn end_of_input(
        &mut self,
        stream: StreamId,
        answer: &mut Answer,
        body_limit: usize,
    ) -> Result<bool, ExchangeError> {
        let Self { http, scratch, .. } = self;
        let now = Instant::now();
        let mut complete = false;
        while let Some(event) = http.end_of_input(scratch, now)? {
            complete |= answer.take(event, Some(stream), body_limit, http)?;
        }
        Ok(complete)
    }
}

impl Drop for HttpLink {
    fn drop(&mut self) {
        let is_h2 = self.http.is_h2();
        crate::codec_stats::add(&self.http.take_stats(), is_h2, self.stats.local(Shard::CONTROL));
    }
}

impl Answer {
    /// Takes one event. Whether it completes the answer.
    fn take(
        &mut self,
        event: Event<'_>,
        wanted: Option<StreamId>,
        body_limit: usize,
        http: &mut Connection,
    ) -> Result<bool, ExchangeError> {
        match event {
            Event::Head {
                stream,
                head,
                end_stream,
            } if Some(stream) == wanted => {
                self.head.copy_from(head);
                Ok(end_stream)
            }
            Event::Data {
                stream,
                data,
                credit,
                end_stream,
            } => {
                http.release_credit(stream, credit);
                let room = body_limit.saturating_sub(self.body.len());
                self.body.extend_from_slice(&data[..data.len().min(room)]);
                Ok(end_stream && Some(stream) == wanted)
            }
            Event::Trailers { stream, trailers } if Some(stream) == wanted => {
                self.trailers.copy_from(trailers);
                Ok(true)
            }
            Event::Reset { stream, reason } if Some(stream) == wanted => Err(ExchangeError::Reset(reason.code)),
            Event::Goaway { last_stream, .. } if wanted.is_some_and(|wanted| wanted > last_stream) => {
                Err(ExchangeError::Refused)
            }
            _ => Ok(false),
        }
    }
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(error) => error.fmt(f),
            Self::Codec(error) => error.fmt(f),
            Self::Reset(code) => write!(f, "the stream was reset with {code}"),
            Self::Refused => f.write_str("the connection takes no requests"),
            Self::Closed => f.write_str("the connection was closed before the answer was complete"),
        }
    }
}

impl From<LinkError> for ExchangeError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl From<ConnectionError> for ExchangeError {
    fn from(error: ConnectionError) -> Self {
        Self::Codec(error)
    }
}
