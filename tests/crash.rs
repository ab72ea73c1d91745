//! The gateway is killed at moments of a seed, again and again, and must keep its promises: nothing acknowledged is lost, nothing
//! is sent twice without a doubt that shows, money is conserved, receipts find their messages and tenants are told.
//!
//! TIDEGATE_CRASH_SEEDS is how many seeds are run, TIDEGATE_CRASH_SEED the first of them.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use loadtest::smsc::{Delay, IdForm, Outcome, Profile, ReceiptForm};
use loadtest::wire::{command, status};
use serde_json::{Value, json};

use support::dice::Dice;
use support::gateway::{self, Gateway, serve};
use support::home::Home;
use support::http::Http;
use support::provider::Provider;
use support::sender::{self, Sender};
use support::settings::{self, KEY};
use support::wait::until_true;

/// At least so many are submitted, the last fifth of them to the gateway that is not killed.
const MESSAGES: u64 = 3_000;
const OPENING: i64 = 1_000_000_000_000;
/// The first destination of messages over HTTP.
const FIRST: u64 = 254_730_000_000;
/// How long a seed may take on a machine that does other things too.
const SEED_WITHIN: Duration = Duration::from_secs(120);
/// Of the latest answers before a kill, as many are looked up after the next start. At the end all are.
const LOOKED_UP: usize = 200;

#[test]
fn promises_hold_over_kills_at_any_moment() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let seeds = number("TIDEGATE_CRASH_SEEDS").unwrap_or(3);
    let first = number("TIDEGATE_CRASH_SEED").unwrap_or_else(Dice::any_seed);
    for seed in first..first + seeds {
        run(seed);
    }
}

/// A client that has no answer asks again with the same key, as often as it must: every batch is taken once.
#[test]
fn a_request_that_is_repeated_over_kills_is_taken_once() {
    // More than enters the gateway at once, so that a kill may come in the middle.
    const BATCH: u64 = 1_100;
    const KILLS: u64 = 5;
    let seed = Dice::any_seed();
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let provider = Provider::with(Profile { latency: Delay::Uniform(1.0, 10.0), ..Profile::default() });
    let ports = free_ports();
    let home = Home::new(&settings(seed, &provider, ports));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports[0]));
    let ask = move |number: u64| {
        let message = |place| json!({"to": format!("+{}", FIRST + number * BATCH + place), "text": "once"});
        let body = json!({"messages": (0..BATCH).map(message).collect::<Vec<Value>>()});
        let key = format!("batch-{number}");
        Http::new(address, KEY).post_with("/v1/messages", &[("Idempotency-Key", &key)], &body)
    };
    let mut answers = BTreeMap::<u64, Value>::new();
    for turn in 0..KILLS {
        let gateway = Gateway::ready(Gateway::spawn(&home, on_its_own_ports(&home)));
        let asking = std::thread::spawn(move || ask(turn));
        let kill_at = Instant::now() + Duration::from_micros(dice.in_range(0..80_000));
        while Instant::now() < kill_at {
            std::hint::spin_loop();
        }
        gateway.kill();
        let answer = asking.join().unwrap();
        if answer.status == 202 {
            answers.insert(turn, answer.json());
        }
    }
    println!("seed {seed}: {} of {KILLS} were answered before their kill", answers.len());
    let _gateway = Gateway::ready(Gateway::spawn(&home, on_its_own_ports(&home)));
    for number in 0..KILLS {
        let answer = ask(number);
        assert_eq!((answer.status, &answer.json()["accepted"]), (202, &json!(BATCH)), "seed {seed}");
        assert_eq!(answers.entry(number).or_insert_with(|| answer.json()), &answer.json(), "seed {seed}");
    }
    let mut http = Http::new(address, KEY);
    let price = i64::try_from(KILLS * BATCH).unwrap() * 1_000_000;
    until_true("everything to be paid once", || {
        let balance = Balance::of(&http.get("/v1/balance").json());
        assert!(balance.sum() == OPENING && balance.spent <= price, "seed {seed}: {balance:?}, not {price}");
        balance.reserved == 0 && balance.spent == price
    });
    let ids = answers.values().flat_map(|answer| answer["data"].as_array().unwrap());
    let ids: BTreeMap<u64, &str> = (FIRST..).zip(ids.map(|one| one["id"].as_str().unwrap())).collect();
    for destination in provider.doubled() {
        let events = http.get(&format!("/v1/messages/{}/events", ids[&destination])).text();
        assert!(events.contains("\"in_doubt\""), "seed {seed}: {destination} was sent twice: {events}");
    }
}

