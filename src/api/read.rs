//! The questions of a tenant: a message, its story, its balance; and cancelling. What still lives is asked of the engine,
//! what has left memory is read from the archive. Nobody learns whether another tenant's message exists.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode, Uri, header};
use connectors::intake::Source;
use engine::command::{Command, Query, Refusal, ReplyId};
use engine::effect::{Cancelled, Reply};
use engine::id::{self, Number};
use engine::message::{Message, State as MessageState};
use tracing::error;

use super::problem::Problem;
use super::{ApiState, Kept, show};
use crate::directory::TenantAccess;

type Answer = Result<Response<Body>, Problem>;

pub async fn message(State(api): State<Arc<ApiState>>, request: Request) -> Answer {
    let (head, _) = request.into_parts();
    let tenant = api.authenticate(&head)?;
    let message = api.find(&tenant, number(&api, &head.uri)?, false).await?;
    Ok(ok(show::message(&message, &api, &tenant)))
}

pub async fn events(State(api): State<Arc<ApiState>>, request: Request) -> Answer {
    let (head, _) = request.into_parts();
    let tenant = api.authenticate(&head)?;
    let message = api.find(&tenant, number(&api, &head.uri)?, false).await?;
    Ok(ok(show::events(&message, &api)))
}

/// Cancels what is not yet sent and shows the message. Doing it twice is the same as once.
pub async fn cancel(State(api): State<Arc<ApiState>>, request: Request) -> Answer {
    let (head, _) = request.into_parts();
    let tenant = api.authenticate(&head)?;
    let number = number(&api, &head.uri)?;
    let reply = api.ask(&tenant, |reply| Command::Cancel { reply, tenant: tenant.number, number }).await?;
    let Reply::Cancelled(cancelled) = reply else { unreachable!("{reply:?} answers no cancelling") };
    let message = api.find(&tenant, number, false).await?;
    match (cancelled, message.state) {
        (Cancelled::Done, _) | (_, MessageState::Cancelled) => Ok(ok(show::message(&message, &api, &tenant))),
        _ if message.is_final() => Err(Problem::conflict("the message has its final status already")),
        _ => Err(Problem::conflict("the message is with a provider already")),
    }
}

pub async fn balance(State(api): State<Arc<ApiState>>, request: Request) -> Answer {
    let (head, _) = request.into_parts();
    let tenant = api.authenticate(&head)?;
    let query = Query::Balance { tenant: tenant.number };
    match api.ask(&tenant, |reply| Command::Query { reply, query }).await? {
        Reply::Balance(Some(balance)) => Ok(ok(show::balance(&balance))),
        Reply::Balance(None) => Err(Problem::not_found("this tenant has no balance yet")),
        other => unreachable!("{other:?} answers no question for a balance"),
    }
}

impl ApiState {
    /// The tenant's message to a phone, or from one, wherever it is.
    pub async fn find(&self, tenant: &TenantAccess, number: u64, inbound: bool) -> Result<Message, Problem> {
        let query = Query::Message { number };
        let living = match self.ask(tenant, |reply| Command::Query { reply, query }).await? {
            Reply::Message(living) => living,
            Reply::NeverGiven => return Err(no_such_message()),
            other => unreachable!("{other:?} answers no question for a message"),
        };
        let kept = match living {
            Some(bytes) => Kept::Message(bytes),
            None => self.history.read(tenant.number, number).await?,
        };
        let bytes = match kept {
            Kept::Message(bytes) => bytes,
            Kept::Retired => return Err(no_such_message()),
            // Its number was given and it is nowhere: that is loss, and is not called "no such message".
            Kept::Nowhere => {
                error!(number, "a message that was accepted is neither living nor in the archive");
                return Err(unavailable("the archive does not have this message; its log says more"));
            }
        };
        let message = Message::read(bytes).ok_or_else(|| {
            error!(number, "a kept message cannot be read");
            unavailable("the message cannot be read")
        })?;
        let is_asked_for = message.tenant == tenant.number && message.is_inbound() == inbound;
        if is_asked_for { Ok(message) } else { Err(no_such_message()) }
    }

    /// Asks the engine and waits for its answer, which shows nothing that is not on disk.
    pub async fn ask(
        &self,
        tenant: &TenantAccess,
        command: impl FnOnce(ReplyId) -> Command,
    ) -> Result<Reply, Problem> {
        let (reply, waiting) = self.replies.open();
        let lane = self.intake.lane(Source::Tenant(tenant.number));
        let stopping = || unavailable("the gateway is stopping");
        lane.try_offer(command(reply)).map_err(|_| stopping())?;
        waiting.await.map_err(|_| stopping())
    }
}

pub fn unavailable(detail: &'static str) -> Problem {
    Problem { detail: detail.into(), ..Problem::from(Refusal::Unavailable) }
}

fn no_such_message() -> Problem {
    Problem::not_found("there is no message with this id")
}

/// The number of the id in `/v1/messages/{id}…` and `/v1/inbound/{id}`. What cannot be an id is no message.
pub fn number(api: &ApiState, uri: &Uri) -> Result<u64, Problem> {
    let id = uri.path().split('/').nth(3).and_then(|id| id::parse_id(id.as_bytes()));
    let number = id.and_then(|id| api.ids.number(id));
    number.filter(|number| number >> Number::BITS == 0).ok_or_else(no_such_message)
}

pub fn ok(body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
