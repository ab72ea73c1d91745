//! Octets in as few bits as their frequency allows: a Huffman code of its own for each string. What LZ4 leaves of texts that
//! do not repeat themselves is letters, and a letter is worth some five bits.
//!
//! Coded: octets before u32 little-endian · first and last octet that occurs u8 · the lengths of the codes from one to the
//! other, four bits each · the codes, from the low bit up. Codes are canonical: by length, then by octet.

/// The longest code; a table of all its values stays in the cache.
const LENGTH_MAX: u32 = 11;
const TABLE: usize = 1 << LENGTH_MAX;
/// Codes that fit beside what is left of an octet.
const AT_ONCE: usize = 4;
/// As many bits as leave room for what is left of an octet, and below them for a length.
const BITS_AT_ONCE: u32 = 49;
/// Leaves and inner nodes of a code of all octets.
const NODES: usize = 511;

/// Appends `octets` in coded form to `out`, unless that is longer; whether it did.
pub fn encode(octets: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(length) = u32::try_from(octets.len()) else { return false };
    let counts = count(octets);
    let Some(first) = counts.iter().position(|count| *count > 0) else { return false };
    let last = counts.iter().rposition(|count| *count > 0).unwrap_or(first);
    let lengths = lengths(&counts);
    let bits: u64 =
        counts.iter().zip(&lengths).map(|(count, length)| u64::from(*count) * u64::from(*length)).sum();
    let head = 6 + (last - first + 2) / 2;
    let coded = head + bits.div_ceil(8) as usize;
    if coded >= octets.len() {
        return false;
    }
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[first as u8, last as u8]);
    for pair in lengths[first..=last].chunks(2) {
        out.push(pair[0] | pair.get(1).copied().unwrap_or(0) << 4);
    }
    write_codes(octets, &codes(&lengths), bits, out);
    true
}

/// What `encode` was given; `None` when it did not write this, or when it would be longer than `most`.
pub fn decode(coded: &[u8], most: usize) -> Option<Vec<u8>> {
    let (length, rest) = coded.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (&[first, last], rest) = rest.split_first_chunk::<2>()?;
    let kinds = usize::from(last.checked_sub(first)?) + 1;
    let (packed, bits) = rest.split_at_checked(kinds.div_ceil(2))?;
    // Each code has a bit at least.
    if length > most || length > bits.len().checked_mul(8)? {
        return None;
    }
    let mut lengths = [0; 256];
    for (index, length) in lengths.iter_mut().skip(usize::from(first)).take(kinds).enumerate() {
        *length = packed.get(index / 2)? >> (4 * (index % 2)) & 15;
    }
    read_codes(bits, length, &table(&lengths)?)
}

/// Four counts at once: the same octet twice in a row would wait for itself.
fn count(octets: &[u8]) -> [u32; 256] {
    let mut counts = [[0u32; 256]; 4];
    let (quads, rest) = octets.as_chunks::<4>();
    for quad in quads {
        for (counts, octet) in counts.iter_mut().zip(quad) {
            // Their length is a u32, so that no count is more.
            let count = &mut counts[usize::from(*octet)];
            *count = count.wrapping_add(1);
        }
    }
    for octet in rest {
        counts[0][usize::from(*octet)] += 1;
    }
    let [mut total, others @ ..] = counts;
    for other in others {
        for (total, count) in total.iter_mut().zip(other) {
            *total = total.wrapping_add(count);
        }
    }
    total
}

/// The length of each octet's code, 0 where it does not occur. Counts are levelled until no code is too long.
fn lengths(counts: &[u32; 256]) -> [u8; 256] {
    // The count above its octet.
    let counts = (0u64..).zip(counts).filter(|(_, count)| **count > 0);
    let mut leaves: Vec<u64> = counts.map(|(octet, count)| u64::from(*count) << 8 | octet).collect();
    let depths = loop {
        leaves.sort_unstable();
        let depths = depths(&leaves);
        if depths.iter().take(leaves.len()).all(|depth| u32::from(*depth) <= LENGTH_MAX) {
            break depths;
        }
        for leaf in &mut leaves {
            *leaf = ((*leaf >> 8) / 4 + 1) << 8 | *leaf & 0xff;
        }
    };
    let mut lengths = [0; 256];
    for (leaf, depth) in leaves.iter().zip(depths) {
        lengths[usize::from(*leaf as u8)] = depth;
    }
    lengths
}

