//! A connection to a management server counts in the statistics of its cluster, as any other connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use telemetry::stats::{Shard, cluster as stat};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use upstream::cluster::ClusterHandle;

/// Counts a connection for as long as it lives.
pub(super) struct Counted {
    cluster: Arc<ClusterHandle>,
    begun: Instant,
}

impl Counted {
    /// A connection that is about to be made.
    pub(super) fn new(cluster: &Arc<ClusterHandle>) -> Self {
        let stats = cluster.stats().local(Shard::CONTROL);
        stats.add(stat::UPSTREAM_CX_TOTAL, 1);
        stats.gauge_add(stat::UPSTREAM_CX_ACTIVE, 1);
        Self {
            cluster: Arc::clone(cluster),
            begun: Instant::now(),
        }
    }

    /// It could not be made.
    pub(super) fn failed(&self) {
        self.cluster
            .stats()
            .local(Shard::CONTROL)
            .add(stat::UPSTREAM_CX_CONNECT_FAIL, 1);
    }

    /// It is made, and carries HTTP/2 as gRPC does.
    pub(super) fn connected(self, stream: Box<dyn xds::Io>) -> Box<dyn xds::Io> {
        let stats = self.cluster.stats().local(Shard::CONTROL);
        stats.add(stat::UPSTREAM_CX_HTTP2_TOTAL, 1);
        stats.record(stat::UPSTREAM_CX_CONNECT_MS, milliseconds(self.begun));
        Box::new(CountedStream { stream, counted: self })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let stats = self.cluster.stats().local(Shard::CONTROL);
        stats.gauge_add(stat::UPSTREAM_CX_ACTIVE, -1);
        stats.add(stat::UPSTREAM_CX_DESTROY, 1);
        stats.record(stat::UPSTREAM_CX_LENGTH_MS, milliseconds(self.begun));
    }
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

struct CountedStream {
    stream: Box<dyn xds::Io>,
    counted: Counted,
}

impl CountedStream {
    fn count(&self, counter: telemetry::stats::Counter, bytes: usize) {
        let stats = self.counted.cluster.stats().local(Shard::CONTROL);
        stats.add(counter, bytes as u64);
    }
}

impl AsyncRead for CountedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.count(stat::UPSTREAM_CX_RX_BYTES_TOTAL, buffer.filled().len() - before);
        polled
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, data);
        if let Poll::Ready(Ok(written)) = &polled {
            self.count(stat::UPSTREAM_CX_TX_BYTES_TOTAL, *written);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
