//! Damaged journals: each is either read whole or refused with the place; and what can be salvaged.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::super::*;
use super::memory::{self, MemoryLog};
use super::{BOTH, SMALL, append, assert_whole, child, copy_store, drain, open_store, records};

/// A journal in memory with seven flushed groups; group 3 and 5 have several chunks.
fn seven_groups(root: &Path) -> MemoryLog {
    let log = MemoryLog::default();
    let (mut journal, recovery) = memory::open(&log, root, SMALL).unwrap();
    drain(recovery).unwrap();
    for length in [10, 20, 36_000, 40, 20_000, 0, 70] {
        journal.append(&vec![length as u8; length]).unwrap();
    }
    journal.close().unwrap();
    log
}

type Damage = fn(&mut std::collections::BTreeMap<(u64, u32), Vec<u8>>);

#[test]
fn damage_is_refused_with_its_place() {
    let cases: [(&str, Damage, &str); 10] = [
        (
            "the last group is gone",
            |chunks| drop(chunks.remove(&(7, 0))),
            "group 7 was flushed, but the newest one found is 6",
        ),
        ("all is gone", |chunks| chunks.clear(), "group 7 was flushed, but the newest one found is 0"),
        ("a hole", |chunks| drop(chunks.remove(&(4, 0))), "group 4: it is missing, or its commit chunk"),
        (
            "a commit chunk is gone",
            |chunks| drop(chunks.remove(&(3, 2))),
            "group 3: it is missing, or its commit chunk",
        ),
        ("a chunk is gone", |chunks| drop(chunks.remove(&(3, 1))), "group 3, chunk 2: chunk 1 is missing"),
        (
            "the first chunk is gone",
            |chunks| drop(chunks.remove(&(5, 0))),
            "group 5, chunk 1: chunk 0 is missing",
        ),
        (
            "the ring's first is gone",
            |chunks| drop(chunks.remove(&(1, 0))),
            "group 1: it is missing, or its commit chunk",
        ),
        (
            "a bit",
            |chunks| chunks.get_mut(&(3, 1)).unwrap()[99] ^= 4,
            "group 3, chunk 1: its bytes do not match their crc32c",
        ),
        (
            "the last bit",
            |chunks| chunks.get_mut(&(7, 0)).unwrap()[47] ^= 1,
            "group 7, chunk 0: its bytes do not match",
        ),
        (
            "a chunk in another's place",
            |chunks| drop(chunks.insert((4, 0), chunks[&(2, 0)].clone())),
            "group 4, chunk 0: it belongs elsewhere",
        ),
    ];
    for (what, damage, place) in cases {
        let root = tempfile::tempdir().unwrap();
        let log = seven_groups(root.path());
        damage(&mut log.0.lock().unwrap().current);
        let refused = memory::open(&log, root.path(), SMALL).and_then(|(_, recovery)| drain(recovery));
        let error = refused.expect_err(what).to_string();
        assert!(error.contains(place), "{what} gave {error}");
        assert!(error.contains("tidegate journal salvage DIR"), "{what} gave {error}");
    }
}

#[test]
fn a_group_that_does_not_follow_the_one_before_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let log = seven_groups(root.path());
    format::write_group(4, b"other records", 1, 1, SMALL.stamp, |chunk, bytes| {
        log.0.lock().unwrap().current.insert((4, chunk), bytes.to_vec());
        Ok(())
    })
    .unwrap();
    let (_, recovery) = memory::open(&log, root.path(), SMALL).unwrap();
    let error = drain(recovery).unwrap_err().to_string();
    assert!(error.contains("group 4: it does not follow the group 3 found here"), "{error}");
}

#[test]
fn a_last_group_without_its_commit_chunk_is_cut_unless_it_was_flushed() {
    let root = tempfile::tempdir().unwrap();
    let log = seven_groups(root.path());
    format::write_group(8, &[8; 36_000], 0, 1, SMALL.stamp, |chunk, bytes| {
        if chunk < 2 {
            log.0.lock().unwrap().current.insert((8, chunk), bytes.to_vec());
        }
        Ok(())
    })
    .unwrap();

    let layout = Layout::new(root.path());
    Mark::open(&layout.flushed()).unwrap().unwrap().write(8).unwrap();
    let error = memory::open(&log, root.path(), SMALL).err().unwrap().to_string();
    assert!(error.contains("group 8: it was flushed, but its commit chunk is missing"), "{error}");

    fs::remove_file(layout.flushed()).unwrap();
    Mark::create(&layout.flushed()).unwrap().write(7).unwrap();
    let (mut journal, recovery) = memory::open(&log, root.path(), SMALL).unwrap();
    assert_eq!(drain(recovery).unwrap().len(), 7);
    assert_eq!(
        log.0.lock().unwrap().current.keys().next_back(),
        Some(&(7, 0)),
        "removed before its number is used again"
    );
    assert_eq!(journal.append(b"new").unwrap(), 8);
}