/// `serve` without the ports of the tests' environment: those of the settings count.
fn on_its_own_ports(home: &Home) -> std::process::Command {
    let mut command = serve(home);
    for door in ["HTTP", "SMPP", "OPS"] {
        command.env_remove(format!("TIDEGATE__{door}__LISTEN"));
    }
    command
}

fn run(seed: u64) {
    let began = Instant::now();
    println!("seed {seed}: repeat with TIDEGATE_CRASH_SEED={seed} TIDEGATE_CRASH_SEEDS=1");
    let mut run = Run::new(seed);
    for moment in moments(seed) {
        run.until_killed(moment);
        println!("seed {seed}: killed at {moment:?}, {:.1} s", began.elapsed().as_secs_f64());
    }
    run.live_to_the_end();
    if !run.faults.is_empty() {
        let place = run.home.keep().display().to_string();
        panic!("seed {seed} ({place}):\n{}", run.faults.join("\n"));
    }
    let (unanswered, doubled) = (run.sender.book.unanswered.len(), run.provider.doubled().len());
    let accepted = run.sender.book.accepted.len();
    println!(
        "seed {seed}: {accepted} accepted, {unanswered} unanswered, {doubled} sent twice, {:.1} s",
        began.elapsed().as_secs_f64()
    );
}

/// When the gateway is killed, counted from its start in what its tenant sees of it.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Before it is ready, or just after.
    Starting(Duration),
    Answers(u64),
    Receipts(u64),
    /// In all its lives: late enough for the journal to have turned.
    AllAnswers(u64),
    /// So many events after SIGTERM, which comes after so many answers.
    Draining {
        answers: u64,
        events: u64,
    },
}

fn moments(seed: u64) -> Vec<Moment> {
    let mut dice = Dice::new(seed ^ 0x6B69_6C6C);
    let count = dice.in_range(1..5);
    (0..count)
        .map(|_| match dice.in_range(0..6) {
            0 => Moment::Starting(Duration::from_micros(dice.in_range(0..500_000))),
            1 | 2 => Moment::Answers(dice.in_range(1..MESSAGES / 3)),
            3 => Moment::Receipts(dice.in_range(1..MESSAGES / 3)),
            4 => Moment::AllAnswers(dice.in_range(MESSAGES * 2 / 3..MESSAGES)),
            _ => Moment::Draining { answers: dice.in_range(1..MESSAGES / 3), events: dice.in_range(0..60) },
        })
        .collect()
}

/// A provider with all its bad habits, none of them frequent.
fn profile(seed: u64) -> Profile {
    let outcome =
        |stat: &str, weight, error: &str| Outcome { stat: stat.into(), weight, error: error.into() };
    let Manners { message_id, receipt_id, receipt_form, .. } = manners(seed);
    Profile {
        seed,
        message_id,
        receipt_id: Some(receipt_id),
        receipt_form,
        latency: Delay::Uniform(1.0, 15.0),
        refusals: 0.01,
        // Throttling is left to other tests: the rate that it lowers comes back by a twentieth a second only.
        refusal_statuses: vec![status::SYSTEM_ERROR, status::SYSTEM_ERROR, status::INVALID_DESTINATION],
        lost_answers: 0.002,
        drops: 0.0007,
        receipt_delay: Delay::Exponential(60.0),
        receipts_early: 0.03,
        receipts_duplicated: 0.02,
        receipts_reordered: 0.05,
        receipts_late: 0.02,
        late_delay: Delay::Uniform(200.0, 1_500.0),
        receipt_timeout: 4_000.0,
        receipt_retry: 100.0,
        outcomes: vec![
            outcome("DELIVRD", 18, "000"),
            outcome("UNDELIV", 1, "069"),
            outcome("REJECTD", 1, "005"),
        ],
        ..Profile::default()
    }
}

