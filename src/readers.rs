//! Whose turn it is to read archive and parked store: few read at once, because each has a thread and the disk is one, and
//! fewer for one tenant, so that another one's look-up never waits behind all of a tenant's. It reads nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Look-ups and lists at once; each has a thread while it reads.
const AT_ONCE: usize = 8;
/// Those of one tenant.
const AT_ONCE_OF_ONE: usize = 4;
/// Those of one tenant that read or wait; what is more is refused.
const IN_LINE_OF_ONE: usize = 256;

/// The line before the archive. Who waits is served in the order of coming, at most [`AT_ONCE_OF_ONE`] of each tenant.
pub struct Readers {
    all: Arc<Semaphore>,
    /// As many as there are tenants.
    tenants: Mutex<HashMap<u32, Line>>,
}

#[derive(Clone)]
struct Line {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// May read while this is held.
#[must_use]
pub struct Turn {
    _permits: [OwnedSemaphorePermit; 3],
}

/// So many of this tenant's read or wait already that this one is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many look-ups of one tenant")]
pub struct TooMany;

impl Readers {
    pub fn new() -> Readers {
        Readers { all: Arc::new(Semaphore::new(AT_ONCE)), tenants: Mutex::default() }
    }

    /// Waits for this tenant's turn.
    pub async fn turn(&self, tenant: u32) -> Result<Turn, TooMany> {
        let Line { places, turns } = self.line(tenant);
        let place = places.try_acquire_owned().map_err(|_| TooMany)?;
        let turn = turns.acquire_owned().await.map_err(|_| TooMany)?;
        let one_of_all = Arc::clone(&self.all).acquire_owned().await.map_err(|_| TooMany)?;
        Ok(Turn { _permits: [place, turn, one_of_all] })
    }

    fn line(&self, tenant: u32) -> Line {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let line = tenants.entry(tenant).or_insert_with(|| Line {
            places: Arc::new(Semaphore::new(IN_LINE_OF_ONE)),
            turns: Arc::new(Semaphore::new(AT_ONCE_OF_ONE)),
        });
        line.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Wait<'a> = Pin<Box<dyn Future<Output = Result<Turn, TooMany>> + 'a>>;

    fn poll(wait: &mut Wait<'_>) -> Poll<Result<Turn, TooMany>> {
        wait.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Polls all of a tenant's; those that have their turn, and how many were refused.
    fn come<'a>(readers: &'a Readers, tenant: u32, count: usize) -> (Vec<Turn>, Vec<Wait<'a>>, usize) {
        let (mut turns, mut waits, mut refused) = (Vec::new(), Vec::new(), 0);
        for _ in 0..count {
            let mut wait: Wait<'_> = Box::pin(readers.turn(tenant));
            match poll(&mut wait) {
                Poll::Ready(Ok(turn)) => turns.push(turn),
                Poll::Ready(Err(TooMany)) => refused += 1,
                Poll::Pending => waits.push(wait),
            }
        }
        (turns, waits, refused)
    }

    #[test]
    fn one_tenant_takes_half_of_the_turns_and_others_get_theirs_at_once() {
        let readers = Readers::new();
        let (mut turns, mut waits, refused) = come(&readers, 1, 1_000);
        assert_eq!((turns.len(), waits.len(), refused), (4, 252, 744));
        let (others, waiting, _) = come(&readers, 2, 4);
        assert_eq!((others.len(), waiting.len()), (4, 0));
        // A third one waits for one of these, before those that came earlier and whose tenant has its share.
        let mut third: Wait<'_> = Box::pin(readers.turn(3));
        assert!(poll(&mut third).is_pending());
        turns.pop();
        assert!(matches!(poll(&mut third), Poll::Ready(Ok(_))));
        let served: Vec<Poll<_>> = waits.iter_mut().map(poll).filter(Poll::is_ready).collect();
        assert_eq!(served.len(), 1, "the place that the third one left");
    }

    #[test]
    fn who_goes_away_gives_up_its_place() {
        let readers = Readers::new();
        let (_turns, waits, _) = come(&readers, 1, 300);
        drop(waits);
        let (_, waits, refused) = come(&readers, 1, 252);
        assert_eq!((waits.len(), refused), (252, 0));
    }
}
