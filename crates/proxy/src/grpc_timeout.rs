//! The `grpc-timeout` header (gRPC over HTTP2: `1*8DIGIT` and a unit of H, M, S, m, u or n).

use std::time::Duration;

use crate::request_headers::decimal;

/// Parses a timeout; `None` if it is not one (it is then as if absent, as in Envoy).
pub(crate) fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits
        .iter()
        .fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Writes a timeout in the finest unit from milliseconds up that eight digits hold, as Envoy does.
pub(crate) fn write(timeout: Duration, text: &mut [u8; 20]) -> &[u8] {
    const MOST: u64 = 99_999_999;
    let mut number = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    let mut unit = b'm';
    for (divisor, coarser) in [(1000, b'S'), (60, b'M'), (60, b'H')] {
        if number <= MOST {
            break;
        }
        (number, unit) = (number / divisor, coarser);
    }
    let mut digits = [0; 20];
    let digits = decimal(number.min(MOST), &mut digits);
    text[..digits.len()].copy_from_slice(digits);
    text[digits.len()] = unit;
    &text[..=digits.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_parsed_in_every_unit_and_others_are_ignored() {
        assert_eq!(parse(b"1H"), Some(Duration::from_secs(3600)));
        assert_eq!(parse(b"2M"), Some(Duration::from_secs(120)));
        assert_eq!(parse(b"3S"), Some(Duration::from_secs(3)));
        assert_eq!(parse(b"250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse(b"99999999u"), Some(Duration::from_micros(99_999_999)));
        assert_eq!(parse(b"5n"), Some(Duration::from_nanos(5)));
        for bad in [&b""[..], b"m", b"1", b"1x", b"-1m", b"123456789m", b"1 m"] {
            assert_eq!(parse(bad), None);
        }
    }

    #[test]
    fn a_timeout_is_written_in_the_finest_unit_that_fits() {
        let written = |timeout| {
            let mut text = [0; 20];
            String::from_utf8(write(timeout, &mut text).to_vec()).unwrap()
        };
        assert_eq!(written(Duration::ZERO), "0m");
        assert_eq!(written(Duration::from_millis(99_999_999)), "99999999m");
        assert_eq!(written(Duration::from_millis(100_000_000)), "100000S");
        assert_eq!(written(Duration::from_secs(100_000_000)), "1666666M");
        assert_eq!(written(Duration::MAX), "99999999H");
    }
}
