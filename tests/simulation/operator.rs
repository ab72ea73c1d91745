//! The simulated operators: what they order of queues over HTTP, and what they were told holds since. They judge nothing but
//! their answers.

use std::sync::Arc;
use std::time::Duration;

use codecs::instant::Wall;
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::http::{ADMINISTRATOR, Answer, Asked, ask};
use crate::plan::CAMPAIGNS;
use crate::world::{Seen, World, wall};

/// An order is given so often until it is answered; kills and lines take some.
const TRIES: usize = 3;

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Suspend,
    /// Everything, until it is resumed.
    SuspendAll,
    Resume,
    Bounce,
    Move,
    Disable,
    Enable,
    List,
    Ledger,
    Doubts,
}

/// What a rule does not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stops {
    All,
    /// What no provider may have any of.
    Untried,
}

/// A rule of which an operator was told that it holds.
#[derive(Clone, Debug)]
pub struct Rule {
    number: u64,
    pub stops: Stops,
    which: Which,
    until: Option<Wall>,
    /// Somebody has asked to end it.
    ended: bool,
}

#[derive(Clone, Debug, Default)]
struct Which {
    tenant: Option<usize>,
    provider: Option<String>,
    prefix: Option<String>,
    campaign: Option<&'static str>,
    before: Option<Wall>,
    since: Option<Wall>,
}

/// A message as a rule looks at it.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    pub tenant: &'a str,
    pub provider: &'a str,
    pub phone: u64,
    pub campaign: Option<&'a str>,
    pub accepted: Wall,
}

impl Rule {
    /// Whether it stops a message, now and for certain: times are given a second.
    pub fn stops(&self, world: &World, subject: &Subject<'_>) -> bool {
        let Which { tenant, provider, prefix, campaign, before, since } = &self.which;
        let is_timed = before.is_some() || since.is_some() || self.until.is_some();
        if self.ended || (is_timed && world.plan.jumps()) {
            return false;
        }
        self.until.is_none_or(|until| wall().after(Duration::from_secs(1)) < until)
            && tenant.is_none_or(|tenant| world.plan.tenants[tenant].id == subject.tenant)
            && provider.as_ref().is_none_or(|provider| provider == subject.provider)
            && prefix.as_ref().is_none_or(|prefix| subject.phone.to_string().starts_with(prefix))
            && campaign.is_none_or(|campaign| subject.campaign == Some(campaign))
            && before.is_none_or(|before| subject.accepted.after(Duration::from_secs(1)) < before)
            && since.is_none_or(|since| subject.accepted > since.after(Duration::from_secs(1)))
    }
}

/// Draws which messages are meant, and says it in an order's words.
fn draw(world: &World, dice: &mut Dice, body: &mut Value) -> Which {
    let mut which = Which::default();
    let tenant = dice.in_range(0..world.plan.tenants.len() as u64) as usize;
    let provider = &world.plan.providers[dice.in_range(0..world.plan.providers.len() as u64) as usize].id;
    let age = Duration::from_secs(dice.choose(&[2, 10, 30]));
    match dice.in_range(0..13) {
        0 => which.provider = Some(provider.clone()),
        1 => which.prefix = Some(format!("2547{tenant:02}0000{}", dice.in_range(0..6))),
        2 => which.before = Some(Wall(wall().0 - age.as_millis() as i64)),
        3 => which.since = Some(Wall(wall().0 - age.as_millis() as i64)),
        4 => (which.tenant, which.provider) = (Some(tenant), Some(provider.clone())),
        5 => which.tenant = Some(tenant),
        6..10 => {
            // What is submitted over SMPP has no campaign.
            let speaks_http = world.plan.tenants.iter().position(|tenant| tenant.callers > 0);
            (which.tenant, which.campaign) = (speaks_http.or(Some(tenant)), Some(dice.choose(&CAMPAIGNS)));
        }
        _ => body["all"] = json!(true),
    }
    body["tenant"] = json!(which.tenant.map(|tenant| &world.plan.tenants[tenant].id));
    body["provider"] = json!(which.provider);
    body["prefix"] = json!(which.prefix);
    body["campaign"] = json!(which.campaign);
    body["older_than"] = json!(which.before.map(|_| format!("{}s", age.as_secs())));
    body["newer_than"] = json!(which.since.map(|_| format!("{}s", age.as_secs())));
    which
}

