//! An HTTP server that accepts every message and does nothing with it: what the generator, axum and the kernel take by
//! themselves, so that a gateway's figures can be read beside it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use axum::{
    Router,
    body::Bytes,
    http::{StatusCode, header::CONTENT_TYPE},
    routing::post,
    serve::ListenerExt,
};
use tokio::net::TcpListener;

/// Answers until the process ends, as a gateway would that has accepted one message a request.
///
/// # Errors
/// The listener does not work.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    // Without it an answer may wait for the acknowledgement of the one before; a socket that is gone needs none.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let accepted = Arc::new(AtomicU64::new(0));
    let accept = move |_: Bytes| {
        let id = accepted.fetch_add(1, Relaxed);
        async move { (StatusCode::ACCEPTED, [(CONTENT_TYPE, "application/json")], format!("{{\"id\":\"{id}\"}}")) }
    };
    axum::serve(listener, Router::new().route("/v1/messages", post(accept))).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;

    #[test]
    fn the_generator_has_all_of_its_messages_accepted() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let target = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(serve(listener));
        let options =
            http::Options { target, connections: 4, count: 200, quiet: true, ..http::Options::default() };
        let summary = http::run(options).unwrap().summary;
        assert_eq!((summary.accepted, summary.lost, summary.duplicates), (200, 0, 0));
        assert!(summary.refused.is_empty());
    }
}
