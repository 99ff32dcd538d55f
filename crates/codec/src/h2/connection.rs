//! The connection: what it holds, how it begins, and what its owner can ask.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::adaptive::Measurement;
use super::config::Config;
use super::drain::Drain;
use super::ending::RecentResets;
use super::error::Violation;
use super::frame::{self, DEFAULT_WINDOW, MAX_31};
use super::keepalive::KeepaliveState;
use super::limits::Counters;
use super::output::Output;
use super::recv::Reading;
use super::recv_headers::Block;
use super::settings::{self, PeerSettings};
use super::stream::Stream;
use super::streams::Streams;
use crate::event::{Event, OpenError, ResetReason, Scratch, StreamId};
use crate::hpack;
use crate::stats::Stats;

/// Streams assumed to be available until the peer's SETTINGS say (RFC 9113 section 6.5.2 recommends no less).
const STREAMS_BEFORE_SETTINGS: u32 = 100;
/// A time that does not come.
pub(super) const NEVER: u64 = u64::MAX;

/// An HTTP/2 connection, as server or as client.
#[derive(Debug)]
pub struct Connection {
    pub(super) config: Arc<Config>,
    pub(super) server: bool,
    /// The latest rule broken on a stream.
    pub(super) last_violation: Option<Violation>,
    /// Set once: the connection is over, GOAWAY is in the output.
    pub(super) failed: Option<Violation>,
    pub(super) reading: Reading,
    /// Octets of a frame header that came in pieces.
    pub(super) header: [u8; frame::HEADER_LEN],
    pub(super) header_len: u8,
    /// Whether the peer's first SETTINGS have come.
    pub(super) greeted: bool,
    /// Our SETTINGS that have not been acknowledged.
    pub(super) settings_unacknowledged: bool,
    /// `StreamsAvailable` is wanted: `open_stream` was refused for lack of one.
    pub(super) wants_stream: bool,
    /// Payload of a frame other than DATA that came in pieces; freed once it is complete.
    pub(super) partial: Vec<u8>,
    /// Header block that came in several frames; freed once it is complete.
    pub(super) block: Option<Box<Block>>,
    pub(super) decoder: hpack::Decoder,
    pub(super) encoder: hpack::Encoder,
    pub(super) streams: Streams,
    /// Streams that count against the limit of concurrent streams.
    pub(super) active: u32,
    /// Highest identifier in use: of the peer's streams at a server, of ours at a client.
    pub(super) last_id: u32,
    /// Highest identifier a client has sent a head on.
    pub(super) last_sent_id: u32,
    /// The latest identifiers that were skipped, and so closed without having been used: (above, below).
    pub(super) skipped: (u32, u32),
    /// Streams we reset while the peer could still send.
    pub(super) resets: Option<Box<RecentResets>>,
    /// Highest identifier dropped from `resets`; frames up to it can't be told from late ones any more.
    pub(super) forgotten_reset: u32,
    pub(super) peer: PeerSettings,
    pub(super) output: Output,
    /// Octets the peer lets us send on the connection.
    pub(super) send_window: i32,
    /// Octets we let the peer send on the connection.
    pub(super) recv_window: i32,
    /// How that window grows, where it may.
    pub(super) adaptive: Option<Box<Measurement>>,
    /// Octets given back on the connection that no WINDOW_UPDATE has announced yet.
    pub(super) credit: u32,
    /// Streams with queued data whose own window is open, in turn; the connection's window or the output is not.
    pub(super) ready: VecDeque<u32>,
    /// Entries of `ready` whose stream is gone.
    pub(super) stale_ready: u32,
    /// Octets of data that all streams have queued: no more than credit was given for to their sources.
    pub(super) queued: u32,
    /// Events that do not come from the input at hand.
    pub(super) pending: VecDeque<Pending>,
    /// The stream of the event returned last, and its tag.
    pub(super) last_event: u32,
    pub(super) last_tag: u64,
    pub(super) counters: Counters,
    pub(super) stats: Stats,
    /// The latest time told, in milliseconds since the connection began, as are the times below.
    pub(super) now: u64,
    /// When the next millisecond begins.
    tick: Instant,
    /// When the last octets came in.
    pub(super) last_input: u64,
    /// Since when a frame or header block has been incomplete, or `NEVER`.
    pub(super) incomplete_since: u64,
    /// Until when our SETTINGS must be acknowledged, or `NEVER`.
    pub(super) settings_deadline: u64,
    pub(super) stalls: Stalls,
    /// Some stream may have a time of its own to flush what is queued.
    pub(super) has_flush_limits: bool,
    pub(super) keepalive: Option<Box<KeepaliveState>>,
    pub(super) drain: Drain,
}

