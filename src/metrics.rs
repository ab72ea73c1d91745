//! What `/metrics` shows: every name with its kind, labels and meaning, and how a second's plain integers become series.
//! It counts nothing itself but what doors refuse; the engine and the commit loop count, and hand over a `Snapshot`.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use codecs::instant::Wall;
use codecs::receipt::State as ReceiptState;
use connectors::smpp::counters::{ServerCounters, ServerSnapshot};
use engine::command::Refusal;
use engine::counters::{Histogram, MILLIS_BOUNDS};
use engine::message::State;
use engine::money::Micros;
use metrics::{Label, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use metrics_util::MetricKindMask;

/// Series of what no longer exists (a provider taken out of the settings) end after this.
const GAUGE_KEPT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One name of `/metrics`. Names are a contract.
struct Metric {
    name: &'static str,
    kind: Kind,
    #[cfg_attr(not(test), allow(dead_code, reason = "only the reference page shows them"))]
    labels: &'static str,
    unit: Unit,
    help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:ident, $labels:literal, $unit:ident, $help:literal;)*) => {
        $(const $constant: &str = $name;)*
        const METRICS: &[Metric] = &[
            $(Metric { name: $name, kind: Kind::$kind, labels: $labels, unit: Unit::$unit, help: $help },)*
        ];
    };
}

