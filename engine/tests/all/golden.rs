//! The octets of one record of each kind. They are on disk: a change here is a change of format, and needs a new version of the
//! record and a decision in `docs/adr/`.

use codecs::instant::Wall;
use codecs::receipt::State as ReceiptState;
use codecs::split::Reference;
use codecs::text::Encoding;
use engine::Engine;
use engine::catalog::{AskReceipt, SettleOn};
use engine::flushes::Flushes;
use engine::idempotency::Entry;
use engine::ledger::{Change, Reserve, Wallet};
use engine::message::{Head, Message, State};
use engine::money::Micros;
use engine::record::*;
use engine::step::*;
use engine::submission::{Body, Extra, Priority, Via, push_extra};

use crate::house::*;

const ACCEPTED: Wall = Wall(1_800_000_000_000);

fn message() -> Vec<u8> {
    let mut bytes = Vec::new();
    let head = Head {
        number: 0x0025_0010_0000_0041,
        accepted_at: ACCEPTED,
        tenant: 3,
        price: Micros(2_500_000),
        settle_on: SettleOn::Delivered,
        receipts: AskReceipt::Asked,
        candidates: &[1, 0x0102],
    };
    head.write(&mut bytes);
    let mut extras = Vec::new();
    push_extra(&mut extras, Extra::Reference, b"ref");
    let body = Body {
        via: Via::Smpp,
        encoding: Encoding::Ucs2,
        data_coding: 8,
        esm_class: 0,
        protocol_id: 0,
        priority: Priority::High,
        registered_delivery: 1,
        parts: 1,
        source_ton: 5,
        source_npi: 0,
        destination_ton: 1,
        destination_npi: 1,
        destination: 254_712_345_678,
        send_at: None,
        valid_until: Some(Wall(1_800_000_600_000)),
        source: b"ACME",
        service_type: b"",
        octets: b"\x04\x16",
        extras: &extras,
    };
    body.write(&mut bytes);
    bytes
}

fn step(step: &Step<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    step.write(ACCEPTED, Wall(ACCEPTED.0 + 0x1234), &mut bytes);
    bytes
}

fn wallet() -> [u8; Wallet::ENCODED_BYTES] {
    let mut wallet = Wallet::default();
    assert_eq!(wallet.deposit(Micros(1_000_000)), Change::Done);
    assert_eq!(wallet.set_credit_limit(Micros(5)), Reserve::Done);
    assert_eq!(wallet.reserve(Micros(300_000)), Reserve::Done);
    assert_eq!(wallet.settle(Micros(200_000), Micros(100_000)), Change::Done);
    wallet.encode()
}

fn key() -> Vec<u8> {
    let mut bytes = Vec::new();
    let entry = Entry { body: 2, began: ACCEPTED, first_number: 65, count: 2, outcome: vec![1, 9].into() };
    entry.encode(3, 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100, &mut bytes);
    bytes
}