/// How deep leaves are in Huffman's tree, which come by count. It is made by the two queues: of leaves, and of inner nodes,
/// which come in order of their counts by themselves.
fn depths(leaves: &[u64]) -> [u8; NODES] {
    let mut depths = [0; NODES];
    let count = leaves.len();
    if count == 1 {
        depths[0] = 1;
        return depths;
    }
    // Nodes: the leaves, then the inner ones in the order in which they are made. A parent is always behind its children.
    let mut weights = [0u32; NODES];
    let mut parents = [0u16; NODES];
    for (weight, leaf) in weights.iter_mut().zip(leaves) {
        *weight = (leaf >> 8) as u32;
    }
    let (mut leaf, mut inner) = (0, count);
    for parent in count..(count * 2).saturating_sub(1) {
        let mut weight = 0;
        for _ in 0..2 {
            let takes_leaf = leaf < count && (inner >= parent || weights[leaf] <= weights[inner]);
            let taken = if takes_leaf { &mut leaf } else { &mut inner };
            weight += weights[*taken];
            parents[*taken] = parent as u16;
            *taken += 1;
        }
        weights[parent] = weight;
    }
    for node in (0..(count * 2).saturating_sub(2)).rev() {
        depths[node] = depths[usize::from(parents[node])].saturating_add(1);
    }
    depths
}

/// Each octet's code, its low bit first, above its length in bits 8 and up.
fn codes(lengths: &[u8; 256]) -> [u32; 256] {
    let mut of_length = [0u32; LENGTH_MAX as usize + 1];
    for length in lengths.iter().filter(|length| **length > 0) {
        of_length[usize::from(*length)] += 1;
    }
    // The first code of a length follows the last one of the length before.
    let (mut next, mut code) = ([0u32; LENGTH_MAX as usize + 1], 0);
    for (next, count) in next.iter_mut().zip(of_length) {
        code <<= 1;
        *next = code;
        code += count;
    }
    let mut codes = [0; 256];
    for (code, length) in codes.iter_mut().zip(lengths).filter(|(_, length)| **length > 0) {
        let next = &mut next[usize::from(*length)];
        *code = next.reverse_bits() >> (u32::BITS - u32::from(*length)) << 8 | u32::from(*length);
        *next += 1;
    }
    codes
}

/// Codes in the high bits, where the next one pushes them down, and their lengths in the low ones.
fn raised(codes: &[u32; 256]) -> [u64; 256] {
    let mut raised = [0; 256];
    for (raised, code) in raised.iter_mut().zip(codes).filter(|(_, code)| **code > 0) {
        let length = code & 0xff;
        *raised = u64::from(code >> 8) << (u64::BITS - length) | u64::from(length);
    }
    raised
}

fn write_codes(octets: &[u8], codes: &[u32; 256], bits: u64, out: &mut Vec<u8>) {
    let start = out.len();
    let end = start + bits.div_ceil(8) as usize;
    // Room for a whole word at the last octet.
    out.resize(end + 8, 0);
    let codes = raised(codes);
    let code = |octet: &u8| codes[usize::from(*octet)];
    let mut bits = Bits { word: 0, filled: 0, at: start };
    let (quads, rest) = octets.as_chunks::<AT_ONCE>();
    let (pairs, last) = quads.as_chunks::<2>();
    let quad = |octets: &[u8; AT_ONCE]| {
        let [a, b, c, d] = octets.each_ref().map(code);
        let length = a.wrapping_add(b).wrapping_add(c).wrapping_add(d) as u8;
        (then(then(then(a, b), c), d), u32::from(length))
    };
    for [first, second] in pairs {
        // Codes are together before they meet what is before them: none waits for that.
        let (first, second) = (quad(first), quad(second));
        if first.1 + second.1 <= BITS_AT_ONCE {
            bits.push(first.0.wrapping_shr(second.1) | second.0, first.1 + second.1, out);
        } else {
            bits.push(first.0, first.1, out);
            bits.push(second.0, second.1, out);
        }
    }
    for (codes, length) in last.iter().map(quad) {
        bits.push(codes, length, out);
    }
    for code in rest.iter().map(code) {
        bits.push(code, u32::from(code as u8), out);
    }
    out.truncate(end);
}

/// A raised code behind others.
fn then(before: u64, code: u64) -> u64 {
    before.wrapping_shr(code as u32) | code
}

/// What is written bit by bit.
struct Bits {
    /// Raised codes, of which the last so many bits are not yet in a whole octet.
    word: u64,
    filled: u32,
    at: usize,
}

impl Bits {
    /// Writes raised codes of at most `BITS_AT_ONCE`: what is below them is pushed out before it could be written.
    #[inline(always)]
    fn push(&mut self, codes: u64, length: u32, out: &mut [u8]) {
        self.word = self.word.wrapping_shr(length) | codes;
        self.filled += length;
        let octets = self.word.wrapping_shr(self.filled.wrapping_neg()).to_le_bytes();
        out[self.at..][..8].copy_from_slice(&octets);
        self.at += (self.filled / 8) as usize;
        self.filled %= 8;
    }
}