/// When to look next whether queued data moves at all.
#[derive(Debug)]
pub(super) struct Stalls {
    pub(super) check_at: u64,
    /// Octets written at the last look at the output.
    pub(super) flushed: u64,
}

/// An event that waits for `next_event` or `receive`.
#[derive(Debug)]
pub(super) enum Pending {
    Sent { stream: u32, tag: u64, bytes: usize },
    Reset { stream: u32, tag: u64, reason: ResetReason },
    StreamsAvailable,
    Closed,
}

impl Connection {
    /// The server's end of a connection that was just accepted. Its SETTINGS are in the output.
    pub fn server(config: &Arc<Config>, now: Instant) -> Self {
        Self::new(config, true, now)
    }

    /// The client's end of a connection that was just established. Preface and SETTINGS are in the output.
    pub fn client(config: &Arc<Config>, now: Instant) -> Self {
        Self::new(config, false, now)
    }

    fn new(config: &Arc<Config>, server: bool, now: Instant) -> Self {
        let mut output = Output::new();
        if !server {
            output.frame().extend_from_slice(frame::PREFACE);
        }
        settings::write_local(output.control_frame(), config, server);
        let window = config.initial_connection_window_size.clamp(DEFAULT_WINDOW, MAX_31);
        if window > DEFAULT_WINDOW {
            frame::write_u32(output.frame(), frame::WINDOW_UPDATE, 0, window - DEFAULT_WINDOW);
        }
        let mut encoder = hpack::Encoder::new(config.hpack_table_size as usize);
        encoder.set_huffman(config.enable_huffman_encoding);
        Self {
            server,
            last_violation: None,
            failed: None,
            reading: if server {
                Reading::Preface { matched: 0 }
            } else {
                Reading::Header
            },
            header: [0; frame::HEADER_LEN],
            header_len: 0,
            greeted: false,
            settings_unacknowledged: true,
            wants_stream: false,
            partial: Vec::new(),
            block: None,
            // Until the peer acknowledges it knows only the initial table size, which it may use.
            decoder: hpack::Decoder::new(config.hpack_table_size.max(4096) as usize),
            encoder,
            streams: Streams::new(),
            active: 0,
            last_id: 0,
            last_sent_id: 0,
            skipped: (0, 0),
            resets: None,
            forgotten_reset: 0,
            peer: PeerSettings::default(),
            output,
            send_window: DEFAULT_WINDOW as i32,
            recv_window: window as i32,
            adaptive: config
                .max_connection_window_size
                .map(|limit| Box::new(Measurement::new(window, limit))),
            credit: 0,
            ready: VecDeque::new(),
            stale_ready: 0,
            queued: 0,
            has_flush_limits: false,
            pending: VecDeque::new(),
            last_event: 0,
            last_tag: 0,
            counters: Counters::default(),
            stats: Stats::default(),
            now: 0,
            tick: now + Duration::from_millis(1),
            last_input: 0,
            incomplete_since: NEVER,
            settings_deadline: NEVER,
            stalls: Stalls {
                check_at: NEVER,
                flushed: 0,
            },
            keepalive: config
                .keepalive
                .as_ref()
                .map(|keepalive| Box::new(KeepaliveState::new(keepalive, now))),
            drain: Drain::No,
            config: Arc::clone(config),
        }
    }