#[test]
fn only_the_last_group_may_lack_its_commit_chunk() {
    let root = tempfile::tempdir().unwrap();
    let log = seven_groups(root.path());
    let layout = Layout::new(root.path());
    fs::remove_file(layout.flushed()).unwrap();
    log.0.lock().unwrap().current.remove(&(5, 1));
    log.0.lock().unwrap().current.retain(|(group, _), _| *group <= 5);
    log.0.lock().unwrap().current.remove(&(4, 0));
    let error = memory::open(&log, root.path(), SMALL).err().unwrap().to_string();
    assert!(error.contains("group 4: its commit chunk is missing"), "{error}");
}

/// A closed store whose ring has turned. Returns its oldest and newest group.
fn closed_store(root: &Path, options: Options) -> (u64, u64) {
    let (mut journal, _) = open_store(root, options).unwrap();
    for _ in 0..4 {
        let newest = append(&mut journal, 20);
        journal.flush().unwrap();
        journal.release_before(newest - 10);
    }
    journal.close().unwrap();
    // Reopened, so that sled has written a snapshot of it.
    let (mut journal, _) = open_store(root, options).unwrap();
    append(&mut journal, 20);
    let sizes = journal.sizes();
    journal.close().unwrap();
    (sizes.oldest_group, sizes.newest_group)
}

/// Where the chunks are.
fn data_files(root: &Path) -> Vec<PathBuf> {
    let mut files = journal_files(root);
    files.retain(|path| path.ends_with("db") || path.extension().is_some_and(|name| name == "segment"));
    files
}

fn journal_files(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join("journal")).unwrap();
    let mut files: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.push(root.join("flushed"));
    files.sort();
    files
}

/// Flips one bit. Three in four hit the data file where it is not empty, one in eight the side file.
fn flip_one_bit(root: &Path, random: &mut u64) -> String {
    let mut draw = |below: u64| {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*random >> 33) % below
    };
    let files = journal_files(root);
    let path = match draw(4) {
        0 if draw(2) == 0 => root.join("flushed"),
        0 => files[draw(files.len() as u64) as usize].clone(),
        _ => {
            let files = data_files(root);
            files[draw(files.len() as u64) as usize].clone()
        }
    };
    let mut bytes = fs::read(&path).unwrap();
    let full: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let at = full[draw(full.len() as u64) as usize];
    let bit = draw(8);
    bytes[at] ^= 1 << bit;
    fs::File::options().write(true).open(&path).unwrap().write_all_at(&bytes[at..=at], at as u64).unwrap();
    format!("{} at {at}, bit {bit}", path.file_name().unwrap().display())
}

