//! submit_multi to a provider: what goes in one, and what comes of it when it is answered, late, not at all, or the bind is lost.

use std::time::Duration;

use codecs::smpp::multi::{Destination, SubmitMulti, Unsuccess, submit_multi_response_body};
use codecs::smpp::pdu::SmeAddress;
use codecs::smpp::write::{self, SmFields};
use codecs::smpp::{Command as Pdus, Status};
use connectors::smpp::client::ProviderBindOptions;
use engine::command::{Command, ConnectionId};

use crate::client::{Upstream, in_flight, options, unanswered, unsent};
use crate::peer::{Pdu, frame};

fn address(octets: &[u8]) -> SmeAddress<'_> {
    SmeAddress { ton: 1, npi: 1, octets }
}

/// One message to each of these numbers, with tokens from 1 on.
fn submit(upstream: &Upstream, connection: ConnectionId, numbers: &[&str]) {
    let body = |number: &&str| {
        let mut body = Vec::new();
        let fields = SmFields { destination: address(number.as_bytes()), text: b"hi", ..SmFields::default() };
        write::sm_body(&mut body, &fields).unwrap();
        body
    };
    let bodies: Vec<Vec<u8>> = numbers.iter().map(body).collect();
    let requests: Vec<(u64, &[u8])> = (1..).zip(&bodies).map(|(token, body)| (token, &body[..])).collect();
    upstream.house.requests_of(connection, &requests);
}

fn numbers(pdu: &Pdu) -> Vec<String> {
    assert_eq!(pdu.command, Pdus::SUBMIT_MULTI);
    let number = |destination| match destination {
        Destination::Sme(address) => String::from_utf8(address.octets.to_vec()).unwrap(),
        Destination::List(_) => panic!("a list"),
    };
    SubmitMulti::read(&pdu.body).unwrap().destinations().map(number).collect()
}

fn answer(id: &[u8], refused: &[(&str, Status)]) -> Vec<u8> {
    let list: Vec<Unsuccess<'_>> = refused
        .iter()
        .map(|(number, status)| Unsuccess { destination: address(number.as_bytes()), status: *status })
        .collect();
    let mut body = Vec::new();
    submit_multi_response_body(&mut body, id, &list).unwrap();
    body
}

const NUMBERS: [&str; 4] = ["254700000001", "254700000002", "254700000003", "254700000004"];

fn offered(most: usize) -> ProviderBindOptions {
    ProviderBindOptions { submit_multi: most, ..options() }
}

/// The responses so far, and whether each is the answer to a submit_multi.
fn shared(upstream: &Upstream, count: usize) -> Vec<(u64, bool)> {
    upstream.house.wait_for("responses", |commands| {
        let of = |command: &Command| match command {
            Command::Responses(all) => all.items.iter().map(|item| (item.token.0, all.shared)).collect(),
            _ => Vec::new(),
        };
        let found: Vec<(u64, bool)> = commands.iter().flat_map(of).collect();
        (found.len() >= count).then_some(found)
    })
}

#[test]
fn messages_that_are_alike_go_as_one_and_each_is_answered_for_itself() {
    let upstream = Upstream::with(offered(3));
    let (mut peer, connection) = upstream.up(1);
    submit(&upstream, connection, &NUMBERS);
    let (multi, alone) = (peer.read(), peer.read());
    assert_eq!(numbers(&multi), &NUMBERS[..3]);
    assert_eq!(alone.command, Pdus::SUBMIT_SM);
    upstream.house.wait_until("the counter", || upstream.snapshot().in_flight == 4);
    let body = answer(b"m", &[(NUMBERS[1], Status::INVDSTADR)]);
    peer.send(
        &[
            frame(Pdus::SUBMIT_MULTI_RESP, Status::OK, multi.sequence, &body),
            frame(Pdus::SUBMIT_SM_RESP, Status::OK, alone.sequence, b"a\0"),
        ]
        .concat(),
    );
    let mut responses = upstream.responses(4);
    responses.sort_unstable();
    let taken = |token, id: &str| (token, 0, id.to_owned());
    let expected = [taken(1, "m"), (2, Status::INVDSTADR.0, String::new()), taken(3, "m"), taken(4, "a")];
    assert_eq!(responses, expected);
    let mut flags = shared(&upstream, 4);
    flags.sort_unstable();
    assert_eq!(flags, [(1, true), (2, true), (3, true), (4, false)]);
    upstream.house.wait_until("the counter", || upstream.snapshot().in_flight == 0);
    let snapshot = upstream.snapshot();
    assert_eq!((snapshot.submitted, snapshot.responses, snapshot.malformed), (4, 4, 0));
}

