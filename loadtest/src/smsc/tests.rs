//! The simulator as a client sees it, PDU by PDU over a real socket.

use std::{future::Future, time::Duration};

use tokio::time::timeout;

use super::*;
use crate::wire::{self, Concatenation, Message, Notice, command, status, tag};

/// A client that speaks and listens by hand.
struct Client {
    link: Link,
}

/// A PDU kept beyond the buffer it came in.
#[derive(Debug, PartialEq)]
struct Heard {
    command: u32,
    status: u32,
    sequence: u32,
    body: Vec<u8>,
}

impl Client {
    async fn connect(handle: &Handle) -> Self {
        Self { link: Link::new(TcpStream::connect(handle.address()).await.unwrap()).unwrap() }
    }

    async fn bound(handle: &Handle, command: u32) -> Self {
        let mut client = Self::connect(handle).await;
        wire::bind(&mut client.link.out, command, 1, "bench", "secret");
        assert_eq!(client.hear().await.status, status::OK);
        client
    }

    /// The next PDU; everything written so far is sent first.
    async fn hear(&mut self) -> Heard {
        self.next().await.expect("the connection is open")
    }

    async fn next(&mut self) -> Option<Heard> {
        let next = async {
            loop {
                if let Some(pdu) = self.link.frames.next_pdu().unwrap() {
                    let wire::Pdu { command, status, sequence, body } = pdu;
                    return Some(Heard { command, status, sequence, body: body.to_vec() });
                }
                self.link.send().ok()?;
                self.link.ready().await.ok()?;
                self.link.receive().ok()?;
            }
        };
        bounded(next).await
    }

    async fn closes(&mut self) {
        while self.next().await.is_some() {}
    }

    async fn ask(&mut self, command: u32, body: &[u8]) -> Heard {
        wire::body(&mut self.link.out, command, 0, 77, body);
        let heard = self.hear().await;
        assert_eq!(heard.sequence, 77);
        heard
    }

    fn submit(&mut self, sequence: u32, destination: &str) {
        let (mut pdu, ..) = wire::submit_template("ACME", destination, b"hello", true);
        wire::patch(&mut pdu, 12, &sequence.to_be_bytes());
        self.link.out.extend_from_slice(&pdu);
    }

    async fn receipt(&mut self) -> (u32, u64) {
        let heard = self.hear().await;
        assert_eq!(heard.command, command::DELIVER_SM);
        let message = Message::parse(&heard.body).unwrap();
        Notice::parse(&message).unwrap();
        (heard.sequence, wire::digits(message.source.digits).unwrap())
    }
}

async fn bounded<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), work).await.expect("it happens in time")
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(work)
}

async fn simulator(profile: Profile) -> Handle {
    Simulator::bind("127.0.0.1:0", profile).await.unwrap().spawn()
}

#[test]
fn each_wrong_step_has_its_status() {
    run(async {
        let owned = |text: &str| Some(text.to_owned());
        let profile = Profile { system_id: owned("bench"), password: owned("secret"), ..Profile::default() };
        let handle = simulator(profile).await;
        let mut client = Client::connect(&handle).await;
        let bind = command::BIND_TRANSCEIVER;
        for (command, body, response, wanted) in [
            (command::ENQUIRE_LINK, &b""[..], command::RESPONSE | command::ENQUIRE_LINK, status::OK),
            (command::SUBMIT_SM, b"", command::RESPONSE | command::SUBMIT_SM, status::INVALID_BIND_STATE),
            (bind, b"bench\0wrong\0\0\x34\0\0\0", command::RESPONSE | bind, status::INVALID_PASSWORD),
            (bind, b"nobody\0secret\0\0\x34\0\0\0", command::RESPONSE | bind, status::INVALID_SYSTEM_ID),
            (bind, b"bench", command::RESPONSE | bind, status::INVALID_COMMAND_LENGTH),
            (bind, b"bench\0secret\0\0\x34\0\0\0", command::RESPONSE | bind, status::OK),
            (bind, b"bench\0secret\0\0\x34\0\0\0", command::RESPONSE | bind, status::ALREADY_BOUND),
            (
                command::SUBMIT_SM,
                b"\0\0",
                command::RESPONSE | command::SUBMIT_SM,
                status::INVALID_COMMAND_LENGTH,
            ),
            (
                command::SUBMIT_SM,
                &[0; 17],
                command::RESPONSE | command::SUBMIT_SM,
                status::INVALID_DESTINATION,
            ),
            (command::QUERY_SM, b"", command::RESPONSE | command::QUERY_SM, status::INVALID_COMMAND),
            (0x0F0F, b"", command::GENERIC_NACK, status::INVALID_COMMAND),
            (command::UNBIND, b"", command::RESPONSE | command::UNBIND, status::OK),
        ] {
            let heard = client.ask(command, body).await;
            assert_eq!((heard.command, heard.status), (response, wanted), "{command:#x} {body:?}");
        }
        client.closes().await;
        assert_eq!((handle.counts().binds, handle.counts().binds_refused), (1, 4));
    });
}

