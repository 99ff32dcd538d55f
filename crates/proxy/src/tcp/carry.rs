//! Moving the bytes of a carried connection, both ways, until it ends.

use config::access_log::AccessLogType;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use telemetry::access_log::ResponseFlag;
use telemetry::stats::{listener as listener_stat, tcp as stat};

use super::Session;
use super::connect::Upstream;
use super::leg::{Broken, Leg, Received};
use crate::worker::Buffers;

/// Reads of one turn in one direction before other tasks get theirs: 1 MiB at most.
const READS_PER_TURN: usize = 16;

/// Which side ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Downstream,
    Upstream,
}

/// What a turn found out about the connection as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Open,
    /// Both sides are done; the one that ended last.
    Done(Side),
    /// A side broke: what the other has still to send is sent.
    Broke(Side),
}

/// Carries until both sides are done, one breaks, or time is up.
pub(super) async fn carry(session: &mut Session, downstream: Leg, upstream: Upstream) {
    let config = std::sync::Arc::clone(&session.proxy.config);
    let mut carrier = Carrier {
        limit: session.counted.buffer_limit(),
        downstream,
        upstream,
        last_activity: session.began.max(Instant::now()),
        idle: config.idle_timeout,
        ends_at: config
            .max_downstream_connection_duration
            .map(|limit| session.began + limit),
        log_every: config.access_log_flush_interval,
        log_at: config
            .access_log_flush_interval
            .map(|interval| Instant::now() + interval),
        broken: None,
        paused: false,
        ended_last: Side::Downstream,
    };
    // Later than anything: it is set before it is first waited for.
    let sleep = tokio::time::sleep_until((Instant::now() + Duration::from_secs(86_400)).into());
    let mut sleep = std::pin::pin!(sleep);
    let mut armed: Option<Instant> = None;
    std::future::poll_fn(|context| {
        if let Poll::Ready(()) = carrier.poll(session, context) {
            return Poll::Ready(());
        }
        let now = session.now();
        if carrier.times_out(session, now) {
            return Poll::Ready(());
        }
        // A timer that fires early is looked at and set again, so only an earlier one is moved.
        let Some(next) = carrier.next_deadline(session) else {
            return Poll::Pending;
        };
        let is_new = armed.is_none_or(|armed| next < armed);
        if is_new {
            sleep.as_mut().reset(next.into());
            armed = Some(next);
        }
        // Asked only when it may say something new: a turn of a busy connection does without.
        let may_be_due = is_new || armed.is_some_and(|armed| armed <= now);
        if may_be_due && std::future::Future::poll(sleep.as_mut(), context).is_ready() {
            armed = None;
            context.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
}

/// Both sides.
struct Carrier {
    downstream: Leg,
    upstream: Upstream,
    /// Most bytes read at a time (`per_connection_buffer_limit_bytes`).
    limit: usize,
    last_activity: Instant,
    idle: Option<Duration>,
    ends_at: Option<Instant>,
    log_every: Option<Duration>,
    log_at: Option<Instant>,
    broken: Option<Side>,
    /// The caller is not read since the endpoint does not take its bytes.
    paused: bool,
    /// Whose end was passed on last.
    ended_last: Side,
}

impl Carrier {
    fn poll(&mut self, session: &mut Session, context: &mut Context<'_>) -> Poll<()> {
        let cell = std::rc::Rc::clone(&session.cell);
        {
            let mut worker = cell.worker.borrow_mut();
            worker.begin_turn();
            if let Some(tunnel) = worker.tunnels.get_mut(session.key) {
                match &mut tunnel.waker {
                    Some(waker) if waker.will_wake(context.waker()) => {}
                    waker => *waker = Some(context.waker().clone()),
                }
            }
        }
        let mut buffers = cell.buffers.borrow_mut();
        let turn = self.turn(session, &mut buffers, context);
        match turn {
            Turn::Open => Poll::Pending,
            Turn::Done(last) => {
                self.upstream.ended_by_endpoint(last == Side::Upstream);
                Poll::Ready(())
            }
            Turn::Broke(side) => {
                self.broken = Some(side);
                self.upstream.ended_by_endpoint(side == Side::Upstream);
                self.finish_other(side, &mut buffers, context)
            }
        }
    }

    fn turn(&mut self, session: &mut Session, buffers: &mut Buffers, context: &mut Context<'_>) -> Turn {
        if let Some(side) = self.broken {
            return Turn::Broke(side);
        }
        let (shard, now) = (session.shard, session.now());
        let stats = session.proxy.stats.local(shard);
        let upstream = &mut self.upstream.leg;

        let sent = pass(&mut self.downstream, upstream, buffers, self.limit, shard, context);
        if session.record.peer_identity.is_none()
            && let Some(tls) = self.downstream.tls()
        {
            session.record.peer_identity = tls.peer_identity().cloned();
        }
        if sent.bytes > 0 {
            self.last_activity = now;
            session.record.bytes_received += sent.bytes;
            stats.add(stat::DOWNSTREAM_CX_RX_BYTES_TOTAL, sent.bytes);
            self.upstream.count_sent(sent.bytes);
        }
        if sent.is_held && !self.paused {
            stats.add(stat::DOWNSTREAM_FLOW_CONTROL_PAUSED_READING_TOTAL, 1);
        } else if self.paused && !sent.is_held {
            stats.add(stat::DOWNSTREAM_FLOW_CONTROL_RESUMED_READING_TOTAL, 1);
        }
        self.paused = sent.is_held;
        let upstream = &mut self.upstream.leg;
        let answered = pass(upstream, &mut self.downstream, buffers, self.limit, shard, context);
        if answered.bytes > 0 {
            self.last_activity = now;
            session.record.bytes_sent += answered.bytes;
            stats.add(stat::DOWNSTREAM_CX_TX_BYTES_TOTAL, answered.bytes);
            self.upstream.count_received(answered.bytes);
        }
        if sent.ended_now {
            self.ended_last = Side::Downstream;
        }
        if answered.ended_now {
            self.ended_last = Side::Upstream;
        }
        let upstream = &mut self.upstream.leg;
        // Handshakes and key updates of the side that was read last.
        let flushed = upstream.flush(&mut buffers.ciphertext, context);
        let record = &mut session.record;
        let mut broke = |outcome: Option<(bool, Broken)>, from: Side, to: Side| {
            let (is_source, error) = outcome?;
            tracing::debug!(target: "connection", %error, "a carried connection broke");
            let side = if is_source { from } else { to };
            // As Envoy has it, a reset by the endpoint is a fault and one by the caller is not.
            if side == Side::Upstream && error.is_reset() {
                record.flags.push(ResponseFlag::UpstreamRemoteReset);
            }
            Some(side)
        };
        if let Some(side) = broke(sent.broken, Side::Downstream, Side::Upstream)
            .or(broke(answered.broken, Side::Upstream, Side::Downstream))
            .or(flushed.is_err().then_some(Side::Upstream))
        {
            return Turn::Broke(side);
        }
        if self.downstream.output_ended() && self.upstream.leg.output_ended() {
            return Turn::Done(self.ended_last);
        }
        Turn::Open
    }

    /// One side broke: the other still gets what was read from it before.
    fn finish_other(&mut self, broken: Side, buffers: &mut Buffers, context: &mut Context<'_>) -> Poll<()> {
        let (gone, other) = match broken {
            Side::Downstream => (&mut self.downstream, &mut self.upstream.leg),
            Side::Upstream => (&mut self.upstream.leg, &mut self.downstream),
        };
        // An alert that TLS made of its failure goes out, if it can at once.
        let _ = gone.flush(&mut buffers.ciphertext, context);
        other.end();
        match other.flush(&mut buffers.ciphertext, context) {
            Ok(false) => Poll::Pending,
            Ok(true) | Err(_) => Poll::Ready(()),
        }
    }

    /// Whether time is up, which is counted and said in the log.
    fn times_out(&mut self, session: &mut Session, now: Instant) -> bool {
        let stats = session.proxy.stats.local(session.shard);
        if self.ends_at.is_some_and(|at| at <= now) {
            stats.add(stat::MAX_DOWNSTREAM_CONNECTION_DURATION, 1);
            session.record.flags.push(ResponseFlag::DurationTimeout);
            return true;
        }
        if self.idle.is_some_and(|idle| self.last_activity + idle <= now) {
            stats.add(stat::IDLE_TIMEOUT, 1);
            return true;
        }
        if session.close_at().is_some_and(|at| at <= now) {
            return true;
        }
        if self.handshake_deadline(session).is_some_and(|at| at <= now) {
            session
                .counted
                .count(listener_stat::DOWNSTREAM_CX_TRANSPORT_SOCKET_CONNECT_TIMEOUT);
            return true;
        }
        if self.log_at.is_some_and(|at| at <= now) {
            self.log_at = self.log_every.map(|interval| now + interval);
            session.log(AccessLogType::TcpPeriodic);
        }
        false
    }

    /// When the caller's handshake must be done, while it is not.
    fn handshake_deadline(&self, session: &Session) -> Option<Instant> {
        let is_pending = self.downstream.tls().is_some_and(|tls| tls.is_handshaking());
        session.handshake_deadline.filter(|_| is_pending)
    }

    fn next_deadline(&self, session: &Session) -> Option<Instant> {
        let idle = self.idle.map(|idle| self.last_activity + idle);
        [
            idle,
            self.ends_at,
            self.log_at,
            session.close_at(),
            self.handshake_deadline(session),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// What became of one direction in one turn.
struct Passed {
    bytes: u64,
    /// The end of the input was passed on in this turn.
    ended_now: bool,
    /// The receiver does not take what was read.
    is_held: bool,
    /// What broke: the source if true, else the receiver.
    broken: Option<(bool, Broken)>,
}

/// Passes on what `from` has, until it has nothing or `to` takes no more.
fn pass(
    from: &mut Leg,
    to: &mut Leg,
    buffers: &mut Buffers,
    limit: usize,
    shard: telemetry::stats::Shard,
    context: &mut Context<'_>,
) -> Passed {
    let mut passed = Passed {
        bytes: 0,
        ended_now: false,
        is_held: false,
        broken: None,
    };
    for _ in 0..READS_PER_TURN {
        match to.flush(&mut buffers.ciphertext, context) {
            Ok(true) => {}
            Ok(false) => {
                passed.is_held = true;
                return passed;
            }
            Err(error) => {
                passed.broken = Some((false, error.into()));
                return passed;
            }
        }
        if to.output_ended() {
            return passed;
        }
        // A side whose own handshake is not done is read all the same: the handshake is in what it sends.
        if !to.takes_data() && from.tls().is_none_or(|tls| tls.is_established()) {
            return passed;
        }
        let received = match from.receive(buffers, limit, shard, context) {
            Ok(received) => received,
            Err(error) => {
                passed.broken = Some((true, error));
                return passed;
            }
        };
        let Buffers {
            read,
            plaintext,
            ciphertext,
            ..
        } = buffers;
        let data: &[u8] = match received {
            Received::Blocked => return passed,
            Received::Plain(length) => &read[..length],
            Received::Decrypted => plaintext,
            Received::Ended => &[],
        };
        let sent = if data.is_empty() {
            Ok(())
        } else {
            to.send(data, ciphertext, context)
        };
        passed.bytes += data.len() as u64;
        if let Err(error) = sent {
            passed.broken = Some((false, error));
            return passed;
        }
        if from.input_ended() {
            to.end();
            passed.ended_now = true;
            // As for an error in flushing: the next turn sees it.
            let _ = to.flush(ciphertext, context);
            return passed;
        }
    }
    context.waker().wake_by_ref();
    passed
}