    /// Opens a stream at a client and returns its identifier. Heads must be sent in the order the streams were opened
    /// (RFC 9113 section 5.1.1): send the head right away.
    ///
    /// # Errors
    /// [`OpenError`] says whether to wait for `StreamsAvailable` or to use another connection.
    pub fn open_stream(&mut self) -> Result<StreamId, OpenError> {
        if self.server {
            return Err(OpenError::Server);
        }
        if self.failed.is_some() {
            return Err(OpenError::Closed);
        }
        if self.is_draining() {
            return Err(OpenError::Draining);
        }
        let id = if self.last_id == 0 { 1 } else { self.last_id + 2 };
        if id > MAX_31 {
            return Err(OpenError::IdsExhausted);
        }
        if self.streams_available() == 0 {
            self.wants_stream = true;
            return Err(OpenError::Busy);
        }
        self.ping_if_idle();
        self.last_id = id;
        self.insert(id);
        Ok(StreamId(id))
    }

    /// Adds the record of a new stream and returns its slot.
    #[inline]
    pub(super) fn insert(&mut self, id: u32) -> u32 {
        let send_window = self.peer.initial_window_size as i32;
        let recv_window = self.local_initial_window();
        self.active += 1;
        self.counters.streams_opened = self.counters.streams_opened.saturating_add(1);
        let started = self.milliseconds();
        self.streams.insert(Stream::new(id, send_window, recv_window, started))
    }

    /// The window new streams give the peer. Before it has acknowledged our SETTINGS it may still believe in the
    /// initial value (RFC 9113 section 6.9.2), if that is larger.
    #[inline]
    pub(super) fn local_initial_window(&self) -> i32 {
        let configured = self.config.initial_stream_window_size.min(MAX_31);
        if self.settings_unacknowledged {
            configured.max(DEFAULT_WINDOW) as i32
        } else {
            configured as i32
        }
    }

    /// How many streams a client can open now.
    #[must_use]
    pub fn streams_available(&self) -> usize {
        if self.server || self.failed.is_some() || self.is_draining() {
            return 0;
        }
        let peer = match self.peer.max_concurrent_streams {
            Some(limit) => limit,
            None if self.greeted => u32::MAX,
            None => STREAMS_BEFORE_SETTINGS,
        };
        self.config.max_concurrent_streams.min(peer).saturating_sub(self.active) as usize
    }

    /// Streams that are open or half-closed.
    #[must_use]
    pub fn active_streams(&self) -> usize {
        self.active as usize
    }

    /// The peer's settings in force.
    #[must_use]
    pub fn peer_settings(&self) -> &PeerSettings {
        &self.peer
    }

    /// Attaches the caller's own key to a stream; does nothing if the stream is gone.
    #[inline]
    pub fn set_tag(&mut self, stream: StreamId, tag: u64) {
        if let Some(slot) = self.streams.find(stream.0) {
            self.streams.get_mut(slot).tag = tag;
        }
        if self.last_event == stream.0 {
            self.last_tag = tag;
        }
    }

    /// The key `set_tag` attached, 0 if none. The stream of the event returned last keeps its tag until the next
    /// event, also if that event ended it.
    #[inline]
    #[must_use]
    pub fn tag(&self, stream: StreamId) -> u64 {
        if self.last_event == stream.0 {
            return self.last_tag;
        }
        self.streams.find(stream.0).map_or(0, |slot| self.streams.get(slot).tag)
    }