/// How a provider writes ids, and what its entry says of that and of its binds.
struct Manners {
    message_id: IdForm,
    receipt_id: IdForm,
    receipt_form: ReceiptForm,
    reads: &'static str,
    bind: &'static str,
    binds: u64,
    window: &'static str,
    settle: &'static str,
}

fn manners(seed: u64) -> Manners {
    let mut dice = Dice::new(seed ^ 0x6D61_6E6E);
    let (message_id, receipt_id, reads) = dice.choose(&[
        (IdForm::Decimal, IdForm::Decimal, "\"text\""),
        (IdForm::Text, IdForm::Text, "\"text\""),
        (IdForm::Decimal, IdForm::Padded, "\"dec\""),
        (IdForm::Hex, IdForm::HexUpper, "\"hex\""),
        (IdForm::Hex, IdForm::Decimal, "\"hex_dec\""),
    ]);
    Manners {
        message_id,
        receipt_id,
        reads,
        receipt_form: dice.choose(&[ReceiptForm::Text, ReceiptForm::Tlv, ReceiptForm::Both]),
        bind: dice.choose(&["\"transceiver\"", "\"transceiver\"", "\"pair\""]),
        binds: dice.in_range(1..4),
        window: dice.choose(&["20", "50", "200"]),
        settle: dice.choose(&["\"sent\"", "\"sent\"", "\"delivered\""]),
    }
}

fn settings(seed: u64, provider: &Provider, ports: [u16; 3]) -> String {
    let manners = manners(seed);
    let binds = manners.binds.to_string();
    let more = [
        ("message_id", manners.reads),
        ("bind", manners.bind),
        ("binds", &binds),
        ("window", manners.window),
        ("response_timeout", "\"1s\""),
        ("in_doubt", "\"resend\""),
        ("retry", "{ attempts = 20, min = \"20ms\", max = \"100ms\" }"),
    ];
    let [http, smpp, ops] = ports;
    let head = format!(
        "http = {{ listen = \"127.0.0.1:{http}\" }}\nsmpp = {{ listen = \"127.0.0.1:{smpp}\" }}\n\
         ops = {{ listen = \"127.0.0.1:{ops}\" }}\nserve = {{ drain_timeout = \"5s\" }}\n\
         storage = {{ ring = \"1MiB\", durability = \"fsync\", reserve = \"1MiB\", reserve_percent = 0 }}\n"
    );
    let provider = settings::provider("up", provider.address(), &more);
    let tenant = settings::tenant(&[("balance", "\"1000000.00\""), ("settle", manners.settle)]);
    [head, provider, tenant].concat()
}

/// The same ports at every start, so that the tenant comes back to where it was. They lie below those that the system gives
/// to connections: a client that knocks at a closed port there would meet itself one day.
fn free_ports() -> [u16; 3] {
    let mut dice = Dice::new(Dice::any_seed() ^ u64::from(std::process::id()));
    // Each is held until all are found, so that none is found twice.
    let mut held = || loop {
        let port = dice.in_range(12_000..32_000) as u16;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return (listener, port);
        }
    };
    [held(), held(), held()].map(|(_listener, port)| port)
}

struct Run {
    home: Home,
    provider: Provider,
    sender: Sender,
    ports: [u16; 3],
    deadline: Instant,
    faults: Vec<String>,
}

