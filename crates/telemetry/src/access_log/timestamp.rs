//! Moments as text: `strftime` with Envoy's additions (`%3f`, `%s`), in UTC, read once and written without allocation.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A compiled format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimeFormat(Box<[Piece]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    Year,
    ShortYear,
    Month,
    Day,
    PaddedDay,
    Hour,
    Hour12,
    Minute,
    Second,
    HalfDay,
    DayOfYear,
    Weekday {
        iso: bool,
    },
    WeekdayName {
        long: bool,
    },
    MonthName {
        long: bool,
    },
    EpochSeconds,
    /// Digits of the fraction of a second, cut not rounded.
    Fraction(u8),
}

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
const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

impl TimeFormat {
    /// Reads a format; an empty one is ISO 8601 with milliseconds, Envoy's default.
    pub(super) fn parse(format: &str) -> Result<TimeFormat, String> {
        let mut pieces = Vec::new();
        pieces_of(
            if format.is_empty() {
                "%Y-%m-%dT%H:%M:%S.%3fZ"
            } else {
                format
            },
            &mut pieces,
        )?;
        Ok(TimeFormat(pieces.into()))
    }

    /// Appends the moment.
    pub(super) fn write(&self, moment: SystemTime, out: &mut Vec<u8>) {
        let since = moment.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let civil = Civil::at(since.as_secs());
        for piece in &self.0 {
            // Writing to a Vec cannot fail.
            let _ = match piece {
                Piece::Literal(text) => out.write_all(text.as_bytes()),
                Piece::Year => write!(out, "{}", civil.year),
                Piece::ShortYear => write!(out, "{:02}", civil.year % 100),
                Piece::Month => write!(out, "{:02}", civil.month),
                Piece::Day => write!(out, "{:02}", civil.day),
                Piece::PaddedDay => write!(out, "{:2}", civil.day),
                Piece::Hour => write!(out, "{:02}", civil.hour),
                Piece::Hour12 => write!(out, "{:02}", (civil.hour + 11) % 12 + 1),
                Piece::Minute => write!(out, "{:02}", civil.minute),
                Piece::Second => write!(out, "{:02}", civil.second),
                Piece::HalfDay => out.write_all(if civil.hour < 12 { b"AM" } else { b"PM" }),
                Piece::DayOfYear => write!(out, "{:03}", civil.day_of_year),
                Piece::Weekday { iso: true } => write!(out, "{}", (civil.weekday + 6) % 7 + 1),
                Piece::Weekday { iso: false } => write!(out, "{}", civil.weekday),
                Piece::WeekdayName { long } => out.write_all(shortened(WEEKDAYS[civil.weekday], *long).as_bytes()),
                Piece::MonthName { long } => {
                    out.write_all(shortened(MONTHS[(civil.month - 1) as usize], *long).as_bytes())
                }
                Piece::EpochSeconds => write!(out, "{}", since.as_secs()),
                Piece::Fraction(digits) => {
                    let shown = since.subsec_nanos() / 10_u32.pow(9 - u32::from(*digits));
                    write!(out, "{shown:0width$}", width = usize::from(*digits))
                }
            };
        }
    }
}

/// A moment as `%START_TIME%` writes it without an argument: `2026-11-20T13:12:08.659Z`.
pub fn iso_8601(moment: SystemTime) -> String {
    let mut out = Vec::with_capacity(24);
    if let Ok(format) = TimeFormat::parse("") {
        format.write(moment, &mut out);
    }
    String::from_utf8(out).unwrap_or_default()
}

fn shortened(name: &str, long: bool) -> &str {
    if long { name } else { &name[..3] }
}

