//! Which messages go together, and what is read out of answers of every kind. The wire is tested in `connectors/tests/smpp`.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used)]

use codecs::smpp::multi::{Destination, SubmitMulti, Unsuccess, submit_multi_response_body};
use codecs::smpp::pdu::SmeAddress;
use codecs::smpp::write::{self, SmFields};

use super::*;

fn body(source: &str, destination: &str, text: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let address = |octets| SmeAddress { ton: 1, npi: 1, octets };
    let fields = SmFields {
        source: address(source.as_bytes()),
        destination: address(destination.as_bytes()),
        text: text.as_bytes(),
        ..SmFields::default()
    };
    write::sm_body(&mut body, &fields).unwrap();
    body
}

/// How many of these go at once, each time.
fn groups(most: usize, messages: &[(&str, &str, &str)]) -> Vec<usize> {
    let bodies: Vec<Vec<u8>> = messages.iter().map(|(source, to, text)| body(source, to, text)).collect();
    let mut multi = Multi::new(most, Duration::ZERO);
    let (mut sizes, mut start) = (Vec::new(), 0);
    while start < bodies.len() {
        let waiting = bodies[start..].iter().zip(start as u64..).map(|(body, token)| (token, &body[..]));
        let size = multi.gather(waiting);
        let tokens: Vec<u64> = multi.members.iter().map(|member| member.token).collect();
        assert_eq!(tokens, (start as u64..(start + size) as u64).collect::<Vec<_>>());
        if size > 1 {
            let written = SubmitMulti::read(&multi.body).unwrap();
            let digits = |destination| match destination {
                Destination::Sme(address) => String::from_utf8(address.octets.to_vec()).unwrap(),
                Destination::List(_) => panic!("a list"),
            };
            let to: Vec<String> = written.destinations().map(digits).collect();
            assert_eq!(to, messages[start..start + size].iter().map(|m| m.1).collect::<Vec<_>>());
        }
        sizes.push(size);
        start += size;
    }
    sizes
}

#[test]
fn what_is_alike_and_next_to_each_other_goes_together() {
    const A: &str = "254700000001";
    const B: &str = "254700000002";
    const C: &str = "254700000003";
    let same = [("X", A, "hi"), ("X", B, "hi"), ("X", C, "hi")];
    for (most, messages, expected) in [
        (254, &same[..], &[3][..]),
        (2, &same, &[2, 1]),
        (9, &[("X", A, "hi"), ("X", B, "ho"), ("X", C, "ho")], &[1, 2]),
        (9, &[("X", A, "hi"), ("Y", B, "hi"), ("X", C, "hi")], &[1, 1, 1]),
        // The same number, and one that ends alike: they could not be told apart.
        (9, &[("X", A, "hi"), ("X", A, "hi"), ("X", B, "hi")], &[1, 2]),
        (9, &[("X", A, "hi"), ("X", "33700000001", "hi"), ("X", B, "hi")], &[1, 2]),
        // No number at all goes alone.
        (9, &[("X", "12", "hi"), ("X", B, "hi"), ("X", "", "hi")], &[1, 1, 1]),
    ] {
        assert_eq!(groups(most, messages), expected, "{messages:?}");
    }
}

fn members(numbers: &[&str]) -> Vec<Member> {
    let member = |(token, number): (u64, &&str)| Member { token, tail: tail(number.as_bytes()).unwrap() };
    (0..).zip(numbers).map(member).collect()
}

fn answer(list: &[(&str, u32)]) -> Vec<u8> {
    let address = |octets| SmeAddress { ton: 0, npi: 0, octets };
    let list: Vec<Unsuccess<'_>> = list
        .iter()
        .map(|(number, status)| Unsuccess {
            destination: address(number.as_bytes()),
            status: Status(*status),
        })
        .collect();
    let mut body = Vec::new();
    submit_multi_response_body(&mut body, b"77", &list).unwrap();
    body
}

