//! Septets packed eight in seven octets, least significant bit first, as they are on the air (3GPP TS 23.038 §6.1.2). In SMPP
//! this is the rare exception: a provider's entry asks for it. What the septets mean is not known here.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

const CARRIAGE_RETURN: u8 = 0x0D;
/// Bits of a septet and of an octet.
const SEPTET: u32 = 7;
const OCTET: u32 = 8;

/// Zero bits between a user data header of so many octets, its length octet included, and the first septet, which begins at a multiple
/// of seven bits (3GPP TS 23.040 §9.2.3.24).
pub fn fill_bits(header_octets: usize) -> u32 {
    // Seven octets are eight septets, and each octet more needs one bit less.
    u32::try_from(7usize.saturating_sub(header_octets % 7) % 7).unwrap_or(0)
}

/// Appends the packed octets of some septets, one an octet in `septets`, behind `fill` zero bits (0 to 6).
///
/// Where just seven bits are left of the last octet they would read as one more `@`. They are made a carriage return
/// (§6.1.2.3.1), and so that a text which ends in one is not mistaken for that, it gets a second.
pub fn pack(septets: &[u8], fill: u32, out: &mut Vec<u8>) {
    let mut pending = 0u32;
    let mut bits = fill % SEPTET;
    let mut push = |pending: &mut u32, bits: &mut u32, septet: u8| {
        *pending |= u32::from(septet & 0x7F) << *bits;
        *bits = bits.saturating_add(SEPTET);
        while *bits >= OCTET {
            out.push((*pending & 0xFF) as u8);
            *pending >>= OCTET;
            *bits = bits.saturating_sub(OCTET);
        }
    };
    for septet in septets {
        push(&mut pending, &mut bits, *septet);
    }
    let ends_whole = bits == 0 && septets.last() == Some(&CARRIAGE_RETURN);
    if bits == 1 || ends_whole {
        push(&mut pending, &mut bits, CARRIAGE_RETURN);
    }
    if bits > 0 {
        out.push((pending & 0xFF) as u8);
    }
}

/// The septets in some packed octets, of which the first `fill` bits (0 to 6) are none. A carriage return that only fills the
/// last octet is left out.
pub fn unpack(octets: &[u8], fill: u32) -> Vec<u8> {
    let mut septets = Vec::with_capacity(octets.len().saturating_mul(8) / 7);
    let mut pending = 0u32;
    let mut bits = 0u32;
    let mut skip = fill % SEPTET;
    for octet in octets {
        pending |= u32::from(*octet) << bits;
        bits = bits.saturating_add(OCTET);
        if skip > 0 {
            pending >>= skip;
            bits = bits.saturating_sub(skip);
            skip = 0;
        }
        while bits >= SEPTET {
            septets.push((pending & 0x7F) as u8);
            pending >>= SEPTET;
            bits = bits.saturating_sub(SEPTET);
        }
    }
    if bits == 0 && septets.last() == Some(&CARRIAGE_RETURN) {
        septets.pop();
    }
    septets
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packed(septets: &[u8], fill: u32) -> Vec<u8> {
        let mut out = Vec::new();
        pack(septets, fill, &mut out);
        out
    }

    #[test]
    fn septets_are_packed_from_the_lowest_bit() {
        let rows: [(&[u8], u32, &[u8]); 7] = [
            (b"", 0, b""),
            (b"hello", 0, &[0xE8, 0x32, 0x9B, 0xFD, 0x06]),
            (b"hellohello", 0, &[0xE8, 0x32, 0x9B, 0xFD, 0x46, 0x97, 0xD9, 0xEC, 0x37]),
            // One bit between a header of six octets and the text.
            (b"a", 1, &[0xC2]),
            // Seven septets leave seven bits: a carriage return and not an `@`.
            (b"1234567", 0, &[0x31, 0xD9, 0x8C, 0x56, 0xB3, 0xDD, 0x1A]),
            // An `@` that is meant stays.
            (b"1234567\x00", 0, &[0x31, 0xD9, 0x8C, 0x56, 0xB3, 0xDD, 0x00]),
            // And so does a carriage return that is meant.
            (b"1234567\r", 0, &[0x31, 0xD9, 0x8C, 0x56, 0xB3, 0xDD, 0x1A, 0x0D]),
        ];
        for (septets, fill, octets) in rows {
            assert_eq!(packed(septets, fill), octets, "{septets:x?}");
        }
    }

    #[test]
    fn a_text_begins_at_a_multiple_of_seven_bits_behind_its_header() {
        for (header, fill) in [(0, 0), (4, 3), (6, 1), (7, 0), (9, 5), (12, 2), (14, 0)] {
            assert_eq!(fill_bits(header), fill, "{header}");
            assert_eq!((header as u32 * 8 + fill) % 7, 0);
        }
    }

    proptest! {
        #[test]
        fn septets_come_back(septets in proptest::collection::vec(0u8..128, 0..170), fill in 0u32..7) {
            let octets = packed(&septets, fill);
            let again = unpack(&octets, fill);
            // Two returns at a whole end are one and a filler; nothing else changes.
            let doubled = again.strip_suffix(b"\r").filter(|_| septets.ends_with(b"\r"));
            prop_assert!(again == septets || doubled == Some(&septets[..]), "{again:x?}");
        }

        #[test]
        fn any_octets_can_be_unpacked(octets in any::<Vec<u8>>(), fill in any::<u32>()) {
            prop_assert!(unpack(&octets, fill).len() <= octets.len() * 8 / 7);
        }
    }
}