#[test]
fn one_flipped_bit_is_harmless_or_refused_with_the_place() {
    let seed: u64 = std::env::var("TIDEGATE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let flips: u32 = std::env::var("TIDEGATE_FLIPS").ok().and_then(|flips| flips.parse().ok()).unwrap_or(100);
    for options in BOTH {
        flip_bits(options, seed, flips);
    }
}

fn flip_bits(options: Options, seed: u64, flips: u32) {
    let scratch = tempfile::tempdir().unwrap();
    let whole = scratch.path().join("whole");
    let (oldest, newest) = closed_store(&whole, options);
    let mut random = seed;
    let (mut harmless, mut refused) = (0, 0);
    for _ in 0..flips {
        let damaged = scratch.path().join("damaged");
        copy_store(&whole, &damaged);
        let place = flip_one_bit(&damaged, &mut random);
        let said = child::open_in_child(&damaged, options);
        if said == format!("whole {oldest} {newest}") {
            harmless += 1;
        } else {
            assert!(
                said.starts_with("refused ") && said.contains("/journal"),
                "seed {seed}, {place}: {said}"
            );
            assert!(said.contains("is damaged: "), "seed {seed}, {place}: {said}");
            refused += 1;
        }
        fs::remove_dir_all(damaged).unwrap();
    }
    println!("{}, seed {seed}: {harmless} harmless, {refused} refused", options.log);
    assert!(harmless > 0 && refused > 0, "seed {seed}: {harmless} harmless, {refused} refused");
}

#[test]
fn a_torn_tail_is_refused_when_it_was_flushed_and_cut_when_it_was_not() {
    for options in BOTH {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("store");
        // So large that everything is in one file.
        let options = Options { ring_bytes_min: 1 << 30, ..options };
        let (mut journal, _) = open_store(&root, options).unwrap();
        append(&mut journal, 5);
        journal.flush().unwrap();
        journal.write_mark().unwrap();
        let flushed_at = data_length(&root);
        append(&mut journal, 10);
        journal.flush().unwrap();
        let newest_at = data_length(&root);
        assert!(newest_at > flushed_at + 10_000);

        for (length, newest) in
            [(newest_at, Some(15)), (newest_at - 100, None), (flushed_at + 1, None), (flushed_at - 100, None)]
        {
            let torn = scratch.path().join(format!("torn to {length}"));
            copy_store(&root, &torn);
            fs::File::options().write(true).open(&data_files(&torn)[0]).unwrap().set_len(length).unwrap();
            let said = child::open_in_child(&torn, options);
            let found = said.strip_prefix("whole 1 ").map(|newest| newest.parse::<u64>().unwrap());
            match newest {
                Some(newest) => assert_eq!(found, Some(newest), "{length}: {said}"),
                None if length < flushed_at => assert!(
                    said.contains("group 5 was flushed") || said.contains("group 5: "),
                    "{length}: {said}"
                ),
                None => assert!(found.is_some_and(|found| (5..15).contains(&found)), "{length}: {said}"),
            }
        }
    }
}

/// How long what has been written is, without the zeros that sled's file is kept longer by.
fn data_length(root: &Path) -> u64 {
    let bytes = fs::read(&data_files(root)[0]).unwrap();
    bytes.iter().rposition(|octet| *octet != 0).map_or(0, |last| last as u64 + 1)
}

#[test]
fn salvage_of_a_whole_store_copies_all_of_it() {
    for options in BOTH {
        let scratch = tempfile::tempdir().unwrap();
        let (root, to) = (scratch.path().join("store"), scratch.path().join("new"));
        let (oldest, newest) = closed_store(&root, options);
        let report = salvage(&root, &to, options).unwrap();
        assert_eq!((report.oldest_group, report.newest_group), (oldest, newest));
        assert_eq!(
            (report.groups_copied, report.lost, report.unchained),
            (newest - oldest + 1, vec![], vec![])
        );
        let (mut journal, groups) = open_store(&to, options).unwrap();
        assert_eq!((*groups.keys().next().unwrap(), *groups.keys().next_back().unwrap()), (oldest, newest));
        assert_whole(&groups);
        assert_eq!(append(&mut journal, 1), newest + 1);
    }
}

#[test]
fn salvage_copies_what_checks_and_lists_what_is_lost() {
    for options in BOTH {
        let scratch = tempfile::tempdir().unwrap();
        let (root, to) = (scratch.path().join("store"), scratch.path().join("new"));
        let (oldest, newest) = closed_store(&root, options);
        let victim = newest - 12;
        spoil_every_copy(&root, victim);
        let said = child::open_in_child(&root, options);
        assert!(said.starts_with("refused "), "{said}");

        let read_all = || data_files(&root).iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
        let before = read_all();
        let report = salvage(&root, &to, options).unwrap();
        assert_eq!(report.lost, [victim..=victim]);
        assert_eq!(
            report.groups_copied,
            newest - oldest,
            "all others, also those behind the place where sled cut"
        );
        assert!(before == read_all(), "the damaged store is not changed");

        let (_journal, mut groups) = open_store(&to, options).unwrap();
        assert_eq!(groups.remove(&victim), Some(vec![]), "a lost group is empty");
        for (number, found) in groups {
            assert!(found == records(number), "group {number}");
        }
        assert!(matches!(salvage(&root, &to, options), Err(SalvageError::TargetExists { .. })));
    }
}

/// Flips a bit in every copy of the first chunk of a group that is anywhere in the files.
fn spoil_every_copy(root: &Path, group: u64) {
    let mut spoiled = 0;
    for path in data_files(root) {
        let mut bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len().saturating_sub(60) {
            if bytes[at..].starts_with(&format::MAGIC) && bytes[at + 8..at + 16] == group.to_be_bytes() {
                bytes[at + 50] ^= 1;
                spoiled += 1;
            }
        }
        fs::write(path, bytes).unwrap();
    }
    assert!(spoiled > 0);
}

#[test]
fn salvage_of_a_store_without_a_group_that_checks_says_what_was_there() {
    for options in BOTH {
        let scratch = tempfile::tempdir().unwrap();
        let (root, to) = (scratch.path().join("store"), scratch.path().join("new"));
        let (_, newest) = closed_store(&root, options);
        for path in data_files(&root) {
            fs::write(path, vec![0x55; 100_000]).unwrap();
        }
        let report = salvage(&root, &to, options).unwrap();
        assert_eq!((report.groups_copied, report.lost), (0, vec![1..=newest]));
    }
}