impl Run {
    fn new(seed: u64) -> Run {
        let provider = Provider::with(profile(seed));
        let ports = free_ports();
        let kinds = match seed % 2 {
            0 => [command::BIND_TRANSCEIVER, command::BIND_TRANSCEIVER],
            _ => [command::BIND_TRANSMITTER, command::BIND_RECEIVER],
        };
        let sender = Sender::new(SocketAddr::from((Ipv4Addr::LOCALHOST, ports[1])), &kinds);
        let home = Home::new(&settings(seed, &provider, ports));
        Run { home, provider, sender, ports, deadline: Instant::now() + SEED_WITHIN, faults: Vec::new() }
    }

    /// One life of the gateway, from its start to SIGKILL.
    fn until_killed(&mut self, moment: Moment) {
        let mut gateway = self.spawn();
        let book = &self.sender.book;
        let (accepted, receipts) = (book.accepted.len() as u64, book.receipts);
        self.sender.book.wanted = None;
        match moment {
            Moment::Starting(after) => {
                let at = Instant::now() + after;
                self.drive(&mut gateway, |_| Instant::now() >= at);
            }
            Moment::Answers(count) => {
                self.drive(&mut gateway, |book| book.accepted.len() as u64 >= accepted + count);
            }
            Moment::AllAnswers(count) => self.drive(&mut gateway, |book| book.accepted.len() as u64 >= count),
            Moment::Receipts(count) => self.drive(&mut gateway, |book| book.receipts >= receipts + count),
            Moment::Draining { answers, events } => {
                self.drive(&mut gateway, |book| book.accepted.len() as u64 >= accepted + answers);
                gateway.terminate();
                let seen = self.sender.book.events();
                while self.sender.book.events() < seen + events && gateway.ended().is_none() {
                    self.sender.turn();
                    self.check_time("draining");
                }
            }
        }
        gateway.kill();
        // What the gateway had sent before its end is still to be read, to the end of each connection.
        while self.sender.is_connected() {
            self.sender.turn();
        }
    }

    /// The last life: everything comes to its end, and is looked at.
    fn live_to_the_end(&mut self) {
        let mut gateway = self.spawn();
        let accepted = self.sender.book.accepted.len() as u64;
        self.sender.book.wanted = Some(MESSAGES.saturating_sub(accepted).max(MESSAGES / 5));
        self.drive(&mut gateway, |book| book.wanted == Some(0));
        let mut http = self.http();
        let mut messages = BTreeMap::new();
        while let Err(missing) = self.settled(&mut http, &mut messages) {
            for _ in 0..20 {
                self.sender.turn();
            }
            if Instant::now() >= self.deadline {
                self.faults.push(format!("not at its end in time: {missing}"));
                break;
            }
            if let Some(ended) = gateway.ended() {
                panic!("the gateway has ended by itself: {ended:?}");
            }
        }
        self.check_messages(&messages);
        self.check_doubles(&mut http);
        self.faults.append(&mut self.sender.book.faults);
        gateway.terminate();
        let ended = loop {
            // The tenant answers its unbind.
            self.sender.turn();
            self.check_time("ending");
            if let Some(ended) = gateway.ended() {
                break ended;
            }
        };
        if ended.code != Some(0) {
            self.faults.push(format!("SIGTERM ends with {:?}: {}", ended.code, ended.said));
        }
        self.check_journal();
    }

    /// The journal checks from end to end, and it has turned: else the test would not test that.
    fn check_journal(&mut self) {
        let arguments = ["journal", "salvage", "copy", "--json", "--config", "tidegate.toml"];
        let (ended, printed) = gateway::run(&self.home, &arguments);
        let report: Value = serde_json::from_str(&printed).unwrap_or_default();
        let is_whole = report["lost"] == json!([]) && report["unchained"] == json!([]);
        if !is_whole || report["oldest_group"].as_u64().unwrap_or_default() < 2 {
            self.faults.push(format!("the journal is damaged or has not turned: {report} {ended:?}"));
        }
    }

