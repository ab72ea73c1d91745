//! The listener for receipts that a gateway calls back. A message is known by the number in the address that was given with
//! it; how it went stands there too, or in the body.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::{io, rc::Rc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::Run;

const READ_OCTETS: usize = 64 * 1024;
/// The longest request that is read.
const REQUEST_OCTETS_MAX: usize = 1024 * 1024;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
/// message_state of what was delivered, of what was not, and of what is not decided yet (SMPP 3.4 §5.2.28).
const DELIVERED: u8 = 2;
const UNDELIVERABLE: u8 = 5;
const EN_ROUTE: u8 = 1;

/// Takes every callback until the run is done.
pub async fn listen(run: Rc<Run>, listener: TcpListener) {
    loop {
        tokio::select! {
            () = run.done.cancelled() => return,
            connection = listener.accept() => if let Ok((stream, _)) = connection {
                let run = Rc::clone(&run);
                tokio::task::spawn_local(async move { let _ended = serve(&run, stream).await; });
            },
        }
    }
}

async fn serve(run: &Run, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut input, mut output) = (Vec::new(), Vec::new());
    loop {
        while let Some((request, length)) = whole(&input)? {
            match notice(&request) {
                Some((number, state)) => run.called_back(number, state),
                None => run.not_understood(),
            }
            input.drain(..length);
            output.extend_from_slice(ANSWER);
        }
        stream.write_all(&output).await?;
        output.clear();
        if input.len() > REQUEST_OCTETS_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        input.reserve(READ_OCTETS);
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

impl Run {
    fn called_back(&self, number: &str, state: u8) {
        let (mut book, now) = (self.book.borrow_mut(), self.clock.now());
        let before = book.counts.receipts_first;
        match self.numbers.serial(number.as_bytes()) {
            Some(serial) => book.receipt_without_id(serial, state, now),
            None => book.counts.unknown = book.counts.unknown.saturating_add(1),
        }
        let finished = book.counts.receipts_first.saturating_sub(before);
        book.series.add(now, 0, finished);
        if book.is_finished() {
            self.done.cancel();
        }
    }

    fn not_understood(&self) {
        let counts = &mut self.book.borrow_mut().counts;
        counts.unknown = counts.unknown.saturating_add(1);
    }
}

/// The part of a request that says something.
#[derive(Debug, PartialEq, Eq)]
struct Request<'a> {
    query: &'a str,
    body: &'a str,
}

/// The request at the front of `input` and its length, once it is whole.
fn whole(input: &[u8]) -> io::Result<Option<(Request<'_>, usize)>> {
    let Some(head_length) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let (head, rest) = input.split_at(head_length);
    let head = std::str::from_utf8(head).map_err(|_| malformed())?;
    let mut lines = head.split("\r\n");
    let target = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or_else(malformed)?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Ok(0), |(_, value)| value.trim().parse::<usize>())
        .map_err(|_| malformed())?;
    let end = length.checked_add(4).ok_or_else(malformed)?;
    let Some(body) = rest.get(4..end) else {
        return Ok(None);
    };
    let body = std::str::from_utf8(body).map_err(|_| malformed())?;
    let query = target.split_once('?').map_or("", |(_, query)| query);
    Ok(Some((Request { query, body }, head_length.saturating_add(end))))
}

/// The message's number and its state: Kannel's `t` is 1 for delivered and 2 for not; Tidegate's body names the event.
fn notice<'a>(request: &Request<'a>) -> Option<(&'a str, u8)> {
    let value =
        |key| request.query.split('&').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key);
    let (_, number) = value("n")?;
    let state = match value("t") {
        Some((_, "1")) => DELIVERED,
        Some((_, "2" | "16")) => UNDELIVERABLE,
        Some(_) => EN_ROUTE,
        None if request.body.contains("message.delivered") => DELIVERED,
        None if request.body.contains("message.failed") => UNDELIVERABLE,
        None => EN_ROUTE,
    };
    Some((number, state))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used)]

    use super::*;

    #[test]
    fn callbacks_of_both_gateways_are_understood_at_their_last_octet() {
        for (text, wanted) in [
            ("GET /?t=1&n=254700000017 HTTP/1.0\r\nHost: x\r\n\r\n", Some(("254700000017", DELIVERED))),
            ("GET /?t=2&n=5 HTTP/1.1\r\n\r\n", Some(("5", UNDELIVERABLE))),
            ("GET /?t=8&n=5 HTTP/1.1\r\n\r\n", Some(("5", EN_ROUTE))),
            ("GET /?n= HTTP/1.1\r\n\r\n", Some(("", EN_ROUTE))),
            ("GET / HTTP/1.1\r\n\r\n", None),
            (
                "POST /?n=7 HTTP/1.1\r\nContent-Length: 28\r\n\r\n{\"type\":\"message.delivered\"}",
                Some(("7", DELIVERED)),
            ),
            (
                "POST /?n=7 HTTP/1.1\r\ncontent-length: 25\r\n\r\n{\"type\":\"message.failed\"}",
                Some(("7", UNDELIVERABLE)),
            ),
        ] {
            for end in 0..text.len() {
                assert_eq!(whole(&text.as_bytes()[..end]).unwrap(), None, "{text} cut at {end}");
            }
            let followed = format!("{text}GET");
            let (request, length) = whole(followed.as_bytes()).unwrap().unwrap();
            assert_eq!((notice(&request), length), (wanted, text.len()), "{text}");
        }
        for garbage in [&b"\xFF\r\n\r\n"[..], b"GET\r\n\r\n", b"GET / X\r\nContent-Length: x\r\n\r\n"] {
            assert!(whole(garbage).is_err());
        }
    }
}
