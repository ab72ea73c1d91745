//! Who knocks where providers say outbind: guessers are locked out across a restart, and crowds are counted.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::settings;
use crate::support::wait::{PATIENCE, until_true};

/// More than may be about to say outbind.
const CROWD: usize = 70;

fn connected(listen: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(listen).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A provider that has said outbind with this password.
fn saying(listen: SocketAddr, password: &[u8; 4]) -> TcpStream {
    let mut stream = connected(listen);
    // command_length 26, outbind, ESME_ROK, sequence 1, "smsc", and the password.
    let outbind = [&b"\0\0\0\x1a\0\0\0\x0b\0\0\0\0\0\0\0\x01smsc\0"[..], password, b"\0"].concat();
    stream.write_all(&outbind).unwrap();
    stream
}

/// Whether a bind comes, and not the end.
fn is_bound(mut stream: TcpStream) -> bool {
    stream.read(&mut [0; 16]).is_ok_and(|read| read > 0)
}

#[test]
fn who_guesses_at_outbind_is_locked_out_across_a_restart_and_a_crowd_is_counted() {
    let listen = settings::nowhere();
    let outbind = format!("{{ listen = \"{listen}\", system_id = \"smsc\", password = \"open\" }}");
    let entry = [("id", "\"up\""), ("outbind", outbind.as_str()), ("system_id", "\"gateway\"")];
    let home = Home::new(&[settings::table("provider", &entry, &[]), settings::tenant(&[])].concat());
    let gateway = Gateway::start(&home);
    assert!(is_bound(saying(listen, b"open")));
    let crowd: Vec<TcpStream> = (0..CROWD).map(|_| connected(listen)).collect();
    until_true("those that had to go", || {
        let text = gateway.ops("/metrics").text();
        let mut counts = text.lines().filter(|line| {
            line.starts_with("tidegate_connections_turned_away_total") && line.contains("\"pushed_out\"")
        });
        counts.any(|line| line.contains("outbind") && !line.ends_with(" 0"))
    });
    drop(crowd);
    let guesses: Vec<TcpStream> = (0..10).map(|_| saying(listen, b"gues")).collect();
    until_true("the lock-outs", || home.store().join("outbind-lockouts").exists());
    drop(guesses);
    gateway.kill();

    let gateway = Gateway::start(&home);
    assert!(!is_bound(saying(listen, b"open")), "locked out");
    std::fs::remove_file(home.store().join("outbind-lockouts")).unwrap();
    gateway.kill();
    let gateway = Gateway::start(&home);
    assert!(is_bound(saying(listen, b"open")), "without the file nobody is");
    gateway.end_well();
}
