//! The `Idempotency-Key` of a request, and the keys of the slices that a batch enters in. What was answered under a key is
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

/// Reads the header. The IETF draft writes the key as a quoted string, most clients do not.
pub fn read<'a>(headers: &'a HeaderMap, body: &[u8]) -> Result<Option<RequestKey<'a>>, Problem> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
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
    /// The key of one slice. No client can send the NUL that sets a slice apart.
    pub fn of_slice(&self, slice: usize, leads: bool) -> IdempotencyKey {
        let mut key = self.key.to_vec();
        if slice > 0 {
            key.push(0);
            key.extend_from_slice(slice.to_string().as_bytes());
        }
        IdempotencyKey { key, body_hash: self.body_hash, leads }
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
    fn each_slice_has_a_key_of_its_own_and_the_first_the_clients() {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_static("k"));
        let key = read(&headers, b"body").unwrap().unwrap();
        assert_eq!(key.of_slice(0, false).key, b"k");
        assert_eq!(key.of_slice(12, false).key, b"k\x0012");
        assert_eq!(key.of_slice(0, false).body_hash, key.of_slice(1, false).body_hash);
        assert_ne!(
            read(&headers, b"other").unwrap().unwrap().of_slice(0, false).body_hash,
            key.of_slice(0, false).body_hash
        );
    }
}
