//! What a message costs in the codecs: its PDU both ways, its receipt, its text and its parts. No sockets, no engine.

use std::hint::black_box;

use codecs::receipt;
use codecs::smpp::command::Command;
use codecs::smpp::frame::next_frame;
use codecs::smpp::pdu::{self, Sm, SmeAddress};
use codecs::smpp::status::Status;
use codecs::smpp::write::{self, SmFields};
use codecs::split;
use codecs::text::{self, Choice, Encoding};
use criterion::{Criterion, Throughput};

const TEXT: &str = "Your parcel 4711 has left the depot in Nairobi and will be with you on Friday between nine and noon. \
                    To change the day or the place answer with CHANGE and the number.";
const RECEIPT: &[u8] =
    b"id:438104772 sub:001 dlvrd:001 submit date:2511201730 done date:2511201731 stat:DELIVRD err:000 text:";

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(1));
    let mut out = Vec::new();
    group.bench_function("write a submit_sm", |bencher| {
        bencher.iter(|| {
            out.clear();
            submit(&mut out);
            black_box(out.len())
        });
    });
    let mut frame = Vec::new();
    submit(&mut frame);
    group.bench_function("read a submit_sm", |bencher| {
        bencher.iter(|| {
            let octets = black_box(frame.as_slice());
            let length = next_frame(octets, 65_536).expect("a frame").expect("a whole frame");
            let sm = Sm::read(pdu::body(&octets[..length])).expect("a submit_sm");
            black_box(sm.content().len())
        });
    });
    group.bench_function("read the text of a receipt", |bencher| {
        bencher.iter(|| black_box(receipt::read(black_box(RECEIPT)).is_some()));
    });
    let mut octets = Vec::new();
    group.bench_function("encode 160 characters", |bencher| {
        bencher.iter(|| {
            octets.clear();
            black_box(text::encode(black_box(TEXT), Choice::Auto, &mut octets).expect("GSM 7-bit"))
        });
    });
    let long = [octets.as_slice(); 6].concat();
    group.bench_function("split 990 characters", |bencher| {
        bencher.iter(|| {
            split::Cut::new(Encoding::Gsm7).parts(black_box(&long)).map(|part| part.len()).sum::<usize>()
        });
    });
    group.finish();
}

fn submit(out: &mut Vec<u8>) {
    let source = SmeAddress { ton: 5, npi: 0, octets: b"ACME" };
    let destination = SmeAddress { ton: 1, npi: 1, octets: b"254712345678" };
    let text = TEXT.as_bytes();
    let fields = SmFields { source, destination, registered_delivery: 1, text, ..SmFields::default() };
    let written = write::pdu(out, Command::SUBMIT_SM, Status::OK, 7, |body| write::sm_body(body, &fields));
    written.expect("a submit_sm");
}
