//! TLVs: what is read, written again, is what stood there; what is left over is said to be malformed.

use codecs::smpp::tlv::Tlvs;
use codecs::smpp::write;

pub fn check(octets: &[u8]) {
    let mut tlvs = Tlvs::new(octets);
    let mut again = Vec::new();
    let mut first = Vec::new();
    for (tag, value) in tlvs.by_ref() {
        write::tlv(&mut again, tag, value).expect("what was read fits");
        if !first.iter().any(|(known, _)| *known == tag) {
            first.push((tag, value));
        }
    }
    assert!(octets.starts_with(&again));
    assert_eq!(tlvs.malformed(), again.len() < octets.len());
    assert!(tlvs.octets().is_empty());
    for (tag, value) in first.into_iter().take(32) {
        assert_eq!(Tlvs::new(octets).value_of(tag), Some(value));
    }
}
