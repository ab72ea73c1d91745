//! The octets of a request's body: how many, of it and of all others, how long they may take, and whether they are said to be JSON as it stands.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use bytes::Bytes;
use engine::command::Refusal;

use super::ApiState;
use super::problem::{Problem, Refused};

/// How long a client may take to send a body.
const SENT_WITHIN: Duration = Duration::from_secs(30);
/// Octets of each body that are not counted: a usual request finds room beside however many long ones.
const SMALL: usize = 16 << 10;

/// What part of the room for all bodies is one tenant's at most, so that others find some whatever it sends and does not end.
const OF_ONE: usize = 4;

/// What the bodies of all requests may take at once, small ones aside.
#[derive(Debug)]
pub struct Bodies {
    octets_max: usize,
    of_one_max: usize,
    taken: Mutex<TakenRoom>,
}

#[derive(Debug, Default)]
struct TakenRoom {
    octets: usize,
    /// Of each tenant that takes some.
    of_tenants: BTreeMap<u32, usize>,
}

impl Bodies {
    /// Room for so many octets, of which a tenant may take a quarter, or one body of the longest.
    pub fn new(octets_max: usize, body_octets_max: usize) -> Arc<Bodies> {
        let of_one_max = body_octets_max.max(octets_max.checked_div(OF_ONE).unwrap_or(octets_max));
        Arc::new(Bodies { octets_max, of_one_max, taken: Mutex::default() })
    }

    fn taken(&self) -> MutexGuard<'_, TakenRoom> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when there is no room for so many octets more, of all or of this tenant.
    fn take(&self, tenant: u32, more: usize) -> bool {
        let mut taken = self.taken();
        let octets = taken.octets.saturating_add(more);
        let of_one = taken.of_tenants.get(&tenant).copied().unwrap_or(0).saturating_add(more);
        let has_room = octets <= self.octets_max && of_one <= self.of_one_max;
        if has_room {
            taken.octets = octets;
            taken.of_tenants.insert(tenant, of_one);
        }
        has_room
    }

    fn give_back(&self, tenant: u32, octets: usize) {
        let mut taken = self.taken();
        taken.octets = taken.octets.saturating_sub(octets);
        let left = taken.of_tenants.get(&tenant).copied().unwrap_or(0).saturating_sub(octets);
        match left {
            0 => drop(taken.of_tenants.remove(&tenant)),
            _ => drop(taken.of_tenants.insert(tenant, left)),
        }
    }
}

/// What one body takes of it, given back when it is dropped.
struct Share {
    bodies: Arc<Bodies>,
    tenant: u32,
    octets: usize,
}

impl Share {
    /// The body takes so much memory from now on; false when there is no room for that.
    fn grows_to(&mut self, octets: usize) -> bool {
        let more = octets.saturating_sub(SMALL).saturating_sub(self.octets);
        let has_room = more == 0 || self.bodies.take(self.tenant, more);
        if has_room {
            self.octets = self.octets.saturating_add(more);
        }
        has_room
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.octets > 0 {
            self.bodies.give_back(self.tenant, self.octets);
        }
    }
}

/// A whole body. It keeps its room until it is dropped.
pub struct Taken {
    octets: Bytes,
    _share: Share,
}

impl Deref for Taken {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.octets
    }
}

/// Why a body was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Untaken {
    TooLarge,
    TooSlow,
    Broken,
    NoRoom,
}

impl ApiState {
    /// Takes the whole body of a tenant's request.
    pub(super) async fn collect(&self, tenant: u32, body: Body) -> Result<Taken, Problem> {
        let bytes_max = self.limits.body_bytes_max;
        collect(body, bytes_max, (&self.bodies, tenant)).await.map_err(|untaken| match untaken {
            Untaken::TooLarge => {
                let detail = format!("the body is longer than {bytes_max} octets");
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", "Request too large", detail)
            }
            Untaken::TooSlow => {
                let detail = "the body did not arrive within 30 seconds";
                Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "Request timeout", detail)
            }
            Untaken::Broken => Problem::invalid("the body could not be read"),
            Untaken::NoRoom => {
                let detail = "too many long bodies are being received at the moment";
                let refusal = Refusal::Unavailable;
                self.refuse(Refused { refusal, field: None, detail: detail.into() })
            }
        })
    }
}

