//! Blocks come back as written, whatever ends the process; databases follow each other by month and go by age.

use std::fs;
use std::path::Path;
use std::thread;

use super::*;
use crate::database::{Database, Settings};
use crate::log::Durability;

/// Some moment of November 2026, and how long a month is at most.
const NOVEMBER: i64 = 1_795_000_000_000;
const MONTH: i64 = 31 * 86_400_000;

fn octets(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|index| (index as u8).wrapping_mul(31) ^ seed).collect()
}

fn stored(bytes: &[u8], amendment: Option<&[u8]>) -> Option<StoredBlock> {
    Some(StoredBlock { bytes: bytes.to_vec(), amendment: amendment.map(<[u8]>::to_vec) })
}

fn opened(directory: &Path) -> Archive {
    let mut archive = Archive::open(directory, Options::default()).unwrap();
    archive.make_room(0, NOVEMBER).unwrap();
    archive
}

fn read(archive: &Archive, block: u64) -> Option<StoredBlock> {
    archive.reader().read_block(block).unwrap()
}

/// The names of the databases, in order.
fn databases(directory: &Path) -> Vec<String> {
    let list = fs::read_to_string(directory.join("databases")).unwrap();
    list.lines().map(str::to_owned).collect()
}

#[test]
fn blocks_of_any_length_come_back_after_a_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let lengths = [0, 1, 4_000, 4_079, 4_080, 4_096, 8_192, 8_193, 100_000];
    let mut archive = opened(directory.path());
    for (number, length) in lengths.into_iter().enumerate() {
        archive.write_block(number as u64, &octets(1, length)).unwrap();
    }
    archive.flush().unwrap();
    drop(archive);
    let archive = opened(directory.path());
    for (number, length) in lengths.into_iter().enumerate() {
        assert_eq!(read(&archive, number as u64), stored(&octets(1, length), None), "{length} bytes");
    }
    assert_eq!(read(&archive, 99), None);
    assert_eq!((archive.blob_files(), archive.reader.databases.last_block()), (0, Some(8)));
}

#[test]
fn writing_again_replaces_block_and_amendment() {
    let directory = tempfile::tempdir().unwrap();
    let mut archive = opened(directory.path());
    for length in [50_000, 9_000, 100, 20_000, 0, 5_000, 5_000] {
        archive.write_block(7, &octets(length as u8, length)).unwrap();
        assert_eq!(read(&archive, 7), stored(&octets(length as u8, length), None), "{length} bytes");
        archive.amend(7, b"first").unwrap();
        archive.amend(7, &octets(9, length)).unwrap();
        archive.write_block(6, b"neighbour").unwrap();
        let expected = stored(&octets(length as u8, length), Some(&octets(9, length)));
        assert_eq!(read(&archive, 7), expected, "{length} bytes");
    }
    assert_eq!(read(&archive, 6), stored(b"neighbour", None));
}

