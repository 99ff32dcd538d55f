//! The `grpc-timeout` header (gRPC over HTTP2: `1*8DIGIT` and a unit of H, M, S, m, u or n).

use std::time::Duration;

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

/// Writes a timeout in the largest unit that keeps it within eight digits, never rounding to zero.
pub(crate) fn write(timeout: Duration, out: &mut Vec<u8>) {
    use std::io::Write;
    let millis = timeout.as_millis();
    let (number, unit) = if millis < 100_000_000 {
        // Sub-millisecond timeouts become 1 ms: 0 would mean 'already over'.
        (millis.max(u128::from(!timeout.is_zero())), 'm')
    } else {
        (u128::from(timeout.as_secs()).min(99_999_999), 'S')
    };
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{number}{unit}");
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
    fn a_written_timeout_is_never_zero_unless_it_is() {
        let written = |timeout| {
            let mut out = Vec::new();
            write(timeout, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(Duration::from_micros(1)), "1m");
        assert_eq!(written(Duration::from_millis(1500)), "1500m");
        assert_eq!(written(Duration::from_secs(1_000_000)), "1000000S");
        assert_eq!(written(Duration::ZERO), "0m");
    }
}
