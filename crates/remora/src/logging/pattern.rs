//! Line formats of the application log in spdlog's syntax (<https://github.com/gabime/spdlog/wiki/3.-Custom-formatting>)
//! with Envoy's additions `%_`, `%j` and `%*`.
//!
//! Times are in UTC. A flag that does not exist is written as it stands, as spdlog does.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use config::metadata::{Struct, Value};

use super::level::Level;

/// Envoy's default.
pub(crate) const DEFAULT_PATTERN: &str = "[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v";

/// What a line is made of.
pub(super) struct Record {
    pub(super) component: &'static str,
    pub(super) level: Level,
    pub(super) file: &'static str,
    pub(super) line: u32,
    pub(super) module: &'static str,
    pub(super) message: String,
}

/// A compiled line format.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Literal(String),
    Flag {
        flag: char,
        width: usize,
        align: Align,
        truncate: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Align {
    Left,
    Centre,
    Right,
}

impl Pattern {
    pub(crate) fn compile(pattern: &str) -> Self {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = pattern.chars().peekable();
        while let Some(c) = rest.next() {
            if c != '%' {
                literal.push(c);
                continue;
            }
            let mut written = String::from('%');
            let align = match rest.peek() {
                Some('-') => Align::Left,
                Some('=') => Align::Centre,
                _ => Align::Right,
            };
            if align != Align::Right {
                written.extend(rest.next());
            }
            let mut width = 0_usize;
            while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
                written.extend(rest.next());
                // spdlog's limit.
                width = (width * 10 + digit as usize).min(64);
            }
            let truncate = width > 0 && rest.peek() == Some(&'!');
            if truncate {
                written.extend(rest.next());
            }
            match rest.next() {
                Some('%') => literal.push('%'),
                Some(flag) if FLAGS.contains(flag) => {
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Flag {
                        flag,
                        width,
                        align,
                        truncate,
                    });
                }
                other => {
                    literal.push_str(&written);
                    literal.extend(other);
                }
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Self { parts }
    }

    /// Appends a line. The level is coloured where `colour` is set: between `%^` and `%$`, or the level alone in a format
    /// without them.
    pub(super) fn write(&self, out: &mut Vec<u8>, record: &Record, now: SystemTime, colour: bool) {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = Time::at(since.as_secs(), since.subsec_nanos());
        let ranged = self
            .parts
            .iter()
            .any(|part| matches!(part, Part::Flag { flag: '^', .. }));
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => out.extend_from_slice(literal.as_bytes()),
                Part::Flag { flag: '^', .. } if colour => out.extend_from_slice(record.level.colour().as_bytes()),
                Part::Flag { flag: '$', .. } if colour => out.extend_from_slice(b"\x1b[m"),
                Part::Flag { flag: '^' | '$', .. } => {}
                Part::Flag {
                    flag,
                    width,
                    align,
                    truncate,
                } => {
                    text.clear();
                    value(&mut text, *flag, record, &time);
                    let tinted = colour && !ranged && matches!(flag, 'l' | 'L');
                    if tinted {
                        out.extend_from_slice(record.level.colour().as_bytes());
                    }
                    pad(out, &text, *width, *align, *truncate);
                    if tinted {
                        out.extend_from_slice(b"\x1b[m");
                    }
                }
            }
        }
    }
}

const FLAGS: &str = "v_j*tPnlLaAbhBcCYDxmdHIMSefFpRrTXz+^$sg#@!EoiuO";

