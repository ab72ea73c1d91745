//! A provider's rate: what its entry allows, lowered when the provider throttles us and raised again.
//! It holds no queue and counts in parts; who is sent is not its business.
//!
//! What a provider has taken in the last second it can take, so the rate is lowered to that, and at most by three tenths
//! at once while that is not known yet; where a rate has been proven since, to that one. A stray throttling answer is none: what
//! counts is their share of a period's answers. The rate is raised only when it held something up, by a hundredth at first and faster the longer nothing is
//! throttled, so that it stays within a few hundredths of a limit that nobody has told us.

use std::time::Duration;

use codecs::instant::Mono;

use crate::token_bucket::TokenBucket;

const SECOND: Duration = Duration::from_secs(1);
/// The slowest rate: one part a second, in thousandths.
const FLOOR: u64 = 1_000;
/// Where an unlimited provider's rate begins at the least when it throttles for the first time: what was measured says
/// little just after a start. It can be lowered further from there.
const FIRST_FLOOR: u64 = 100_000;
/// A period ends after a second with so many answers, or with fewer after `PERIOD_MAX`.
const PERIOD_ANSWERS: u32 = 20;
const PERIOD_MAX: Duration = Duration::from_secs(5);
/// So many throttled answers of a period, and this share of all of them (percent), are acted upon at once. At five
/// strays in a thousand, that many by chance are one in some thousand periods.
const PLAIN_COUNT: u32 = 5;
const PLAIN_PERCENT: u32 = 5;
/// At the end of a period so many, and more than this share (percent), lower a rate that limits already.
const SLIGHT_COUNT: u32 = 2;
const SLIGHT_PERCENT: u32 = 1;
/// Raises by a hundredth before they begin to double, and doublings at most.
const SMALL_RAISES: u32 = 3;
const DOUBLINGS_MAX: u32 = 7;
/// A limit that nothing has shown for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

#[derive(Clone, Debug)]
pub struct AdaptiveRate {
    bucket: TokenBucket,
    /// Parts a second; 0: no limit until the provider sets one.
    ceiling: u32,
    burst: u32,
    /// When the provider last showed that its limit is below ours; `None` when it has not, or that is forgotten.
    lowered: Option<Mono>,
    paused_until: Mono,
    period: Period,
    /// Raises since the rate was last lowered.
    raises: u32,
    /// The last rate that was used up for a period and not throttled; 0: none since it was last fallen back to.
    proven: u64,
    /// The rate held something up in this period.
    held_up: bool,
    /// The provider said in this period that it nears its limit.
    near_limit: bool,
    sent: LastSecond,
    taken: LastSecond,
}

/// What the provider has answered since a time.
#[derive(Clone, Copy, Debug)]
struct Period {
    began: Mono,
    taken: u32,
    throttled: u32,
}

impl Period {
    fn from(began: Mono) -> Period {
        Period { began, taken: 0, throttled: 0 }
    }

    fn answers(self) -> u32 {
        self.taken + self.throttled
    }

    /// Whether the throttled answers are so many, and more than this share of all.
    fn shows(self, count: u32, percent: u32) -> bool {
        self.throttled >= count
            && u64::from(self.throttled) * 100 > u64::from(self.answers()) * u64::from(percent)
    }
}

impl AdaptiveRate {
    /// `burst` is granted at the ceiling, and less in proportion below it.
    pub fn new(ceiling: u32, burst: u32, now: Mono) -> AdaptiveRate {
        AdaptiveRate {
            bucket: TokenBucket::new(u64::from(ceiling) * 1_000, burst, now),
            ceiling,
            burst,
            lowered: None,
            paused_until: now,
            period: Period::from(now),
            raises: 0,
            proven: 0,
            held_up: false,
            near_limit: false,
            sent: LastSecond::default(),
            taken: LastSecond::default(),
        }
    }

    /// Takes `parts` whether they are there or not: a debt is waited for. [`AdaptiveRate::left`] is to be told when they have left.
    pub fn take_all(&mut self, now: Mono, parts: u32) {
        self.bucket.take_all(now, parts);
        self.sent.add(now, parts);
    }

