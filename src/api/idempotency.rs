//! The `Idempotency-Key` of a request, as each slice that a batch enters in says it. What was answered under a key is
//! the engine's to remember.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use axum::http::HeaderMap;
use engine::command::IdempotencyKey;

use super::problem::Problem;
use crate::secrets::sha256;

const HEADER: &str = "idempotency-key";
const LENGTH_MAX: usize = 255;

/// A client's key and the fingerprint of the body it came with.
#[derive(Debug, PartialEq, Eq)]
pub struct RequestKey<'a> {
    pub key: &'a [u8],
    body_hash: [u8; 16],
}

/// Reads the header. The IETF draft writes the key as a quoted string, most clients do not. Of two keys neither can be the one: a
/// retry through something that drops or turns the other would be another request.
pub fn read<'a>(headers: &'a HeaderMap, body: &[u8]) -> Result<Option<RequestKey<'a>>, Problem> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::invalid("send one `Idempotency-Key`"));
    }
    let value = value.as_bytes().trim_ascii();
    let unquoted = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let key = unquoted.unwrap_or(value);
    let is_printable = key.iter().all(|octet| matches!(octet, b' '..=b'~'));
    if key.is_empty() || key.len() > LENGTH_MAX || !is_printable {
        return Err(Problem::invalid("`Idempotency-Key` must be 1 to 255 printable ASCII characters"));
    }
    let [body_hash, _] = halves(sha256(body));
    Ok(Some(RequestKey { key, body_hash }))
}

impl RequestKey<'_> {
    /// The key of one slice of so many.
    pub fn of_slice(&self, slice: u8, slices: u8) -> IdempotencyKey {
        IdempotencyKey { key: self.key.to_vec(), body_hash: self.body_hash, slice, slices }
    }
}

fn halves(hash: [u8; 32]) -> [[u8; 16]; 2] {
    let (first, second) = hash.split_at(16);
    [first, second].map(|half| half.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use axum::http::HeaderValue;

    fn key_of(value: &[u8]) -> Option<Vec<u8>> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_bytes(value).unwrap());
        read(&headers, b"").ok().flatten().map(|key| key.key.to_vec())
    }

    #[test]
    fn keys_are_read_with_and_without_quotes() {
        let longest = vec![b'k'; 255];
        let too_long = vec![b'k'; 256];
        let table: [(&[u8], Option<&[u8]>); 8] = [
            (b"abc", Some(b"abc")),
            (b" \"abc\" ", Some(b"abc")),
            (b"\"abc", Some(b"\"abc")),
            (b"a b", Some(b"a b")),
            (&longest, Some(&longest)),
            (&too_long, None),
            (b"\"\"", None),
            (b"\xff", None),
        ];
        for (value, expected) in table {
            assert_eq!(key_of(value).as_deref(), expected, "{}", value.escape_ascii());
        }
        assert_eq!(read(&HeaderMap::new(), b"").unwrap(), None);
    }

    #[test]
    fn of_two_keys_neither_is_taken() {
        for second in ["k", "other", ""] {
            let mut headers = HeaderMap::new();
            headers.append(HEADER, HeaderValue::from_static("k"));
            headers.append(HEADER, HeaderValue::from_static(second));
            let problem = read(&headers, b"").unwrap_err();
            assert_eq!((problem.status.as_u16(), problem.code), (400, "invalid_request"), "{second}");
        }
    }

    #[test]
    fn all_slices_have_the_clients_key_and_the_fingerprint_of_the_whole_body() {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_static("k"));
        let key = read(&headers, b"body").unwrap().unwrap();
        let (first, third) = (key.of_slice(0, 3), key.of_slice(2, 3));
        assert_eq!((&first.key[..], first.slice, first.slices), (&b"k"[..], 0, 3));
        assert_eq!(third, IdempotencyKey { slice: 2, ..first.clone() });
        let other = read(&headers, b"other").unwrap().unwrap();
        assert_ne!(other.of_slice(0, 3).body_hash, first.body_hash);
    }
}
