//! Pages of a tenant's messages that are not in memory, the newest first. What is in memory the engine lists; the door
//! (`api::list`) puts both together.

use std::sync::Arc;

use engine::columns;
use engine::message::{Message, number_of};
use engine::pages::{BLOCK_MESSAGES, order_of, place_of};

use storage::archive::Begin;

use crate::history::Shared;
use crate::index;
use crate::shelves::ReadError;

/// Blocks read for one page; beyond, it ends early and says where.
const BLOCKS_MAX: usize = 512;
/// Chapters looked at for one page.
const CHAPTERS_MAX: usize = 512;

/// What a list asks for. Places are those in the order of numbers (`engine::pages::order_of`).
#[derive(Clone)]
pub struct Asked {
    pub tenant: u32,
    /// Those from phones, or those to them.
    pub inbound: bool,
    /// From here downwards.
    pub at: u64,
    /// Down to here.
    pub floor: u64,
    /// The phone it went to or came from.
    pub destination: Option<u64>,
    /// Accepted at or after this, in milliseconds since 1970.
    pub since: i64,
    /// Accepted before this.
    pub until: i64,
    pub most: usize,
    /// What else must hold of a message.
    pub matches: Arc<dyn Fn(&Message) -> bool + Send + Sync>,
}

/// What was found.
#[derive(Debug)]
pub struct Page {
    /// The newest first.
    pub messages: Vec<Message>,
    /// Down to this place these are all.
    pub floor: u64,
    /// Below it there is nothing that was asked for.
    pub is_last: bool,
}

impl Asked {
    /// Whether a message is one, by its bytes alone.
    fn may_be(&self, bytes: &[u8]) -> bool {
        let order = number_of(bytes).map_or(u64::MAX, order_of);
        columns::tenant(bytes) == Some(self.tenant)
            && columns::is_inbound(bytes) == self.inbound
            && (self.floor..=self.at).contains(&order)
            && self.destination.is_none_or(|destination| columns::destination(bytes) == Some(destination))
    }

    /// Whether a message is one.
    pub fn is(&self, message: &Message) -> bool {
        let destination = || Some(message.body().destination);
        message.tenant == self.tenant
            && message.is_inbound() == self.inbound
            && (self.since..self.until).contains(&message.accepted_at.0)
            && self.destination.is_none_or(|wanted| destination() == Some(wanted))
            && (self.matches)(message)
    }

    fn read(&self, bytes: Vec<u8>) -> Option<Message> {
        Message::read(bytes).filter(|message| self.is(message))
    }
}

/// A page of what archive and parked store have, or are about to have.
pub fn page(shared: &Shared, asked: &Asked) -> Result<Page, ReadError> {
    // Before the disk: what is written meanwhile is found there.
    let on_their_way = shared.all_on_their_way(|message| asked.may_be(message));
    let mut page = stored(shared, asked)?;
    let newer: Vec<Option<u64>> = on_their_way.iter().map(|message| number_of(message)).collect();
    page.messages.retain(|message| !newer.contains(&Some(message.number)));
    let on_their_way = on_their_way.into_iter().filter_map(|message| asked.read(message));
    page.messages.extend(on_their_way.filter(|message| order_of(message.number) >= page.floor));
    page.messages.sort_by_key(|message| std::cmp::Reverse(order_of(message.number)));
    page.messages.dedup_by_key(|message| message.number);
    if page.messages.len() > asked.most {
        page.messages.truncate(asked.most);
        page.floor = page.messages.last().map_or(asked.floor, |last| order_of(last.number));
        page.is_last = false;
    }
    Ok(page)
}

