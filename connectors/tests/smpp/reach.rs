//! How a provider is reached and spoken to: hosts, our own address, TLS, outbind, versions, kinds of binds and operations.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use codecs::smpp::{BindKind, Command as Pdus, Status};
use connectors::clock::Clock;
use connectors::smpp::client::{Expected, Host, Outbind, ProviderBindOptions, Secret, Shared, Tls};
use connectors::smpp::counters::BindSnapshot;
use connectors::smpp::lockout::{Lockout, LockoutOptions};
use connectors::smpp::{Phase, Phases};
use connectors::tls::{self, ClientFiles, ServerFiles};
use engine::command::Command;
use rustls::{ServerConnection, StreamOwned};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::client::{Upstream, local, options};
use crate::house::DEADLINE;
use crate::peer::{Peer, frame};

fn host(address: SocketAddr) -> Host {
    Host { name: address.ip().to_string(), port: address.port() }
}

#[test]
fn each_attempt_begins_with_the_next_host_and_a_dead_one_is_passed_over() {
    let second = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = second.local_addr().unwrap();
    let dead = {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap();
        gone.local_addr().unwrap()
    };
    let upstream = Upstream::reached_by(options(), |port, options| ProviderBindOptions {
        hosts: vec![host(dead), local(port).remove(0), host(other)],
        ..options
    });
    // The first attempt passes the dead one over, the second begins with the second, the third with the third.
    for _ in 0..2 {
        drop(upstream.accept());
    }
    let mut peer = Peer::of(second.accept().unwrap().0);
    assert_eq!(peer.read().command, Pdus::BIND_TRANSCEIVER);
}

#[test]
fn connections_come_from_the_address_that_was_said() {
    let from = "127.0.0.2".parse().unwrap();
    let upstream = Upstream::with(ProviderBindOptions { local_address: Some(from), ..options() });
    assert_eq!(upstream.listener.accept().unwrap().1.ip(), from);
    // None of ours: it cannot be taken, and the attempt fails like any other.
    let nobodys = "192.0.2.1".parse().ok();
    let upstream = Upstream::with(ProviderBindOptions { local_address: nobodys, ..options() });
    upstream.house.wait_until("failures", || upstream.snapshot().failures >= 2);
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tls").join(name)
}

/// A bind through TLS with these files and this name, and its provider, which asks for a certificate.
fn secured(files: &ClientFiles, server_name: Option<&str>) -> Upstream {
    let tls = Tls { config: tls::client(files).unwrap(), server_name: server_name.map(str::to_owned) };
    Upstream::reached_by(options(), |port, options| ProviderBindOptions {
        hosts: vec![Host { name: "localhost".to_owned(), port }],
        tls: Some(tls),
        ..options
    })
}

/// The provider's side of one connection.
fn accept_tls(upstream: &Upstream) -> StreamOwned<ServerConnection, TcpStream> {
    let files = ServerFiles {
        cert: fixture("cert.pem"),
        key: fixture("key.pem"),
        client_ca: Some(fixture("client_ca.pem")),
    };
    let stream = upstream.listener.accept().unwrap().0;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    StreamOwned::new(ServerConnection::new(tls::server(&files).unwrap()).unwrap(), stream)
}

fn shown() -> ClientFiles {
    let own = Some((fixture("client.pem"), fixture("client_key.pem")));
    ClientFiles { ca: Some(fixture("cert.pem")), own }
}

#[test]
fn a_provider_is_bound_through_tls_with_a_certificate_of_ours() {
    for name in [None, Some("localhost")] {
        let upstream = secured(&shown(), name);
        let mut stream = accept_tls(&upstream);
        let mut bind = [0; 16 + 15];
        stream.read_exact(&mut bind).unwrap();
        assert_eq!(&bind[16..], b"us\0secret\0\0\x34\0\0\0");
        stream.write_all(&frame(Pdus::BIND_TRANSCEIVER_RESP, Status::OK, 1, b"up\0")).unwrap();
        let connection = upstream.house.connection(1);
        upstream.house.request(connection, 11, b"body");
        let mut submit = [0; 20];
        stream.read_exact(&mut submit).unwrap();
        assert_eq!((&submit[4..8], &submit[16..]), (&[0, 0, 0, 4][..], &b"body"[..]));
    }
}

#[test]
fn a_provider_that_is_not_who_it_should_be_gets_no_password() {
    let unsigned = ClientFiles { ca: None, ..shown() };
    let nameless = ClientFiles { own: None, ..shown() };
    for (files, name) in [(unsigned, None), (shown(), Some("smpp.example.com")), (nameless, None)] {
        let upstream = secured(&files, name);
        let mut octets = Vec::new();
        assert!(accept_tls(&upstream).read_to_end(&mut octets).is_err(), "{files:?} {name:?}");
        assert_eq!(octets, b"");
        upstream.house.wait_until("a failure", || upstream.snapshot().failures >= 1);
        assert_eq!(upstream.snapshot().binds, 0);
    }
}

fn outbind_frame(system_id: &str, password: &str) -> Vec<u8> {
    frame(Pdus::OUTBIND, Status::OK, 1, format!("{system_id}\0{password}\0").as_bytes())
}