    /// So many of the parts, taken at that time, have left.
    pub fn left(&mut self, now: Mono, parts: u32, taken: Mono) {
        self.bucket.left(now, parts, taken);
    }

    /// Whole parts that may be sent now.
    pub fn available(&mut self, now: Mono) -> u32 {
        if now < self.paused_until {
            return 0;
        }
        if self.lowered.is_some_and(|lowered| now.since(lowered) >= FORGOTTEN_AFTER) {
            self.lowered = None;
            self.proven = 0;
            self.apply(now, self.top());
        }
        self.bucket.available(now)
    }

    /// Parts that can gather; `u32::MAX` without a limit.
    pub fn capacity(&self) -> u32 {
        self.bucket.capacity()
    }

    /// The earliest time at which so many parts, or all that can gather, may be sent. From now on they are waited for.
    pub fn wait_for(&mut self, now: Mono, parts: u32) -> Mono {
        let at = self.bucket.wait_for(now, parts);
        self.held_up |= at > now;
        at.max(self.paused_until)
    }

    /// The provider has answered for a part, and not that we are too fast.
    pub fn answered(&mut self, now: Mono) {
        self.taken.add(now, 1);
        if now >= self.period.began {
            self.period.taken += 1;
            self.judge(now);
        }
    }

    /// The provider said "too fast". Answers to what was sent before the last reduction do not count again.
    pub fn throttled(&mut self, now: Mono, round_trip: Duration) {
        if now >= self.period.began {
            self.period.throttled += 1;
            if self.period.shows(PLAIN_COUNT, PLAIN_PERCENT) {
                self.lower(now, round_trip);
            } else {
                self.judge(now);
            }
        }
        // A pause proves nothing, so nothing is judged by it.
        if self.paused_until > self.period.began {
            self.period = Period::from(self.paused_until);
        }
    }

    /// Nothing is sent for so long.
    pub fn pause(&mut self, now: Mono, pause: Duration) {
        self.paused_until = self.paused_until.max(now.after(pause));
    }

    /// The provider nears its limit: in this period the rate is not raised.
    pub fn stop_growing(&mut self) {
        self.near_limit = true;
    }

    /// The provider is at its limit: as much as when it throttles, and without a count, for it says so of itself. What it
    /// says until the reduction is felt does not count again.
    pub fn congested(&mut self, now: Mono, round_trip: Duration) {
        self.near_limit = true;
        if now >= self.period.began {
            self.lower(now, round_trip);
        }
    }

    /// Parts a second at present; 0: no limit.
    pub fn rate(&self) -> u32 {
        u32::try_from(self.bucket.rate().div_ceil(1_000)).unwrap_or(u32::MAX)
    }

    /// Takes over a new setting; a rate that was lowered stays as it is, below the new ceiling.
    pub fn set_ceiling(&mut self, now: Mono, ceiling: u32, burst: u32) {
        let before = self.bucket.rate();
        self.ceiling = ceiling;
        self.burst = burst;
        let top = self.top();
        let is_lower = self.lowered.is_some() && (top == 0 || before < top);
        self.apply(now, if is_lower { before } else { top });
    }

    /// At once, to the rate that has just been proven, else to what was taken in the last second.
    fn lower(&mut self, now: Mono, round_trip: Duration) {
        let present = match self.bucket.rate() {
            0 => self.sent.rate_at_least(now).max(FIRST_FLOOR),
            rate => rate,
        };
        // Of a provider that counts by its clock's seconds the rest of a full one says nothing about a rate that was just proven:
        // it refuses that too. Where answers come fast, what is left of the rate by the end of that second would be next to nothing.
        let (wanted, rest) = match self.proven {
            0 => (self.taken.rate(now).max(present * 7 / 10), Duration::ZERO),
            _ => (0, SECOND),
        };
        self.set_lowered(now, present, wanted);
        // Who is too fast does not begin the slower rate with a burst.
        self.bucket.empty();
        self.period = Period::from(now.after(round_trip + rest));
    }