#[test]
fn notes_are_found_by_name_and_by_what_comes_before() {
    let directory = tempfile::tempdir().unwrap();
    let mut archive = opened(directory.path());
    let reader = archive.reader();
    archive.write_block(3, b"block").unwrap();
    for (name, length) in [(b"Ta1", 10), (b"Ta5", 30_000), (b"Tb2", 0)] {
        archive.put_note(3, name, &octets(name[2], length)).unwrap();
    }
    let before = |prefix: &[u8], to: &[u8]| reader.note_before(3, prefix, to).unwrap().map(|(name, _)| name);
    /// What the name begins with, where it must stand before, and the note that is found.
    type Row = (&'static [u8], &'static [u8], Option<&'static [u8]>);
    let table: [Row; 5] = [
        (b"Ta", b"Ta9", Some(b"Ta5")),
        (b"Ta", b"Ta5", Some(b"Ta1")),
        (b"Ta", b"Ta1", None),
        (b"Tb", b"Tb9", Some(b"Tb2")),
        (b"Tc", b"Tc9", None),
    ];
    for (prefix, to, expected) in table {
        assert_eq!(before(prefix, to).as_deref(), expected, "{to:?}");
    }
    assert_eq!(reader.read_note(3, b"Ta5").unwrap(), Some(octets(b'5', 30_000)));
    archive.remove_note(3, b"Ta5").unwrap();
    assert_eq!(reader.read_note(3, b"Ta5").unwrap(), None);
    assert_eq!(before(b"Ta", b"Ta9").as_deref(), Some(&b"Ta1"[..]));
}

#[test]
fn a_month_a_period_or_a_bound_begins_a_database_and_blocks_stay_where_they_are() {
    let hour = 3_600_000;
    let rows = [
        ("the next month", Options::default(), MONTH, 2),
        ("the same month", Options::default(), hour, 1),
        ("a short period", Options { period_millis: hour, ..Options::default() }, hour, 2),
        ("a bound", Options { bytes_max: 1 << 20, ..Options::default() }, hour, 2),
    ];
    for (name, options, later, count) in rows {
        let directory = tempfile::tempdir().unwrap();
        let mut archive = Archive::open(directory.path(), options).unwrap();
        assert!(archive.reader().is_empty());
        assert!(archive.make_room(100, NOVEMBER).unwrap());
        archive.write_block(100, &octets(1, 3_000_000)).unwrap();
        assert_eq!(archive.make_room(200, NOVEMBER + later).unwrap(), count == 2, "{name}");
        archive.write_block(200, b"later").unwrap();
        // One that came before and is written only now, and one that is written again.
        assert!(!archive.make_room(90, NOVEMBER + later).unwrap());
        archive.write_block(90, b"late").unwrap();
        archive.write_block(100, b"again").unwrap();
        archive.flush().unwrap();
        assert_eq!(databases(directory.path()).len(), count, "{name}");
        drop(archive);
        let archive = Archive::open(directory.path(), options).unwrap();
        for (block, bytes) in [(100, &b"again"[..]), (200, b"later"), (90, b"late")] {
            assert_eq!(read(&archive, block), stored(bytes, None), "{name}: block {block}");
        }
        let reader = archive.reader();
        assert_eq!(reader.database_of(199), Some(0), "{name}");
        assert_eq!(reader.database_of(200), Some(if count == 2 { 200 } else { 0 }), "{name}");
        assert_eq!(archive.reader.databases.last_block(), Some(200), "{name}");
    }
}

#[test]
fn after_a_start_with_a_clock_far_ahead_databases_are_cut_as_before() {
    let hour = 3_600_000;
    let short = Options { period_millis: hour, ..Options::default() };
    let small = Options { bytes_max: 1 << 20, ..Options::default() };
    let year = NOVEMBER + 12 * MONTH;
    // When the newest began, the blocks that come then, and how many databases there are at last.
    let rows: [(&str, Options, &[i64], usize); 5] = [
        ("months", Options::default(), &[NOVEMBER, NOVEMBER + MONTH], 3),
        ("periods", short, &[NOVEMBER, NOVEMBER + 2 * hour], 3),
        ("a little ahead", Options::default(), &[year - 31 * 24 * hour, year], 1),
        ("less than a period ahead", short, &[year - hour, year], 1),
        ("a bound", small, &[year - hour], 2),
    ];
    for (name, options, then, count) in rows {
        let directory = tempfile::tempdir().unwrap();
        let mut archive = Archive::open(directory.path(), options).unwrap();
        archive.make_room(0, year).unwrap();
        archive.write_block(0, &octets(1, 3_000_000)).unwrap();
        for (block, accepted) in (1..).zip(then) {
            archive.make_room(block, *accepted).unwrap();
        }
        assert_eq!(databases(directory.path()).len(), count, "{name}");
    }
}

#[test]
fn what_was_only_written_to_is_closed_when_two_more_have_begun_and_is_still_read() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { period_millis: 1, ..Options::default() };
    let mut archive = Archive::open(directory.path(), options).unwrap();
    for month in 0..6 {
        archive.make_room(month, NOVEMBER + month as i64 * 10).unwrap();
        archive.write_block(month, b"one").unwrap();
        archive.flush().unwrap();
        archive.mark().unwrap();
    }
    let databases = &archive.reader.databases;
    // The newest, the one before it, and the one that was not marked yet when they began.
    assert_eq!((0..6).filter(|month| databases.slot_of(*month).unwrap().is_open()).count(), 2);
    for month in 0..6 {
        assert_eq!(read(&archive, month), stored(b"one", None));
    }
}

