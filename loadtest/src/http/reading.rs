//! Asking for messages and lists at a steady rate beside a load, and how long the answers take. It changes nothing at the gateway.

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

/// Asks for each of these paths. Time counts from the intended moment of a question, so that a slow answer counts for those
/// that waited behind it.
///
/// # Errors
/// Nobody answers, or one of the answers is not 200.
pub fn read_latency(questions: &Questions, paths: &[String]) -> io::Result<Percentiles> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let latency = Rc::new(RefCell::new(Latency::default()));
        let began = Instant::now();
        let mut askers = Vec::new();
        for asker in 0..CONNECTIONS {
            let own: Vec<(usize, String)> =
                paths.iter().cloned().enumerate().skip(asker).step_by(CONNECTIONS).collect();
            let asking = ask(questions.clone(), own, began, Rc::clone(&latency));
            askers.push(tokio::task::spawn_local(asking));
        }
        for asker in askers {
            asker.await.map_err(io::Error::other)??;
        }
        Ok(latency.borrow_mut().percentiles())
    })
}

/// What is answered to each of these paths, one after the other.
///
/// # Errors
/// Nobody answers, or one of the answers is not 200.
pub fn read_all(questions: &Questions, paths: &[String]) -> io::Result<Vec<Vec<u8>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = Connection::open(&questions.address).await?;
        let mut answers = Vec::with_capacity(paths.len());
        for path in paths {
            answers.push(exchange(&mut connection, questions, path).await?);
        }
        Ok(answers)
    })
}

async fn exchange(connection: &mut Connection, questions: &Questions, path: &str) -> io::Result<Vec<u8>> {
    let Questions { address, key, .. } = questions;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\r\n");
    let response = timeout(ANSWER_WITHIN, connection.exchange(request.as_bytes())).await??;
    match response.status {
        200 => Ok(response.body.to_vec()),
        status => Err(io::Error::other(format!("HTTP {status} for {path}"))),
    }
}

/// One connection's share of the questions, each with its place among all.
async fn ask(
    questions: Questions,
    own: Vec<(usize, String)>,
    began: Instant,
    latency: Rc<RefCell<Latency>>,
) -> io::Result<()> {
    let mut connection = Connection::open(&questions.address).await?;
    for (place, path) in own {
        let intended = began + Duration::from_secs_f64(place as f64 / questions.rate);
        sleep_until(intended).await;
        exchange(&mut connection, &questions, &path).await?;
        latency.borrow_mut().record(u64::try_from(intended.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Ok(())
}
