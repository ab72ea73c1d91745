//! `cargo bench --bench all [-- FILTER]`: the codecs, the engine's turn, the journal, and the whole over sockets, each by itself.
//! Figures of the gateway under load are `loadtest suite`'s (docs/benchmarks.md); here it is seen where they come from.

mod codec;
mod journal;
mod turn;
mod whole;

criterion::criterion_group!(benches, codec::bench, turn::bench, journal::bench, whole::bench);
criterion::criterion_main!(benches);
