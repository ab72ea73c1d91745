//! What tenants write stands in the files as it is, and some of them write what looks like a chunk or a frame.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::super::format::{self, Commit, View};
use super::super::*;
use super::{BOTH, SMALL, append, assert_whole, copy_store, open_store, records};
use crate::mark::Mark;

const GUESSED: Stamp = *b"guessed!";
const FAR: u64 = 1 << 40;

/// A chunk that is a whole group, as somebody makes it who knows the format.
fn chunk(group: u64, ring_start: u64, previous_crc: u32, data: &[u8], stamp: Option<Stamp>) -> Vec<u8> {
    let commit = Some(Commit { chunks: 1, length: data.len() as u32, previous_crc, ring_start });
    let mut bytes = Vec::new();
    let view = View { group, chunk: 0, group_crc: crc32c::crc32c(data), stamp, commit, data };
    format::encode(&view, &mut bytes);
    bytes
}

/// What takes the place of all groups, of some of them, and of none.
fn forged(stamp: Option<Stamp>) -> Vec<u8> {
    [(FAR, FAR), (FAR, 1), (7, 1), (20, 1), (25, 24), (5_000, 1)]
        .map(|(group, ring_start)| chunk(group, ring_start, 0, b"money", stamp))
        .concat()
}

#[test]
fn what_looks_like_a_chunk_is_salvaged_as_the_text_that_it_is() {
    for (options, keeps_stamp) in [(BOTH[0], true), (BOTH[0], false), (BOTH[1], true)] {
        let scratch = tempfile::tempdir().unwrap();
        let (root, to) = (scratch.path().join("store"), scratch.path().join("new"));
        let text = [forged(None), forged(Some(GUESSED))].concat();
        let (mut journal, _) = open_store(&root, options).unwrap();
        append(&mut journal, 8);
        assert_eq!((journal.append(&text).unwrap(), journal.append(&text).unwrap()), (9, 10));
        append(&mut journal, 10);
        journal.close().unwrap();
        // Of the first of the two texts nothing holds any more what it looks like.
        assert!(spoil_what_holds(&text, &root));
        if !keeps_stamp {
            let side = fs::File::options().write(true).open(root.join("flushed")).unwrap();
            side.write_all_at(&[0; 16], 256).unwrap();
            side.write_all_at(&[0; 16], 768).unwrap();
        }
        let report = salvage(&root, &to, options).unwrap();
        assert_eq!((report.oldest_group, report.newest_group, report.groups_copied), (1, 20, 19));
        assert_eq!((report.lost, report.unchained), (vec![9..=9], vec![]));
        let (_journal, mut groups) = open_store(&to, options).unwrap();
        assert_eq!((groups.remove(&9), groups.remove(&10)), (Some(vec![]), Some(text)));
        assert!(groups.into_iter().all(|(number, found)| found == records(number)));
    }
}

/// Flips a bit before the first place where these octets are.
fn spoil_what_holds(text: &[u8], root: &Path) -> bool {
    let files = fs::read_dir(root.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.is_file()).collect();
    files.sort();
    files.into_iter().any(|path| {
        let mut bytes = fs::read(&path).unwrap();
        let place = bytes.windows(text.len()).position(|window| window == text);
        let Some(at) = place else { return false };
        bytes[at - 1] ^= 1;
        fs::write(path, bytes).unwrap();
        true
    })
}