/// For each value of the next bits the octet and, above it, the length of its code. `None` when the lengths are no code's.
fn table(lengths: &[u8; 256]) -> Option<Vec<u16>> {
    let used: usize = lengths
        .iter()
        .filter(|length| **length > 0)
        .map(|length| TABLE.checked_shr(u32::from(*length)))
        .sum::<Option<usize>>()?;
    if used > TABLE || lengths.iter().any(|length| u32::from(*length) > LENGTH_MAX) {
        return None;
    }
    let mut table = vec![0; TABLE];
    for (octet, code) in (0u16..).zip(codes(lengths)) {
        let (length, code) = (code & 0xff, code >> 8);
        if length > 0 {
            for entry in table.iter_mut().skip(code as usize).step_by(1 << length) {
                *entry = (length as u16) << 8 | octet;
            }
        }
    }
    Some(table)
}

fn read_codes(bits: &[u8], length: usize, table: &[u16]) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(length);
    let (mut word, mut filled, mut at) = (0u64, 0u32, 0);
    while octets.len() < length {
        let mut next = [0; 8];
        let there = bits.get(at..).unwrap_or_default();
        match there.first_chunk::<8>() {
            Some(whole) => next = *whole,
            None => next.iter_mut().zip(there).for_each(|(octet, found)| *octet = *found),
        }
        // At least 56 bits are there now, and four codes have 44.
        word |= u64::from_le_bytes(next) << filled;
        let taken = (63 - filled) / 8;
        at += taken as usize;
        filled += taken * 8;
        for _ in 0..AT_ONCE.min(length - octets.len()) {
            let entry = *table.get(word as usize & (TABLE - 1))?;
            let used = u32::from(entry >> 8);
            if used == 0 {
                return None;
            }
            octets.push(entry as u8);
            word >>= used;
            filled -= used;
        }
    }
    // What was read beyond the end was no code.
    let used = (at * 8).saturating_sub(filled as usize);
    (used <= bits.len() * 8).then_some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise in which octets are as frequent as their table says.
    fn noise(length: usize, mut seed: u64, of: impl Fn(u64) -> u8) -> Vec<u8> {
        let mut octets = Vec::with_capacity(length);
        for _ in 0..length {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            octets.push(of(seed >> 33));
        }
        octets
    }

    #[test]
    fn what_is_coded_is_decoded_and_letters_take_five_bits() {
        let letters = |draw: u64| b"eeeetttaaooiinnsshhrrdlcumwfgypbvkjxqz     "[draw as usize % 43];
        for length in (1..200).chain([1_000, 10_000, 100_001]) {
            let octets = noise(length, length as u64, letters);
            let mut coded = Vec::new();
            if encode(&octets, &mut coded) {
                assert_eq!(decode(&coded, length).as_deref(), Some(&octets[..]), "{length}");
                assert_eq!(decode(&coded, length - 1), None);
            }
            assert!(length < 200 || coded.len() * 8 < length * 5 + 800, "{length}: {}", coded.len());
        }
    }

    #[test]
    fn any_distribution_has_codes_that_fit_the_table() {
        let fibonacci = |draw: u64| (draw.trailing_zeros() * 3 % 256) as u8;
        let table: [(&str, Vec<u8>); 4] = [
            ("one octet", vec![7; 5_000]),
            ("two octets", noise(5_000, 3, |draw| (draw % 2) as u8 * 255)),
            ("steep", noise(1 << 18, 5, fibonacci)),
            ("almost even", noise(50_000, 9, |draw| (draw % 251).min(draw % 200) as u8)),
        ];
        for (name, octets) in table {
            let mut coded = Vec::new();
            assert!(encode(&octets, &mut coded), "{name}");
            assert_eq!(decode(&coded, octets.len()), Some(octets), "{name}");
        }
        assert!(!encode(&noise(4_096, 1, |draw| draw as u8), &mut Vec::new()), "noise gains nothing");
        assert!(!encode(&[], &mut Vec::new()));
    }

    #[test]
    fn coded_octets_are_those_of_every_release() {
        let sums = [3, 43, 90].map(|kinds| {
            let sum = |sum: u32, octet: &u8| sum.rotate_left(5) ^ u32::from(*octet);
            let mut coded = Vec::new();
            for length in 0..300 {
                let octets = noise(length, length as u64, |draw| (draw % kinds * (draw >> 9) % kinds) as u8);
                encode(&octets, &mut coded);
            }
            (coded.len(), coded.iter().fold(0, sum))
        });
        assert_eq!(sums, [(10_520, 397_699_278), (34_086, 3_990_017_936), (26_958, 1_553_046_192)]);
    }

    #[test]
    fn damage_gives_octets_or_nothing() {
        let octets = noise(500, 11, |draw| b'a' + (draw % 9) as u8);
        let mut coded = Vec::new();
        assert!(encode(&octets, &mut coded));
        for cut in 0..coded.len() {
            assert_eq!(decode(&coded[..cut], 1 << 20), None, "cut at {cut}");
        }
        for (place, octet) in (0..coded.len()).flat_map(|place| [0, 1, 127, 255].map(|octet| (place, octet)))
        {
            let mut damaged = coded.clone();
            damaged[place] = octet;
            let _ = decode(&damaged, 1 << 20);
        }
    }
}
