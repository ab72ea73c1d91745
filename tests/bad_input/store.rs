//! Stores that cannot be used: the start is refused with the place, and nothing is changed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use serde_json::Value;
use storage::archive::{Archive, Blocks, Options};
use storage::catalog::Catalog;
use storage::journal::UNFINISHED;
use storage::layout::Layout;

use crate::end_to_end::send;
use crate::support::gateway::{Gateway, program, run, serve};
use crate::support::home::{Home, copy};
use crate::support::settings::{self, KEY};
use crate::support::wait::until;

/// A store with one acknowledged message in it, and the message's id.
fn filled() -> (Home, String) {
    let home = Home::new(&settings::plain(settings::nowhere()));
    let gateway = Gateway::start(&home);
    let id = send(&mut gateway.http(KEY), 254_712_345_678, &Value::Null);
    gateway.end_well();
    (home, id)
}

#[track_caller]
fn assert_refused(home: &Home, words: &[&str]) {
    let ended = Gateway::refused(home);
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    // Another gateway may write to the same log meanwhile.
    let said = ended.said.lines().rfind(|line| line.starts_with("tidegate:")).unwrap_or_default();
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said:?}");
    }
}

#[test]
fn a_store_that_cannot_be_used_refuses_the_start_with_its_place() {
    type Break = fn(&Path);
    let rows: [(&str, Break, &[&str]); 11] = [
        ("the store is a file", |store| replace(store), &["tidegate-data"]),
        ("the journal is a file", |store| replace(&store.join("journal")), &["tidegate-data/journal"]),
        ("the archive is a file", |store| replace(&store.join("archive")), &["tidegate-data/archive"]),
        (
            "no journal",
            |store| fs::remove_dir_all(store.join("journal")).unwrap(),
            &["journal", "is missing"],
        ),
        ("no side file", |store| fs::remove_file(store.join("flushed")).unwrap(), &["flushed", "missing"]),
        (
            "a newer store",
            |store| fs::write(store.join("FORMAT"), "tidegate store 999\n").unwrap(),
            &["newer"],
        ),
        (
            "no version",
            |store| fs::write(store.join("FORMAT"), "x").unwrap(),
            &["tidegate-data/FORMAT is damaged", "a file with one line, `tidegate store 3`"],
        ),
        (
            "another list of the archive's",
            |store| fs::write(store.join("archive/databases"), "x\n").unwrap(),
            &["archive/databases is damaged: `x` is not the name of a database", "a line for each database"],
        ),
        (
            "a database of the ids that is missing",
            |store| fs::write(store.join("late-ids/databases"), "2026-11.1795000000000.0\n").unwrap(),
            &[
                "late-ids/2026-11.1795000000000.0 is damaged: it is missing",
                "its line in ",
                "late-ids/databases",
            ],
        ),
        (
            "a key that others can read",
            |store| fs::set_permissions(store.join("secret.key"), fs::Permissions::from_mode(0o644)).unwrap(),
            &["secret.key", "can be read by others"],
        ),
        (
            "half a key",
            |store| fs::write(store.join("secret.key"), "short").unwrap(),
            &["secret.key", "no key"],
        ),
    ];
    for (name, damage, words) in rows {
        println!("{name}");
        let (home, _) = filled();
        damage(&home.store());
        assert_refused(&home, words);
    }
}

/// A file in place of whatever is there.
fn replace(path: &Path) {
    fs::remove_dir_all(path).unwrap();
    fs::write(path, "no directory").unwrap();
}

#[test]
fn a_second_gateway_on_one_store_is_refused_and_the_first_goes_on() {
    let (home, id) = filled();
    let gateway = Gateway::start(&home);
    assert_refused(&home, &["tidegate-data", "in use by another process"]);
    gateway.http(KEY).message(&id, "queued");
    gateway.end_well();
}

#[test]
fn a_port_that_is_taken_is_named() {
    let (home, id) = filled();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut command = crate::support::gateway::serve(&home);
    command.env("TIDEGATE__SMPP__LISTEN", address.to_string());
    let ended = Gateway::spawn(&home, command).wait();
    assert_eq!(ended.code, Some(1));
    assert!(ended.said.contains(&address.to_string()), "{}", ended.said);
    // Nothing is left of it that the next start would stumble over.
    let gateway = Gateway::start(&home);
    gateway.http(KEY).message(&id, "queued");
}

#[test]
fn salvage_brings_back_what_a_damaged_journal_still_holds() {
    let (home, id) = filled();
    fs::remove_file(home.store().join("flushed")).unwrap();
    assert_refused(&home, &["tidegate journal salvage"]);
    let (ended, printed) =
        crate::support::gateway::run(&home, &["journal", "salvage", "saved", "--config", "tidegate.toml"]);
    assert_eq!(ended.code, Some(0), "{} {printed}", ended.said);
    assert!(printed.contains("nothing of the journal is lost"), "{printed}");
    // The rest of the store is as it was.
    put_journal(&home, "saved");
    let gateway = Gateway::start(&home);
    gateway.http(KEY).message(&id, "queued");
}

