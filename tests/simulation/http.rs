//! The HTTP doors in a run: the product's routers, and requests that are handed to them in memory, late, and are lost with their
//! answers now and then. It knows no message.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use connectors::intake::Lane;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::dice::Dice;
use crate::world::{World, pass};

/// The operators' key.
pub const ADMINISTRATOR: &str = "administrator's key";
const ANSWER_OCTETS_MAX: usize = 1 << 20;
/// Who has no answer for so long goes away.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request, without its key.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub body: String,
    pub idempotency: Option<String>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub is_replayed: bool,
    pub body: Value,
}

/// A request on its way in.
pub struct Call {
    request: Request<Body>,
    answer: oneshot::Sender<Answer>,
}

/// Both listeners' routes.
#[derive(Clone)]
pub struct Doors {
    pub api: Router,
    pub operations: Router,
}

impl Asked {
    pub fn get(path: String) -> Asked {
        Asked { method: Method::GET, path, body: String::new(), idempotency: None }
    }

    pub fn post(path: &str, body: &Value) -> Asked {
        Asked { method: Method::POST, path: path.to_owned(), body: body.to_string(), idempotency: None }
    }

    fn request(&self, key: &str) -> Request<Body> {
        let request = Request::builder().method(self.method.clone()).uri(&self.path);
        let mut request = request.header("authorization", format!("Bearer {key}"));
        if let Some(key) = &self.idempotency {
            request = request.header("idempotency-key", key);
        }
        let request = request.header("content-type", "application/json");
        request.body(Body::from(self.body.clone())).expect("what is asked is a request")
    }
}

impl Answer {
    /// The code of a refusal.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

/// What the gateway says; `None` when no answer comes, and nobody knows whether it was heard.
pub async fn ask(world: &World, dice: &mut Dice, key: &str, asked: &Asked) -> Option<Answer> {
    let delay = |dice: &mut Dice| Duration::from_millis(dice.in_range(0..world.plan.delay_max + 1));
    let is_calm = world.is_calm();
    pass(delay(dice)).await;
    let doors = world.doors.lock().expect("the doors are whole").clone()?;
    let (answer, waiting) = oneshot::channel();
    doors.try_send(Call { request: asked.request(key), answer }).ok()?;
    let hangs_up = !is_calm && dice.happens(5);
    let patience = if hangs_up { Duration::from_millis(dice.in_range(0..200)) } else { PATIENCE };
    let answer = tokio::time::timeout(patience, waiting).await.ok()?.ok()?;
    pass(delay(dice)).await;
    let is_lost = !is_calm && dice.happens(5);
    (!is_lost).then_some(answer)
}

impl Doors {
    /// Answers until nobody can ask any more, or the process stops.
    pub async fn serve(self, mut calls: mpsc::Receiver<Call>, lane: Lane) {
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = lane.stopped() => return,
                Some(_) = open.join_next() => {}
                call = calls.recv() => match call {
                    Some(call) => drop(open.spawn(self.clone().answer(call))),
                    None => break,
                },
            }
        }
        tokio::select! {
            biased;
            () = lane.stopped() => {}
            () = async { while open.join_next().await.is_some() {} } => {}
        }
    }

    /// Whoever hangs up ends what is done for him, as a connection does that closes.
    async fn answer(self, call: Call) {
        let Call { request, mut answer } = call;
        let is_operators = request.uri().path().starts_with("/v1/ops");
        let router = if is_operators { self.operations } else { self.api };
        let answered = tokio::select! {
            biased;
            () = answer.closed() => return,
            answered = router.oneshot(request) => answered,
        };
        let Ok(response) = answered;
        let status = response.status().as_u16();
        let is_replayed = response.headers().contains_key("idempotency-replayed");
        let body = to_bytes(response.into_body(), ANSWER_OCTETS_MAX).await.expect("an answer is in memory");
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let _ = answer.send(Answer { status, is_replayed, body });
    }
}
