//! Two connections talk to each other over pipes that cut and delay at random: nothing is lost, nothing is left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;

use super::script::*;
use crate::event::{ErrorCode, Event, Scratch, StreamId};
use crate::h2::{Config, Connection};

/// xorshift: the same seed gives the same run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// What one side has seen and still has to say on a stream.
#[derive(Default)]
struct Talk {
    to_send: Vec<u8>,
    trailers: bool,
    head_sent: bool,
    done: bool,
    received: Vec<u8>,
    ended: bool,
    reset: bool,
    /// Delivered octets whose credit is kept back for a while.
    owed: u32,
    queued: usize,
}

struct End {
    connection: Connection,
    scratch: Scratch,
    talks: BTreeMap<u32, Talk>,
    server: bool,
    heads: usize,
    /// Longest content: small windows take many rounds.
    longest: usize,
}

fn content(stream: u32, length: usize, server: bool) -> Vec<u8> {
    (0..length)
        .map(|n| (n as u32 * 31 + stream * 7 + u32::from(server)) as u8)
        .collect()
}

impl End {
    fn handle(&mut self, mut input: &[u8], now: Instant, random: &mut Random) {
        loop {
            let event = match self.connection.receive(&mut input, &mut self.scratch, now) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => panic!("{error}"),
            };
            match event {
                Event::Head { stream, end_stream, .. } => {
                    self.heads += 1;
                    let talk = self.talks.entry(stream.0).or_default();
                    talk.ended |= end_stream;
                    if self.server {
                        talk.to_send = content(stream.0, random.below(self.longest), true);
                        talk.trailers = random.below(2) == 0;
                    }
                }
                Event::Data {
                    stream,
                    data,
                    credit,
                    end_stream,
                } => {
                    let talk = self.talks.get_mut(&stream.0).unwrap();
                    talk.received.extend_from_slice(data);
                    talk.owed += credit;
                    talk.ended |= end_stream;
                }
                Event::Trailers { stream, .. } => self.talks.get_mut(&stream.0).unwrap().ended = true,
                Event::Reset { stream, .. } => self.talks.get_mut(&stream.0).unwrap().reset = true,
                Event::Sent { stream, bytes } => self.talks.get_mut(&stream.0).unwrap().queued -= bytes,
                _ => {}
            }
        }
    }

    /// Says a random piece of something, or gives credit back.
    fn act(&mut self, random: &mut Random, resets: bool) {
        let keys: Vec<u32> = self.talks.keys().copied().collect();
        if keys.is_empty() {
            return;
        }
        let id = keys[random.below(keys.len())];
        let stream = StreamId(id);
        let talk = self.talks.get_mut(&id).unwrap();
        let release = random.below(talk.owed as usize + 1) as u32;
        self.connection.release_credit(stream, release);
        talk.owed -= release;
        if talk.done || talk.reset {
            return;
        }
        if resets && random.below(40) == 0 {
            self.connection.reset(stream, ErrorCode::CANCEL);
            talk.reset = true;
            return;
        }
        if !talk.head_sent {
            talk.head_sent = true;
            let head = header_block(if self.server { OK } else { POST });
            self.connection.send_head(stream, &head, false).unwrap();
            return;
        }
        let count = random.below(talk.to_send.len() + 1);
        let rest = talk.to_send.split_off(count);
        let piece = std::mem::replace(&mut talk.to_send, rest);
        let last = talk.to_send.is_empty();
        let sent = self
            .connection
            .send_data(stream, &piece, last && !talk.trailers)
            .unwrap();
        talk.queued += piece.len() - sent;
        if last {
            if talk.trailers {
                self.connection
                    .send_trailers(stream, &header_block(&[("t", "1")]))
                    .unwrap();
            }
            talk.done = true;
        }
    }
}

fn converse(seed: u64, resets: bool) {
    let mut random = Random(seed | 1);
    let now = Instant::now();
    let window = [10, 1_000, 65_535, 1 << 20][random.below(4)];
    let longest = (window as usize * 100).min(100_000);
    let config = Arc::new(Config {
        initial_stream_window_size: window,
        initial_connection_window_size: [65_535, 1 << 20][random.below(2)],
        max_concurrent_streams: 5,
        limits: crate::h2::Limits {
            max_inbound_window_update_frames_per_data_frame_sent: 1_000,
            ..crate::h2::Limits::default()
        },
        ..Config::default()
    });
    let new = |connection, server| End {
        connection,
        scratch: Scratch::new(),
        talks: BTreeMap::new(),
        server,
        heads: 0,
        longest,
    };
    let mut client = new(Connection::client(&config, now), false);
    let mut server = new(Connection::server(&config, now), true);
    let total = 12;
    let mut opened = 0;
    for round in 0.. {
        assert!(
            round < 400_000,
            "no end in sight: opened {opened}, {:?}",
            [&client, &server].map(|end| (
                end.connection.active_streams(),
                end.connection.queued_bytes(),
                end.connection.output().len(),
                end.talks
                    .iter()
                    .filter(|(_, t)| !(t.reset || (t.done && t.ended && t.owed == 0)))
                    .map(|(id, t)| (*id, t.done, t.ended, t.owed, t.queued, t.to_send.len()))
                    .collect::<Vec<_>>(),
            ))
        );
        if opened < total
            && random.below(4) == 0
            && let Ok(stream) = client.connection.open_stream()
        {
            let to_send = content(stream.0, random.below(longest), false);
            client.connection.send_head(stream, &header_block(POST), false).unwrap();
            let talk = Talk {
                to_send,
                trailers: random.below(2) == 0,
                head_sent: true,
                ..Talk::default()
            };
            client.talks.insert(stream.0, talk);
            opened += 1;
        }
        client.act(&mut random, resets);
        server.act(&mut random, resets);
        let (from, to) = if random.below(2) == 0 {
            (&mut client, &mut server)
        } else {
            (&mut server, &mut client)
        };
        let count = random.below(from.connection.output().len() + 1);
        let bytes = from.connection.output()[..count].to_vec();
        from.connection.advance_output(count);
        to.handle(&bytes, now, &mut random);
        from.handle(b"", now, &mut random);
        let quiet = |end: &End| {
            end.talks
                .values()
                .all(|talk| talk.reset || (talk.done && talk.ended && talk.owed == 0))
                && !end.connection.wants_write()
                && end.connection.active_streams() == 0
        };
        if opened == total && quiet(&client) && quiet(&server) {
            break;
        }
    }
    for (end, other) in [(&client, &server), (&server, &client)] {
        assert_eq!(end.connection.queued_bytes(), 0);
        for (id, talk) in &end.talks {
            let expected = content(*id, talk.received.len(), other.server);
            assert!(talk.received == expected, "stream {id}: content differs");
            if !resets {
                assert!(talk.ended && talk.queued == 0);
            }
        }
    }
    if !resets {
        assert_eq!((client.heads, server.heads), (total, total));
        for end in [&mut client, &mut server] {
            end.connection
                .on_deadline(now + std::time::Duration::from_secs(2))
                .unwrap();
            assert_eq!(end.connection.heap_bytes(), 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_connections_lose_nothing(seed in any::<u64>()) {
        converse(seed, false);
    }

    #[test]
    fn two_connections_survive_resets_and_leak_nothing(seed in any::<u64>()) {
        converse(seed, true);
    }
}