    fn spawn(&mut self) -> Gateway {
        Gateway::spawn(&self.home, on_its_own_ports(&self.home))
    }

    fn http(&self) -> Http {
        Http::new(SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports[0])), KEY)
    }

    /// Sends until something is reached. As soon as the gateway answers, what was acknowledged before is looked up.
    fn drive(&mut self, gateway: &mut Gateway, is_reached: impl Fn(&sender::Book) -> bool) {
        let before = self.sender.book.accepted.len();
        let mut is_checked = before == 0;
        while !is_reached(&self.sender.book) {
            self.sender.turn();
            if !is_checked && self.sender.book.accepted.len() > before {
                is_checked = true;
                self.check_recovered(before);
            }
            if let Some(ended) = gateway.ended() {
                panic!("the gateway has ended by itself: {ended:?}");
            }
            self.check_time("driving");
        }
    }

    #[track_caller]
    fn check_time(&self, what: &str) {
        let book = &self.sender.book;
        let (accepted, refused) = (book.accepted.len(), &book.refused);
        assert!(
            Instant::now() < self.deadline,
            "no time left while {what}: {accepted} accepted, refused {refused:?}"
        );
    }

    /// P1 and P3 after a recovery: the latest that was acknowledged is there, and the money adds up.
    fn check_recovered(&mut self, before: usize) {
        let mut http = self.http();
        let latest = self.sender.book.accepted[before.saturating_sub(LOOKED_UP)..before].to_vec();
        let paths: Vec<String> = latest.iter().map(|(_, id)| format!("/v1/messages/{id}")).collect();
        for ((destination, id), answer) in latest.iter().zip(http.get_all(&paths)) {
            if answer.status != 200 {
                self.faults
                    .push(format!("P1: {id} to {destination} is lost after a restart: {}", answer.text()));
            }
        }
        let balance = Balance::of(&http.get("/v1/balance").json());
        if balance.sum() != OPENING {
            self.faults.push(format!("P3: after a restart the sum is not the opening balance: {balance:?}"));
        }
    }

    /// Whether nothing is left to happen, with every message as it is then; else what is missing.
    fn settled(&mut self, http: &mut Http, messages: &mut BTreeMap<String, Value>) -> Result<(), String> {
        let book = &self.sender.book;
        let untold = book.accepted.iter().filter(|(_, id)| !book.told.contains_key(id)).count();
        let owed = self.provider.counts().unacknowledged();
        if untold > 0 || owed > 0 {
            return Err(format!("{untold} of the tenant's receipts, {owed} of the provider's"));
        }
        let is_over = |id: &String| messages.get(id).is_some_and(|message| is_final(&message["status"]));
        let open: Vec<String> = book.known().into_iter().filter(|id| !is_over(id)).collect();
        let paths: Vec<String> = open.iter().map(|id| format!("/v1/messages/{id}")).collect();
        for (id, answer) in open.into_iter().zip(http.get_all(&paths)) {
            if answer.status != 200 {
                return Err(format!("P1: {id} is lost: {} {}", answer.status, answer.text()));
            }
            messages.insert(id, answer.json());
        }
        // Messages whose answer was lost are known by their receipts only, so the money tells whether all have come.
        let balance = Balance::of(&http.get("/v1/balance").json());
        let charged: i64 = messages.values().map(|message| micros(&message["charged"])).sum();
        match balance.sum() == OPENING && balance.reserved == 0 && balance.spent == charged {
            true => Ok(()),
            false => {
                Err(format!("P3: {balance:?} of {OPENING}, and the known messages were charged {charged}"))
            }
        }
    }

    /// P1, P3, P4 and P7, message by message, against what the provider and the tenant have seen.
    fn check_messages(&mut self, messages: &BTreeMap<String, Value>) {
        let times = loadtest::smsc::record::times(&self.provider.accepted());
        let mut faults = Vec::new();
        for (id, message) in messages {
            let destination = self.sender.book.destination(id).unwrap_or_default();
            let parts = message["parts"].as_u64().unwrap_or_default() as u8;
            let taken = (1..=parts).filter(|part| times.contains_key(&(destination, *part))).count();
            let told = self.sender.book.told.get(id).map(Vec::as_slice).unwrap_or_default();
            if let Some(fault) = fault(message, destination, taken, told) {
                faults.push(format!(
                    "{id} to {destination}: {fault}; the provider has {taken} of its parts; {message}"
                ));
            }
        }
        for (destination, _) in
            times.keys().filter(|(destination, _)| !self.sender.book.was_sent(*destination))
        {
            faults.push(format!("the provider was sent {destination}, which nobody submitted"));
        }
        faults.truncate(20);
        self.faults.append(&mut faults);
    }

    /// P2: what the provider saw twice shows a doubt.
    fn check_doubles(&mut self, http: &mut Http) {
        let book = &self.sender.book;
        let ids: BTreeMap<u64, String> =
            book.known().into_iter().filter_map(|id| Some((book.destination(&id)?, id))).collect();
        for destination in self.provider.doubled().into_iter().collect::<BTreeSet<_>>() {
            let Some(id) = ids.get(&destination) else {
                self.faults
                    .push(format!("P2: {destination} was sent twice, and its tenant never heard of it"));
                continue;
            };
            let events = http.get(&format!("/v1/messages/{id}/events")).json();
            let shows_doubt = |event: &Value| event["event"] == "in_doubt";
            if !events["data"].as_array().is_some_and(|events| events.iter().any(shows_doubt)) {
                self.faults
                    .push(format!("P2: {id} to {destination} was sent twice without a doubt: {events}"));
            }
        }
    }
}