#[test]
fn where_it_is_not_offered_each_goes_by_itself() {
    let upstream = Upstream::new();
    let (mut peer, connection) = upstream.up(1);
    submit(&upstream, connection, &NUMBERS);
    assert!(NUMBERS.iter().all(|_| peer.read().command == Pdus::SUBMIT_SM));
}

#[test]
fn an_error_is_everybodys_refusal_and_a_list_that_makes_no_sense_is_counted() {
    let upstream = Upstream::with(offered(2));
    let (mut peer, connection) = upstream.up(1);
    submit(&upstream, connection, &NUMBERS);
    let (first, second) = (peer.read(), peer.read());
    let stranger = answer(b"m", &[(NUMBERS[0], Status::INVDSTADR)]);
    peer.send(
        &[
            frame(Pdus::SUBMIT_MULTI_RESP, Status::SYSERR, first.sequence, &[]),
            frame(Pdus::SUBMIT_MULTI_RESP, Status::OK, second.sequence, &stranger),
        ]
        .concat(),
    );
    let mut responses = upstream.responses(4);
    responses.sort_unstable();
    let refused = |token| (token, Status::SYSERR.0, String::new());
    let taken = |token| (token, 0, "m".to_owned());
    assert_eq!(responses, [refused(1), refused(2), taken(3), taken(4)]);
    assert_eq!(upstream.snapshot().malformed, 1);
}

#[test]
fn where_the_provider_does_not_know_it_messages_are_given_back_and_go_alone() {
    let upstream = Upstream::with(offered(4));
    let (mut peer, connection) = upstream.up(1);
    submit(&upstream, connection, &NUMBERS);
    let multi = peer.read();
    peer.send(&frame(Pdus::GENERIC_NACK, Status::INVCMDID, multi.sequence, &[]));
    let expected = [1, 2, 3, 4].map(|token| (token, Status::THROTTLED.0, String::new()));
    assert_eq!(upstream.responses(4), expected);
    submit(&upstream, connection, &NUMBERS);
    assert!(NUMBERS.iter().all(|_| peer.read().command == Pdus::SUBMIT_SM));
}

#[test]
fn without_an_answer_each_is_in_doubt_and_a_late_one_still_speaks_for_all() {
    let upstream =
        Upstream::with(ProviderBindOptions { response_timeout: Duration::from_millis(20), ..offered(9) });
    let (mut peer, connection) = upstream.up(1);
    submit(&upstream, connection, &NUMBERS);
    let multi = peer.read();
    assert_eq!(upstream.tokens(4, unanswered), [1, 2, 3, 4]);
    peer.send_pdu(Pdus::SUBMIT_MULTI_RESP, Status::OK, multi.sequence, &answer(b"late", &[]));
    let expected = [1, 2, 3, 4].map(|token| (token, 0, "late".to_owned()));
    assert_eq!(upstream.responses(4), expected);
    let snapshot = upstream.snapshot();
    assert_eq!((snapshot.late_responses, snapshot.unanswered, snapshot.in_flight), (4, 4, 0));
}

#[test]
fn of_a_lost_bind_each_message_comes_back() {
    let upstream = Upstream::with(ProviderBindOptions { window: 1, ..offered(2) });
    let (mut peer, connection) = upstream.up(1);
    submit(&upstream, connection, &NUMBERS);
    assert_eq!(numbers(&peer.read()), &NUMBERS[..2]);
    drop(peer);
    assert_eq!(upstream.tokens(2, in_flight), [1, 2]);
    assert_eq!(upstream.tokens(2, unsent), [3, 4]);
}