fn pieces_of(format: &str, pieces: &mut Vec<Piece>) -> Result<(), String> {
    let mut rest = format;
    while let Some(start) = rest.find('%') {
        literal(&rest[..start], pieces);
        let mut characters = rest[start + 1..].chars();
        match characters.next() {
            Some('Y') => pieces.push(Piece::Year),
            Some('y') => pieces.push(Piece::ShortYear),
            Some('m') => pieces.push(Piece::Month),
            Some('d') => pieces.push(Piece::Day),
            Some('e') => pieces.push(Piece::PaddedDay),
            Some('H') => pieces.push(Piece::Hour),
            Some('I') => pieces.push(Piece::Hour12),
            Some('M') => pieces.push(Piece::Minute),
            Some('S') => pieces.push(Piece::Second),
            Some('p') => pieces.push(Piece::HalfDay),
            Some('j') => pieces.push(Piece::DayOfYear),
            Some('u') => pieces.push(Piece::Weekday { iso: true }),
            Some('w') => pieces.push(Piece::Weekday { iso: false }),
            Some('a') => pieces.push(Piece::WeekdayName { long: false }),
            Some('A') => pieces.push(Piece::WeekdayName { long: true }),
            Some('b' | 'h') => pieces.push(Piece::MonthName { long: false }),
            Some('B') => pieces.push(Piece::MonthName { long: true }),
            Some('s') => pieces.push(Piece::EpochSeconds),
            Some('f') => pieces.push(Piece::Fraction(9)),
            Some('F') => pieces_of("%Y-%m-%d", pieces)?,
            Some('D') => pieces_of("%m/%d/%y", pieces)?,
            Some('T') => pieces_of("%H:%M:%S", pieces)?,
            Some('R') => pieces_of("%H:%M", pieces)?,
            Some('r') => pieces_of("%I:%M:%S %p", pieces)?,
            Some('c') => pieces_of("%a %b %e %H:%M:%S %Y", pieces)?,
            Some('z') => literal("+0000", pieces),
            Some('Z') => literal("UTC", pieces),
            Some('n') => literal("\n", pieces),
            Some('t') => literal("\t", pieces),
            Some('%') => literal("%", pieces),
            Some(digit @ '1'..='9') if characters.next() == Some('f') => {
                pieces.push(Piece::Fraction(digit as u8 - b'0'));
            }
            // Abseil's seconds with a fraction, which Envoy's own default is written with.
            Some('E') => match (characters.next(), characters.next()) {
                (Some(digit @ '1'..='9'), Some('S')) => {
                    pieces.push(Piece::Second);
                    literal(".", pieces);
                    pieces.push(Piece::Fraction(digit as u8 - b'0'));
                }
                _ => return Err(format!("the time format {format:?} has an unknown conversion %E")),
            },
            Some(other) => return Err(format!("the time format {format:?} has an unknown conversion %{other}")),
            None => return Err(format!("the time format {format:?} ends with '%'")),
        }
        rest = characters.as_str();
    }
    literal(rest, pieces);
    Ok(())
}

fn literal(text: &str, pieces: &mut Vec<Piece>) {
    if text.is_empty() {
        return;
    }
    match pieces.last_mut() {
        Some(Piece::Literal(last)) => *last = format!("{last}{text}").into(),
        _ => pieces.push(Piece::Literal(text.into())),
    }
}

/// A moment on the civil calendar, UTC.
struct Civil {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    /// Sunday is 0.
    weekday: usize,
    /// From 1.
    day_of_year: u64,
}

impl Civil {
    fn at(seconds: u64) -> Civil {
        let (days, of_day) = (seconds / 86_400, seconds % 86_400);
        // Days are counted from 1 March of year 0, so that leap days come last: 146097 days in 400 years.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_march_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_march_year + 2) / 153;
        let day = day_of_march_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][(month - 1) as usize];
        Civil {
            year,
            month,
            day,
            hour: of_day / 3_600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            weekday: ((days + 4) % 7) as usize,
            day_of_year: before + day + u64::from(leap && month > 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: &str, seconds: u64, nanos: u32) -> String {
        let mut out = Vec::new();
        TimeFormat::parse(format)
            .unwrap()
            .write(UNIX_EPOCH + Duration::new(seconds, nanos), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_default_is_iso_8601_with_milliseconds() {
        assert_eq!(written("", 1_795_180_328, 659_352_000), "2026-11-20T13:12:08.659Z");
        assert_eq!(iso_8601(UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            written("%Y-%m-%dT%H:%M:%E3SZ", 1_795_180_328, 659_352_000),
            "2026-11-20T13:12:08.659Z"
        );
    }

    #[test]
    fn envoys_own_example_comes_out_as_envoy_wrote_it() {
        assert_eq!(
            written("%Y/%m/%dT%H:%M:%S%z %s %3f %f %9f %6f", 1_795_180_328, 659_352_000),
            "2026/11/20T13:12:08+0000 1795180328 659 659352000 659352000 659352"
        );
    }

    #[test]
    fn the_calendar_knows_leap_years() {
        for (seconds, expected) in [
            (0, "1970-01-01 001 Thu 4"),
            (951_782_400, "2000-02-29 060 Tue 2"),
            (951_868_800, "2000-03-01 061 Wed 3"),
            (1_709_164_800, "2024-02-29 060 Thu 4"),
            (1_735_603_200, "2024-12-31 366 Tue 2"),
            (4_107_542_400, "2100-03-01 060 Mon 1"),
        ] {
            assert_eq!(written("%F %j %a %u", seconds, 0), expected);
        }
        assert_eq!(
            written("%A, %e %B %I:%M %p %y %%", 1_795_180_328, 0),
            "Friday, 20 November 01:12 PM 26 %"
        );
        assert_eq!(written("%I %p", 0, 0), "12 AM");
    }

    #[test]
    fn an_unknown_conversion_is_refused() {
        for format in ["%Q", "%", "%3", "%3x", "%E", "%0f"] {
            assert!(TimeFormat::parse(format).is_err(), "{format}");
        }
    }
}
