//! Messages of which the journal has only what has happened since they were read back from the parked store: their images are
//! still there. A start keeps those steps here until it has read the images, from that store or, where they have gone on to the
//! archive meanwhile, from there.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::bytes::Reader;
use crate::effect::{Load, Shelf};
use crate::engine::Engine;
use crate::hash::BlockHash;
use crate::message::Message;
use crate::pages::{BLOCK_MESSAGES, block_of, order_of, place_of};
use crate::record::{self, Record};
use crate::replay::ReplayError;
use crate::ring::Item;
use crate::step;

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

impl Steps {
    /// What is behind so many octets, unless these end within a step.
    fn behind(&self, octets: usize) -> Option<&[u8]> {
        let mut rest = Reader::new(&self.octets);
        while rest.position() < octets && !rest.is_empty() {
            step::read(&mut rest)?;
        }
        (rest.position() == octets || rest.is_empty()).then(|| rest.rest())
    }
}

/// The steps of a start, by the places of their messages in the order of numbers.
#[derive(Default)]
pub(crate) struct Apart {
    steps: HashMap<u64, Steps, BlockHash>,
    /// Groups are known to be lost: where steps do not fit their image, the image counts.
    is_lossy: bool,
    /// Messages that no store has, by block: their steps are of no use.
    lost: BTreeMap<u64, u64>,
    /// Messages that the journal is to have whole from now on.
    whole: Vec<u64>,
}

impl Apart {
    /// A message was changed for the first time after it had been read back.
    fn begin(&mut self, number: u64, group: u64, after: u32, step: &[u8]) {
        let steps = Steps { group, after, octets: step.to_vec(), shelf: Shelf::Archive };
        self.steps.insert(order_of(number), steps);
    }

    /// A later step of a message, if its first ones are here.
    pub fn go_on(&mut self, number: u64, step: &[u8]) {
        if let Some(steps) = self.steps.get_mut(&order_of(number)) {
            steps.octets.extend_from_slice(step);
        }
    }

    /// The parked store has a row for a message. Whether its steps are here.
    pub fn is_parked(&mut self, order: u64) -> bool {
        let steps = self.steps.get_mut(&order);
        steps.map(|steps| steps.shelf = Shelf::Parked).is_some()
    }

    /// The message is in the journal as a whole.
    pub fn forget(&mut self, number: u64) {
        self.steps.remove(&order_of(number));
    }

    /// The messages at these places of a block are elsewhere with all that happened to them.
    pub fn forget_places(&mut self, block: u64, mask: u64) {
        if !self.steps.is_empty() {
            let places = (0..BLOCK_MESSAGES).filter(|place| mask & (1 << place) != 0);
            places.for_each(|place| drop(self.steps.remove(&(block * BLOCK_MESSAGES + place))));
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
        let steps = self.apart.steps.iter();
        let mut loads: Vec<Load> =
            steps.map(|(order, steps)| Load { block: block_of(*order), shelf: steps.shelf }).collect();
        loads.sort_unstable();
        loads.dedup();
        loads
    }

    /// What one of those blocks holds. Messages are put together with what the journal has of them; whether none is missing that was to
    /// be there.
    pub fn replay_apart(&mut self, load: Load, messages: Vec<Vec<u8>>) -> Result<bool, ReplayError> {
        let Load { block, shelf } = load;
        for bytes in messages {
            let number = crate::message::number_of(&bytes).ok_or(ReplayError::Apart { block })?;
            let order = order_of(number);
            if self.apart.steps.get(&order).is_some_and(|steps| steps.shelf == shelf)
                && let Some(steps) = self.apart.steps.remove(&order)
            {
                let mut message =
                    joined(bytes, &steps, self.apart.is_lossy).ok_or(ReplayError::Apart { block })?;
                message.image_group = steps.group;
                let since = message.accepted_at.0;
                self.pages.insert(message, since);
                if shelf == Shelf::Parked {
                    self.parking.set_apart(number);
                }
            }
        }
        let mut is_whole = true;
        for place in 0..BLOCK_MESSAGES {
            let steps = self.apart.steps.get_mut(&(block * BLOCK_MESSAGES + place));
            if let Some(steps) = steps.filter(|steps| steps.shelf == shelf) {
                // A crash while it left the parked store: the archive has it, but the row is still here.
                steps.shelf = Shelf::Archive;
                is_whole = false;
            }
        }
        Ok(is_whole)
    }

    /// Groups of the journal to be folded are lost, and `mend_after_loss` follows.
    pub fn expect_loss(&mut self) {
        self.apart.is_lossy = true;
    }

    /// A message that is finished, by the archive, while an older parked store still has it: it counts as finished, and `mend_after_loss`
    /// writes it down. What the journal knows of it is newer than either.
    pub fn take_finished(&mut self, bytes: Vec<u8>) {
        let Some(mut message) = Message::read(bytes).filter(Message::is_final) else { return };
        let (number, order) = (message.number, order_of(message.number));
        if self.pages.at(order).is_some() || self.apart.steps.contains_key(&order) {
            return;
        }
        message.image_group = self.group_number;
        let since = message.accepted_at.0;
        self.pages.insert(message, since);
        self.apart.whole.push(number);
    }

    /// Of what is left no store has the messages, nor will have: `mend_after_loss` lets the journal forget it. Says how many they are.
    pub fn lose_apart(&mut self) -> u64 {
        let steps = std::mem::take(&mut self.apart.steps);
        for order in steps.keys() {
            *self.apart.lost.entry(block_of(*order)).or_default() |= 1 << place_of(*order);
        }
        steps.len() as u64
    }

    /// Writes as a whole what was put together: with what is lost it might not fit a second time. And what no store has ends here.
    pub(crate) fn mend_apart(&mut self) {
        for (block, mask) in std::mem::take(&mut self.apart.lost) {
            record::write(&mut self.group, &Record::Parked { block, mask });
        }
        let apart = self.pages.iter().map(|message| message.number);
        let mut numbers: Vec<u64> = apart.filter(|number| self.parking.is_apart(*number)).collect();
        numbers.append(&mut self.apart.whole);
        for number in numbers {
            if let Some(message) = self.pages.get(number) {
                record::write(&mut self.group, &Record::CarryOver(message.bytes()));
            }
        }
    }

    /// What is to be read of a block cannot be, for good: its messages were finished.
    pub fn forget_apart(&mut self, block: u64) {
        self.apart.forget_places(block, u64::MAX);
    }

    /// Nothing is left that no store has.
    pub(crate) fn check_apart(&self) -> Result<(), ReplayError> {
        match self.apart.steps.keys().min() {
            Some(order) => Err(ReplayError::Apart { block: block_of(*order) }),
            None => Ok(()),
        }
    }
}

/// The message with those of the steps that its image does not have. Some it has where it was parked anew, or archived, and the process
/// ended before the journal knew. What was salvaged once need not fit what the archive has.
fn joined(mut image: Vec<u8>, steps: &Steps, is_lossy: bool) -> Option<Message> {
    let had = image.len().checked_sub(usize::try_from(steps.after).ok()?);
    match had.and_then(|had| steps.behind(had)) {
        Some(missing) => image.extend_from_slice(missing),
        // Steps in between are lost.
        None if is_lossy || steps.shelf == Shelf::Archive => {}
        None => return None,
    }
    Message::read(image)
}