#[test]
fn each_message_has_what_the_answer_says_of_it() {
    use Said::{Refused, Taken, Unclear};
    let members = members(&["254700000001", "254700000002", "254700000003"]);
    let absent = Refused(Status(0x0B));
    let mut cut = answer(&[("254700000001", 0x0B), ("254700000002", 0x0B)]);
    cut.truncate(cut.len() - 3);
    for (what, body, said, senseless) in [
        ("nobody refused", answer(&[]), [Taken, Taken, Taken], 0),
        ("one", answer(&[("254700000002", 0x0B)]), [Taken, absent, Taken], 0),
        ("with 00", answer(&[("00254700000002", 0x0B)]), [Taken, absent, Taken], 0),
        ("with +", answer(&[("+254700000002", 0x0B)]), [Taken, absent, Taken], 0),
        ("national", answer(&[("0700000002", 0x0B)]), [Taken, absent, Taken], 0),
        (
            "each its own",
            answer(&[("254700000003", 0x58), ("254700000001", 0x0B)]),
            [absent, Taken, Refused(Status(0x58))],
            0,
        ),
        ("twice", answer(&[("254700000002", 0x0B), ("0700000002", 0x58)]), [Taken, absent, Taken], 1),
        ("nobody of ours", answer(&[("254799999999", 0x0B)]), [Taken, Taken, Taken], 1),
        ("no number", answer(&[("", 0x0B), ("x", 0x0B)]), [Taken, Taken, Taken], 2),
        ("as many as there are, unknown", answer(&[("1", 1), ("2", 1), ("3", 1)]), [Unclear; 3], 3),
        (
            "as many as are left",
            answer(&[("254700000001", 0x0B), ("2", 1), ("3", 1)]),
            [absent, Unclear, Unclear],
            2,
        ),
        ("listed, and well", answer(&[("254700000001", 0)]), [Unclear, Taken, Taken], 0),
        ("cut off", cut, [absent, Taken, Taken], 1),
        ("no body", Vec::new(), [Taken, Taken, Taken], 0),
    ] {
        let verdicts = verdicts(&members, Status::OK, &SubmitMultiResponse::read(&body));
        let found: Vec<Said> = verdicts.said.iter().map(|(_, said)| *said).collect();
        assert_eq!((found, verdicts.senseless), (said.to_vec(), senseless), "{what}");
    }
    let error = verdicts(&members, Status::THROTTLED, &SubmitMultiResponse::default());
    assert_eq!(error.said, [0, 1, 2].map(|token| (token, Refused(Status::THROTTLED))));
    let some = answer(&[("254700000002", 0x0B)]);
    let error_of_some = verdicts(&members, Status::SUBMITFAIL, &SubmitMultiResponse::read(&some));
    assert_eq!(error_of_some.said, [(0, Unclear), (1, absent), (2, Unclear)]);
}

#[test]
fn every_message_is_answered_once_however_much_of_an_answer_comes() {
    let members = members(&["254700000001", "254700000002"]);
    let whole = answer(&[("254700000002", 0x0B), ("254700000001", 0x0B), ("254700000002", 0)]);
    for octets in 0..=whole.len() {
        for count in [0, 1, 3, 255] {
            let mut body = whole.clone();
            body[3] = count;
            body.truncate(octets);
            let verdicts = verdicts(&members, Status::OK, &SubmitMultiResponse::read(&body));
            let tokens: Vec<u64> = verdicts.said.iter().map(|(token, _)| *token).collect();
            assert_eq!(tokens, [0, 1], "{octets} octets, {count} told");
        }
    }
}

#[test]
fn a_group_that_was_given_up_is_known_for_a_while_and_then_forgotten() {
    let mut multi = Multi::new(9, Duration::from_micros(50));
    for (token, start) in [(91, 1), (92, 3), (93, 5)] {
        let members = (start..start + 2).map(|token| Member { token, tail: token }).collect();
        multi.open.insert(token, members);
    }
    let give_up =
        |multi: &mut Multi, at, token| multi.give_up(Mono(at), token).map(Iterator::collect::<Vec<u64>>);
    assert_eq!(give_up(&mut multi, 100, 91), Some(vec![1, 2]));
    assert_eq!(give_up(&mut multi, 140, 92), Some(vec![3, 4]));
    assert_eq!(multi.answered(91, true).map(|members| members.len()), Some(2), "late");
    assert_eq!(give_up(&mut multi, 191, 93), Some(vec![5, 6]));
    assert!(multi.answered(92, true).is_none(), "too late");
    assert_eq!((multi.open.len(), multi.given_up.len()), (1, 1));
}
