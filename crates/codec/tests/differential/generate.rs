//! Scripts of frames: mostly right, sometimes not, always the same for the same seed.

use std::fmt;

/// xorshift64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % limit.max(1) as u64) as usize
    }

    /// True in `percent` of all cases.
    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// What one peer sends.
pub(crate) struct Script {
    server: bool,
    frames: Vec<Vec<u8>>,
    methods: Vec<&'static str>,
}

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

type Field = (String, String);

fn field(name: &str, value: &str) -> Field {
    (name.to_owned(), value.to_owned())
}

impl Script {
    /// What a client (`server`: the receiver is one) or a server might send.
    pub(crate) fn generate(random: &mut Random, server: bool) -> Self {
        let methods = if server {
            Vec::new()
        } else {
            (0..4).map(|_| random.pick(&["GET", "GET", "HEAD"])).collect()
        };
        let mut script = Self {
            server,
            frames: Vec::new(),
            methods,
        };
        let mut writer = Writer {
            next: 1,
            open: Vec::new(),
            server,
        };
        script.frames.push(frame(4, 0, 0, &[]));
        script.frames.push(frame(4, 1, 0, &[]));
        for _ in 0..2 + random.below(10) {
            let frames = writer.act(random);
            script.frames.extend(frames);
        }
        if random.chance(10) {
            // One octet of one frame is damaged: of its header, or of a payload without fields. Its length stays, as a
            // frame that never ends tells nothing.
            let at = 2 + random.below(script.frames.len() - 2);
            if let Some(frame) = script.frames.get_mut(at) {
                let end = if matches!(frame[3], 1 | 9) { 9 } else { frame.len() };
                frame[3 + random.below(end - 3)] ^= 1 << random.below(8);
            }
        }
        script
    }

    /// Methods of the requests a client has sent before.
    pub(crate) fn requests(&self) -> &[&'static str] {
        &self.methods
    }

    /// The preface, then each frame.
    pub(crate) fn pieces(&self) -> Vec<Vec<u8>> {
        let preface: &[u8] = if self.server {
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        } else {
            b""
        };
        std::iter::once(preface.to_vec())
            .chain(self.frames.iter().cloned())
            .collect()
    }

    /// Whether the last frame is a part of a header block that is to be continued.
    pub(crate) fn ends_within_a_block(&self) -> bool {
        let last = self.frames.last();
        last.is_some_and(|frame| matches!(frame[3], 1 | 9) && frame[4] & END_HEADERS == 0)
    }

    /// The payloads of HEADERS frames, each with those of its CONTINUATION frames.
    pub(crate) fn blocks(&self) -> Vec<Vec<u8>> {
        let mut blocks: Vec<Vec<u8>> = Vec::new();
        for frame in &self.frames {
            match (frame[3], blocks.last_mut()) {
                (1, _) => blocks.push(frame[9..].to_vec()),
                (9, Some(block)) => block.extend_from_slice(&frame[9..]),
                _ => {}
            }
        }
        blocks
    }

    pub(crate) fn has_goaway(&self) -> bool {
        self.frames.iter().any(|frame| frame[3] == 7)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.pieces().concat()
    }
}

impl fmt::Display for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for frame in &self.frames[2..] {
            let length = usize::from(frame[0]) << 16 | usize::from(frame[1]) << 8 | usize::from(frame[2]);
            let payload = String::from_utf8_lossy(&frame[9..]).escape_debug().to_string();
            let kinds = [
                "DATA", "HEADERS", "PRIORITY", "RST", "SETTINGS", "PUSH", "PING", "GOAWAY", "WINDOW", "CONT",
            ];
            let kind = kinds.get(usize::from(frame[3])).copied().unwrap_or("unknown");
            let stream = u32::from_be_bytes(frame[5..9].try_into().unwrap());
            writeln!(
                formatter,
                "  {kind} {:#x} stream {stream} length {length} {payload:.160}",
                frame[4]
            )?;
        }
        write!(formatter, "  {:?}", self.methods)
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

