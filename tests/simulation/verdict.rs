//! What must hold: the promises of the design, looked for in what the tenants have seen, in the providers' record and on the
//! disk. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use codecs::instant::Wall;
use codecs::receipt::State as ReceiptState;
use engine::id::Permutation;
use engine::message::{Charge, Message, State};
use engine::step::{Step, Verdict};
use engine::submission::Body;

use crate::gateway::{ID_KEY, Living, Opened};
use crate::phones::Text;
use crate::plan::{Event, PRICE};
use crate::provider::{Hub, Received};
use crate::run::Report;
use crate::world::World;

/// SMPP message_state of what a provider does not know either.
const UNKNOWN: u8 = 7;

/// P1, at every start: what was acknowledged is there.
pub fn all_are_found(world: &World, opened: &Opened) -> Result<(), String> {
    let living: BTreeSet<u64> = opened.engine.living().map(|message| message.number).collect();
    let ids = Permutation::new(&ID_KEY);
    let retired = retired(world)?;
    for (phone, seen) in &world.book().seen {
        let Some(id) = seen.id else { continue };
        let number = ids.number(id).ok_or_else(|| format!("P1: {id} of {phone} is no id"))?;
        let is_found = living.contains(&number)
            || retired.contains_key(&number)
            || matches!(opened.history.find(number), Ok(Some(_)));
        if !is_found {
            return Err(format!("P1: {id} for {phone} was acknowledged and is nowhere"));
        }
    }
    texts_are_found(world, opened)
}

/// What phones have written and the gateway has acknowledged wholly.
fn taken_texts(world: &World) -> impl Iterator<Item = Text> + '_ {
    world.hubs.iter().flat_map(|hub| hub.texts()).filter(Text::is_taken)
}

/// P1 of messages from phones: each is its tenant's, once and whole, or is kept for the operator.
fn texts_are_found(world: &World, opened: &Opened) -> Result<(), String> {
    let all = all_messages(world, opened)?;
    let inbound: Vec<&Message> = all.values().filter(|message| message.is_inbound()).collect();
    let kept = opened.engine.summary().kept;
    let kept: Vec<Body<'_>> = kept.iter().filter_map(|(_, entry)| Some(Body::read(entry)?.0)).collect();
    for text in taken_texts(world) {
        let of_phone = inbound.iter().filter(|message| phone(message) == text.phone);
        let found: Vec<(u32, &[u8])> =
            of_phone.map(|message| (message.tenant, message.body().octets)).collect();
        let is_right = match text.tenant {
            Some(tenant) => found == [(tenant as u32, &text.octets[..])],
            None => found.is_empty() && kept.iter().any(|body| body.octets == text.octets),
        };
        if !is_right {
            let (phone, tenant) = (text.phone, text.tenant);
            return Err(format!("P1: what {phone} wrote to {tenant:?} is {} times there", found.len()));
        }
    }
    Ok(())
}

/// A text that its tenant has not heard as it was written.
fn unheard(world: &World) -> Option<String> {
    let book = world.book();
    let is_heard = |text: &Text| {
        let heard = book.heard.get(&text.phone);
        text.tenant.is_none_or(|tenant| heard.is_some_and(|all| all.contains(&(tenant, text.octets.clone()))))
    };
    let text = taken_texts(world).find(|text| !is_heard(text))?;
    Some(format!("P7: tenant {:?} has not heard what {} wrote", text.tenant, text.phone))
}

/// What has not come to its end yet. `living` is what the engine has in memory.
pub fn still_open(world: &World, living: &[Living]) -> Option<String> {
    let is_open = |message: &&Living| !message.is_done;
    if let Some(Living { number, state, .. }) = living.iter().find(is_open) {
        return Some(format!("{number} is {state:?}"));
    }
    let (mut parked, archived) = match (parked(world), archived(world)) {
        (Ok(parked), Ok(archived)) => (parked, archived),
        (Err(error), _) | (_, Err(error)) => return Some(error),
    };
    archived.keys().for_each(|number| drop(parked.remove(number)));
    living.iter().for_each(|message| drop(parked.remove(&message.number)));
    if let Some(message) = parked.values().next() {
        return Some(format!("{} is parked and {:?}", message.number, message.state));
    }
    let book = world.book();
    if let Some(index) = book.todo.iter().position(|todo| !todo.is_empty()) {
        return Some(format!("tenant {index} has {} to submit", book.todo[index].len()));
    }
    if book.unanswered > 0 {
        return Some(format!("{} submissions wait for an answer", book.unanswered));
    }
    for (phone, seen) in &book.seen {
        let Some(id) = seen.id.filter(|_| seen.registered) else { continue };
        let is_told = seen.told.iter().any(|state| is_final(*state));
        if !is_told {
            return Some(format!("{id} for {phone} is not told, only {:?}", seen.told));
        }
    }
    drop(book);
    if let Some(unheard) = unheard(world) {
        return Some(unheard);
    }
    let left: usize = world.hubs.iter().map(|hub| hub.receipts_left()).sum();
    (left > 0).then(|| format!("{left} receipts are not acknowledged"))
}

