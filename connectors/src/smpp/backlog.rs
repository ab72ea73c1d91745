//! Requests that the engine has given to a connection and that its session has no room for yet.
//! Their order is kept, and their octets are not copied.

use std::collections::VecDeque;

use engine::effect::Request;

#[derive(Default)]
pub struct Backlog {
    batches: VecDeque<Batch>,
    octets: usize,
}

struct Batch {
    requests: Vec<Request>,
    bodies: Vec<u8>,
    /// The first of `requests` that waits.
    next: usize,
}

impl Batch {
    fn waiting(&self) -> &[Request] {
        self.requests.get(self.next..).unwrap_or_default()
    }

    fn body(&self) -> Option<&[u8]> {
        let start = match self.next.checked_sub(1) {
            Some(before) => self.requests.get(before)?.end,
            None => 0,
        };
        let end = self.requests.get(self.next)?.end;
        self.bodies.get(start as usize..end as usize)
    }
}

impl Backlog {
    pub fn push(&mut self, requests: Vec<Request>, bodies: Vec<u8>) {
        if !requests.is_empty() {
            self.octets += bodies.len();
            self.batches.push_back(Batch { requests, bodies, next: 0 });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// What it holds; a batch counts until its last request is taken.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// The first that waits: its token and body.
    pub fn first(&self) -> Option<(u64, &[u8])> {
        let batch = self.batches.front()?;
        let request = batch.waiting().first()?;
        Some((request.token, batch.body().unwrap_or_default()))
    }

    /// What waits of the oldest batch, in order.
    pub fn waiting(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.batches.front().into_iter().flat_map(|batch| {
            let from = batch.next.checked_sub(1).and_then(|before| batch.requests.get(before));
            let mut start = from.map_or(0, |before| before.end as usize);
            batch.waiting().iter().map(move |request| {
                let body = batch.bodies.get(start..request.end as usize).unwrap_or_default();
                start = request.end as usize;
                (request.token, body)
            })
        })
    }

    /// The first has been taken.
    pub fn pop(&mut self) {
        let Some(batch) = self.batches.front_mut() else { return };
        batch.next += 1;
        if batch.waiting().is_empty() {
            self.octets -= batch.bodies.len();
            self.batches.pop_front();
        }
    }

    /// The tokens of all that wait, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = u64> + '_ {
        self.octets = 0;
        self.batches
            .drain(..)
            .flat_map(|batch| batch.requests.into_iter().skip(batch.next).map(|request| request.token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(token: u64, end: u32) -> Request {
        Request { token, end }
    }

    #[test]
    fn requests_come_in_order_with_their_own_octets() {
        let mut backlog = Backlog::default();
        backlog.push(vec![request(1, 3), request(2, 3), request(3, 8)], b"onethree".to_vec());
        backlog.push(Vec::new(), Vec::new());
        backlog.push(vec![request(4, 4)], b"four".to_vec());
        let mut seen = Vec::new();
        while let Some((token, body)) = backlog.first() {
            assert_eq!(backlog.waiting().next(), Some((token, body)));
            seen.push((token, body.to_vec()));
            backlog.pop();
        }
        let expected: [(u64, &[u8]); 4] = [(1, b"one"), (2, b""), (3, b"three"), (4, b"four")];
        assert_eq!(seen, expected.map(|(token, body)| (token, body.to_vec())));
        assert!(backlog.is_empty() && backlog.octets() == 0);
    }

    #[test]
    fn only_what_still_waits_is_drained() {
        let mut backlog = Backlog::default();
        backlog.push(vec![request(1, 0), request(2, 0)], Vec::new());
        backlog.push(vec![request(3, 0)], Vec::new());
        backlog.pop();
        assert_eq!(backlog.waiting().map(|(token, _)| token).collect::<Vec<_>>(), [2]);
        assert_eq!(backlog.drain().collect::<Vec<_>>(), [2, 3]);
        assert!(backlog.is_empty());
    }
}
