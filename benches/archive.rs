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

use std::time::Instant;

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

fn codec(name: &str, stories: &Stories) {
    let blocks: Vec<Vec<Vec<u8>>> = (0..BLOCKS).map(|block| stories.block(block, 0)).collect();
    let slices: Vec<Vec<&[u8]>> =
        blocks.iter().map(|block| block.iter().map(Vec::as_slice).collect()).collect();
    let given: usize = blocks.iter().flatten().map(Vec::len).sum();
    let mut writer = block::BlockWriter::default();
    let began = Instant::now();
    let stored: Vec<Vec<u8>> = slices.iter().map(|block| writer.block(block).to_vec()).collect();
    let encode = began.elapsed();
    let began = Instant::now();
    let mut read = 0;
    for stored in &stored {
        read += block::messages(stored).expect("it was just written").len();
    }
    let decode = began.elapsed();
    let messages = BLOCKS as f64 * 64.0;
    assert_eq!(read as f64, messages);
    let octets: usize = stored.iter().map(Vec::len).sum();
    println!(
        "| {name} | {:.0} B | {:.1} B | {:.0} ns | {:.0} ns |",
        given as f64 / messages,
        octets as f64 / messages,
        encode.as_nanos() as f64 / messages,
        decode.as_nanos() as f64 / messages,
    );
}
