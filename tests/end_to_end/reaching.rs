//! The gateway and providers that are reached otherwise than by a plain connection to one host, and the TLVs that go to them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::OnceLock;

use connectors::tls::{self, ServerFiles};
use loadtest::smsc::{Outcome, Profile};
use loadtest::wire::Tlvs;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, copy_bidirectional, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::end_to_end::operators::operate;
use crate::end_to_end::{Stage, send};
use crate::support::gateway::{Gateway, run};
use crate::support::home::Home;
use crate::support::provider::Provider;
use crate::support::settings;
use crate::support::wait::until_true;

const TO: u64 = 254_716_000_000;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

/// Made for tests of TLS, and good for nothing else.
fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name).display().to_string()
}

/// Carries octets between a connection and the provider.
async fn carry(mut stream: impl AsyncRead + AsyncWrite + Unpin, provider: SocketAddr) {
    if let Ok(mut behind) = TcpStream::connect(provider).await {
        let _ = copy_bidirectional(&mut stream, &mut behind).await;
    }
}

/// A listener with TLS before a provider, which asks for a certificate.
fn behind_tls(provider: SocketAddr) -> SocketAddr {
    let files = ServerFiles {
        cert: file("cert.pem").into(),
        key: file("key.pem").into(),
        client_ca: Some(file("client_ca.pem").into()),
    };
    let acceptor = TlsAcceptor::from(tls::server(&files).unwrap());
    let listener = runtime().block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    runtime().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match acceptor.accept(stream).into_fallible().await {
                    Ok(stream) => carry(stream, provider).await,
                    // Closed over octets that nobody has read, it would be reset, and what was said of it lost.
                    Err((_, mut stream)) => drop(copy(&mut stream, &mut sink()).await),
                }
            });
        }
    });
    address
}

#[test]
fn messages_go_through_tls_to_the_host_that_is_there() {
    let provider = Provider::start();
    let (dead, secured) = (settings::nowhere(), behind_tls(provider.address()));
    let hosts = format!("[\"{dead}\", \"localhost:{}\"]", secured.port());
    let [ca, cert, key] = ["cert.pem", "client.pem", "client_key.pem"].map(file);
    let tls = format!("{{ ca = \"{ca}\", server_name = \"localhost\", cert = \"{cert}\", key = \"{key}\" }}");
    let entry = [
        ("id", "\"up\""),
        ("hosts", hosts.as_str()),
        ("tls", tls.as_str()),
        ("local_address", "\"127.0.0.3\""),
        ("system_id", "\"gateway\""),
        ("reconnect", "{ min = \"10ms\", max = \"100ms\" }"),
    ];
    let settings = [settings::table("provider", &entry, &[]), settings::tenant(&[])].concat();
    let mut stage = Stage::with(provider, &settings);
    let id = send(&mut stage.http, TO, &json!(null));
    stage.http.message(&id, "delivered");
}

/// With TLS 1.3 it refuses after our side of the handshake is done, so that it is the bind that gets no answer.
#[test]
fn a_provider_that_wants_a_certificate_we_do_not_show_is_said_to() {
    let secured = behind_tls(Provider::start().address());
    let hosts = format!("[\"localhost:{}\"]", secured.port());
    let tls = format!("{{ ca = \"{}\" }}", file("cert.pem"));
    let entry = [
        ("id", "\"up\""),
        ("hosts", hosts.as_str()),
        ("tls", tls.as_str()),
        ("system_id", "\"gateway\""),
        ("reconnect", "{ min = \"10ms\", max = \"100ms\" }"),
    ];
    let home = Home::new(&[settings::table("provider", &entry, &[]), settings::tenant(&[])].concat());
    let why = "the connection ended: received fatal alert";
    let (ended, printed) = run(&home, &["provider", "probe", "up", "--config", "tidegate.toml"]);
    assert!(ended.code == Some(1) && ended.said.contains(why), "{printed}{ended:?}");
    let gateway = Gateway::start(&home);
    until_true("why it is not bound", || {
        let said = gateway.said();
        said.lines().any(|line| line.contains("WARN") && line.contains("not bound") && line.contains(why))
    });
    gateway.end_well();
}

