//! Bugs that are put between the product's parts, to show that the simulation finds them. The product has no hooks for them.

use connectors::partition::Partition;
use engine::command::{Command, Query};
use engine::effect::Outgoing;
use engine::ledger::{Change, Wallet};
use engine::money::Micros;
use engine::record::{self, Record, Records};
use engine::submission::Priority;
use engine::surgery::Operation;
use tidegate::commit::Decided;

use crate::plan::{PRICE, Planted};
use crate::world::World;

/// Where the priority stands in a body.
const PRIORITY: usize = 5;

/// Between the intake and the writer.
pub fn alter_commands(world: &World, partition: &Partition, commands: &mut [Command]) {
    for command in commands {
        match (world.planted, command) {
            (Planted::DroppedReceipt, Command::Receipts(receipts)) if receipts.items.len() == 1 => {
                let (Some(receipt), Some(connection)) = (receipts.items.pop(), receipts.connection) else {
                    continue;
                };
                let acknowledged = vec![(receipt.sequence, 0)];
                partition.links.release(connection, Outgoing { acknowledged, ..Outgoing::default() });
            }
            (Planted::DroppedPhone, Command::Inbound(inbound)) if inbound.items.len() == 1 => {
                let (Some(item), Some(connection)) = (inbound.items.pop(), inbound.connection) else {
                    continue;
                };
                let acknowledged = vec![(item.sequence, 0)];
                partition.links.release(connection, Outgoing { acknowledged, ..Outgoing::default() });
            }
            (Planted::UnfairQueue, Command::Submit(submissions)) if submissions.tenant == 0 => {
                let mut start = 0;
                for item in &submissions.items {
                    if item.end as usize > start {
                        submissions.bodies[start + PRIORITY] = Priority::High as u8;
                    }
                    start = item.end as usize;
                }
            }
            (Planted::LeakingSuspension, Command::Operate { order, .. })
                if matches!(order.operation, Operation::Suspend { .. }) =>
            {
                order.filter.prefix = Some("1".to_owned());
            }
            (Planted::ForgottenKey, Command::Submit(submissions)) => submissions.idempotency = None,
            (Planted::ShortList, Command::Query { query: Query::Living { at, .. }, .. }) => {
                *at = (*at).min(5);
            }
            (Planted::DroppedAnswer, Command::AskAnswers { items, .. }) => {
                items.iter_mut().for_each(|item| item.state = None);
            }
            _ => {}
        }
    }
}

/// Between the writer and the committer.
pub fn alter_group(world: &World, decided: &mut Decided) {
    if world.planted != Planted::DoubleSettle {
        return;
    }
    let mut records = Vec::with_capacity(decided.group.records.len());
    for found in Records::new(&decided.group.records) {
        let Ok(found) = found else { return };
        match found {
            Record::Wallet { tenant, wallet } => {
                let wallet = settled_twice(wallet).map_or(wallet.to_vec(), |wallet| wallet.encode().to_vec());
                record::write(&mut records, &Record::Wallet { tenant, wallet: &wallet });
            }
            other => record::write(&mut records, &other),
        }
    }
    decided.group.records = records;
}

/// One part more than was charged.
fn settled_twice(bytes: &[u8]) -> Option<Wallet> {
    let mut wallet = Wallet::decode(bytes)?;
    let price = Micros(PRICE);
    if wallet.settled().0 == 0 || wallet.reserve(price) != engine::ledger::Reserve::Done {
        return None;
    }
    (wallet.settle(price, price) == Change::Done).then_some(wallet)
}
