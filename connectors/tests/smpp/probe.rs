//! A probe of a provider that is in use: what is not its own stays the gateway's.

use std::net::TcpListener;
use std::time::Duration;

use codecs::smpp::{Command, Status};
use connectors::clock::Clock;
use connectors::smpp::client::ProviderBindOptions;
use connectors::smpp::client::probe::{Found, Probing, probe};

use crate::client::{local, options};
use crate::peer::{Pdu, Peer, receipt_body, sm_body};

/// Answers what asks whether we are there, and gives the next PDU.
fn next(peer: &mut Peer) -> Pdu {
    loop {
        let pdu = peer.read();
        if pdu.command != Command::ENQUIRE_LINK {
            return pdu;
        }
        peer.send_pdu(Command::ENQUIRE_LINK_RESP, Status::OK, pdu.sequence, &[]);
    }
}

/// Delivers, and gives the status of the answer.
fn deliver(peer: &mut Peer, sequence: u32, body: &[u8]) -> Status {
    peer.send_pdu(Command::DELIVER_SM, Status::OK, sequence, body);
    loop {
        let answer = next(peer);
        if answer.command == Command::DELIVER_SM_RESP && answer.sequence == sequence {
            return answer.status;
        }
    }
}

/// What a probe of one message finds where this is the provider.
fn probed(provider: impl FnOnce(&mut Peer) + Send + 'static) -> Found {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let playing = std::thread::spawn(move || {
        let mut peer = Peer::of(listener.accept().unwrap().0);
        let bind = peer.read();
        peer.send_pdu(bind.command.response(), Status::OK, bind.sequence, b"up\0");
        provider(&mut peer);
        let unbind = next(&mut peer);
        assert_eq!(unbind.command, Command::UNBIND);
        peer.send_pdu(Command::UNBIND_RESP, Status::OK, unbind.sequence, &[]);
    });
    let probing = Probing {
        messages: vec![sm_body(b"100", b"254712345678", 0, b"hello")],
        phone: 254_712_345_678,
        receipt_wait: Duration::from_secs(30),
        pair: false,
    };
    let options = ProviderBindOptions { hosts: local(port), ..options() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = runtime.block_on(probe(&options, &probing, Clock::start())).unwrap();
    playing.join().unwrap();
    found
}

#[test]
fn what_is_of_another_message_is_put_off_and_comes_again_to_the_gateway() {
    let found = probed(|peer| {
        let submit = next(peer);
        assert_eq!(submit.command, Command::SUBMIT_SM);
        // Before the answer nobody knows whose it is.
        assert_eq!(deliver(peer, 1, &receipt_body("1f")), Status::X_T_APPN);
        peer.send_pdu(Command::SUBMIT_SM_RESP, Status::OK, submit.sequence, b"1f\0");
        // The same phone, and a sender that is no number.
        assert_eq!(deliver(peer, 2, &receipt_body("4711")), Status::X_T_APPN);
        let of_a_word = sm_body(b"Bank", b"100", 4, b"id:4712 stat:DELIVRD");
        assert_eq!(deliver(peer, 3, &of_a_word), Status::X_T_APPN);
        assert_eq!(deliver(peer, 4, &sm_body(b"254712345678", b"100", 4, b"stat:DELIVRD")), Status::X_T_APPN);
        assert_eq!(deliver(peer, 5, &sm_body(b"254712345678", b"100", 0, b"STOP")), Status::X_T_APPN);
        assert_eq!(deliver(peer, 6, &receipt_body("1f")), Status::OK);
    });
    let ids: Vec<&[u8]> = found.receipts.iter().map(|receipt| &receipt.text_id[..]).collect();
    assert_eq!((ids, found.others), (vec![&b"1f"[..]], 5));
}

#[test]
fn a_receipt_of_its_own_is_taken_in_whatever_radix() {
    for (given, named) in [("1f", "31"), ("31", "1F"), ("0031", "31"), ("a-b", "A-B")] {
        let found = probed(move |peer| {
            let submit = next(peer);
            let id = [given.as_bytes(), &[0]].concat();
            peer.send_pdu(Command::SUBMIT_SM_RESP, Status::OK, submit.sequence, &id);
            assert_eq!(deliver(peer, 1, &receipt_body(named)), Status::OK, "{given} {named}");
        });
        assert_eq!(found.receipts.len(), 1, "{given} {named}");
    }
}