#[test]
fn a_database_never_begins_at_a_block_that_the_one_before_has() {
    let directory = tempfile::tempdir().unwrap();
    let mut archive = opened(directory.path());
    archive.make_room(7, NOVEMBER).unwrap();
    archive.write_block(7, b"seven").unwrap();
    archive.flush().unwrap();
    for start in ["as it was written", "after a start"] {
        assert!(!archive.make_room(7, NOVEMBER + MONTH).unwrap(), "{start}");
        assert_eq!(read(&archive, 7), stored(b"seven", None), "{start}");
        drop(archive);
        archive = Archive::open(directory.path(), Options::default()).unwrap();
    }
    assert!(archive.make_room(8, NOVEMBER + MONTH).unwrap());
    assert_eq!(read(&archive, 7), stored(b"seven", None));
}

#[test]
fn a_database_is_closed_only_when_it_was_flushed_and_marked() {
    for (flushes, marks) in [(false, false), (true, false), (false, true), (true, true)] {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { period_millis: 1, ..Options::default() };
        let mut archive = Archive::open(directory.path(), options).unwrap();
        for month in 0..4 {
            archive.make_room(month, NOVEMBER + month as i64 * 10).unwrap();
            archive.write_block(month, b"one").unwrap();
            if flushes && month == 0 {
                archive.flush().unwrap();
            }
            if marks && month == 0 {
                archive.mark().unwrap();
            }
        }
        let is_open = archive.reader.databases.slot_of(0).unwrap().is_open();
        assert_eq!(is_open, !(flushes && marks), "flushed: {flushes}, marked: {marks}");
    }
}

#[test]
fn retention_removes_whole_databases_and_what_is_below_them_is_gone_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let mut archive = Archive::open(directory.path(), Options::default()).unwrap();
    for month in 0..4 {
        archive.make_room(month * 10, NOVEMBER + month as i64 * MONTH).unwrap();
        archive.write_block(month * 10, &octets(month as u8, 9_000)).unwrap();
    }
    archive.flush().unwrap();
    assert_eq!(
        archive.reader().retire(NOVEMBER + MONTH, u64::MAX).unwrap(),
        0,
        "its youngest may be as young as the next"
    );
    assert_eq!(archive.reader().retire(NOVEMBER + 2 * MONTH + 1, u64::MAX).unwrap(), 2);
    assert_eq!(archive.reader().retire(i64::MAX, u64::MAX).unwrap(), 1, "the newest is written to");
    archive.write_block(5, b"a late amendment of what is retired").unwrap();
    archive.flush().unwrap();
    let in_directory = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(in_directory, 3, "a database, its side file and the list");
    drop(archive);
    let archive = Archive::open(directory.path(), Options::default()).unwrap();
    let found: Vec<u64> = (0..40).filter(|block| read(&archive, *block).is_some()).collect();
    assert_eq!(found, [30]);
}

#[test]
fn what_began_by_a_clock_that_was_behind_takes_nothing_younger_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { period_millis: 1, ..Options::default() };
    let mut archive = Archive::open(directory.path(), options).unwrap();
    for (block, days) in [(0, 0), (10, 20), (20, 5), (30, 28)] {
        archive.make_room(block, NOVEMBER + days * 86_400_000).unwrap();
    }
    for (days, retired) in [(6, 0), (20, 0), (21, 1), (28, 0), (29, 2)] {
        let before = NOVEMBER + days * 86_400_000;
        assert_eq!(archive.reader().retire(before, u64::MAX).unwrap(), retired, "before day {days}");
    }
}

