//! The messages that are asked for after a run: so many of those accepted, spread evenly over it, however long it becomes.

/// Accepted messages with their ids: every so-manieth, so that at most about twice as many are kept as are wanted.
#[derive(Debug)]
pub struct Sample {
    wanted: usize,
    /// Of how many that are accepted one is kept; a power of two.
    stride: u64,
    accepted: u64,
    kept: Vec<(u32, String)>,
    last: Option<(u32, String)>,
}

impl Sample {
    #[must_use]
    pub fn new(wanted: u32) -> Self {
        Self { wanted: wanted as usize, stride: 1, accepted: 0, kept: Vec::new(), last: None }
    }

    /// A message was accepted under this id.
    pub fn offer(&mut self, serial: u32, id: &[u8]) {
        if self.wanted == 0 {
            return;
        }
        let message = (serial, String::from_utf8_lossy(id).into_owned());
        if self.accepted.is_multiple_of(self.stride) {
            self.kept.push(message);
            self.last = None;
        } else {
            self.last = Some(message);
        }
        self.accepted += 1;
        if self.kept.len() > 2 * self.wanted {
            self.thin();
        }
    }

    /// Every second one goes, and of those to come twice as many.
    fn thin(&mut self) {
        self.stride *= 2;
        let mut place = 0_usize;
        self.last = self.kept.last().cloned();
        self.kept.retain(|_| {
            place += 1;
            !place.is_multiple_of(2)
        });
    }

    /// As many as are wanted, or all where there are fewer, among them the first and the last.
    #[must_use]
    pub fn chosen(&self) -> Vec<(u32, String)> {
        let mut all: Vec<_> = self.kept.iter().chain(&self.last).collect();
        all.dedup();
        let count = self.wanted.min(all.len());
        let at = |place: usize| (place + 1) * all.len() / count - 1;
        let mut places: Vec<usize> = (0..count).map(at).collect();
        if let [first, _, ..] = places.as_mut_slice() {
            *first = 0;
        }
        places.into_iter().filter_map(|place| all.get(place).copied().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The serials asked for when these are accepted.
    fn chosen(wanted: u32, accepted: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut sample = Sample::new(wanted);
        for serial in accepted {
            sample.offer(serial, serial.to_string().as_bytes());
            assert!(sample.kept.len() <= 2 * wanted as usize);
        }
        let chosen = sample.chosen();
        assert!(chosen.iter().all(|(serial, id)| *id == serial.to_string()));
        chosen.into_iter().map(|(serial, _)| serial).collect()
    }

    #[test]
    fn as_many_as_wanted_are_spread_over_a_run_of_any_length() {
        for count in [1, 2, 9, 10, 11, 20, 21, 22, 23, 57, 1_000, 123_457] {
            let found = chosen(10, 0..count);
            assert_eq!(found.len(), 10.min(count as usize), "{count}");
            assert_eq!((found.first(), found.last()), (Some(&0), Some(&(count - 1))), "{count}");
            let apart = found.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(apart.clone().all(|gap| gap > 0 && gap <= 2 * (count / 10) + 2), "{count}: {found:?}");
        }
    }

    #[test]
    fn refusals_between_them_make_no_difference_and_one_is_the_last() {
        assert_eq!(chosen(3, (0..1_000).map(|serial| 4 * serial + 1)).len(), 3);
        assert_eq!(chosen(1, 0..1_000), [999]);
        assert_eq!((chosen(0, 0..1_000), chosen(5, 0..0)), (vec![], vec![]));
    }
}
