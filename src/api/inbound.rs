//! `GET /v1/inbound`: the messages that phones have sent to a tenant, the newest first, and each by its id. The pages are
//! `list`'s; what a message is asked for and how it is shown is here.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, Uri};
use codecs::address;
use codecs::instant::Wall;
use codecs::text::Encoding;
use engine::id::Number;
use engine::message::Message;
use engine::step::Step;
use engine::submission;
use serde::Serialize;

use super::ApiState;
use super::list::{self, LIMIT, invalid};
use super::problem::Problem;
use super::read::{number, ok};
use super::show::{Shown, Time, content, lossy, written};
use crate::directory::TenantAccess;
use crate::lists::Asked;

type Answer = Result<Response<Body>, Problem>;

/// So many digits without a type of number are an international number.
const INTERNATIONAL_FROM: u64 = 1_000_000_000;

pub async fn list(State(api): State<Arc<ApiState>>, request: Request) -> Answer {
    let (head, _) = request.into_parts();
    let tenant = api.authenticate(&head)?;
    let (asked, limit) = asked(&api, &tenant, &head.uri)?;
    let (found, next) = api.page(&tenant, asked, limit).await?;
    let data = found.iter().map(|message| shown(message, &api)).collect();
    Ok(ok(written(&ShownPage { data, next })))
}

pub async fn message(State(api): State<Arc<ApiState>>, request: Request) -> Answer {
    let (head, _) = request.into_parts();
    let tenant = api.authenticate(&head)?;
    let message = api.find(&tenant, number(&api, &head.uri)?, true).await?;
    Ok(ok(written(&shown(&message, &api))))
}

#[derive(Serialize)]
struct ShownPage {
    data: Vec<ShownInbound>,
    next: Option<String>,
}

#[derive(Serialize)]
struct ShownInbound {
    id: Shown<u64>,
    channel: &'static str,
    from: String,
    to: String,
    text: Option<String>,
    data: Option<String>,
    encoding: &'static str,
    /// The parts that it came in.
    parts: u8,
    /// Parts that never came.
    missing: u8,
    complete: bool,
    provider: Option<Shown<Arc<str>>>,
    /// The message that the phone acknowledges by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledges: Option<Shown<u64>>,
    /// One of the tenant's binds has taken it.
    delivered: bool,
    delivered_at: Option<Time>,
    received_at: Time,
}

fn shown(message: &Message, api: &ApiState) -> ShownInbound {
    let body = message.body();
    let content = content(&body);
    let (text, data) = match body.encoding {
        Encoding::Binary => (None, Some(content)),
        _ => (Some(content), None),
    };
    let delivered = delivered_at(message);
    ShownInbound {
        id: Shown(api.ids.id(message.number)),
        channel: "sms",
        from: from(&body),
        to: to(&body),
        text,
        data,
        encoding: body.encoding.name(),
        parts: message.parts(),
        missing: body.missing(),
        complete: body.missing() == 0,
        provider: api.directory.provider(message.provider).map(Shown),
        acknowledges: body.acknowledged().map(|number| Shown(api.ids.id(number))),
        delivered: delivered.is_some(),
        delivered_at: delivered.map(Time),
        received_at: Time(body.came_at().unwrap_or(message.accepted_at)),
    }
}

/// The phone as people write it; an international number with a plus.
fn from(body: &submission::Body<'_>) -> String {
    let phone = lossy(&body.phone()).into_owned();
    let is_number = !phone.is_empty() && phone.bytes().all(|octet| octet.is_ascii_digit());
    let is_international = match body.destination_ton {
        address::TON_INTERNATIONAL => true,
        address::TON_UNKNOWN => body.destination >= INTERNATIONAL_FROM,
        _ => false,
    };
    if is_number && is_international { format!("+{phone}") } else { phone }
}

fn to(body: &submission::Body<'_>) -> String {
    body.address().iter().map(|octet| char::from(*octet)).collect()
}

fn delivered_at(message: &Message) -> Option<Wall> {
    message.steps().find_map(|(at, step)| (step == Step::Told).then_some(at))
}

/// What is asked for, and how many at most.
fn asked(api: &Arc<ApiState>, tenant: &TenantAccess, uri: &Uri) -> Result<(Asked, usize), Problem> {
    let (mut at, mut limit) = (Number::LAST_ORDER, LIMIT);
    let (mut destination, mut since, mut until) = (None, i64::MIN, i64::MAX);
    let mut wanted = Wanted { to: None, provider: None, delivered: None, api: Arc::clone(api) };
    for (name, value) in &list::parameters(uri)? {
        // A plus of a query is a space.
        let value = value.trim();
        match name.as_str() {
            "from" => destination = Some(list::phone("from", value)?),
            "to" => wanted.to = Some(value.trim_start_matches('+').to_owned()),
            "provider" => wanted.provider = Some(value.to_owned()),
            "delivered" => {
                let word = value.parse().map_err(|_| invalid("delivered", "is neither true nor false"))?;
                wanted.delivered = Some(word);
            }
            "since" => since = list::time("since", value)?,
            "until" => until = list::time("until", value)?,
            "limit" => limit = list::count(value)?,
            "cursor" => at = list::place(api, value)?,
            _ => {
                let detail =
                    "the query may have from, to, provider, delivered, since, until, limit and cursor";
                return Err(Problem::invalid(detail));
            }
        }
    }
    let matches = Arc::new(move |message: &Message| wanted.is(message));
    let tenant = tenant.number;
    Ok((
        Asked { tenant, inbound: true, at, floor: 0, destination, since, until, most: limit, matches },
        limit,
    ))
}

/// What must hold of a message beside its phone and its time.
struct Wanted {
    to: Option<String>,
    provider: Option<String>,
    delivered: Option<bool>,
    api: Arc<ApiState>,
}

impl Wanted {
    fn is(&self, message: &Message) -> bool {
        let is_to =
            |wanted: &String| to(&message.body()).trim_start_matches('+').eq_ignore_ascii_case(wanted);
        let is_of = |wanted: &String| {
            self.api.directory.provider(message.provider).is_some_and(|provider| *provider == **wanted)
        };
        self.to.as_ref().is_none_or(is_to)
            && self.provider.as_ref().is_none_or(is_of)
            && self.delivered.is_none_or(|wanted| delivered_at(message).is_some() == wanted)
    }
}
