//! Requests that the engine has given to a connection and that its session has no room for yet.
//! Their order is kept, and their octets are not copied.

use std::collections::VecDeque;
use std::time::Duration;

use codecs::instant::Mono;
use engine::effect::Request;

#[derive(Default)]
pub struct Backlog {
    batches: VecDeque<Batch>,
    octets: usize,
}

struct Batch {
    requests: Vec<Request>,
    bodies: Vec<u8>,
    /// When it came.
    since: Mono,
    /// The first of `requests` that waits.
    next: usize,
}

impl Batch {
    fn waiting(&self) -> &[Request] {
        self.requests.get(self.next..).unwrap_or_default()
    }

    /// Most may go at once: nothing is reckoned for them.
    fn may_go(&self, request: &Request, now: Mono) -> bool {
        request.after == 0 || self.due(request) <= now
    }

    /// When a request of it may go.
    fn due(&self, request: &Request) -> Mono {
        self.since.after(Duration::from_micros(u64::from(request.after)))
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
    pub fn push(&mut self, now: Mono, requests: Vec<Request>, bodies: Vec<u8>) {
        if !requests.is_empty() {
            self.octets += bodies.len();
            self.batches.push_back(Batch { requests, bodies, since: now, next: 0 });
        }
    }

    /// When the first that waits may go, if that is later than now: most may go at once, and nobody looks at a clock for them.
    pub fn next_due(&self, now: impl FnOnce() -> Mono) -> Option<Mono> {
        let batch = self.batches.front()?;
        let first = batch.waiting().first().filter(|request| request.after > 0)?;
        Some(batch.due(first)).filter(|due| *due > now())
    }

    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// What it holds; a batch counts until its last request is taken.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// The first that waits, if it may go now: its token and body.
    pub fn first(&self, now: Mono) -> Option<(u64, &[u8])> {
        let batch = self.batches.front()?;
        let request = batch.waiting().first().filter(|request| batch.may_go(request, now))?;
        Some((request.token, batch.body().unwrap_or_default()))
    }

    /// What waits of the oldest batch and may go now, in order.
    pub fn waiting(&self, now: Mono) -> impl Iterator<Item = (u64, &[u8])> {
        self.batches.front().into_iter().flat_map(move |batch| {
            let from = batch.next.checked_sub(1).and_then(|before| batch.requests.get(before));
            let mut start = from.map_or(0, |before| before.end as usize);
            let due = batch.waiting().iter().take_while(move |request| batch.may_go(request, now));
            due.map(move |request| {
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

    const NOW: Mono = Mono(7);

    fn request(token: u64, end: u32) -> Request {
        Request { token, end, after: 0 }
    }

    #[test]
    fn requests_come_in_order_with_their_own_octets() {
        let mut backlog = Backlog::default();
        backlog.push(NOW, vec![request(1, 3), request(2, 3), request(3, 8)], b"onethree".to_vec());
        backlog.push(NOW, Vec::new(), Vec::new());
        backlog.push(NOW, vec![request(4, 4)], b"four".to_vec());
        let mut seen = Vec::new();
        while let Some((token, body)) = backlog.first(NOW) {
            assert_eq!(backlog.waiting(NOW).next(), Some((token, body)));
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
        backlog.push(NOW, vec![request(1, 0), request(2, 0)], Vec::new());
        backlog.push(NOW, vec![request(3, 0)], Vec::new());
        backlog.pop();
        assert_eq!(backlog.waiting(NOW).map(|(token, _)| token).collect::<Vec<_>>(), [2]);
        assert_eq!(backlog.drain().collect::<Vec<_>>(), [2, 3]);
        assert!(backlog.is_empty());
    }

    #[test]
    fn what_is_to_go_later_waits_with_all_behind_it() {
        let mut backlog = Backlog::default();
        let requests =
            [(1, 0), (2, 500), (3, 0)].map(|(token, after)| Request { after, ..request(token, 0) });
        backlog.push(NOW, requests.to_vec(), Vec::new());
        backlog.push(NOW, vec![request(4, 0)], Vec::new());
        let gone = |backlog: &mut Backlog, now| {
            let mut gone = Vec::new();
            assert!(backlog.waiting(now).count() <= 2);
            while let Some((token, _)) = backlog.first(now) {
                gone.push(token);
                backlog.pop();
            }
            gone
        };
        assert_eq!(backlog.next_due(|| NOW), None, "the first may go at once");
        assert_eq!(gone(&mut backlog, NOW), [1]);
        assert_eq!(backlog.next_due(|| NOW), Some(Mono(507)));
        assert_eq!(backlog.next_due(|| Mono(507)), None, "its time has come: it waits for room");
        assert_eq!(gone(&mut backlog, Mono(506)), []);
        assert_eq!(gone(&mut backlog, Mono(507)), [2, 3, 4]);
        assert!(backlog.is_empty());
    }
}