#[test]
fn what_has_living_messages_stays_however_old_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let mut archive = Archive::open(directory.path(), Options::default()).unwrap();
    for month in 0..4 {
        archive.make_room(month * 10, NOVEMBER + month as i64 * MONTH).unwrap();
    }
    for (living, retired, oldest) in [(0, 0, 0), (9, 0, 0), (10, 1, 10), (29, 1, 20), (u64::MAX, 1, 30)] {
        assert_eq!(archive.reader().retire(i64::MAX, living).unwrap(), retired, "living from {living}");
        assert_eq!(archive.reader().databases()[0].block, oldest, "living from {living}");
    }
}

#[test]
fn a_removal_that_a_crash_has_stopped_anywhere_lets_the_archive_open() {
    /// What a crash leaves; and whether the oldest database is still there then.
    type Crash = fn(&Path, &str);
    let rows: [(&str, Crash, bool); 6] = [
        ("before the new list", |_, _| (), true),
        ("after the new list", |directory, name| drop(unlist(directory, name)), true),
        (
            "after the renaming",
            |directory, name| rename_for_removal(directory, &unlist(directory, name)),
            false,
        ),
        (
            "without its side file",
            |directory, name| {
                rename_for_removal(directory, &unlist(directory, name));
                fs::remove_file(directory.join(format!("{name}-flushed"))).unwrap();
            },
            false,
        ),
        (
            "half removed",
            |directory, name| {
                rename_for_removal(directory, &unlist(directory, name));
                fs::remove_file(directory.join(format!("{name}-flushed"))).unwrap();
                fs::remove_file(directory.join(format!("{name}.removing/db"))).unwrap();
            },
            false,
        ),
        // As the release before did it.
        ("renamed while it is listed", rename_for_removal, false),
    ];
    for (name, crash, stays) in rows {
        let directory = tempfile::tempdir().unwrap();
        let mut archive = opened(directory.path());
        archive.write_block(1, b"old").unwrap();
        archive.make_room(10, NOVEMBER + MONTH).unwrap();
        archive.write_block(10, b"new").unwrap();
        archive.flush().unwrap();
        archive.mark().unwrap();
        drop(archive);
        crash(directory.path(), &databases(directory.path())[0]);
        for start in ["first", "second"] {
            let archive = Archive::open(directory.path(), Options::default())
                .unwrap_or_else(|error| panic!("{name}, {start} start: {error}"));
            let old = if stays { stored(b"old", None) } else { None };
            assert_eq!((read(&archive, 1), read(&archive, 10)), (old, stored(b"new", None)), "{name}");
            assert_eq!(databases(directory.path()).len(), if stays { 2 } else { 1 }, "{name}");
        }
        let files = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(files, if stays { 5 } else { 3 }, "{name}: databases, their side files and the list");
    }
}

/// Takes a database from the list.
fn unlist(directory: &Path, name: &str) -> String {
    let left: Vec<String> = databases(directory).into_iter().filter(|other| other != name).collect();
    fs::write(directory.join("databases"), left.join("\n") + "\n").unwrap();
    name.to_owned()
}

fn rename_for_removal(directory: &Path, name: &str) {
    fs::rename(directory.join(name), directory.join(format!("{name}.removing"))).unwrap();
}

#[test]
fn a_start_that_ends_a_removal_takes_it_from_the_list_first() {
    let directory = tempfile::tempdir().unwrap();
    let mut archive = opened(directory.path());
    archive.make_room(10, NOVEMBER + MONTH).unwrap();
    drop(archive);
    let oldest = databases(directory.path()).remove(0);
    rename_for_removal(directory.path(), &oldest);
    // What cannot be removed stands for a crash in the middle of the removal.
    let side_file = directory.path().join(format!("{oldest}-flushed"));
    fs::remove_file(&side_file).unwrap();
    fs::create_dir(&side_file).unwrap();
    assert!(Archive::open(directory.path(), Options::default()).is_err());
    // All of it had gone, and the end of the start had not come.
    fs::remove_dir(&side_file).unwrap();
    fs::remove_dir_all(directory.path().join(format!("{oldest}.removing"))).unwrap();
    assert!(Archive::open(directory.path(), Options::default()).is_ok());
}