fn value(text: &mut String, flag: char, record: &Record, time: &Time) {
    use std::fmt::Write as _;
    const DAYS: [&str; 7] = [
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
    ];
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let day = DAYS[time.weekday];
    let month = MONTHS[time.month - 1];
    let hour12 = match time.hour % 12 {
        0 => 12,
        hour => hour,
    };
    let half = if time.hour < 12 { "AM" } else { "PM" };
    let base = record.file.rsplit('/').next().unwrap_or(record.file);
    // Writing to a String cannot fail.
    let _ = match flag {
        'v' => write!(text, "{}", record.message),
        '_' => write!(text, "{}", escape(&record.message)),
        'j' => write!(text, "{}", json_escape(&record.message)),
        't' => write!(text, "{}", thread_id()),
        'P' => write!(text, "{}", std::process::id()),
        'n' => write!(text, "{}", record.component),
        'l' => write!(text, "{}", record.level),
        'L' => write!(text, "{}", record.level.letter()),
        'a' => write!(text, "{}", &day[..3]),
        'A' => write!(text, "{day}"),
        'b' | 'h' => write!(text, "{}", &month[..3]),
        'B' => write!(text, "{month}"),
        'c' => write!(
            text,
            "{} {} {:02} {:02}:{:02}:{:02} {}",
            &day[..3],
            &month[..3],
            time.day,
            time.hour,
            time.minute,
            time.second,
            time.year
        ),
        'C' => write!(text, "{:02}", time.year % 100),
        'Y' => write!(text, "{}", time.year),
        'D' | 'x' => write!(text, "{:02}/{:02}/{:02}", time.month, time.day, time.year % 100),
        'm' => write!(text, "{:02}", time.month),
        'd' => write!(text, "{:02}", time.day),
        'H' => write!(text, "{:02}", time.hour),
        'I' => write!(text, "{hour12:02}"),
        'M' => write!(text, "{:02}", time.minute),
        'S' => write!(text, "{:02}", time.second),
        'e' => write!(text, "{:03}", time.nanos / 1_000_000),
        'f' => write!(text, "{:06}", time.nanos / 1_000),
        'F' => write!(text, "{:09}", time.nanos),
        'p' => write!(text, "{half}"),
        'r' => write!(text, "{hour12:02}:{:02}:{:02} {half}", time.minute, time.second),
        'R' => write!(text, "{:02}:{:02}", time.hour, time.minute),
        'T' | 'X' => write!(text, "{:02}:{:02}:{:02}", time.hour, time.minute, time.second),
        'z' => write!(text, "+00:00"),
        '+' => write!(
            text,
            "[{}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}] [{}] [{}] {}",
            time.year,
            time.month,
            time.day,
            time.hour,
            time.minute,
            time.second,
            time.nanos / 1_000_000,
            record.component,
            record.level,
            record.message
        ),
        's' => write!(text, "{base}"),
        'g' => write!(text, "{}", record.file),
        '#' => write!(text, "{}", record.line),
        '@' => write!(text, "{}:{}", record.file, record.line),
        '!' => write!(text, "{}", record.module),
        'E' => write!(text, "{}", time.unix),
        // `%*` is Envoy's tags, which are fields of the message here; `%o %i %u %O` is the time since the line before.
        _ => Ok(()),
    };
}

fn pad(out: &mut Vec<u8>, text: &str, width: usize, align: Align, truncate: bool) {
    let length = text.chars().count();
    if length >= width {
        let end = if truncate {
            text.char_indices().nth(width).map_or(text.len(), |(end, _)| end)
        } else {
            text.len()
        };
        out.extend_from_slice(&text.as_bytes()[..end]);
        return;
    }
    let missing = width - length;
    let before = match align {
        Align::Left => 0,
        Align::Centre => missing / 2,
        Align::Right => missing,
    };
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{:before$}{text}{:after$}", "", "", after = missing - before);
}

/// Control characters as C writes them.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\\' => escaped.push_str("\\\\"),
            c if c.is_control() => escaped.extend(c.escape_unicode()),
            c => escaped.push(c),
        }
    }
    escaped
}

/// As the inside of a JSON string.
fn json_escape(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// A JSON object of patterns as one pattern: `application_log_config.log_format.json_format`.
pub(super) fn json_pattern(fields: &Struct) -> String {
    let entries: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("\"{}\":{}", json_escape(name), json_value(value)))
        .collect();
    format!("{{{}}}", entries.join(","))
}

fn json_value(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("\"{}\"", json_escape(text)),
        Value::List(items) => format!("[{}]", items.iter().map(json_value).collect::<Vec<_>>().join(",")),
        Value::Struct(fields) => json_pattern(fields),
    }
}

