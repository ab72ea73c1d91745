//! The server: tenants of every kind, the well-behaved first.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use codecs::address::National;
use codecs::receipt::State;
use codecs::smpp::multi::{Destination, SubmitMultiResponse, submit_multi_body};
use codecs::smpp::pdu::SmeAddress;
use codecs::smpp::write::SmFields;
use codecs::smpp::{BindKind, Command as Pdus, Status};
use codecs::text::Encoding;
use connectors::admission::Admission;
use connectors::intake::LANE_COMMANDS_MAX;
use connectors::smpp::access::{Authenticator, BindKinds, Denied, IdRadix, TenantAccess};
use connectors::smpp::lockout::LockoutOptions;
use connectors::smpp::server::{Entrance, Server, ServerOptions};
use connectors::smpp::{Phase, Phases};
use engine::command::{Addresses, AskKind, Command, Named, OfOne, Refusal, Said, Wanted};
use engine::effect::{Operated, OperationAnswer, Outgoing};
use engine::submission::{Body, Extra};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::house::{BUSY, DEADLINE, FIRST_ID, House, POOR};
use crate::peer::{Peer, bind_frame, frame, sm_body, submit_frame};

mod binds;
mod bounds;

const OK: Said = Said::Status(0);

/// One tenant, with what it may do.
struct Directory(TenantAccess);

impl Authenticator for Directory {
    fn authenticate(&self, system_id: &[u8], password: &[u8], _: IpAddr) -> Result<TenantAccess, Denied> {
        match (system_id, password) {
            (b"acme", b"secret") => Ok(self.0.clone()),
            _ => Err(Denied::Credentials),
        }
    }
}

pub struct Site {
    pub house: House,
    pub server: Server,
    pub address: SocketAddr,
    phase: watch::Sender<Phase>,
    serving: JoinHandle<()>,
}

pub fn access() -> TenantAccess {
    TenantAccess {
        tenant: 7,
        tenant_id: "acme".into(),
        max_binds: 10,
        bind_kinds: BindKinds::ALL,
        oldest_leaves: false,
        window: 1_000,
        rate: 0,
        charset: Encoding::Gsm7,
        charset_1: Encoding::Latin1,
        national: National::Refused,
        message_id: IdRadix::Dec,
    }
}

fn options() -> ServerOptions {
    let lockout = LockoutOptions {
        delay_first: Duration::from_millis(1),
        delay_max: Duration::from_millis(2),
        failures_max: 3,
        ..LockoutOptions::default()
    };
    ServerOptions { lockout, ..ServerOptions::default() }
}

impl Site {
    fn new() -> Site {
        Site::with(options(), access(), None)
    }