#[test]
fn a_copy_of_a_database_under_another_name_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut archive = opened(directory.path());
    archive.write_block(1, b"one").unwrap();
    archive.flush().unwrap();
    archive.mark().unwrap();
    drop(archive);
    let name = databases(directory.path()).remove(0);
    for copy in [format!("backup-{name}"), format!("zz.{name}"), format!("backup-{name}.removing")] {
        copy_to(directory.path(), &name, &copy);
    }
    let mut archive = opened(directory.path());
    assert_eq!(databases(directory.path()), [name.as_str()]);
    archive.write_block(1, b"again").unwrap();
    archive.flush().unwrap();
    drop(archive);
    assert_eq!(read(&opened(directory.path()), 1), stored(b"again", None));
    assert!(directory.path().join(format!("backup-{name}.removing/db")).exists(), "we were not removing it");
}

#[test]
fn two_databases_with_the_same_first_block_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(opened(directory.path()));
    let name = databases(directory.path()).remove(0);
    let other = files::name(NOVEMBER + MONTH, 0);
    copy_to(directory.path(), &name, &other);
    let refused = Archive::open(directory.path(), Options::default()).err().unwrap().to_string();
    assert!(refused.contains(&format!("{other} is damaged: {name} has the same first block")), "{refused}");
}

/// Copies a database, with its side file, to another name beside it.
fn copy_to(directory: &Path, name: &str, other: &str) {
    fs::create_dir_all(directory.join(other).join("blobs")).unwrap();
    for file in ["-flushed", "/db", "/conf"] {
        fs::copy(directory.join(format!("{name}{file}")), directory.join(format!("{other}{file}"))).unwrap();
    }
}

#[test]
fn a_database_that_got_no_block_before_a_crash_gets_the_block_it_was_made_for() {
    let directory = tempfile::tempdir().unwrap();
    drop(opened(directory.path()));
    let mut archive = Archive::open(directory.path(), Options::default()).unwrap();
    assert!(!archive.make_room(0, NOVEMBER + MONTH).unwrap());
    assert!(archive.make_room(1, NOVEMBER + MONTH).unwrap());
}

#[test]
fn a_panic_in_an_old_database_is_its_end_and_not_that_of_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let mut archive = opened(directory.path());
    archive.make_room(10, NOVEMBER + MONTH).unwrap();
    for block in [1, 10] {
        archive.write_block(block, b"block").unwrap();
    }
    let reader = archive.reader();
    let broken = archive.reader.databases.read(1, |_| -> Result<(), StoreError> { panic!("as sled does") });
    assert!(broken.is_err_and(|error| error.is_damage()));
    assert_eq!((reader.damaged(), archive.take_loss()), (1, false));
    archive.flush().unwrap();
    assert!(archive.take_loss(), "what was written to it since the flush before may be gone");
    for _ in 0..2 {
        assert!(reader.read_block(1).is_err_and(|error| error.is_damage()));
        assert!(archive.write_block(2, b"more").is_err_and(|error| error.is_damage()));
        assert_eq!(read(&archive, 10), stored(b"block", None));
        archive.write_block(11, b"more").unwrap();
        archive.flush().unwrap();
        archive.mark().unwrap();
        assert!(!archive.take_loss());
    }
    assert_eq!(reader.retire(i64::MAX, u64::MAX).unwrap(), 1);
    assert_eq!((read(&archive, 1), reader.damaged()), (None, 0));
}

#[test]
fn who_has_a_retired_database_in_hand_does_not_make_it_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut archive = opened(directory.path());
    let slot = archive.reader.databases.slot_of(0).unwrap();
    archive.make_room(10, NOVEMBER + MONTH).unwrap();
    assert_eq!(archive.reader().retire(i64::MAX, u64::MAX).unwrap(), 1);
    assert!(slot.with(|_| Ok(())).unwrap().is_none());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
}

