//! What may happen, and how often: what tenants, providers, phones and operators do, and crashes. What it comes to is the world's.

use engine::catalog::SettleOn;
use engine::command::AskKind;
use proptest::prelude::*;

/// Something that happens. Numbers choose among what there is at that time.
#[derive(Clone, Debug)]
pub enum Act {
    Submit {
        tenant: u8,
        count: u8,
        sms: Shape,
    },
    Keyed {
        key: u8,
        body: u8,
    },
    BindUp {
        provider: u8,
        bind: u8,
        window: u8,
    },
    BindDown {
        provider: u8,
        bind: u8,
        unsent: u8,
        later: u8,
    },
    Answer {
        provider: u8,
        bind: u8,
        count: u8,
        status: u8,
    },
    /// Everybody does what they should: everything is answered, receipts come, and sessions acknowledge.
    Work {
        receipts: u8,
    },
    Silence {
        provider: u8,
        bind: u8,
    },
    LateAnswer {
        choice: u16,
        status: u8,
    },
    Receipt {
        choice: u16,
        state: u8,
        phone: bool,
    },
    /// A phone writes, to a tenant or to nobody: whole, or a part of a message.
    Phone {
        text: u8,
        to: u8,
        part: Option<(u8, u8)>,
    },
    TenantUp {
        tenant: u8,
        window: u8,
    },
    TenantDown {
        tenant: u8,
        later: u8,
    },
    Acknowledge {
        tenant: u8,
        count: u8,
        status: u8,
    },
    /// A receipt that was given up is answered all the same.
    AcknowledgeLate {
        tenant: u8,
        choice: u8,
        status: u8,
    },
    Cancel {
        choice: u16,
    },
    /// A tenant gives a message another text, asks for its state, or cancels it, over SMPP.
    Replace {
        choice: u16,
        text: Shape,
    },
    Ask {
        choice: u16,
        kind: AskKind,
    },
    CancelAll {
        tenant: u8,
        to: u8,
    },
    /// Providers answer what they were asked.
    AskAnswers {
        count: u8,
        status: u8,
        state: u8,
    },
    /// Other prices, limits and plans of a tenant.
    Terms {
        price: u8,
        limit: u8,
        settle_on: SettleOn,
    },
    Define {
        suspended: bool,
        no_spare: bool,
        policy: u8,
    },
    Archive {
        serves: bool,
    },
    Pass {
        millis: u32,
    },
    /// An operator suspends, resumes, bounces, moves, disables or resolves something.
    Operate {
        operation: u8,
        filter: u8,
        lasts: u16,
        choice: u16,
    },
    Crash,
    /// The process ends before this turn's group is on disk.
    CrashAfter(Box<Act>),
}

#[derive(Clone, Debug)]
pub struct Shape {
    pub parts: u8,
    pub registered: u8,
    pub http: bool,
    pub priority: u8,
    pub later: Option<u16>,
    pub valid: Option<u16>,
    pub replaces_present: bool,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let later = prop::option::weighted(0.1, 0u16..5_000);
    let valid = prop::option::weighted(0.15, 5_000u16..60_000);
    let parts = prop_oneof![6 => Just(1u8), 1 => Just(2u8), 1 => Just(3u8), 1 => Just(5u8)];
    let replaces_present = prop::bool::weighted(0.2);
    (parts, 0u8..4, prop::bool::weighted(0.2), 0u8..3, later, valid, replaces_present).prop_map(
        |(parts, registered, http, priority, later, valid, replaces_present)| Shape {
            parts,
            registered,
            http,
            priority,
            later,
            valid,
            replaces_present,
        },
    )
}

pub fn acts() -> impl Strategy<Value = Act> {
    let one = prop_oneof![
        8 => (0u8..2, 1u8..25, shapes()).prop_map(|(tenant, count, sms)| Act::Submit { tenant, count, sms }),
        1 => (0u8..3, 0u8..2).prop_map(|(key, body)| Act::Keyed { key, body }),
        8 => (0u8..2, 0u8..2, 1u8..40).prop_map(|(provider, bind, window)| Act::BindUp { provider, bind, window }),
        2 => (0u8..2, 0u8..2, any::<u8>(), 0u8..3)
            .prop_map(|(provider, bind, unsent, later)| Act::BindDown { provider, bind, unsent, later }),
        10 => (0u8..2, 0u8..2, 1u8..20, 0u8..12)
            .prop_map(|(provider, bind, count, status)| Act::Answer { provider, bind, count, status }),
        12 => (0u8..10).prop_map(|receipts| Act::Work { receipts }),
        1 => (0u8..2, 0u8..2).prop_map(|(provider, bind)| Act::Silence { provider, bind }),
        1 => (any::<u16>(), 0u8..6).prop_map(|(choice, status)| Act::LateAnswer { choice, status }),
        10 => (any::<u16>(), 0u8..8, any::<bool>())
            .prop_map(|(choice, state, phone)| Act::Receipt { choice, state, phone }),
        6 => (0u8..20, 0u8..3, prop::option::of((1u8..4, 0u8..6)))
            .prop_map(|(text, to, part)| Act::Phone { text, to, part }),
        4 => (0u8..2, 1u8..20).prop_map(|(tenant, window)| Act::TenantUp { tenant, window }),
        1 => (0u8..2, 0u8..4).prop_map(|(tenant, later)| Act::TenantDown { tenant, later }),
        8 => (0u8..2, 1u8..30, 0u8..10)
            .prop_map(|(tenant, count, status)| Act::Acknowledge { tenant, count, status }),
        3 => (0u8..2, any::<u8>(), 0u8..5)
            .prop_map(|(tenant, choice, status)| Act::AcknowledgeLate { tenant, choice, status }),
        1 => any::<u16>().prop_map(|choice| Act::Cancel { choice }),
        6 => (any::<u16>(), shapes()).prop_map(|(choice, text)| Act::Replace { choice, text }),
        4 => (any::<u16>(), prop_oneof![Just(AskKind::Query), Just(AskKind::Cancel)])
            .prop_map(|(choice, kind)| Act::Ask { choice, kind }),
        1 => (0u8..2, 0u8..3).prop_map(|(tenant, to)| Act::CancelAll { tenant, to }),
        6 => (1u8..20, 0u8..6, 0u8..8)
            .prop_map(|(count, status, state)| Act::AskAnswers { count, status, state }),
        1 => (0u8..4, 0u8..60, prop_oneof![Just(SettleOn::Sent), Just(SettleOn::Delivered)])
            .prop_map(|(price, limit, settle_on)| Act::Terms { price, limit, settle_on }),
        1 => (prop::bool::weighted(0.3), any::<bool>(), 0u8..3)
            .prop_map(|(suspended, no_spare, policy)| Act::Define { suspended, no_spare, policy }),
        1 => prop::bool::weighted(0.7).prop_map(|serves| Act::Archive { serves }),
        4 => (1u32..15_000).prop_map(|millis| Act::Pass { millis }),
        1 => (15_000u32..90_000).prop_map(|millis| Act::Pass { millis }),
        4 => (0u8..12, 0u8..6, 0u16..20_000, any::<u16>())
            .prop_map(|(operation, filter, lasts, choice)| Act::Operate { operation, filter, lasts, choice }),
        1 => Just(Act::Crash),
    ];
    prop_oneof![
        30 => one.clone(),
        1 => one.prop_map(|act| Act::CrashAfter(Box::new(act))),
    ]
}
