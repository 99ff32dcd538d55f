//! The `date` header, formatted at most once a second (RFC 9110 section 5.6.7, IMF-fixdate).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The current value and until when it holds.
pub(crate) struct DateHeader {
    value: [u8; 29],
    valid_until: Option<Instant>,
}

impl DateHeader {
    pub(crate) fn new() -> Self {
        DateHeader {
            value: *b"Thu, 01 Jan 1970 00:00:00 GMT",
            valid_until: None,
        }
    }

    /// The header's value at `now`.
    pub(crate) fn value(&mut self, now: Instant) -> &[u8] {
        if self.valid_until.is_none_or(|until| now >= until) {
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.value = imf_fixdate(wall.as_secs());
            let rest = Duration::from_secs(1) - Duration::from_nanos(wall.subsec_nanos().into());
            self.valid_until = Some(now + rest);
        }
        &self.value
    }
}

/// Formats seconds since the epoch as IMF-fixdate.
fn imf_fixdate(seconds: u64) -> [u8; 29] {
    const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
    const MONTHS: [&[u8; 3]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
    ];
    let days = seconds / 86_400;
    // Civil date from a day count, with years that begin in March so that the leap day is last.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);

    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    text[0..3].copy_from_slice(DAYS[(days % 7) as usize]);
    two_digits(&mut text[5..7], day);
    text[8..11].copy_from_slice(MONTHS[month as usize]);
    two_digits(&mut text[12..14], year / 100);
    two_digits(&mut text[14..16], year % 100);
    two_digits(&mut text[17..19], seconds / 3_600 % 24);
    two_digits(&mut text[20..22], seconds / 60 % 60);
    two_digits(&mut text[23..25], seconds % 60);
    text
}

fn two_digits(at: &mut [u8], number: u64) {
    at[0] = b'0' + (number / 10 % 10) as u8;
    at[1] = b'0' + (number % 10) as u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_formatted_as_in_rfc_9110() {
        let text = |seconds| String::from_utf8(imf_fixdate(seconds).to_vec()).unwrap();
        assert_eq!(text(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(text(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(text(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(text(1_704_067_199), "Sun, 31 Dec 2023 23:59:59 GMT");
    }
}