#[test]
fn a_reader_never_goes_back_while_block_and_amendment_are_joined() {
    let directory = tempfile::tempdir().unwrap();
    let mut archive = opened(directory.path());
    archive.write_block(1, &[0; 8]).unwrap();
    let reader = archive.reader();
    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ends = Arc::clone(&is_over);
    let reading = thread::spawn(move || {
        let mut newest = 0;
        while !ends.load(std::sync::atomic::Ordering::Relaxed) {
            let found = reader.read_block(1).unwrap().unwrap();
            let found = found.amendment.unwrap_or(found.bytes);
            let version = u64::from_be_bytes(found.try_into().unwrap());
            assert!(version >= newest, "{version} after {newest}");
            newest = version;
        }
    });
    for version in 1u64..3_000 {
        archive.amend(1, &version.to_be_bytes()).unwrap();
        archive.write_block(1, &version.to_be_bytes()).unwrap();
        if reading.is_finished() {
            break;
        }
    }
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    reading.join().unwrap();
}

#[test]
fn a_database_that_is_listed_and_not_there_is_a_loss() {
    let directory = tempfile::tempdir().unwrap();
    let mut archive = opened(directory.path());
    archive.write_block(1, b"block").unwrap();
    archive.make_room(10, NOVEMBER + MONTH).unwrap();
    archive.flush().unwrap();
    drop(archive);
    let lost = databases(directory.path())[0].clone();
    fs::remove_dir_all(directory.path().join(&lost)).unwrap();
    let refused = Archive::open(directory.path(), Options::default()).err().unwrap().to_string();
    assert!(refused.contains(&lost) && refused.contains("it is missing"), "{refused}");
}

#[test]
fn the_archive_of_the_release_before_is_one_database_of_several() {
    let store = tempfile::tempdir().unwrap();
    let directory = store.path().join("archive");
    let settings = Settings {
        durability: Durability::Fsync,
        cache_bytes: 1 << 20,
        segment_bytes: 2 << 20,
        keep_tail: false,
        zeros_ahead: false,
        read_ahead: false,
    };
    let database = Database::open(&directory, settings).unwrap();
    let mut witness = crate::witness::Witness::open(&database).unwrap();
    for block in [3u64, 4] {
        crate::pieces::put(&database, &super::block_name(block), &octets(block as u8, 9_000)).unwrap();
    }
    witness.flush(&database, true).unwrap();
    drop((database, witness));
    for _ in 0..2 {
        let mut archive = Archive::open(&directory, Options::default()).unwrap();
        let reader = archive.reader();
        assert_eq!(archive.reader.databases.last_block().map(|last| last.min(4)), Some(4));
        assert!(reader.before_ends().is_some_and(|end| end == 5 || end == u64::MAX));
        assert_eq!(
            [0, 4, 5].map(|from| reader.next_block(from).unwrap().filter(|next| *next < 5)),
            [Some(3), Some(4), None]
        );
        archive.make_room(5, NOVEMBER).unwrap();
        archive.write_block(5, b"new").unwrap();
        archive.write_block(3, b"again").unwrap();
        archive.flush().unwrap();
        assert_eq!(read(&archive, 3), stored(b"again", None));
        assert_eq!(read(&archive, 4), stored(&octets(4, 9_000), None));
        assert_eq!(databases(&directory).len(), 2);
    }
    assert!(directory.join("before/db").exists() && directory.join("before-flushed").exists());
    assert!(!store.path().join("archive-flushed").exists());
}

