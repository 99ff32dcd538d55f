//! The chunked transfer coding (RFC 9112 section 7.1), decoding side, up to the trailer section.
//!
//! ```text
//! Start -> Size -> (Extension) -> SizeLf -> Data -> DataCr -> DataLf -> Start
//!                                  `-> done (size 0): the trailer section follows
//! ```

use super::Refusal;

/// Hexadecimal digits of a chunk size: as many as 64 bits have.
const MAX_DIGITS: u8 = 16;

/// Where the decoding of a body stands.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    /// While in `Size`, the size so far; in `Data`, what is left of the chunk.
    size: u64,
    digits: u8,
    /// Extension bytes that may still come in this message.
    extension_bytes_left: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
}

/// What the input held next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// Data of a chunk, never empty.
    Data(&'a [u8]),
    /// The last chunk: the trailer section follows.
    Last,
    /// The input is used up.
    More,
}

impl Chunked {
    pub(super) fn new(max_extension_bytes: u32) -> Self {
        Self {
            state: State::Size,
            size: 0,
            digits: 0,
            extension_bytes_left: max_extension_bytes,
        }
    }

    /// Takes the next part off the front of `input`.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Part<'a>, Refusal> {
        loop {
            if self.state == State::Data {
                if input.is_empty() {
                    return Ok(Part::More);
                }
                let length = usize::try_from(self.size).unwrap_or(usize::MAX).min(input.len());
                let (data, rest) = input.split_at(length);
                *input = rest;
                self.size -= length as u64;
                if self.size == 0 {
                    self.state = State::DataCr;
                }
                return Ok(Part::Data(data));
            }
            let Some((&byte, rest)) = input.split_first() else {
                return Ok(Part::More);
            };
            *input = rest;
            if self.line(byte)? {
                return Ok(Part::Last);
            }
        }
    }

    /// One byte outside of data; true at the end of the last chunk's line.
    fn line(&mut self, byte: u8) -> Result<bool, Refusal> {
        match self.state {
            State::Size => match (byte as char).to_digit(16) {
                Some(digit) => {
                    self.digits += 1;
                    if self.digits > MAX_DIGITS {
                        return Err(Refusal::ChunkSize);
                    }
                    self.size = self.size << 4 | u64::from(digit);
                }
                None if self.digits == 0 => return Err(Refusal::ChunkSize),
                None => match byte {
                    b'\r' => self.state = State::SizeLf,
                    b'\n' => return Err(Refusal::BareLf),
                    b';' => {
                        self.state = State::Extension;
                        self.extension(byte)?;
                    }
                    // White space before the semicolon is allowed by section 7.1.1 and read in different ways.
                    _ => return Err(Refusal::ChunkSize),
                },
            },
            State::Extension => match byte {
                b'\r' => self.state = State::SizeLf,
                _ => self.extension(byte)?,
            },
            State::SizeLf => {
                if byte != b'\n' {
                    return Err(Refusal::BareCr);
                }
                self.digits = 0;
                if self.size == 0 {
                    return Ok(true);
                }
                self.state = State::Data;
            }
            State::DataCr => {
                if byte != b'\r' {
                    return Err(Refusal::ChunkEnd);
                }
                self.state = State::DataLf;
            }
            State::DataLf => {
                if byte != b'\n' {
                    return Err(Refusal::ChunkEnd);
                }
                self.state = State::Size;
            }
            State::Data => {}
        }
        Ok(false)
    }

    fn extension(&mut self, byte: u8) -> Result<(), Refusal> {
        if byte == b'\n' {
            return Err(Refusal::BareLf);
        }
        if (byte < 0x20 && byte != b'\t') || byte == 0x7f {
            return Err(Refusal::ChunkExtension);
        }
        self.extension_bytes_left = self
            .extension_bytes_left
            .checked_sub(1)
            .ok_or(Refusal::ChunkExtensionsTooLarge)?;
        Ok(())
    }

    /// Whether the data of a chunk has just ended and `input` goes on with the last chunk and no trailers; these are
    /// taken off then, so that the end travels with the last data.
    pub(super) fn ends_here(&self, input: &mut &[u8]) -> bool {
        if self.state != State::DataCr {
            return false;
        }
        let Some(rest) = input.strip_prefix(b"\r\n0\r\n\r\n") else {
            return false;
        };
        *input = rest;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data and what follows the last chunk's line; decoded whole and byte by byte, which must agree.
    fn decode(body: &[u8]) -> Result<(Vec<u8>, usize), Refusal> {
        let run = |step: usize| {
            let mut chunked = Chunked::new(20);
            let mut data = Vec::new();
            let mut taken = 0;
            for piece in body.chunks(step) {
                let mut input = piece;
                loop {
                    match chunked.next(&mut input)? {
                        Part::Data(part) => data.extend_from_slice(part),
                        Part::More => break,
                        Part::Last => return Ok((data, taken + piece.len() - input.len())),
                    }
                }
                taken += piece.len();
            }
            panic!("incomplete: {:?}", body.escape_ascii().to_string());
        };
        let whole = run(body.len());
        assert_eq!(run(1), whole);
        whole
    }

    #[test]
    fn chunks_are_joined_and_the_last_one_ends_them() {
        assert_eq!(
            decode(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
            Ok((b"hello world".to_vec(), 24))
        );
        assert_eq!(decode(b"0\r\n"), Ok((vec![], 3)));
        assert_eq!(decode(b"000\r\n"), Ok((vec![], 5)));
        assert_eq!(decode(b"A\r\n0123456789\r\n0\r\n").unwrap().0, b"0123456789");
        assert_eq!(decode(b"0a\r\n0123456789\r\n0\r\n").unwrap().0, b"0123456789");
    }

    #[test]
    fn extensions_are_ignored_and_bounded() {
        assert_eq!(decode(b"1;a=\"b c\"\r\nx\r\n0;d\r\n").unwrap().0, b"x");
        assert_eq!(
            decode(b"1;aaaaaaaaaaaaaaaaaaaaa\r\n"),
            Err(Refusal::ChunkExtensionsTooLarge)
        );
        assert_eq!(
            decode(b"1;aaaaaaaaaa\r\nx\r\n1;aaaaaaaaaaaaa\r\n"),
            Err(Refusal::ChunkExtensionsTooLarge)
        );
        assert_eq!(decode(b"1;a\x01\r\n"), Err(Refusal::ChunkExtension));
    }

    #[test]
    fn section_7_1_sizes_are_hexadecimal_digits_and_nothing_else() {
        for bad in [
            &b"\r\n"[..],
            b"g\r\n",
            b"0x5\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b" 1\r\n",
            b"1 \r\n",
            b"1 ;a\r\n",
            b"1_0\r\n",
            b"00000000000000005\r\n",
            b"fffffffffffffffff\r\n",
        ] {
            assert_eq!(
                decode(bad),
                Err(Refusal::ChunkSize),
                "{:?}",
                bad.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn lines_end_in_cr_lf_only() {
        assert_eq!(decode(b"1\nx\r\n"), Err(Refusal::BareLf));
        assert_eq!(decode(b"1;a\nx\r\n"), Err(Refusal::BareLf));
        assert_eq!(decode(b"1\rx"), Err(Refusal::BareCr));
        assert_eq!(decode(b"1\r\nx\n0\r\n"), Err(Refusal::ChunkEnd));
        assert_eq!(decode(b"1\r\nxy\r\n"), Err(Refusal::ChunkEnd));
        assert_eq!(decode(b"1\r\nx\rz"), Err(Refusal::ChunkEnd));
    }

    #[test]
    fn the_largest_size_does_not_overflow() {
        let mut chunked = Chunked::new(0);
        let mut input = &b"ffffffffffffffff\r\nabc"[..];
        assert_eq!(chunked.next(&mut input), Ok(Part::Data(b"abc")));
        assert_eq!(chunked.next(&mut input), Ok(Part::More));
    }
}
