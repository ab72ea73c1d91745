//! HTTP/1.1 by hand: one request and its answer on a kept connection. Knows nothing of what they say.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The longest answer that is read.
const ANSWER_OCTETS_MAX: usize = 64 * 1024 * 1024;
const READ_OCTETS: usize = 16 * 1024;

/// A connection between two exchanges.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    pub status: u16,
    /// Seconds.
    pub retry_after: Option<f64>,
    /// The server closes the connection after it.
    pub close: bool,
    pub body: Vec<u8>,
}

impl Connection {
    pub async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: Vec::with_capacity(READ_OCTETS) })
    }

    /// Whether the server has closed it since the last answer, or has said what nobody asked for.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let is_quiet = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        !self.input.is_empty() || !self.stream.try_read(&mut [0]).is_err_and(is_quiet)
    }

    /// Sends a request and waits for its answer.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Response> {
        self.stream.write_all(request).await?;
        loop {
            if let Some((response, octets)) = parse(&self.input)? {
                self.input.drain(..octets);
                return Ok(response);
            }
            if self.input.len() > ANSWER_OCTETS_MAX {
                return Err(malformed("an answer without end"));
            }
            self.input.reserve(READ_OCTETS);
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// How the end of a body is known.
enum Length {
    Octets(usize),
    Chunked,
}

/// The answer at the front of `input` and its length, once it is whole. Answers 1xx are passed over.
fn parse(input: &[u8]) -> io::Result<Option<(Response, usize)>> {
    let Some(head_length) = find(input, b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = input.get(..head_length).and_then(|head| std::str::from_utf8(head).ok());
    let head = head.ok_or_else(|| malformed("a head that is no text"))?;
    let body_at = head_length.saturating_add(4);
    let rest = input.get(body_at..).unwrap_or_default();
    let (mut response, length) = read_head(head)?;
    if (100..200).contains(&response.status) {
        let after = parse(rest)?;
        return Ok(after.map(|(response, octets)| (response, octets.saturating_add(body_at))));
    }
    let octets = match length {
        Length::Octets(count) => match rest.get(..count) {
            Some(body) => {
                response.body.extend_from_slice(body);
                count
            }
            None => return Ok(None),
        },
        Length::Chunked => match read_chunks(rest, &mut response.body)? {
            Some(octets) => octets,
            None => return Ok(None),
        },
    };
    Ok(Some((response, body_at.saturating_add(octets))))
}

fn read_head(head: &str) -> io::Result<(Response, Length)> {
    let mut lines = head.split("\r\n");
    let status =
        lines.next().and_then(|line| line.strip_prefix("HTTP/1.")).and_then(|line| line.split(' ').nth(1));
    let status = status.and_then(|status| status.parse().ok()).ok_or_else(|| malformed("no status"))?;
    let mut response = Response { status, retry_after: None, close: false, body: Vec::new() };
    let mut length = Length::Octets(0);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            return Err(malformed("a line without a colon"));
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Length::Octets(value.parse().map_err(|_| malformed("a length that is no number"))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            length = Length::Chunked;
        } else if name.eq_ignore_ascii_case("connection") {
            response.close = value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("retry-after") {
            response.retry_after = value.parse().ok().filter(|seconds: &f64| *seconds >= 0.0);
        }
    }
    Ok((response, length))
}

/// Joins chunks (RFC 9112 §7.1) into `body`; answers how many octets they took, or `None` while some are missing.
fn read_chunks(input: &[u8], body: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let mut rest = input;
    loop {
        let Some(line_length) = find(rest, b"\r\n") else {
            return Ok(None);
        };
        let line =
            rest.get(..line_length).and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| malformed("a chunk without a size"))?;
        if size > ANSWER_OCTETS_MAX {
            return Err(malformed("a chunk without end"));
        }
        let data_at = line_length.saturating_add(2);
        let end = data_at.saturating_add(size);
        let (Some(data), Some(after)) = (rest.get(data_at..end), rest.get(end.saturating_add(2)..)) else {
            return Ok(None);
        };
        body.extend_from_slice(data);
        rest = after;
        // The last chunk is empty. Trailer fields are not asked for and none come.
        if size == 0 {
            return Ok(Some(input.len().saturating_sub(rest.len())));
        }
    }
}

fn find(text: &[u8], label: &[u8]) -> Option<usize> {
    text.windows(label.len()).position(|window| window == label)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used)]

    use super::*;

    fn response(status: u16, body: &[u8]) -> Response {
        Response { status, retry_after: None, close: false, body: body.to_vec() }
    }

    #[test]
    fn answers_are_whole_only_at_their_last_octet() {
        for (text, wanted) in [
            ("HTTP/1.1 202 Accepted\r\ncontent-length: 5\r\n\r\nhello", response(202, b"hello")),
            ("HTTP/1.1 204 No Content\r\n\r\n", response(204, b"")),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n",
                response(200, b"hello!"),
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Ok\r\nContent-Length: 1\r\n\r\nx",
                response(202, b"x"),
            ),
            (
                "HTTP/1.1 429 Slow\r\nRetry-After: 2\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                Response { retry_after: Some(2.0), close: true, ..response(429, b"") },
            ),
        ] {
            for end in 0..text.len() {
                assert_eq!(parse(&text.as_bytes()[..end]).unwrap(), None, "{text} cut at {end}");
            }
            let followed = format!("{text}HTTP");
            assert_eq!(parse(followed.as_bytes()).unwrap(), Some((wanted, text.len())), "{text}");
        }
    }

    #[test]
    fn what_is_no_http_is_an_error() {
        for text in [
            "hello\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
        assert!(parse(chunked.as_bytes()).is_err());
    }
}
