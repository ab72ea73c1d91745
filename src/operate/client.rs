//! One request to the operations listener of a running gateway, over HTTP/1.1 and a connection of its own.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::Value;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// An operation over millions of messages takes its time.
const ANSWER_WITHIN: Duration = Duration::from_secs(600);
/// More than any list holds.
const ANSWER_OCTETS_MAX: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot reach the operations listener at {address}: is the gateway running, and `--ops` right?")]
    Connect { address: String, source: std::io::Error },
    #[error("the connection to {address} broke")]
    Broken { address: String, source: std::io::Error },
    #[error("{address} did not answer as a gateway does")]
    NoGateway { address: String },
}

/// A gateway's operations listener, and the key to it.
pub struct Client {
    /// HOST:PORT.
    pub address: String,
    pub key: String,
}

impl Client {
    /// The status and the JSON of the answer.
    pub fn request(&self, method: &str, path: &str, body: &str) -> Result<(u16, Value), ClientError> {
        let address = &self.address;
        let broken = |source| ClientError::Broken { address: address.clone(), source };
        let mut stream =
            connected(address).map_err(|source| ClientError::Connect { address: address.clone(), source })?;
        stream.set_read_timeout(Some(ANSWER_WITHIN)).map_err(broken)?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        stream.write_all(request.as_bytes()).map_err(broken)?;
        let mut answer = Vec::new();
        stream.take(ANSWER_OCTETS_MAX).read_to_end(&mut answer).map_err(broken)?;
        read_answer(&answer).ok_or_else(|| ClientError::NoGateway { address: address.clone() })
    }
}

/// To the first of the addresses that a name has which takes us.
fn connected(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_WITHIN) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// An answer of known length: the gateway sends no others.
fn read_answer(octets: &[u8]) -> Option<(u16, Value)> {
    let end = octets.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(octets.get(..end)?).ok()?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let body = serde_json::from_slice(octets.get(end + 4..)?).ok()?;
    Some((status, body))
}

/// A query of what is given, each value as a URL holds it (RFC 3986 §2.1).
pub fn query(given: &[(&str, Option<String>)]) -> String {
    let mut out = String::new();
    for (name, value) in given {
        let Some(value) = value else { continue };
        out.push(if out.is_empty() { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        out.push_str(&escaped(value));
    }
    out
}

/// A text as a part of a URL.
pub fn escaped(text: &str) -> String {
    let mut out = String::new();
    for octet in text.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(octet))
            }
            _ => out.push_str(&format!("%{octet:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_what_is_none_is_not() {
        let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(read_answer(answer), Some((404, serde_json::json!({}))));
        for end in 0..answer.len() {
            assert_eq!(read_answer(&answer[..end]), None);
        }
        assert_eq!(read_answer(b"SSH-2.0-OpenSSH\r\n\r\n{}"), None);
    }

    #[test]
    fn values_are_escaped_in_a_query() {
        let given =
            [("tenant", Some("a b&c/ü".to_owned())), ("prefix", None), ("rows", Some("5".to_owned()))];
        assert_eq!(query(&given), "?tenant=a%20b%26c%2F%C3%BC&rows=5");
        assert_eq!(query(&[("tenant", None)]), "");
    }
}
