//! The same bytes to our codec and to the `h2` crate: the same connections and streams are refused, and whatever is
//! taken has the same fields and the same content. Scripts of frames come from fixed seeds; each divergence that is
//! meant is in [`DIVERGENCES`] with what allows it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is a test's report")]

mod differential;

use std::collections::BTreeMap;

use differential::generate::{Random, Script};
use differential::{Outcome, Stream, ours, theirs};

/// A divergence that is meant: what each side says, and why ours is right. `None`: that side takes it.
struct Divergence {
    ours: Option<&'static str>,
    theirs: Option<&'static str>,
    /// What must be true of the story besides, where the two refusals alone could hide a fault.
    when: fn(&Script, &Outcome) -> bool,
    because: &'static str,
}

fn always(_: &Script, _: &Outcome) -> bool {
    true
}

/// The script ends within a header block: what was sent of it can't be judged as a message yet.
fn the_last_block_is_open(script: &Script, _: &Outcome) -> bool {
    script.ends_within_a_block()
}

/// A 204 or 304 announced content.
fn a_response_without_content_has_a_length(_: &Script, ours: &Outcome) -> bool {
    ours.streams.values().any(|stream| {
        (stream.line == ["204"] || stream.line == ["304"]) && stream.fields.contains_key("content-length")
    })
}

fn an_interim_response_has_a_length(script: &Script, _: &Outcome) -> bool {
    let has = |block: &[u8], part: &[u8]| block.windows(part.len()).any(|window| window == part);
    script
        .blocks()
        .iter()
        .any(|block| (has(block, b"\x03100") || has(block, b"\x03103")) && has(block, b"content-length"))
}

fn the_peer_says_goaway(script: &Script, _: &Outcome) -> bool {
    script.has_goaway()
}

const DIVERGENCES: &[Divergence] = &[
    Divergence {
        ours: Some("streams:"),
        theirs: Some("GOAWAY 1"),
        when: always,
        because: "RFC 9113 section 5.4.1: a stream error may be treated as a connection error; we end the stream",
    },
    Divergence {
        ours: Some("PUSH_PROMISE although push is disabled"),
        theirs: None,
        when: always,
        because: "RFC 9113 section 8.4: receipt is a connection error; theirs looks at the stream first",
    },
    Divergence {
        ours: Some("unexpected stream identifier"),
        theirs: None,
        when: always,
        because: "RFC 9113 section 5.1.1: a malformed request uses its identifier up too, and those below it",
    },
    Divergence {
        ours: Some("frame on a closed stream"),
        theirs: None,
        when: always,
        because: "RFC 9113 section 5.1: frames on a stream closed by its peer may be a connection error",
    },
    Divergence {
        ours: Some("connection-specific field"),
        theirs: None,
        when: always,
        because: "RFC 9113 section 8.2.2: malformed in trailers too",
    },
    Divergence {
        ours: Some("pseudo-header field unknown, repeated or out of place"),
        theirs: None,
        when: always,
        because: "RFC 9113 section 8.1: trailers with pseudo-header fields are malformed; theirs drops the fields",
    },
    Divergence {
        ours: Some("invalid or repeated content-length"),
        theirs: None,
        when: always,
        because: "RFC 9110 section 8.6: a repeated length may be refused even if equal, as Envoy does",
    },
    Divergence {
        ours: Some("content in a response that can't have any"),
        theirs: None,
        when: always,
        because: "RFC 9113 section 8.1.1: 204 and 304 have no content; theirs delivers it",
    },
    Divergence {
        ours: Some("frame inside a header block"),
        theirs: None,
        when: always,
        because: "RFC 9113 section 4.3: an interrupted block is a connection error at once",
    },
    Divergence {
        ours: Some("flow-control window over 2^31-1"),
        theirs: None,
        when: always,
        because: "RFC 9113 section 6.9.1: an error whether or not there is anything left to send",
    },
    Divergence {
        ours: Some("frame after END_STREAM"),
        theirs: None,
        when: always,
        because: "RFC 9113 section 5.1, half-closed (remote): a stream error; theirs drops what follows trailers",
    },
    Divergence {
        ours: Some("invalid character in a field name or value"),
        theirs: None,
        when: always,
        because: "RFC 9113 section 8.2.1: a field name is not empty; theirs drops such a field",
    },
    Divergence {
        ours: None,
        theirs: Some("stream error detected: unspecific protocol error detected"),
        when: a_response_without_content_has_a_length,
        because: "RFC 9113 section 8.1.1: 204 and 304 may have a content-length and no content; theirs wants the content",
    },
    Divergence {
        ours: None,
        theirs: Some("stream error detected: unspecific protocol error detected"),
        when: an_interim_response_has_a_length,
        because: "RFC 9110 section 6.4.1: an interim response has no content; theirs expects it of the final one",
    },
    Divergence {
        ours: None,
        theirs: Some("GOAWAY 1"),
        when: the_last_block_is_open,
        because: "RFC 9113 section 4.3: a header block is processed once it is complete; theirs judges its fragment",
    },
    Divergence {
        ours: None,
        theirs: Some("code 1"),
        when: the_last_block_is_open,
        because: "RFC 9113 section 4.3, as before; theirs refuses a stream that was never told of",
    },
    Divergence {
        ours: None,
        theirs: Some("stream error detected"),
        when: the_last_block_is_open,
        because: "RFC 9113 section 4.3, as before; theirs refuses a stream that had been told of",
    },
    Divergence {
        ours: None,
        theirs: Some("connection error received"),
        when: the_peer_says_goaway,
        because: "RFC 9113 section 6.8: streams up to the last one go on after a GOAWAY, whatever its code",
    },
    Divergence {
        ours: Some("streams:"),
        theirs: Some("connection error received"),
        when: the_peer_says_goaway,
        because: "RFC 9113 section 6.8, as before; one of the streams that go on had an error of its own",
    },
];

