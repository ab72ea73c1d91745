//! The octets of a request's body: how many, how long they may take, and whether they are said to be JSON as it stands.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use bytes::{Bytes, BytesMut};

use super::problem::Problem;

/// How long a client may take to send a body.
const SENT_WITHIN: Duration = Duration::from_secs(30);

/// Takes the whole body. One that came in one piece, as nearly all do, is not copied.
pub async fn collect(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let timeout = || {
        let detail = "the body did not arrive within 30 seconds";
        Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "Request timeout", detail)
    };
    tokio::time::timeout(SENT_WITHIN, gather(body, bytes_max)).await.map_err(|_| timeout())?
}

async fn gather(mut body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    // What is announced as too long is not read at all.
    if body.size_hint().lower() > u64::try_from(bytes_max).unwrap_or(u64::MAX) {
        return Err(too_large(bytes_max));
    }
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| Problem::invalid("the body could not be read"))?;
        let Ok(piece) = frame.into_data() else { continue };
        let so_far = first.len().max(joined.len());
        if so_far.saturating_add(piece.len()) > bytes_max {
            return Err(too_large(bytes_max));
        }
        if so_far == 0 {
            first = piece;
            continue;
        }
        if joined.is_empty() {
            joined.extend_from_slice(&first);
        }
        joined.extend_from_slice(&piece);
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}

fn too_large(bytes_max: usize) -> Problem {
    let detail = format!("the body is longer than {bytes_max} octets");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", "Request too large", detail)
}

/// No `Content-Type` at all passes for JSON; another one does not, and neither does what is packed.
pub fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |detail| {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Err(Problem::new(status, "unsupported_media_type", "Unsupported media type", detail))
    };
    if headers.get(header::CONTENT_TYPE).is_some_and(|kind| !is_json(kind.as_bytes())) {
        return refused("send `Content-Type: application/json`");
    }
    let is_identity =
        |packing: &HeaderValue| packing.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(is_identity) {
        return refused("send the body as it is, without `Content-Encoding`");
    }
    Ok(())
}

fn is_json(kind: &[u8]) -> bool {
    let essence = kind.split(|octet| *octet == b';').next().unwrap_or_default().trim_ascii();
    let has_suffix = essence.last_chunk::<5>().is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"));
    has_suffix || essence.eq_ignore_ascii_case(b"application/json")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn json_is_told_by_its_media_type() {
        let table: [(&[u8], bool); 7] = [
            (b"application/json", true),
            (b"Application/JSON; charset=utf-8", true),
            (b"application/vnd.acme+json", true),
            (b"application/x-www-form-urlencoded", false),
            (b"text/plain", false),
            (b"json", false),
            (b"", false),
        ];
        for (kind, expected) in table {
            assert_eq!(is_json(kind), expected, "{:?}", kind.escape_ascii().to_string());
        }
    }

    #[tokio::test]
    async fn a_body_is_taken_up_to_its_limit_and_not_beyond() {
        for (length, limit, taken) in [(0, 0, true), (10, 10, true), (11, 10, false)] {
            let body = Body::from(vec![b'x'; length]);
            let status =
                collect(body, limit).await.map(|bytes| bytes.len()).map_err(|problem| problem.status);
            assert_eq!(
                status,
                if taken { Ok(length) } else { Err(StatusCode::PAYLOAD_TOO_LARGE) },
                "{length}"
            );
        }
    }
}