#[test]
fn a_receipt_follows_its_response_and_names_its_message() {
    run(async {
        let handle = simulator(Profile { first_id: 41, ..Profile::default() }).await;
        let mut client = Client::bound(&handle, command::BIND_TRANSCEIVER).await;
        client.submit(5, "254700000001");
        let response = client.hear().await;
        assert_eq!((response.command, response.sequence), (command::SUBMIT_SM | command::RESPONSE, 5));
        assert_eq!(response.body, b"41\0");
        let receipt = client.hear().await;
        let message = Message::parse(&receipt.body).unwrap();
        assert_eq!((message.source.digits, message.destination.digits), (&b"254700000001"[..], &b"ACME"[..]));
        let notice = Notice::parse(&message).unwrap();
        assert_eq!((notice.id, notice.state, notice.contradictory), (&b"41"[..], Some(2), false));
    });
}

#[test]
fn receipts_wait_for_a_receiver_and_come_again_when_it_goes_without_answering() {
    run(async {
        let handle = simulator(Profile::default()).await;
        let mut sender = Client::bound(&handle, command::BIND_TRANSMITTER).await;
        sender.submit(1, "254700000001");
        sender.submit(2, "254700000002");
        sender.hear().await;
        sender.hear().await;
        let mut receiver = Client::bound(&handle, command::BIND_RECEIVER).await;
        let (first, destination) = receiver.receipt().await;
        assert_eq!((destination, receiver.receipt().await.1), (254_700_000_001, 254_700_000_002));
        wire::message_response(&mut receiver.link.out, first);
        receiver.ask(command::ENQUIRE_LINK, b"").await;
        drop(receiver);
        let mut receiver = Client::bound(&handle, command::BIND_RECEIVER).await;
        let (again, destination) = receiver.receipt().await;
        assert_eq!(destination, 254_700_000_002);
        wire::message_response(&mut receiver.link.out, again);
        // A receiver that is already there is woken by a submit on another bind.
        receiver.ask(command::ENQUIRE_LINK, b"").await;
        sender.submit(3, "254700000003");
        sender.hear().await;
        assert_eq!(receiver.receipt().await.1, 254_700_000_003);
        let counts = handle.counts();
        assert_eq!((counts.receipts_sent, counts.receipts_acknowledged, counts.receipts_again), (4, 2, 1));
        assert_eq!(counts.unacknowledged(), 1);
    });
}

#[test]
fn another_system_id_gets_nothing_of_it() {
    run(async {
        let handle = simulator(Profile::default()).await;
        let mut sender = Client::bound(&handle, command::BIND_TRANSMITTER).await;
        sender.submit(1, "254700000001");
        sender.hear().await;
        let mut stranger = Client::connect(&handle).await;
        wire::bind(&mut stranger.link.out, command::BIND_RECEIVER, 1, "stranger", "");
        stranger.hear().await;
        assert_eq!(
            stranger.ask(command::ENQUIRE_LINK, b"").await.command,
            command::ENQUIRE_LINK | command::RESPONSE
        );
        assert_eq!(handle.counts().receipts_sent, 0);
    });
}

#[test]
fn no_more_receipts_are_unanswered_than_the_window_holds_and_refused_ones_come_again() {
    run(async {
        let handle = simulator(Profile { window: 2, receipt_retry: 1.0, ..Profile::default() }).await;
        let mut client = Client::bound(&handle, command::BIND_TRANSCEIVER).await;
        for sequence in 1..=5 {
            client.submit(sequence, "254700000001");
        }
        let mut unanswered = Vec::new();
        for _ in 0..7 {
            let heard = client.hear().await;
            if heard.command == command::DELIVER_SM {
                unanswered.push(heard.sequence);
            }
        }
        client.ask(command::ENQUIRE_LINK, b"").await;
        assert_eq!(unanswered.len(), 2);
        wire::empty(
            &mut client.link.out,
            command::DELIVER_SM | command::RESPONSE,
            status::QUEUE_FULL,
            unanswered[0],
        );
        wire::empty(&mut client.link.out, command::DELIVER_SM | command::RESPONSE, 0x65, unanswered[1]);
        for _ in 0..4 {
            let (sequence, _) = client.receipt().await;
            wire::message_response(&mut client.link.out, sequence);
        }
        client.ask(command::ENQUIRE_LINK, b"").await;
        let counts = handle.counts();
        assert_eq!((counts.receipts_sent, counts.receipts_acknowledged), (6, 4));
        assert_eq!((counts.receipts_again, counts.receipts_refused, counts.unacknowledged()), (1, 1, 0));
    });
}