metrics! {
    ACCEPTED = "tidegate_messages_accepted_total", Counter, "", Count,
        "Messages accepted from tenants.";
    REFUSED = "tidegate_messages_refused_total", Counter, "code", Count,
        "Messages refused at the door, by the code of the answer.";
    SUBMITTED = "tidegate_messages_submitted_total", Counter, "provider", Count,
        "Parts handed to a provider.";
    OUTCOME = "tidegate_messages_outcome_total", Counter, "provider, state", Count,
        "Messages that reached a state, by the provider they were with.";
    RECEIPTS = "tidegate_messages_receipts_total", Counter, "provider, state", Count,
        "Delivery receipts of a provider, by the state they report.";
    THROTTLED = "tidegate_messages_throttled_total", Counter, "provider", Count,
        "Submissions that a provider refused for its rate; they are tried again.";
    ASKED = "tidegate_messages_asked_total", Counter, "provider", Count,
        "Questions to a provider by query_sm about messages whose receipt did not come.";
    TENANT_OPERATIONS = "tidegate_tenant_operations_total", Counter, "operation, result", Count,
        "query_sm, cancel_sm and replace_sm of tenants, by whether it was done or failed.";
    RESENT = "tidegate_messages_resent_in_doubt_total", Counter, "", Count,
        "Messages sent again although their provider may have had them.";
    EXPIRED_IN_DOUBT = "tidegate_messages_expired_in_doubt_total", Counter, "", Count,
        "Messages whose validity ended although a provider that did not answer may have had them; their credit is released.";
    TOLD = "tidegate_messages_told_total", Counter, "", Count,
        "Receipts, and messages from phones, handed to tenants and acknowledged by them.";
    TELLINGS_REFUSED = "tidegate_messages_told_refused_total", Counter, "", Count,
        "Receipts, and messages from phones, that a tenant's session refused for now; they are offered again.";
    DROPPED = "tidegate_messages_untold_dropped_total", Counter, "", Count,
        "Receipts, and messages from phones, that are not offered any more because their tenant did not come for them in time, or more waited than `queue.untold`.";
    OPERATORS_TURNED_AWAY = "tidegate_operations_unauthorized_total", Counter, "key", Count,
        "Requests to `/v1/ops` that came without the administrator's key (missing) or with another one (wrong).";
    TENANTS_TURNED_AWAY = "tidegate_http_unauthorized_total", Counter, "key", Count,
        "Requests to the API that came without a key, or with two in place of one (missing), with one that nobody has (wrong), or with one that may not be used from that address (elsewhere).";
    BINDS_REFUSED = "tidegate_smpp_binds_refused_total", Counter, "cause", Count,
        "Binds of tenants that were refused: for a wrong_password, because they were locked_out after too many, or for an other cause.";
    NOT_ENTERED = "tidegate_smpp_connections_not_begun_total", Counter, "", Count,
        "Connections to the SMPP listeners without the PROXY header or the TLS that they must begin with.";
    NOT_LET_IN = "tidegate_smpp_connections_turned_away_total", Counter, "cause", Count,
        "Connections to the SMPP listeners that were ended because there were too many: at once (full), or before they were bound, for newer ones (pushed_out).";
    NOT_LET_IN_ELSEWHERE = "tidegate_connections_turned_away_total", Counter, "listener, cause", Count,
        "Connections to the listeners of http, operations and outbind (all providers') that were ended because there were too many: at once (full), or for newer ones (pushed_out): before they had begun, and of http and operations between two requests or, by others than their own address, in one.";
    SLOW_READERS_ELSEWHERE = "tidegate_slow_readers_total", Counter, "listener", Count,
        "Connections to the listeners of http and operations that were closed because the peer did not read its answer.";
    TENANT_PDUS_BAD = "tidegate_smpp_tenant_pdus_bad_total", Counter, "cause", Count,
        "PDUs of tenants and strangers that were not taken: malformed (which could not be read, or have no place there, lost streams too; the log shows those of tenants) or unmatched (responses to nothing).";
    PROVIDER_PDUS_BAD = "tidegate_smpp_provider_pdus_bad_total", Counter, "provider, cause", Count,
        "The same of providers.";
    ODD_TLVS = "tidegate_smpp_tlvs_odd_total", Counter, "from", Count,
        "TLVs, by whether they are from tenants or from providers, that we read or pass on but that have a wrong length or a value out of range, come a second time, or are cut off. Their messages were taken.";
    ALERTS = "tidegate_smpp_provider_alerts_total", Counter, "provider", Count,
        "alert_notification of a provider: phones that are there again. Nothing else is done about them.";
    SLOW_READERS = "tidegate_smpp_slow_readers_total", Counter, "", Count,
        "Connections of tenants that were closed because the tenant did not read what it was sent.";
    UNMATCHED = "tidegate_receipts_unmatched_total", Counter, "", Count,
        "Delivery receipts for which no message was found.";
    REPEATED = "tidegate_receipts_repeated_total", Counter, "", Count,
        "Delivery receipts that changed nothing, because the message had its final state.";
    INBOUND = "tidegate_inbound_total", Counter, "provider", Count,
        "Messages from phones, whole or as much of them as came.";
    INBOUND_UNROUTED = "tidegate_inbound_unrouted_total", Counter, "", Count,
        "Messages from phones for which no rule named a tenant; they are kept for the operator.";
    INBOUND_INCOMPLETE = "tidegate_inbound_incomplete_total", Counter, "", Count,
        "Messages from phones of which parts did not come in time.";
    INBOUND_DUPLICATES = "tidegate_inbound_duplicates_total", Counter, "", Count,
        "Messages from phones, and parts of them, that a provider sent again.";
    KEPT_DROPPED = "tidegate_kept_dropped_total", Counter, "", Count,
        "Receipts and messages kept for the operator that were forgotten because there was no room for more.";
    LATE = "tidegate_responses_late_total", Counter, "", Count,
        "Responses of providers for messages that were no longer waited for.";
    QUEUE_DEPTH = "tidegate_queue_depth", Gauge, "provider, priority", Count,
        "Queued messages by the provider they wait for, those on disk included; what is held or scheduled is not among them.";
    QUEUE_OLDEST = "tidegate_queue_oldest_seconds", Gauge, "", Seconds,
        "Time since the oldest queued message was accepted, one on disk included; looked at every 5 seconds.";
    IN_FLIGHT = "tidegate_window_in_flight", Gauge, "provider, bind", Count,
        "Requests that a bind has sent and that are not answered.";
    BIND_UP = "tidegate_bind_up", Gauge, "provider, bind", Count,
        "1 while the bind is bound, else 0.";
    PROVIDER_RATE = "tidegate_provider_rate", Gauge, "provider", CountPerSecond,
        "Parts a second that the provider is given at most; 0: no limit.";
    ACCEPT_SECONDS = "tidegate_accept_seconds", Histogram, "", Seconds,
        "From reading a submission to its answer, the disk included.";
    SUBMIT_SECONDS = "tidegate_submit_seconds", Histogram, "provider", Seconds,
        "From the intent to send a part to the provider's response.";
    RECEIPT_SECONDS = "tidegate_receipt_seconds", Histogram, "provider", Seconds,
        "From the provider's response to the final receipt.";
    GROUP_MESSAGES = "tidegate_journal_group_messages", Histogram, "", Count,
        "Submissions that shared one journal group.";
    FLUSH_SECONDS = "tidegate_journal_flush_seconds", Histogram, "", Seconds,
        "Writing and flushing one journal group.";
    JOURNAL_BYTES = "tidegate_journal_bytes", Gauge, "", Bytes,
        "What the journal holds; its file on disk may be twice as large, because its room is used in turns.";
    JOURNAL_APPENDED = "tidegate_journal_appended_bytes_total", Counter, "", Bytes,
        "Bytes of the groups given to the journal, packed; what the process writes beyond them the store adds.";
    JOURNAL_DURABLE = "tidegate_journal_durable", Gauge, "", Count,
        "1 when an answer waits for the disk, 0 when `durability = \"os\"` leaves it to the page cache.";
    BLOB_FILES = "tidegate_storage_blob_files", Gauge, "", Count,
        "Files that the store must never make; anything but 0 is a defect.";
    ARCHIVE_DAMAGED = "tidegate_archive_damaged", Gauge, "", Count,
        "Databases of the archive that were found damaged: what they have is not answered until a backup takes their place.";
    CREDIT_RESERVED = "tidegate_credit_reserved", Gauge, "currency", Count,
        "Credit set aside for messages without an outcome, of all tenants.";
    PARKED = "tidegate_messages_parked", Gauge, "", Count,
        "Messages that wait on disk, for their time, their provider or their receipt.";
    UNTOLD = "tidegate_untold_pending", Gauge, "", Count,
        "Receipts, and messages from phones, that wait for a session of their tenants: those on their way over one are not counted.";
    CLOCK_JUMPS = "tidegate_clock_jumps_total", Counter, "", Count,
        "Jumps of the system's time of day by more than a minute.";
    CLOCK_DOUBTED = "tidegate_clock_doubted", Gauge, "", Count,
        "1 while the system's time of day has jumped and has not been believed yet, else 0.";
    BUILD_INFO = "tidegate_build_info", Gauge, "version", Count,
        "1, with the version of the running program.";
}

