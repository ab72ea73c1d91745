//! Asking for messages at a steady rate beside a load, and how long the answers take. It changes nothing at the gateway.

use std::{io, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};

use super::exchange::Connection;
use crate::measure::{Latency, Percentiles};

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Asks for each of these messages, `rate` a second over one connection. Time counts from the intended moment of a question, so
/// that a slow answer counts for those that waited behind it. An answer other than 200 is an error.
///
/// # Errors
/// Nobody answers, or one of the messages is not found.
pub fn read_latency(
    address: &str,
    key: &str,
    ids: impl IntoIterator<Item = String>,
    rate: f64,
) -> io::Result<Percentiles> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = Connection::open(address).await?;
        let (began, mut latency) = (Instant::now(), Latency::default());
        for (place, id) in ids.into_iter().enumerate() {
            let intended = began + Duration::from_secs_f64(place as f64 / rate);
            sleep_until(intended).await;
            let request = format!(
                "GET /v1/messages/{id} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\r\n"
            );
            let response = timeout(ANSWER_WITHIN, connection.exchange(request.as_bytes())).await??;
            if response.status != 200 {
                return Err(io::Error::other(format!("HTTP {} for message {id}", response.status)));
            }
            latency.record(u64::try_from(intended.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
        Ok(latency.percentiles())
    })
}