/// Every kind of record, named, with its octets in hexadecimal.
fn with_all(mut check: impl FnMut(&str, &Record<'_>, &str)) {
    let number = 0x0025_0010_0000_0041;
    let message = message();
    let mut story = message.clone();
    story.extend(step(&Step::Intent { attempt: 1, provider: 1, bind: 2, parts: ALL_PARTS }));
    let (wallet, key) = (wallet(), key());
    check(
        "accept",
        &Record::Accept(&message),
        "01015a00000001020100410000001000250000505c18a301000003000000a025260000000000010002010001080000020101050001014ef4094e3b0000000000000000000000c0776518a301000004000200060041434d450416010300726566",
    );
    let of_step = |name, one: Step<'_>, hex, check: &mut dyn FnMut(&str, &Record<'_>, &str)| {
        check(name, &Record::Step { number, step: &step(&one) }, hex);
    };
    let response = |verdict, status, id| Step::Response {
        part: 0,
        verdict,
        status,
        retry_at: Wall(if verdict == Verdict::Retry { ACCEPTED.0 + 5_000 } else { 0 }),
        id,
        shared: false,
    };
    let receipt = Step::Receipt { part: 0, state: ReceiptState::Delivered, done: ACCEPTED, error: b"000" };
    let steps = [
        (
            "intent",
            Step::Intent { attempt: 1, provider: 1, bind: 2, parts: ALL_PARTS },
            "0201140000004100000010002500010534120000000101000200",
        ),
        ("unsent", Step::Unsent { part: 0 }, "03011000000041000000100025000201341200000000"),
        (
            "accepted",
            response(Verdict::Accepted, 0, &b"39f9"[..]),
            "030115000000410000001000250003063412000000000033396639",
        ),
        (
            "accepted with others",
            Step::Response {
                part: 0,
                verdict: Verdict::Accepted,
                status: 0,
                retry_at: Wall(0),
                id: b"39f9",
                shared: true,
            },
            "030115000000410000001000250003063412000000001033396639",
        ),
        (
            "refused",
            response(Verdict::Refused, REFUSED, b""),
            "03011d0000004100000010002500030e341200000000010b0000000000000000000000",
        ),
        (
            "refused for now",
            response(Verdict::Retry, BUSY, b""),
            "03011d0000004100000010002500030e341200000000020800000088635c18a3010000",
        ),
        (
            "throttled",
            response(Verdict::Throttled, THROTTLED, b""),
            "03011d0000004100000010002500030e34120000000003580000000000000000000000",
        ),
        (
            "doubt",
            Step::Doubt { part: ALL_PARTS, cause: DoubtCause::Restart },
            "030111000000410000001000250004023412000000ff02",
        ),
        ("resend", Step::Resend, "03010f000000410000001000250005003412000000"),
        ("held", Step::Held { cause: HoldCause::Tenant }, "03011000000041000000100025000801341200000001"),
        ("let go", Step::LetGo, "03010f000000410000001000250009003412000000"),
        (
            "failed",
            Step::Failed { cause: FailCause::InDoubt, status: 0 },
            "03011400000041000000100025000a0534120000000100000000",
        ),
        ("expired", Step::Expired, "03010f00000041000000100025000b003412000000"),
        ("cancelled", Step::Cancelled, "03010f00000041000000100025000c003412000000"),
        ("unknown", Step::Unknown, "03010f00000041000000100025000d003412000000"),
        (
            "rerouted",
            Step::Rerouted { provider: 0x0102, receipts: None },
            "03011100000041000000100025000e0234120000000201",
        ),
        (
            "rerouted to one that is asked for no receipts",
            Step::Rerouted { provider: 0x0102, receipts: Some(AskReceipt::Never) },
            "03011200000041000000100025000e033412000000020102",
        ),
        (
            "moved to one that is always asked",
            Step::Moved { provider: 0x0102, receipts: Some(AskReceipt::Always) },
            "030112000000410000001000250013033412000000020101",
        ),
        (
            "bounced",
            Step::Bounced { code: BounceCode::Stale },
            "03011000000041000000100025001101341200000005",
        ),
        (
            "resolved",
            Step::Resolved { resolution: Resolution::Resend },
            "03011000000041000000100025001201341200000002",
        ),
        (
            "moved",
            Step::Moved { provider: 0x0102, receipts: None },
            "0301110000004100000010002500130234120000000201",
        ),
        (
            "replaced",
            Step::Replaced { state: State::Held, attempt: 1, parts: 3, price: Micros(2_500_000) },
            "03011a0000004100000010002500180b3412000000020103a025260000000000",
        ),
        ("due", Step::Due, "03010f00000041000000100025000f003412000000"),
        ("receipt", receipt, "04011c0000004100000010002500060d3412000000000200505c18a3010000303030"),
        ("told", Step::Told, "05010f000000410000001000250007003412000000"),
        ("dropped", Step::Dropped, "05010f000000410000001000250010003412000000"),
    ];
    for (name, one, hex) in steps {
        of_step(name, one, hex, &mut check);
    }
    let money = Record::Money { tenant: 3, kind: MoneyKind::Opening, amount: Micros(-2), at: ACCEPTED.0 };
    check("money", &money, "0601150000000300000001feffffffffffffff00505c18a3010000");
    check(
        "carry-over",
        &Record::CarryOver(&story),
        "07016600000001020100410000001000250000505c18a301000003000000a025260000000000010002010001080000020101050001014ef4094e3b0000000000000000000000c0776518a301000004000200060041434d450416010300726566010534120000000101000200",
    );
    check(
        "parked",
        &Record::Parked { block: 0x001_0000_0000 >> 6, mask: 0x8000_0000_0000_0003 },
        "08011000000000000004000000000300000000000080",
    );
    check(
        "amendment",
        &Record::Amendment(&story),
        "09016600000001020100410000001000250000505c18a301000003000000a025260000000000010002010001080000020101050001014ef4094e3b0000000000000000000000c0776518a301000004000200060041434d450416010300726566010534120000000101000200",
    );
    let tenant = Record::Catalog { kind: NameKind::Tenant, index: 3, id: "acme", currency: "KES" };
    check("catalog, a tenant", &tenant, "0a01100000000103000000040061636d6503004b4553");
    let provider = Record::Catalog { kind: NameKind::Provider, index: 1, id: "up", currency: "" };
    check("catalog, a provider", &provider, "0a010b0000000201000000020075700000");
    check("epoch", &Record::Epoch { epoch: 1, next: 0x42 }, "0b010a00000001004200000000000000");
    for (archive, parked, late_ids, octets) in [
        (None, None, None, "1c010100000000"),
        (Some((0x41, 7)), None, None, "1c01110000000141000000000000000700000000000000"),
        (None, Some(9), None, "1c0109000000020900000000000000"),
        (None, None, Some((0, 3)), "1c01110000000400000000000000000300000000000000"),
        (
            Some((0x41, 7)),
            Some(9),
            Some((0, 3)),
            "1c01290000000741000000000000000700000000000000090000000000000000000000000000000300000000000000",
        ),
    ] {
        check("flushes", &Record::Flushes(Flushes { archive, parked, late_ids }), octets);
    }
    check(
        "wallet",
        &Record::Wallet { tenant: 3, wallet: &wallet },
        "0c01440000000300000040420f00000000000000000000000000000000000000000000350c0000000000a086010000000000a08601000000000000000000000000000500000000000000",
    );
    check(
        "idempotency",
        &Record::Idempotency { tenant: 3, entry: &key },
        "0d03430000000300000003000000000102030405060708090a0b0c0d0e0f0200000000000000000000000000000000505c18a301000001410000000000000002000000020000000109",
    );
    let untold = Record::Untold { tenant: 3, number, since: ACCEPTED.0 };
    check("untold", &untold, "0e021400000003000000410000001000250000505c18a3010000");
    let debts =
        [&3u32.to_le_bytes()[..], &1_800_000_000u32.to_le_bytes(), &0x8000_0001u64.to_le_bytes()].concat();
    let of_block = Record::Debts { block: 0x0102, debts: &debts };
    check("debts", &of_block, "1d011800000002010000000000000300000000d2496b0100008000000000");
    let early = Record::EarlyReceipt { provider: 1, at: ACCEPTED.0, receipt: b"\x02ab\x02" };
    check("early receipt", &early, "0f010e000000010000505c18a301000002616202");
    let part = Record::InboundPart { provider: 1, at: ACCEPTED.0, part: b"\x00\x07\x00\x02\x03\x00ab\x00" };
    check("a part from a phone", &part, "180113000000010000505c18a3010000000700020300616200");
    let cancelled = step(&Step::Cancelled);
    let apart = Record::Apart { number, after: 0x0102, step: &cancelled };
    check("apart", &apart, "1b01130000004100000010002500020100000c003412000000");
    let arrival = Record::Arrival { arrival: 0x0102_0304_0506_0708, at: ACCEPTED.0 };
    check("an arrival", &arrival, "1a0110000000080706050403020100505c18a3010000");
    let kept = Record::Kept { drawer: 1, number: 9, provider: 2, at: ACCEPTED.0, entry: b"xy" };
    check("kept", &kept, "190115000000010900000000000000020000505c18a30100007879");
    check(
        "rule",
        &Record::Rule { number: 7, rule: &rule() },
        "14014500000007000000010202003f03000000010004f30900000000000000505c18a3010000184c5c18a301000088635c18a301000000505c18a30100000400646f776e05006669727374",
    );
    check("rule that has ended", &Record::Rule { number: 7, rule: &[] }, "14010400000007000000");
}