/// Gives one order of a kind, and remembers what is told of it.
pub async fn operate(world: Arc<World>, kind: Kind, seed: u64) {
    let mut dice = Dice::new(seed);
    let provider =
        world.plan.providers[dice.in_range(0..world.plan.providers.len() as u64) as usize].id.clone();
    let lasts = dice.choose(&[None, Some(2), Some(20), Some(60)]).map(Duration::from_secs);
    let until = lasts.map(|lasts| wall().after(lasts));
    let lasts_word = lasts.map_or("ever".to_owned(), |lasts| format!("{}s", lasts.as_secs()));
    let mut body = json!({"reason": "simulated"});
    match kind {
        Kind::Suspend => {
            body["for"] = json!(lasts_word);
            let which = draw(&world, &mut dice, &mut body);
            made(&world, &mut dice, "/v1/ops/queue/suspend", &body, Stops::All, which, until).await;
        }
        Kind::SuspendAll => {
            (body["for"], body["all"]) = (json!("ever"), json!(true));
            let which = Which::default();
            made(&world, &mut dice, "/v1/ops/queue/suspend", &body, Stops::All, which, None).await;
        }
        Kind::Bounce => {
            body["for"] = json!(lasts.map(|_| lasts_word));
            let which = draw(&world, &mut dice, &mut body);
            made(&world, &mut dice, "/v1/ops/queue/bounce", &body, Stops::Untried, which, until).await;
        }
        Kind::Disable => {
            body["for"] = json!(lasts_word);
            let which = Which { provider: Some(provider.clone()), ..Which::default() };
            let path = format!("/v1/ops/providers/{provider}/disable");
            made(&world, &mut dice, &path, &body, Stops::All, which, until).await;
        }
        Kind::Enable => enable(&world, &mut dice, &provider).await,
        Kind::Move => {
            (body["to"], body["for"]) = (json!(provider), json!(lasts.map(|_| lasts_word)));
            draw(&world, &mut dice, &mut body);
            if let Some(answer) = order(&world, &mut dice, "/v1/ops/queue/move", &body).await {
                world.book().tally.moved += answer.body["messages"].as_u64().unwrap_or(0);
            }
        }
        Kind::Resume => resume(&world, &mut dice, false).await,
        Kind::List => list(&world, &mut dice).await,
        Kind::Ledger => {
            let answer = asked(&world, &mut dice, "/v1/ops/ledger").await;
            if let Some(answer) = answer.filter(|answer| answer.body["holds"] != json!(true)) {
                world.fail(format!("P3: the ledger does not hold: {}", answer.body));
            }
        }
        Kind::Doubts => resolve(&world, &mut dice).await,
    }
}

/// Ends every rule and every doubt, as far as it is heard.
pub async fn settle(world: Arc<World>, seed: u64) {
    let mut dice = Dice::new(seed);
    resume(&world, &mut dice, true).await;
    for provider in &world.plan.providers {
        enable(&world, &mut dice, &provider.id).await;
    }
    resolve(&world, &mut dice).await;
    asked(&world, &mut dice, "/v1/ops/queue").await;
    asked(&world, &mut dice, "/v1/ops/providers").await;
}

/// Looks at all that waits, and at how much of it is of a campaign.
async fn list(world: &World, dice: &mut Dice) {
    asked(world, dice, "/v1/ops/queue").await;
    let place = dice.in_range(0..world.plan.tenants.len() as u64) as usize;
    let (tenant, campaign) = (&world.plan.tenants[place].id, dice.choose(&CAMPAIGNS));
    let path = format!("/v1/ops/queue?tenant={tenant}&campaign={campaign}");
    let Some(answer) = asked(world, dice, &path).await else { return };
    let of_it = |seen: &&Seen| seen.tenant == place && seen.campaign == Some(campaign);
    let most = world.book().seen.values().filter(of_it).count() as u64;
    let total = &answer.body["total"];
    let waits =
        ["waiting", "scheduled", "sending", "in_doubt"].map(|name| total[name].as_u64().unwrap_or(u64::MAX));
    if waits.iter().fold(0, |sum: u64, some| sum.saturating_add(*some)) > most {
        world.fail(format!("surgery: {campaign} has no more than {most} messages: {total}"));
    }
}

