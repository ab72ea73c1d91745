//! The report of a run: one HTML page that needs nothing else, with plots drawn as inline SVG.

use std::fmt::Write;

use crate::{measure::Percentiles, summary::Summary};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 260.0;
/// Room for the labels of the axes.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 30.0;
const BOTTOM: f64 = 30.0;
const TOP: f64 = 16.0;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:900px;padding:0 1rem;color:#1c2430;background:#fff}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse}td{padding:.15rem 1.2rem .15rem 0}\
td+td{text-align:right;font-variant-numeric:tabular-nums}svg{max-width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:#5a6472}\
.bad{color:#b3261e;font-weight:600}.a{stroke:#1565c0}.b{stroke:#d1640b}.key{padding-right:1rem}.key.a{color:#1565c0}.key.b{color:#d1640b}\
@media(prefers-color-scheme:dark){body{color:#dde3ea;background:#14181d}svg text{fill:#9aa4b0}.a{stroke:#64a8f0}.b{stroke:#f09b52}.key.a{color:#64a8f0}.key.b{color:#f09b52}.bad{color:#ff8a80}}";

/// One line of a plot.
struct Line<'a> {
    class: &'a str,
    name: &'a str,
    points: Vec<(f64, f64)>,
}

/// The page.
#[must_use]
pub fn page(summary: &Summary) -> String {
    let shape = &summary.shape;
    let title = escape(&format!("{} load on {}", shape.kind, shape.target));
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{title}</title><style>{STYLE}</style></head>\
         <body><h1>{title}</h1>\n"
    );
    page.push_str(&figures(summary));
    page.push_str("<h2>Messages a second</h2>\n");
    let series = |value: fn(&crate::measure::Point) -> f64| {
        summary.series.iter().map(|point| (point.second, value(point))).collect::<Vec<_>>()
    };
    let lines = [
        Line { class: "a", name: "accepted", points: series(|point| point.accepted) },
        Line { class: "b", name: "receipted", points: series(|point| point.finished) },
    ];
    page.push_str(&plot(&lines, "s", |x| format!("{x:.1}")));
    page.push_str("<h2>Latency in milliseconds by percentile</h2>\n");
    let lines = [
        Line { class: "a", name: "accept", points: curve(&summary.accept_milliseconds) },
        Line { class: "b", name: "end to end", points: curve(&summary.end_to_end_milliseconds) },
    ];
    page.push_str(&plot(&lines, "%", percentile_label));
    page.push_str("</body></html>");
    page
}

fn figures(summary: &Summary) -> String {
    let shape = &summary.shape;
    let mut rows = vec![
        ("connections".to_owned(), shape.connections.to_string()),
        (
            if shape.kind == "http" { "messages a request" } else { "window" }.to_owned(),
            shape.window.to_string(),
        ),
        ("sent".to_owned(), summary.sent.to_string()),
        ("accepted".to_owned(), summary.accepted.to_string()),
    ];
    rows.extend(shape.rate.map(|rate| ("rate asked for".to_owned(), format!("{rate:.0}"))));
    rows.extend(summary.refused.iter().map(|(code, count)| (format!("refused {code}"), count.to_string())));
    rows.extend(
        summary.receipts.iter().map(|(state, count)| (format!("receipts {state}"), count.to_string())),
    );
    rows.extend([
        ("not now".to_owned(), summary.throttled.to_string()),
        ("unanswered".to_owned(), summary.unanswered.to_string()),
        ("lost".to_owned(), summary.lost.to_string()),
        ("duplicates".to_owned(), summary.duplicates.to_string()),
        ("accepted a second".to_owned(), format!("{:.0}", summary.accepted_per_second)),
        ("end to end a second".to_owned(), format!("{:.0}", summary.messages_per_second)),
        ("seconds".to_owned(), format!("{:.2}", summary.seconds)),
        (
            "generator's CPU a message, µs".to_owned(),
            format!("{:.2}", summary.generator_cpu_microseconds_per_message),
        ),
    ]);
    for (name, latency) in
        [("accept", &summary.accept_milliseconds), ("end to end", &summary.end_to_end_milliseconds)]
    {
        let Percentiles { p50, p99, p999, max, .. } = latency;
        rows.push((
            format!("{name} ms, p50 / p99 / p99.9 / max"),
            format!("{p50:.2} / {p99:.2} / {p999:.2} / {max:.2}"),
        ));
    }
    let mut table = String::from("<table>\n");
    for (name, value) in rows {
        let bad = matches!(name.as_str(), "lost" | "duplicates") && value != "0";
        let class = if bad { " class=\"bad\"" } else { "" };
        let _ = writeln!(table, "<tr><td>{}</td><td{class}>{}</td></tr>", escape(&name), escape(&value));
    }
    table + "</table>\n"
}

/// Percentiles drawn by how many nines they have, as the interesting ones lie close to 100.
fn curve(latency: &Percentiles) -> Vec<(f64, f64)> {
    if latency.samples == 0 {
        return Vec::new();
    }
    let nines = |percentile: f64| -(1.0 - percentile.min(99.999) / 100.0).log10();
    latency.curve.iter().map(|(percentile, value)| (nines(*percentile), *value)).collect()
}

fn percentile_label(nines: f64) -> String {
    let percentile = 100.0 * (1.0 - 10_f64.powf(-nines));
    let text = format!("{percentile:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn plot(lines: &[Line<'_>], unit: &str, label: impl Fn(f64) -> String) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let greatest = |value: fn(&(f64, f64)) -> f64| points().map(value).fold(0.0_f64, f64::max);
    let (x_max, y_max) = (greatest(|point| point.0).max(0.1), round_up(greatest(|point| point.1)));
    let x = |value: f64| LEFT + value / x_max * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / y_max * (HEIGHT - BOTTOM - TOP);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n"
    );
    for step in 0..=4 {
        let value = y_max * f64::from(step) / 4.0;
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {0:.1}H{1}\" stroke=\"#8884\"/><text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\">{4}</text>",
            y(value),
            WIDTH - RIGHT,
            LEFT - 6.0,
            y(value) + 4.0,
            short(value)
        );
    }
    for step in 0..=5 {
        let value = x_max * f64::from(step) / 5.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{} {unit}</text>",
            x(value),
            HEIGHT - 8.0,
            label(value)
        );
    }
    for line in lines.iter().filter(|line| !line.points.is_empty()) {
        let path: Vec<String> =
            line.points.iter().map(|point| format!("{:.1} {:.1}", x(point.0), y(point.1))).collect();
        let _ = writeln!(
            svg,
            "<path class=\"{}\" d=\"M{}\" fill=\"none\" stroke-width=\"2\"/>",
            line.class,
            path.join("L")
        );
    }
    svg.push_str("</svg><p>");
    for line in lines.iter().filter(|line| !line.points.is_empty()) {
        let _ = write!(svg, "<span class=\"key {}\">&#9632; {}</span>", line.class, line.name);
    }
    svg + "</p>\n"
}

