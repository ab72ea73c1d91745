//! What a tenant may have open and send, by whichever operation it does.

use codecs::smpp::tlv::tag;
use codecs::smpp::write;

use super::*;

/// The frame of a request that a tenant may make, with this sequence number.
type Make = fn(u32) -> Vec<u8>;

fn multi_frame(sequence: u32) -> Vec<u8> {
    let body = multi_body(&[phone(b"254712345678"), phone(b"254712345679")], 0);
    frame(Pdus::SUBMIT_MULTI, Status::OK, sequence, &body)
}

fn query_frame(sequence: u32) -> Vec<u8> {
    let body = [FIRST_ID.to_string().as_bytes(), b"\0\0\0\0"].concat();
    frame(Pdus::QUERY_SM, Status::OK, sequence, &body)
}

#[test]
fn every_operation_over_the_window_is_throttled_and_those_within_it_are_answered() {
    let rows: [(&str, Make, Pdus, bool); 3] = [
        ("submit_sm", submit_frame, Pdus::SUBMIT_SM_RESP, true),
        ("submit_multi", multi_frame, Pdus::SUBMIT_MULTI_RESP, true),
        ("query_sm", query_frame, Pdus::QUERY_SM_RESP, false),
    ];
    for (name, make, response, is_answered) in rows {
        let site = Site::with(options(), TenantAccess { window: 3, ..access() }, None);
        let mut peer = site.bound();
        site.house.hold_still();
        peer.send(&(1..=5).flat_map(make).collect::<Vec<u8>>());
        for sequence in [4, 5] {
            assert_eq!(peer.read().head(), (response, Status::THROTTLED, sequence), "{name}");
        }
        if is_answered {
            site.house.wait_for("the batch", |commands| {
                commands.iter().any(|command| matches!(command, Command::Submit(_))).then_some(())
            });
            site.house.go_on();
            let mut answers = [1, 2, 3].map(|_| peer.read().head());
            answers.sort_unstable_by_key(|(.., sequence)| *sequence);
            assert_eq!(answers, [1, 2, 3].map(|sequence| (response, Status::OK, sequence)), "{name}");
        } else {
            // The house decides nothing, so what has come is all there is.
            assert_eq!(operations(&site, 3).len(), 3, "{name}");
        }
    }
}

#[test]
fn a_message_to_many_with_a_number_that_is_in_use_is_throttled() {
    let site = Site::new();
    let mut peer = site.bound();
    site.house.hold_still();
    peer.send(&[multi_frame(2), multi_frame(2)].concat());
    assert_eq!(peer.read().head(), (Pdus::SUBMIT_MULTI_RESP, Status::THROTTLED, 2));
    site.house.wait_for("the batch", |commands| {
        let batch = commands.iter().find_map(|command| match command {
            Command::Submit(batch) => Some(batch.items.len()),
            _ => None,
        })?;
        assert_eq!(batch, 2, "those of the first");
        Some(())
    });
    site.house.go_on();
    assert_eq!(peer.read().head(), (Pdus::SUBMIT_MULTI_RESP, Status::OK, 2));
    peer.send(&multi_frame(2));
    assert_eq!(peer.read().head(), (Pdus::SUBMIT_MULTI_RESP, Status::OK, 2), "it is free again");
}

/// Who is left out of a message to as many as this, and why.
fn left_out(site: &Site, body: &[u8]) -> (usize, Vec<Status>) {
    let mut peer = site.bound();
    peer.send_pdu(Pdus::SUBMIT_MULTI, Status::OK, 2, body);
    let answer = peer.read();
    assert_eq!(answer.head(), (Pdus::SUBMIT_MULTI_RESP, Status::OK, 2));
    let refused = SubmitMultiResponse::read(&answer.body).unsuccess().map(|one| one.status).collect();
    let taken = site.house.wait_for("the submissions", |commands| {
        let batches = commands.iter().filter_map(|command| match command {
            Command::Submit(batch) => Some(batch.items.len()),
            _ => None,
        });
        Some(batches.sum()).filter(|taken: &usize| *taken > 0)
    });
    (taken, refused)
}

#[test]
fn a_message_to_many_counts_as_many_by_the_rate() {
    let site = Site::with(options(), TenantAccess { rate: 4, ..access() }, None);
    let many = [phone(b"254712345678"); 6];
    assert_eq!(left_out(&site, &multi_body(&many, 0)), (4, vec![Status::THROTTLED; 2]));
    let refused: Vec<_> = site.server.refusals().snapshot().filter(|(_, count)| *count > 0).collect();
    assert_eq!(refused, [(Refusal::RateLimited, 2)]);
}

/// One PDU of some forty kilobytes would become ten megabytes.
#[test]
fn a_long_text_to_many_becomes_no_more_than_so_much() {
    let site = Site::new();
    let text = [b'x'; 38_000];
    let fields = SmFields { source: SmeAddress { ton: 1, npi: 1, octets: b"100" }, ..SmFields::default() };
    let mut body = Vec::new();
    submit_multi_body(&mut body, &fields, &[phone(b"254712345678"); 254]).unwrap();
    write::tlv(&mut body, tag::MESSAGE_PAYLOAD, &text).unwrap();
    let (taken, refused) = left_out(&site, &body);
    assert_eq!(refused, vec![Status::INVMSGLEN; 254 - taken]);
    assert!(
        (4 << 20..(4 << 20) + 40_000).contains(&(taken * text.len())),
        "{taken} of {} octets",
        text.len()
    );
}

#[test]
fn a_question_does_not_overtake_the_message_that_came_before_it() {
    let site = Site::new();
    let mut peer = site.bound();
    peer.send(&[submit_frame(2), query_frame(3), submit_frame(4)].concat());
    let order = site.house.wait_for("all three", |commands| {
        let mut order = Vec::new();
        for command in commands {
            match command {
                Command::Submit(batch) => order.extend(batch.items.iter().map(|item| item.sequence)),
                Command::Operation(operation) => order.push(operation.sequence),
                _ => {}
            }
        }
        (order.len() == 3).then_some(order)
    });
    assert_eq!(order, [2, 3, 4]);
}

/// Optional parameters from 3.4 on (SMPP 3.4 §3.4), and a body beside an error from 5.0 on.
#[test]
fn a_peer_is_told_what_its_version_knows() {
    let site = Site::new();
    for (count, (version, tlvs, explanation)) in
        (1..).zip([(0x33, false, 0), (0x34, true, 0), (0x50, true, 15)])
    {
        let mut peer = Peer::connect(site.address);
        let mut bind = bind_frame(BindKind::Transceiver, 1, "acme", "secret");
        let place = bind.len() - 4;
        bind[place] = version;
        peer.send(&bind);
        assert_eq!(peer.read().status, Status::OK);
        let connection = site.house.connection(count);
        let told = site.house.wait_for("the bind", |commands| {
            commands.iter().find_map(|command| match command {
                Command::TenantBound { connection: of, tlvs, .. } if *of == connection => Some(*tlvs),
                _ => None,
            })
        });
        peer.send_pdu(Pdus::SUBMIT_SM, Status::OK, 2, &sm_body(b"100", b"254700000402", 0, b"hello"));
        let answer = peer.read();
        assert_eq!(answer.status, Status(0x40B), "{version:#x}");
        assert_eq!((told, answer.body.len()), (tlvs, explanation), "{version:#x}");
    }
}