/// A rule that moves to provider 2 whatever is tenant 3's, with provider 1, for 2547, of one second and for five more.
fn rule() -> Vec<u8> {
    let mut rule = vec![1, 2, 2, 0, 0x3f, 3, 0, 0, 0, 1, 0, 4];
    rule.extend_from_slice(&2_547u64.to_le_bytes());
    for time in [ACCEPTED.0, ACCEPTED.0 - 1_000, ACCEPTED.0 + 5_000, ACCEPTED.0] {
        rule.extend_from_slice(&time.to_le_bytes());
    }
    rule.extend_from_slice(b"\x04\0down\x05\0first");
    rule
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[test]
fn the_octets_of_every_record_are_these_for_ever() {
    with_all(|name, record, expected| {
        let mut bytes = Vec::new();
        write(&mut bytes, record);
        assert_eq!(hex(&bytes), expected, "{name}");
    });
}

#[test]
fn every_record_reads_back_as_written_and_a_cut_one_is_refused() {
    let mut group = Vec::new();
    let mut count = 0;
    with_all(|name, record, _| {
        count += 1;
        let start = group.len();
        write(&mut group, record);
        let read: Vec<_> = Records::new(&group[start..]).collect();
        assert_eq!(read, [Ok(record.clone())], "{name}");
        for end in start + 1..group.len() {
            let read = Records::new(&group[start..end]).next();
            assert_eq!(read, Some(Err(RecordError::Malformed { at: 0 })), "{name}");
        }
    });
    assert_eq!(Records::new(&group).filter(Result::is_ok).count(), count);
}

#[test]
fn what_an_earlier_release_wrote_of_the_untold_says_no_time() {
    let octets = [0x0e, 1, 12, 0, 0, 0, 3, 0, 0, 0, 0x41, 0, 0, 0, 0x10, 0, 0x25, 0];
    let untold = Record::Untold { tenant: 3, number: 0x0025_0010_0000_0041, since: 0 };
    assert_eq!(Records::new(&octets).collect::<Vec<_>>(), [Ok(untold)]);
}

#[test]
fn an_unknown_kind_and_a_newer_version_are_refused_with_their_place() {
    let mut group = Vec::new();
    write(&mut group, &Record::Epoch { epoch: 0, next: 1 });
    let at = group.len();
    write(&mut group, &Record::Epoch { epoch: 0, next: 1 });
    let replay = |group: &[u8]| {
        let refused = Engine::new(&KEY, Default::default()).replay(17, group).expect_err("it cannot be read");
        refused.to_string()
    };
    let mut key_group = group[..at].to_vec();
    write(&mut key_group, &Record::Idempotency { tenant: 3, entry: &key() });
    for (known, group) in [(1, &group), (3, &key_group)] {
        let mut newer = group.clone();
        newer[at + 1] += 1;
        let version = known + 1;
        assert_eq!(
            replay(&newer),
            format!(
                "group 17: record at octet {at} of its group is of version {version}, newer than {known}"
            )
        );
    }
    let mut unknown = group.clone();
    unknown[at] = 99;
    assert_eq!(
        replay(&unknown),
        format!("group 17: record at octet {at} of its group is of the unknown kind 99")
    );
    group.pop();
    assert_eq!(replay(&group), format!("group 17: record at octet {at} of its group is malformed"));
}

#[test]
fn what_a_record_holds_is_checked_before_it_is_believed() {
    let refused = |record: &Record<'_>| {
        let mut group = Vec::new();
        write(&mut group, record);
        Engine::new(&KEY, Default::default()).replay(1, &group).expect_err("it means nothing").to_string()
    };
    let mut unlawful = wallet();
    unlawful[0] ^= 1;
    let mut other_head = message();
    other_head[0] = 9;
    let cut = &message()[..60];
    assert_eq!(refused(&Record::Wallet { tenant: 1, wallet: &unlawful }), "group 1: a wallet cannot be read");
    assert_eq!(refused(&Record::Accept(&other_head)), "group 1: a message cannot be read");
    assert_eq!(refused(&Record::Accept(cut)), "group 1: a message cannot be read");
    assert_eq!(refused(&Record::CarryOver(cut)), "group 1: a carried message cannot be read");
    assert_eq!(
        refused(&Record::Idempotency { tenant: 1, entry: b"x" }),
        "group 1: an idempotency key cannot be read"
    );
    let early = Record::EarlyReceipt { provider: 0, at: 0, receipt: b"\xffab" };
    assert_eq!(refused(&early), "group 1: an early receipt cannot be read");
    let newer_state = [&b"\x02ab\x0a"[..], &[0; 16]].concat();
    let early = Record::EarlyReceipt { provider: 0, at: 0, receipt: &newer_state };
    assert_eq!(refused(&early), "group 1: an early receipt cannot be read");
    let newer = [&[3], &rule()[1..]].concat();
    assert_eq!(
        refused(&Record::Rule { number: 7, rule: &newer }),
        "group 1: an operator's rule cannot be read"
    );
}

