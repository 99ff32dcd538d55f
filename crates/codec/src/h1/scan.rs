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
        while let Some(end) = find_line_end(within, self.position) {
            if within[end] == b'\n' {
                return Err(Refusal::BareLf);
            }
            self.position = end;
            match within.get(end + 1) {
                Some(b'\n') => {}
                Some(_) => return Err(Refusal::BareCr),
                None => break,
            }
            if end == self.line_start {
                return Ok(Some(end + 2));
            }
            if self.lines > 0 && matches!(within[self.line_start], b' ' | b'\t') {
                return Err(Refusal::ObsFold);
            }
            self.lines += 1;
            if self.lines > max_lines {
                return Err(Refusal::TooManyHeaders);
            }
            self.position = end + 2;
            self.line_start = end + 2;
        }
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

/// The position of the first CR or LF from `from`.
#[inline]
fn find_line_end(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let (words, tail) = rest.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = zero_bytes(word ^ repeated(b'\r')) | zero_bytes(word ^ repeated(b'\n'));
        if found != 0 {
            return Some(from + index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let offset = tail.iter().position(|&byte| matches!(byte, b'\r' | b'\n'))?;
    Some(from + words.len() * 8 + offset)
}

const fn repeated(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The high bit of each byte that is zero; of those above the lowest zero byte it may be wrong.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(repeated(0x01)) & !word & repeated(0x80)
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
    fn bare_cr_is_refused_where_it_stands() {
        assert_eq!(scan(b"a: b\rc\r\n\r\n"), Err(Refusal::BareCr));
        assert_eq!(scan(b"a\r\r\n\r\n"), Err(Refusal::BareCr));
        assert_eq!(scan(b"a: b\r"), Ok(None));
    }

    #[test]
    fn line_ends_are_found_at_every_distance() {
        for distance in 0..40 {
            for end in [b'\r', b'\n'] {
                let mut bytes = vec![b'x'; distance];
                bytes.extend([end, b'\r', b'\n', b'\x0b', end]);
                for from in 0..=distance {
                    assert_eq!(find_line_end(&bytes, from), Some(distance));
                }
            }
        }
        assert_eq!(find_line_end(&[0x0c; 20], 0), None);
        assert_eq!(find_line_end(b"abc", 3), None);
    }
}
