//! The text forms of protobuf's scalars and well-known types in JSON (<https://protobuf.dev/programming-guides/json/>), as
//! lenient as the reader that Envoy uses.

use std::fmt::Write as _;

/// An integer as protobuf takes it from a number or a string: decimal, or a float or C hexadecimal number without
/// fraction (`1e3`, `0x400`).
pub(crate) fn integer(text: &str) -> Option<i128> {
    if text.len() > 64 || text.chars().any(char::is_whitespace) {
        return None;
    }
    if let Ok(value) = text.parse() {
        return Some(value);
    }
    let value = float(text)?;
    // Up to 2^64 every integer that a double holds is exact.
    (value.fract() == 0.0 && value.abs() <= 18_446_744_073_709_551_616.0).then_some(value as i128)
}

/// A floating point number, also hexadecimal, infinite or NaN.
pub(crate) fn float(text: &str) -> Option<f64> {
    let text = text.trim();
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if magnitude.starts_with(['+', '-']) {
        return None;
    }
    let value = match magnitude.strip_prefix("0x").or_else(|| magnitude.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok()? as f64,
        None => magnitude.parse().ok()?,
    };
    Some(if negative { -value } else { value })
}

/// A boolean in a string.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    let any = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if any(&["true", "t", "yes", "y", "1"]) {
        Some(true)
    } else if any(&["false", "f", "no", "n", "0"]) {
        Some(false)
    } else {
        None
    }
}