fn stored(shared: &Shared, asked: &Asked) -> Result<Page, ReadError> {
    let mut page = Page { messages: Vec::new(), floor: asked.floor, is_last: false };
    let begins = shared.archive.databases();
    let (mut at, mut read) = (asked.at.min(newest_of_its_time(&begins, asked)), 0);
    for _ in 0..CHAPTERS_MAX {
        let step = if is_too_old(&begins, asked, at) { Ok(None) } else { step(shared, asked, at) };
        let step = match step {
            // What was looked at is an answer; what is below is refused when it is asked for.
            Err(error) if error.is_damage() && at < asked.at => {
                page.floor = at.saturating_add(1);
                return Ok(page);
            }
            step => step?,
        };
        let Some(step) = step else {
            // What the engine was asked for may go on above.
            page.is_last = asked.floor == 0;
            return Ok(page);
        };
        // Numbers are given in the order of time: what is older than asked for ends the list.
        if step.span.newest < asked.since && step.span.newest != i64::MIN {
            // What the engine was asked for may go on above.
            page.is_last = asked.floor == 0;
            return Ok(page);
        }
        let is_too_new = step.span.oldest >= asked.until && step.span.oldest != i64::MAX;
        let blocks = if is_too_new { &[][..] } else { old_enough(shared, asked, &step)? };
        for (block, mask) in blocks {
            if (block + 1) * BLOCK_MESSAGES <= asked.floor {
                return Ok(page);
            }
            match take_block(shared, asked, *block, *mask, &mut page) {
                Err(error) if error.is_damage() && (block + 1) * BLOCK_MESSAGES <= asked.at => {
                    page.floor = (block + 1) * BLOCK_MESSAGES;
                    return Ok(page);
                }
                taken => taken?,
            }
            read += 1;
            if page.messages.len() >= asked.most || read >= BLOCKS_MAX {
                page.floor = asked.floor.max(block * BLOCK_MESSAGES);
                return Ok(page);
            }
        }
        if step.floor <= asked.floor {
            return Ok(page);
        }
        at = step.floor - 1;
    }
    page.floor = at.saturating_add(1);
    Ok(page)
}

/// The last place that may be old enough, by when the databases begin: those that are too new are not opened. Numbers are given
/// in the order of time, so a database is not older than the oldest message of the one before it.
fn newest_of_its_time(begins: &[Begin], asked: &Asked) -> u64 {
    let too_new = begins.windows(2).find(|pair| pair[0].millis >= asked.until).map(|pair| pair[1].block);
    too_new.map_or(u64::MAX, |block| (block * BLOCK_MESSAGES).saturating_sub(1))
}

/// The blocks of a chapter, the newest first, without those of which all is too new; searched for by halves, as numbers are given
/// in the order of time.
fn old_enough<'a>(
    shared: &Shared,
    asked: &Asked,
    step: &'a index::Step,
) -> Result<&'a [(u64, u64)], ReadError> {
    let (mut low, mut high) = (0, if step.span.newest < asked.until { 0 } else { step.blocks.len() });
    while low < high {
        let middle = low + (high - low) / 2;
        let messages = match shared.stored(step.blocks[middle].0) {
            // Those that are read one by one say what of them can be had.
            Err(error) if error.is_damage() => break,
            messages => messages?,
        };
        let oldest = messages.values().filter_map(|message| columns::accepted_millis(message)).min();
        if oldest.is_some_and(|oldest| oldest >= asked.until) { low = middle + 1 } else { high = middle }
    }
    Ok(&step.blocks[low..])
}

/// Whether a newer database begins before the time that is asked for.
fn is_too_old(begins: &[Begin], asked: &Asked, at: u64) -> bool {
    begins.iter().any(|begin| begin.block > at / BLOCK_MESSAGES && begin.millis < asked.since)
}

fn step(shared: &Shared, asked: &Asked, at: u64) -> Result<Option<index::Step>, ReadError> {
    let (index, archive) = (&shared.index, &*shared.archive);
    let owner = index::owner(asked.tenant, asked.inbound);
    let step = match asked.destination {
        Some(destination) => index::to_phone(index, archive, owner, destination, at),
        None => index::of_tenant(index, archive, owner, at),
    };
    Ok(step?)
}

/// Adds what is asked for of these places of a block, the newest first.
fn take_block(
    shared: &Shared,
    asked: &Asked,
    block: u64,
    mask: u64,
    page: &mut Page,
) -> Result<(), ReadError> {
    let messages = shared.stored(block)?;
    let mut wanted: Vec<Vec<u8>> = messages
        .into_iter()
        .filter(|(number, bytes)| mask & 1 << place_of(*number) != 0 && asked.may_be(bytes))
        .map(|(_, bytes)| bytes)
        .collect();
    wanted.sort_by_key(|bytes| std::cmp::Reverse(number_of(bytes).map(order_of)));
    page.messages.extend(wanted.into_iter().filter_map(|bytes| asked.read(bytes)));
    Ok(())
}
