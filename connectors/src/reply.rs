//! Askers that wait for one answer of the engine: HTTP calls and operators' commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use engine::command::ReplyId;
use engine::effect::Reply;
use tokio::sync::oneshot;

/// The askers that wait, by the id their command carries.
#[derive(Default)]
pub struct Replies {
    last: AtomicU64,
    table: DashMap<u64, oneshot::Sender<Reply>>,
}

impl Replies {
    pub fn new() -> Arc<Replies> {
        Arc::default()
    }

    pub fn open(&self) -> (ReplyId, oneshot::Receiver<Reply>) {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, receiver) = oneshot::channel();
        self.table.insert(id, sender);
        (ReplyId(id), receiver)
    }

    /// Hands the answer over; an asker that has gone away needs none.
    pub fn release(&self, id: ReplyId, reply: Reply) {
        if let Some((_, sender)) = self.table.remove(&id.0) {
            let _ = sender.send(reply);
        }
    }
}
