//! The ring over many turns: the disk stays bounded, and nothing is lost that was not released.

use super::super::*;
use super::{BOTH, append, assert_whole, open_store, records};

#[test]
fn a_tiny_ring_turns_many_times_on_a_bounded_disk() {
    for options in BOTH {
        let options = Options { ring_bytes_min: 512 << 10, ..options };
        let root = tempfile::tempdir().unwrap();
        let (mut journal, _) = open_store(root.path(), options).unwrap();
        let mut written = 0;
        let mut most_on_disk = 0;
        for turn in 0..120 {
            let newest = append(&mut journal, 50);
            written += (newest - 49..=newest).map(|group| records(group).len() as u64).sum::<u64>();
            journal.flush().unwrap();
            journal.release_before(newest - 20);
            let sizes = journal.sizes();
            assert_eq!(sizes.blob_files, 0);
            assert!(
                sizes.oldest_group <= newest - 20,
                "turn {turn}: {} was not released",
                sizes.oldest_group
            );
            if turn > 5 {
                assert!(sizes.bytes_live <= 2 * options.ring_bytes_min, "turn {turn}: {sizes:?}");
            }
            most_on_disk = most_on_disk.max(sizes.disk_bytes);
        }
        assert!(written > 60 * options.ring_bytes_min);
        // sled needs a few segments more than twice its content.
        assert!(
            most_on_disk < 24 << 20,
            "{most_on_disk} bytes on disk for a ring of {}",
            options.ring_bytes_min
        );
        let sizes = journal.sizes();
        journal.close().unwrap();

        let (mut journal, groups) = open_store(root.path(), options).unwrap();
        assert_whole(&groups);
        assert_eq!(
            (groups.keys().next(), groups.keys().next_back()),
            (Some(&sizes.oldest_group), Some(&6_000))
        );
        assert_eq!(journal.sizes().bytes_live, sizes.bytes_live);
    }
}

#[test]
fn the_journal_says_how_far_the_ring_is_over() {
    for options in BOTH {
        let root = tempfile::tempdir().unwrap();
        let options = Options { ring_bytes_min: 10_000, ..options };
        let (mut journal, _) = open_store(root.path(), options).unwrap();
        for _ in 0..10 {
            journal.append(&[1; 1_000]).unwrap();
        }
        assert_eq!(journal.bytes_over_target(), 0);
        journal.append(&[1; 1_000]).unwrap();
        assert_eq!(journal.bytes_over_target(), 1_000);
        journal.release_before(3);
        assert_eq!(journal.bytes_over_target(), 1_000);
        journal.set_living_bytes(2_750);
        assert_eq!(journal.bytes_over_target(), 0, "the ring grows to four times what is living");
        journal.set_living_bytes(0);
        journal.append(&[1; 1_000]).unwrap();
        assert_eq!(journal.sizes().oldest_group, 2, "as many chunks were removed as written");
    }
}

#[test]
fn released_groups_stay_while_the_ring_has_room() {
    for options in BOTH {
        let root = tempfile::tempdir().unwrap();
        let (mut journal, _) =
            open_store(root.path(), Options { log: options.log, ..Options::default() }).unwrap();
        append(&mut journal, 30);
        journal.release_before(31);
        append(&mut journal, 30);
        assert_eq!(journal.sizes().oldest_group, 1);
    }
}