/// All numbers of one second, as the commit loop gives them. Counters are totals since the start of the process.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub accepted: u64,
    /// By `Refusal as usize`, what the engine refused.
    pub refused: [u64; Refusal::NUMBERS],
    /// What the SMPP server counts.
    pub server: ServerSnapshot,
    pub unmatched: u64,
    pub repeated: u64,
    pub inbound_unrouted: u64,
    pub inbound_incomplete: u64,
    pub inbound_duplicates: u64,
    pub kept_dropped: u64,
    pub late_responses: u64,
    pub told: u64,
    pub tellings_refused: u64,
    pub dropped: u64,
    /// By `AskKind`: done, and not.
    pub operations: [[u64; 2]; 3],
    pub resent_in_doubt: u64,
    pub expired_in_doubt: u64,
    pub untold: u64,
    pub parked: u64,
    pub providers: Vec<ProviderSnapshot>,
    pub queue_oldest: Duration,
    pub accept_seconds: Distribution,
    pub group_messages: Distribution,
    pub flush_seconds: Distribution,
    pub journal_bytes: u64,
    /// Bytes of all groups since the start of the process.
    pub journal_appended: u64,
    /// Whether an answer waits for the disk.
    pub durable: bool,
    pub blob_files: u64,
    pub credit_reserved: Vec<(String, Micros)>,
    pub clock_jumps: u64,
    pub clock_doubted: bool,
    /// The first block of which something lives, but for what is parked.
    pub living_from: Option<u64>,
    /// Databases of the archive that cannot be read.
    pub archive_damaged: usize,
    /// The time that the engine goes by; long ago before it has said so.
    pub wall: Wall,
}

