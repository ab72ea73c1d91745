//! People who write to the tenants: texts whole and in parts, in every way that long ones come, some of them twice. Each phone
//! writes once. How they reach the gateway is `provider`'s, what must have become of them `verdict`'s.

use std::collections::BTreeSet;

use crate::dice::Dice;
use crate::pdu::{MESSAGE_PAYLOAD, Sm};

/// The address for which no rule names a tenant.
const NOBODY: &str = "nobody";
/// Octets of a part.
const PART: usize = 30;
const UDHI: u8 = 0x40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Header8,
    Header16,
    Sar,
    Payload,
}

/// One text, and which of its parts the gateway has acknowledged.
#[derive(Clone, Debug)]
pub struct Text {
    pub phone: u64,
    /// Whose it is; none for nobody's.
    pub tenant: Option<usize>,
    pub octets: Vec<u8>,
    to: String,
    way: Way,
    parts: usize,
    acknowledged: BTreeSet<usize>,
}

/// One deliver_sm: of which text, which part.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    pub of: usize,
    pub part: usize,
}

impl Text {
    /// The gateway has taken all of it.
    pub fn is_taken(&self) -> bool {
        self.acknowledged.len() == self.parts
    }

    pub fn acknowledge(&mut self, part: usize) {
        self.acknowledged.insert(part);
    }

    /// The PDU of a part.
    pub fn write(&self, part: usize) -> Sm {
        let (source, destination) = (self.phone.to_string(), self.to.clone());
        let sm = Sm { source, destination, ..Sm::default() };
        let end = self.octets.len().min((part + 1) * PART);
        let piece = self.octets[part * PART..].get(..end - part * PART).unwrap_or_default();
        let (total, number) = (self.parts as u8, part as u8 + 1);
        match self.way {
            Way::Payload => Sm { tlvs: vec![(MESSAGE_PAYLOAD, self.octets.clone())], ..sm },
            _ if self.parts == 1 => Sm { text: self.octets.clone(), ..sm },
            Way::Header8 => {
                let text = [&[5, 0, 3, 7, total, number], piece].concat();
                Sm { esm_class: UDHI, text, ..sm }
            }
            Way::Header16 => {
                let text = [&[6, 8, 4, 1, 7, total, number], piece].concat();
                Sm { esm_class: UDHI, text, ..sm }
            }
            Way::Sar => {
                let tlvs = vec![(0x20C, vec![0, 7]), (0x20E, vec![total]), (0x20F, vec![number])];
                Sm { text: piece.to_vec(), tlvs, ..sm }
            }
        }
    }
}

/// What people write to these tenants through one provider, and when each PDU of it comes, in milliseconds.
pub fn draw(dice: &mut Dice, provider: u64, tenants: usize) -> (Vec<Text>, Vec<(u64, Said)>) {
    let (mut texts, mut said) = (Vec::new(), Vec::new());
    let count = if tenants == 0 { 0 } else { dice.in_range(0..25) };
    for place in 0..count {
        let phone = 255_000_000_000 + provider * 1_000_000 + place;
        let tenant = Some(dice.in_range(0..tenants as u64) as usize).filter(|_| !dice.happens(10));
        let way = dice.choose(&[Way::Header8, Way::Header16, Way::Sar, Way::Payload]);
        let words = dice.in_range(1..8) as usize;
        let octets = format!("{phone} writes. ").repeat(words).into_bytes();
        let parts = match way {
            Way::Payload => 1,
            _ if octets.len() <= PART => 1,
            _ => octets.len().div_ceil(PART),
        };
        let to = tenant.map_or(NOBODY.to_owned(), |tenant| format!("t{tenant}"));
        let began = dice.in_range(0..60_000);
        for part in 0..parts {
            let times = if dice.happens(20) { 2 } else { 1 };
            for _ in 0..times {
                said.push((began + dice.in_range(0..20_000), Said { of: texts.len(), part }));
            }
        }
        texts.push(Text { phone, tenant, octets, to, way, parts, acknowledged: BTreeSet::new() });
    }
    (texts, said)
}
