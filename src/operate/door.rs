//! The routes of `/v1/ops`. Each wants an administrator's key; each that changes something leaves a line in the log.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use connectors::clock::Clock;
use connectors::intake::{Intake, Source};
use connectors::reply::Replies;
use engine::command::{Command, Refusal};
use engine::effect::Reply;
use engine::id::{self, Number, Permutation};
use engine::kept::Drawer;
use engine::surgery::{Operation, Order, Refused, Report};
use serde_json::Value;

use super::request::{Asked, Wanted};
use super::{audit, kept, show};
use crate::api::problem::Problem;
use crate::metrics::{BadKey, DoorCounts};
use crate::providers::Watch;
use crate::secrets::{KeyHash, sha256};

/// The name of the one key there is; it stands in the log and beside rules.
const KEY_NAME: &str = "administrator";
const SCHEME: &str = "Bearer ";

/// All that operations need of the house.
pub struct Operations {
    pub administrator: KeyHash,
    pub intake: Arc<Intake>,
    pub replies: Arc<Replies>,
    pub ids: Arc<Permutation>,
    pub clock: Clock,
    pub counts: Arc<DoorCounts>,
    pub binds: Arc<Watch>,
}

type Shared = State<Arc<Operations>>;
type Answer = Result<Response, Problem>;

pub fn router(operations: Arc<Operations>) -> Router {
    Router::new()
        .route("/v1/ops/queue", get(list))
        .route("/v1/ops/queue/{verb}", post(change))
        .route("/v1/ops/doubts", get(doubts))
        .route("/v1/ops/doubts/{id}", post(resolve))
        .route("/v1/ops/providers", get(providers))
        .route("/v1/ops/providers/{id}/rebind", post(rebind))
        .route("/v1/ops/providers/{id}/{verb}", post(provider))
        .route("/v1/ops/ledger", get(ledger))
        .route("/v1/ops/receipts/unmatched", get(unmatched))
        .route("/v1/ops/inbound/unrouted", get(unrouted))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&operations), authorise))
        .with_state(operations)
}

async fn authorise(State(operations): Shared, request: Request, next: Next) -> Response {
    let (key, detail) = match bearer(request.headers()) {
        // Only hashes are compared, so that the time it takes tells nothing of the key.
        Some(key) if sha256(key.as_bytes()) == operations.administrator => return next.run(request).await,
        Some(_) => (BadKey::Wrong, "this is not the administrator's key of this gateway"),
        None => (BadKey::Missing, "send the administrator's key as one `Authorization: Bearer KEY`"),
    };
    operations.counts.operator_turned_away(key);
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(from)| *from);
    let now = operations.clock.now().mono;
    audit::turned_away(now, from, request.method().as_str(), request.uri().path(), key.word());
    Problem::unauthorized(detail).into_response()
}

/// Of two keys neither is one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let (scheme, key) = value.split_at_checked(SCHEME.len())?;
    let key = Some(key.trim()).filter(|key| !key.is_empty());
    key.filter(|_| scheme.eq_ignore_ascii_case(SCHEME))
}

type Body = Result<Bytes, BytesRejection>;

fn asked(body: Body) -> Result<Asked, Problem> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = "an order is never as long as that";
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", "Request too large", detail)
        }
        _ => Problem::invalid("the body could not be read"),
    })?;
    Asked::of_body(&body)
}

/// An order that cannot be read is in the log as well as one that is refused.
fn understood<W>(verb: &str, id: Option<&str>, wanted: Result<W, Problem>) -> Result<W, Problem> {
    wanted.inspect_err(|problem| audit::not_understood(KEY_NAME, verb, id, problem))
}

async fn list(State(operations): Shared, Query(query): Query<Vec<(String, String)>>) -> Answer {
    let wanted = Asked::of_query(query)?.list(operations.clock.now().wall)?;
    operations.show(wanted).await
}

async fn change(State(operations): Shared, Path(verb): Path<String>, body: Body) -> Answer {
    let wanted = asked(body).and_then(|asked| asked.change(&verb, operations.clock.now().wall));
    operations.show(understood(&verb, None, wanted)?).await
}

async fn doubts(State(operations): Shared, Query(query): Query<Vec<(String, String)>>) -> Answer {
    let wanted = Asked::of_query(query)?.doubts(operations.clock.now().wall, |id| operations.number(id))?;
    operations.show(wanted).await
}

async fn resolve(State(operations): Shared, Path(id): Path<String>, body: Body) -> Answer {
    let number = operations.number(&id).ok_or_else(|| refused(Refused::NoSuchMessage));
    let wanted = number.and_then(|number| asked(body)?.resolution(number));
    operations.show(understood("resolve", Some(&id), wanted)?).await
}

async fn providers(State(operations): Shared) -> Answer {
    operations.show(Wanted::question(Operation::Providers)).await
}

async fn provider(State(operations): Shared, Path((id, verb)): Path<(String, String)>, body: Body) -> Answer {
    let wanted = asked(body).and_then(|asked| asked.provider(&id, &verb, operations.clock.now().wall));
    operations.show(understood(&verb, Some(&id), wanted)?).await
}