    pub fn with(
        options: ServerOptions,
        access: TenantAccess,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Site {
        let house = House::new();
        let directory = Arc::new(Directory(access));
        let server = Server::new(options, house.partition.clone(), directory, Admission::new());
        let (phase, phases) = Phases::channel();
        let listener = house.runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = house.runtime.spawn({
            let server = server.clone();
            async move { server.serve(listener, Entrance { tls, proxies: None }, phases).await }
        });
        Site { house, server, address, phase, serving }
    }

    /// Drains the server, and waits for its end.
    pub fn end(self) -> House {
        let Site { house, serving, phase, .. } = self;
        phase.send(Phase::Draining).unwrap();
        house.runtime.block_on(async { tokio::time::timeout(DEADLINE, serving).await.unwrap().unwrap() });
        house
    }

    fn bound(&self) -> Peer {
        Peer::bound(self.address, BindKind::Transceiver)
    }

    /// A fresh client is served: nobody else has been hurt.
    fn still_serves(&self) {
        let mut peer = self.bound();
        peer.send(&submit_frame(77));
        assert_eq!(peer.read().head(), (Pdus::SUBMIT_SM_RESP, Status::OK, 77));
    }

    /// The numbers that were given back, once there are so many.
    fn untold(&self, count: usize) -> Vec<u64> {
        self.house.wait_for("untold numbers", |commands| {
            let untold = commands.iter().filter_map(|command| match command {
                Command::TenantUnbound { untold, .. } => Some(untold),
                _ => None,
            });
            let untold: Vec<u64> = untold.flatten().copied().collect();
            (untold.len() >= count).then_some(untold)
        })
    }

    /// What the tenant has answered, once there are so many.
    fn acknowledged(&self, count: usize) -> Vec<(u64, Said)> {
        self.house.wait_for("acknowledgements", |commands| {
            let items = commands.iter().filter_map(|command| match command {
                Command::Acknowledged { items, .. } => Some(items),
                _ => None,
            });
            let items: Vec<(u64, Said)> = items.flatten().map(|item| (item.token, item.said)).collect();
            (items.len() >= count).then_some(items)
        })
    }
}

#[test]
fn a_tenant_binds_submits_and_is_answered_with_the_id() {
    let site = Site::new();
    let mut peer = Peer::connect(site.address);
    let bound = peer.bind(BindKind::Transceiver, "acme", "secret");
    assert_eq!(bound.head(), (Pdus::BIND_TRANSCEIVER_RESP, Status::OK, 1));
    assert_eq!(bound.body, b"tidegate\0\x02\x10\0\x01\x34");
    peer.send(&submit_frame(2));
    let answer = peer.read();
    assert_eq!(answer.head(), (Pdus::SUBMIT_SM_RESP, Status::OK, 2));
    assert_eq!(answer.body, format!("{FIRST_ID}\0").as_bytes());
    site.house.wait_for("the submission", |commands| match commands {
        [Command::TenantBound { tenant: 7, receives: true, window: 1_500, .. }, Command::Submit(batch)] => {
            let body = Body::read(&batch.bodies).unwrap().0;
            assert_eq!(
                (body.octets, body.destination, body.source),
                (&b"hello"[..], 254_712_345_678, &b"100"[..])
            );
            Some(())
        }
        _ => None,
    });
}

#[test]
fn what_is_sent_at_once_is_one_batch_and_none_is_larger_than_a_thousand() {
    let site = Site::with(options(), TenantAccess { window: 5_000, ..access() }, None);
    let mut peer = site.bound();
    let frames: Vec<u8> = (1..=3_000).flat_map(submit_frame).collect();
    peer.send(&frames);
    let mut answered: Vec<u32> = (0..3_000).map(|_| peer.read().sequence).collect();
    answered.sort_unstable();
    assert!(answered.into_iter().eq(1..=3_000));
    site.house.wait_for("the batches", |commands| {
        let batches = commands.iter().filter_map(|command| match command {
            Command::Submit(batch) => Some(batch.items.len()),
            _ => None,
        });
        let sizes: Vec<usize> = batches.collect();
        assert!(sizes.iter().all(|size| *size <= 1_000));
        assert_eq!(sizes.iter().sum::<usize>(), 3_000);
        assert!(sizes.len() < 300, "{} batches", sizes.len());
        Some(())
    });
}

#[test]
fn refusals_of_the_engine_and_of_the_door_have_their_statuses() {
    let site = Site::new();
    let mut peer = site.bound();
    let mut submit = |sequence, source: &[u8], destination: &[u8]| {
        let body = sm_body(source, destination, 0, b"hello");
        peer.send_pdu(Pdus::SUBMIT_SM, Status::OK, sequence, &body);
        peer.read().head()
    };
    assert_eq!(submit(2, b"100", b"254700000402"), (Pdus::SUBMIT_SM_RESP, Status(0x40B), 2));
    assert_eq!(submit(3, b"100", b"nobody"), (Pdus::SUBMIT_SM_RESP, Status::INVDSTADR, 3));
    let refused: Vec<_> = site.server.refusals().snapshot().filter(|(_, count)| *count > 0).collect();
    assert_eq!(refused, [(Refusal::InvalidDestination, 1)], "the engine counts its own");
}

#[test]
fn a_peer_of_smpp_5_is_told_why_there_is_no_credit_and_how_busy_we_are() {
    let site = Site::new();
    let mut peer = bound_with_5(&site);
    peer.send_pdu(Pdus::SUBMIT_SM, Status::OK, 2, &sm_body(b"100", b"254700000402", 0, b"hello"));
    assert_eq!(peer.read().body, b"\0\x00\x1d\x00\x0ano credit\0");
    peer.send(&submit_frame(3));
    // The house says how full it is; a peer of 3.4 is not told.
    let body = peer.read().body;
    assert_eq!(&body[18..], [0, 0x04, 0x28, 0, 1, BUSY]);
    let mut older = site.bound();
    older.send(&submit_frame(3));
    assert_eq!(older.read().body.len(), 19);
}

#[test]
fn the_answer_to_a_submit_multi_says_the_same_to_a_peer_of_smpp_5() {
    let site = Site::new();
    let number = |octets| Destination::Sme(SmeAddress { ton: 1, npi: 1, octets });
    let (poor, fine) = (number(b"254700000402"), number(b"254712345678"));
    let ask = |peer: &mut Peer, sequence, destinations: &[Destination<'_>]| {
        peer.send_pdu(Pdus::SUBMIT_MULTI, Status::OK, sequence, &multi_body(destinations, 0));
        let answer = peer.read();
        (answer.status, answer.body)
    };
    let mut peer = bound_with_5(&site);
    let explained = b"\0\0\x00\x1d\x00\x0ano credit\0".to_vec();
    assert_eq!(ask(&mut peer, 2, &[poor, poor]), (Status(0x40B), explained));
    // The status is of the first that was refused, and so is the text.
    assert_eq!(ask(&mut peer, 3, &[number(b"nobody"), poor]), (Status::INVDSTADR, vec![]));
    let (status, body) = ask(&mut peer, 4, &[poor, fine]);
    assert_eq!((status, SubmitMultiResponse::read(&body).unsuccess().count()), (Status::OK, 1));
    assert!(body.ends_with(&[0x04, 0x28, 0, 1, BUSY]), "{body:02x?}");
    let mut older = site.bound();
    assert_eq!(ask(&mut older, 2, &[poor]), (Status(0x40B), vec![]));
    let (status, body) = ask(&mut older, 3, &[fine]);
    assert_eq!((status, body.len()), (Status::OK, 20));
}

#[test]
fn odd_tlvs_of_a_tenant_are_counted_and_the_message_is_taken() {
    let site = Site::new();
    let mut peer = site.bound();
    let odd = [&sm_body(b"100", b"254712345678", 0, b"hello")[..], b"\0\x17\0\x02\0\x09\0\0"].concat();
    peer.send_pdu(Pdus::SUBMIT_SM, Status::OK, 2, &odd);
    assert_eq!(peer.read().status, Status::OK);
    assert_eq!(site.server.counters().snapshot().odd_tlvs, 2);
}

fn bound_with_5(site: &Site) -> Peer {
    let mut peer = Peer::connect(site.address);
    let mut bind = bind_frame(BindKind::Transmitter, 1, "acme", "secret");
    let version = bind.len() - 4;
    bind[version] = 0x50;
    peer.send(&bind);
    peer.read();
    peer
}

#[test]
fn a_pdu_may_come_one_octet_at_a_time() {
    let site = Site::new();
    let mut peer = site.bound();
    for octet in submit_frame(2) {
        peer.send(&[octet]);
    }
    assert_eq!(peer.read().head(), (Pdus::SUBMIT_SM_RESP, Status::OK, 2));
}

#[test]
fn a_lost_stream_is_nacked_and_closed_and_others_go_on() {
    let site = Site::new();
    let oversized = (1u32 << 20).to_be_bytes();
    for octets in [&oversized[..], &15u32.to_be_bytes(), &[0; 16], b"GET / HTTP/1.1\r\n\r\n", &[0xff; 100]] {
        for mut peer in [Peer::connect(site.address), site.bound()] {
            peer.send(octets);
            let answers: Vec<_> = peer.read_to_end().iter().map(|pdu| pdu.head()).collect();
            assert_eq!(answers, [(Pdus::GENERIC_NACK, Status::INVCMDLEN, 0)], "{octets:02x?}");
        }
    }
    assert_eq!(site.server.counters().snapshot().malformed, 10);
    site.still_serves();
}

#[test]
fn a_stranger_may_send_less_than_a_tenant() {
    let site = Site::new();
    let large = frame(Pdus::SUBMIT_SM, Status::OK, 2, &[0; 10_000]);
    let mut stranger = Peer::connect(site.address);
    stranger.send(&large[..100]);
    assert_eq!(stranger.read().head(), (Pdus::GENERIC_NACK, Status::INVCMDLEN, 0));
    let mut peer = Peer::connect(site.address);
    peer.send(&[bind_frame(BindKind::Transmitter, 1, "acme", "secret"), large].concat());
    assert_eq!(peer.read().head(), (Pdus::BIND_TRANSMITTER_RESP, Status::OK, 1));
    assert_eq!(peer.read().command, Pdus::SUBMIT_SM_RESP);
}

#[test]
fn what_is_not_understood_is_answered_and_the_session_goes_on() {
    let site = Site::new();
    let mut peer = site.bound();
    let truncated = &sm_body(b"100", b"254712345678", 0, b"hello")[..30];
    for (command, body, response, status) in [
        (Pdus(0x0000_0777), &b"what"[..], Pdus::GENERIC_NACK, Status::INVCMDID),
        (Pdus::QUERY_SM, b"x\0\0\0\0", Pdus::QUERY_SM_RESP, Status::QUERYFAIL),
        (Pdus::CANCEL_SM, b"\0x\0\0\0\0\0\0\0", Pdus::CANCEL_SM_RESP, Status::CANCELFAIL),
        (Pdus::REPLACE_SM, b"x\0\0\0\0\0\0\0\0\x01a", Pdus::REPLACE_SM_RESP, Status::REPLACEFAIL),
        // Two texts, of which one is meant; an empty one is none.
        (
            Pdus::REPLACE_SM,
            b"x\0\0\0\0\0\0\0\0\x01a\x04\x24\0\x01b",
            Pdus::REPLACE_SM_RESP,
            Status::SUBMITFAIL,
        ),
        (Pdus::REPLACE_SM, b"x\0\0\0\0\0\0\0\0\x01a\x04\x24\0\0", Pdus::REPLACE_SM_RESP, Status::REPLACEFAIL),
        (Pdus::SUBMIT_MULTI, b"", Pdus::SUBMIT_MULTI_RESP, Status::INVCMDLEN),
        (Pdus::DELIVER_SM, b"", Pdus::DELIVER_SM_RESP, Status::INVCMDID),
        (Pdus::SUBMIT_SM, truncated, Pdus::SUBMIT_SM_RESP, Status::INVCMDLEN),
        (Pdus::SUBMIT_SM, b"", Pdus::SUBMIT_SM_RESP, Status::INVCMDLEN),
        (Pdus::BIND_RECEIVER, b"acme\0secret\0\0\x34\0\0\0", Pdus::BIND_RECEIVER_RESP, Status::ALYBND),
        (Pdus::ENQUIRE_LINK, b"", Pdus::ENQUIRE_LINK_RESP, Status::OK),
    ] {
        peer.send_pdu(command, Status::OK, 5, body);
        let answer = peer.read().head();
        assert_eq!((answer.0, answer.2), (response, 5), "{command:?}");
        if response != Pdus::SUBMIT_SM_RESP {
            assert_eq!(answer.1, status, "{command:?}");
        }
        assert_eq!(answer.1 == Status::OK, status == Status::OK);
    }
    peer.send_pdu(Pdus::SUBMIT_SM_RESP, Status::OK, 4711, b"an answer to nothing\0");
    peer.send(&submit_frame(6));
    assert_eq!(peer.read().head(), (Pdus::SUBMIT_SM_RESP, Status::OK, 6));
}

#[test]
fn in_the_wrong_state_nothing_is_submitted() {
    let site = Site::new();
    let mut stranger = Peer::connect(site.address);
    stranger.send(&submit_frame(1));
    assert_eq!(stranger.read().head(), (Pdus::SUBMIT_SM_RESP, Status::INVBNDSTS, 1));
    let mut receiver = Peer::bound(site.address, BindKind::Receiver);
    receiver.send(&submit_frame(2));
    assert_eq!(receiver.read().head(), (Pdus::SUBMIT_SM_RESP, Status::INVBNDSTS, 2));
}

#[test]
fn those_who_do_not_bind_or_do_not_end_their_pdu_are_closed() {
    let brief = Duration::from_millis(30);
    let site = Site::with(ServerOptions { session_init: brief, ..options() }, access(), None);
    assert!(Peer::connect(site.address).read_any().is_none());
    let site = Site::with(ServerOptions { pdu_read: brief, ..options() }, access(), None);
    let mut peer = site.bound();
    peer.send(&submit_frame(2)[..20]);
    assert!(peer.read_any().is_none());
}

#[test]
fn over_the_window_and_over_the_rate_is_throttled_and_read_on() {
    let site = Site::with(options(), TenantAccess { window: 3, ..access() }, None);
    let mut peer = site.bound();
    site.house.hold_still();
    peer.send(&(1..=5).flat_map(submit_frame).collect::<Vec<u8>>());
    for sequence in [4, 5] {
        assert_eq!(peer.read().head(), (Pdus::SUBMIT_SM_RESP, Status::THROTTLED, sequence));
    }
    site.house.wait_for("the batch", |commands| {
        commands.iter().any(|command| matches!(command, Command::Submit(_))).then_some(())
    });
    site.house.go_on();
    for sequence in [1, 2, 3] {
        assert_eq!(peer.read().head(), (Pdus::SUBMIT_SM_RESP, Status::OK, sequence));
    }

    let site = Site::with(options(), TenantAccess { rate: 2, ..access() }, None);
    let (mut one, mut other) = (site.bound(), site.bound());
    one.send(&[submit_frame(1), submit_frame(2)].concat());
    assert_eq!([one.read().status, one.read().status], [Status::OK; 2]);
    other.send(&submit_frame(3));
    assert_eq!(other.read().head(), (Pdus::SUBMIT_SM_RESP, Status::THROTTLED, 3));
}

#[test]
fn receipts_go_to_the_bind_they_are_given_to_and_their_answers_come_back() {
    let site = Site::with(options(), TenantAccess { window: 2, ..access() }, None);
    let (mut one, mut other) = (site.bound(), Peer::bound(site.address, BindKind::Receiver));
    let (first, second) = (site.house.connection(1), site.house.connection(2));
    site.house.requests(first, &[11, 12, 13, 14], b"body");
    site.house.request(second, 21, b"other");
    let (a, b, c) = (one.read(), one.read(), one.read());
    assert_eq!((a.command, &a.body[..]), (Pdus::DELIVER_SM, &b"body"[..]));
    assert_eq!(other.read().body, b"other");
    one.send(
        &[
            frame(Pdus::DELIVER_SM_RESP, Status::OK, b.sequence, &[0]),
            frame(Pdus::DELIVER_SM_RESP, Status::X_T_APPN, a.sequence, &[]),
        ]
        .concat(),
    );
    assert_eq!(site.acknowledged(2), [(12, OK), (11, Said::Status(Status::X_T_APPN.0))]);
    // The fourth waited for the window.
    let fourth = one.read();
    one.send_pdu(Pdus::DELIVER_SM_RESP, Status::OK, c.sequence, &[0]);
    one.send_pdu(Pdus::DELIVER_SM_RESP, Status::OK, fourth.sequence, &[0]);
    assert_eq!(site.acknowledged(4)[2..], [(13, OK), (14, OK)]);
}

#[test]
fn a_receipt_without_an_answer_is_given_back_and_its_late_answer_is_passed_on_as_that() {
    let brief = Duration::from_millis(30);
    let site = Site::with(ServerOptions { response_timeout: brief, ..options() }, access(), None);
    let mut peer = site.bound();
    site.house.request(site.house.connection(1), 11, b"body");
    let delivered = peer.read();
    assert_eq!(site.acknowledged(1), [(11, Said::Nothing)]);
    peer.send_pdu(Pdus::DELIVER_SM_RESP, Status::OK, delivered.sequence, &[0]);
    assert_eq!(site.acknowledged(2)[1..], [(11, Said::Late(0))]);
    // Once more is an answer to nothing.
    peer.send_pdu(Pdus::DELIVER_SM_RESP, Status::OK, delivered.sequence, &[0]);
    site.still_serves();
    assert_eq!(site.acknowledged(2).len(), 2);
    let counters = site.server.counters().snapshot();
    assert_eq!((counters.deliveries_answered, counters.deliveries_unanswered), (0, 1));
}

#[test]
fn receipts_come_back_when_the_session_dies_and_those_still_on_their_way_too() {
    let site = Site::with(options(), TenantAccess { window: 2, ..access() }, None);
    let mut peer = site.bound();
    let connection = site.house.connection(1);
    site.house.requests(connection, &[11, 12, 13, 14], b"body");
    let (first, _, _) = (peer.read(), peer.read(), peer.read());
    peer.send_pdu(Pdus::DELIVER_SM_RESP, Status::OK, first.sequence, &[0]);
    assert_eq!(site.acknowledged(1), [(11, OK)]);
    assert_eq!(peer.read().body, b"body");
    site.house.hold_still();
    drop(peer);
    assert_eq!(site.untold(3), [12, 13, 14]);
    site.house.request(connection, 15, b"too late");
    site.house.go_on();
    assert_eq!(site.untold(4), [12, 13, 14, 15]);
    site.house.wait_until("the end of the link", || site.house.partition.links.is_empty());
}

#[test]
fn a_peer_that_never_answers_nor_reads_is_closed_and_others_go_on() {
    let brief = Duration::from_millis(300);
    let site = Site::with(
        ServerOptions { enquire_link: brief, enquire_link_response: brief, ..options() },
        access(),
        None,
    );
    let dead = site.bound();
    site.house.requests(site.house.connection(1), &(1..=500).collect::<Vec<_>>(), &[b'x'; 200]);
    assert_eq!(site.untold(500).len(), 500);
    site.still_serves();
    drop(dead);
}

#[test]
fn a_peer_that_submits_and_never_reads_is_cut_off() {
    let stalled = Duration::from_millis(100);
    let site =
        Site::with(ServerOptions { stalled, ..options() }, TenantAccess { window: 1, ..access() }, None);
    let mut deaf = Peer::connect_from([127, 0, 0, 1], site.address, Some(4_096));
    assert_eq!(deaf.bind(BindKind::Transceiver, "acme", "secret").status, Status::OK);
    let frames: Vec<u8> = (1..=1_000).flat_map(submit_frame).collect();
    // Each is answered, mostly ESME_RTHROTTLED, until neither kernel takes more.
    while std::io::Write::write_all(&mut deaf.stream, &frames).is_ok() {}
    site.house.wait_until("the cut", || site.server.counters().snapshot().slow_readers == 1);
    site.still_serves();
}

#[test]
fn a_commit_loop_that_stands_still_stops_the_reading_and_loses_nothing() {
    let site = Site::with(options(), TenantAccess { window: 200_000, ..access() }, None);
    let mut peer = site.bound();
    site.house.connection(1);
    site.house.stand(true);
    // More than all batches that may wait can hold.
    let total = (LANE_COMMANDS_MAX as u32 + 20) * 1_000;
    let mut writer = Peer::of(peer.stream.try_clone().unwrap());
    let sender = std::thread::spawn(move || {
        for first in (1..=total).step_by(500) {
            writer.send(&(first..first + 500).flat_map(submit_frame).collect::<Vec<u8>>());
        }
    });
    let (mut before, mut unchanged) = (0, 0);
    site.house.wait_until("the standstill", || {
        let submits = site.server.counters().snapshot().submits;
        unchanged = if submits == before { unchanged + 1 } else { 0 };
        before = submits;
        unchanged > 20 && submits > 0
    });
    assert!(before < u64::from(total), "all {before} were read");
    site.house.stand(false);
    let mut answered: Vec<u32> = (0..total).map(|_| peer.read().sequence).collect();
    answered.sort_unstable();
    assert!(answered.into_iter().eq(1..=total));
    sender.join().unwrap();
}

#[test]
fn an_unbind_waits_for_the_answers_that_are_owed() {
    let site = Site::new();
    let mut peer = site.bound();
    site.house.hold_still();
    peer.send(&submit_frame(2));
    peer.send_pdu(Pdus::UNBIND, Status::OK, 3, &[]);
    site.house.wait_for("the submission", |commands| (commands.len() >= 2).then_some(()));
    site.house.go_on();
    assert_eq!(peer.read().head(), (Pdus::SUBMIT_SM_RESP, Status::OK, 2));
    assert_eq!(peer.read().head(), (Pdus::UNBIND_RESP, Status::OK, 3));
    assert!(peer.read_any().is_none());
}

#[test]
fn we_ask_whether_the_peer_lives() {
    let brief = Duration::from_millis(20);
    let site = Site::with(ServerOptions { enquire_link: brief, ..options() }, access(), None);
    let mut peer = site.bound();
    for _ in 0..3 {
        let question = peer.read_any().unwrap();
        assert_eq!(question.command, Pdus::ENQUIRE_LINK);
        peer.send_pdu(Pdus::ENQUIRE_LINK_RESP, Status::OK, question.sequence, &[]);
    }
}

#[test]
fn a_data_sm_is_answered_with_its_own_response() {
    let site = Site::new();
    let mut peer = site.bound();
    let body = b"\0\x05\0ACME\0\x01\x01254712345678\0\0\x01\x00\x04\x24\x00\x05hello";
    peer.send_pdu(Pdus::DATA_SM, Status::OK, 2, body);
    peer.send(&submit_frame(3));
    let (first, second) = (peer.read(), peer.read());
    assert_eq!(first.head(), (Pdus::DATA_SM_RESP, Status::OK, 2));
    assert_eq!(first.body, format!("{FIRST_ID}\0").as_bytes());
    assert_eq!(second.head(), (Pdus::SUBMIT_SM_RESP, Status::OK, 3));
}

#[test]
fn draining_refuses_binds_and_closing_unbinds_everybody() {
    let site = Site::new();
    let mut peer = site.bound();
    let mut late = Peer::connect(site.address);
    late.send_pdu(Pdus::ENQUIRE_LINK, Status::OK, 1, &[]);
    late.read();
    site.phase.send(Phase::Draining).unwrap();
    // Who was connected cannot bind any more; who was bound is served on.
    assert_eq!(late.bind(BindKind::Transmitter, "acme", "secret").status, Status::SYSERR);
    peer.send(&submit_frame(2));
    assert_eq!(peer.read().status, Status::OK);
    site.phase.send(Phase::Closing).unwrap();
    let unbind = peer.read();
    assert_eq!(unbind.command, Pdus::UNBIND);
    peer.send_pdu(Pdus::UNBIND_RESP, Status::OK, unbind.sequence, &[]);
    assert!(peer.read_any().is_none() && late.read_any().is_none());
    let Site { house, serving, .. } = site;
    house.runtime.block_on(serving).unwrap();
    assert!(house.partition.links.is_empty());
}

#[test]
fn closing_does_not_wait_for_peers_that_do_not_answer() {
    let closing = Duration::from_millis(50);
    let site = Site::with(ServerOptions { closing, ..options() }, access(), None);
    let peer = site.bound();
    site.house.request(site.house.connection(1), 11, b"never answered");
    site.phase.send(Phase::Closing).unwrap();
    assert_eq!(site.untold(1), [11]);
    let Site { house, serving, .. } = site;
    house.runtime.block_on(serving).unwrap();
    drop(peer);
}

/// The operations that have come, in order.
fn operations(site: &Site, count: usize) -> Vec<Wanted> {
    site.house.wait_for("operations", |commands| {
        let wanted = commands.iter().filter_map(|command| match command {
            Command::Operation(operation) => Some(operation.wanted.clone()),
            _ => None,
        });
        let wanted: Vec<Wanted> = wanted.collect();
        (wanted.len() >= count).then_some(wanted)
    })
}

#[test]
fn operations_come_in_the_order_of_the_stream_and_are_answered_by_what_is_decided() {
    let site = Site::with(options(), TenantAccess { message_id: IdRadix::Hex, ..access() }, None);
    let mut peer = site.bound();
    peer.send(&submit_frame(2));
    assert_eq!(peer.read().body, format!("{FIRST_ID:x}\0").as_bytes());
    let id = format!("{FIRST_ID:x}");
    let query = [id.as_bytes(), b"\0\x05\0ACME\0"].concat();
    let cancel = [b"\0", id.as_bytes(), b"\0\0\0\0\x01\x01254712345679\0"].concat();
    let cancel_all = b"CMT\0\0\x05\0ACME\0\x01\x01254712345678\0".to_vec();
    let replace = [id.as_bytes(), b"\0\0\0\0\x00000001000000000R\0\x11\0\x03new"].concat();
    for (sequence, (command, body)) in (3..).zip([
        (Pdus::QUERY_SM, &query),
        (Pdus::CANCEL_SM, &cancel),
        (Pdus::CANCEL_SM, &cancel_all),
        (Pdus::REPLACE_SM, &replace),
    ]) {
        peer.send_pdu(command, Status::OK, sequence, body);
    }
    let wanted = operations(&site, 4);
    let of_one = |source: &[u8], destination, what| {
        let named = Named { id: FIRST_ID, source: source.to_vec(), destination };
        Wanted::OfOne { named, what }
    };
    assert_eq!(wanted[0], of_one(b"ACME", None, OfOne::Query));
    assert_eq!(wanted[1], of_one(b"", Some(254_712_345_679), OfOne::Cancel));
    let (service_type, source, destination) = (b"CMT".to_vec(), b"ACME".to_vec(), 254_712_345_678);
    assert_eq!(wanted[2], Wanted::CancelAll(Addresses { service_type, source, destination }));
    let Wanted::OfOne { what: OfOne::Replace(replacement), .. } = &wanted[3] else { panic!("{wanted:?}") };
    assert_eq!((&replacement.octets[..], replacement.registered_delivery), (&b"new"[..], 0x11));
    assert!(replacement.valid_until.is_some() && replacement.send_at.is_none());
    let state = Operated::State { id: FIRST_ID, state: State::Scheduled, done: None, error: 0 };
    let answer = |sequence, kind, outcome| OperationAnswer { sequence, kind, outcome };
    let operated = vec![
        answer(3, AskKind::Query, state),
        answer(4, AskKind::Cancel, Operated::Done),
        answer(5, AskKind::Cancel, Operated::Failed),
        answer(6, AskKind::Replace, Operated::Refused(Refusal::InsufficientCredit)),
    ];
    let outgoing = Outgoing { operated, ..Outgoing::default() };
    site.house.partition.links.release(site.house.connection(1), outgoing);
    let answer = peer.read();
    assert_eq!(answer.head(), (Pdus::QUERY_SM_RESP, Status::OK, 3));
    assert_eq!(answer.body, [id.as_bytes(), b"\0\0\x01\0"].concat(), "3.4 knows no SCHEDULED");
    assert_eq!(peer.read().head(), (Pdus::CANCEL_SM_RESP, Status::OK, 4));
    assert_eq!(peer.read().head(), (Pdus::CANCEL_SM_RESP, Status::CANCELFAIL, 5));
    assert_eq!(peer.read().head(), (Pdus::REPLACE_SM_RESP, Status(0x40B), 6));
}

fn multi_body(destinations: &[Destination<'_>], esm_class: u8) -> Vec<u8> {
    let source = SmeAddress { ton: 1, npi: 1, octets: b"100" };
    let fields = SmFields { source, esm_class, text: b"hello", ..SmFields::default() };
    let mut body = Vec::new();
    submit_multi_body(&mut body, &fields, destinations).unwrap();
    body
}

fn phone(octets: &[u8]) -> Destination<'_> {
    Destination::Sme(SmeAddress { ton: 1, npi: 1, octets })
}

#[test]
fn a_message_to_many_has_one_answer_and_says_who_was_left_out() {
    let site = Site::new();
    let mut peer = site.bound();
    let poor = POOR.to_string();
    let list = Destination::List(b"friends");
    let destinations =
        [phone(b"nobody"), phone(b"254712345678"), phone(poor.as_bytes()), list, phone(b"254712345679")];
    peer.send_pdu(Pdus::SUBMIT_MULTI, Status::OK, 2, &multi_body(&destinations, 0));
    let answer = peer.read();
    assert_eq!(answer.head(), (Pdus::SUBMIT_MULTI_RESP, Status::OK, 2));
    let response = SubmitMultiResponse::read(&answer.body);
    assert_eq!(response.message_id, FIRST_ID.to_string().as_bytes());
    let refused: Vec<(Vec<u8>, Status)> =
        response.unsuccess().map(|one| (one.destination.octets.to_vec(), one.status)).collect();
    let expected = [
        (&b"nobody"[..], Status::INVDSTADR),
        (b"friends", Status::INVDLNAME),
        (poor.as_bytes(), Status(0x40B)),
    ];
    assert_eq!(refused, expected.map(|(octets, status)| (octets.to_vec(), status)));
    site.house.wait_for("the submissions", |commands| {
        let batch = commands.iter().find_map(|command| match command {
            Command::Submit(batch) => Some(batch),
            _ => None,
        })?;
        let body = Body::read(&batch.bodies).unwrap().0;
        assert_eq!((batch.items.len(), body.extra(Extra::SharedId)), (3, Some(&[0; 8][..])));
        Some(())
    });
    // Where none is accepted there is no id: it says why the first was not.
    let none = [phone(poor.as_bytes()), Destination::List(b"friends")];
    peer.send_pdu(Pdus::SUBMIT_MULTI, Status::OK, 3, &multi_body(&none, 0));
    assert_eq!(peer.read().head(), (Pdus::SUBMIT_MULTI_RESP, Status::INVDLNAME, 3));
    let many: Vec<Destination<'_>> = std::iter::repeat_n(phone(b"254712345678"), 254).collect();
    for sequence in 4..10 {
        peer.send_pdu(Pdus::SUBMIT_MULTI, Status::OK, sequence, &multi_body(&many, 0));
    }
    for _ in 4..10 {
        assert_eq!(peer.read().status, Status::OK);
    }
    peer.send_pdu(Pdus::SUBMIT_MULTI, Status::OK, 10, &multi_body(&many[..1], 2));
    assert_eq!(peer.read().head(), (Pdus::SUBMIT_MULTI_RESP, Status::INVESMCLASS, 10));
}
