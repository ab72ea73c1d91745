//! What the archive costs: octets and nanoseconds a message. `cargo bench --bench archive`.

#![allow(dead_code, reason = "parts of the gateway are measured here without the rest of it")]

#[path = "../src/block.rs"]
mod block;
#[path = "../loadtest/src/dice.rs"]
mod dice;
#[path = "../src/huffman.rs"]
mod huffman;
#[path = "../src/packing.rs"]
mod packing;
#[path = "archive/stories.rs"]
mod stories;
#[path = "../loadtest/src/texts.rs"]
mod texts;

use std::time::Duration;

use stories::{Ids, Stories};

const BLOCKS: u64 = 2_000;

fn main() {
    println!("| messages | as given | stored | encode | decode |\n|---|---|---|---|---|");
    for (name, ids, tenants) in [
        ("one tenant, ids that count", Ids::Counter, 1),
        ("one tenant, random ids", Ids::Random, 1),
        ("1,000 tenants, random ids", Ids::Random, 1_000),
    ] {
        codec(name, &Stories::new(ids, tenants));
    }
}

/// What this thread has used of a processor: others may be using it too.
fn cpu() -> Duration {
    let read = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(read.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

fn codec(name: &str, stories: &Stories) {
    let blocks: Vec<Vec<Vec<u8>>> = (0..BLOCKS).map(|block| stories.block(block, 0)).collect();
    let slices: Vec<Vec<&[u8]>> =
        blocks.iter().map(|block| block.iter().map(Vec::as_slice).collect()).collect();
    let given: usize = blocks.iter().flatten().map(Vec::len).sum();
    let mut writer = block::BlockWriter::default();
    let began = cpu();
    let stored: Vec<Vec<u8>> = slices.iter().map(|block| writer.block(block).to_vec()).collect();
    let encode = cpu() - began;
    let began = cpu();
    let mut read = 0;
    for stored in &stored {
        read += block::messages(stored).expect("it was just written").len();
    }
    let decode = cpu() - began;
    let messages = BLOCKS as f64 * 64.0;
    assert_eq!(read as f64, messages);
    let octets: usize = stored.iter().map(Vec::len).sum();
    if std::env::args().any(|a| a == "split") {
        split(&slices);
    }
    println!(
        "| {name} | {:.0} B | {:.1} B | {:.0} ns | {:.0} ns |",
        given as f64 / messages,
        octets as f64 / messages,
        encode.as_nanos() as f64 / messages,
        decode.as_nanos() as f64 / messages,
    );
}

fn split(blocks: &[Vec<&[u8]>]) {
    let messages = BLOCKS as f64 * 64.0;
    let t = |d: Duration| d.as_nanos() as f64 / messages;
    let mut columns = engine::columns::Columns::default();
    let (mut a, mut b, mut c, mut o) = (Duration::ZERO, Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut packer = packing::TightPacker::default();
    let (mut packed, mut room) = (Vec::new(), Vec::new());
    let (mut n, mut w, mut l, mut h) = (0, 0, 0, 0);
    for block in blocks {
        let s = cpu();
        columns.write(block, engine::columns::Extent::Whole);
        let e = cpu();
        packer.pack(&columns.words, &mut packed);
        let f = cpu();
        room.clear();
        huffman::encode(&columns.words, &mut room);
        let g = cpu();
        a += e - s;
        b += f - e;
        c += g - f;
        n += columns.numbers.len();
        w += columns.words.len();
        l += packed.len();
        h += room.len();
        let s = cpu();
        let mut rows = Vec::with_capacity(32 << 10);
        for m in block {
            rows.extend_from_slice(&[0; 12]);
            rows.extend_from_slice(m);
        }
        packing::pack(&rows, &mut packed);
        o += cpu() - s;
    }
    println!(
        "columns {:.0} tight {:.0} huffman alone {:.0}; before {:.0} ns; numbers {:.1} words {:.1} lz4 {:.1} huffman {:.1}",
        t(a),
        t(b),
        t(c),
        t(o),
        n as f64 / messages,
        w as f64 / messages,
        l as f64 / messages,
        h as f64 / messages
    );
}