#[test]
fn parts_and_payloads_are_recorded_with_what_they_say() {
    run(async {
        let handle = simulator(Profile { record_bodies: true, ..Profile::default() }).await;
        let mut client = Client::bound(&handle, command::BIND_TRANSCEIVER).await;
        let (mut part, ..) =
            wire::submit_template("ACME", "254700000001", b"\x05\0\x03\x09\x02\x02tail", false);
        let esm_class = wire::HEADER + 1 + 7 + 15;
        wire::patch(&mut part, esm_class, &[0x40]);
        let (payload, ..) = wire::submit_template("ACME", "+254700000002", &[b'x'; 600], false);
        client.link.out.extend_from_slice(&part);
        client.link.out.extend_from_slice(&payload);
        client.hear().await;
        client.hear().await;
        bounded(handle.record().reached(2)).await;
        let entries = handle.record().entries();
        let [part, payload] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!((part.destination, part.reference, part.part, part.parts), (254_700_000_001, 9, 2, 2));
        assert_eq!(part.body.as_ref().unwrap().content, b"\x05\0\x03\x09\x02\x02tail");
        let Concatenation { part: whole, .. } = Concatenation::default();
        assert_eq!((payload.destination, payload.part), (254_700_000_002, whole));
        assert_eq!(payload.body.as_ref().unwrap().content.len(), 600);
    });
}

#[test]
fn garbage_closes_its_connection_and_no_other() {
    run(async {
        let handle = simulator(Profile::default()).await;
        let mut good = Client::bound(&handle, command::BIND_TRANSCEIVER).await;
        for garbage in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0, 0, 0, 5, 1], &[0xFF; 300]] {
            let mut bad = Client::connect(&handle).await;
            bad.link.out.extend_from_slice(garbage);
            let answer = bad.hear().await;
            assert_eq!(
                (answer.command, answer.status),
                (command::GENERIC_NACK, status::INVALID_COMMAND_LENGTH)
            );
            bad.closes().await;
        }
        good.submit(1, "254700000001");
        assert_eq!(good.hear().await.status, status::OK);
        assert_eq!(handle.counts().garbage, 3);
    });
}