/// Receipts that wait: those of earlier builds, which did not write down the other id, are held as they are, and so are those that
/// name it. An earlier build refuses the latter, for their state is none.
#[test]
fn early_receipts_are_read_in_both_forms() {
    let said = [&ACCEPTED.0.to_le_bytes()[..], &254_712_345_678u64.to_le_bytes()].concat();
    let earlier = [&b"\x02ab\x82"[..], &said, b"000"].concat();
    let linked = [&b"\x02ab\xc2"[..], &said, b"\x03xyz000"].concat();
    for receipt in [&earlier, &linked] {
        let mut group = Vec::new();
        write(&mut group, &Record::EarlyReceipt { provider: 1, at: ACCEPTED.0, receipt });
        let mut engine = Engine::new(&KEY, Default::default());
        engine.replay(1, &group).expect("both are read");
        assert_eq!(engine.summary().early.into_keys().collect::<Vec<_>>(), [(1, receipt.clone())]);
    }
}

/// Of the versions before of an idempotency key there are outcomes without parts and encoding and with them, told apart by a flag. Both
/// are kept as they are; what `accept.rs` makes of them is tested there.
#[test]
fn idempotency_keys_of_earlier_versions_are_read_in_both_of_their_forms() {
    let accepted = [0, 2, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0];
    let forms = [(1, &[1][..]), (1, &[3, 4, 2]), (2, &[3, 4, 2])];
    for (version, form) in forms {
        let outcome = [&accepted[..], form].concat();
        let (tenant, key, entry) = Entry::decode(&key()).expect("an entry");
        let mut bytes = Vec::new();
        Entry { count: 1, outcome: outcome.into(), ..entry }.encode(tenant, key, &mut bytes);
        let mut group = Vec::new();
        write(&mut group, &Record::Idempotency { tenant, entry: &bytes });
        group[1] = version;
        let mut engine = Engine::new(&KEY, Default::default());
        engine.replay(1, &group).expect("it is read");
        assert_eq!(engine.summary().keys.into_values().collect::<Vec<_>>(), [bytes]);
    }
}

