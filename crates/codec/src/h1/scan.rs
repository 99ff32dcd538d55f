//! Finding the end of a head or trailer section, line by line, as bytes arrive.
//!
//! Nothing is parsed before a section is complete, and no byte is looked at twice, so a peer that sends one byte at a
//! time costs no more than its bytes; and a section is refused for the same reason however it was cut into reads.

use super::Refusal;

/// Where the scan of a section stands.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// Bytes looked at.
    position: usize,
    line_start: usize,
    /// Complete lines.
    lines: u32,
}

impl Scanner {
    /// Goes on over `section`, which is what was given before plus what came since. Returns the section's length once
    /// its empty line is there. At most `max_bytes` are allowed, and `max_lines` before the empty one.
    pub(super) fn scan(&mut self, section: &[u8], max_bytes: usize, max_lines: u32) -> Result<Option<usize>, Refusal> {
        let within = &section[..section.len().min(max_bytes)];
        while let Some(lf) = find_lf(within, self.position) {
            if lf == 0 || within[lf - 1] != b'\r' || lf == self.line_start {
                return Err(Refusal::BareLf);
            }
            let is_empty = lf == self.line_start + 1;
            if is_empty {
                return Ok(Some(lf + 1));
            }
            if self.lines > 0 && matches!(within[self.line_start], b' ' | b'\t') {
                return Err(Refusal::ObsFold);
            }
            self.lines += 1;
            if self.lines > max_lines {
                return Err(Refusal::TooManyHeaders);
            }
            self.position = lf + 1;
            self.line_start = lf + 1;
        }
        self.position = within.len();
        if section.len() >= max_bytes {
            Err(Refusal::HeadersTooLarge)
        } else {
            Ok(None)
        }
    }

    /// Lines before the empty one; the start line of a head counts.
    pub(super) fn lines(&self) -> usize {
        self.lines as usize
    }
}

/// Whether some CR of a section, in which every LF follows a CR, is not followed by LF.
pub(super) fn has_bare_cr(section: &[u8]) -> bool {
    let count = |wanted| section.iter().filter(|&&byte| byte == wanted).count();
    count(b'\r') != count(b'\n')
}

/// The position of the first LF from `from`.
#[inline]
pub(super) fn find_lf(bytes: &[u8], from: usize) -> Option<usize> {
    let mut position = from;
    let (chunks, rest) = bytes.get(from..)?.as_chunks::<16>();
    for chunk in chunks {
        // No early exit within a chunk: this is one vector comparison.
        if chunk.iter().fold(false, |found, &byte| found | (byte == b'\n')) {
            return chunk
                .iter()
                .position(|&byte| byte == b'\n')
                .map(|offset| position + offset);
        }
        position += chunk.len();
    }
    rest.iter()
        .position(|&byte| byte == b'\n')
        .map(|offset| position + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In one piece and in all pairs of pieces; all must agree.
    fn scan(section: &[u8]) -> Result<Option<usize>, Refusal> {
        let whole = Scanner::default().scan(section, 100, 5);
        for cut in 0..section.len() {
            let mut scanner = Scanner::default();
            match scanner.scan(&section[..cut], 100, 5) {
                Ok(None) => assert_eq!(scanner.scan(section, 100, 5), whole, "cut at {cut}"),
                early => assert_eq!(early, whole, "cut at {cut}"),
            }
        }
        whole
    }

    #[test]
    fn the_section_ends_with_its_empty_line() {
        assert_eq!(scan(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nbody\n"), Ok(Some(27)));
        assert_eq!(scan(b"\r\nmore"), Ok(Some(2)));
        assert_eq!(scan(b"GET / HTTP/1.1\r\nhost: a\r\n"), Ok(None));
        assert_eq!(scan(b""), Ok(None));
    }

    #[test]
    fn bare_lf_and_folded_lines_are_refused() {
        assert_eq!(scan(b"GET / HTTP/1.1\nhost: a\r\n\r\n"), Err(Refusal::BareLf));
        assert_eq!(scan(b"\n"), Err(Refusal::BareLf));
        assert_eq!(scan(b"a\r\n\n"), Err(Refusal::BareLf));
        assert_eq!(scan(b"a\r\n b\r\n\r\n"), Err(Refusal::ObsFold));
        assert_eq!(scan(b"a\r\n\tb\r\n\r\n"), Err(Refusal::ObsFold));
    }

    #[test]
    fn limits_hold_however_the_section_arrives() {
        assert_eq!(scan(&[b'a'; 99]), Ok(None));
        assert_eq!(scan(&[b'a'; 100]), Err(Refusal::HeadersTooLarge));
        let just_fits = [&[b'a'; 96][..], b"\r\n\r\n"].concat();
        assert_eq!(scan(&just_fits), Ok(Some(100)));
        let one_over = [&[b'a'; 97][..], b"\r\n\r\n"].concat();
        assert_eq!(scan(&one_over), Err(Refusal::HeadersTooLarge));
        assert_eq!(scan(b"a\r\nb\r\nc\r\nd\r\ne\r\n\r\n"), Ok(Some(17)));
        assert_eq!(
            scan(b"a\r\nb\r\nc\r\nd\r\ne\r\nf\r\n\r\n"),
            Err(Refusal::TooManyHeaders)
        );
    }

    #[test]
    fn bare_cr_shows_in_the_counts() {
        assert!(!has_bare_cr(b"a: b\r\n\r\n"));
        assert!(has_bare_cr(b"a: b\rc\r\n\r\n"));
    }
}
