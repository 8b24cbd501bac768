//! What `sre inspect` saw as Markdown, for an issue, a post-mortem or a runbook.

use super::cells;
use crate::inspect::system::{Figure, Inspection, Missing, Part, Redis, Spread, Traffic, Warning};
use crate::report::markdown::{cell, table};

/// The whole as Markdown.
pub fn markdown(inspection: &Inspection) -> String {
    let mut parts = vec![format!("## {}", cell(&inspection.namespace))];
    let mut facts = Vec::new();
    if let Some(part) = &inspection.cluster {
        facts.push(format!("cluster: {}", fact(part, cells::cluster)));
    }
    if let Some(part) = &inspection.prometheus {
        facts.push(format!("Prometheus: {}", fact(part, cells::prometheus)));
    }
    facts.extend(inspection.notes.iter().map(|note| cell(note)));
    if !facts.is_empty() {
        parts.push(facts.iter().map(|fact| format!("- {fact}")).collect::<Vec<_>>().join("\n"));
    }
    match &inspection.ingress {
        None => {}
        Some(Part::Missing(why)) => parts.extend(without("ingress", why)),
        Some(Part::Had(all)) => {
            for one in all {
                let title = match one.namespaces.as_slice() {
                    [] => one.controller.to_owned(),
                    some => format!("{} in {}", one.controller, some.join(", ")),
                };
                parts.push(format!("### Ingress: {}", cell(&title)));
                parts.extend(traffic(&one.traffic));
            }
        }
    }
    match &inspection.whereami {
        None => {}
        Some(Part::Missing(why)) => parts.extend(without("whereami", why)),
        Some(Part::Had(one)) => {
            parts.push("### whereami".into());
            parts.extend(traffic(std::slice::from_ref(one)));
        }
    }
    match &inspection.pods {
        None => {}
        Some(Part::Missing(why)) => parts.extend(without("pods", why)),
        Some(Part::Had(found)) => parts.extend(pods(found)),
    }
    match &inspection.redis {
        None => {}
        Some(Part::Missing(why)) => parts.extend(without("Redis", why)),
        Some(Part::Had(all)) => parts.extend(all.iter().flat_map(redis)),
    }
    parts.push(format!("<sub>{}</sub>", cells::end(inspection)));
    parts.join("\n\n") + "\n"
}

fn fact<T>(part: &Part<T>, text: impl Fn(&T) -> String) -> String {
    match part {
        Part::Had(had) => cell(&text(had)),
        Part::Missing(why) => reason(why),
    }
}

fn reason(why: &Missing) -> String {
    let next = why.next.as_ref().map(|next| format!(" → {next}")).unwrap_or_default();
    cell(&format!("? {}{next}", why.why))
}

fn without(title: &str, why: &Missing) -> Vec<String> {
    vec![format!("### {title}"), reason(why)]
}

fn warnings(all: &[Warning]) -> Option<String> {
    let lines: Vec<String> =
        all.iter().map(|warning| cell(&format!("! {}: {}", warning.what, warning.means))).collect();
    (!lines.is_empty())
        .then(|| lines.iter().map(|line| format!("> {line}")).collect::<Vec<_>>().join("\n>\n"))
}

fn traffic(all: &[Traffic]) -> Vec<String> {
    let mut parts = Vec::new();
    let latency = |one: &Traffic| -> [String; 8] {
        let mut row: [String; 8] = std::array::from_fn(|_| crate::figures::NOTHING.into());
        row[0] = cell(&one.of);
        if let Some(latency) = one.latency.had() {
            for (i, text) in cells::quantiles(latency).iter().enumerate() {
                row[i + 1] = cell(text);
            }
            row[6] = cells::requests(latency);
            row[7] = cells::window(&latency.window);
        }
        row
    };
    let titles = ["latency", "p25", "p50", "p75", "p95", "p99", "requests", "window"];
    parts.push(table(&titles, "lrrrrrrr", all.iter().map(latency)));
    let rates = |one: &Traffic| -> [String; 5] {
        let nothing = || crate::figures::NOTHING.to_owned();
        match one.rates.had() {
            None => [cell(&one.of), nothing(), nothing(), nothing(), nothing()],
            Some(rates) => {
                let [per_second, good, ok] = cells::rates(rates);
                [cell(&one.of), per_second, cell(&good), cell(&ok), cells::window(&rates.window)]
            }
        }
    };
    parts.push(table(&["rates", "requests", "non-5xx", "2xx", "window"], "lrrrr", all.iter().map(rates)));
    for one in all {
        let mut reasons: Vec<&Missing> = why(&one.latency).into_iter().chain(why(&one.rates)).collect();
        reasons.dedup();
        parts.extend(reasons.into_iter().map(|why| format!("{}: {}", cell(&one.of), reason(why))));
        parts.extend(warnings(&one.warnings));
    }
    parts
}

fn why<T>(part: &Part<T>) -> Option<&Missing> {
    match part {
        Part::Missing(why) => Some(why),
        Part::Had(_) => None,
    }
}

fn pods(found: &Spread) -> Vec<String> {
    let mut parts = vec![format!("### Pods: {}", cell(&cells::worst(found)))];
    let row = |workload: &crate::inspect::system::Workload| {
        [
            cell(&cells::workload(workload)),
            workload.pods.to_string(),
            cell(&cells::zones(workload)),
            cells::lost(workload),
            cells::verdict(workload.verdict).into(),
        ]
    };
    let titles = ["workload", "pods", "in zones", "zone lost", "spread"];
    parts.push(table(&titles, "lrlrl", found.workloads.iter().map(row)));
    let row = |node: &crate::inspect::system::OnNode| {
        [
            cell(&node.name),
            cell(node.zone.as_deref().unwrap_or(crate::figures::NOTHING)),
            node.pods.to_string(),
        ]
    };
    parts.push(table(&["node", "zone", "pods"], "llr", found.nodes.iter().map(row)));
    parts.push(format!("as told by {}", cell(&found.source.to_string())));
    parts.extend(warnings(&found.warnings));
    parts
}

fn redis(redis: &Redis) -> Vec<String> {
    let about = [redis.role.clone(), redis.version.clone()].into_iter().flatten();
    let title: Vec<String> = [redis.name.clone()].into_iter().chain(about).collect();
    let row = |figure: &Figure| {
        let (mark, text, window) = match &figure.value {
            Part::Missing(why) => ("?", why.why.clone(), String::new()),
            Part::Had(value) => (
                if figure.warns { "!" } else { "✔" },
                value.text.clone(),
                value.window.as_ref().map(cells::window).unwrap_or_default(),
            ),
        };
        [mark.to_owned(), cell(figure.name), cell(&text), window]
    };
    let mut parts = vec![
        format!("### Redis: {}", cell(&title.join(" · "))),
        table(&["", "figure", "", "window"], "lllr", redis.figures.iter().map(row)),
    ];
    parts.extend(warnings(&redis.warnings));
    parts
}
