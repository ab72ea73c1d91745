//! The order in which a route's providers are tried. It does not choose the route and knows no provider's health.

use crate::money::Micros;

/// Providers of one route, and of the implicit one.
pub const PROVIDERS_MAX: usize = 8;

/// A weighted route repeats after so many messages at most.
pub(super) const CYCLE_MAX: usize = 1_000;

/// An ordered list of providers: the first is tried first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Providers {
    list: [u16; PROVIDERS_MAX],
    count: u8,
}

/// How often each route has been used: the only state of weighted and round-robin routes.
#[derive(Clone, Debug, Default)]
pub struct Turns(Vec<u64>);

impl Providers {
    pub(super) fn rotated(mut self, turn: u64) -> Providers {
        if self.count > 0 {
            let first = turn % u64::from(self.count);
            self.list[..usize::from(self.count)].rotate_left(first as usize);
        }
        self
    }

    /// The one at `first` before the others, which keep their order.
    pub(super) fn with_first(mut self, first: u8) -> Providers {
        self.list[..=usize::from(first)].rotate_right(1);
        self
    }

    /// The cheapest first; equal costs keep the order given.
    pub(super) fn by_cost(self, cost: impl Fn(u16) -> Option<Micros>) -> Providers {
        let mut priced = [(Micros::ZERO, 0u8, 0u16); PROVIDERS_MAX];
        let mut count = 0;
        for (place, provider) in self.iter().enumerate() {
            if let Some(cost) = cost(*provider) {
                priced[count] = (cost, place as u8, *provider);
                count += 1;
            }
        }
        priced[..count].sort_unstable();
        priced[..count].iter().map(|(_, _, provider)| *provider).collect()
    }
}

impl std::ops::Deref for Providers {
    type Target = [u16];

    fn deref(&self) -> &[u16] {
        &self.list[..usize::from(self.count)]
    }
}

impl FromIterator<u16> for Providers {
    /// Keeps the first [`PROVIDERS_MAX`].
    fn from_iter<I: IntoIterator<Item = u16>>(indexes: I) -> Providers {
        let mut providers = Providers::default();
        for (place, index) in providers.list.iter_mut().zip(indexes) {
            *place = index;
            providers.count += 1;
        }
        providers
    }
}

impl Turns {
    /// How often the route was used before this time.
    pub(super) fn next(&mut self, route: u32) -> u64 {
        let place = route as usize;
        if place >= self.0.len() {
            self.0.resize(place + 1, 0);
        }
        let turn = self.0[place];
        self.0[place] = turn.wrapping_add(1);
        turn
    }
}

/// Spreads the places evenly by their weights: each turn every place gains its weight, the richest goes first and
/// pays the sum.
pub(super) fn weighted_cycle(weights: &[u32]) -> Vec<u8> {
    let weights = scaled_weights(weights);
    let sum: i64 = weights.iter().sum();
    let mut balance = vec![0i64; weights.len()];
    let mut cycle = Vec::with_capacity(sum as usize);
    for _ in 0..sum {
        for (balance, weight) in balance.iter_mut().zip(&weights) {
            *balance += weight;
        }
        let mut richest = 0;
        for place in 1..balance.len() {
            if balance[place] > balance[richest] {
                richest = place;
            }
        }
        balance[richest] -= sum;
        cycle.push(richest as u8);
    }
    cycle
}

/// Weights in the same proportion whose sum is at most [`CYCLE_MAX`]; none that was given is lost in it.
fn scaled_weights(weights: &[u32]) -> Vec<i64> {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    let weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / divisor)).collect();
    let sum: i64 = weights.iter().sum();
    if sum <= CYCLE_MAX as i64 {
        return weights;
    }
    weights
        .iter()
        .map(|weight| if *weight == 0 { 0 } else { (weight * (CYCLE_MAX as i64 - 8) / sum).max(1) })
        .collect()
}

fn greatest_common_divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}
