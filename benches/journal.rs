//! Groups appended and flushed as the committer does, each durable before the next. `storage/benches/journal.rs` goes on for
//! longer and shows what the ring takes; here it is a group's time alone.

use criterion::{BatchSize, Criterion, Throughput};
use storage::journal::{self, Options};

/// Octets of a message's life in the journal, before packing.
const MESSAGE_OCTETS: usize = 290;

pub fn bench(criterion: &mut Criterion) {
    let directory =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on the disk of the build");
    let options = Options { ring_bytes_min: 64 << 20, ..Options::default() };
    let (mut journal, mut recovery) =
        journal::create_or_open(directory.path(), options).expect("an empty journal");
    while recovery.next_group().expect("nothing to recover").is_some() {}
    let mut group = criterion.benchmark_group("journal");
    group.sample_size(20);
    let mut random = 1;
    for messages in [1, 50, 1_000, 10_000] {
        group.throughput(Throughput::Elements(messages));
        group.bench_function(format!("append and flush {messages}"), |bencher| {
            bencher.iter_batched(
                || records(messages as usize * MESSAGE_OCTETS, &mut random),
                |records| {
                    let number = journal.append(&records).expect("append");
                    journal.flush().expect("flush");
                    journal.release_before(number);
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// Octets that no compressor makes smaller.
fn records(octets: usize, random: &mut u64) -> Vec<u8> {
    let mut next = || {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *random
    };
    (0..octets.div_ceil(8)).flat_map(|_| next().to_be_bytes()).take(octets).collect()
}
