//! The HTTP door: `/v1`. It reads requests, asks the engine and shows what it said; what is allowed, what it costs and what
//! becomes of a message is decided there.
//!
//! `auth` who asks · `request` the JSON of a message · `compose` its body · `submit` the way in · `estimate` what it would cost · `read` the questions · `list` pages of messages ·
//! `inbound` messages from phones · `show` messages as JSON · `problem` refusals.

mod auth;
mod body;
mod compose;
mod estimate;
mod idempotency;
mod inbound;
mod list;
pub mod problem;
mod read;
mod request;
mod show;
mod submit;
mod tlvs;

use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use connectors::admission::Admission;
use connectors::clock::Clock;
use connectors::intake::Intake;
use connectors::reply::Replies;
use engine::command::Refusal;
use engine::id::Permutation;

pub use self::body::Bodies;
use self::problem::Problem;
use crate::directory::Directory;
use crate::lists::{Asked, Page};
use crate::metrics::DoorCounts;
use crate::ops::Health;
use problem::{nothing_here, wrong_method};

/// All that the door needs of the house.
#[derive(Clone)]
pub struct ApiState {
    pub directory: Arc<Directory>,
    pub admission: Arc<Admission>,
    pub intake: Arc<Intake>,
    pub replies: Arc<Replies>,
    pub history: Arc<dyn History>,
    pub health: Arc<Health>,
    pub counts: Arc<DoorCounts>,
    /// Between a message's number and the id that the outside sees.
    pub ids: Arc<Permutation>,
    pub clock: Clock,
    pub limits: Limits,
    pub bodies: Arc<Bodies>,
}

/// What a stranger may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub body_bytes_max: usize,
    /// Messages of one batch; never more than 10,000.
    pub batch_messages_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { body_bytes_max: 16 << 20, batch_messages_max: request::BATCH_MAX }
    }
}

/// What a look into the archive gives, when it does.
pub type Looking<'a> = Pin<Box<dyn Future<Output = Result<Kept, HistoryUnavailable>> + Send + 'a>>;
/// What a search for a place gives, when it does.
pub type Placing<'a> = Pin<Box<dyn Future<Output = Result<u64, HistoryUnavailable>> + Send + 'a>>;
/// What a list of the archive gives, when it does.
pub type Listing<'a> = Pin<Box<dyn Future<Output = Result<Page, HistoryUnavailable>> + Send + 'a>>;

/// What there is of a message that does not live.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    /// Its bytes as `engine::message` reads them.
    Message(Vec<u8>),
    /// It was older than the retention, and is gone.
    Retired,
    Nowhere,
}

/// Messages that no longer live.
pub trait History: Send + Sync {
    /// By number, for this tenant.
    fn read(&self, tenant: u32, number: u64) -> Looking<'_>;

    /// Of a tenant, the newest first.
    fn list(&self, asked: Asked) -> Listing<'_>;

    /// A place in the order of numbers at or above all that came before this, in milliseconds since 1970.
    fn place_before(&self, tenant: u32, until: i64) -> Placing<'_>;
}

/// The archive was not read; that is not the same as no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryUnavailable {
    #[error("the archive cannot be read at the moment")]
    Unreadable,
    #[error("a part of the archive that this needs is damaged")]
    Damaged,
    #[error("too many look-ups of this tenant wait already")]
    TooMany,
}

impl From<HistoryUnavailable> for Problem {
    fn from(unavailable: HistoryUnavailable) -> Problem {
        let (refusal, detail) = match unavailable {
            HistoryUnavailable::Unreadable => {
                (Refusal::Unavailable, "the archive cannot be read at the moment")
            }
            HistoryUnavailable::Damaged => {
                (Refusal::Unavailable, "a part of the archive that this needs is damaged; its log says more")
            }
            HistoryUnavailable::TooMany => {
                (Refusal::RateLimited, "too many look-ups of this tenant wait already")
            }
        };
        Problem { detail: detail.into(), ..Problem::from(refusal) }
    }
}

/// The routes of `/v1`. The listener gives each request its peer's address (`ConnectInfo<SocketAddr>`); without it a
/// tenant with an `ip_allow` list is refused.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/v1/messages", post(submit::create).get(list::messages))
        .route("/v1/messages/{id}", get(read::message).delete(read::cancel))
        .route("/v1/messages/{id}/events", get(read::events))
        .route("/v1/estimate", post(estimate::estimate))
        .route("/v1/inbound", get(inbound::list))
        .route("/v1/inbound/{id}", get(inbound::message))
        .route("/v1/balance", get(read::balance))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Arc::new(state))
}

#[cfg(test)]
pub mod tests;