/// The next number of the form 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 5.0, 8.0, 10.0]
        .iter()
        .map(|step| step * power)
        .find(|limit| *limit >= value)
        .unwrap_or(value)
}

fn short(value: f64) -> String {
    match value {
        value if value >= 1_000_000.0 => format!("{:.2} M", value / 1_000_000.0),
        value if value >= 10_000.0 => format!("{:.0} k", value / 1_000.0),
        value if value >= 10.0 || value == 0.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{measure::Point, summary::Shape};

    fn summary() -> Summary {
        let curve = vec![(0.0, 0.5), (50.0, 1.0), (99.0, 3.0), (100.0, 9.0)];
        let latency =
            Percentiles { samples: 10, p50: 1.0, p99: 3.0, max: 9.0, curve, ..Percentiles::default() };
        let point = |second, accepted, finished| Point { second, accepted, finished };
        Summary {
            shape: Shape {
                send_seconds: None,
                kind: "smpp",
                target: "<b>&".into(),
                connections: 4,
                window: 10,
                count: 100,
                rate: None,
            },
            lost: 3,
            series: vec![point(0.5, 1_000.0, 900.0), point(1.5, 2_000.0, 2_100.0)],
            accept_milliseconds: latency.clone(),
            end_to_end_milliseconds: latency,
            ..Summary::default()
        }
    }

    #[test]
    fn the_page_stands_alone_draws_each_line_and_escapes_what_it_is_given() {
        let page = page(&summary());
        assert_eq!(page.matches("<svg").count(), 2);
        assert_eq!(page.matches("stroke-width").count(), 4);
        assert!(page.contains("&lt;b&gt;&amp;") && !page.contains("<b>"));
        assert!(page.contains("<td class=\"bad\">3</td>"));
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("NaN"));
    }

    #[test]
    fn a_run_without_anything_still_has_a_page() {
        let page = page(&Summary::default());
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }

    #[test]
    fn labels_are_short_and_right() {
        assert_eq!([0.0, 1.0, 2.0, 5.0].map(percentile_label), ["0", "90", "99", "99.999"]);
        assert_eq!(
            [0.0, 0.25, 250.0, 25_000.0, 2_500_000.0].map(short),
            ["0", "0.25", "250", "25 k", "2.50 M"]
        );
        assert_eq!([0.0, 0.7, 1.0, 310_000.0].map(round_up), [1.0, 0.8, 1.0, 400_000.0]);
    }
}
