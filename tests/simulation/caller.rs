//! The simulated tenants over HTTP: they submit with keys and ask again until they know, look at what they were told is there,
//! and cancel. What they see must agree with what they were told before.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use engine::id::Permutation;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::dice::Dice;
use crate::gateway::ID_KEY;
use crate::http::{Answer, Asked, ask};
use crate::plan::{CAMPAIGNS, TenantPlan, campaign};
use crate::verdict;
use crate::world::{World, pass, wall};

/// Refusals of what may be sent again.
const NOT_NOW: [&str; 4] = ["rate_limited", "queue_full", "unavailable", "conflict"];
const PAGE: usize = 7;
/// A list of so many pages never ends.
const PAGES_MAX: usize = 1_000;
const FINAL: [&str; 6] = ["delivered", "failed", "rejected", "expired", "cancelled", "unknown"];

pub struct Caller {
    world: Arc<World>,
    tenant: usize,
    plan: TenantPlan,
    name: String,
    dice: Dice,
    count: u64,
}

/// One request of a tenant after the other, to the end of the run.
pub async fn run(world: Arc<World>, tenant: usize, number: u32, seed: u64) {
    let plan = world.plan.tenants[tenant].clone();
    let name = format!("{}.http{number}", plan.id);
    let mut caller = Caller { world, tenant, plan, name, dice: Dice::new(seed), count: 0 };
    loop {
        let has_more = !caller.world.book().todo[tenant].is_empty();
        let most = match caller.world.is_calm() {
            true if has_more => 500,
            true => 60_000,
            false => caller.plan.pause_max.max(200),
        };
        pass(Duration::from_millis(caller.dice.in_range(10..most * 2))).await;
        match caller.dice.in_range(0..20) {
            0 => caller.list().await,
            1..6 => caller.look().await,
            _ => caller.submit().await,
        }
    }
}

/// A tenant cancels one of its messages, and remembers when it is told that it is.
pub async fn cancel(world: Arc<World>, phone: u64, id: u64, tenant: usize, seed: u64) {
    let asked = Asked { method: Method::DELETE, ..Asked::get(format!("/v1/messages/{id}")) };
    let key = world.plan.tenants[tenant].key();
    let answer = ask(&world, &mut Dice::new(seed), &key, &asked).await;
    let status = answer.as_ref().map(|answer| (answer.status, answer.body["status"].as_str().unwrap_or("")));
    world.note(format_args!("cancelling {phone}: {status:?}"));
    match status {
        Some((200, "cancelled")) => {
            let mut book = world.book();
            book.cancelled.insert(phone);
            book.tally.cancelled += 1;
        }
        None | Some((409 | 503, _)) => {}
        other => world.fail(format!("cancelling {phone} is answered {other:?}")),
    }
}

impl Caller {
    async fn ask(&mut self, asked: &Asked) -> Option<Answer> {
        let answer = ask(&self.world, &mut self.dice, &self.plan.key(), asked).await;
        let heard = answer.as_ref().map(|answer| (answer.status, answer.code().to_owned()));
        let key = asked.idempotency.as_deref().unwrap_or("");
        self.world.note(format_args!("{} {} {} {key}: {heard:?}", self.name, asked.method, asked.path));
        answer
    }

    /// Takes some of what is to be submitted, and with a key does not rest before it is known what became of it.
    async fn submit(&mut self) {
        let most = if self.dice.happens(30) { self.dice.in_range(2..6) as usize } else { 1 };
        let phones: Vec<u64> = {
            let mut book = self.world.book();
            let todo = &mut book.todo[self.tenant];
            let phones: Vec<u64> = todo.drain(..most.min(todo.len())).collect();
            for phone in &phones {
                let seen = book.seen.entry(*phone).or_default();
                // Nobody is told over SMPP of what came over HTTP.
                (seen.tenant, seen.registered, seen.campaign) = (self.tenant, false, campaign(*phone));
            }
            phones
        };
        if phones.is_empty() {
            return;
        }
        self.count += 1;
        let key = self.dice.happens(85).then(|| format!("{}-{}", self.name, self.count));
        let asked = Asked { idempotency: key, ..Asked::post("/v1/messages", &self.body(&phones)) };
        self.world.note(format_args!("{} submits {phones:?}", self.name));
        self.world.book().unanswered += 1;
        let is_known = self.ask_until_known(&asked, &phones).await;
        self.world.book().unanswered -= 1;
        if is_known && asked.idempotency.is_some() {
            self.ask_again(&asked, &phones).await;
        }
        if is_known && self.dice.happens(50) {
            let (phone, is_cancelled) = (phones[0], self.dice.happens(25));
            self.look_at(phone).await;
            let id = self.world.book().seen[&phone].id;
            if let Some(id) = id.filter(|_| is_cancelled) {
                let seed = self.dice.word();
                cancel(Arc::clone(&self.world), phone, id, self.tenant, seed).await;
            }
        }
    }