    /// Once a period: slightly lower, or higher.
    fn judge(&mut self, now: Mono) {
        let length = now.since(self.period.began);
        if length < SECOND || (self.period.answers() < PERIOD_ANSWERS && length < PERIOD_MAX) {
            return;
        }
        let rate = self.bucket.rate();
        let was_lowered = rate > 0 && self.lowered.is_some();
        if rate > 0 && self.period.shows(SLIGHT_COUNT, SLIGHT_PERCENT) {
            let taken = u64::from(self.period.taken) * 1_000_000_000 / length.as_micros().max(1) as u64;
            self.set_lowered(now, rate, taken.max(rate * 19 / 20));
        } else if was_lowered && self.held_up && !self.near_limit {
            self.proven = rate;
            let doublings = (self.raises + 1).saturating_sub(SMALL_RAISES).min(DOUBLINGS_MAX);
            self.raises += 1;
            // In a longer period as much as in as many seconds.
            let steps = length.as_secs().max(1);
            let raised = rate.saturating_add((rate << doublings) / 100 * steps);
            self.apply(now, raised.min(self.limit()));
        }
        self.period = Period::from(now);
        self.held_up = false;
        self.near_limit = false;
    }

    /// Some providers refuse half of what is a hundredth too fast: a rate that has just been proven is tried first.
    fn set_lowered(&mut self, now: Mono, present: u64, wanted: u64) {
        let proven = std::mem::take(&mut self.proven);
        let most = present - present / 50;
        self.lowered = Some(now);
        self.raises = 0;
        self.apply(now, wanted.max(proven - proven / 100).min(most).max(FLOOR));
    }

    fn apply(&mut self, now: Mono, rate: u64) {
        let burst = match self.top() {
            0 => rate / 10_000,
            // A burst that was given is never lost wholly, or a lowered rate would lose what flows in while a group is flushed.
            top => (u64::from(self.burst) * rate / top).max(u64::from(self.burst.min(1))),
        };
        self.bucket.set_rate(now, rate, u32::try_from(burst).unwrap_or(u32::MAX));
    }

    /// The ceiling in thousandths; 0: none.
    fn top(&self) -> u64 {
        u64::from(self.ceiling) * 1_000
    }

    /// Where raising ends.
    fn limit(&self) -> u64 {
        if self.ceiling == 0 { u64::from(u32::MAX) * 1_000 } else { self.top() }
    }
}

/// Parts of the last second, in tenths of it.
#[derive(Clone, Debug, Default)]
struct LastSecond {
    /// The tenth that is not over yet, and the ten before it.
    tenths: [u32; 11],
    /// Which tenth since the beginning of time that is.
    tenth: u64,
}

impl LastSecond {
    fn add(&mut self, now: Mono, parts: u32) {
        self.roll(now);
        let place = (self.tenth % 11) as usize;
        self.tenths[place] = self.tenths[place].saturating_add(parts);
    }

    /// Thousandths of a part a second over the last ten whole tenths.
    fn rate(&mut self, now: Mono) -> u64 {
        self.roll(now);
        self.sum() - u64::from(self.tenths[(self.tenth % 11) as usize]) * 1_000
    }

    /// The same with what has come since: what was there just after the start counts too.
    fn rate_at_least(&mut self, now: Mono) -> u64 {
        self.roll(now);
        self.sum()
    }

    fn sum(&self) -> u64 {
        self.tenths.iter().map(|parts| u64::from(*parts) * 1_000).sum()
    }

    fn roll(&mut self, now: Mono) {
        let tenth = now.0 / 100_000;
        for passed in (self.tenth..tenth).take(self.tenths.len()) {
            self.tenths[((passed + 1) % 11) as usize] = 0;
        }
        if tenth.saturating_sub(self.tenth) > self.tenths.len() as u64 {
            self.tenths = [0; 11];
        }
        self.tenth = self.tenth.max(tenth);
    }
}

#[cfg(test)]
mod tests;
