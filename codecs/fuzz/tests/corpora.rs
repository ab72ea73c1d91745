//! Every target goes through the corpus that is kept of it, so that the targets stay true while nobody fuzzes.

use std::fs;
use std::path::Path;

use codecs_fuzz::TARGETS;

/// All of the corpora together; more than this has no place in a repository.
const OCTETS_MAX: usize = 200_000;

#[test]
fn the_kept_corpora_are_gone_through() {
    let mut octets_in_all = 0;
    for (name, check) in TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut inputs = 0;
        for entry in fs::read_dir(&corpus).expect("each target has a corpus") {
            let octets = fs::read(entry.expect("a corpus can be read").path()).expect("an input can be read");
            octets_in_all += octets.len();
            inputs += 1;
            check(&octets);
        }
        assert!(inputs > 0, "the corpus of {name} is empty");
    }
    assert!(octets_in_all <= OCTETS_MAX, "{octets_in_all} octets of corpora: minimise them");
}