    fn body(&mut self, phones: &[u64]) -> Value {
        let mut messages: Vec<Value> = phones.iter().map(|phone| self.message(*phone)).collect();
        if messages.len() == 1 && self.dice.happens(80) {
            return messages.remove(0);
        }
        json!({"messages": messages})
    }

    fn message(&mut self, phone: u64) -> Value {
        let text = match self.dice.happens(10) {
            true => "long text ".repeat(22),
            false => self.world.plan.text(phone),
        };
        let mut message = json!({
            "to": format!("+{phone}"), "from": "12345", "text": text, "receipt": !phone.is_multiple_of(10),
            "campaign": campaign(phone), "priority": self.dice.choose(&["low", "normal", "high"]),
        });
        if self.world.plan.is_alike() && self.dice.happens(70) {
            message["priority"] = json!("normal");
        }
        if self.dice.happens(10) {
            message["validity"] = json!(self.dice.in_range(5..200));
        }
        if self.dice.happens(10) {
            let later = Duration::from_secs(self.dice.in_range(1..400));
            message["send_at"] = json!(codecs::time::rfc3339_string(wall().after(later)));
        }
        message
    }

    /// False where nobody will ever know: without a key it cannot be asked again.
    async fn ask_until_known(&mut self, asked: &Asked, phones: &[u64]) -> bool {
        loop {
            match self.ask(asked).await {
                Some(answer) if answer.status == 202 => {
                    self.accepted(&answer, phones);
                    return true;
                }
                Some(answer) if NOT_NOW.contains(&answer.code()) => {}
                Some(answer) => {
                    self.refused(&answer, phones);
                    return true;
                }
                None if asked.idempotency.is_none() => return false,
                None => {}
            }
            pass(Duration::from_millis(self.dice.in_range(100..3_000))).await;
        }
    }

    fn accepted(&mut self, answer: &Answer, phones: &[u64]) {
        let entries = match answer.body["data"].as_array() {
            Some(entries) => &entries[..],
            None => std::slice::from_ref(&answer.body),
        };
        if entries.len() != phones.len() {
            return self.world.fail(format!("{}: {} answers to {phones:?}", self.name, entries.len()));
        }
        let mut book = self.world.book();
        book.tally.accepted += 1;
        for (phone, entry) in phones.iter().zip(entries) {
            let seen = book.seen.entry(*phone).or_default();
            let id = entry["id"].as_str().and_then(|id| id.parse::<u64>().ok());
            match (id, seen.id) {
                (Some(id), None) => (seen.id, seen.acked_at) = (Some(id), Some(Instant::now())),
                (None, None) if NOT_NOW.contains(&entry["code"].as_str().unwrap_or_default()) => {
                    book.todo[self.tenant].push_back(*phone);
                }
                (None, None) => seen.refused = true,
                (id, known) if id == known => {}
                (id, known) => self.world.fail(format!("P2: {phone} was {known:?} and is {id:?}")),
            }
        }
    }

    fn refused(&self, answer: &Answer, phones: &[u64]) {
        let mut book = self.world.book();
        for phone in phones {
            let seen = book.seen.entry(*phone).or_default();
            seen.refused = true;
            if answer.code() == "idempotency_mismatch" || seen.id.is_some() {
                self.world.fail(format!("P2: {phone} is {:?} and refused: {}", seen.id, answer.body));
            }
        }
    }

    /// The same under the same key gives the same, and something else gives nothing.
    async fn ask_again(&mut self, asked: &Asked, phones: &[u64]) {
        let has_any = phones.iter().any(|phone| self.world.book().seen[phone].id.is_some());
        if has_any && self.dice.happens(20) {
            match self.ask(asked).await {
                Some(answer) if answer.status == 202 => {
                    let open: Vec<u64> = self.world.book().todo[self.tenant].iter().copied().collect();
                    self.is_the_same(&answer, phones, &open);
                }
                Some(answer) if !NOT_NOW.contains(&answer.code()) => self.refused(&answer, phones),
                _ => {}
            }
        }
        if has_any && self.dice.happens(10) {
            let body = json!({"to": "+254799999999", "text": "something else"}).to_string();
            let answer = self.ask(&Asked { body, ..asked.clone() }).await;
            match answer.as_ref().map(|answer| (answer.status, answer.code())) {
                Some((_, "idempotency_mismatch")) => self.world.book().tally.mismatched += 1,
                None => {}
                Some((_, code)) if NOT_NOW.contains(&code) => {}
                other => self.world.fail(format!("P2: another body under a used key is {other:?}")),
            }
        }
    }

    fn is_the_same(&mut self, answer: &Answer, phones: &[u64], open: &[u64]) {
        if !answer.is_replayed {
            return self.world.fail(format!("P2: {phones:?} are answered again and it is not said"));
        }
        let entries = match answer.body["data"].as_array() {
            Some(entries) => &entries[..],
            None => std::slice::from_ref(&answer.body),
        };
        let mut book = self.world.book();
        book.tally.replayed += 1;
        for (phone, entry) in phones.iter().zip(entries).filter(|(phone, _)| !open.contains(phone)) {
            let id = entry["id"].as_str().and_then(|id| id.parse::<u64>().ok());
            // What was refused then may have been accepted since, under another key.
            if id.is_some() && id != book.seen[phone].id {
                let known = book.seen[phone].id;
                return self.world.fail(format!("P2: {phone} was {known:?} and is answered {id:?}"));
            }
        }
    }

