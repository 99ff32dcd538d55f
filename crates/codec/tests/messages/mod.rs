//! What both comparisons of HTTP/1.1 share: messages as both sides take them, and chance.

use std::collections::BTreeMap;

use codec::headers::HeaderBlock;

/// A message that came in full.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) line: String,
    pub(crate) fields: BTreeMap<String, Vec<Vec<u8>>>,
    pub(crate) content: Vec<u8>,
    pub(crate) trailers: BTreeMap<String, Vec<Vec<u8>>>,
}

#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) taken: Vec<Taken>,
    /// Why nothing more was.
    pub(crate) stopped: Option<String>,
}

/// Fields that each side treats in its own way, by right: hop-by-hop fields, framing, and what became `:authority`.
pub(crate) const OWN_WAYS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
];

pub(crate) fn add(fields: &mut BTreeMap<String, Vec<Vec<u8>>>, name: &str, value: &[u8]) {
    if !OWN_WAYS.contains(&name) {
        fields.entry(name.to_owned()).or_default().push(value.to_vec());
    }
}

pub(crate) fn fields_of(block: &HeaderBlock) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut fields = BTreeMap::new();
    for field in block.iter() {
        if !field.name.starts_with(b":") {
            add(&mut fields, &String::from_utf8_lossy(field.name), field.value);
        }
    }
    fields
}

pub(crate) fn fields_of_map(map: &hyper::HeaderMap) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut fields = BTreeMap::new();
    for (name, value) in map {
        add(&mut fields, name.as_str(), value.as_bytes());
    }
    fields
}

/// xorshift64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % limit.max(1) as u64) as usize
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a>(&mut self, usual: &'a str, odd: &[&'a str]) -> &'a str {
        if self.chance(92) {
            usual
        } else {
            odd[self.below(odd.len())]
        }
    }
}

/// Octets that stand where they should not.
const ODD_OCTETS: &[u8; 13] = b"\r\n\0 :;,=x0\x7f\xff\t";

/// Changes, takes out or puts in an octet somewhere.
pub(crate) fn damage(random: &mut Random, input: &mut Vec<u8>) {
    let at = random.below(input.len());
    match random.below(3) {
        0 => input[at] = ODD_OCTETS[random.below(ODD_OCTETS.len())],
        1 => drop(input.remove(at)),
        _ => input.insert(at, ODD_OCTETS[random.below(ODD_OCTETS.len())]),
    }
}

/// Announces content by its length, mostly rightly, in the lines of a head.
pub(crate) fn announce_length(random: &mut Random, content: &str, lines: &mut Vec<String>) {
    let length = content.len().to_string();
    let odd = ["+5", "5 ", "05", "0x5", "5, 5", "-1", "", "99999999999999999999"];
    lines.push(format!("Content-Length: {}", random.pick(&length, &odd)));
    if random.chance(3) {
        lines.push(format!("Content-Length: {length}"));
    }
}

/// Announces chunks, mostly rightly (else by one of `odd` codings), in the lines of a head, and returns them.
pub(crate) fn chunks(random: &mut Random, content: &str, odd: &[&str], lines: &mut Vec<String>) -> String {
    lines.push(format!("Transfer-Encoding: {}", random.pick("chunked", odd)));
    if random.chance(3) {
        lines.push("Content-Length: 5".to_owned());
    }
    let mut body = String::new();
    for chunk in content.as_bytes().chunks(7) {
        let size = format!("{:x}", chunk.len());
        let padded = format!("00{size}");
        let odd = [padded.as_str(), "0x7", "-1", "fffffffffffffffff", " 7", "7 "];
        let extension = random.pick("", &[";a", ";a=b", "; a=\"b;c\"", ";\u{1}"]);
        let chunk = String::from_utf8_lossy(chunk);
        let end = random.pick("\r\n", &["\n", "", "x\r\n"]);
        body += &format!("{}{extension}\r\n{chunk}{end}", random.pick(&size, &odd));
    }
    body += "0\r\n";
    if random.chance(30) {
        let odd = ["Content-Length: 3", "Host: x", "no colon", "X-Sum : 1", "x-empty:"];
        body += &format!("{}\r\n", random.pick("X-Sum: 1", &odd));
    }
    body += "\r\n";
    body
}