/// One bind that waits for a provider to say outbind, and where; only those from 127.0.0.2 on are listened to where `is_picky`.
struct Waiting {
    address: SocketAddr,
    upstream: Upstream,
    _phase: watch::Sender<Phase>,
    _runtime: Runtime,
}

impl Waiting {
    fn with(failures_max: u32, is_picky: bool) -> Waiting {
        let waiting = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = waiting.local_addr().unwrap();
        waiting.set_nonblocking(true).unwrap();
        let (phase, phases) = Phases::channel();
        let runtime = Runtime::new().unwrap();
        let lockout = LockoutOptions {
            delay_first: Duration::from_millis(1),
            failures_max,
            ..LockoutOptions::default()
        };
        let outbind = {
            let _inside = runtime.enter();
            let expected = Expected {
                provider_id: "up".to_owned(),
                system_id: "smsc".to_owned(),
                password: Secret("pw".to_owned()),
                from: is_picky.then(|| Arc::new(|from| from != Ipv4Addr::LOCALHOST) as Arc<_>),
                shared: Shared { lockout: Arc::new(Lockout::new(lockout)), counters: Arc::default() },
            };
            let waiting = tokio::net::TcpListener::from_std(waiting).unwrap();
            let (outbind, keeper) = Outbind::open(waiting, expected, 1, Clock::start());
            runtime.spawn(keeper.run(phases));
            outbind
        };
        let upstream = Upstream::with(ProviderBindOptions { outbind: Some(outbind), ..options() });
        Waiting { address, upstream, _phase: phase, _runtime: runtime }
    }

    /// The provider, after its outbind.
    fn greeted(&self, host: u8) -> Peer {
        let mut peer = Peer::connect_from([127, 0, 0, host], self.address, None);
        peer.send(&outbind_frame("smsc", "pw"));
        peer
    }
}

/// The bind comes, and is answered.
fn take_bind(peer: &mut Peer) {
    let bind = peer.read();
    assert_eq!(bind.command, Pdus::BIND_TRANSCEIVER);
    peer.send_pdu(bind.command.response(), Status::OK, bind.sequence, b"up\0");
}

#[test]
fn a_provider_that_says_outbind_is_bound_on_its_own_connection() {
    let waiting = Waiting::with(10, false);
    // Strangers, and one that only listens, keep nobody away.
    let _silent = Peer::connect(waiting.address);
    let nonsense: [&[u8]; 4] = [
        &outbind_frame("smsc", "wrong"),
        &outbind_frame("other", "pw"),
        &frame(Pdus::ENQUIRE_LINK, Status::OK, 1, &[]),
        b"GET / HTTP/1.1\r\n\r\n",
    ];
    for octets in nonsense {
        let mut stranger = Peer::connect(waiting.address);
        stranger.send(octets);
        assert!(stranger.read_any().is_none(), "{}", octets.escape_ascii());
    }
    for count in 1..=2 {
        let mut peer = waiting.greeted(1);
        take_bind(&mut peer);
        let connection = waiting.upstream.house.connection(count);
        waiting.upstream.house.request(connection, 11, b"body");
        assert_eq!(peer.read().command, Pdus::SUBMIT_SM);
    }
}

#[test]
fn a_crowd_that_is_silent_keeps_no_provider_away() {
    let waiting = Waiting::with(10, false);
    let _crowd: Vec<Peer> = (0..200).map(|_| Peer::connect(waiting.address)).collect();
    take_bind(&mut waiting.greeted(2));
}

#[test]
fn who_comes_from_elsewhere_or_has_guessed_is_not_bound_whatever_it_says() {
    let waiting = Waiting::with(10, true);
    assert!(waiting.greeted(1).read_any().is_none());
    take_bind(&mut waiting.greeted(2));
    let waiting = Waiting::with(1, false);
    let mut guessing = Peer::connect(waiting.address);
    guessing.send(&outbind_frame("smsc", "guess"));
    assert!(guessing.read_any().is_none());
    assert!(waiting.greeted(1).read_any().is_none());
    take_bind(&mut waiting.greeted(2));
}

#[test]
fn one_connection_more_than_binds_waits_for_its_turn_and_one_that_ended_is_passed_over() {
    let waiting = Waiting::with(10, false);
    let mut first = waiting.greeted(1);
    take_bind(&mut first);
    waiting.upstream.house.connection(1);
    drop(waiting.greeted(1));
    let mut third = waiting.greeted(1);
    drop(first);
    take_bind(&mut third);
    waiting.upstream.house.connection(2);
}