/// What it has written by then is a journal that a start would take, without what a salvage adds last.
#[test]
fn a_salvage_that_is_killed_leaves_no_journal_and_the_next_one_goes_on() {
    let (home, id) = filled();
    // Having copied the journal it looks at the version of the store, and waits here for a word.
    let (format, saved) = (home.store().join("FORMAT"), home.path().join("saved"));
    let version = fs::read(&format).unwrap();
    fs::remove_file(&format).unwrap();
    mknodat(CWD, &format, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let salvage = program(&home, &["journal", "salvage", "saved", "--config", "tidegate.toml"]);
    let salvage = Gateway::spawn(&home, salvage);
    // Nobody writes into a pipe that nobody reads.
    let pipe = until("a salvage that has copied", || {
        open(&format, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()).ok()
    });
    salvage.kill();
    drop(pipe);
    let left: Vec<_> = fs::read_dir(&saved).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [UNFINISHED]);
    assert!(saved.join(UNFINISHED).join("journal").exists(), "it was killed before it had copied");

    fs::remove_file(&format).unwrap();
    fs::write(&format, version).unwrap();
    let (ended, printed) = run(&home, &["journal", "salvage", "saved", "--config", "tidegate.toml"]);
    assert_eq!(ended.code, Some(0), "{} {printed}", ended.said);
    assert!(!saved.join(UNFINISHED).exists());
    put_journal(&home, "saved");
    let gateway = Gateway::start(&home);
    gateway.http(KEY).message(&id, "queued");
    gateway.end_well();
}

/// In the place of the store's.
fn put_journal(home: &Home, from: &str) {
    fs::remove_dir_all(home.store().join("journal")).unwrap();
    for part in ["journal", "flushed"] {
        fs::rename(home.path().join(from).join(part), home.store().join(part)).unwrap();
    }
}

#[test]
fn salvage_is_refused_while_the_gateway_runs() {
    let (home, id) = filled();
    let gateway = Gateway::start(&home);
    let (ended, _) =
        crate::support::gateway::run(&home, &["journal", "salvage", "saved", "--config", "tidegate.toml"]);
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("in use by another process"), "{}", ended.said);
    assert!(!home.path().join("saved").exists());
    gateway.http(KEY).message(&id, "queued");
    gateway.end_well();
}

#[test]
fn a_journal_in_segments_outlives_a_kill_and_is_refused_by_the_other_setting() {
    let settings = settings::plain(settings::nowhere());
    let home = Home::new(&format!("[storage]\nlog = \"segments\"\n{settings}"));
    let gateway = Gateway::start(&home);
    let id = send(&mut gateway.http(KEY), 254_712_345_678, &Value::Null);
    drop(gateway);
    let gateway = Gateway::start(&home);
    gateway.http(KEY).message(&id, "queued");
    gateway.end_well();

    home.set(&settings);
    assert_refused(&home, &["journal was written with `log = \"segments\"`", "set it back", "salvage DIR"]);
}

/// A store of which the first block is in the archive, and the ids of its messages.
fn archived() -> (Home, Vec<String>) {
    let provider = crate::support::provider::Provider::start();
    let home = Home::new(&settings::plain(provider.address()));
    let ids = archive_some(&home);
    (home, ids)
}

/// Sends more than a block has, all of which is delivered. The first block that it fills is in the archive when it ends.
fn archive_some(home: &Home) -> Vec<String> {
    let archive = home.store().join("archive");
    // What the side file of the newest database counts.
    let flushes = || {
        let files = fs::read_dir(&archive).into_iter().flatten().flatten();
        let sides = files.map(|file| file.path()).filter(|path| path.to_string_lossy().ends_with("-flushed"));
        let octets = sides.max().and_then(|side| fs::read(side).ok()).unwrap_or_default();
        let slots = [8..16, 520..528].into_iter().filter_map(|slot| octets.get(slot)?.first_chunk());
        slots.map(|count| u64::from_be_bytes(*count)).max().unwrap_or_default()
    };
    let before = flushes();
    let gateway = Gateway::start(home);
    let mut http = gateway.http(KEY);
    let ids: Vec<String> =
        (0..70).map(|place| send(&mut http, 254_712_345_678 + place, &Value::Null)).collect();
    for id in &ids {
        http.message(id, "delivered");
    }
    // The first block is full and done: it is in the archive, and the journal knows, when the side file of its database counts
    // a flush, which it does when nothing more has come for a second.
    crate::support::wait::until_true("a flushed database of the archive", || flushes() > before);
    gateway.end_well();
    ids
}