async fn rebind(State(operations): Shared, Path(id): Path<String>, body: Body) -> Answer {
    let wanted = understood("rebind", Some(&id), asked(body).and_then(|asked| asked.rebind()))?;
    // Of its own, so that the order is done and in the log though the operator hangs up.
    let done = tokio::spawn(async move {
        let done = super::rebind::rebind(&operations.binds, &id, &wanted).await;
        audit::rebind(KEY_NAME, &id, &wanted, &done);
        done
    });
    Ok(json(&done.await.unwrap_or_else(|_| Err(stopping()))?))
}

async fn unmatched(State(operations): Shared, Query(query): Query<Vec<(String, String)>>) -> Answer {
    operations.kept(Drawer::Unmatched, &Asked::of_query(query)?).await
}

async fn unrouted(State(operations): Shared, Query(query): Query<Vec<(String, String)>>) -> Answer {
    operations.kept(Drawer::Unrouted, &Asked::of_query(query)?).await
}

async fn ledger(State(operations): Shared) -> Answer {
    operations.show(Wanted::question(Operation::Verify)).await
}

impl Operations {
    /// The number of an id that the outside sees.
    fn number(&self, id: &str) -> Option<u64> {
        let number = id::parse_id(id.as_bytes()).and_then(|id| self.ids.number(id));
        number.filter(|number| number >> Number::BITS == 0)
    }

    /// Does what is wanted and shows what came of it.
    async fn show(self: Arc<Self>, wanted: Wanted) -> Answer {
        let is_enabling = wanted.operation == Operation::Enable;
        // Of its own, so that an operator who hangs up is in the log too.
        let done = tokio::spawn(Arc::clone(&self).order(wanted)).await;
        match done.unwrap_or_else(|_| Err(stopping()))? {
            Report::Refused(Refused::NoSuchRule) if is_enabling => {
                Err(Problem::not_found("no operator has disabled this provider"))
            }
            Report::Refused(why) => Err(refused(why)),
            report => Ok(json(&show::report(&report, &self.ids, &self.binds))),
        }
    }

    async fn kept(&self, drawer: Drawer, asked: &Asked) -> Answer {
        let query = asked.kept(drawer)?;
        let (reply, waiting) = self.replies.open();
        let lane = self.intake.lane(Source::Process);
        lane.offer(Command::Query { reply, query }).await.map_err(|_| stopping())?;
        match waiting.await.map_err(|_| stopping())? {
            Reply::Kept(Some(page)) => Ok(json(&kept::show(drawer, &page))),
            Reply::Kept(None) => Err(refused(Refused::UnknownProvider)),
            other => unreachable!("{other:?} answers no question for what is kept"),
        }
    }

    async fn order(self: Arc<Self>, wanted: Wanted) -> Result<Report, Problem> {
        let Wanted { operation, filter, reason } = wanted;
        let order = Order { operation, filter, reason, by: KEY_NAME.to_owned() };
        let (reply, waiting) = self.replies.open();
        let lane = self.intake.lane(Source::Process);
        let command = Command::Operate { reply, order: Box::new(order.clone()) };
        lane.offer(command).await.map_err(|_| stopping())?;
        match waiting.await.map_err(|_| stopping())? {
            Reply::Operated(report) => {
                audit::order(&order, &report, &self.ids);
                Ok(report)
            }
            other => unreachable!("{other:?} answers no operator"),
        }
    }
}

fn json(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn stopping() -> Problem {
    Problem { detail: "the gateway is stopping".into(), ..Problem::from(Refusal::Unavailable) }
}

/// The table from the engine's refusals of operators to HTTP.
fn refused(why: Refused) -> Problem {
    let detail = match why {
        Refused::NoSuchRule => "no such rule is in force; the list of queues shows those that are, and that a provider is disabled \
             is ended by enabling it, or by its number"
            .to_owned(),
        why => why.to_string(),
    };
    let (status, code, title) = match why {
        Refused::UnknownTenant | Refused::UnknownProvider | Refused::NoSuchRule | Refused::NoSuchMessage => {
            (StatusCode::NOT_FOUND, "not_found", "Not found")
        }
        Refused::Prefix
        | Refused::CampaignAlone
        | Refused::Campaign
        | Refused::Past
        | Refused::ProviderOnly
        | Refused::SameProvider => (StatusCode::BAD_REQUEST, "invalid_request", "Invalid request"),
        Refused::TooManyRules | Refused::Disabled | Refused::NotInDoubt | Refused::ProviderGone => {
            (StatusCode::CONFLICT, "conflict", "Conflict")
        }
        Refused::Busy => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable"),
    };
    Problem::new(status, code, title, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_administrators_key_is_read_where_there_is_one() {
        for (values, expected) in [
            (&["Bearer key"][..], Some("key")),
            (&["bearer  key "], Some("key")),
            (&["Bearer "], None),
            (&["Basic YTpi"], None),
            (&["Bearer key", "Bearer key"], None),
            (&["Bearer key", "Basic YTpi"], None),
            (&["Basic YTpi", "Bearer key"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            assert_eq!(bearer(&headers), expected, "{values:?}");
        }
    }
}
