//! A bind that is to end its session and begin another, because it is told to or because the provider leaves: what it waits for,
//! and what who asked is told.

use std::time::Duration;

use codecs::smpp::{Command as Pdus, Status};
use connectors::smpp::client::{ProviderBindOptions, Rebound};
use engine::command::Command;
use tokio::task::JoinHandle;

use crate::client::{Upstream, options, unsent};

/// Asks, and does not wait.
fn asked(upstream: &Upstream) -> JoinHandle<Rebound> {
    let rebind = upstream.rebind.clone();
    upstream.house.runtime.spawn(async move { rebind.ask().await })
}

fn told(upstream: &Upstream, asked: JoinHandle<Rebound>) -> Rebound {
    upstream.house.runtime.block_on(asked).unwrap()
}

fn is_resting(command: &Command) -> bool {
    matches!(command, Command::BindRests { provider: 3, bind: 1 })
}

#[test]
fn what_is_in_flight_is_answered_before_the_session_ends_and_then_it_binds_again_at_once() {
    // A pause would outlast the test.
    let upstream = Upstream::with(ProviderBindOptions {
        reconnect: connectors::smpp::client::Reconnect::default(),
        ..options()
    });
    let (mut peer, connection) = upstream.up(1);
    upstream.house.requests(connection, &[11, 12], b"body");
    let sequences = [peer.read().sequence, peer.read().sequence];
    let asked = asked(&upstream);
    upstream.house.wait_for("the rest", |commands| commands.iter().any(is_resting).then_some(()));
    for sequence in sequences {
        peer.send_pdu(Pdus::SUBMIT_SM_RESP, Status::OK, sequence, b"id\0");
    }
    let unbind = peer.read();
    assert_eq!(unbind.command, Pdus::UNBIND);
    assert_eq!(upstream.responses(2).len(), 2);
    peer.send_pdu(Pdus::UNBIND_RESP, Status::OK, unbind.sequence, &[]);
    let _again = upstream.up(2);
    assert_eq!(told(&upstream, asked), Rebound::Bound);
    let lost = upstream.house.wait_for("the end", |commands| {
        commands.iter().find_map(|command| match command {
            Command::BindDown { unsent, in_flight, .. } => Some(unsent.len() + in_flight.len()),
            _ => None,
        })
    });
    assert_eq!((lost, upstream.snapshot().failures), (0, 0));
}

#[test]
fn what_has_no_answer_in_time_is_told_and_the_session_ends_all_the_same() {
    let response_timeout = Duration::from_millis(50);
    let upstream = Upstream::with(ProviderBindOptions { response_timeout, ..options() });
    let (mut peer, connection) = upstream.up(1);
    upstream.house.requests(connection, &[11], b"body");
    peer.read();
    let asked = asked(&upstream);
    assert_eq!(peer.read().command, Pdus::UNBIND);
    upstream.house.wait_for("the doubt", |commands| {
        let is_told =
            |command: &Command| matches!(command, Command::Unanswered { tokens, .. } if tokens.len() == 1);
        commands.iter().any(is_told).then_some(())
    });
    drop(peer);
    let _again = upstream.up(2);
    assert_eq!(told(&upstream, asked), Rebound::Bound);
}

#[test]
fn who_asks_is_told_that_the_provider_does_not_let_it_in_again() {
    let upstream = Upstream::new();
    let (peer, _) = upstream.up(1);
    let asked = asked(&upstream);
    upstream.house.wait_for("the rest", |commands| commands.iter().any(is_resting).then_some(()));
    drop(peer);
    let (mut peer, bind) = upstream.accept();
    peer.send_pdu(bind.command.response(), Status::BINDFAIL, bind.sequence, &[]);
    assert_eq!(told(&upstream, asked), Rebound::Refused(Status::BINDFAIL));
    // It goes on trying.
    let _up = upstream.up(2);
}

#[test]
fn a_provider_that_unbinds_is_given_no_more_and_what_comes_for_it_goes_back_at_its_end() {
    let upstream = Upstream::new();
    let (mut peer, connection) = upstream.up(1);
    upstream.house.request(connection, 11, b"body");
    let submit = peer.read();
    peer.send_pdu(Pdus::UNBIND, Status::OK, 7, &[]);
    upstream.house.wait_for("the rest", |commands| commands.iter().any(is_resting).then_some(()));
    // What was on its way when the provider said so.
    upstream.house.request(connection, 12, b"body");
    peer.send_pdu(Pdus::SUBMIT_SM_RESP, Status::OK, submit.sequence, b"id\0");
    assert_eq!(peer.read().head(), (Pdus::UNBIND_RESP, Status::OK, 7));
    assert_eq!(upstream.responses(1).len(), 1);
    assert_eq!(upstream.tokens(1, unsent), [12]);
    let rests =
        upstream.house.wait_for("all", |commands| Some(commands.iter().filter(|c| is_resting(c)).count()));
    assert_eq!(rests, 1);
    let _again = upstream.up(2);
}
