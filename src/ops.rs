//! The operations listener: `/metrics`, `/healthz`, `/readyz`, and the health of the process that doors and `/readyz` look at.
//! It changes nothing; what is measured comes from `metrics.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use codecs::instant::Mono;
use connectors::clock::Clock;
use engine::command::Refusal;

use crate::api::problem::{nothing_here, wrong_method};
use crate::metrics::Metrics;

/// A group that has waited for the disk for longer means that answers do: nothing more is let in.
pub const JOURNAL_BEHIND: Duration = Duration::from_secs(2);

/// How the process is, set by the commit loop and read by every door.
#[derive(Debug, Default)]
pub struct Health {
    /// Recovery is over and the listeners are open.
    started: AtomicBool,
    draining: AtomicBool,
    storage_full: AtomicBool,
    /// When the oldest group that is not on disk was handed to the committer, in microseconds and one; 0: none.
    oldest_unflushed: AtomicU64,
}

impl Health {
    pub fn new() -> Arc<Health> {
        Arc::default()
    }

    pub fn set_started(&self) {
        self.started.store(true, Relaxed);
    }

    /// There is no way back from it.
    pub fn set_draining(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Whether the free space is below the reserve.
    pub fn set_storage_full(&self, full: bool) {
        self.storage_full.store(full, Relaxed);
    }

    /// When the oldest group that is not yet on disk was handed over; `None` when all are.
    pub fn set_oldest_unflushed(&self, since: Option<Mono>) {
        self.oldest_unflushed.store(since.map_or(0, |since| since.0.saturating_add(1)), Relaxed);
    }

    /// Whether a door may take messages now.
    pub fn intake(&self, now: Mono) -> Result<(), Refusal> {
        match self.obstacle(now) {
            None => Ok(()),
            Some(_) => Err(Refusal::Unavailable),
        }
    }

    /// What stands in the way of taking messages.
    fn obstacle(&self, now: Mono) -> Option<&'static str> {
        if !self.started.load(Relaxed) {
            return Some("starting");
        }
        if self.draining.load(Relaxed) {
            return Some("draining");
        }
        if self.storage_full.load(Relaxed) {
            return Some("storage below its reserve");
        }
        let oldest = self.oldest_unflushed.load(Relaxed).checked_sub(1).map(Mono);
        let is_behind = oldest.is_some_and(|oldest| now.since(oldest) >= JOURNAL_BEHIND);
        is_behind.then_some("journal behind")
    }
}

/// All that the operations listener needs. Cheap to clone.
#[derive(Clone)]
pub struct OpsState {
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    pub clock: Clock,
}

/// With the routes of `/v1/ops`.
pub fn router(state: OpsState, operations: Router) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(state)
        .merge(operations)
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
}

async fn metrics(State(ops): State<OpsState>) -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], ops.metrics.render())
}

/// The process lives and answers.
async fn healthz() -> &'static str {
    "ok\n"
}

/// The process takes messages.
async fn readyz(State(ops): State<OpsState>) -> (StatusCode, String) {
    match ops.health.obstacle(ops.clock.mono()) {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(obstacle) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {obstacle}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    const NOW: Mono = Mono(60_000_000);

    #[test]
    fn each_obstacle_closes_the_doors() {
        let health = Health::new();
        assert_eq!(health.obstacle(NOW), Some("starting"));
        health.set_started();
        assert_eq!(health.intake(NOW), Ok(()));
        health.set_storage_full(true);
        assert_eq!(health.intake(NOW), Err(Refusal::Unavailable));
        health.set_storage_full(false);
        assert_eq!(health.intake(NOW), Ok(()));
        health.set_draining();
        assert_eq!(health.obstacle(NOW), Some("draining"));
    }

    #[test]
    fn a_group_may_wait_two_seconds_for_the_disk() {
        let health = Health::new();
        health.set_started();
        for (waited_millis, open) in [(0, true), (1_999, true), (2_000, false), (60_000, false)] {
            health.set_oldest_unflushed(Some(Mono(NOW.0 - waited_millis * 1_000)));
            assert_eq!(health.intake(NOW).is_ok(), open, "{waited_millis} ms");
        }
        health.set_oldest_unflushed(None);
        assert_eq!(health.intake(NOW), Ok(()));
    }

    #[tokio::test]
    async fn the_listener_tells_life_from_readiness() {
        let health = Health::new();
        let metrics = Arc::new(Metrics::new());
        let state = OpsState { metrics, health: Arc::clone(&health), clock: Clock::start() };
        let router = router(state, Router::new());
        let ask_by = async |method: &str, path: &str| {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
            (status, String::from_utf8(body.to_vec()).unwrap())
        };
        let ask = async |path: &str| ask_by("GET", path).await;
        assert_eq!(ask("/healthz").await, (200, "ok\n".to_owned()));
        assert_eq!(ask("/readyz").await, (503, "not ready: starting\n".to_owned()));
        health.set_started();
        assert_eq!(ask("/readyz").await, (200, "ready\n".to_owned()));
        let (status, text) = ask("/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("tidegate_build_info"), "{text}");
        for (method, path, expected, code) in
            [("GET", "/nothing", 404, "not_found"), ("POST", "/metrics", 405, "method_not_allowed")]
        {
            let (status, text) = ask_by(method, path).await;
            let problem: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!((status, problem["code"].as_str()), (expected, Some(code)), "{text}");
        }
    }
}
