//! Any order, any repetition and any interleaving of senders gives each text once; what is incomplete ends at its time, the
//! oldest first.

#![allow(clippy::indexing_slicing, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

const WAIT: Duration = Duration::from_secs(600);

fn key(sender: u8, reference: u16, total: u8) -> Key {
    let form = [PartForm::Header8, PartForm::Header16, PartForm::Sar][usize::from(sender % 3)];
    Key { provider: 1, form, reference, total, ends: vec![sender].into() }
}

fn piece(octets: &[u8], at: i64) -> Piece {
    Piece { arrival: 0, at: Wall(at), group: 0, octets: octets.into() }
}

/// What a sender's message has as its part.
fn octets(sender: u8, message: u16, number: u8) -> Vec<u8> {
    format!("{sender}/{message}/{number} ").into_bytes()
}

fn text(assembled: &Assembled) -> Vec<u8> {
    assembled.pieces.values().flat_map(|piece| piece.octets.to_vec()).collect()
}

proptest! {
    #[test]
    fn any_order_repetition_and_interleaving_gives_each_text_once(
        totals in prop::collection::vec((0u8..4, 1u8..9), 1..12),
        shuffled in any::<prop::sample::Index>(),
        order in prop::collection::vec(any::<u32>(), 200),
        repeats in prop::collection::vec(any::<bool>(), 200),
    ) {
        let mut parts = Vec::new();
        for (message, (sender, total)) in (0u16..).zip(&totals) {
            for number in 1..=*total {
                parts.push((*sender, message, *total, number));
            }
        }
        // A part that comes again after its message was told is known by its arrival, before it comes here.
        let mut order = order;
        let middle = shuffled.index(order.len());
        order.rotate_left(middle);
        let mut sorted: Vec<_> = order.into_iter().zip(parts).collect();
        sorted.sort();
        let mut reassembly = Reassembly::default();
        let mut told = BTreeMap::new();
        for (place, (_, (sender, message, total, number))) in sorted.iter().enumerate() {
            let key = key(*sender, *message, *total);
            let octets = octets(*sender, *message, *number);
            prop_assert_eq!(reassembly.displaced(&key, *number, &octets), None);
            match reassembly.add(&key, *number, piece(&octets, 0)) {
                Taken::Complete(assembled) => {
                    prop_assert_eq!(assembled.missing(), 0);
                    prop_assert_eq!(told.insert(*message, text(&assembled)), None);
                }
                Taken::Waits(is_new) => {
                    prop_assert!(is_new);
                    if repeats[place] {
                        prop_assert_eq!(reassembly.displaced(&key, *number, &octets), None);
                        prop_assert_eq!(reassembly.add(&key, *number, piece(&octets, 0)), Taken::Waits(false));
                    }
                }
            }
        }
        for (message, (sender, total)) in (0u16..).zip(&totals) {
            let whole: Vec<u8> = (1..=*total).flat_map(|number| octets(*sender, message, number)).collect();
            prop_assert_eq!(told.get(&message), Some(&whole));
        }
        prop_assert_eq!(reassembly.len(), 0);
        prop_assert_eq!(reassembly.next_end(WAIT), None);
    }

    #[test]
    fn no_part_is_lost_whatever_is_missing_and_however_few_may_wait(
        parts in prop::collection::vec((0u8..3, 0u16..3, 2u8..5, 1u8..5), 0..60),
        most in 0usize..12,
    ) {
        let mut reassembly = Reassembly::default();
        let mut given = 0;
        let mut ended = 0;
        for (at, (sender, reference, total, number)) in (0i64..).zip(parts) {
            let key = key(sender, reference, total);
            let number = number.min(total);
            // Each is of another message: references are given out again all the time.
            let octets = at.to_le_bytes();
            ended += reassembly.displaced(&key, number, &octets).map_or(0, |other| other.pieces.len());
            given += 1;
            if let Taken::Complete(assembled) = reassembly.add(&key, number, piece(&octets, at)) {
                ended += assembled.pieces.len();
            }
            while let Some(assembled) = reassembly.end_one(Wall(at), WAIT, most) {
                ended += assembled.pieces.len();
            }
            prop_assert!(reassembly.len() <= most);
            prop_assert_eq!(given, ended + reassembly.len());
            let by_sender = reassembly.senders.values().map(|sender| sender.pieces).sum::<usize>();
            let places = reassembly.senders.values().map(|sender| sender.places.len()).sum::<usize>();
            prop_assert_eq!((by_sender, places), (reassembly.len(), reassembly.partials.len()));
            prop_assert_eq!(reassembly.ranks.len(), reassembly.senders.len());
        }
        while let Some(assembled) = reassembly.end_one(Wall(i64::MAX), WAIT, most) {
            ended += assembled.pieces.len();
        }
        prop_assert_eq!(given, ended);
    }
}

#[test]
fn the_oldest_goes_first_at_its_time_or_for_want_of_room() {
    let mut reassembly = Reassembly::default();
    for (sender, at) in [(1, 0), (2, 1_000), (3, 2_000)] {
        assert_eq!(reassembly.add(&key(sender, 7, 3), 2, piece(b"part", at)), Taken::Waits(true));
    }
    assert_eq!(reassembly.next_end(WAIT), Some(Wall(600_000)));
    assert_eq!(reassembly.end_one(Wall(599_999), WAIT, 3), None);
    let first = reassembly.end_one(Wall(600_000), WAIT, 3).expect("its time is over");
    assert_eq!((&*first.key.ends, first.missing()), (&[1][..], 2));
    let second = reassembly.end_one(Wall(600_000), WAIT, 1).expect("one too many waits");
    assert_eq!(&*second.key.ends, [2]);
    assert_eq!(reassembly.end_one(Wall(600_000), WAIT, 1), None);
}