/// Bytes from base64, standard or URL-safe, padded or not.
pub(crate) fn base64_decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if digits.len() % 4 == 1 || padding > 2 || (padding > 0 && !text.len().is_multiple_of(4)) {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

/// Standard base64 with padding.
pub fn base64_encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            if index <= chunk.len() {
                text.push(char::from(DIGITS[(bits >> (18 - 6 * index)) as usize & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// A duration such as `1.5s` or `-0.25s` as seconds and nanoseconds of one sign.
pub(crate) fn duration(text: &str) -> Option<(i64, i32)> {
    let number = text.strip_suffix('s')?;
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (seconds, nanos) = match number.split_once('.') {
        Some((seconds, fraction)) => (seconds, nanoseconds(fraction)?),
        None => (number, 0),
    };
    if seconds.is_empty() || !seconds.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = seconds.parse().ok()?;
    if seconds > 315_576_000_000 {
        return None;
    }
    Some(if negative { (-seconds, -nanos) } else { (seconds, nanos) })
}

/// One to nine digits after a decimal point.
fn nanoseconds(fraction: &str) -> Option<i32> {
    if !(1..=9).contains(&fraction.len()) || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let digits: i32 = fraction.parse().ok()?;
    Some(digits * 10_i32.pow(9 - u32::try_from(fraction.len()).ok()?))
}

/// Prints a duration with as many of 0, 3, 6 or 9 digits as it needs.
pub(crate) fn print_duration(seconds: i64, nanos: i32) -> String {
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    format!(
        "{sign}{}{}s",
        seconds.unsigned_abs(),
        print_nanoseconds(nanos.unsigned_abs())
    )
}

fn print_nanoseconds(nanos: u32) -> String {
    match nanos {
        0 => String::new(),
        nanos if nanos.is_multiple_of(1_000_000) => format!(".{:03}", nanos / 1_000_000),
        nanos if nanos.is_multiple_of(1_000) => format!(".{:06}", nanos / 1_000),
        nanos => format!(".{nanos:09}"),
    }
}

/// A time in RFC 3339's form as seconds since 1970 and nanoseconds.
pub(crate) fn timestamp(text: &str) -> Option<(i64, i32)> {
    if !text.is_ascii() {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits
            .bytes()
            .all(|digit| digit.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let at = |index: usize, byte: u8| text.as_bytes().get(index) == Some(&byte);
    if !(at(4, b'-') && at(7, b'-') && at(10, b'T') && at(13, b':') && at(16, b':')) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if year < 1 || !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let rest = &text[19..];
    let (nanos, zone) = match rest.strip_prefix('.') {
        Some(fraction) => {
            let end = fraction.find(|c: char| !c.is_ascii_digit())?;
            (nanoseconds(&fraction[..end])?, &fraction[end..])
        }
        None => (0, rest),
    };
    let offset = match zone.as_bytes() {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let part = |from: usize, to: usize| -> Option<i64> { zone.get(from..to)?.parse().ok() };
            let seconds = part(1, 3)? * 3600 + part(4, 6)? * 60;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    Some((seconds, nanos))
}

/// Prints a time in UTC, RFC 3339.
pub(crate) fn print_timestamp(seconds: i64, nanos: i32) -> String {
    let days = seconds.div_euclid(86_400);
    let time = seconds.rem_euclid(86_400);
    let (year, month, day) = civil(days);
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{}Z",
        time / 3600,
        time / 60 % 60,
        time % 60,
        print_nanoseconds(u32::try_from(nanos).unwrap_or(0))
    );
    text
}

fn days_in_month(year: i64, month: i64) -> i64 {
    days_since_1970(if month == 12 { year + 1 } else { year }, month % 12 + 1, 1) - days_since_1970(year, month, 1)
}

/// Days of the proleptic Gregorian calendar, counted in years that begin in March, so that a leap day ends its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_since_1970`].
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// lowerCamelCase to the `.proto` file's form, as field masks need it.
pub(crate) fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_takes_both_alphabets_and_missing_padding_and_refuses_the_rest() {
        assert_eq!(base64_decode("AQI="), Some(vec![1, 2]));
        assert_eq!(base64_decode("AQI"), Some(vec![1, 2]));
        assert_eq!(base64_decode("-_8="), base64_decode("+/8="));
        assert_eq!(base64_decode("AB=="), Some(vec![0]));
        assert_eq!(base64_decode("QQ="), None);
        assert_eq!(base64_decode("A"), None);
        assert_eq!(base64_decode("AQ I="), None);
        assert_eq!(base64_decode("===="), None);
        for length in 0..20_u8 {
            let bytes: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(73)).collect();
            assert_eq!(base64_decode(&base64_encode(&bytes)), Some(bytes));
        }
    }

    #[test]
    fn durations_are_decimal_seconds() {
        assert_eq!(duration("1s"), Some((1, 0)));
        assert_eq!(duration("0.25s"), Some((0, 250_000_000)));
        assert_eq!(duration("-1.5s"), Some((-1, -500_000_000)));
        for bad in [
            "250ms",
            "1",
            ".5s",
            "1.s",
            "+1s",
            " 1s",
            "1S",
            "1e1s",
            "1.0000000001s",
            "315576000001s",
            "s",
            "-s",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!(print_duration(0, 250_000_000), "0.250s");
        assert_eq!(print_duration(-1, -1_000), "-1.000001s");
        assert_eq!(print_duration(0, -1), "-0.000000001s");
        assert_eq!(print_duration(3, 0), "3s");
    }

    #[test]
    fn timestamps_are_rfc_3339() {
        assert_eq!(timestamp("1970-01-01T00:00:00Z"), Some((0, 0)));
        assert_eq!(
            timestamp("2000-02-29T12:00:00.5+01:00"),
            Some((951_822_000, 500_000_000))
        );
        assert_eq!(timestamp("1969-12-31T23:59:59Z"), Some((-1, 0)));
        for bad in [
            "2001-02-29T00:00:00Z",
            "2001-01-01",
            "2001-01-01T24:00:00Z",
            "2001-13-01T00:00:00Z",
            "2001-01-01T00:00:00",
        ] {
            assert_eq!(timestamp(bad), None, "{bad}");
        }
        for seconds in [0, -1, 951_822_000, 1_800_000_000, -62_135_596_800] {
            assert_eq!(timestamp(&print_timestamp(seconds, 0)), Some((seconds, 0)));
        }
        assert_eq!(print_timestamp(951_822_000, 1_000_000), "2000-02-29T11:00:00.001Z");
    }

    #[test]
    fn integers_may_be_written_as_floats_or_hexadecimal_but_not_with_a_fraction() {
        assert_eq!(integer("1e3"), Some(1000));
        assert_eq!(integer("0x400"), Some(1024));
        assert_eq!(integer("010"), Some(10));
        assert_eq!(integer("+5"), Some(5));
        assert_eq!(integer("5."), Some(5));
        assert_eq!(integer("18446744073709551615"), Some(18_446_744_073_709_551_615));
        for bad in [
            "1.5", " 5", "5 ", "", "1_000", "0o17", "abc", "inf", "NaN", "+-5", "1e400",
        ] {
            assert_eq!(integer(bad), None, "{bad}");
        }
    }
}
