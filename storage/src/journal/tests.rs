//! The journal as a whole: against a model with crashes, over damaged files, killed, and without room.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::*;

mod child;
mod damage;
mod forged;
mod memory;
mod model;
mod turning;
mod versions;

const SMALL: Options = Options {
    log: LogKind::Sled,
    durability: Durability::Fsync,
    ring_bytes_min: 64 << 10,
    cache_bytes: 1 << 20,
    mark_every: MARK_EVERY,
    stamp: *b"of tests",
};

/// Whatever is promised holds over both logs.
const BOTH: [Options; 2] = [SMALL, Options { log: LogKind::Segments, ..SMALL }];

/// The records that every test gives to a group: their length and bytes follow from its number.
fn records(group: u64) -> Vec<u8> {
    let mut state = group.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    // Most are of one chunk, some of several.
    let length = (state >> 40) as usize % if group.is_multiple_of(4) { 36_000 } else { 9_000 };
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn append(journal: &mut Journal, groups: u64) -> u64 {
    let mut newest = 0;
    for _ in 0..groups {
        let next = journal.sizes().newest_group + 1;
        newest = journal.append(&records(next)).unwrap();
        assert_eq!(newest, next);
    }
    newest
}

fn open_store(root: &Path, options: Options) -> Result<(Journal, BTreeMap<u64, Vec<u8>>), OpenError> {
    let (journal, recovery) = create_or_open(root, options)?;
    Ok((journal, drain(recovery)?))
}

fn drain(mut recovery: Recovery) -> Result<BTreeMap<u64, Vec<u8>>, OpenError> {
    let mut groups = BTreeMap::new();
    while let Some(group) = recovery.next_group()? {
        assert!(groups.insert(group.number, group.records).is_none());
    }
    Ok(groups)
}

/// Every group has the records of its number, and none is missing between the first and the last.
fn assert_whole(groups: &BTreeMap<u64, Vec<u8>>) {
    for (number, found) in groups {
        assert!(*found == records(*number), "group {number} came back with other records");
    }
    if let (Some((first, _)), Some((last, _))) = (groups.first_key_value(), groups.last_key_value()) {
        assert_eq!(last - first + 1, groups.len() as u64, "between {first} and {last}");
    }
}

fn copy_store(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_store(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn what_was_appended_and_closed_comes_back_in_order() {
    for options in BOTH {
        let root = tempfile::tempdir().unwrap();
        let (mut journal, groups) = open_store(root.path(), options).unwrap();
        assert!(groups.is_empty());
        append(&mut journal, 50);
        journal.close().unwrap();

        let (mut journal, groups) = open_store(root.path(), options).unwrap();
        assert_eq!(groups.len(), 50);
        assert_whole(&groups);
        assert_eq!(append(&mut journal, 1), 51);
        let sizes = journal.sizes();
        assert_eq!((sizes.oldest_group, sizes.newest_group, sizes.blob_files), (1, 51, 0));
        assert_eq!(sizes.bytes_live, (1..=51).map(|group| records(group).len() as u64).sum::<u64>());
    }
}

#[test]
fn nothing_is_appended_before_the_recovery_is_drained() {
    for options in BOTH {
        let root = tempfile::tempdir().unwrap();
        let (mut journal, _) = open_store(root.path(), options).unwrap();
        append(&mut journal, 2);
        journal.close().unwrap();

        let (mut journal, mut recovery) = create_or_open(root.path(), options).unwrap();
        assert!(recovery.next_group().unwrap().is_some());
        assert!(matches!(journal.append(b"x"), Err(JournalError::NotRecovered)));
        assert!(matches!(journal.flush(), Err(JournalError::NotRecovered)));
        assert!(recovery.next_group().unwrap().is_some());
        assert!(recovery.next_group().unwrap().is_none());
        assert_eq!(journal.append(b"x").unwrap(), 3);
    }
}

#[test]
fn a_second_opening_is_refused_while_the_first_lasts() {
    for options in BOTH {
        let root = tempfile::tempdir().unwrap();
        let (first, _) = open_store(root.path(), options).unwrap();
        for _ in 0..2 {
            let error = open_store(root.path(), options).err().unwrap();
            assert!(matches!(error, OpenError::Locked { .. }), "{error}");
        }
        drop(first);
        open_store(root.path(), options).unwrap();
    }
}

#[test]
fn a_torn_snapshot_of_an_interrupted_opening_is_removed() {
    let root = tempfile::tempdir().unwrap();
    let (mut journal, _) = open_store(root.path(), SMALL).unwrap();
    append(&mut journal, 3);
    journal.close().unwrap();
    let torn = root.path().join("journal/snap.FFFFFFFFFFFFFFFF.generating");
    fs::write(&torn, [1, 2, 3]).unwrap();
    let (_journal, groups) = open_store(root.path(), SMALL).unwrap();
    assert_eq!(groups.len(), 3);
    assert!(!torn.exists());
}

#[test]
fn a_file_in_blobs_stops_the_start() {
    let root = tempfile::tempdir().unwrap();
    drop(open_store(root.path(), SMALL).unwrap());
    fs::write(root.path().join("journal/blobs/1"), b"x").unwrap();
    let error = open_store(root.path(), SMALL).err().unwrap().to_string();
    assert!(error.contains("blobs/ holds files"), "{error}");
}

#[test]
fn a_journal_or_side_file_that_vanished_stops_the_start() {
    for options in BOTH {
        let root = tempfile::tempdir().unwrap();
        let (mut journal, _) = open_store(root.path(), options).unwrap();
        append(&mut journal, 3);
        journal.close().unwrap();
        fs::rename(root.path().join("flushed"), root.path().join("elsewhere")).unwrap();
        let error = open_store(root.path(), options).err().unwrap().to_string();
        assert!(error.contains("`flushed` is missing"), "{error}");

        fs::rename(root.path().join("elsewhere"), root.path().join("flushed")).unwrap();
        fs::remove_dir_all(root.path().join("journal")).unwrap();
        let error = open_store(root.path(), options).err().unwrap().to_string();
        assert!(
            error.contains("group 3 was flushed") && error.contains("tidegate journal salvage DIR"),
            "{error}"
        );
    }
}

#[test]
fn a_group_over_the_limit_is_refused_and_the_journal_goes_on() {
    for options in BOTH {
        let root = tempfile::tempdir().unwrap();
        let (mut journal, _) = open_store(root.path(), options).unwrap();
        assert!(matches!(journal.append(&vec![0; GROUP_MAX + 1]), Err(JournalError::TooLarge { .. })));
        assert_eq!(append(&mut journal, 1), 1);
        journal.flush().unwrap();
    }
}

#[test]
fn left_to_the_operating_system_a_group_outlives_the_process() {
    for options in BOTH {
        let options = Options { durability: Durability::Os, ..options };
        let root = tempfile::tempdir().unwrap();
        let (mut journal, _) = open_store(root.path(), options).unwrap();
        append(&mut journal, 20);
        journal.flush().unwrap();
        let killed = tempfile::tempdir().unwrap();
        copy_store(root.path(), killed.path());
        let (_journal, groups) = open_store(killed.path(), options).unwrap();
        assert_eq!(groups.len(), 20);
        assert_whole(&groups);
    }
}

/// Octets that the kernel has may be lost with it: a start after that must not call it damage.
#[test]
fn the_side_file_names_only_what_is_on_the_disk_itself() {
    let rows = BOTH.into_iter().flat_map(|log| [(log, Durability::Fsync, 3), (log, Durability::Os, 0)]);
    for (log, durability, expected) in rows {
        let options = Options { durability, mark_every: std::time::Duration::ZERO, ..log };
        let root = tempfile::tempdir().unwrap();
        let (mut journal, _) = open_store(root.path(), options).unwrap();
        append(&mut journal, 3);
        journal.flush().unwrap();
        let noted = || Mark::open(&root.path().join("flushed")).unwrap().unwrap().number();
        assert_eq!(noted(), expected, "{durability:?} {}", options.log);
        journal.mark().unwrap();
        assert_eq!(noted(), expected, "{durability:?} {}", options.log);
        journal.close().unwrap();
        assert_eq!(noted(), 3, "{durability:?} {}", options.log);
    }
}
