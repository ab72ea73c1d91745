//! How connections begin: TLS, certificates of tenants, and what load balancers say of whom they bring.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use connectors::tls;
use loadtest::wire::{self, command, status};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::end_to_end::Stage;
use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::provider::Provider;
use crate::support::settings::{self, KEY, PASSWORD, SYSTEM_ID};
use crate::support::wait::{PATIENCE, until_true};

/// Made for these tests, and good for nothing else.
fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name).display().to_string()
}

/// A connection through TLS, with a client's certificate or without.
fn secured(to: SocketAddr, shows: bool) -> StreamOwned<ClientConnection, TcpStream> {
    let roots = tls::authorities(file("cert.pem").as_ref()).unwrap();
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let config = match shows {
        false => builder.with_no_client_auth(),
        true => {
            let certificates = tls::certificates(file("client.pem").as_ref()).unwrap();
            let key = tls::key(file("client_key.pem").as_ref()).unwrap();
            builder.with_client_auth_cert(certificates, key).unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream)
}

/// The status of the answer to a bind; `None` when the connection ends instead.
fn bind(stream: &mut (impl Read + Write)) -> Option<u32> {
    let mut pdu = Vec::new();
    wire::bind(&mut pdu, command::BIND_TRANSCEIVER, 1, SYSTEM_ID, PASSWORD);
    stream.write_all(&pdu).ok()?;
    let mut head = [0; 16];
    stream.read_exact(&mut head).ok()?;
    Some(u32::from_be_bytes(head[8..12].try_into().unwrap()))
}

fn smpp_tls(stage: &Stage) -> SocketAddr {
    let printed = stage.gateway.printed();
    let line = printed.lines().find_map(|line| line.trim().strip_prefix("SMPP, TLS")).unwrap();
    line.trim().parse().unwrap()
}

/// What has been counted under a name.
fn counted(stage: &Stage, name: &str, least: u64) {
    until_true(name, || {
        let metrics = stage.gateway.ops("/metrics").text();
        let count = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        count.is_some_and(|count: u64| count >= least)
    });
}

#[test]
fn tenants_bind_through_tls_beside_those_who_do_not() {
    let provider = Provider::start();
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let smpp = format!("[smpp]\ntls_listen = '127.0.0.1:0'\ntls = {{ cert = '{cert}', key = '{key}' }}\n");
    let settings = [smpp, settings::plain(provider.address())].concat();
    let stage = Stage::with(provider, &settings);
    assert_eq!(bind(&mut secured(smpp_tls(&stage), false)), Some(status::OK));
    let mut plain = Peer::transceiver(stage.smpp());
    assert_eq!(plain.request(command::ENQUIRE_LINK, b"").status, status::OK);
    // A plain one at the door of TLS gets no SMPP at all.
    assert_eq!(bind(&mut TcpStream::connect(smpp_tls(&stage)).unwrap()).filter(|found| *found == 0), None);
    counted(&stage, "tidegate_smpp_connections_not_begun_total", 1);
}

#[test]
fn where_tenants_must_show_a_certificate_nobody_binds_without() {
    let [cert, key, ca] = ["cert.pem", "key.pem", "client_ca.pem"].map(file);
    let smpp = format!(
        "[smpp]\ntls_listen = '127.0.0.1:0'\ntls = {{ cert = '{cert}', key = '{key}', client_ca = '{ca}' }}\n"
    );
    let provider = Provider::start();
    let settings = [smpp, settings::plain(provider.address())].concat();
    let stage = Stage::with(provider, &settings);
    assert_eq!(bind(&mut secured(smpp_tls(&stage), true)), Some(status::OK));
    assert_eq!(bind(&mut secured(smpp_tls(&stage), false)), None);
}

#[test]
fn http_is_served_through_tls() {
    let provider = Provider::start();
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let http = format!("[http]\ntls = {{ cert = '{cert}', key = '{key}' }}\n");
    let settings = [http, settings::plain(provider.address())].concat();
    let stage = Stage::with(provider, &settings);
    assert!(stage.gateway.printed().contains("HTTP API     https://"));
    let mut stream = secured(stage.gateway.addresses().http, false);
    let request = format!(
        "GET /v1/balance HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", answer.escape_ascii());
}

#[test]
fn keys_that_cannot_be_used_are_told_at_the_start() {
    let home = Home::new(&format!(
        "[http]\ntls = {{ cert = '{}', key = '/nowhere.pem' }}\n{}",
        file("cert.pem"),
        settings::plain(settings::nowhere()),
    ));
    let ended = Gateway::refused(&home);
    assert_eq!(ended.code, Some(1));
    assert!(ended.said.contains("/nowhere.pem"), "{}", ended.said);
}

/// A connection that begins with these octets, and binds.
fn behind(balancer: &str, stage: &Stage) -> Option<u32> {
    let mut stream = TcpStream::connect(stage.smpp()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(balancer.as_bytes()).unwrap();
    bind(&mut stream)
}

#[test]
fn a_balancer_says_whence_a_tenant_comes() {
    let provider = Provider::start();
    let allowed = settings::tenant(&[("ip_allow", "[\"192.0.2.0/24\"]")]);
    let settings = [
        "[smpp]\nproxy_protocol = ['127.0.0.0/8']\n".to_owned(),
        settings::provider("up", provider.address(), &[]),
        allowed,
    ]
    .concat();
    let stage = Stage::with(provider, &settings);
    let header = |source: &str| format!("PROXY TCP4 {source} 10.0.0.1 4711 2775\r\n");
    assert_eq!(behind(&header("192.0.2.7"), &stage), Some(status::OK));
    let refused = behind(&header("198.51.100.7"), &stage);
    assert!(refused.is_some_and(|found| found != status::OK), "{refused:?}");
    // Who comes from there without a word of the balancer is not let in.
    assert_eq!(behind("", &stage), None);
    counted(&stage, "tidegate_smpp_connections_not_begun_total", 1);
}

#[test]
fn who_is_no_balancer_cannot_say_whence_he_comes() {
    let provider = Provider::start();
    let settings =
        ["[smpp]\nproxy_protocol = ['192.0.2.1']\n", &settings::plain(provider.address())].concat();
    let stage = Stage::with(provider, &settings);
    // To a session, the header is a PDU of no possible length.
    let answer = behind("PROXY TCP4 192.0.2.7 10.0.0.1 4711 2775\r\n", &stage);
    assert_ne!(answer, Some(status::OK));
    assert_eq!(behind("", &stage), Some(status::OK));
}