/// How a long text is cut is kept in an extra, and the top bit of the encoding says so: a build that does not know of it finds no
/// encoding of that number, and refuses the message.
#[test]
fn a_long_text_says_how_it_is_cut_and_earlier_builds_refuse_it() {
    let mut extras = Vec::new();
    push_extra(&mut extras, Extra::Cut, &[0x01, 0x34, 0x12]);
    let long =
        Body { encoding: Encoding::Ucs2, data_coding: 8, parts: 2, extras: &extras, ..Body::default() };
    let octets = [0x04; 142];
    let long = Body { octets: &octets, ..long };
    let mut bytes = Vec::new();
    long.write(&mut bytes);
    assert_eq!(hex(&bytes[..12]), "008108000001010205000101");
    assert_eq!(hex(&bytes[bytes.len() - 6..]), "070300013412");
    assert_eq!(Encoding::from_u8(0x81), None);
    let (read, length) = Body::read(&bytes).expect("a body");
    assert_eq!((read, length), (long, bytes.len()));
    let cut = read.cut();
    assert_eq!((cut.reference, cut.is_first_form), (Reference::Wide, false));
    assert_eq!(read.reference(), Some(0x1234));
    assert_eq!(cut.parts(&octets).map(|part| part.len()).collect::<Vec<_>>(), [132, 10]);
}

#[test]
fn a_message_reads_back_with_its_whole_story() {
    let mut bytes = message();
    bytes.extend(step(&Step::Intent { attempt: 1, provider: 0x0102, bind: 2, parts: ALL_PARTS }));
    bytes.extend(step(&Step::Doubt { part: 0, cause: DoubtCause::BindLost }));
    let read = Message::read(bytes.clone()).expect("a message");
    assert_eq!(read.bytes(), bytes);
    assert_eq!((read.state, read.provider, read.bind, read.attempt), (State::InDoubt, 0x0102, 2, 1));
    assert_eq!(read.candidates().collect::<Vec<_>>(), [1, 0x0102]);
    assert_eq!(read.body().extra(Extra::Reference), Some(&b"ref"[..]));
    assert_eq!(read.steps().count(), 2);
    for end in 0..bytes.len() {
        // Cut between two steps it is a message with a shorter story, and cut anywhere else none at all.
        let steps = Message::read(bytes[..end].to_vec()).map(|message| message.steps().count());
        assert!(steps.is_none_or(|steps| steps < 2));
    }
}