#[derive(Clone, Debug, Default)]
pub struct ProviderSnapshot {
    pub id: String,
    pub submitted: u64,
    /// By `State as usize`.
    pub outcomes: [u64; State::ALL.len()],
    /// By message_state.
    pub receipts: [u64; ReceiptState::ALL.len()],
    pub throttled: u64,
    pub asked: u64,
    /// Messages from phones.
    pub inbound: u64,
    /// By `Priority as usize`.
    pub queue_depth: [u64; 3],
    /// Parts a second; 0: no limit.
    pub rate: f64,
    pub binds: Vec<BindSnapshot>,
    pub submit_seconds: Distribution,
    pub receipt_seconds: Distribution,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct BindSnapshot {
    pub bind: u16,
    pub is_up: bool,
    pub in_flight: u64,
    pub malformed: u64,
    pub odd_tlvs: u64,
    pub responses_unmatched: u64,
    pub alerts: u64,
}

/// A histogram as its owner gathers it: totals by upper bound since the start of the process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// Upper bounds with their counts, in order; not cumulative.
    pub buckets: Vec<(f64, u64)>,
    /// What is above the last bound.
    pub beyond: u64,
    pub sum: f64,
}

impl Distribution {
    /// The engine's histogram of milliseconds, in seconds.
    pub fn of_millis(histogram: &Histogram) -> Distribution {
        let seconds = |millis: u64| millis as f64 / 1_000.0;
        let buckets = MILLIS_BOUNDS.iter().zip(histogram.buckets);
        Distribution {
            buckets: buckets.map(|(bound, count)| (seconds(*bound), count)).collect(),
            beyond: histogram.buckets.last().copied().unwrap_or(0),
            sum: seconds(histogram.sum_millis),
        }
    }
}

/// The listeners beside those of SMPP.
#[derive(Clone, Copy, Debug)]
pub enum Entry {
    Http,
    Operations,
    /// Those of all providers together.
    Outbind,
}

impl Entry {
    const ALL: [Entry; 3] = [Entry::Http, Entry::Operations, Entry::Outbind];

    fn word(self) -> &'static str {
        match self {
            Entry::Http => "http",
            Entry::Operations => "operations",
            Entry::Outbind => "outbind",
        }
    }
}

/// What the doors refuse before the engine sees it, by refusal, and the connections of each.
#[derive(Debug, Default)]
pub struct DoorCounts {
    connections: [Arc<ServerCounters>; Entry::ALL.len()],
    refused: [AtomicU64; Refusal::NUMBERS],
    operators_turned_away: [AtomicU64; BadKey::ALL.len()],
    tenants_turned_away: [AtomicU64; BadKey::ALL.len()],
}

/// What was wrong with the key of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadKey {
    Missing,
    Wrong,
    /// It may not be used from that address; an administrator's may be used from any.
    Elsewhere,
}

impl BadKey {
    const ALL: [BadKey; 3] = [BadKey::Missing, BadKey::Wrong, BadKey::Elsewhere];
    const OF_OPERATORS: [BadKey; 2] = [BadKey::Missing, BadKey::Wrong];

    pub fn word(self) -> &'static str {
        match self {
            BadKey::Missing => "missing",
            BadKey::Wrong => "wrong",
            BadKey::Elsewhere => "elsewhere",
        }
    }
}

impl DoorCounts {
    pub fn connections(&self, entry: Entry) -> Arc<ServerCounters> {
        Arc::clone(&self.connections[entry as usize])
    }

