//! Messages of which the journal has only what has happened since they were read back from the parked store: their images are
//! still there. A start keeps those steps here until it has read the images, from that store or, where they have gone on to the
//! archive meanwhile, from there.

use hashbrown::HashMap;

use crate::effect::{Load, Shelf};
use crate::engine::Engine;
use crate::hash::BlockHash;
use crate::message::Message;
use crate::pages::{BLOCK_MESSAGES, block_of, order_of};
use crate::replay::ReplayError;
use crate::ring::Item;

/// What the journal has of a message.
struct Steps {
    /// The group of the first of them.
    group: u64,
    /// Octets of the message before them.
    after: u32,
    octets: Vec<u8>,
    /// Where the message is to be read.
    shelf: Shelf,
}

/// The steps of a start, by the places of their messages in the order of numbers.
#[derive(Default)]
pub(crate) struct Apart(HashMap<u64, Steps, BlockHash>);

impl Apart {
    /// A message was changed for the first time after it had been read back.
    fn begin(&mut self, number: u64, group: u64, after: u32, step: &[u8]) {
        let steps = Steps { group, after, octets: step.to_vec(), shelf: Shelf::Archive };
        self.0.insert(order_of(number), steps);
    }

    /// A later step of a message, if its first ones are here.
    pub fn go_on(&mut self, number: u64, step: &[u8]) {
        if let Some(steps) = self.0.get_mut(&order_of(number)) {
            steps.octets.extend_from_slice(step);
        }
    }

    /// The parked store has a row for a message. Whether its steps are here.
    pub fn is_parked(&mut self, order: u64) -> bool {
        let steps = self.0.get_mut(&order);
        steps.map(|steps| steps.shelf = Shelf::Parked).is_some()
    }

    /// The message is in the journal as a whole.
    pub fn forget(&mut self, number: u64) {
        self.0.remove(&order_of(number));
    }

    /// The messages at these places of a block are elsewhere with all that happened to them.
    pub fn forget_places(&mut self, block: u64, mask: u64) {
        if !self.0.is_empty() {
            let places = (0..BLOCK_MESSAGES).filter(|place| mask & (1 << place) != 0);
            places.for_each(|place| drop(self.0.remove(&(block * BLOCK_MESSAGES + place))));
        }
    }
}

impl Engine {
    pub(crate) fn replay_apart_step(&mut self, number: u64, after: u32, step: &[u8]) {
        // It is in memory only where the group was lost that says that it had left.
        self.pages.take(block_of(number), |message| message.number == number);
        self.apart.begin(number, self.group_number, after, step);
        self.ring.add(self.group_number, Item::Message(number));
    }

    /// The blocks that a start has to read before `recovered`, once the parked store's rows are here, and again after these: what
    /// is not found in the parked store is to be read from the archive.
    pub fn apart(&self) -> Vec<Load> {
        let steps = self.apart.0.iter();
        let mut loads: Vec<Load> =
            steps.map(|(order, steps)| Load { block: block_of(*order), shelf: steps.shelf }).collect();
        loads.sort_unstable();
        loads.dedup();
        loads
    }

    /// What one of those blocks holds. Messages are put together with what the journal has of them.
    pub fn replay_apart(&mut self, load: Load, messages: Vec<Vec<u8>>) -> Result<(), ReplayError> {
        let Load { block, shelf } = load;
        for bytes in messages {
            let number = crate::message::number_of(&bytes).ok_or(ReplayError::Apart { block })?;
            let order = order_of(number);
            if self.apart.0.get(&order).is_some_and(|steps| steps.shelf == shelf)
                && let Some(steps) = self.apart.0.remove(&order)
            {
                let mut message = joined(bytes, &steps).ok_or(ReplayError::Apart { block })?;
                message.image_group = steps.group;
                let since = message.accepted_at.0;
                self.pages.insert(message, since);
                self.parking.set_apart(number);
            }
        }
        for place in 0..BLOCK_MESSAGES {
            // A crash while it left the parked store: the archive has it, but the row is still here.
            if let Some(steps) = self.apart.0.get_mut(&(block * BLOCK_MESSAGES + place)) {
                steps.shelf = Shelf::Archive;
            }
        }
        Ok(())
    }

    /// What is to be read of a block cannot be, for good: its messages were finished.
    pub fn forget_apart(&mut self, block: u64) {
        self.apart.forget_places(block, u64::MAX);
    }

    /// Nothing is left that no store has.
    pub(crate) fn check_apart(&self) -> Result<(), ReplayError> {
        match self.apart.0.keys().min() {
            Some(order) => Err(ReplayError::Apart { block: block_of(*order) }),
            None => Ok(()),
        }
    }
}

/// The message with those of the steps that its image does not have: none, where it was written after them.
fn joined(mut image: Vec<u8>, steps: &Steps) -> Option<Message> {
    let had = image.len().checked_sub(usize::try_from(steps.after).ok()?)?;
    if had < steps.octets.len() {
        image.extend_from_slice(&steps.octets[had..]);
    }
    Message::read(image)
}
