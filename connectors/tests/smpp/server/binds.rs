//! Who may connect and bind, how often, and who has to go for another.

use super::*;

#[test]
fn a_wrong_password_is_refused_and_the_next_try_may_be_right() {
    let site = Site::new();
    let mut peer = Peer::connect(site.address);
    for (system_id, password) in [("acme", "wrong"), ("nobody", "secret"), ("", "")] {
        let answer = peer.bind(BindKind::Transmitter, system_id, password);
        assert_eq!(
            (answer.head(), answer.body.len()),
            ((Pdus::BIND_TRANSMITTER_RESP, Status::BINDFAIL, 1), 0)
        );
    }
    assert_eq!(peer.bind(BindKind::Transmitter, "acme", "secret").status, Status::OK);
    assert_eq!(site.server.counters().snapshot().wrong_passwords, 3);
}

#[test]
fn too_many_wrong_passwords_lock_the_address_out_for_that_system_id_only() {
    let site = Site::new();
    let mut guesser = Peer::connect(site.address);
    for _ in 0..3 {
        assert_eq!(guesser.bind(BindKind::Receiver, "acme", "wrong").status, Status::BINDFAIL);
    }
    assert_eq!(guesser.bind(BindKind::Receiver, "acme", "secret").status, Status::THROTTLED);
    assert_eq!(
        Peer::connect(site.address).bind(BindKind::Receiver, "acme", "secret").status,
        Status::THROTTLED
    );
    assert_eq!(guesser.bind(BindKind::Receiver, "other", "wrong").status, Status::BINDFAIL);
    assert_eq!(site.server.counters().snapshot().locked_out, 2);
    let mut neighbour = Peer::connect_from([127, 0, 0, 2], site.address, None);
    assert_eq!(neighbour.bind(BindKind::Receiver, "acme", "secret").status, Status::OK);
}

#[test]
fn a_tenant_has_so_many_binds_and_gets_one_back_when_it_leaves() {
    let site = Site::with(options(), TenantAccess { max_binds: 2, ..access() }, None);
    let mut first = site.bound();
    let _second = site.bound();
    assert_eq!(Peer::connect(site.address).bind(BindKind::Receiver, "acme", "secret").status, Status::ALYBND);
    first.send_pdu(Pdus::UNBIND, Status::OK, 9, &[]);
    assert_eq!(first.read().head(), (Pdus::UNBIND_RESP, Status::OK, 9));
    assert!(first.read_any().is_none());
    site.still_serves();
}

/// Some clients write all they have, end their half, and read.
#[test]
fn who_has_ended_its_own_half_is_answered_what_was_accepted_of_it() {
    let site = Site::new();
    for round in 1..=10 {
        let mut peer = site.bound();
        site.house.hold_still();
        (2..52).for_each(|sequence| peer.send(&submit_frame(sequence)));
        peer.end_half();
        site.house.wait_for("the messages", |commands| {
            let items = commands.iter().map(|command| match command {
                Command::Submit(submissions) => submissions.items.len(),
                _ => 0,
            });
            (items.sum::<usize>() == 50 * round).then_some(())
        });
        // A bind later the connection has long seen that nothing more comes.
        drop(site.bound());
        site.house.go_on();
        let answers = peer.read_to_end();
        assert_eq!(answers.len(), 50, "{round}");
        assert!(answers.iter().all(|pdu| (pdu.command, pdu.status) == (Pdus::SUBMIT_SM_RESP, Status::OK)));
    }
    site.still_serves();
}

#[test]
fn who_has_ended_its_own_half_is_borne_as_long_as_its_unbind_and_its_receipts_come_back() {
    let closing = Duration::from_millis(100);
    let site =
        Site::with(ServerOptions { closing, ..options() }, TenantAccess { max_binds: 1, ..access() }, None);
    let mut peer = site.bound();
    site.house.requests(site.house.connection(1), &[11, 12], b"body");
    assert_eq!([peer.read().command, peer.read().command], [Pdus::DELIVER_SM; 2]);
    site.house.hold_still();
    peer.send(&submit_frame(2));
    peer.end_half();
    assert_eq!(site.untold(2), [11, 12]);
    assert!(peer.read_any().is_none());
    site.house.go_on();
    site.still_serves();
}

#[test]
fn a_tenant_binds_as_it_may_and_no_other_way() {
    let kinds = [BindKind::Transmitter, BindKind::Receiver, BindKind::Transceiver];
    for allowed in kinds {
        let bind_kinds = BindKinds {
            transmitter: allowed == BindKind::Transmitter,
            receiver: allowed == BindKind::Receiver,
            transceiver: allowed == BindKind::Transceiver,
        };
        let site = Site::with(options(), TenantAccess { bind_kinds, max_binds: 1, ..access() }, None);
        // The refusal leaves its connection, and takes no place from the one that may be.
        let mut peer = Peer::connect(site.address);
        for kind in kinds.into_iter().filter(|kind| *kind != allowed) {
            assert_eq!(peer.bind(kind, "acme", "secret").status, Status::BINDFAIL, "{kind:?}");
        }
        assert_eq!(peer.bind(allowed, "acme", "secret").status, Status::OK, "{allowed:?}");
        assert_eq!(site.server.counters().snapshot().wrong_passwords, 0);
    }
}