/// A divergence that was found: what each side said, and the whole story.
struct Found {
    ours: Option<String>,
    theirs: Option<String>,
    story: String,
}

impl Found {
    fn is_meant(&self, script: &Script, outcome: &Outcome) -> bool {
        let matches = |expected: Option<&str>, found: &Option<String>| match (expected, found) {
            (Some(part), Some(found)) => found.contains(part),
            (None, None) => true,
            _ => false,
        };
        DIVERGENCES.iter().any(|meant| {
            matches(meant.ours, &self.ours)
                && matches(meant.theirs, &self.theirs)
                && (meant.when)(script, outcome)
                && !meant.because.is_empty()
        })
    }
}

/// The first divergence of two outcomes.
fn difference(ours: &Outcome, theirs: &Outcome) -> Option<Found> {
    if ours.connection_error.is_some() || theirs.connection_error.is_some() {
        // Where they end the connection, we may have ended streams.
        let refused: Vec<_> = ours
            .streams
            .values()
            .filter_map(|stream| stream.refused.as_deref())
            .collect();
        let refused = (!refused.is_empty()).then(|| format!("streams: {}", refused.join(", ")));
        return (ours.connection_error.is_some() != theirs.connection_error.is_some()).then(|| Found {
            ours: ours.connection_error.clone().or(refused),
            theirs: theirs.connection_error.clone(),
            story: String::new(),
        });
    }
    let none = Stream::default();
    for id in ours.streams.keys().chain(theirs.streams.keys()) {
        let (our, their) = (
            ours.streams.get(id).unwrap_or(&none),
            theirs.streams.get(id).unwrap_or(&none),
        );
        if (our.refused.is_some() && their.refused.is_some()) || our == their {
            continue;
        }
        if our.refused.is_some() && (their.line.is_empty() || their.reset) {
            // Nothing was delivered, or the peer's own reset came before their refusal was written.
            continue;
        }
        let both_reset = our.reset && their.reset;
        // Their reader had not come to the end when the reset behind it came.
        let ended_before = our.ended && their.reset && our.body.starts_with(&their.body);
        let complete = our.ended && their.ended && our.body == their.body;
        if our.refused.is_none() && their.refused.is_none() && (both_reset || ended_before || complete) {
            // What came before a reset may have been dropped with it; a reset after the end changes nothing.
            continue;
        }
        return Some(Found {
            ours: our.refused.clone(),
            theirs: their.refused.clone(),
            story: format!("stream {id}\n  ours   {our:?}\n  theirs {their:?}\n"),
        });
    }
    None
}

fn compare_all(server: bool) {
    // A range from outside repeats or extends a run: `REMORA_FUZZ_SEEDS=1000..2000`.
    let seeds = std::env::var("REMORA_FUZZ_SEEDS").ok().and_then(|range| {
        let (from, to) = range.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    let mut unmeant: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for seed in seeds.unwrap_or(1..3_000) {
        let script = Script::generate(&mut Random::new(seed), server);
        let ours = ours::run(&script, server);
        if let Some(found) = difference(&ours, &theirs::run(&script, server))
            && !found.is_meant(&script, &ours)
        {
            let kind = format!("ours {:?}, theirs {:?}", found.ours, found.theirs);
            let entry = unmeant
                .entry(kind)
                .or_insert_with(|| (0, format!("seed {seed} {}\n{script}", found.story)));
            entry.0 += 1;
        }
    }
    let report: Vec<String> = unmeant
        .iter()
        .map(|(kind, (count, story))| format!("{count} times: {kind}\n{story}"))
        .collect();
    assert!(
        report.is_empty(),
        "divergences that are not meant:\n{}",
        report.join("\n")
    );
}

#[test]
fn a_server_takes_and_refuses_what_the_h2_crate_does() {
    compare_all(true);
}

#[test]
fn a_client_takes_and_refuses_what_the_h2_crate_does() {
    compare_all(false);
}