fn is_final(state: u8) -> bool {
    ReceiptState::from_number(state).is_some_and(|state| state.is_final())
}

/// All messages that there are: parked, in the archive, which knows better, and living, which knows best.
pub fn all_messages(world: &World, opened: &Opened) -> Result<BTreeMap<u64, Message>, String> {
    let mut all = retired(world)?;
    all.extend(parked(world)?);
    all.extend(archived(world)?);
    all.extend(opened.engine.living().map(|message| (message.number, message.clone())));
    Ok(all)
}

/// What has gone with its month.
pub fn retired(world: &World) -> Result<BTreeMap<u64, Message>, String> {
    stored(world.disk.lock().months.retired())
}

fn archived(world: &World) -> Result<BTreeMap<u64, Message>, String> {
    stored(world.disk.lock().months.blocks())
}

fn parked(world: &World) -> Result<BTreeMap<u64, Message>, String> {
    stored(world.disk.parked().into_iter().map(|messages| (messages, Vec::new())).collect())
}

/// The messages of blocks and their amendments.
fn stored(blocks: Vec<(Vec<u8>, Vec<u8>)>) -> Result<BTreeMap<u64, Message>, String> {
    let mut all = BTreeMap::new();
    for (block, amendment) in blocks {
        let messages = tidegate::history::messages(&block, &amendment);
        for (number, bytes) in messages.map_err(|error| error.to_string())? {
            let message = Message::read(bytes).ok_or_else(|| format!("{number} cannot be read"))?;
            all.insert(number, message);
        }
    }
    Ok(all)
}

/// The end of a run.
pub fn judge(world: &World, opened: &Opened, report: &mut Report) -> Result<(), String> {
    all_are_found(world, opened)?;
    let all = all_messages(world, opened)?;
    let by_phone: BTreeMap<u64, &Message> =
        all.values().map(|message| (message.body().destination, message)).collect();
    if by_phone.len() != all.len() {
        return Err("P2: a submission has become two messages".to_owned());
    }
    report.messages = all.len() as u64;
    report.acknowledged = world.book().seen.values().filter(|seen| seen.id.is_some()).count() as u64;
    states_are_lawful(&all)?;
    tenants_know(world, &by_phone)?;
    money_is_conserved(opened, &all)?;
    report.doubled = doubles_show_a_doubt(world, &by_phone)?;
    receipts_found_their_messages(world, &by_phone)?;
    cancelled_stays_cancelled(world, &by_phone)?;
    replaced_stays_replaced(world, &by_phone)?;
    bounced_is_with_nobody(world, &by_phone)?;
    who_is_asked_is_heard(world, &by_phone)?;
    nothing_is_in_doubt_for_nothing(world, &by_phone)?;
    turns_were_taken(world, &by_phone)?;
    unheard(world).map_or(Ok(()), Err)
}

/// After the calm every message is at an end: operators have let go of what was held.
fn states_are_lawful(all: &BTreeMap<u64, Message>) -> Result<(), String> {
    match all.values().find(|message| !message.is_final()) {
        Some(message) => Err(format!("{} for {} is {:?}", message.number, phone(message), message.state)),
        None => Ok(()),
    }
}

fn phone(message: &Message) -> u64 {
    message.body().destination
}

/// P7: who wants receipts has them, and the last one says what is so.
fn tenants_know(world: &World, by_phone: &BTreeMap<u64, &Message>) -> Result<(), String> {
    for (phone, seen) in &world.book().seen {
        if seen.refused && by_phone.contains_key(phone) {
            return Err(format!("{phone} was refused and is a message"));
        }
        let (Some(message), true) = (by_phone.get(phone), seen.id.is_some() && seen.registered) else {
            continue;
        };
        let state = message.state.receipt_state() as u8;
        if !seen.told.contains(&state) {
            return Err(format!(
                "P7: {phone} is {:?}, and its tenant was told {:?}",
                message.state, seen.told
            ));
        }
    }
    Ok(())
}

