//! The same server behind TLS. Certificate and key are made for this test and are good for nothing else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use codecs::smpp::{BindKind, Status};
use connectors::smpp::server::ServerOptions;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};

use crate::peer::{bind_frame, submit_frame};
use crate::server::{Site, access};

const CERTIFICATE: &[u8] = include_bytes!("cert.der");
const KEY: &[u8] = include_bytes!("key.der");

fn server() -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(KEY));
    let config = ServerConfig::builder().with_no_client_auth();
    Arc::new(config.with_single_cert(vec![CertificateDer::from(CERTIFICATE)], key).unwrap())
}

fn client() -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(CERTIFICATE)).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

#[test]
fn a_tenant_is_served_through_tls_and_a_plain_one_is_not() {
    let site = Site::with(ServerOptions::default(), access(), Some(server()));
    let mut stream = StreamOwned::new(client(), TcpStream::connect(site.address).unwrap());
    stream.write_all(&bind_frame(BindKind::Transceiver, 1, "acme", "secret")).unwrap();
    let mut bound = [0; 30];
    stream.read_exact(&mut bound).unwrap();
    stream.write_all(&(2..502).flat_map(submit_frame).collect::<Vec<u8>>()).unwrap();
    let mut answers = vec![0; 35 * 500];
    stream.read_exact(&mut answers).unwrap();
    for answer in answers.chunks(35) {
        assert_eq!(answer[8..12], Status::OK.0.to_be_bytes());
    }
    let mut plain = TcpStream::connect(site.address).unwrap();
    plain.write_all(&bind_frame(BindKind::Transceiver, 1, "acme", "secret")).unwrap();
    let mut octets = Vec::new();
    let _ = plain.read_to_end(&mut octets);
    assert!(!octets.starts_with(&[0, 0, 0]));
}

#[test]
fn who_is_silent_before_tls_keeps_nobody_waiting_at_the_end() {
    let never = Duration::from_secs(3_600);
    let site = Site::with(
        ServerOptions { session_init: never, ..ServerOptions::default() },
        access(),
        Some(server()),
    );
    let _silent = TcpStream::connect(site.address).unwrap();
    site.house.wait_until("the connection", || site.server.counters().snapshot().connections == 1);
    let house = site.end();
    assert!(house.partition.links.is_empty());
}
