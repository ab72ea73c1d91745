//! `POST /v1/estimate`: what a message would be and cost, by the same steps that one goes through which is sent. Nothing is sent,
//! reserved or kept.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use codecs::address::Msisdn;
use engine::command::{Command, Query};
use engine::effect::Reply;
use engine::money::Micros;
use serde::Serialize;

use super::compose::{Context, Scratch, compose};
use super::problem::{Problem, Refused};
use super::request::{self, Message, Sent};
use super::show::{Shown, written};
use super::{ApiState, body, read};

#[derive(Serialize)]
struct ShownEstimate<'a> {
    to: Shown<Msisdn>,
    parts: u8,
    encoding: &'static str,
    /// It is GSM 7-bit by the tables of a national language.
    national: bool,
    price: Shown<Micros>,
    currency: &'a str,
    /// The provider that would be tried first.
    provider: Option<&'a str>,
    text: Option<&'a str>,
    /// The text that would be sent in its place, where it would be changed.
    transliterated: Option<&'a str>,
}

pub async fn estimate(State(api): State<Arc<ApiState>>, request: Request) -> Result<Response<Body>, Problem> {
    let (head, body) = request.into_parts();
    let tenant = api.authenticate(&head)?;
    body::check_type(&head.headers)?;
    let sent = api.collect(tenant.number, body).await?;
    let message = one(request::read(&sent)?)?;
    let mut body = Vec::new();
    let tlvs = api.directory.tlvs();
    let context = Context { tenant: &tenant, tlvs: &tlvs, now: api.clock.wall(), idempotency_key: None };
    let composed = compose(&message, context, &mut Scratch::default(), &mut body)?;
    let query = Query::Estimate { tenant: tenant.number, body };
    let estimate = match api.ask(&tenant, |reply| Command::Query { reply, query }).await? {
        Reply::Estimated(estimate) => estimate?,
        other => unreachable!("{other:?} answers no question for an estimate"),
    };
    Ok(read::ok(written(&ShownEstimate {
        to: Shown(composed.destination),
        parts: estimate.parts,
        encoding: estimate.encoding.name(),
        national: estimate.is_national,
        price: Shown(estimate.price),
        currency: &tenant.currency,
        provider: api.directory.provider(estimate.provider).as_deref(),
        text: message.text.as_deref(),
        transliterated: composed.transliterated.as_deref(),
    })))
}

fn one(sent: Sent<'_>) -> Result<Message<'_>, Refused> {
    match sent {
        Sent::One(message) => Ok(*message),
        Sent::Many(_) => Err(Refused::invalid("messages", "an estimate is of one message")),
    }
}
