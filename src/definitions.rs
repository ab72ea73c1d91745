//! The settings in the engine's terms. It decides nothing and knows no numbers: names become numbers in the engine.

use std::time::Duration;

use codecs::message_id::Form;
use codecs::receipt::{DateForm, Dates, Dialect, Pattern, State};
use codecs::smpp::status::Class;
use codecs::text::national::{Language, Languages};
use config::{
    Config, InDoubt, InterfaceVersion, MessageIdForm, MessageIdSide, Price, ReceiptDate, ReceiptDialect,
    ReceiptState, Settle, StatusMeaning, Strategy, TlvType,
};
use engine::catalog::{
    self, Definitions, Flash, InboundDefinition, InboundSettings, LongMessages, NationalTables,
    ProviderDefinition, ReceiptStyle, RouteDefinition, Settings, SettleOn, TenantDefinition, TlvId,
};
use engine::command::AskKind;
use engine::money::Micros;
use engine::provider_form::{AddressTypes, SubmitForm, TlvForm, TlvRule};
use engine::quota::Quotas;
use engine::status_table::{StatusRule, StatusTable};
use engine::submission::Priority;

/// How long a receipt waits for its response before it counts as unmatched.
const EARLY_RECEIPT: Duration = Duration::from_secs(600);
/// How long a block waits to be full before what is finished of it goes to the archive (design.md §3).
const ARCHIVE_AFTER: Duration = Duration::from_secs(60);

/// All that the engine needs of the settings.
pub fn definitions(config: &Config) -> Definitions {
    Definitions {
        settings: settings(config),
        tenants: config.tenant.iter().map(tenant).collect(),
        providers: config.provider.iter().map(provider).collect(),
        routes: config.route.iter().map(route).collect(),
        inbound: config.inbound.iter().map(inbound).collect(),
        rates: config
            .rates
            .iter()
            .map(|(name, rates)| {
                let entries = rates.prices.iter().map(|(prefix, price)| (prefix.clone(), Micros(price.0)));
                (name.clone(), entries.collect())
            })
            .collect(),
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        validity: config.queue.validity,
        queue_memory: config.queue.memory,
        queue_max: config.queue.max,
        tenant_queue_max: config.queue.per_tenant,
        untold_max: config.queue.untold,
        shares: [config.fairness.high, config.fairness.normal, config.fairness.low],
        high_percent: config.fairness.high_reserve_percent,
        fallback: config.routing.fallback,
        failover_after: config.routing.failover_after,
        early_receipt: EARLY_RECEIPT,
        archive_after: ARCHIVE_AFTER,
        inbound: phones(config),
    }
}

fn tenant(tenant: &config::Tenant) -> TenantDefinition {
    let (price, rates) = match &tenant.price {
        Price::Part(price) => (Some(Micros(price.0)), None),
        Price::Rates(name) => (None, Some(name.clone())),
    };
    TenantDefinition {
        id: tenant.id.clone(),
        currency: tenant.currency.clone(),
        price,
        rates,
        opening_balance: Micros(tenant.balance.0),
        credit_limit: Micros(tenant.credit_limit.0),
        priority: match tenant.priority {
            config::Priority::Normal => Priority::Normal,
            config::Priority::High => Priority::High,
        },
        status: match tenant.status {
            config::TenantStatus::Active => catalog::TenantStatus::Active,
            config::TenantStatus::Suspended => catalog::TenantStatus::Suspended,
            config::TenantStatus::Paused => catalog::TenantStatus::Paused,
        },
        expires_at: tenant.expires_at.map(|at| codecs::instant::Wall(at.0)),
        settle_on: match tenant.settle {
            Settle::Sent => SettleOn::Sent,
            Settle::Delivered => SettleOn::Delivered,
        },
        default_provider: tenant.default_provider.clone(),
        receipt_ttl: tenant.receipt_ttl,
        quotas: Quotas([tenant.per_minute, tenant.per_hour, tenant.per_day]),
        receipts: tenant.smpp.as_ref().map(receipts).unwrap_or_default(),
        binds: tenant.smpp.is_some(),
    }
}

