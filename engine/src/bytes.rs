//! Reading our own little-endian byte forms without a panic, and having them at hand; a number in digits. It knows no form.

/// What a processor fetches at once.
const CACHE_LINE: usize = 64;

/// Reads an octet in each stretch of a cache line, which brings the bytes into the cache: the result is for `black_box` alone.
pub fn fetch(bytes: &[u8]) -> u8 {
    bytes.iter().step_by(CACHE_LINE).fold(0, |all, octet| all ^ octet)
}

/// A cursor over bytes; every read is `None` past the end.
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, position: 0 }
    }

    pub fn position(&self) -> usize {
        self.position
    }

    pub fn is_empty(&self) -> bool {
        self.position >= self.bytes.len()
    }

    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.position.checked_add(count)?;
        let taken = self.bytes.get(self.position..end)?;
        self.position = end;
        Some(taken)
    }

    pub fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        self.position = self.bytes.len();
        rest
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[octet]| octet)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// A string with its length in two octets before it.
    pub fn text(&mut self) -> Option<&'a str> {
        let length = self.u16()?;
        core::str::from_utf8(self.take(usize::from(length))?).ok()
    }
}

/// Appends a string with its length in two octets before it; cut at 65,535 octets, which no name of ours reaches.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    let octets = text.as_bytes();
    let length = octets.len().min(usize::from(u16::MAX));
    out.extend_from_slice(&(length as u16).to_le_bytes());
    out.extend_from_slice(&octets[..length]);
}

/// The decimal digits of a number, without an allocation.
pub(crate) fn decimal(number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut left = number;
    let mut start = digits.len();
    // Two digits a division: a phone number takes six and not twelve.
    while left >= 100 {
        start -= 2;
        let pair = (left % 100) as u8;
        left /= 100;
        digits[start] = b'0' + pair / 10;
        digits[start + 1] = b'0' + pair % 10;
    }
    if left >= 10 {
        start -= 1;
        digits[start] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    start -= 1;
    digits[start] = b'0' + left as u8;
    &digits[start..]
}