    pub fn refused(&self, refusal: Refusal) {
        if let Some(count) = self.refused.get(refusal as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub fn operator_turned_away(&self, key: BadKey) {
        if let Some(count) = self.operators_turned_away.get(key as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub fn tenant_turned_away(&self, key: BadKey) {
        if let Some(count) = self.tenants_turned_away.get(key as usize) {
            count.fetch_add(1, Relaxed);
        }
    }
}

/// The series of `/metrics`. Histograms are written here: the exporter would keep every sample until it is asked.
pub struct Metrics {
    recorder: PrometheusRecorder,
    histograms: Mutex<String>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    pub fn new() -> Metrics {
        let builder = PrometheusBuilder::new().idle_timeout(MetricKindMask::GAUGE, Some(GAUGE_KEPT));
        let recorder = builder.build_recorder();
        metrics::with_local_recorder(&recorder, || {
            for metric in METRICS {
                match metric.kind {
                    Kind::Counter => metrics::describe_counter!(metric.name, metric.unit, metric.help),
                    Kind::Gauge => metrics::describe_gauge!(metric.name, metric.unit, metric.help),
                    Kind::Histogram => {}
                }
            }
            set_build_info();
        });
        Metrics { recorder, histograms: Mutex::default() }
    }

    /// Takes over a second's numbers.
    pub fn publish(&self, snapshot: &Snapshot, doors: &DoorCounts) {
        metrics::with_local_recorder(&self.recorder, || {
            set_build_info();
            publish_messages(snapshot, doors);
            publish_store(snapshot);
            for provider in &snapshot.providers {
                publish_provider(provider);
            }
            let binds = snapshot.providers.iter().flat_map(|provider| &provider.binds);
            metrics::counter!(ODD_TLVS, "from" => "providers")
                .absolute(binds.map(|bind| bind.odd_tlvs).sum());
        });
        *self.histograms.lock().unwrap_or_else(PoisonError::into_inner) = write_histograms(snapshot);
        self.recorder.handle().run_upkeep();
    }

    /// Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = self.recorder.handle().render();
        text.push_str(&self.histograms.lock().unwrap_or_else(PoisonError::into_inner));
        text
    }
}

fn set_build_info() {
    metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

fn publish_messages(snapshot: &Snapshot, doors: &DoorCounts) {
    metrics::counter!(ACCEPTED).absolute(snapshot.accepted);
    for (code, count) in refused_by_code(snapshot, doors) {
        metrics::counter!(REFUSED, "code" => code).absolute(count);
    }
    for (key, count) in BadKey::OF_OPERATORS.iter().zip(&doors.operators_turned_away) {
        metrics::counter!(OPERATORS_TURNED_AWAY, "key" => key.word()).absolute(count.load(Relaxed));
    }
    for (key, count) in BadKey::ALL.iter().zip(&doors.tenants_turned_away) {
        metrics::counter!(TENANTS_TURNED_AWAY, "key" => key.word()).absolute(count.load(Relaxed));
    }
    publish_server(&snapshot.server);
    for (entry, counters) in Entry::ALL.into_iter().zip(&doors.connections) {
        let server = counters.snapshot();
        for (cause, count) in [("full", server.turned_away), ("pushed_out", server.pushed_out)] {
            metrics::counter!(NOT_LET_IN_ELSEWHERE, "listener" => entry.word(), "cause" => cause)
                .absolute(count);
        }
        if !matches!(entry, Entry::Outbind) {
            metrics::counter!(SLOW_READERS_ELSEWHERE, "listener" => entry.word())
                .absolute(server.slow_readers);
        }
    }
    for (operation, counts) in ["query", "cancel", "replace"].into_iter().zip(snapshot.operations) {
        for (result, count) in ["done", "failed"].into_iter().zip(counts) {
            metrics::counter!(TENANT_OPERATIONS, "operation" => operation, "result" => result)
                .absolute(count);
        }
    }
    metrics::counter!(RESENT).absolute(snapshot.resent_in_doubt);
    metrics::counter!(EXPIRED_IN_DOUBT).absolute(snapshot.expired_in_doubt);
    metrics::counter!(TOLD).absolute(snapshot.told);
    metrics::counter!(TELLINGS_REFUSED).absolute(snapshot.tellings_refused);
    metrics::counter!(DROPPED).absolute(snapshot.dropped);
    metrics::counter!(UNMATCHED).absolute(snapshot.unmatched);
    metrics::counter!(REPEATED).absolute(snapshot.repeated);
    metrics::counter!(INBOUND_UNROUTED).absolute(snapshot.inbound_unrouted);
    metrics::counter!(INBOUND_INCOMPLETE).absolute(snapshot.inbound_incomplete);
    metrics::counter!(INBOUND_DUPLICATES).absolute(snapshot.inbound_duplicates);
    metrics::counter!(KEPT_DROPPED).absolute(snapshot.kept_dropped);
    metrics::counter!(LATE).absolute(snapshot.late_responses);
    metrics::gauge!(PARKED).set(snapshot.parked as f64);
    metrics::gauge!(UNTOLD).set(snapshot.untold as f64);
    metrics::counter!(CLOCK_JUMPS).absolute(snapshot.clock_jumps);
    metrics::gauge!(CLOCK_DOUBTED).set(f64::from(u8::from(snapshot.clock_doubted)));
    metrics::gauge!(QUEUE_OLDEST).set(snapshot.queue_oldest.as_secs_f64());
    for (currency, reserved) in &snapshot.credit_reserved {
        metrics::gauge!(CREDIT_RESERVED, "currency" => currency.clone()).set(reserved.0 as f64 / 1e6);
    }
}

fn publish_server(server: &ServerSnapshot) {
    let ServerSnapshot { binds_refused, wrong_passwords, locked_out, .. } = *server;
    let other = binds_refused.saturating_sub(wrong_passwords).saturating_sub(locked_out);
    for (cause, count) in [("wrong_password", wrong_passwords), ("locked_out", locked_out), ("other", other)]
    {
        metrics::counter!(BINDS_REFUSED, "cause" => cause).absolute(count);
    }
    for (cause, count) in [("malformed", server.malformed), ("unmatched", server.responses_unmatched)] {
        metrics::counter!(TENANT_PDUS_BAD, "cause" => cause).absolute(count);
    }
    metrics::counter!(NOT_ENTERED).absolute(server.not_entered);
    for (cause, count) in [("full", server.turned_away), ("pushed_out", server.pushed_out)] {
        metrics::counter!(NOT_LET_IN, "cause" => cause).absolute(count);
    }
    metrics::counter!(ODD_TLVS, "from" => "tenants").absolute(server.odd_tlvs);
    metrics::counter!(SLOW_READERS).absolute(server.slow_readers);
}

/// Several refusals share a code. Every code is there from the start, so that a rate over it begins at zero.
fn refused_by_code(snapshot: &Snapshot, doors: &DoorCounts) -> Vec<(&'static str, u64)> {
    let mut codes: Vec<(&'static str, u64)> = Vec::new();
    for refusal in Refusal::ALL {
        let count = snapshot.refused[refusal as usize] + doors.refused[refusal as usize].load(Relaxed);
        match codes.iter_mut().find(|(code, _)| *code == refusal.code()) {
            Some((_, total)) => *total += count,
            None => codes.push((refusal.code(), count)),
        }
    }
    codes
}

fn publish_store(snapshot: &Snapshot) {
    metrics::gauge!(JOURNAL_BYTES).set(snapshot.journal_bytes as f64);
    metrics::counter!(JOURNAL_APPENDED).absolute(snapshot.journal_appended);
    metrics::gauge!(JOURNAL_DURABLE).set(f64::from(u8::from(snapshot.durable)));
    metrics::gauge!(BLOB_FILES).set(snapshot.blob_files as f64);
    metrics::gauge!(ARCHIVE_DAMAGED).set(snapshot.archive_damaged as f64);
}

fn publish_provider(provider: &ProviderSnapshot) {
    let label = |name: &'static str, value: &'static str| {
        vec![Label::new("provider", provider.id.clone()), Label::new(name, value)]
    };
    metrics::counter!(SUBMITTED, "provider" => provider.id.clone()).absolute(provider.submitted);
    metrics::counter!(THROTTLED, "provider" => provider.id.clone()).absolute(provider.throttled);
    metrics::counter!(INBOUND, "provider" => provider.id.clone()).absolute(provider.inbound);
    metrics::counter!(ASKED, "provider" => provider.id.clone()).absolute(provider.asked);
    metrics::gauge!(PROVIDER_RATE, "provider" => provider.id.clone()).set(provider.rate);
    for (state, count) in State::ALL.iter().zip(provider.outcomes).filter(|(_, count)| *count > 0) {
        metrics::counter!(OUTCOME, label("state", state.word())).absolute(count);
    }
    for (state, count) in ReceiptState::ALL.iter().zip(provider.receipts).filter(|(_, count)| *count > 0) {
        metrics::counter!(RECEIPTS, label("state", receipt_word(*state))).absolute(count);
    }
    for (priority, depth) in ["low", "normal", "high"].into_iter().zip(provider.queue_depth) {
        metrics::gauge!(QUEUE_DEPTH, label("priority", priority)).set(depth as f64);
    }
    let of_binds = |count: fn(&BindSnapshot) -> u64| provider.binds.iter().map(count).sum::<u64>();
    for (cause, count) in [
        ("malformed", of_binds(|bind| bind.malformed)),
        ("unmatched", of_binds(|bind| bind.responses_unmatched)),
    ] {
        metrics::counter!(PROVIDER_PDUS_BAD, label("cause", cause)).absolute(count);
    }
    metrics::counter!(ALERTS, "provider" => provider.id.clone()).absolute(of_binds(|bind| bind.alerts));
    for bind in &provider.binds {
        let labels =
            || vec![Label::new("provider", provider.id.clone()), Label::new("bind", bind.bind.to_string())];
        metrics::gauge!(BIND_UP, labels()).set(f64::from(u8::from(bind.is_up)));
        metrics::gauge!(IN_FLIGHT, labels()).set(bind.in_flight as f64);
    }
}

/// The words of our own states where there is one, so that both counters can be laid side by side.
pub fn receipt_word(state: ReceiptState) -> &'static str {
    match state {
        ReceiptState::Scheduled => "scheduled",
        ReceiptState::Enroute => "enroute",
        ReceiptState::Delivered => "delivered",
        ReceiptState::Expired => "expired",
        ReceiptState::Deleted => "deleted",
        ReceiptState::Undeliverable => "undeliverable",
        ReceiptState::Accepted => "accepted",
        ReceiptState::Unknown => "unknown",
        ReceiptState::Rejected => "rejected",
        ReceiptState::Skipped => "skipped",
    }
}

fn write_histograms(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    write_histogram(&mut text, ACCEPT_SECONDS, &[("", &snapshot.accept_seconds)]);
    write_histogram(&mut text, GROUP_MESSAGES, &[("", &snapshot.group_messages)]);
    write_histogram(&mut text, FLUSH_SECONDS, &[("", &snapshot.flush_seconds)]);
    let by_provider = |of: fn(&ProviderSnapshot) -> &Distribution| -> Vec<(&str, &Distribution)> {
        snapshot.providers.iter().map(|provider| (provider.id.as_str(), of(provider))).collect()
    };
    write_histogram(&mut text, SUBMIT_SECONDS, &by_provider(|provider| &provider.submit_seconds));
    write_histogram(&mut text, RECEIPT_SECONDS, &by_provider(|provider| &provider.receipt_seconds));
    text
}

/// One histogram with its series: (provider, or empty where it has none; what was measured).
fn write_histogram(text: &mut String, name: &str, series: &[(&str, &Distribution)]) {
    let Some(metric) = METRICS.iter().find(|metric| metric.name == name) else { return };
    // Writing to a string does not fail.
    let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} histogram", metric.help);
    for (provider, distribution) in series {
        // The id of a provider is letters, digits, `.`, `_` and `-`: nothing in it needs an escape.
        let label = if provider.is_empty() { String::new() } else { format!("provider=\"{provider}\"") };
        let comma = if label.is_empty() { "" } else { "," };
        let mut total = 0;
        for (bound, count) in &distribution.buckets {
            total += count;
            let _ = writeln!(text, "{name}_bucket{{{label}{comma}le=\"{bound}\"}} {total}");
        }
        total += distribution.beyond;
        let braced = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
        let _ = writeln!(text, "{name}_bucket{{{label}{comma}le=\"+Inf\"}} {total}");
        let _ = writeln!(text, "{name}_sum{braced} {}\n{name}_count{braced} {total}", distribution.sum);
    }
    text.push('\n');
}

#[cfg(test)]
mod tests;