    /// What waits to be written to the transport.
    #[inline]
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.output.pending()
    }

    /// Whether to read from the transport: until the connection is over.
    #[inline]
    #[must_use]
    pub fn wants_read(&self) -> bool {
        self.failed.is_none()
    }

    /// Whether anything waits to be written.
    #[inline]
    #[must_use]
    pub fn wants_write(&self) -> bool {
        !self.output.is_empty()
    }

    /// Takes note that the first `count` octets of the output were written. Data that waited for room follows; see
    /// `next_event` for what has moved.
    #[inline]
    pub fn advance_output(&mut self, count: usize) {
        self.output.advance(count);
        if !self.ready.is_empty() {
            self.pump();
        }
        if self.output.is_empty() && self.is_finished() {
            self.push_closed();
        }
    }

    /// Octets ever produced into the output.
    #[must_use]
    pub fn output_total(&self) -> u64 {
        self.output.produced()
    }

    /// Octets of the output ever written, as told by `advance_output`.
    #[must_use]
    pub fn output_flushed(&self) -> u64 {
        self.output.flushed()
    }

    /// Octets `send_data` took that wait for flow control or room in the output.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued as usize
    }

    /// Why a stream was refused or ended, or the connection, for the latest of these: for logs, as a request that is
    /// malformed from its head on is never reported as an event.
    #[must_use]
    pub fn last_violation(&self) -> Option<&'static str> {
        self.failed.or(self.last_violation).map(Violation::text)
    }

    /// The counters since the connection began, or since the last [`Connection::take_stats`].
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Returns the counters and starts again from 0.
    pub fn take_stats(&mut self) -> Stats {
        std::mem::take(&mut self.stats)
    }

    /// An event that arose without input: data that left, streams that ended, room for streams. Call until `None`
    /// after `advance_output`, `on_deadline` and commands; `receive` returns them as well.
    #[inline]
    pub fn next_event(&mut self, _scratch: &mut Scratch) -> Option<Event<'static>> {
        if self.pending.is_empty() {
            return None;
        }
        self.pop_pending()
    }

    pub(super) fn pop_pending(&mut self) -> Option<Event<'static>> {
        let pending = self.pending.pop_front()?;
        if self.pending.is_empty() && self.pending.capacity() > 64 {
            self.pending = VecDeque::new();
        }
        Some(match pending {
            Pending::Sent { stream, tag, bytes } => {
                (self.last_event, self.last_tag) = (stream, tag);
                Event::Sent {
                    stream: StreamId(stream),
                    bytes,
                }
            }
            Pending::Reset { stream, tag, reason } => {
                (self.last_event, self.last_tag) = (stream, tag);
                Event::Reset {
                    stream: StreamId(stream),
                    reason,
                }
            }
            Pending::StreamsAvailable => Event::StreamsAvailable,
            Pending::Closed => Event::Closed,
        })
    }

    /// Takes note of the time, which never goes back.
    #[inline]
    pub(super) fn tell_time(&mut self, now: Instant) {
        // Mostly the same time is told over and over.
        if now >= self.tick {
            self.advance_time(now);
        }
    }

    #[cold]
    fn advance_time(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.tick);
        let milliseconds = 1 + elapsed.as_secs() * 1000 + u64::from(elapsed.subsec_millis());
        self.now += milliseconds;
        self.tick += Duration::from_millis(milliseconds);
    }

    /// Milliseconds since the connection began, for differences: they wrap after 49 days.
    #[inline]
    pub(super) fn milliseconds(&self) -> u32 {
        self.now as u32
    }

    /// The time `milliseconds` after the beginning.
    pub(super) fn at(&self, milliseconds: u64) -> Instant {
        let begin = self.tick - Duration::from_millis(1);
        match milliseconds.checked_sub(self.now) {
            Some(later) => begin + Duration::from_millis(later),
            None => begin - Duration::from_millis(self.now - milliseconds),
        }
    }

    /// Octets this connection holds on the heap, HPACK tables left out: for tests and memory accounting.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.streams.heap_bytes()
            + self.output.heap_bytes()
            + self.partial.capacity()
            + self
                .block
                .as_ref()
                .map_or(0, |block| size_of::<Block>() + block.bytes.capacity())
            + self.resets.as_ref().map_or(0, |resets| size_of_val(&**resets))
            + self.ready.capacity() * size_of::<u32>()
            + self.pending.capacity() * size_of::<Pending>()
            + self.keepalive.as_ref().map_or(0, |_| size_of::<KeepaliveState>())
            + self.queued_bytes()
    }
}