/// The kernel's number of this thread: what the link `/proc/thread-self` ends with. Empty where there is no such link.
fn thread_id() -> String {
    thread_local! {
        static ID: String = {
            let link = std::fs::read_link("/proc/thread-self").unwrap_or_default();
            link.file_name().map(|id| id.to_string_lossy().into_owned()).unwrap_or_default()
        };
    }
    ID.with(String::clone)
}

/// A time in UTC.
struct Time {
    unix: u64,
    nanos: u32,
    year: u64,
    month: usize,
    day: u64,
    weekday: usize,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Time {
    fn at(unix: u64, nanos: u32) -> Self {
        let (days, second_of_day) = (unix / 86_400, unix % 86_400);
        // Years that begin in March, in eras of 400: a leap day ends its year.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = (from_march + 2) % 12 + 1;
        Self {
            unix,
            nanos,
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month: month as usize,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            weekday: ((days + 4) % 7) as usize,
            hour: second_of_day / 3600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn line(pattern: &str, message: &str, colour: bool) -> String {
        let record = Record {
            component: "main",
            level: Level::Warning,
            file: "crates/remora/src/serve.rs",
            line: 7,
            module: "remora::serve",
            message: message.to_owned(),
        };
        let mut out = Vec::new();
        let now = UNIX_EPOCH + Duration::new(1_795_179_622, 13_175_001);
        Pattern::compile(pattern).write(&mut out, &record, now, colour);
        String::from_utf8(out).expect("UTF-8")
    }

    /// The right sides are what Envoy 1.39.3 wrote for the same moment.
    #[test]
    fn flags_are_written_as_envoy_writes_them() {
        for (pattern, expected) in [
            (
                "[%Y-%m-%d %T.%e][%l][%n] [%g:%#] %v",
                "[2026-11-20 13:00:22.013][warning][main] [crates/remora/src/serve.rs:7] m",
            ),
            ("%L|%s|%@", "W|serve.rs|crates/remora/src/serve.rs:7"),
            ("%8l|%-9l|%=9l|%3l|%3!l", " warning|warning  | warning |warning|war"),
            ("%^x%$|%%", "x|%"),
            ("%E|%e|%f|%F|%z", "1795179622|013|013175|013175001|+00:00"),
            (
                "%c|%D|%T|%r|%q",
                "Fri Nov 20 13:00:22 2026|11/20/26|13:00:22|01:00:22 PM|%q",
            ),
            ("%a %A %b %B %I %p %R %C", "Fri Friday Nov November 01 PM 13:00 26"),
            ("100%", "100%"),
        ] {
            assert_eq!(line(pattern, "m", false), expected, "{pattern}");
        }
    }

    #[test]
    fn messages_can_be_escaped_for_one_line_and_for_json() {
        assert_eq!(line("%v", "a\nb", false), "a\nb");
        assert_eq!(line("%_", "a\nb\t\\", false), "a\\nb\\t\\\\");
        assert_eq!(line("{\"m\":\"%j\"}", "say \"a\"\n", false), r#"{"m":"say \"a\"\n"}"#);
    }

    #[test]
    fn the_level_is_coloured_where_the_format_does_not_say_what() {
        assert_eq!(line("[%l] %v", "m", true), "[\x1b[33m\x1b[1mwarning\x1b[m] m");
        assert_eq!(line("%^%l %v%$", "m", true), "\x1b[33m\x1b[1mwarning m\x1b[m");
    }

    #[test]
    fn leap_days_and_new_years_are_right() {
        let date = |unix| {
            let time = Time::at(unix, 0);
            (time.year, time.month, time.day, time.weekday)
        };
        assert_eq!(date(0), (1970, 1, 1, 4));
        assert_eq!(date(951_782_400), (2000, 2, 29, 2));
        assert_eq!(date(1_735_689_599), (2024, 12, 31, 2));
        assert_eq!(date(1_735_689_600), (2025, 1, 1, 3));
    }
}