struct Writer {
    next: u32,
    open: Vec<u32>,
    server: bool,
}

impl Writer {
    fn act(&mut self, random: &mut Random) -> Vec<Vec<u8>> {
        match random.below(20) {
            0..=6 => self.head(random),
            7..=11 => self.data(random),
            12 | 13 => self.trailers(random),
            14 => {
                let stream = if random.chance(50) { 0 } else { self.stream(random) };
                let increment = random.pick(&[1_u32, 100, 65_535, 65_535, 0, 0x7fff_ffff]);
                vec![frame(8, 0, stream, &increment.to_be_bytes())]
            }
            15 => vec![frame(
                3,
                0,
                self.stream(random),
                &(random.below(16) as u32).to_be_bytes(),
            )],
            16 => {
                let (id, value) = random.pick(&[
                    (1_u16, 0_u32),
                    (1, 4096),
                    (3, 10),
                    (4, 0),
                    (4, 65_535),
                    (5, 16_384),
                    (0x99, 7),
                    (4, 1 << 31),
                    (2, 2),
                    (5, 5),
                    (6, 100),
                ]);
                vec![frame(
                    4,
                    0,
                    0,
                    &[&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat(),
                )]
            }
            17 => vec![frame(
                6,
                random.pick(&[0, 0, 1]),
                random.pick(&[0, 0, 0, 1]),
                b"12345678",
            )],
            18 => vec![frame(
                2,
                0,
                self.stream(random),
                &(random.below(5) as u64 + 0x6400).to_be_bytes()[3..],
            )],
            _ => match random.below(4) {
                0 => vec![frame(random.pick(&[0x10, 0xfa]), 0xff, self.stream(random), b"unknown")],
                1 => vec![frame(9, END_HEADERS, self.stream(random), b"")],
                2 => vec![frame(5, END_HEADERS, self.stream(random), &[0, 0, 0, 2, 0x82])],
                _ => vec![frame(random.pick(&[3, 6, 8, 2]), 0, self.stream(random), &[0; 3])],
            },
        }
    }

    /// A stream that is, was, or is not yet open.
    fn stream(&mut self, random: &mut Random) -> u32 {
        if self.open.is_empty() || random.chance(8) {
            return random.pick(&[0, 1, 2, 3, self.next, self.next + 2]);
        }
        self.open[random.below(self.open.len())]
    }

    fn head(&mut self, random: &mut Random) -> Vec<Vec<u8>> {
        let stream = if random.chance(6) {
            self.stream(random)
        } else if self.server {
            let stream = self.next;
            self.next += random.pick(&[2, 2, 2, 4]);
            stream
        } else {
            // Four requests wait for their responses.
            let stream = self.next.min(7);
            self.next += 2;
            stream
        };
        self.open.push(stream);
        let mut fields = if self.server { request(random) } else { response(random) };
        for _ in 0..random.below(3) {
            fields.push(regular(random));
        }
        if random.chance(12) {
            let at = random.below(fields.len() + 1);
            let odd = odd(random);
            fields.insert(at, odd);
        }
        if random.chance(4) {
            fields.remove(random.below(fields.len()));
        }
        let flags = random_flag(random, 40);
        block(random, stream, &fields, flags)
    }

    fn trailers(&mut self, random: &mut Random) -> Vec<Vec<u8>> {
        let stream = self.stream(random);
        let mut fields = vec![regular(random)];
        if random.chance(10) {
            fields.push(odd(random));
        }
        let flags = random_flag(random, 92);
        block(random, stream, &fields, flags)
    }

    fn data(&mut self, random: &mut Random) -> Vec<Vec<u8>> {
        let stream = self.stream(random);
        let length = random.pick(&[0, 1, 5, 5, 100]);
        let mut payload: Vec<u8> = (0..length).map(|n| b'a' + (n % 26) as u8).collect();
        let mut flags = random_flag(random, 35);
        if random.chance(15) {
            flags |= PADDED;
            let padding = random.below(5);
            payload.insert(0, if random.chance(8) { 200 } else { padding as u8 });
            payload.extend(vec![0; padding]);
        }
        vec![frame(0, flags, stream, &payload)]
    }
}

fn random_flag(random: &mut Random, percent: usize) -> u8 {
    if random.chance(percent) { END_STREAM } else { 0 }
}

fn request(random: &mut Random) -> Vec<Field> {
    let method = random.pick(&["GET", "POST", "OPTIONS", "HEAD", "X-OWN"]);
    let path = random.pick(&["/", "/a/b?c=d", "/%20", "/index.html"]);
    vec![
        field(":method", method),
        field(":scheme", random.pick(&["http", "https"])),
        field(":path", path),
        field(":authority", random.pick(&["a", "example.com:80", "[::1]:8080"])),
    ]
}

fn response(random: &mut Random) -> Vec<Field> {
    vec![field(
        ":status",
        random.pick(&["200", "200", "204", "304", "404", "503", "100", "103"]),
    )]
}

fn regular(random: &mut Random) -> Field {
    random
        .pick(&[
            ("content-type", "application/grpc"),
            ("x", ""),
            ("te", "trailers"),
            ("grpc-status", "0"),
            ("cookie", "a=b"),
            ("x", "y z"),
            ("content-length", "5"),
            ("accept", "*/*"),
            ("x-odd", "a\tb"),
        ])
        .into_field()
}

/// Fields that do not belong where they may end up.
fn odd(random: &mut Random) -> Field {
    random
        .pick(&[
            (":path", "/other"),
            (":method", "GET"),
            (":status", "200"),
            (":unknown", "x"),
            (":protocol", "websocket"),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("keep-alive", "1"),
            ("proxy-connection", "close"),
            ("te", "gzip"),
            ("X-Upper", "v"),
            ("bad name", "v"),
            ("x", "a\nb"),
            ("x", "a\0b"),
            ("", "v"),
            ("content-length", "-1"),
            ("content-length", "7"),
            ("content-length", "5"),
            (":authority", "b"),
        ])
        .into_field()
}

trait IntoField {
    fn into_field(self) -> Field;
}

impl IntoField for (&str, &str) {
    fn into_field(self) -> Field {
        field(self.0, self.1)
    }
}

/// HEADERS, and CONTINUATION where it is split.
fn block(random: &mut Random, stream: u32, fields: &[Field], flags: u8) -> Vec<Vec<u8>> {
    let mut block = Vec::new();
    for (name, value) in fields {
        // Without indexing, with, and never: the last changes nothing but the forwarding.
        block.push(random.pick(&[0x00, 0x40, 0x10]));
        for text in [name, value] {
            block.push(text.len() as u8);
            block.extend_from_slice(text.as_bytes());
        }
    }
    if random.chance(15) {
        // An entry of the static table that any message can have, or one of the dynamic table, or none at all.
        block.push(0x80 | random.pick(&[19, 16, 62, 63, 70]));
    }
    let mut flags = flags;
    let mut start = Vec::new();
    let mut padding = 0;
    if random.chance(10) {
        flags |= PADDED;
        padding = random.below(5);
        start.push(padding as u8);
    }
    if random.chance(10) {
        flags |= PRIORITY;
        start.extend_from_slice(&(100 + random.below(4) as u32).to_be_bytes());
        start.push(7);
    }
    if random.chance(15) {
        let at = random.below(block.len() + 1);
        let (first, second) = block.split_at(at);
        let payload = [&start, first, &vec![0; padding]].concat();
        return vec![frame(1, flags, stream, &payload), frame(9, END_HEADERS, stream, second)];
    }
    let payload = [&start[..], &block, &vec![0; padding]].concat();
    vec![frame(1, flags | END_HEADERS, stream, &payload)]
}
