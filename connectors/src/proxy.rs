//! The PROXY protocol, versions 1 and 2: what a load balancer says in front of a connection about whom it is for. Who may say
//! so is the caller's business.
//!
//! Source: "The PROXY protocol", HAProxy, section 2 (2.1 the human-readable header, 2.2 the binary one).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The first octets of a binary header (section 2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1 with its end (section 2.1).
const LINE_OCTETS_MAX: usize = 107;
/// Addresses and what balancers add to them; section 2.2 wants at least 536 octets to be borne in all.
const BODY_OCTETS_MAX: usize = 4_096;

/// Why a connection is not begun.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    #[error("the PROXY header cannot be read")]
    Malformed,
    #[error("the PROXY header did not come whole")]
    Read(#[from] io::Error),
}

/// Takes the header from the front of a stream, and nothing beyond it. `None`: the balancer speaks for itself, as it does to
/// see whether we live, or does not know for whom.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<SocketAddr>, ProxyError> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        return read_binary(stream).await;
    }
    if !start.starts_with(b"PROXY ") {
        return Err(ProxyError::Missing);
    }
    let mut line = start.to_vec();
    // Octet by octet: what follows the line is the peer's, and this happens once a connection.
    while !line.ends_with(b"\r\n") {
        if line.len() >= LINE_OCTETS_MAX {
            return Err(ProxyError::Malformed);
        }
        line.push(stream.read_u8().await?);
    }
    source_in_line(&line)
}

async fn read_binary<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<SocketAddr>, ProxyError> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [command, family, high, low] = head;
    let octets = usize::from(u16::from_be_bytes([high, low]));
    if octets > BODY_OCTETS_MAX {
        return Err(ProxyError::Malformed);
    }
    let mut body = vec![0; octets];
    stream.read_exact(&mut body).await?;
    source_in_body(command, family, &body)
}

/// `PROXY TCP4 source destination port port`, or `PROXY UNKNOWN` and anything.
fn source_in_line(line: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    let line = line.strip_suffix(b"\r\n").unwrap_or(line);
    let words: Vec<&str> = str::from_utf8(line).map_err(|_| ProxyError::Malformed)?.split(' ').collect();
    let &[_, family, source, destination, port, destination_port] = words.as_slice() else {
        return match words.get(1) {
            Some(&"UNKNOWN") => Ok(None),
            _ => Err(ProxyError::Malformed),
        };
    };
    let is_of_family = |address: &IpAddr| match family {
        "TCP4" => address.is_ipv4(),
        "TCP6" => address.is_ipv6(),
        _ => false,
    };
    let address = |text: &str| text.parse::<IpAddr>().ok().filter(is_of_family);
    match (address(source), address(destination), port.parse(), destination_port.parse::<u16>()) {
        (Some(source), Some(_), Ok(port), Ok(_)) => Ok(Some(SocketAddr::new(source, port))),
        _ if family == "UNKNOWN" => Ok(None),
        _ => Err(ProxyError::Malformed),
    }
}

/// Version and command in one octet, family and transport in the next; then addresses, ports, and what we have no use for.
fn source_in_body(command: u8, family: u8, body: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    match command {
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(ProxyError::Malformed),
    }
    let (source, port): (IpAddr, &[u8]) = match family {
        0x11 => {
            let (source, rest) = body.split_first_chunk::<4>().ok_or(ProxyError::Malformed)?;
            (Ipv4Addr::from(*source).into(), rest.get(4..8).ok_or(ProxyError::Malformed)?)
        }
        0x21 => {
            let (source, rest) = body.split_first_chunk::<16>().ok_or(ProxyError::Malformed)?;
            (Ipv6Addr::from(*source).into(), rest.get(16..20).ok_or(ProxyError::Malformed)?)
        }
        // Datagrams and sockets of the balancer's own machine: section 2.2 has them ignored.
        _ => return Ok(None),
    };
    match port {
        [high, low, _, _] => Ok(Some(SocketAddr::new(source, u16::from_be_bytes([*high, *low])))),
        _ => Err(ProxyError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// What is read of these octets, and what is left of them.
    fn read_all(octets: &[u8]) -> (Result<Option<SocketAddr>, ProxyError>, Vec<u8>) {
        let mut stream = octets;
        // A slice is never waited for.
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(found) = pin!(read(&mut stream)).poll(&mut context) else { panic!("it waits") };
        (found, stream.to_vec())
    }

    fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    #[test]
    fn the_source_is_taken_and_nothing_behind_the_header() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0x0A, 0xD7];
        let v6 = [&Ipv6Addr::LOCALHOST.octets()[..], &[0; 16], &[0x30, 0x39, 0, 0]].concat();
        let with_more = [&v4[..], b"\x04\0\x01x"].concat();
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 2775\r\n".to_vec(), Some("192.0.2.7:12345")),
            (b"PROXY TCP6 ::1 2001:db8::1 12345 2775\r\n".to_vec(), Some("[::1]:12345")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff:f::1 ffff::2 1 2\r\n".to_vec(), None),
            (binary(0x21, 0x11, &v4), Some("192.0.2.7:12345")),
            (binary(0x21, 0x11, &with_more), Some("192.0.2.7:12345")),
            (binary(0x21, 0x21, &v6), Some("[::1]:12345")),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x20, 0x11, &v4), None),
            (binary(0x21, 0x31, &[0; 216]), None),
        ] {
            let (found, left) = read_all(&[&header[..], b"\0\0\0\x10"].concat());
            assert_eq!(found.unwrap(), expected.map(|text| text.parse().unwrap()));
            assert_eq!(left, b"\0\0\0\x10", "{}", header.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
        for header in [
            &b"\0\0\0\x21\0\0\0\x09\0\0\0\0\0\0\0\x01"[..],
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345\r\n",
            b"PROXY TCP4 ::1 10.0.0.1 12345 2775\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 123456 2775\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 2775 9\r\n",
            b"PROXY TCP9 192.0.2.7 10.0.0.1 12345 2775\r\n",
            long.as_bytes(),
            b"PROXY TCP4 192.0.2.7 10.0",
            &binary(0x31, 0x11, &[0; 12]),
            &binary(0x22, 0x11, &[0; 12]),
            &binary(0x21, 0x11, &[0; 11]),
            &binary(0x21, 0x21, &[0; 12]),
            &binary(0x21, 0x11, &[0; 12])[..20],
            &[&SIGNATURE[..], &[0x21, 0x11, 0xFF, 0xFF]].concat(),
        ] {
            assert!(read_all(header).0.is_err(), "{}", header.escape_ascii());
        }
    }

    #[test]
    fn no_octet_in_any_place_makes_it_panic() {
        let line = b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 2775\r\n".to_vec();
        for header in [line, binary(0x21, 0x11, &[7; 12]), binary(0x21, 0x21, &[7; 40])] {
            for place in 0..header.len() {
                for octet in 0..=u8::MAX {
                    let mut changed = header.clone();
                    changed[place] = octet;
                    let _ = read_all(&changed);
                    let _ = read_all(&changed[..place]);
                }
            }
        }
    }
}
