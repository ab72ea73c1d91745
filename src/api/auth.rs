//! Who asks: the API key of a request and the address it came from. Whether the tenant may send is the engine's.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header, request};
use connectors::sparing::{KEYS_FROM_ELSEWHERE, STRANGERS};

use super::ApiState;
use super::problem::Problem;
use crate::directory::TenantAccess;
use crate::metrics::BadKey;

const SCHEME: &[u8] = b"bearer";

impl ApiState {
    /// The tenant that makes this request.
    pub(super) fn authenticate(&self, request: &request::Parts) -> Result<Arc<TenantAccess>, Problem> {
        let key =
            api_key(&request.headers).inspect_err(|_| self.turned_away(request, BadKey::Missing, None))?;
        let tenant = self.directory.by_key(key).ok_or_else(|| {
            self.turned_away(request, BadKey::Wrong, None);
            Problem::unauthorized("this API key is not known")
        })?;
        if !tenant.allows(peer(request)) {
            self.turned_away(request, BadKey::Elsewhere, Some(&tenant.id));
            let detail = "this API key may not be used from your address";
            return Err(Problem::new(StatusCode::FORBIDDEN, "ip_not_allowed", "Address not allowed", detail));
        }
        Ok(tenant)
    }

    /// Anybody may send these: few get a line in the log.
    fn turned_away(&self, request: &request::Parts, key: BadKey, tenant: Option<&str>) {
        self.counts.tenant_turned_away(key);
        let sparing = if key == BadKey::Elsewhere { &KEYS_FROM_ELSEWHERE } else { &STRANGERS };
        if let Some(left_out) = sparing.line(self.clock.now().mono) {
            let (from, key) = (peer(request).map(|from| from.to_string()), key.word());
            tracing::warn!(from, key, tenant, left_out, "a request to the API was refused");
        }
    }
}

/// A proxy may use `Authorization` for itself, so another scheme than ours leaves room for `X-API-Key`.
fn api_key(headers: &HeaderMap) -> Result<&[u8], Problem> {
    let authorization = only(headers, header::AUTHORIZATION.as_str(), "send one `Authorization`")?;
    let own = only(headers, "x-api-key", "send one `X-API-Key`")?;
    authorization.and_then(bearer).or(own.map(<[u8]>::trim_ascii)).ok_or_else(|| {
        Problem::unauthorized("send an API key as `Authorization: Bearer KEY` or `X-API-Key: KEY`")
    })
}

/// Of two keys neither can be the one: what stands between may read the other.
fn only<'a>(headers: &'a HeaderMap, name: &str, detail: &'static str) -> Result<Option<&'a [u8]>, Problem> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(Problem::invalid(detail));
    }
    Ok(value.map(HeaderValue::as_bytes))
}

/// RFC 9110 §11.1: the name of a scheme has no case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(SCHEME.len())?;
    let is_ours = scheme.eq_ignore_ascii_case(SCHEME) && key.first() == Some(&b' ');
    is_ours.then(|| key.trim_ascii())
}

fn peer(request: &request::Parts) -> Option<IpAddr> {
    let connected = request.extensions.get::<ConnectInfo<SocketAddr>>();
    connected.map(|ConnectInfo(address)| address.ip())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn keys_are_read_from_both_headers_in_any_case() {
        type Given = &'static [(&'static str, &'static str)];
        let table: [(Given, Option<&[u8]>); 9] = [
            (&[("authorization", "Bearer tg_live_a")], Some(b"tg_live_a")),
            (&[("authorization", "bearer   tg_live_a ")], Some(b"tg_live_a")),
            (&[("x-api-key", "tg_live_b")], Some(b"tg_live_b")),
            (&[("authorization", "Bearer a"), ("x-api-key", "b")], Some(b"a")),
            (&[("authorization", "Basic YTpi"), ("x-api-key", "b")], Some(b"b")),
            (&[("authorization", "Basic YTpi")], None),
            (&[("authorization", "Bearertg_live_a")], None),
            (&[("authorization", "Bea")], None),
            (&[], None),
        ];
        for (given, expected) in table {
            let headers: HeaderMap = given
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
                .collect();
            assert_eq!(api_key(&headers).ok(), expected, "{given:?}");
        }
    }

    #[test]
    fn of_two_keys_in_a_header_neither_is_taken() {
        for (name, first) in
            [("authorization", "Bearer a"), ("authorization", "Basic YTpi"), ("x-api-key", "a")]
        {
            for second in [first, "Bearer b", ""] {
                let mut headers = HeaderMap::new();
                headers.append(name, HeaderValue::from_static(first));
                headers.append(name, HeaderValue::from_static(second));
                let problem = api_key(&headers).unwrap_err();
                assert_eq!((problem.status.as_u16(), problem.code), (400, "invalid_request"), "{first}");
            }
        }
    }
}
