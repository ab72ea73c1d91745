//! How long to wait before the next attempt to bind. It is seeded, so that a run can be repeated.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use codecs::smpp::Status;

/// Two pauses: the first, and the one that doubling ends at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    pub first: Duration,
    pub max: Duration,
}

/// The pauses between attempts, by what the last one ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// For anything that may be over soon: drawn anew each time, from the first pause up to twice the pause, and at most `max`.
    pub usual: Pauses,
    /// ESME_RALYBND: the provider may still hold our last session, for a minute or two. At least the pause.
    pub already_bound: Pauses,
    /// ESME_RBINDFAIL: wrong credentials, or trouble at the provider. At least the pause.
    pub refused: Pauses,
    /// Wrong credentials or a wrong system_type, said plainly: it takes a person, and providers lock accounts that hammer. At
    /// least the pause.
    pub wrong: Pauses,
    /// A session that has lived so long makes the next pause the first again.
    pub lived: Duration,
}

impl Default for Reconnect {
    fn default() -> Reconnect {
        let pauses = |first, max| Pauses { first: Duration::from_secs(first), max: Duration::from_secs(max) };
        Reconnect {
            usual: pauses(1, 60),
            already_bound: pauses(30, 120),
            refused: pauses(60, 300),
            wrong: pauses(300, 300),
            lived: Duration::from_secs(60),
        }
    }
}

/// What the last attempt ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// No connection, no answer, or a session that is over.
    #[error("lost")]
    Lost,
    #[error("refused with {}", .0.name().unwrap_or("an unknown status"))]
    Refused(Status),
}

impl Ending {
    /// Somebody must mend the settings.
    pub fn is_configuration(self) -> bool {
        matches!(
            self,
            Ending::Refused(Status::BINDFAIL | Status::INVPASWD | Status::INVSYSID | Status::INVSYSTYP)
        )
    }
}

pub struct Backoff {
    pauses: Reconnect,
    /// Attempts that ended the same way, one after the other.
    repeated: u32,
    last: Option<Ending>,
    dice: Dice,
}

impl Backoff {
    /// Without a seed every process draws other numbers.
    pub fn new(pauses: Reconnect, seed: Option<u64>) -> Backoff {
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        Backoff { pauses, repeated: 0, last: None, dice: Dice(seed) }
    }

    /// The pause after an attempt whose session, if there was one, has lived so long.
    pub fn pause(&mut self, ending: Ending, lived: Duration) -> Duration {
        if self.last != Some(ending) || lived >= self.pauses.lived {
            self.repeated = 0;
        }
        self.last = Some(ending);
        let doublings = self.repeated.min(20);
        self.repeated = self.repeated.saturating_add(1);
        let doubled = |pauses: Pauses| pauses.first.saturating_mul(1 << doublings).min(pauses.max);
        if ending == Ending::Refused(Status::ALYBND) {
            let pause = doubled(self.pauses.already_bound);
            pause + self.dice.up_to(pause / 4)
        } else if ending.is_configuration() {
            let is_vague = ending == Ending::Refused(Status::BINDFAIL);
            let pause = doubled(if is_vague { self.pauses.refused } else { self.pauses.wrong });
            pause + self.dice.up_to(pause / 4)
        } else {
            let Pauses { first, max } = self.pauses.usual;
            let longest = doubled(self.pauses.usual).saturating_mul(2).min(max);
            first + self.dice.up_to(longest.saturating_sub(first))
        }
    }
}

/// A small generator (splitmix64): nothing here needs to be unguessable.
struct Dice(u64);

impl Dice {
    fn up_to(&mut self, longest: Duration) -> Duration {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.next() % micros.saturating_add(1).max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_LONG: Duration = Duration::from_secs(1);

    fn longest(ending: Ending, attempts: u32) -> Vec<u64> {
        let mut longest = vec![Duration::ZERO; attempts as usize];
        for seed in 0..500 {
            let mut backoff = Backoff::new(Reconnect::default(), Some(seed));
            for pause in &mut longest {
                *pause = (*pause).max(backoff.pause(ending, NOT_LONG));
            }
        }
        longest.iter().map(|pause| pause.as_millis().div_ceil(1_000) as u64).collect()
    }

    #[test]
    fn usual_pauses_double_to_the_minute_with_full_jitter() {
        assert_eq!(longest(Ending::Lost, 8), [2, 4, 8, 16, 32, 60, 60, 60]);
        let mut backoff = Backoff::new(Reconnect::default(), Some(7));
        let pauses: Vec<_> = (0..50).map(|_| backoff.pause(Ending::Lost, NOT_LONG)).collect();
        assert!(pauses.iter().skip(6).any(|pause| pause.as_secs() < 20));
    }

    #[test]
    fn no_pause_is_below_the_first_or_beyond_the_longest() {
        let pauses =
            |first, max| Pauses { first: Duration::from_millis(first), max: Duration::from_millis(max) };
        for usual in [pauses(1_000, 60_000), pauses(10, 100), pauses(500, 500), pauses(3_000, 3_001)] {
            for seed in 0..200 {
                let mut backoff = Backoff::new(Reconnect { usual, ..Reconnect::default() }, Some(seed));
                for attempt in 0..10 {
                    let pause = backoff.pause(Ending::Lost, NOT_LONG);
                    let range = usual.first..=usual.max;
                    assert!(range.contains(&pause), "{pause:?} of {usual:?}, attempt {attempt}, seed {seed}");
                }
            }
        }
    }

    #[test]
    fn refusals_wait_at_least_their_pause() {
        for (status, pauses) in [
            (Status::ALYBND, [30, 60, 120, 120]),
            (Status::BINDFAIL, [60, 120, 240, 300]),
            (Status::INVPASWD, [300, 300, 300, 300]),
            (Status::INVSYSID, [300, 300, 300, 300]),
            (Status::INVSYSTYP, [300, 300, 300, 300]),
        ] {
            let mut backoff = Backoff::new(Reconnect::default(), None);
            for pause in pauses.map(Duration::from_secs) {
                let drawn = backoff.pause(Ending::Refused(status), Duration::ZERO);
                assert!((pause..=pause * 5 / 4).contains(&drawn), "{status:?}: {drawn:?}");
            }
        }
        assert!(longest(Ending::Refused(Status::THROTTLED), 1)[0] <= 2);
    }

    #[test]
    fn a_session_that_has_lived_begins_anew_and_so_does_another_ending() {
        let mut backoff = Backoff::new(Reconnect::default(), Some(1));
        for _ in 0..10 {
            backoff.pause(Ending::Lost, NOT_LONG);
        }
        assert!(backoff.pause(Ending::Lost, Duration::from_secs(60)) <= Duration::from_secs(2));
        assert!(backoff.pause(Ending::Lost, NOT_LONG) <= Duration::from_secs(4));
        backoff.pause(Ending::Refused(Status::ALYBND), NOT_LONG);
        assert!(backoff.pause(Ending::Lost, NOT_LONG) <= Duration::from_secs(2));
    }

    #[test]
    fn the_log_names_what_a_bind_was_refused_with() {
        assert_eq!(Ending::Refused(Status::INVPASWD).to_string(), "refused with ESME_RINVPASWD");
        assert_eq!(Ending::Refused(Status(0xdead)).to_string(), "refused with an unknown status");
    }

    #[test]
    fn a_seed_repeats_the_run() {
        let run = |seed| {
            let mut backoff = Backoff::new(Reconnect::default(), Some(seed));
            [(); 10].map(|()| backoff.pause(Ending::Lost, NOT_LONG))
        };
        assert_eq!(run(42), run(42));
        assert_ne!(run(42), run(43));
    }
}