fn is_final(status: &Value) -> bool {
    status.as_str().is_some_and(|status| ["delivered", "failed", "rejected"].contains(&status))
}

/// What is wrong with a message at its end.
fn fault(
    message: &Value,
    destination: u64,
    taken: usize,
    told: &[support::peer::Receipt],
) -> Option<&'static str> {
    let parts = message["parts"].as_u64().unwrap_or_default();
    let (price, charged) = (micros(&message["price"]), micros(&message["charged"]));
    // SMPP 3.4 §5.2.28: the message_state that the tenant reads.
    let state = match message["status"].as_str() {
        Some("delivered") => 2,
        Some("failed") => 5,
        Some("rejected") => 8,
        _ => return Some("P1: not in a final state"),
    };
    let is_delivered = state == 2;
    if message["to"] != format!("+{destination}") || message["text"] != sender::text(destination) {
        return Some("P1: it is another message");
    }
    if price != i64::try_from(parts).unwrap_or_default() * 1_000_000 {
        return Some("P3: the price is not that of its parts");
    }
    if is_delivered && (charged != price || taken as u64 != parts) {
        return Some("P3: delivered, and not charged or not sent");
    }
    if charged > 0 && taken == 0 {
        return Some("P3: charged for what no provider has");
    }
    if !told.iter().any(|receipt| receipt.state == Some(state)) {
        return Some("P7: its tenant was not told of its end");
    }
    None
}

#[derive(Debug)]
struct Balance {
    available: i64,
    reserved: i64,
    spent: i64,
}

impl Balance {
    fn of(shown: &Value) -> Balance {
        let amount = |name: &str| micros(&shown[name]);
        Balance { available: amount("available"), reserved: amount("reserved"), spent: amount("spent") }
    }

    fn sum(&self) -> i64 {
        self.available + self.reserved + self.spent
    }
}

/// Millionths of a decimal string.
fn micros(amount: &Value) -> i64 {
    let text = amount.as_str().unwrap_or_else(|| panic!("money is a decimal string, not {amount}"));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction: i64 = format!("{fraction:0<6}").parse().unwrap();
    whole.parse::<i64>().unwrap() * 1_000_000 + fraction
}