/// Writes a head's lines, hardly ever one that ends with LF alone, and the empty one.
pub(crate) fn write_head(random: &mut Random, mut lines: Vec<String>, input: &mut Vec<u8>) {
    lines.push(String::new());
    for line in lines {
        input.extend_from_slice(line.as_bytes());
        input.extend_from_slice(if random.chance(1) { b"\n" } else { b"\r\n" });
    }
}

/// How the two differ, if they do.
pub(crate) enum Difference {
    /// We refused what they took, with the divergence's position in the list.
    Meant(usize),
    Unmeant(String),
}

pub(crate) fn difference(ours: &Outcome, theirs: &Outcome, meant: &[(&str, &str)]) -> Option<Difference> {
    if ours.taken == theirs.taken {
        return None;
    }
    let common = ours.taken.len().min(theirs.taken.len());
    if ours.taken[..common] != theirs.taken[..common] {
        return Some(Difference::Unmeant("the same bytes are other messages".to_owned()));
    }
    if theirs.taken.len() < ours.taken.len() {
        return Some(Difference::Unmeant(format!("they stopped: {:?}", theirs.stopped)));
    }
    let stopped = ours.stopped.as_deref().unwrap_or("without an error");
    let meant = meant.iter().position(|(violation, _)| stopped.contains(violation));
    Some(meant.map_or_else(
        || Difference::Unmeant(format!("we stopped: {stopped}")),
        Difference::Meant,
    ))
}

/// The seeds to run: those of `REMORA_FUZZ_SEEDS=1000..2000`, if it is set; and whether they are the usual ones.
pub(crate) fn seeds(usual: std::ops::Range<u64>) -> (std::ops::Range<u64>, bool) {
    let given = std::env::var("REMORA_FUZZ_SEEDS").ok().and_then(|range| {
        let (from, to) = range.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    let is_usual = given.is_none();
    (given.unwrap_or(usual), is_usual)
}

/// What was compared, and what was found.
pub(crate) struct Comparison {
    divergences: &'static [(&'static str, &'static str)],
    found: BTreeMap<String, (usize, String)>,
    met: Vec<usize>,
    both: usize,
    all: usize,
}

impl Comparison {
    pub(crate) fn new(divergences: &'static [(&'static str, &'static str)]) -> Self {
        Self {
            divergences,
            found: BTreeMap::new(),
            met: vec![0; divergences.len()],
            both: 0,
            all: 0,
        }
    }

    pub(crate) fn add(&mut self, seed: u64, input: &[u8], ours: &Outcome, theirs: &Outcome) {
        self.all += 1;
        self.both += usize::from(!ours.taken.is_empty() && ours.taken == theirs.taken);
        match difference(ours, theirs, self.divergences) {
            None => {}
            Some(Difference::Meant(at)) => self.met[at] += 1,
            Some(Difference::Unmeant(kind)) => {
                let entry = self.found.entry(kind).or_insert_with(|| {
                    let text = input.escape_ascii().to_string().replace("\\r\\n", "\\r\\n\n");
                    (
                        0,
                        format!("seed {seed}\n{text}\n  ours   {ours:?}\n  theirs {theirs:?}\n"),
                    )
                });
                entry.0 += 1;
            }
        }
    }

    /// Everything was meant, and everything that is meant was met.
    pub(crate) fn assert(self, usual: bool) {
        let report: Vec<String> = self
            .found
            .iter()
            .map(|(kind, (count, story))| format!("{count} times: {kind}\n{story}"))
            .collect();
        assert!(
            report.is_empty(),
            "divergences that are not meant:\n{}",
            report.join("\n")
        );
        let (both, all) = (self.both, self.all);
        assert!(both * 3 > all, "too few messages were taken by both: {both} of {all}");
        for ((violation, because), met) in self.divergences.iter().zip(self.met) {
            assert!(met > 0 || !usual, "not met any more: {violation} ({because})");
        }
    }
}
