//! Money follows messages: what one is charged is decided once, and a wallet has settled what its tenant's messages were charged.

use std::collections::{BTreeMap, BTreeSet};

use engine::message::{Charge, Message, number_of};

use crate::house::House;

/// What was last seen of each message, by its number.
#[derive(Default)]
pub struct Charges(BTreeMap<u64, Seen>);

struct Seen {
    tenant: u32,
    charge: Charge,
    is_final: bool,
}

impl Charges {
    /// Looks at what lives, and at what may have changed on its way out of memory.
    pub fn check(&mut self, house: &House, accepted: &[u64]) {
        let unseen = accepted.iter().copied().filter(|number| !self.0.contains_key(number));
        let unfinished = self.0.iter().filter(|(_, seen)| !seen.is_final).map(|(number, _)| *number);
        let living = house.engine.living().map(|message| message.number);
        let numbers: BTreeSet<u64> = unseen.chain(unfinished).chain(living).collect();
        for number in numbers {
            let message = found(house, number).expect("an accepted message is found");
            let (tenant, charge, is_final) = (message.tenant, message.charge, message.is_final());
            let before = self.0.insert(number, Seen { tenant, charge, is_final });
            let stays = before.is_none_or(|seen| seen.charge == Charge::Reserved || seen.charge == charge);
            assert!(stays, "the charge of {number} was decided, and is {charge:?}");
        }
        let mut settled: BTreeMap<u32, i64> = BTreeMap::new();
        for seen in self.0.values() {
            if let Charge::Settled(amount) = seen.charge {
                *settled.entry(seen.tenant).or_default() += amount.0;
            }
        }
        for (tenant, wallet) in house.engine.summary().wallets {
            let expected = settled.get(&tenant).copied().unwrap_or(0);
            assert_eq!(wallet.settled().0, expected, "what tenant {tenant} has settled");
            let agreed = house.definitions.tenants[tenant as usize].credit_limit.0;
            let most = agreed.max(-wallet.available().0);
            assert!(wallet.credit_limit().0 <= most, "the limit of tenant {tenant}: {wallet:?}");
        }
    }
}

/// In memory, on its way to the archive, or stored.
fn found(house: &House, number: u64) -> Option<Message> {
    let on_its_way = || {
        let mut all = house.writes.iter().flat_map(|write| &write.messages);
        let bytes = all.rfind(|bytes| number_of(bytes) == Some(number))?;
        Message::read(bytes.clone())
    };
    let living = house.engine.message(number).cloned();
    living.or_else(on_its_way).or_else(|| house.stored(number))
}