/// P3: the books add up, and what was spent is what the messages were charged.
fn money_is_conserved(opened: &Opened, all: &BTreeMap<u64, Message>) -> Result<(), String> {
    let (mut settled, mut reserved) = (BTreeMap::<u32, i64>::new(), BTreeMap::<u32, i64>::new());
    for message in all.values() {
        let price = if message.is_inbound() { 0 } else { i64::from(message.parts()) * PRICE };
        if message.price.0 != price {
            return Err(format!("P3: {} costs {:?} and not {price}", message.number, message.price));
        }
        match message.charge {
            Charge::Settled(charged) => *settled.entry(message.tenant).or_default() += charged.0,
            Charge::Reserved => *reserved.entry(message.tenant).or_default() += price,
            Charge::Released => {}
        }
    }
    for (tenant, wallet) in opened.engine.summary().wallets {
        let of = |sums: &BTreeMap<u32, i64>| sums.get(&tenant).copied().unwrap_or(0);
        if !wallet.holds() || wallet.settled().0 != of(&settled) || wallet.reserved().0 != of(&reserved) {
            let (settled, reserved) = (of(&settled), of(&reserved));
            return Err(format!(
                "P3: tenant {tenant}: settled {settled}, reserved {reserved}, but {wallet:?}"
            ));
        }
    }
    Ok(())
}

/// P2: what a provider took twice shows a doubt, and nothing reaches one without an intent on disk.
fn doubles_show_a_doubt(world: &World, by_phone: &BTreeMap<u64, &Message>) -> Result<u64, String> {
    let mut taken = BTreeMap::<(u64, u8), u64>::new();
    for hub in &world.hubs {
        for received in hub.record() {
            if !by_phone.contains_key(&received.phone) {
                return Err(format!("P2: {} has {}, which nobody knows", hub.plan.id, received.phone));
            }
            *taken.entry((received.phone, received.part)).or_default() += u64::from(received.taken);
        }
    }
    let mut doubled = 0;
    for ((phone, part), _) in taken.into_iter().filter(|(_, count)| *count > 1) {
        doubled += 1;
        if !by_phone[&phone].was_in_doubt() {
            return Err(format!(
                "P2: {phone}/{part} was taken twice without a doubt: {}",
                story(by_phone[&phone])
            ));
        }
    }
    Ok(doubled)
}