#[test]
fn a_provider_that_says_outbind_is_bound_and_gets_messages() {
    let provider = Provider::start();
    let listen = settings::nowhere();
    let outbind = format!("{{ listen = \"{listen}\", system_id = \"smsc\", password = \"open\" }}");
    let entry = [("id", "\"up\""), ("outbind", outbind.as_str()), ("system_id", "\"gateway\"")];
    let settings = [settings::table("provider", &entry, &[]), settings::tenant(&[])].concat();
    let address = provider.address();
    let mut stage = Stage::with(provider, &settings);
    let id = send(&mut stage.http, TO, &json!(null));
    stage.http.message(&id, "queued");
    runtime().spawn(async move {
        let mut ours = TcpStream::connect(listen).await.unwrap();
        // command_length 26, outbind, ESME_ROK, sequence 1, "smsc", "open".
        ours.write_all(b"\0\0\0\x1a\0\0\0\x0b\0\0\0\0\0\0\0\x01smsc\0open\0").await.unwrap();
        carry(ours, address).await;
    });
    stage.http.message(&id, "delivered");
    let (code, printed, said) = operate(&stage.home, &stage.gateway, &["provider", "rebind", "up"]);
    assert!(code == 0 && printed.starts_with("bind 0: closed what was connected"), "{printed}{said}");
}

#[test]
fn a_tlv_goes_to_the_provider_whose_profile_knows_its_name() {
    let provider = Provider::start();
    let constant = "[{ tag = 0x1400, name = \"entity_id\", value = \"1101\" }, { tag = 0x1401, name = \"template_id\" }]";
    let entry = [("profile", "\"india_dlt\""), ("tlv", constant), ("ton_npi", "{ destination = [0, 0] }")];
    let settings = [settings::provider("up", provider.address(), &entry), settings::tenant(&[])].concat();
    let mut stage = Stage::with(provider, &settings);
    for (to, tlvs, expected) in [
        (TO, json!(null), vec![(0x1400, &b"1101\0"[..])]),
        (TO + 1, json!({"template_id": "t7"}), vec![(0x1400, b"1101\0"), (0x1401, b"t7\0")]),
        (TO + 2, json!({"entity_id": 1_102}), vec![(0x1400, b"1102\0")]),
    ] {
        let id = send(&mut stage.http, to, &json!({ "tlvs": tlvs }));
        stage.http.message(&id, "delivered");
        let taken = stage.provider.of(to);
        let body = taken[0].body.as_ref().unwrap();
        assert_eq!(Tlvs(&body.tlvs).collect::<Vec<_>>(), expected, "{tlvs}");
    }
}

#[test]
fn a_provider_of_version_3_3_is_bound_by_pairs_and_sent_no_tlv() {
    let provider = Provider::start();
    let entry = [
        ("profile", "\"smpp33\""),
        ("binds", "2"),
        ("tlv", "[{ tag = 0x1400, name = \"a\", value = \"x\" }]"),
    ];
    let settings = [settings::provider("up", provider.address(), &entry), settings::tenant(&[])].concat();
    let mut stage = Stage::with(provider, &settings);
    let id = send(&mut stage.http, TO, &json!({"tlvs": {"a": "y"}}));
    // Sent over a transmitter, told over a receiver.
    stage.http.message(&id, "delivered");
    assert_eq!(stage.provider.of(TO)[0].body.as_ref().unwrap().tlvs, b"");
    until_true("two pairs", || stage.provider.counts().binds == 4);
}

#[test]
fn statuses_and_words_mean_what_entries_and_profiles_say() {
    let refusing = |status| Profile { refusals: 1.0, refusal_statuses: vec![status], ..Profile::default() };
    let own = Provider::with(refusing(0x45));
    let kannel = Provider::with(refusing(0x40B));
    let accepting = Provider::with(Profile {
        outcomes: vec![Outcome { stat: "ACCEPTD".to_owned(), ..Outcome::default() }],
        ..Profile::default()
    });
    let settings = [
        settings::provider("own", own.address(), &[("status", "{ 0x45 = \"permanent\" }")]),
        settings::provider("kannel", kannel.address(), &[("profile", "\"kannel\"")]),
        settings::provider("accepting", accepting.address(), &[("profile", "\"accepted_is_final\"")]),
        settings::tenant(&[]),
    ];
    let mut stage = Stage::with(accepting, &settings.concat());
    for (provider, expected) in [("own", "failed"), ("kannel", "failed"), ("accepting", "delivered")] {
        let id = send(&mut stage.http, TO, &json!({ "provider": provider }));
        let message = stage.http.message(&id, expected);
        assert_eq!(message["attempts"], 1, "{message}");
    }
}
