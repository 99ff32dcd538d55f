//! A case of HTTP/2 conformance: frames that are sent, and what the other side must do then.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::h2_wire::{ACK, DATA, END_STREAM, End, Frame, GOAWAY, HEADERS, PING, RST_STREAM, Wire, code_name, ping};

/// Longest wait for what must come. Suites from outside wait two seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// A part of a case.
#[derive(Clone, Debug)]
pub enum Step {
    /// Octets in one write.
    Send(Vec<u8>),
    /// Wait for DATA of this length on stream 1.
    AwaitData(usize),
    /// Wait for the end of stream 1.
    AwaitEnd,
    /// Wait for the acknowledgment of this many SETTINGS in all.
    AwaitSettings(usize),
}

impl From<Vec<u8>> for Step {
    fn from(octets: Vec<u8>) -> Self {
        Self::Send(octets)
    }
}

/// What the other side must do.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    /// Nothing but answer a PING.
    Alive,
    /// Answer the request on this stream with 200 and go on.
    Answered(u32),
    /// Send DATA on stream 1, the first frame of it this long.
    Data(usize),
    /// End the connection, with one of these codes in a GOAWAY.
    Connection(&'static [&'static str]),
    /// End a stream with one of these codes; or the connection, as any stream error may (RFC 9113 section 5.4.1).
    Stream(&'static [&'static str]),
    /// End the connection, with or without saying why.
    Closed,
}

/// A case.
#[derive(Clone, Debug)]
pub struct Case {
    /// The section and what is done.
    pub name: String,
    /// What it says in its own SETTINGS.
    pub settings: Vec<(u16, u32)>,
    /// What it does.
    pub steps: Vec<Step>,
    /// What must follow.
    pub then: Then,
}

/// A case with SETTINGS as they are by default.
pub fn case(name: &str, then: Then, steps: impl IntoIterator<Item = impl Into<Step>>) -> Case {
    Case {
        name: name.to_owned(),
        settings: Vec::new(),
        steps: steps.into_iter().map(Into::into).collect(),
        then,
    }
}

impl Case {
    /// The same with SETTINGS of its own.
    #[must_use]
    pub fn with(mut self, settings: &[(u16, u32)]) -> Self {
        self.settings = settings.to_vec();
        self
    }
}

/// What the other side did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Did {
    /// The codes of RST_STREAM.
    pub resets: Vec<String>,
    /// The code of the last GOAWAY.
    pub goaway: Option<String>,
    /// The debug data of it.
    pub debug: String,
    /// It closed the connection.
    pub closed: bool,
    /// It answered a PING afterwards.
    pub alive: bool,
    /// What it answered, by stream: the status and whether the stream was ended.
    pub answers: Vec<(u32, Option<u16>, bool)>,
    /// The length of the first DATA frame on stream 1.
    pub data: Option<usize>,
}

impl Did {
    /// What the frames tell.
    fn of(frames: &[Frame], closed: bool) -> Self {
        let mut did = Self {
            closed,
            ..Self::default()
        };
        for frame in frames {
            match frame.kind {
                RST_STREAM => did.resets.push(code_name(frame.code())),
                GOAWAY => {
                    did.goaway = Some(code_name(frame.code()));
                    did.debug = String::from_utf8_lossy(frame.payload.get(8..).unwrap_or_default()).into_owned();
                }
                HEADERS => match did.answers.iter_mut().find(|answer| answer.0 == frame.stream) {
                    Some(answer) => answer.2 |= frame.has(END_STREAM),
                    None => did.answers.push((frame.stream, frame.status(), frame.has(END_STREAM))),
                },
                DATA => {
                    if frame.stream == 1 && !frame.payload.is_empty() {
                        did.data.get_or_insert(frame.payload.len());
                    }
                    if frame.has(END_STREAM)
                        && let Some(answer) = did.answers.iter_mut().find(|answer| answer.0 == frame.stream)
                    {
                        answer.2 = true;
                    }
                }
                PING if frame.has(ACK) && frame.payload == LAST_FENCE => did.alive = true,
                _ => {}
            }
        }
        did
    }

    /// In a few words, without what proxies may do as they like.
    #[must_use]
    pub fn kind(&self) -> String {
        if self.closed || self.goaway.as_ref().is_some_and(|code| code != "NO_ERROR") {
            return "ends the connection".to_owned();
        }
        match self.resets.first() {
            Some(code) => format!("resets a stream with {code}"),
            None if self.alive => "goes on".to_owned(),
            None => "is silent".to_owned(),
        }
    }
}

/// Two of them: what a stream ends with may be written behind the answer to the first.
const FENCE: &[u8; 8] = b"1st then";
const LAST_FENCE: &[u8; 8] = b"2nd then";