    /// Looks at one of the tenant's messages.
    async fn look(&mut self) {
        let phones: Vec<u64> = {
            let book = self.world.book();
            let known = book.seen.iter().filter(|(_, seen)| seen.tenant == self.tenant && seen.id.is_some());
            known.map(|(phone, _)| *phone).collect()
        };
        if !phones.is_empty() {
            let phone = self.dice.choose(&phones);
            self.look_at(phone).await;
        }
    }

    /// What was accepted is there for its tenant, and what it was told is final is so.
    async fn look_at(&mut self, phone: u64) {
        let (id, told) = {
            let book = self.world.book();
            let seen = &book.seen[&phone];
            let Some(id) = seen.id else { return };
            (id, seen.told.iter().any(|state| matches!(*state, 2 | 3 | 5 | 8)))
        };
        let Some(answer) = self.ask(&Asked::get(format!("/v1/messages/{id}"))).await else { return };
        let (to, status) = (answer.body["to"].as_str(), answer.body["status"].as_str().unwrap_or_default());
        match answer.status {
            200 if to != Some(&format!("+{phone}")) => {
                self.world.fail(format!("P1: {id} is for {to:?} and not for {phone}"));
            }
            200 if told && !FINAL.contains(&status) => {
                self.world.fail(format!("P7: {phone} was told to be at its end and is {status}"));
            }
            200 => self.world.book().tally.read += 1,
            404 if self.is_retired(id) => {}
            503 if !answer.body["detail"].as_str().is_some_and(|detail| detail.contains("does not have")) => {
            }
            _ => self.world.fail(format!("P1: {id} for {phone} is not found: {}", answer.body)),
        }
    }

    /// All pages of a list have each message once that was accepted before, and nothing of anybody else's.
    async fn list(&mut self) {
        let (mut expected, which) = self.expected();
        let (mut found, mut cursor) = (BTreeSet::new(), String::new());
        for _ in 0..PAGES_MAX {
            let path = format!("/v1/messages?limit={PAGE}{which}{cursor}");
            let Some(page) = self.ask(&Asked::get(path)).await.filter(|page| page.status == 200) else {
                return;
            };
            for message in page.body["data"].as_array().into_iter().flatten() {
                let id = message["id"].as_str().and_then(|id| id.parse::<u64>().ok()).unwrap_or_default();
                expected.remove(&id);
                if !found.insert(id) {
                    return self.world.fail(format!("P1: {}: {id} is twice in a list", self.name));
                }
                self.is_its_own(message);
            }
            let Some(next) = page.body["next"].as_str() else {
                expected.retain(|id| !self.is_retired(*id));
                if let Some(id) = expected.pop_first() {
                    self.world.fail(format!("P1: {}: {id} is in no list, {which}", self.name));
                }
                self.world.book().tally.listed += 1;
                return;
            };
            cursor = format!("&cursor={next}");
        }
        self.world.fail(format!("{}: a list does not end", self.name));
    }

    /// What a list must have: all of the tenant's, those to one phone, or those of a campaign; and the query for it.
    fn expected(&mut self) -> (BTreeSet<u64>, String) {
        let book = self.world.book();
        let known = book.seen.iter().filter(|(_, seen)| seen.tenant == self.tenant);
        let known: Vec<(u64, u64, Option<&str>)> =
            known.filter_map(|(phone, seen)| Some((*phone, seen.id?, seen.campaign))).collect();
        drop(book);
        let phone = match known.is_empty() || self.dice.happens(50) {
            true => None,
            false => Some(self.dice.choose(&known).0),
        };
        let campaign = (phone.is_none() && self.dice.happens(50)).then(|| self.dice.choose(&CAMPAIGNS));
        let wanted = known.into_iter().filter(|(to, _, of)| {
            phone.is_none_or(|phone| phone == *to) && campaign.is_none_or(|campaign| *of == Some(campaign))
        });
        let of_phone = phone.map(|phone| format!("&to=%2B{phone}"));
        let of_campaign = campaign.map(|campaign| format!("&campaign={campaign}"));
        (wanted.map(|(_, id, _)| id).collect(), of_phone.or(of_campaign).unwrap_or_default())
    }

    /// It has gone with its month.
    fn is_retired(&self, id: u64) -> bool {
        let number = Permutation::new(&ID_KEY).number(id);
        let retired = verdict::retired(&self.world).unwrap_or_default();
        number.is_some_and(|number| retired.contains_key(&number))
    }

    fn is_its_own(&self, message: &Value) {
        let to = message["to"].as_str().and_then(|to| to.strip_prefix('+')?.parse::<u64>().ok());
        let owner = to.and_then(|to| self.world.book().seen.get(&to).map(|seen| seen.tenant));
        if owner != Some(self.tenant) {
            self.world.fail(format!("{} is shown {message}", self.name));
        }
    }
}
