//! Askers that wait for one answer of the engine: HTTP calls and operators' commands.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use engine::command::ReplyId;
use engine::effect::Reply;
use tokio::sync::{Notify, oneshot};

/// The askers that wait, by the id their command carries.
#[derive(Default)]
pub struct Replies {
    last: AtomicU64,
    table: DashMap<u64, oneshot::Sender<Reply>>,
    /// What groups have released and `hand_out` has yet to take.
    released: Mutex<Vec<(ReplyId, Reply)>>,
    ready: Notify,
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

    /// Releases all that one group answers. From a thread outside of the runtime each waking of a task costs a system call, so
    /// that several answers go through the one task that hands them out.
    pub fn release_all(&self, replies: Vec<(ReplyId, Reply)>) {
        if replies.len() <= 1 {
            replies.into_iter().for_each(|(id, reply)| self.release(id, reply));
            return;
        }
        let mut released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
        released.extend(replies);
        drop(released);
        self.ready.notify_one();
    }

    /// Hands out what is released, for ever. One task does this.
    pub async fn hand_out(&self) {
        loop {
            self.ready.notified().await;
            let mut released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
            let replies = std::mem::take(&mut *released);
            drop(released);
            replies.into_iter().for_each(|(id, reply)| self.release(id, reply));
        }
    }

    /// Hands the answer over; an asker that has gone away needs none.
    pub fn release(&self, id: ReplyId, reply: Reply) {
        if let Some((_, sender)) = self.table.remove(&id.0) {
            let _ = sender.send(reply);
        }
    }
}
