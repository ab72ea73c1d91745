//! How a flush makes the file longer.

#![allow(clippy::unwrap_used)]

use super::*;

/// Flushes values of so many octets, one each, and says how often the file had become longer, and how much longer it is than what
/// sled has written.
fn flushed(database: &Database, keys: std::ops::Range<u32>, octets: usize) -> (usize, i64) {
    let length = || database.file.metadata().unwrap().len();
    let (mut before, mut times) = (length(), 0);
    for key in keys {
        (0..octets.div_ceil(10_000)).for_each(|part| {
            let value = vec![7; octets.min(10_000)];
            database.put(&[key.to_be_bytes(), (part as u32).to_be_bytes()].concat(), &value).unwrap();
        });
        database.flush(Durability::Fsync).unwrap();
        times += usize::from(length() > std::mem::replace(&mut before, length()));
    }
    (times, length() as i64 - database.written_bytes())
}

#[test]
fn small_flushes_seldom_make_the_file_longer_and_large_ones_write_no_zeros() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings { durability: Durability::Fsync, ..TEST_SETTINGS };
    let open = |name: &str, zeros_ahead| {
        Database::open(&directory.path().join(name), Settings { zeros_ahead, ..settings }).unwrap()
    };
    let (times, _) = flushed(&open("without", false), 0..200, 2_000);
    assert!(times >= 190, "{times}");
    let ahead = open("ahead", true);
    let (times, _) = flushed(&ahead, 0..200, 2_000);
    // Each value is written some two times.
    assert!(times <= 8, "{times}");
    drop(ahead);
    // What a start finds behind its data does not disturb it, and there is nothing to be seen of it.
    let ahead = open("ahead", true);
    let (times, _) = flushed(&ahead, 200..400, 2_000);
    assert!(times <= 8, "{times}");
    let keys: Vec<u32> =
        ahead.scan(&[]).map(|pair| u32::from_be_bytes(*pair.unwrap().0.first_chunk().unwrap())).collect();
    assert_eq!(keys, Vec::from_iter(0..400));
    let (times, beyond) = flushed(&ahead, 400..410, 100_000);
    assert!(times >= 5 && beyond < ZEROS.len() as i64, "{times} times, {beyond} octets");
}
