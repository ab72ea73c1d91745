//! A small HTTP/1.1 client: one connection, kept open, several requests at once where a test has many.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::wait::{PATIENCE, within};

/// Requests that are sent on one connection before the first answer is read, and connections for many.
const AT_ONCE: usize = 32;
const CONNECTIONS: usize = 16;
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

pub struct Http {
    address: SocketAddr,
    key: String,
    stream: Option<BufReader<TcpStream>>,
}

#[derive(Debug, Default)]
pub struct Answer {
    /// 0: there was none.
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{} {}: {error}: {}", self.status, self.head, self.text()),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The stable code of a problem.
    #[track_caller]
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Http {
    pub fn new(address: SocketAddr, key: &str) -> Http {
        Http { address, key: key.to_owned(), stream: None }
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    pub fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.request("POST", path, &[], body.to_string().as_bytes())
    }

    pub fn post_with(&mut self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.request("POST", path, headers, body.to_string().as_bytes())
    }

    /// One request and its answer; status 0 when there is no connection or no answer.
    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let request = self.written(method, path, headers, body);
        self.exchange(&request)
    }

    /// A message, once it has a status.
    #[track_caller]
    pub fn message(&mut self, id: &str, status: &str) -> Value {
        let mut last = Value::Null;
        let found = within(PATIENCE, || {
            last = self.get(&format!("/v1/messages/{id}")).json();
            (last["status"] == status).then_some(())
        });
        assert!(found.is_some(), "waited in vain for {status:?}: {last}");
        last
    }

    /// Many questions over several connections, answered in their order.
    #[track_caller]
    pub fn get_all(&self, paths: &[String]) -> Vec<Answer> {
        let mut connections: Vec<Http> =
            (0..CONNECTIONS).map(|_| Http::new(self.address, &self.key)).collect();
        let mut answers = Vec::with_capacity(paths.len());
        for paths in paths.chunks(AT_ONCE * CONNECTIONS) {
            let lots = || paths.chunks(AT_ONCE);
            for (connection, lot) in connections.iter_mut().zip(lots()) {
                let requests: Vec<u8> =
                    lot.iter().flat_map(|path| self.written("GET", path, &[], b"")).collect();
                connection.send(&requests);
            }
            for (connection, lot) in connections.iter_mut().zip(lots()) {
                let some = connection.receive(lot.len());
                assert_eq!(some.len(), lot.len(), "the connection ended before all answers");
                answers.extend(some);
            }
        }
        answers
    }

    /// Sends octets as they are, and reads one answer.
    pub fn raw(&mut self, octets: &[u8]) -> Answer {
        self.exchange(octets)
    }

    fn written(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if !self.key.is_empty() {
            head.push_str(&format!("Authorization: Bearer {}\r\n", self.key));
        }
        if !body.is_empty() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            head.push_str("Content-Type: application/json\r\n");
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        [head.as_bytes(), body].concat()
    }

    fn exchange(&mut self, octets: &[u8]) -> Answer {
        self.send(octets);
        self.receive(1).pop().unwrap_or_default()
    }

    fn send(&mut self, octets: &[u8]) {
        if self.stream.is_none() {
            let Ok(stream) = TcpStream::connect(self.address) else { return };
            stream.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
            stream.set_nodelay(true).unwrap();
            self.stream = Some(BufReader::new(stream));
        }
        if let Some(stream) = &mut self.stream {
            // A server may answer and close before it has read all of a request.
            let _ = stream.get_mut().write_all(octets);
        }
    }

    /// As many answers as come before the connection ends.
    fn receive(&mut self, count: usize) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(count);
        while answers.len() < count {
            let Some(answer) = self.stream.as_mut().and_then(read) else {
                self.stream = None;
                break;
            };
            answers.push(answer);
        }
        answers
    }
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Answer> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let mut answer = Answer { status, head, body: Vec::new() };
    let length = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    answer.body.resize(length, 0);
    stream.read_exact(&mut answer.body).ok()?;
    Some(answer)
}
