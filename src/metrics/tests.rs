//! Every name is published, described and in the reference page; nothing else is.

use std::collections::BTreeSet;

use super::*;

fn full() -> Snapshot {
    let distribution = Distribution { buckets: vec![(0.001, 2), (0.005, 3)], beyond: 1, sum: 0.5 };
    let provider = ProviderSnapshot {
        id: "up".to_owned(),
        submitted: 7,
        outcomes: [1; State::ALL.len()],
        receipts: [2; ReceiptState::ALL.len()],
        queue_depth: [1, 2, 3],
        rate: 50.0,
        binds: vec![BindSnapshot {
            bind: 1,
            is_up: true,
            in_flight: 9,
            malformed: 3,
            odd_tlvs: 5,
            responses_unmatched: 2,
            alerts: 6,
        }],
        submit_seconds: distribution.clone(),
        receipt_seconds: distribution.clone(),
        ..ProviderSnapshot::default()
    };
    Snapshot {
        accepted: 41,
        providers: vec![provider],
        accept_seconds: distribution.clone(),
        group_messages: distribution.clone(),
        flush_seconds: distribution,
        credit_reserved: vec![("KES".to_owned(), Micros(1_500_000))],
        ..Snapshot::default()
    }
}

fn rendered(snapshot: &Snapshot, doors: &DoorCounts) -> String {
    let metrics = Metrics::new();
    metrics.publish(snapshot, doors);
    metrics.render()
}

#[test]
fn every_name_is_published_described_and_nothing_else_is() {
    let text = rendered(&full(), &DoorCounts::default());
    let lines = |mark: &str| -> BTreeSet<String> {
        let names = text.lines().filter_map(|line| line.strip_prefix(mark)?.split(' ').next());
        names.map(str::to_owned).collect()
    };
    let declared: BTreeSet<String> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    assert_eq!(lines("# TYPE "), declared);
    assert_eq!(lines("# HELP "), declared);
}

#[test]
fn the_numbers_are_where_they_belong() {
    let doors = DoorCounts::default();
    doors.refused(Refusal::InvalidSource);
    let mut snapshot = full();
    snapshot.refused[Refusal::InvalidRequest as usize] = 4;
    let text = rendered(&snapshot, &doors);
    for line in [
        "tidegate_messages_accepted_total 41",
        "tidegate_messages_refused_total{code=\"invalid_request\"} 5",
        "tidegate_messages_refused_total{code=\"no_route\"} 0",
        "tidegate_messages_submitted_total{provider=\"up\"} 7",
        "tidegate_messages_outcome_total{provider=\"up\",state=\"in_doubt\"} 1",
        "tidegate_messages_receipts_total{provider=\"up\",state=\"delivered\"} 2",
        "tidegate_queue_depth{provider=\"up\",priority=\"high\"} 3",
        "tidegate_window_in_flight{provider=\"up\",bind=\"1\"} 9",
        "tidegate_bind_up{provider=\"up\",bind=\"1\"} 1",
        "tidegate_smpp_provider_pdus_bad_total{provider=\"up\",cause=\"malformed\"} 3",
        "tidegate_smpp_provider_pdus_bad_total{provider=\"up\",cause=\"unmatched\"} 2",
        "tidegate_smpp_tlvs_odd_total{from=\"providers\"} 5",
        "tidegate_smpp_provider_alerts_total{provider=\"up\"} 6",
        "tidegate_provider_rate{provider=\"up\"} 50",
        "tidegate_credit_reserved{currency=\"KES\"} 1.5",
        "tidegate_accept_seconds_bucket{le=\"0.001\"} 2",
        "tidegate_accept_seconds_bucket{le=\"0.005\"} 5",
        "tidegate_accept_seconds_bucket{le=\"+Inf\"} 6",
        "tidegate_accept_seconds_count 6",
        "tidegate_submit_seconds_bucket{provider=\"up\",le=\"0.001\"} 2",
        "tidegate_submit_seconds_bucket{provider=\"up\",le=\"+Inf\"} 6",
        "tidegate_receipt_seconds_sum{provider=\"up\"} 0.5",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_second_snapshot_takes_the_place_of_the_first() {
    let metrics = Metrics::new();
    metrics.publish(&full(), &DoorCounts::default());
    metrics.publish(&Snapshot { accepted: 42, ..full() }, &DoorCounts::default());
    let text = metrics.render();
    assert!(text.contains("tidegate_messages_accepted_total 42\n"), "{text}");
    assert_eq!(text.matches("tidegate_accept_seconds_count").count(), 1);
}

#[test]
fn the_engines_milliseconds_become_seconds() {
    let mut histogram = Histogram::default();
    for millis in [1, 2, 2, 4_000_000] {
        histogram.add(millis);
    }
    let distribution = Distribution::of_millis(&histogram);
    assert_eq!(distribution.buckets[..2], [(0.001, 1), (0.002, 2)]);
    assert_eq!(distribution.beyond, 1);
    assert_eq!(distribution.sum, 4_000.005);
}

/// The page is made from the declarations: `UPDATE_DOCS=1 cargo test` writes it.
#[test]
fn the_reference_page_is_true() {
    let mut page = String::from(
        "# Metrics\n\nAll series of `/metrics` on the operations listener. This page is made from the program: do not edit it, \
         run `UPDATE_DOCS=1 cargo test the_reference_page_is_true`.\n\n| name | kind | labels | unit | meaning |\n|---|---|---|---|---|\n",
    );
    for metric in METRICS {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        let unit = if metric.unit == Unit::Count { "" } else { metric.unit.as_str() };
        writeln!(page, "| `{}` | {kind} | {} | {unit} | {} |", metric.name, metric.labels, metric.help)
            .unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        kept, page,
        "docs/metrics.md is out of date: run `UPDATE_DOCS=1 cargo test the_reference_page_is_true`"
    );
}