#[test]
fn what_was_flushed_survives_a_kill_and_a_block_is_never_half_of_each() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("archive");
    let mut archive = opened(&directory);
    archive.write_block(1, &octets(1, 30_000)).unwrap();
    archive.flush().unwrap();
    let name = databases(&directory).remove(0);
    for step in 0..20u8 {
        archive.write_block(1, &octets(step + 2, 30_000)).unwrap();
        archive.write_block(2, &octets(step, 200_000)).unwrap();
        let killed = scratch.path().join(format!("killed {step}"));
        copy(&directory, &killed, &name);
        let archive = Archive::open(&killed, Options::default()).unwrap();
        let found = read(&archive, 1).expect("it was flushed");
        let versions = (0..=step + 2).filter(|seed| found.bytes == octets(*seed, 30_000)).count();
        assert_eq!(versions, 1, "step {step}: a mixture");
    }
}

/// What a kill leaves of an archive of one database.
fn copy(from: &Path, to: &Path, name: &str) {
    fs::create_dir_all(to.join(name).join("blobs")).unwrap();
    for file in ["databases", &format!("{name}-flushed"), &format!("{name}/db"), &format!("{name}/conf")] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

#[test]
fn a_tail_that_was_flushed_and_is_cut_off_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let (directory, before) = (scratch.path().join("archive"), scratch.path().join("before"));
    let mut archive = opened(&directory);
    let name = databases(&directory).remove(0);
    for step in 0..2u8 {
        archive.write_block(u64::from(step), &octets(step, 30_000)).unwrap();
        archive.flush().unwrap();
        archive.mark().unwrap();
        if step == 0 {
            copy(&directory, &before, &name);
        }
    }
    drop(archive);
    assert!(Archive::open(&directory, Options::default()).is_ok(), "nothing is missing");
    // The database as it was, and the side file as it is.
    let side_file = format!("{name}-flushed");
    fs::copy(directory.join(&side_file), before.join(&side_file)).unwrap();
    let refused = Archive::open(&before, Options::default()).err().unwrap().to_string();
    assert!(refused.contains("of 2 flushes only 1 are found"), "{refused}");
}

#[test]
fn readers_on_other_threads_see_whole_blocks_while_they_are_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let mut archive = opened(directory.path());
    archive.write_block(1, &octets(0, 20_000)).unwrap();
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let reader = archive.reader();
            thread::spawn(move || {
                for _ in 0..200 {
                    let found = reader.read_block(1).unwrap().unwrap();
                    assert_eq!(found.bytes, octets(found.bytes[0], 20_000));
                }
            })
        })
        .collect();
    for seed in 1..100 {
        archive.write_block(1, &octets(seed, 20_000)).unwrap();
    }
    archive.flush().unwrap();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

#[test]
fn more_databases_than_may_be_open_are_all_found() {
    let directory = tempfile::tempdir().unwrap();
    let mut archive = Archive::open(directory.path(), Options::default()).unwrap();
    for month in 0..9 {
        archive.make_room(month, NOVEMBER + month as i64 * MONTH).unwrap();
        archive.write_block(month, &[month as u8]).unwrap();
        archive.flush().unwrap();
        archive.mark().unwrap();
    }
    for round in 0..3u64 {
        for month in 0..9 {
            let block = (month * 5 + round) % 9;
            assert_eq!(read(&archive, block), stored(&[block as u8], None));
        }
    }
}

#[test]
fn a_second_opening_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let _archive = opened(directory.path());
    assert!(matches!(Archive::open(directory.path(), Options::default()), Err(OpenError::Locked { .. })));
}

#[test]
fn a_block_that_comes_late_is_written_without_its_neighbours() {
    let directory = tempfile::tempdir().unwrap();
    let mut archive = opened(directory.path());
    (0..200).for_each(|number| archive.write_block(number, &octets(1, 20_000)).unwrap());
    archive.flush().unwrap();
    drop(archive);
    let mut archive = opened(directory.path());
    let written = |archive: &Archive| {
        let slot = archive.reader.databases.slot_of(0).unwrap();
        slot.with(|open| Ok(open.database.written_bytes())).unwrap().unwrap()
    };
    let before = written(&archive);
    archive.write_block(51, &octets(2, 300_000)).unwrap();
    archive.flush().unwrap();
    let took = written(&archive) - before;
    assert!(took < 4_000_000, "{took} octets for a late block of 300,000");
}