#[test]
fn a_journal_that_is_put_back_alone_is_refused_and_salvaged_it_gives_no_id_twice() {
    let provider = crate::support::provider::Provider::start();
    let home = Home::new(&settings::plain(provider.address()));
    Gateway::start(&home).end_well();
    let (store, aside) = (home.store(), home.path().join("aside"));
    copy(&store, &aside);
    let ids = archive_some(&home);
    put_journal(&home, "aside");
    for _ in 0..2 {
        assert_refused(
            &home,
            &["tidegate-data/archive has messages (of block 0)", "put back alone", "salvage DIR"],
        );
    }
    let (ended, printed) = run(&home, &["journal", "salvage", "saved"]);
    assert_eq!(ended.code, Some(0), "{} {printed}", ended.said);
    put_journal(&home, "saved");
    let again = archive_some(&home);
    assert!(ids.iter().all(|id| !again.contains(id)), "an id was given twice");
    let gateway = Gateway::start(&home);
    // Of each time the first block is in the archive.
    for id in [&ids[0], &again[0]] {
        gateway.http(KEY).message(id, "delivered");
    }
    gateway.end_well();
}

#[test]
fn an_archive_that_is_put_back_alone_is_refused_and_taken_as_it_is_after_a_salvage() {
    let provider = crate::support::provider::Provider::start();
    let home = Home::new(&settings::plain(provider.address()));
    let first = archive_some(&home);
    let (archive, aside) = (home.store().join("archive"), home.path().join("aside"));
    copy(&archive, &aside);
    archive_some(&home);
    fs::remove_dir_all(&archive).unwrap();
    fs::rename(&aside, &archive).unwrap();
    for _ in 0..2 {
        assert_refused(&home, &["tidegate-data/archive is older than the journal", "salvage DIR"]);
    }
    let (ended, printed) = run(&home, &["journal", "salvage", "saved"]);
    assert_eq!(ended.code, Some(0), "{} {printed}", ended.said);
    put_journal(&home, "saved");
    for _ in 0..2 {
        let gateway = Gateway::start(&home);
        gateway.http(KEY).message(&first[0], "delivered");
        gateway.end_well();
    }
}

#[test]
fn an_archive_that_is_gone_with_all_that_belongs_to_it_is_noticed() {
    let (home, _) = archived();
    let archive = home.store().join("archive");
    fs::remove_dir_all(&archive).unwrap();
    assert_refused(&home, &["tidegate-data/archive is missing"]);
    // An empty directory is not put back, and no start makes it one.
    fs::create_dir(&archive).unwrap();
    for _ in 0..2 {
        assert_refused(&home, &["tidegate-data/archive/databases is missing, and this store had one"]);
    }
}

#[test]
fn the_only_database_of_the_archive_may_be_moved_away_with_its_line() {
    let (home, ids) = archived();
    let archive = home.store().join("archive");
    let aside = home.path().join("aside");
    fs::create_dir(&aside).unwrap();
    for file in fs::read_dir(&archive).unwrap().flatten() {
        fs::rename(file.path(), aside.join(file.file_name())).unwrap();
    }
    fs::write(archive.join("databases"), "").unwrap();
    for _ in 0..2 {
        let gateway = Gateway::start(&home);
        let lost = gateway.http(KEY).get(&format!("/v1/messages/{}", ids[0]));
        assert_eq!((lost.status, lost.code()), (503, "unavailable".into()), "{}", lost.text());
        gateway.http(KEY).message(&ids[69], "delivered");
        gateway.end_well();
    }
}

#[test]
fn damage_in_an_old_month_costs_that_month_and_the_gateway_goes_on() {
    let provider = crate::support::provider::Provider::start();
    let home = Home::new(&settings::plain(provider.address()));
    Gateway::start(&home).end_well();
    let archive = home.store().join("archive");
    spoiled_month(&archive);

    // The first block of messages belongs to the damaged month: what comes for it is set aside.
    let gateway = Gateway::start(&home);
    let mut http = gateway.http(KEY);
    let ids: Vec<String> =
        (0..70).map(|place| send(&mut http, 254_712_345_678 + place, &Value::Null)).collect();
    crate::support::wait::until_true("a month that is known to be damaged", || {
        gateway.ops("/metrics").text().lines().any(|line| line == "tidegate_archive_damaged 1")
    });
    for id in &ids {
        http.message(id, "delivered");
    }
    crate::support::wait::until_true("what is set aside", || gateway.said().contains("is set aside"));
    let listed = http.get("/v1/messages");
    assert_eq!((listed.status, listed.code()), (503, "unavailable".into()));
    assert!(listed.text().contains("damaged"), "{}", listed.text());
    assert!(gateway.is_ready());
    gateway.end_well();
    let gateway = Gateway::start(&home);
    for id in [&ids[0], &ids[69]] {
        gateway.http(KEY).message(id, "delivered");
    }
    gateway.end_well();
}

