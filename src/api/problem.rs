//! What a client is told when something is refused: `application/problem+json` (RFC 9457) with our stable codes.
//! The one table from the engine's refusals to HTTP stands here; why something is refused is decided elsewhere.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use engine::command::Refusal;
use engine::quota::UsedUp;
use serde::Serialize;

/// One refusal, ready to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    /// Stable: programs compare it.
    pub code: &'static str,
    pub title: &'static str,
    /// For people; never holds secrets or the text of a message.
    pub detail: Cow<'static, str>,
    /// The member of the request that is at fault.
    pub field: Option<Cow<'static, str>>,
    pub retry_after: Option<Duration>,
    /// What the tenant may send, with `rate_limited`.
    pub policy: Option<RatePolicy>,
}

/// So many messages in so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RatePolicy {
    pub messages: u32,
    pub seconds: u32,
}

impl From<UsedUp> for Problem {
    fn from(used_up: UsedUp) -> Problem {
        let UsedUp { quota, window, left } = used_up;
        let seconds = u32::try_from(window.as_secs()).unwrap_or(u32::MAX);
        let policy = Some(RatePolicy { messages: quota, seconds });
        let refused = Refused::from(used_up);
        Problem { policy, retry_after: Some(left), ..Problem::from(refused) }
    }
}

impl From<UsedUp> for Refused {
    fn from(used_up: UsedUp) -> Refused {
        let UsedUp { quota, window, left } = used_up;
        let name = match window.as_secs() {
            60 => "minute",
            3_600 => "hour",
            _ => "day",
        };
        let detail = format!(
            "the quota of this {name} ({quota} messages a {name}, by UTC) is used up; the next {name} begins in {} s",
            wait_seconds(left)
        );
        Refused { detail: detail.into(), ..Refused::from(Refusal::RateLimited) }
    }
}

/// A submission that the door or the engine refuses: it becomes a problem, or one entry of a batch's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub refusal: Refusal,
    pub field: Option<Cow<'static, str>>,
    pub detail: Cow<'static, str>,
}

impl Refused {
    pub fn new(refusal: Refusal, field: &'static str, detail: impl Into<Cow<'static, str>>) -> Refused {
        Refused { refusal, field: Some(Cow::Borrowed(field)), detail: detail.into() }
    }

    pub fn invalid(field: &'static str, detail: impl Into<Cow<'static, str>>) -> Refused {
        Refused::new(Refusal::InvalidRequest, field, detail)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        let row = row(refusal);
        Refused { refusal, field: row.field.map(Cow::Borrowed), detail: Cow::Borrowed(row.detail) }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        let row = row(refused.refusal);
        Problem {
            field: refused.field,
            retry_after: row.retry_after,
            ..Problem::new(row.status, refused.refusal.code(), row.title, refused.detail)
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        Refused::from(refusal).into()
    }
}

struct Row {
    status: StatusCode,
    title: &'static str,
    /// What is said where the door knows nothing better.
    detail: &'static str,
    field: Option<&'static str>,
    retry_after: Option<Duration>,
}

/// The table: every refusal of the engine in HTTP's words. The codes are the engine's own.
fn row(refusal: Refusal) -> Row {
    use StatusCode as S;
    let (status, title, detail, field, retry_after_seconds) = match refusal {
        Refusal::InvalidRequest | Refusal::UnsupportedMode | Refusal::MissingParameter => {
            (S::BAD_REQUEST, "Invalid request", "the message is not valid", None, None)
        }
        Refusal::InsufficientCredit => (
            S::PAYMENT_REQUIRED,
            "Insufficient credit",
            "the available credit does not cover the price of the message",
            None,
            None,
        ),
        Refusal::NoRoute | Refusal::NoSuchProvider => {
            let (detail, field) = match refusal {
                Refusal::NoRoute => ("no provider with a price takes messages to this number", "to"),
                _ => ("there is no such provider, or it is disabled", "provider"),
            };
            (S::UNPROCESSABLE_ENTITY, "No route", detail, Some(field), None)
        }
        Refusal::InvalidDestination => (
            S::UNPROCESSABLE_ENTITY,
            "Invalid destination",
            "the destination is not an international number",
            Some("to"),
            None,
        ),
        Refusal::InvalidSource => {
            (S::BAD_REQUEST, "Invalid request", "the sender is not valid", Some("from"), None)
        }
        Refusal::TooLong => {
            (S::UNPROCESSABLE_ENTITY, "Too long", "the text needs more than 255 parts", Some("text"), None)
        }
        Refusal::RateLimited => {
            (S::TOO_MANY_REQUESTS, "Rate limited", "more messages than this tenant may send", None, Some(1))
        }
        Refusal::QueueFull => {
            (S::SERVICE_UNAVAILABLE, "Queue full", "too many messages wait to be sent", None, Some(5))
        }
        Refusal::Unavailable => (
            S::SERVICE_UNAVAILABLE,
            "Unavailable",
            "the gateway takes no messages at the moment",
            None,
            Some(5),
        ),
        Refusal::IdempotencyMismatch => (
            S::UNPROCESSABLE_ENTITY,
            "Idempotency mismatch",
            "this Idempotency-Key was used with another request body",
            None,
            None,
        ),
        Refusal::TenantSuspended => {
            (S::FORBIDDEN, "Tenant suspended", "this tenant is suspended", None, None)
        }
        Refusal::TenantExpired => (S::FORBIDDEN, "Tenant expired", "this tenant has expired", None, None),
        Refusal::TenantPaused => (S::FORBIDDEN, "Tenant paused", "this tenant is paused", None, None),
        Refusal::InvalidEncoding => {
            (S::BAD_REQUEST, "Invalid request", "the text does not fit the encoding", Some("encoding"), None)
        }
        Refusal::InvalidSchedule => {
            (S::BAD_REQUEST, "Invalid request", "the time to send at is not valid", Some("send_at"), None)
        }
        Refusal::InvalidValidity => {
            (S::BAD_REQUEST, "Invalid request", "the validity is not valid", Some("validity"), None)
        }
    };
    Row { status, title, detail, field, retry_after: retry_after_seconds.map(Duration::from_secs) }
}

impl Problem {
    pub fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Problem {
        Problem { status, code, title, detail: detail.into(), field: None, retry_after: None, policy: None }
    }