/// The files of a journal of builds before stamps, and of one that was written on since.
#[test]
fn chunks_without_a_stamp_are_salvaged_where_they_belong() {
    let forged = forged(None);
    for (stamped_from, has_stamp) in [(15, true), (15, false), (20, false), (21, true), (21, false)] {
        let scratch = tempfile::tempdir().unwrap();
        let (root, to) = (scratch.path().join("store"), scratch.path().join("new"));
        fs::create_dir_all(root.join("journal")).unwrap();
        let (mut file, mut crc_before) = (Vec::new(), 0);
        for group in 1..=20 {
            let stamp = (group >= stamped_from).then_some(SMALL.stamp);
            let data = if group == 10 { forged.clone() } else { vec![group as u8; 300] };
            file.extend(chunk(group, 3, crc_before, &data, stamp));
            crc_before = crc32c::crc32c(&data);
        }
        // Overwritten but for its end, as what sled writes anew is.
        file.extend_from_slice(&chunk(FAR, FAR, 0, b"money", None));
        file.extend_from_slice(&chunk(12, 3, 0, b"money", None));
        fs::write(root.join("journal/db"), file).unwrap();
        let mut mark = Mark::create(&root.join("flushed")).unwrap();
        mark.write(20).unwrap();
        if has_stamp {
            mark.keep_stamp(SMALL.stamp).unwrap();
        }
        let report = salvage(&root, &to, SMALL).unwrap();
        assert_eq!((report.oldest_group, report.newest_group, report.groups_copied), (3, 20, 18));
        assert_eq!((report.lost, report.unchained), (vec![], vec![]), "{stamped_from} {has_stamp}");
        let (_journal, groups) = open_store(&to, SMALL).unwrap();
        assert_eq!((&groups[&10], &groups[&12]), (&forged, &vec![12; 300]));
    }
}

/// It would say that more had been flushed than is there, and no start would come by it.
#[test]
fn what_looks_like_a_frame_in_what_a_crash_left_is_cut_with_it() {
    let scratch = tempfile::tempdir().unwrap();
    let (root, killed) = (scratch.path().join("store"), scratch.path().join("killed"));
    let (mut journal, _) = open_store(&root, BOTH[1]).unwrap();
    append(&mut journal, 3);
    journal.flush().unwrap();
    copy_store(&root, &killed);
    let segments = segments::files(&killed.join("journal")).unwrap();
    let mut bytes = fs::read(&segments[0]).unwrap();
    bytes.extend_from_slice(&[0; 512]);
    for stamp in [&b""[..], &GUESSED, &[0; 8]] {
        bytes.extend_from_slice(&frame(stamp));
    }
    fs::write(&segments[0], bytes).unwrap();
    let (_journal, groups) = open_store(&killed, BOTH[1]).unwrap();
    assert_eq!(groups.len(), 3);
    assert_whole(&groups);
}

/// A frame of the first segment that says that all of it was flushed.
fn frame(stamp: &[u8]) -> Vec<u8> {
    let (length, group, chunk, flushed) = (1u32.to_be_bytes(), 4u64.to_be_bytes(), [0; 4], [0xFF; 4]);
    let body = [&length[..], &group, &chunk, &flushed, b"x"].concat();
    let crc = crc32c::crc32c(&[&1u64.to_be_bytes()[..], stamp, &body].concat());
    [&[0xF9, b'T', b'f', b'r'][..], &crc.to_be_bytes(), &body].concat()
}

/// As one of the release before has none, and one may have lost it.
#[test]
fn a_journal_without_a_stamp_gets_one_and_keeps_what_its_chunks_bear() {
    for options in BOTH {
        let root = tempfile::tempdir().unwrap();
        let (mut journal, _) = open_store(root.path(), options).unwrap();
        append(&mut journal, 3);
        journal.close().unwrap();
        let stamp = |root: &Path| Mark::open(&root.join("flushed")).unwrap().unwrap().stamp();
        assert_eq!(stamp(root.path()), Some(SMALL.stamp));
        fs::File::options().write(true).open(root.path().join("flushed")).unwrap().set_len(528).unwrap();
        let side = fs::File::options().write(true).open(root.path().join("flushed")).unwrap();
        side.write_all_at(&[0; 16], 256).unwrap();
        let other = Options { stamp: GUESSED, ..options };
        let opened = open_store(root.path(), other);
        if options.log == LogKind::Segments {
            // Its frames cannot be read without, and nothing is written that a salvage would believe.
            let error = opened.err().unwrap().to_string();
            assert!(error.contains("has lost the stamp") && error.contains("journal salvage"), "{error}");
            assert_eq!(stamp(root.path()), None);
            let to = root.path().join("new");
            assert_eq!(salvage(root.path(), &to, other).unwrap().groups_copied, 3);
            continue;
        }
        let (mut journal, groups) = opened.unwrap();
        assert_eq!((groups.len(), journal.append(b"x").unwrap()), (3, 4));
        assert_eq!(stamp(root.path()), Some(SMALL.stamp), "not another one, which its chunks do not bear");
    }
}