async fn asked(world: &World, dice: &mut Dice, path: &str) -> Option<Answer> {
    let answer = ask(world, dice, ADMINISTRATOR, &Asked::get(path.to_owned())).await;
    let status = answer.as_ref().map(|answer| answer.status);
    let body = answer.as_ref().map(|answer| answer.body.to_string());
    world.note(format_args!("an operator asks {path}: {status:?} {body:?}"));
    match status {
        None | Some(200 | 503) => {}
        _ => world.fail(format!("an operator asks {path} and is told {answer:?}")),
    }
    answer.filter(|answer| answer.status == 200)
}

/// What was done; nothing where it was refused, or is not known.
async fn order(world: &World, dice: &mut Dice, path: &str, body: &Value) -> Option<Answer> {
    for _ in 0..TRIES {
        let answer = ask(world, dice, ADMINISTRATOR, &Asked::post(path, body)).await;
        world.note(format_args!("an operator orders {path} {body}: {answer:?}"));
        let Some(answer) = answer else { continue };
        return match answer.status {
            200 => Some(answer),
            404 | 409 | 503 => None,
            400 if path.ends_with("move") => None,
            // The door's clock may have jumped, and the engine doubt it.
            400 if world.plan.jumps() => None,
            _ => {
                world.fail(format!("an operator orders {path} {body} and is told {answer:?}"));
                None
            }
        };
    }
    None
}

async fn made(
    world: &World,
    dice: &mut Dice,
    path: &str,
    body: &Value,
    stops: Stops,
    which: Which,
    until: Option<Wall>,
) {
    let (endings, is_ending) = {
        let book = world.book();
        (book.endings, book.ending > 0)
    };
    let Some(answer) = order(world, dice, path, body).await else { return };
    let mut book = world.book();
    // Whoever ends rules meanwhile may have ended this one.
    let ended = is_ending || book.endings != endings;
    if stops == Stops::Untried {
        book.tally.bounced += answer.body["messages"].as_u64().unwrap_or(0);
    }
    let numbers = answer.body["rules"].as_array().into_iter().flatten();
    for number in numbers.filter_map(Value::as_u64) {
        book.tally.rules += 1;
        book.rules.push(Rule { number, stops, which: which.clone(), until, ended });
    }
}

/// Somebody is about to end these.
fn end(world: &World, is_meant: impl Fn(&Rule) -> bool) {
    let mut book = world.book();
    book.endings += 1;
    book.ending += 1;
    book.rules.iter_mut().for_each(|rule| rule.ended |= is_meant(rule));
}

async fn enable(world: &World, dice: &mut Dice, provider: &str) {
    end(world, |rule| rule.which.provider.as_deref() == Some(provider));
    order(world, dice, &format!("/v1/ops/providers/{provider}/enable"), &json!({"reason": "simulated"}))
        .await;
    world.book().ending -= 1;
}

/// Ends one rule, those that name something, or all.
async fn resume(world: &World, dice: &mut Dice, all: bool) {
    let mut body = json!({"reason": "simulated"});
    let open: Vec<u64> =
        world.book().rules.iter().filter(|rule| !rule.ended).map(|rule| rule.number).collect();
    let one = (!all && !open.is_empty() && dice.happens(60)).then(|| dice.choose(&open));
    match one {
        Some(number) => body["rule"] = json!(number),
        None if all => body["all"] = json!(true),
        None => {
            draw(world, dice, &mut body);
            // Rules are not ended by ages; what named nothing else ends all.
            let is_by_age = ["older_than", "newer_than"].iter().any(|name| !body[*name].is_null());
            if is_by_age {
                body = json!({"reason": "simulated", "all": true});
            }
        }
    }
    end(world, |rule| one.is_none_or(|number| number == rule.number));
    let answer = order(world, dice, "/v1/ops/queue/resume", &body).await;
    world.book().ending -= 1;
    if let Some(answer) = answer {
        world.book().tally.let_go += answer.body["messages"].as_u64().unwrap_or(0);
    }
}

/// Looks at what is in doubt and says what became of some of it.
async fn resolve(world: &World, dice: &mut Dice) {
    let Some(page) = asked(world, dice, "/v1/ops/doubts?limit=50").await else { return };
    for row in page.body["data"].as_array().into_iter().flatten() {
        let is_held = row["status"] == json!("held");
        let Some(id) = row["id"].as_str().filter(|_| is_held) else { continue };
        let body = json!({"reason": "simulated", "as": dice.choose(&["sent", "failed", "resend"])});
        if order(world, dice, &format!("/v1/ops/doubts/{id}"), &body).await.is_some() {
            world.book().tally.resolved += 1;
        }
    }
}
