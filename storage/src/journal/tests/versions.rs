//! What a newer version wrote is refused by name, and not taken for damage.

use std::fs;
use std::os::unix::fs::FileExt;

use super::super::*;
use super::memory::{self, MemoryLog};
use super::{BOTH, SMALL, append, drain, open_store};
use crate::catalog::Catalog;
use crate::database::Database;

#[test]
fn a_store_of_a_newer_version_is_refused() {
    for options in BOTH {
        let root = tempfile::tempdir().unwrap();
        drop(open_store(root.path(), options).unwrap());
        fs::write(root.path().join("FORMAT"), "tidegate store 4\n").unwrap();
        let error = open_store(root.path(), options).err().unwrap();
        assert!(matches!(error, OpenError::Newer { what: "store", found: 4, known: 3, .. }), "{error}");
    }
}

#[test]
fn a_chunk_of_a_newer_version_is_refused_wherever_it_is() {
    for place in [(1, 0), (2, 0), (3, 0)] {
        let root = tempfile::tempdir().unwrap();
        let log = MemoryLog::default();
        let (mut journal, recovery) = memory::open(&log, root.path(), SMALL).unwrap();
        drain(recovery).unwrap();
        (0..3).for_each(|_| assert!(journal.append(b"x").is_ok()));
        journal.close().unwrap();
        log.0.lock().unwrap().current.get_mut(&place).unwrap()[3] = 3;
        let opened = memory::open(&log, root.path(), SMALL).and_then(|(_, recovery)| drain(recovery));
        let error = opened.unwrap_err();
        assert!(matches!(error, OpenError::Newer { what: "chunk", found: 3, known: 2, .. }), "{error}");
        assert!(error.to_string().contains("newer tidegate (chunk version 3, this one knows 2)"), "{error}");
    }
}

#[test]
fn a_segment_of_a_newer_version_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (mut journal, _) = open_store(root.path(), BOTH[1]).unwrap();
    append(&mut journal, 20);
    journal.close().unwrap();
    for path in segments::files(&root.path().join("journal")).unwrap() {
        let mut header = fs::read(&path).unwrap()[..20].to_vec();
        let ours = header.clone();
        header[4] = 3;
        let crc = crc32c::crc32c(&header[..16]).to_be_bytes();
        header[16..].copy_from_slice(&crc);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(&header, 0).unwrap();
        let error = open_store(root.path(), BOTH[1]).err().unwrap();
        assert!(matches!(error, OpenError::Newer { what: "segment", found: 3, known: 2, .. }), "{error}");
        file.write_all_at(&ours, 0).unwrap();
    }
    open_store(root.path(), BOTH[1]).unwrap();
}

/// The archive keeps its blocks in the same way.
#[test]
fn a_value_of_a_newer_version_is_refused_and_not_replaced() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("catalog");
    let mut catalog = Catalog::open(&path).unwrap();
    catalog.put("key", b"value").unwrap();
    drop(catalog);
    let settings = Settings {
        durability: Durability::Fsync,
        cache_bytes: 1 << 20,
        segment_bytes: 512 << 10,
        keep_tail: false,
        zeros_ahead: false,
        read_ahead: false,
    };
    let database = Database::open(&path, settings).unwrap();
    let (key, mut value) = database.scan(b"key").next().unwrap().unwrap();
    value[16] = 2;
    database.put(&key, &value).unwrap();
    database.flush(Durability::Fsync).unwrap();
    drop(database);
    let mut catalog = Catalog::open(&path).unwrap();
    for error in [catalog.get("key").unwrap_err(), catalog.put("key", b"ours").unwrap_err()] {
        assert!(matches!(error, StoreError::Newer { what: "value", found: 2, known: 1, .. }), "{error}");
    }
}

#[test]
fn a_journal_of_the_other_log_is_refused_and_the_choices_are_named() {
    for (options, other) in [(BOTH[0], BOTH[1]), (BOTH[1], BOTH[0])] {
        let scratch = tempfile::tempdir().unwrap();
        let (root, to) = (scratch.path().join("store"), scratch.path().join("new"));
        let (mut journal, _) = open_store(&root, options).unwrap();
        append(&mut journal, 20);
        assert!(matches!(salvage(&root, &to, other), Err(SalvageError::Open(OpenError::Locked { .. }))));
        journal.close().unwrap();
        let error = open_store(&root, other).err().unwrap();
        assert!(matches!(error, OpenError::OtherLog { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("set it back") && text.contains("tidegate journal salvage DIR"), "{text}");

        let report = salvage(&root, &to, other).unwrap();
        assert_eq!((report.groups_copied, report.lost.len()), (20, 0));
        let (_journal, groups) = open_store(&to, other).unwrap();
        super::assert_whole(&groups);
        assert_eq!(groups.len(), 20);
    }
}