/// What the engine needs of one provider.
pub fn provider(provider: &config::Provider) -> ProviderDefinition {
    ProviderDefinition {
        id: provider.id.clone(),
        enabled: provider.enabled,
        priority: provider.priority,
        throughput: provider.throughput,
        burst: provider.burst,
        bind_throughput: provider.bind_throughput,
        message_id: message_id(provider.message_id),
        tlv_id: tlv_id(provider.message_id_tlv),
        in_doubt: match provider.in_doubt {
            InDoubt::Resend => catalog::InDoubt::Resend,
            InDoubt::Hold => catalog::InDoubt::Hold,
            InDoubt::Fail => catalog::InDoubt::Fail,
        },
        in_doubt_wait: provider.in_doubt_wait,
        receipt_wait: provider.receipt_wait,
        query_after: provider.query_after,
        submit_multi: provider.submit_multi.is_some(),
        operations: provider.operations.iter().map(|operation| ask_kind(*operation)).collect(),
        receipts: match provider.registered_delivery {
            config::AskReceipt::Asked => catalog::AskReceipt::Asked,
            config::AskReceipt::Always => catalog::AskReceipt::Always,
            config::AskReceipt::Never => catalog::AskReceipt::Never,
        },
        receipt_parts: match provider.receipt_parts {
            config::ReceiptParts::Each => catalog::ReceiptParts::Each,
            config::ReceiptParts::Any => catalog::ReceiptParts::Any,
        },
        charset: provider_charset(provider.charset),
        packed: provider.texts.packed,
        national: NationalTables {
            single: languages(&provider.texts.single_shift),
            locking: languages(&provider.texts.locking_shift),
        },
        long_messages: match provider.texts.long_messages {
            config::LongMessages::Udh8 => LongMessages::Udh8,
            config::LongMessages::Udh16 => LongMessages::Udh16,
            config::LongMessages::Sar => LongMessages::Sar,
            config::LongMessages::Payload => LongMessages::Payload,
        },
        flash: match provider.texts.flash {
            config::Flash::AsGiven => Flash::AsGiven,
            config::Flash::General => Flash::General,
            config::Flash::Class => Flash::Class,
            config::Flash::Subunit => Flash::Subunit,
        },
        cost: Micros(provider.cost.0),
        attempts_max: provider.retry.attempts,
        retry_first: provider.retry.pause.min,
        retry_max: provider.retry.pause.max,
        inbound_tenant: provider.inbound_tenant.clone(),
        statuses: StatusTable::new(provider.status.iter().map(status_rule).collect()),
        types: AddressTypes {
            international: provider.types.international,
            short: provider.types.short,
            alphanumeric: provider.types.alphanumeric,
            destination: provider.types.destination,
        },
        service_type: Some(provider.service_type.clone()).filter(|said| !said.is_empty()),
        submit: match provider.submit {
            config::SubmitForm::SubmitSm => SubmitForm::SubmitSm,
            config::SubmitForm::DataSm => SubmitForm::DataSm,
        },
        takes_tlvs: provider.interface_version != InterfaceVersion::V33,
        tlvs: provider.tlv.iter().map(tlv_rule).collect(),
    }
}

fn status_rule(rule: &config::StatusRule) -> StatusRule {
    StatusRule {
        first: rule.first,
        last: rule.last,
        class: match rule.class {
            StatusMeaning::Permanent => Class::Permanent,
            StatusMeaning::Temporary => Class::Retry,
            StatusMeaning::Throttle => Class::Throttle,
            StatusMeaning::InDoubt => Class::InDoubt,
        },
        delay: rule.delay,
        tries: rule.tries,
    }
}

fn tlv_rule(tlv: &config::Tlv) -> TlvRule {
    let form = tlv_form(tlv.form);
    let constant = tlv.value.as_ref().and_then(|value| form.octets(value.as_bytes()));
    TlvRule { tag: tlv.tag, name: tlv.name.clone(), form, constant, pass: tlv.pass }
}

/// How the value of a TLV is written.
pub fn tlv_form(form: TlvType) -> TlvForm {
    match form {
        TlvType::Octets => TlvForm::Octets,
        TlvType::CString => TlvForm::CString,
        TlvType::U8 => TlvForm::U8,
        TlvType::U16 => TlvForm::U16,
        TlvType::U32 => TlvForm::U32,
    }
}

fn tlv_id(side: MessageIdSide) -> TlvId {
    match side {
        MessageIdSide::Either => TlvId::Either,
        MessageIdSide::Response => TlvId::Response,
        MessageIdSide::Receipt => TlvId::Receipt,
    }
}

/// How a provider's message ids read.
pub fn message_id(form: MessageIdForm) -> Form {
    match form {
        MessageIdForm::Text => Form::Text,
        MessageIdForm::Hex => Form::Hex,
        MessageIdForm::Dec => Form::Dec,
        MessageIdForm::HexDec => Form::HexDec,
        MessageIdForm::DecHex => Form::DecHex,
    }
}

/// How a provider's receipts read.
pub fn dialect(receipt: &ReceiptDialect) -> Dialect {
    let state = |(word, state): &(String, ReceiptState)| (word.clone().into_bytes(), receipt_state(*state));
    Dialect {
        offset_minutes: i32::from(receipt.offset_minutes),
        date: match receipt.date {
            ReceiptDate::Auto => DateForm::Auto,
            ReceiptDate::Short => DateForm::Short,
            ReceiptDate::Long => DateForm::Long,
            ReceiptDate::Epoch => DateForm::Epoch,
        },
        states: receipt.stat.iter().map(state).collect(),
        pattern: receipt.pattern.as_ref().and_then(|pattern| Pattern::parse(pattern).ok()),
    }
}