async fn collect(
    body: Body,
    bytes_max: usize,
    (bodies, tenant): (&Arc<Bodies>, u32),
) -> Result<Taken, Untaken> {
    let mut share = Share { bodies: Arc::clone(bodies), tenant, octets: 0 };
    let gathering = gather(body, bytes_max, &mut share);
    let octets = tokio::time::timeout(SENT_WITHIN, gathering).await.map_err(|_| Untaken::TooSlow)??;
    Ok(Taken { octets, _share: share })
}

/// One that came in one piece, as nearly all do, is not copied.
async fn gather(mut body: Body, bytes_max: usize, share: &mut Share) -> Result<Bytes, Untaken> {
    // What is announced as too long is not read at all.
    if body.size_hint().lower() > u64::try_from(bytes_max).unwrap_or(u64::MAX) {
        return Err(Untaken::TooLarge);
    }
    let mut first = Bytes::new();
    let mut joined: Vec<u8> = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| Untaken::Broken)?;
        let Ok(piece) = frame.into_data() else { continue };
        let octets = first.len().saturating_add(joined.len()).saturating_add(piece.len());
        if octets > bytes_max {
            return Err(Untaken::TooLarge);
        }
        if octets == piece.len() {
            let has_room = share.grows_to(octets);
            first = has_room.then_some(piece).ok_or(Untaken::NoRoom)?;
            continue;
        }
        if octets > joined.capacity() {
            // What it takes counts as it comes: anybody can announce a long one.
            let capacity = joined.capacity().saturating_mul(2).max(octets).min(bytes_max);
            share.grows_to(capacity).then_some(()).ok_or(Untaken::NoRoom)?;
            joined.reserve_exact(capacity.saturating_sub(joined.len()));
        }
        joined.extend_from_slice(&std::mem::take(&mut first));
        joined.extend_from_slice(&piece);
    }
    Ok(if joined.is_empty() { first } else { joined.into() })
}