/// P4: a receipt that was acknowledged, for an id that a response has brought, is in its message's story, or the message was
/// at an end already.
fn receipts_found_their_messages(world: &World, by_phone: &BTreeMap<u64, &Message>) -> Result<(), String> {
    for hub in &world.hubs {
        for received in hub.record() {
            let message = by_phone[&received.phone];
            let is_known = |(_, step): (_, Step<'_>)| {
                matches!(step, Step::Response { verdict: Verdict::Accepted, part, id, .. }
                    if part == received.part && id == received.id.as_bytes())
            };
            // One that comes after the end of the wait is late news, which may find its message in the archive only while the
            // process lives that put it there.
            let in_time = |(at, _): &&(Wall, u8)| ended(world, message).is_none_or(|ended| *at < ended);
            let Some((at, state)) = received.acknowledged.iter().find(in_time) else { continue };
            let has_receipt = |(_, step): (_, Step<'_>)| matches!(step, Step::Receipt { part, .. } if part == received.part);
            if message.steps().any(is_known) && !message.steps().any(has_receipt) {
                let (id, part) = (&received.id, received.part);
                let story = story(message);
                return Err(format!(
                    "P4: the receipt of {id} for {}/{part}, {state} at {}, is lost: {story}",
                    received.phone,
                    at.0 - message.accepted_at.0,
                ));
            }
        }
    }
    Ok(())
}

/// P1 and P2 of another answer: who was told that a message is cancelled finds it so, and no provider has it.
fn cancelled_stays_cancelled(world: &World, by_phone: &BTreeMap<u64, &Message>) -> Result<(), String> {
    for phone in &world.book().cancelled {
        let message = by_phone[phone];
        let is_taken = |hub: &Arc<Hub>| hub.record().iter().any(|one| one.phone == *phone && one.taken);
        if message.state != State::Cancelled || world.hubs.iter().any(is_taken) {
            return Err(format!("P1: {phone} was cancelled: {}", story(message)));
        }
    }
    Ok(())
}

/// P1 of another text: who was told that a message has it finds it so. (What it costs is P3's.)
fn replaced_stays_replaced(world: &World, by_phone: &BTreeMap<u64, &Message>) -> Result<(), String> {
    for (phone, text) in &world.book().replaced {
        let message = by_phone[phone];
        if message.body().octets != text || usize::from(message.parts()) != text.len().div_ceil(153) {
            return Err(format!("P1: {phone} was given another text: {}", story(message)));
        }
    }
    Ok(())
}

/// What an operator has cancelled costs nothing, and no provider has it.
fn bounced_is_with_nobody(world: &World, by_phone: &BTreeMap<u64, &Message>) -> Result<(), String> {
    let is_bounced =
        |message: &&&Message| message.steps().any(|(_, step)| matches!(step, Step::Bounced { .. }));
    for message in by_phone.values().filter(is_bounced) {
        let is_taken =
            |hub: &Arc<Hub>| hub.record().iter().any(|one| one.phone == phone(message) && one.taken);
        let is_free = message.state == State::Cancelled && message.charge == Charge::Released;
        if !is_free || world.hubs.iter().any(is_taken) {
            return Err(format!("surgery: {} was bounced: {}", phone(message), story(message)));
        }
    }
    Ok(())
}

/// P4: what a provider says when it is asked counts like a receipt: where it would have said so, no message ends unknown.
fn who_is_asked_is_heard(world: &World, by_phone: &BTreeMap<u64, &Message>) -> Result<(), String> {
    for hub in world.hubs.iter().filter(|hub| hub.plan.query_after.is_some() && !world.plan.jumps()) {
        // What has its id with others is not asked about.
        let is_asked = |one: &&Received| one.taken && !one.is_shared && one.fate != UNKNOWN;
        for received in hub.record().iter().filter(is_asked) {
            let message = by_phone[&received.phone];
            let is_its_own = |(_, step): (_, Step<'_>)| {
                matches!(step, Step::Response { verdict: Verdict::Accepted, part, id, .. }
                    if part == received.part && id == received.id.as_bytes())
            };
            let waited_in_vain = message.state == State::Unknown
                && message.steps().any(|(_, step)| matches!(step, Step::Unknown))
                && message.parts() == 1;
            if waited_in_vain && message.steps().any(is_its_own) {
                let (phone, story) = (received.phone, story(message));
                return Err(format!("P4: {phone} is unknown, and nobody heard {}: {story}", received.fate));
            }
        }
    }
    Ok(())
}

/// Where no line breaks, every provider answers and every process may end in its own time, nothing is ever in doubt.
fn nothing_is_in_doubt_for_nothing(world: &World, by_phone: &BTreeMap<u64, &Message>) -> Result<(), String> {
    if !world.plan.is_gentle {
        return Ok(());
    }
    match by_phone.values().find(|message| message.was_in_doubt()) {
        Some(message) => Err(format!("P2: {} is in doubt for nothing: {}", phone(message), story(message))),
        None => Ok(()),
    }
}

/// When something else than a receipt has ended it. Where the clock has jumped, times of day say nothing.
fn ended(world: &World, message: &Message) -> Option<Wall> {
    let jumps = world.plan.events.iter().any(|(_, event)| matches!(event, Event::Jump(_)));
    let ends = |(at, step): (Wall, Step<'_>)| match step {
        Step::Unknown if jumps => Some(Wall(i64::MIN)),
        Step::Unknown => Some(at),
        Step::Failed { .. } | Step::Expired | Step::Cancelled | Step::Held { .. } => Some(Wall(i64::MIN)),
        Step::Response { verdict: Verdict::Refused, .. } => Some(Wall(i64::MIN)),
        _ => None,
    };
    message.steps().find_map(ends)
}

/// P5, where it can be seen: tenants of one priority, one provider and no faults. Between the acknowledgement of a message and
/// its arrival at the provider no other tenant gets more than a round for each of its own that went before it.
fn turns_were_taken(world: &World, by_phone: &BTreeMap<u64, &Message>) -> Result<(), String> {
    const QUANTUM: usize = engine::fair_queue::QUANTUM_PARTS as usize;
    if !world.plan.is_fair {
        return Ok(());
    }
    let record = world.hubs[0].record();
    let book = world.book();
    for (place, received) in record.iter().enumerate() {
        let seen = &book.seen[&received.phone];
        let tenant = by_phone[&received.phone].tenant;
        let Some(acked) = seen.acked_at else { continue };
        // What was on its way to the provider by then could not wait for it.
        let since = acked + Duration::from_millis(world.plan.delay_max * 2);
        let between = record[..place].iter().filter(|earlier| earlier.at > since);
        let (own, others): (Vec<_>, Vec<_>) =
            between.partition(|earlier| by_phone[&earlier.phone].tenant == tenant);
        let mut of_each = BTreeMap::<u32, usize>::new();
        others.iter().for_each(|other| *of_each.entry(by_phone[&other.phone].tenant).or_default() += 1);
        let rounds = own.len() / QUANTUM + 2;
        let most = rounds * QUANTUM + world.hubs[0].plan.window as usize;
        if let Some((other, count)) = of_each.into_iter().find(|(_, count)| *count > most) {
            let phone = received.phone;
            return Err(format!("P5: {phone} of {tenant} waited for {count} of {other}, more than {most}"));
        }
    }
    Ok(())
}

/// The steps of a message, for a failure.
fn story(message: &Message) -> String {
    let steps = message.steps().map(|(at, step)| format!("{} {step:?}", at.0 - message.accepted_at.0));
    format!("{:?} [{}]", message.state, steps.collect::<Vec<_>>().join(", "))
}