fn receipt_state(state: ReceiptState) -> State {
    match state {
        ReceiptState::Scheduled => State::Scheduled,
        ReceiptState::Enroute => State::Enroute,
        ReceiptState::Delivered => State::Delivered,
        ReceiptState::Expired => State::Expired,
        ReceiptState::Deleted => State::Deleted,
        ReceiptState::Undeliverable => State::Undeliverable,
        ReceiptState::Accepted => State::Accepted,
        ReceiptState::Unknown => State::Unknown,
        ReceiptState::Rejected => State::Rejected,
        ReceiptState::Skipped => State::Skipped,
    }
}

fn receipts(smpp: &config::TenantSmpp) -> ReceiptStyle {
    let radix = |radix| match radix {
        config::IdRadix::Dec => catalog::IdRadix::Dec,
        config::IdRadix::Hex => catalog::IdRadix::Hex,
    };
    ReceiptStyle {
        id: radix(smpp.message_id),
        text_id: radix(smpp.receipt_id),
        dates: Dates { seconds: smpp.receipt_seconds, offset_minutes: smpp.receipt_offset },
        tlvs: smpp.receipt_tlvs,
        text: smpp.receipt_text,
    }
}

fn ask_kind(operation: config::Operation) -> AskKind {
    match operation {
        config::Operation::Query => AskKind::Query,
        config::Operation::Cancel => AskKind::Cancel,
        config::Operation::Replace => AskKind::Replace,
    }
}

/// The codec's languages of the setting's.
pub fn languages(named: &[config::Language]) -> Languages {
    let language = |named: &config::Language| match named {
        config::Language::Turkish => Language::Turkish,
        config::Language::Spanish => Language::Spanish,
        config::Language::Portuguese => Language::Portuguese,
        config::Language::Bengali => Language::Bengali,
        config::Language::Gujarati => Language::Gujarati,
        config::Language::Hindi => Language::Hindi,
        config::Language::Kannada => Language::Kannada,
        config::Language::Malayalam => Language::Malayalam,
        config::Language::Oriya => Language::Oriya,
        config::Language::Punjabi => Language::Punjabi,
        config::Language::Tamil => Language::Tamil,
        config::Language::Telugu => Language::Telugu,
        config::Language::Urdu => Language::Urdu,
    };
    named.iter().map(language).collect()
}

fn provider_charset(charset: config::Charset) -> catalog::Charset {
    match charset {
        config::Charset::Gsm7 => catalog::Charset::Gsm7,
        config::Charset::Latin1 => catalog::Charset::Latin1,
        config::Charset::Ascii => catalog::Charset::Ascii,
        config::Charset::Utf8 => catalog::Charset::Utf8,
        config::Charset::Ucs2 => catalog::Charset::Ucs2,
    }
}

fn phones(config: &Config) -> InboundSettings {
    let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    InboundSettings {
        parts_wait: config.phones.parts_wait,
        parts_max: count(config.phones.parts_max),
        repeat_window: config.phones.repeat_window,
        kept_max: count(config.kept.max),
        kept_octets: count(config.kept.octets.0),
        kept_for: config.kept.time,
    }
}

fn inbound(rule: &config::Inbound) -> InboundDefinition {
    InboundDefinition {
        providers: rule.matches.provider.clone(),
        to: rule.matches.to.clone(),
        to_prefixes: rule.matches.to_prefix.clone(),
        from_prefixes: rule.matches.from_prefix.clone(),
        keywords: rule.matches.keyword.clone(),
        tenant: rule.tenant.clone(),
    }
}

fn route(route: &config::Route) -> RouteDefinition {
    let weight = |place: usize| route.weights.get(place).copied().unwrap_or(1);
    RouteDefinition {
        priority: i32::try_from(route.priority).unwrap_or(i32::MAX),
        prefixes: route.matches.prefix.clone(),
        tenants: route.matches.tenant.clone(),
        senders: route.matches.sender.clone(),
        providers: route
            .providers
            .iter()
            .enumerate()
            .map(|(place, id)| (id.clone(), weight(place)))
            .collect(),
        strategy: match route.strategy {
            Strategy::Failover => catalog::Strategy::Failover,
            Strategy::Weighted => catalog::Strategy::Weighted,
            Strategy::LeastCost => catalog::Strategy::LeastCost,
            Strategy::RoundRobin => catalog::Strategy::RoundRobin,
        },
    }
}