/// No `Content-Type` at all passes for JSON; another one does not, nor do two, and neither does what is packed or in another charset: its
/// octets would be read as what they are not.
pub fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |detail| {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Err(Problem::new(status, "unsupported_media_type", "Unsupported media type", detail))
    };
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter().map(HeaderValue::as_bytes);
    let kind = kinds.next();
    if kinds.next().is_some() || kind.is_some_and(|kind| !is_json(kind)) {
        return refused("send `Content-Type: application/json`, once");
    }
    if kind.is_some_and(|kind| !is_utf8(kind)) {
        return refused("send the body in UTF-8, or without a `charset`");
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

/// JSON is always UTF-8 (RFC 8259 §8.1) and has no such parameter; who sets one all the same must mean that, or a part of it.
fn is_utf8(kind: &[u8]) -> bool {
    let charsets = kind.split(|octet| *octet == b';').skip(1).filter_map(|parameter| {
        let name = parameter.split(|octet| *octet == b'=').next()?;
        let value = parameter.get(name.len().saturating_add(1)..).unwrap_or_default().trim_ascii();
        let unquoted = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        name.trim_ascii().eq_ignore_ascii_case(b"charset").then_some(unquoted.unwrap_or(value))
    });
    let known = [&b"utf-8"[..], b"utf8", b"us-ascii"];
    charsets.into_iter().all(|charset| known.iter().any(|name| charset.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::task::{Context, Poll};

    use hyper::body::Frame;

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

    #[test]
    fn one_type_is_taken_and_no_charset_but_that_of_json() {
        let table: [(&[&str], bool); 13] = [
            (&[], true),
            (&["application/json"], true),
            (&["application/json", "application/json"], false),
            (&["application/json", "text/plain"], false),
            (&["application/json; charset=utf-8"], true),
            (&["application/json;Charset=\"UTF-8\""], true),
            (&["application/json; charset=utf8; profile=x"], true),
            (&["application/json; charset=us-ascii"], true),
            (&["application/json; profile=utf-16"], true),
            (&["application/json; charset=utf-16"], false),
            (&["application/vnd.acme+json; profile=x; charset=\"ISO-8859-1\""], false),
            (&["application/json; charset=utf-8; charset=utf-16"], false),
            (&["application/json; charset"], false),
        ];
        for (kinds, taken) in table {
            let mut headers = HeaderMap::new();
            for kind in kinds {
                headers.append(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            }
            let refused = check_type(&headers).err().map(|problem| (problem.status.as_u16(), problem.code));
            assert_eq!(refused, (!taken).then_some((415, "unsupported_media_type")), "{kinds:?}");
        }
    }

    #[tokio::test]
    async fn a_body_is_taken_up_to_its_limit_and_not_beyond() {
        for (length, limit, taken) in [(0, 0, true), (10, 10, true), (11, 10, false)] {
            let body = Body::from(vec![b'x'; length]);
            let length_taken = collect(body, limit, (&Bodies::new(0, 0), 0)).await.map(|taken| taken.len());
            assert_eq!(length_taken, if taken { Ok(length) } else { Err(Untaken::TooLarge) }, "{length}");
        }
    }

    /// A body that has come so far and does not go on.
    struct Begun(Vec<Bytes>);

    impl HttpBody for Begun {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            self.0.pop().map_or(Poll::Pending, |piece| Poll::Ready(Some(Ok(Frame::data(piece)))))
        }
    }

    #[tokio::test]
    async fn long_bodies_share_what_there_is_and_short_ones_find_room() {
        const KIB: usize = 1 << 10;
        let bodies = Bodies::new(64 * KIB, 64 * KIB);
        let taken =
            async |length: usize| collect(Body::from(vec![b'x'; length]), KIB * KIB, (&bodies, 1)).await;
        let pieces = vec![Bytes::from(vec![b'x'; 20 * KIB]); 3];
        let mut begun = Box::pin(collect(Body::new(Begun(pieces)), KIB * KIB, (&bodies, 0)));
        let has_ended = poll_fn(|context| Poll::Ready(begun.as_mut().poll(context).is_ready())).await;
        assert!(!has_ended);
        assert_eq!(
            taken(60 * KIB).await.err(),
            Some(Untaken::NoRoom),
            "what has come of the other one counts"
        );
        assert!(taken(SMALL).await.is_ok());
        drop(begun);
        let first = taken(60 * KIB).await;
        assert!(first.is_ok(), "what ends gives its room back");
        assert_eq!(taken(60 * KIB).await.err(), Some(Untaken::NoRoom), "a whole one keeps it");
        drop(first);
        assert!(taken(60 * KIB).await.is_ok());
        assert!(bodies.taken().of_tenants.is_empty());
    }

    #[tokio::test]
    async fn a_tenant_takes_a_quarter_of_the_room_or_one_body_of_the_longest() {
        const KIB: usize = 1 << 10;
        let length = SMALL + 10 * KIB;
        for (body_max, of_one) in [(KIB, 2), (50 * KIB, 5)] {
            let bodies = Bodies::new(80 * KIB, body_max);
            let taken =
                async |tenant| collect(Body::from(vec![b'x'; length]), KIB * KIB, (&bodies, tenant)).await;
            let mut held = Vec::new();
            for _ in 0..of_one {
                held.push(taken(1).await.unwrap());
            }
            assert_eq!(taken(1).await.err(), Some(Untaken::NoRoom));
            held.push(taken(2).await.unwrap());
            drop(held);
            assert!(taken(1).await.is_ok());
        }
    }
}