/// An archive with an old month, of which nothing is left but its length, and a newer one.
fn spoiled_month(archive: &Path) {
    const OLD: i64 = 1_700_000_000_000;
    const MONTHS: i64 = 100 * 86_400_000;
    let mut months = Archive::open(archive, Options::default()).unwrap();
    months.make_room(0, OLD).unwrap();
    for block in 0..40u64 {
        months.write_block(block, &block.to_le_bytes().repeat(1_000)).unwrap();
    }
    // Of the newer one the journal has not come to anything yet.
    months.make_room(1 << 20, OLD + MONTHS).unwrap();
    months.flush().unwrap();
    months.mark().unwrap();
    drop(months);
    let file = fs::read_dir(archive).unwrap().map(|entry| entry.unwrap().path().join("db"));
    let file = file.filter(|file| file.exists()).min().expect("a database");
    let mut octets = fs::read(&file).unwrap();
    // sled checks what it reads of a page, and takes its links to be right.
    octets.iter_mut().skip(4_096).step_by(997).for_each(|octet| *octet ^= 0x40);
    fs::write(file, octets).unwrap();
}

#[test]
fn a_part_of_the_store_that_is_gone_is_named_and_nothing_begins_anew() {
    let rows: [(&str, &[&str]); 5] = [
        ("journal", &["journal", "flushed"]),
        ("archive", &["archive"]),
        ("late-ids", &["late-ids"]),
        ("parked", &["parked", "parked-flushed"]),
        ("catalog", &["catalog", "catalog-flushed"]),
    ];
    let (home, id) = filled();
    let (store, aside) = (home.store(), home.path().join("aside"));
    fs::create_dir(&aside).unwrap();
    for (part, files) in rows {
        println!("{part}");
        let all =
            || fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().file_name()).collect::<BTreeSet<_>>();
        files.iter().for_each(|file| fs::rename(store.join(file), aside.join(file)).unwrap());
        let left = all();
        let gone = format!("tidegate-data/{part} is missing, and this store had one");
        assert_refused(&home, &[&gone]);
        let (ended, _) = run(&home, &["ledger", "verify", "--offline"]);
        assert!(ended.code == Some(1) && ended.said.contains(&gone), "{}", ended.said);
        assert_eq!(all(), left, "nothing was made in its place");
        files.iter().for_each(|file| fs::rename(aside.join(file), store.join(file)).unwrap());
    }
    // Nor in what was emptied.
    for part in ["archive", "late-ids"] {
        let (list, kept) = (store.join(part).join("databases"), aside.join("databases"));
        fs::rename(&list, &kept).unwrap();
        assert_refused(
            &home,
            &[&format!("tidegate-data/{part}/databases is missing, and this store had one")],
        );
        assert_eq!(fs::read_dir(store.join(part)).unwrap().count(), 0, "{part}");
        fs::rename(&kept, &list).unwrap();
    }
    let gateway = Gateway::start(&home);
    gateway.http(KEY).message(&id, "queued");
    gateway.end_well();
}

#[test]
fn the_ballast_of_a_running_gateway_is_not_given_up_by_another() {
    let (home, _) = filled();
    let gateway = Gateway::start(&home);
    let mut other = serve(&home);
    other.arg("--use-ballast");
    let ended = Gateway::spawn(&home, other).wait();
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(home.store().join("ballast").exists());
    gateway.end_well();
}

/// The catalog of a store of a build that noted no part, or of a first start that was killed before it did.
#[test]
fn a_store_that_knows_of_no_part_starts_and_knows_them_from_then_on() {
    let (home, id) = filled();
    let mut catalog = Catalog::open(&home.store().join("catalog")).unwrap();
    for part in ["journal", "archive", "late-ids", "parked"] {
        let made = format!("{part}/made");
        assert!(catalog.get(&made).unwrap().is_some(), "{part}");
        catalog.remove(&made).unwrap();
    }
    drop(catalog);
    let gateway = Gateway::start(&home);
    gateway.http(KEY).message(&id, "queued");
    gateway.end_well();
    fs::remove_dir_all(home.store().join("late-ids")).unwrap();
    assert_refused(&home, &["tidegate-data/late-ids is missing, and this store had one"]);
}

#[test]
fn a_store_that_was_only_begun_has_lost_nothing() {
    let home = Home::new(&settings::plain(settings::nowhere()));
    Layout::new(&home.store()).prepare().unwrap();
    for _ in 0..2 {
        let (ended, _) = run(&home, &["ledger", "verify", "--offline"]);
        assert!(ended.code == Some(1) && ended.said.contains("there is no store"), "{}", ended.said);
        drop(Catalog::open(&home.store().join("catalog")).unwrap());
    }
    Gateway::start(&home).end_well();
}
