//! A tenant's messages in memory, the newest first and some at a time: for lists. It changes nothing.

use std::ops::ControlFlow;

use crate::engine::Engine;
use crate::pages::{BLOCK_MESSAGES, order_of};

/// Pages that are searched in one call; those that cannot have any of the tenant's are passed over for little.
const PAGES_MAX: usize = 256;
/// Pages that are passed over in one call.
const PASSES_MAX: usize = 8_192;

/// What of a tenant's messages is living, from a place in the order of numbers downwards.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Living {
    /// Their bytes, the newest first.
    pub messages: Vec<Vec<u8>>,
    /// Down to this place that is all of them.
    pub floor: u64,
}

impl Engine {
    /// At most `most` of a tenant's messages from or to phones, at or below a place in the order of numbers.
    pub(crate) fn living_of(&self, tenant: u32, at: u64, most: usize, inbound: bool) -> Living {
        let mut found = Living::default();
        let (mut searched, mut passed) = (0, 0);
        let ended = self.pages.each_down_from(at / BLOCK_MESSAGES, tenant, |block, page| {
            let Some(page) = page else {
                passed += 1;
                return if passed < PASSES_MAX {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(block)
                };
            };
            searched += 1;
            let mut of_tenant: Vec<_> = page
                .messages()
                .filter(|message| message.tenant == tenant && message.is_inbound() == inbound)
                .filter(|message| order_of(message.number) <= at)
                .collect();
            while let Some(message) = of_tenant.pop() {
                found.messages.push(message.bytes().to_vec());
                if found.messages.len() >= most {
                    found.floor = order_of(message.number);
                    return ControlFlow::Break(0);
                }
            }
            if searched < PAGES_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(block) }
        });
        if let ControlFlow::Break(block) = ended {
            found.floor = found.floor.max(block * BLOCK_MESSAGES);
        }
        found
    }
}
