//! Times as SMPP and RFC 3339 write them: what we write is read again, whatever else is read does no harm.

use codecs::instant::Wall;
use codecs::time::{self, Civil};

use crate::front;

/// The years that two digits can say: 1990 to 2089.
const CENTURY: std::ops::Range<i64> = 631_152_000_000..3_786_912_000_000;

pub fn check(octets: &[u8]) {
    let (now, field) = front::<8>(octets);
    let now = Wall(i64::from_be_bytes(now));
    for now in [now, Wall(1_767_225_600_000)] {
        let _ = time::read(field, now);
    }
    if let Ok(text) = std::str::from_utf8(field)
        && let Some(wall) = time::parse_rfc3339(text)
    {
        writes_and_reads(wall);
    }
    writes_and_reads(now);
    writes_and_reads(Wall(CENTURY.start + now.0.rem_euclid(CENTURY.end - CENTURY.start)));
}

fn writes_and_reads(wall: Wall) {
    let civil = Civil::of(wall);
    let kept = civil.wall().expect("a moment of the calendar exists");
    let text = time::rfc3339_string(wall);
    assert_eq!(time::parse_rfc3339(&text), Some(kept));
    assert_eq!(Civil::of(kept), civil);
    let nearest = wall.0.clamp(CENTURY.start, CENTURY.end - 1);
    if nearest == wall.0 {
        assert_eq!(kept, wall);
    }
    let mut field = Vec::new();
    time::write_absolute(&mut field, wall);
    assert_eq!(time::read(&field, Wall(0)), Ok(Some(Wall(nearest - nearest % 100))));
}