#[test]
fn too_many_connections_are_turned_away() {
    let site = Site::with(ServerOptions { unbound_max: 2, connections_max: 4, ..options() }, access(), None);
    let strangers = [Peer::connect(site.address), Peer::connect(site.address)];
    let connections = || site.server.counters().snapshot().connections;
    site.house.wait_until("both", || connections() == 2);
    assert!(Peer::connect(site.address).read_any().is_none());
    drop(strangers);
    site.house.wait_until("their end", || connections() == 0);
    site.still_serves();
}

#[test]
fn where_the_tenant_wants_it_the_oldest_bind_makes_room() {
    let site = Site::with(options(), TenantAccess { max_binds: 2, oldest_leaves: true, ..access() }, None);
    let mut first = site.bound();
    let mut second = site.bound();
    let mut third = site.bound();
    let unbind = first.read();
    assert_eq!(unbind.command, Pdus::UNBIND);
    first.send_pdu(Pdus::UNBIND_RESP, Status::OK, unbind.sequence, &[]);
    assert!(first.read_any().is_none());
    for peer in [&mut second, &mut third] {
        peer.send(&submit_frame(9));
        assert_eq!(peer.read().head(), (Pdus::SUBMIT_SM_RESP, Status::OK, 9));
    }
}

#[test]
fn when_too_much_waits_for_a_tenant_the_oldest_bind_that_does_not_read_is_closed() {
    let stalled = Duration::from_secs(600);
    let octets = 12 << 20;
    let site = Site::with(ServerOptions { stalled, tenant_octets_max: octets, ..options() }, access(), None);
    let mut reads = site.bound();
    let deaf: Vec<Peer> = (0..2)
        .map(|_| {
            let mut deaf = Peer::connect_from([127, 0, 0, 1], site.address, Some(4_096));
            assert_eq!(deaf.bind(BindKind::Transceiver, "acme", "secret").status, Status::OK);
            deaf
        })
        .collect();
    let tokens: Vec<u64> = (1..=1_000).collect();
    // Neither has too much for itself, both together have.
    site.house.requests(site.house.connection(3), &tokens, &[b'x'; 10_000]);
    site.house.requests(site.house.connection(2), &tokens, &[b'x'; 10_000]);
    assert_eq!(site.untold(1_000).len(), 1_000);
    let closed = site.house.wait_for("the end of one", |commands| {
        commands.iter().find_map(|command| match command {
            Command::TenantUnbound { connection, .. } => Some(*connection),
            _ => None,
        })
    });
    assert_eq!(closed, site.house.connection(2));
    assert_eq!(site.server.counters().snapshot().slow_readers, 1);
    reads.send(&submit_frame(9));
    assert_eq!(reads.read().head(), (Pdus::SUBMIT_SM_RESP, Status::OK, 9));
    drop(deaf);
}

#[test]
fn a_right_password_makes_up_for_those_that_were_wrong_before() {
    let lockout = LockoutOptions { failures_max: 10, ..options().lockout };
    let site = Site::with(ServerOptions { lockout, ..options() }, access(), None);
    for round in 0..3 {
        let mut peer = Peer::connect(site.address);
        for _ in 0..9 {
            assert_eq!(peer.bind(BindKind::Receiver, "acme", "wrong").status, Status::BINDFAIL, "{round}");
        }
        assert_eq!(peer.bind(BindKind::Receiver, "acme", "secret").status, Status::OK, "{round}");
    }
    assert_eq!(site.server.counters().snapshot().locked_out, 0);
}

#[test]
fn a_wrong_password_is_answered_late_and_all_else_meanwhile() {
    let hour = Duration::from_secs(3600);
    let lockout = LockoutOptions { delay_first: hour, delay_max: hour, ..LockoutOptions::default() };
    let site = Site::with(
        ServerOptions { lockout, session_init: hour, enquire_link: hour, ..options() },
        access(),
        None,
    );
    let mut guesser = Peer::connect(site.address);
    guesser.send(&bind_frame(BindKind::Receiver, 1, "acme", "wrong"));
    site.house.wait_until("the guess", || site.server.counters().snapshot().binds_refused == 1);
    for sequence in 2..5 {
        guesser.send_pdu(Pdus::ENQUIRE_LINK, Status::OK, sequence, &[]);
        assert_eq!(guesser.read_any().unwrap().head(), (Pdus::ENQUIRE_LINK_RESP, Status::OK, sequence));
    }
    site.still_serves();
}