/// Takes a connection through a case, up to what must follow.
#[must_use]
pub fn run(case: &Case, wire: &mut Wire) -> Did {
    for step in &case.steps {
        let end = match step {
            Step::Send(octets) => {
                wire.send(octets);
                continue;
            }
            Step::AwaitData(length) => wire.wait_for(PATIENCE, |frames| {
                let on_stream = |frame: &&Frame| frame.kind == DATA && frame.stream == 1;
                frames
                    .iter()
                    .filter(on_stream)
                    .any(|frame| frame.payload.len() == *length)
            }),
            Step::AwaitEnd => wire.wait_for(PATIENCE, |frames| {
                let ends = |frame: &Frame| matches!(frame.kind, DATA | HEADERS) && frame.has(END_STREAM);
                frames.iter().any(|frame| frame.stream == 1 && ends(frame))
            }),
            Step::AwaitSettings(count) => wire.wait_for(PATIENCE, |frames| {
                let acknowledged = |frame: &&Frame| frame.kind == crate::h2_wire::SETTINGS && frame.has(ACK);
                frames.iter().filter(acknowledged).count() == *count
            }),
        };
        if end != End::Came {
            break;
        }
    }
    let end = match case.then {
        Then::Answered(stream) => wire.wait_for(PATIENCE, |frames| {
            Did::of(frames, false)
                .answers
                .iter()
                .any(|answer| answer.0 == stream && answer.2)
        }),
        Then::Data(_) => wire.wait_for(PATIENCE, |frames| Did::of(frames, false).data.is_some()),
        _ => End::Came,
    };
    if end != End::Closed {
        for fence in [FENCE, LAST_FENCE] {
            wire.send(&ping(fence));
            let _ = wire.wait_for(PATIENCE, |frames| {
                frames.iter().any(|frame| {
                    frame.kind == GOAWAY && frame.code() != 0
                        || frame.kind == PING && frame.has(ACK) && frame.payload == fence
                })
            });
        }
    }
    let did = Did::of(&wire.frames, false);
    let closed = match case.then {
        Then::Connection(_) | Then::Closed => wire.closes(PATIENCE.as_secs()),
        // Whoever has said why has the time to close.
        _ => !did.alive && did.goaway.is_none() && wire.closes(1),
    };
    Did::of(&wire.frames, closed)
}

/// Whether that is what the case asks for.
///
/// # Errors
/// It is not; says what was expected.
pub fn judge(case: &Case, did: &Did) -> Result<(), String> {
    let named = |codes: &[&str]| did.goaway.as_deref().is_some_and(|code| codes.contains(&code));
    let is_right = match case.then {
        Then::Alive => did.alive && did.goaway.is_none() && did.resets.is_empty(),
        Then::Answered(stream) => {
            did.alive && did.resets.is_empty() && did.answers.contains(&(stream, Some(200), true))
        }
        Then::Data(length) => did.alive && did.data == Some(length),
        Then::Connection(codes) => named(codes) && did.closed,
        Then::Stream(codes) => {
            named(codes) || did.alive && did.resets.iter().any(|code| codes.contains(&code.as_str()))
        }
        Then::Closed => did.closed,
    };
    if is_right {
        Ok(())
    } else {
        Err(format!("{}: expected {:?}, found {did:?}", case.name, case.then))
    }
}

/// Cases at a time.
const THREADS: usize = 16;

/// Runs `work` for each item, several at a time, and returns what it found by the item's name.
///
/// # Panics
/// `work` does.
#[must_use]
pub fn in_parallel<T: Sync>(
    items: &[T],
    name: impl Fn(&T) -> String + Sync,
    work: impl Fn(&T) -> String + Sync,
) -> BTreeMap<String, String> {
    let found = Mutex::new(BTreeMap::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = work(item);
                    found.lock().expect("no thread panics").insert(name(item), outcome);
                }
            });
        }
    });
    found.into_inner().expect("no thread panics")
}

/// Takes the server on `port` through cases: what it did in each, and where that was not right.
///
/// # Panics
/// The server does not even begin.
#[must_use]
pub fn serve_cases(port: u16, cases: &[Case]) -> (BTreeMap<String, String>, String) {
    let faults = Mutex::new(String::new());
    let kinds = in_parallel(
        cases,
        |case| case.name.clone(),
        |case| {
            let mut wire = Wire::client(port, &case.settings);
            let did = run(case, &mut wire);
            note(case, &did, &faults);
            did.kind()
        },
    );
    (kinds, faults.into_inner().expect("no thread panics"))
}

/// Writes down where a case was not done right.
///
/// # Panics
/// A thread has panicked.
pub fn note(case: &Case, did: &Did, faults: &Mutex<String>) {
    if let Err(fault) = judge(case, did) {
        let _ = writeln!(faults.lock().expect("no thread panics"), "{fault}");
    }
}

/// Says what is no beginning of HTTP/2: the server closes.
///
/// # Panics
/// It does not.
pub fn assert_openings_are_refused(port: u16) {
    for (name, octets) in crate::h2_server_cases::openings() {
        let mut wire = Wire::connect(port);
        wire.send(&octets);
        assert!(wire.closes(2), "{name}: still open");
    }
}
