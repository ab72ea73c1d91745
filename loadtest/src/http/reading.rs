//! Asking for messages at a steady rate beside a load, and how long the answers take. It changes nothing at the gateway.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use tokio::{
    task::LocalSet,
    time::{Instant, sleep_until, timeout},
};

use super::exchange::Connection;
use crate::measure::{Latency, Percentiles};

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Enough that a question seldom waits for the answer to another.
const CONNECTIONS: usize = 16;

/// Who asks, where, and how often.
#[derive(Debug, Clone)]
pub struct Questions {
    /// HOST:PORT of the API.
    pub address: String,
    pub key: String,
    /// Questions a second.
    pub rate: f64,
}

/// Asks for each of these messages. Time counts from the intended moment of a question, so that a slow answer counts for those
/// that waited behind it.
///
/// # Errors
/// Nobody answers, or one of the messages is not found.
pub fn read_latency(questions: &Questions, ids: &[String]) -> io::Result<Percentiles> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let latency = Rc::new(RefCell::new(Latency::default()));
        let began = Instant::now();
        let mut askers = Vec::new();
        for asker in 0..CONNECTIONS {
            let own: Vec<(usize, String)> =
                ids.iter().cloned().enumerate().skip(asker).step_by(CONNECTIONS).collect();
            let asking = ask(questions.clone(), own, began, Rc::clone(&latency));
            askers.push(tokio::task::spawn_local(asking));
        }
        for asker in askers {
            asker.await.map_err(io::Error::other)??;
        }
        Ok(latency.borrow_mut().percentiles())
    })
}

/// One connection's share of the questions, each with its place among all.
async fn ask(
    questions: Questions,
    own: Vec<(usize, String)>,
    began: Instant,
    latency: Rc<RefCell<Latency>>,
) -> io::Result<()> {
    let Questions { address, key, rate } = questions;
    let mut connection = Connection::open(&address).await?;
    for (place, id) in own {
        let intended = began + Duration::from_secs_f64(place as f64 / rate);
        sleep_until(intended).await;
        let request = format!(
            "GET /v1/messages/{id} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\r\n"
        );
        let response = timeout(ANSWER_WITHIN, connection.exchange(request.as_bytes())).await??;
        if response.status != 200 {
            return Err(io::Error::other(format!("HTTP {} for message {id}", response.status)));
        }
        latency.borrow_mut().record(u64::try_from(intended.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Ok(())
}