#[test]
fn every_kind_and_version_is_bound_as_it_is_said() {
    for (kind, command, interface_version) in [
        (BindKind::Transmitter, Pdus::BIND_TRANSMITTER, 0x33),
        (BindKind::Receiver, Pdus::BIND_RECEIVER, 0x33),
        (BindKind::Transceiver, Pdus::BIND_TRANSCEIVER, 0x34),
        (BindKind::Transceiver, Pdus::BIND_TRANSCEIVER, 0x50),
    ] {
        let upstream = Upstream::with(ProviderBindOptions { kind, interface_version, ..options() });
        let (mut peer, bind) = upstream.accept();
        assert_eq!((bind.command, bind.body[11]), (command, interface_version));
        peer.send_pdu(bind.command.response(), Status::OK, bind.sequence, b"up\0");
        upstream.house.wait_until("the bind", || upstream.snapshot().up == 1);
        if kind == BindKind::Transmitter {
            let connection = upstream.house.connection(1);
            upstream.house.request(connection, 11, b"body");
            assert_eq!(peer.read().command, Pdus::SUBMIT_SM);
        }
    }
}

#[test]
fn how_busy_a_provider_says_it_is_is_told_where_it_speaks_5_0() {
    for (interface_version, state, expected) in [(0x50, 95, 1), (0x50, 90, 0), (0x34, 100, 0)] {
        let upstream = Upstream::with(ProviderBindOptions { interface_version, ..options() });
        let (mut peer, connection) = upstream.up(1);
        upstream.house.requests(connection, &[11, 12], b"body");
        let (first, second) = (peer.read().sequence, peer.read().sequence);
        let congested = [&b"\0\x04\x28\0\x01"[..], &[state]].concat();
        peer.send(
            &[
                frame(Pdus::SUBMIT_SM_RESP, Status::OK, first, &[b"a", &congested[..]].concat()),
                frame(Pdus::SUBMIT_SM_RESP, Status::THROTTLED, second, &congested),
            ]
            .concat(),
        );
        assert_eq!(upstream.responses(2)[0].2, "a");
        let told = |least: usize| {
            upstream.house.wait_for("what is told", |commands| {
                let told = commands.iter().filter(|command| {
                    matches!(command, Command::Congested { provider: 3, state: told } if *told == state)
                });
                let count = told.count();
                (count >= least).then_some(count)
            })
        };
        assert_eq!(told(expected), expected, "version {interface_version:#x}, state {state}");
        // It may stand in a response that has nothing else.
        peer.send(&frame(Pdus::ENQUIRE_LINK_RESP, Status::OK, 77, &congested[1..]));
        peer.send_pdu(Pdus::ENQUIRE_LINK, Status::OK, 901, &[]);
        assert_eq!(peer.read_any().unwrap().head(), (Pdus::ENQUIRE_LINK_RESP, Status::OK, 901));
        assert_eq!(told(2 * expected), 2 * expected, "version {interface_version:#x}, state {state}");
    }
}

#[test]
fn messages_go_by_data_sm_where_that_is_said() {
    let upstream = Upstream::with(ProviderBindOptions { submit: Pdus::DATA_SM, ..options() });
    let (mut peer, connection) = upstream.up(1);
    upstream.house.request(connection, 11, b"body");
    let data = peer.read();
    assert_eq!((data.command, &data.body[..]), (Pdus::DATA_SM, &b"body"[..]));
    peer.send_pdu(Pdus::DATA_SM_RESP, Status::OK, data.sequence, b"77\0");
    assert_eq!(upstream.responses(1), [(11, 0, "77".to_owned())]);
}

#[test]
fn an_alert_is_counted_and_not_answered() {
    let upstream = Upstream::new();
    let (mut peer, _) = upstream.up(1);
    let alert = b"\x01\x01254712345678\0\x01\x01us\0\x04\x22\0\x01\0";
    peer.send(
        &[
            frame(Pdus::ALERT_NOTIFICATION, Status::OK, 900, alert),
            frame(Pdus::ENQUIRE_LINK, Status::OK, 901, &[]),
        ]
        .concat(),
    );
    assert_eq!(peer.read_any().unwrap().head(), (Pdus::ENQUIRE_LINK_RESP, Status::OK, 901));
    assert_eq!(upstream.snapshot().alerts, 1);
}

#[test]
fn an_alert_that_cannot_be_read_is_a_bad_pdu_and_the_link_stays() {
    let upstream = Upstream::new();
    let (mut peer, _) = upstream.up(1);
    peer.send_pdu(Pdus::ALERT_NOTIFICATION, Status::OK, 900, b"\x01\x01254712345678\0");
    peer.send_pdu(Pdus::ENQUIRE_LINK, Status::OK, 901, &[]);
    assert_eq!(peer.read_any().unwrap().head(), (Pdus::ENQUIRE_LINK_RESP, Status::OK, 901));
    let BindSnapshot { alerts, malformed, up, .. } = upstream.snapshot();
    assert_eq!((alerts, malformed, up), (0, 1, 1));
}

#[test]
fn files_that_are_no_keys_are_told_by_their_name() {
    let missing = ClientFiles { ca: Some(fixture("gone.pem")), own: None };
    assert!(tls::client(&missing).unwrap_err().to_string().contains("gone.pem"));
    let unfit = ClientFiles { ca: None, own: Some((fixture("client.pem"), fixture("key.pem"))) };
    assert!(tls::client(&unfit).is_err());
    assert!(Arc::strong_count(&tls::client(&ClientFiles::default()).unwrap()) >= 1);
}