    pub fn invalid(detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "invalid_request", "Invalid request", detail)
    }

    pub fn unauthorized(detail: &'static str) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized", detail)
    }

    pub fn not_found(detail: &'static str) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail)
    }

    pub fn conflict(detail: &'static str) -> Problem {
        Problem::new(StatusCode::CONFLICT, "conflict", "Conflict", detail)
    }

    fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let retry_after = self.retry_after.map(|wait| wait_seconds(wait).into());
        let challenge = (self.status == StatusCode::UNAUTHORIZED).then(|| HeaderValue::from_static("Bearer"));
        let shown = |RatePolicy { messages, seconds }| format!("\"messages\";q={messages};w={seconds}");
        let policy = self.policy.map(shown);
        let limit = self
            .policy
            .and(self.retry_after)
            .map(|wait| format!("\"messages\";r=0;t={}", wait_seconds(wait)));
        let value = |text: Option<String>| text.and_then(|text| HeaderValue::try_from(text).ok());
        [
            (header::RETRY_AFTER, retry_after),
            (header::WWW_AUTHENTICATE, challenge),
            (HeaderName::from_static("ratelimit-policy"), value(policy)),
            (HeaderName::from_static("ratelimit"), value(limit)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Whole seconds, rounded up: who comes back after them is not too early.
fn wait_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(rename = "type")]
    kind: Cow<'static, str>,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let shown = Shown {
            kind: format!("urn:tidegate:problem:{}", self.code).into(),
            title: self.title,
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            field: self.field.as_deref(),
        };
        // Strings and a number always serialize.
        let body = serde_json::to_vec(&shown).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response.headers_mut().extend(self.headers());
        response
    }
}

/// For a router's fallback.
pub async fn nothing_here() -> Problem {
    Problem::not_found("there is nothing at this path")
}

pub async fn wrong_method(request: Request) -> Problem {
    let detail = format!("this path does not take {}", request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contract of the reference, refusal by refusal.
    #[test]
    fn every_refusal_has_its_status_and_code() {
        let table = [
            (Refusal::InvalidRequest, 400, "invalid_request"),
            (Refusal::InsufficientCredit, 402, "insufficient_credit"),
            (Refusal::NoRoute, 422, "no_route"),
            (Refusal::InvalidDestination, 422, "invalid_destination"),
            (Refusal::InvalidSource, 400, "invalid_request"),
            (Refusal::TooLong, 422, "too_long"),
            (Refusal::RateLimited, 429, "rate_limited"),
            (Refusal::QueueFull, 503, "queue_full"),
            (Refusal::Unavailable, 503, "unavailable"),
            (Refusal::IdempotencyMismatch, 422, "idempotency_mismatch"),
            (Refusal::TenantSuspended, 403, "tenant_suspended"),
            (Refusal::TenantExpired, 403, "tenant_expired"),
            (Refusal::TenantPaused, 403, "tenant_paused"),
            (Refusal::InvalidEncoding, 400, "invalid_request"),
            (Refusal::InvalidSchedule, 400, "invalid_request"),
            (Refusal::InvalidValidity, 400, "invalid_request"),
            (Refusal::UnsupportedMode, 400, "invalid_request"),
            (Refusal::MissingParameter, 400, "invalid_request"),
            (Refusal::NoSuchProvider, 422, "no_route"),
        ];
        assert_eq!(table.map(|(refusal, ..)| refusal), Refusal::ALL);
        for (refusal, status, code) in table {
            let problem = Problem::from(refusal);
            assert_eq!((problem.status.as_u16(), problem.code), (status, code));
            assert!(!problem.detail.is_empty() && !problem.title.is_empty());
        }
    }

    #[test]
    fn what_passes_says_when_to_come_back() {
        for refusal in [Refusal::RateLimited, Refusal::QueueFull, Refusal::Unavailable] {
            assert!(
                Problem::from(refusal).into_response().headers().contains_key("retry-after"),
                "{refusal:?}"
            );
        }
        assert!(!Problem::from(Refusal::NoRoute).into_response().headers().contains_key("retry-after"));
    }

    #[test]
    fn waits_are_whole_seconds_rounded_up() {
        for (millis, header) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (59_999, "60")] {
            let retry_after = Some(Duration::from_millis(millis));
            let policy = Some(RatePolicy { messages: 7, seconds: 1 });
            let problem = Problem { retry_after, policy, ..Problem::from(Refusal::RateLimited) };
            let response = problem.into_response();
            let headers = response.headers();
            assert_eq!(
                headers.get("retry-after").and_then(|value| value.to_str().ok()),
                Some(header),
                "{millis}"
            );
            assert_eq!(
                headers.get("ratelimit-policy").and_then(|value| value.to_str().ok()),
                Some("\"messages\";q=7;w=1")
            );
        }
    }
}