#[test]
fn a_pdu_octet_by_octet_is_answered_once() {
    run(async {
        let handle = simulator(Profile::default()).await;
        let mut client = Client::bound(&handle, command::BIND_TRANSMITTER).await;
        client.submit(9, "254700000001");
        for octet in std::mem::take(&mut client.link.out) {
            client.link.out.push(octet);
            client.link.send().unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(client.hear().await.sequence, 9);
        assert_eq!(handle.counts().submits, 1);
    });
}

#[test]
fn a_silent_client_is_asked_and_then_left() {
    run(async {
        // Long beside any pause a busy machine makes: an answer later than this would be silence, too.
        let handle = simulator(Profile { enquire_link: 2_000.0, ..Profile::default() }).await;
        let mut client = Client::bound(&handle, command::BIND_TRANSCEIVER).await;
        let asked = client.hear().await;
        assert_eq!(asked.command, command::ENQUIRE_LINK);
        wire::empty(&mut client.link.out, command::ENQUIRE_LINK | command::RESPONSE, 0, asked.sequence);
        assert_eq!(client.hear().await.command, command::ENQUIRE_LINK);
        assert!(client.next().await.is_none(), "an unanswered question closes the connection");
    });
}

#[test]
fn a_running_simulator_changes_drops_and_ends_as_told() {
    run(async {
        let handle = simulator(Profile::default()).await;
        let mut client = Client::bound(&handle, command::BIND_TRANSMITTER).await;
        handle
            .set_profile(Profile {
                refusals: 1.0,
                refusal_statuses: vec![status::SYSTEM_ERROR],
                ..Profile::default()
            })
            .unwrap();
        assert!(handle.set_profile(Profile { refusals: 7.0, ..Profile::default() }).is_err());
        client.submit(1, "254700000001");
        assert_eq!(client.hear().await.status, status::SYSTEM_ERROR);
        handle.drop_connections();
        client.closes().await;
        let mut client = Client::bound(&handle, command::BIND_TRANSMITTER).await;
        bounded(handle.shutdown()).await;
        client.closes().await;
        TcpListener::bind(handle.address()).await.expect("the address is free again");
    });
}

#[test]
fn the_bind_response_says_which_version_is_spoken() {
    run(async {
        let handle = simulator(Profile::default()).await;
        let mut client = Client::connect(&handle).await;
        let heard = client.ask(command::BIND_RECEIVER, b"any\0one\0\0\x50\0\0\0").await;
        let (name, fields) = heard.body.split_at(b"simulator\0".len());
        assert_eq!(name, b"simulator\0");
        assert_eq!(wire::Tlvs(fields).collect::<Vec<_>>(), [(tag::SC_INTERFACE_VERSION, &[0x34][..])]);
    });
}

#[test]
fn a_question_is_answered_where_the_profile_says_so() {
    run(async {
        let handle = simulator(Profile { queries: true, ..Profile::default() }).await;
        let mut client = Client::bound(&handle, command::BIND_TRANSCEIVER).await;
        let heard = client.ask(command::QUERY_SM, b"41\0\0\0\0").await;
        assert_eq!((heard.command, heard.status), (command::RESPONSE | command::QUERY_SM, status::OK));
        assert_eq!(heard.body, b"41\0\0\x02\0");
        let heard = client.ask(command::QUERY_SM, b"41").await;
        assert_eq!(heard.status, status::INVALID_COMMAND_LENGTH);
    });
}

#[test]
fn submits_beyond_what_was_agreed_are_counted_and_not_refused() {
    run(async {
        let handle = simulator(Profile { pacing: 10, ..Profile::default() }).await;
        let mut client = Client::bound(&handle, command::BIND_TRANSMITTER).await;
        for sequence in 1..=25 {
            client.submit(sequence, "254700000001");
        }
        for _ in 0..25 {
            assert_eq!(client.hear().await.status, status::OK);
        }
        client.ask(command::ENQUIRE_LINK, b"").await;
        let pacing = handle.pacing()["bench"];
        assert_eq!((pacing.throughput, pacing.submits, pacing.most), (10, 25, 25));
        assert!(pacing.share_within() < 1.0);
        assert!(simulator(Profile::default()).await.pacing().is_empty());
    });
}

#[test]
fn phones_write_at_a_rate_and_again_until_they_are_heard() {
    run(async {
        let phones = PhonesProfile { rate: 1_000.0, count: 6, long: 0.5, ..PhonesProfile::default() };
        let handle = simulator(Profile { phones, ..Profile::default() }).await;
        let mut client = Client::bound(&handle, command::BIND_TRANSCEIVER).await;
        let first = [client.hear().await.body, client.hear().await.body];
        // The connection ends before anything is acknowledged; another one hears all of it.
        drop(client);
        let mut client = Client::bound(&handle, command::BIND_RECEIVER).await;
        let mut heard = std::collections::BTreeMap::new();
        let mut bodies = Vec::new();
        let is_whole = |parts: &(u8, u8)| parts.0 == parts.1;
        while heard.values().filter(|parts| is_whole(parts)).count() < 6 {
            let pdu = client.hear().await;
            assert_eq!(pdu.command, command::DELIVER_SM);
            wire::message_response(&mut client.link.out, pdu.sequence);
            let message = Message::parse(&pdu.body).unwrap();
            assert_eq!(message.destination.digits, b"22334");
            let Concatenation { parts, .. } = message.concatenation();
            assert_eq!(message.esm_class & 0x40 != 0, parts > 1);
            heard.entry(message.source.digits.to_vec()).or_insert((0, parts)).0 += 1;
            bodies.push(pdu.body);
        }
        assert!(first.iter().all(|body| bodies.contains(body)), "what was not acknowledged comes again");
        client.ask(command::ENQUIRE_LINK, b"").await;
        let counts = handle.counts();
        assert_eq!(counts.phones_acknowledged, bodies.len() as u64);
    });
}

#[test]
fn a_submit_multi_has_one_id_and_a_receipt_for_each_that_is_not_refused() {
    run(async {
        let multi_refused = vec!["02".to_owned()];
        let profile = Profile { multi: true, multi_refused, first_id: 41, ..Profile::default() };
        let handle = simulator(profile).await;
        let mut client = Client::bound(&handle, command::BIND_TRANSCEIVER).await;
        let list = b"\x03\x01\x01\x01254700000001\0\x01\x01\x01254700000002\0\x01\x01\x01254700000003\0";
        let body = [&b"\0\x05\0ACME\0"[..], list, b"\0\0\0\0\0\x01\0\0\0\x02hi"].concat();
        let response = client.ask(command::SUBMIT_MULTI, &body).await;
        assert_eq!(response.command, command::SUBMIT_MULTI | command::RESPONSE);
        assert_eq!(response.body, b"41\0\x01\x01\x01254700000002\0\0\0\0\x0B");
        let receipts = [client.receipt().await.1, client.receipt().await.1];
        assert_eq!(receipts, [254_700_000_001, 254_700_000_003]);
        let counts = handle.counts();
        assert_eq!((counts.submits, counts.accepted, counts.refused), (1, 2, 1));
        // A list of another SMSC's, and a PDU that is cut.
        for body in [&b"\0\x05\0ACME\0\x01\x02all\0\0\0\0\0\0\x01\0\0\0\0"[..], b"\0"] {
            assert_ne!(client.ask(command::SUBMIT_MULTI, body).await.status, status::OK);
        }
    });
}
