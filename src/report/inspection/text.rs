//! What `sre inspect` saw, as a screen of 80 columns.

use super::cells;
use crate::check::Verdict;
use crate::inspect::system::{Figure, Ingress, Inspection, Missing, Part, Redis, Spread, Traffic, Warning};
use crate::report::layout::{hint, marked, notice, paragraph, section, spread, table, unwrapped_table};

const WIDTH: usize = crate::report::layout::WIDTH;

/// The whole as a screen of 80 columns, with colours.
pub fn text(inspection: &Inspection) -> String {
    let mut lines = head(inspection);
    let namespace = &inspection.namespace;
    if let Some(part) = &inspection.ingress {
        match part {
            Part::Had(all) => lines.extend(all.iter().flat_map(ingress)),
            Part::Missing(why) => lines.extend(without("ingress", why)),
        }
    }
    if let Some(part) = &inspection.whereami {
        lines.extend(section("whereami"));
        match part {
            Part::Had(one) => lines.extend(traffic(std::slice::from_ref(one))),
            Part::Missing(why) => lines.extend(missing("what it served", why)),
        }
    }
    if let Some(part) = &inspection.pods {
        match part {
            Part::Had(found) => lines.extend(pods(namespace, found)),
            Part::Missing(why) => lines.extend(without(&format!("pods of {namespace}"), why)),
        }
    }
    if let Some(part) = &inspection.redis {
        match part {
            Part::Had(all) => lines.extend(all.iter().flat_map(redis)),
            Part::Missing(why) => lines.extend(without("Redis", why)),
        }
    }
    lines.push(String::new());
    lines.push(cells::end(inspection));
    lines.join("\n")
}

fn head(inspection: &Inspection) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |name: &str, text: Result<String, &Missing>| match text {
        Ok(text) => {
            // Continued lines stand under the text, not under the name.
            let room = WIDTH - 12;
            for (i, part) in crate::report::layout::wrap(&text, room).iter().enumerate() {
                lines.push(format!("{:<12}{part}", if i == 0 { name } else { "" }));
            }
        }
        Err(why) => lines.extend(marked_missing(0, name, why)),
    };
    if let Some(part) = &inspection.cluster {
        line("cluster", had(part).map(cells::cluster));
    }
    line("namespace", Ok(inspection.namespace.clone()));
    if let Some(part) = &inspection.prometheus {
        line("Prometheus", had(part).map(cells::prometheus));
    }
    lines.extend(
        inspection
            .notes
            .iter()
            .flat_map(|note| notice(0, note, "").lines().map(str::to_owned).collect::<Vec<_>>()),
    );
    lines
}

fn had<T>(part: &Part<T>) -> Result<&T, &Missing> {
    match part {
        Part::Had(had) => Ok(had),
        Part::Missing(missing) => Err(missing),
    }
}

fn ingress(ingress: &Ingress) -> Vec<String> {
    let place = match ingress.namespaces.as_slice() {
        [] => String::new(),
        some => format!(" in {}", some.join(", ")),
    };
    let mut lines = section(&format!("ingress · {}{place}", ingress.controller)).to_vec();
    lines.extend(traffic(&ingress.traffic));
    lines
}

fn traffic(all: &[Traffic]) -> Vec<String> {
    let mut lines = Vec::new();
    let latencies: Vec<Vec<String>> = all
        .iter()
        .filter_map(|one| {
            let latency = one.latency.had()?;
            let name = [one.of.clone()].into_iter();
            let rest = [cells::requests(latency), cells::window(&latency.window)];
            Some(name.chain(cells::quantiles(latency)).chain(rest).collect())
        })
        .collect();
    if !latencies.is_empty() {
        let titles = ["latency".to_owned()].into_iter().chain(cells::quantile_titles());
        let titles: Vec<String> = titles.chain(["requests".into(), "window".into()]).collect();
        lines.extend(unwrapped_table(2, &titles, &latencies));
    }
    let rates: Vec<Vec<String>> = all
        .iter()
        .filter_map(|one| {
            let rates = one.rates.had()?;
            let [per_second, good, ok] = cells::rates(rates);
            Some(vec![one.of.clone(), per_second, good, ok, cells::window(&rates.window)])
        })
        .collect();
    if !rates.is_empty() {
        let titles = ["rates", "requests", "non-5xx", "2xx", "window"].map(str::to_owned);
        lines.extend(unwrapped_table(2, &titles, &rates));
    }
    for one in all {
        // Where the counter is missing, both are for the same reason.
        match (&one.latency, &one.rates) {
            (Part::Missing(why), Part::Missing(same)) if why == same => {
                lines.extend(missing(&format!("requests of {}", one.of), why));
            }
            (latency, rates) => {
                lines.extend(
                    had(latency)
                        .err()
                        .into_iter()
                        .flat_map(|why| missing(&format!("latency of {}", one.of), why)),
                );
                lines.extend(
                    had(rates)
                        .err()
                        .into_iter()
                        .flat_map(|why| missing(&format!("rates of {}", one.of), why)),
                );
            }
        }
        lines.extend(one.warnings.iter().flat_map(|warning| warn(&format!("{}: ", one.of), warning)));
    }
    lines
}

fn pods(namespace: &str, found: &Spread) -> Vec<String> {
    let title = spread(&format!("pods of {namespace}"), &cells::worst(found), WIDTH);
    let mut lines = section(&title).to_vec();
    let rows: Vec<Vec<String>> = found
        .workloads
        .iter()
        .map(|workload| {
            vec![
                cells::workload(workload),
                workload.pods.to_string(),
                cells::zones(workload),
                cells::lost(workload),
                cells::verdict(workload.verdict).into(),
            ]
        })
        .collect();
    let titles = ["workload", "pods", "in zones", "zone lost", "spread"].map(str::to_owned);
    lines.extend(table(2, &titles, &rows));
    let rows: Vec<Vec<String>> = found
        .nodes
        .iter()
        .map(|node| {
            let zone = node.zone.clone().unwrap_or_else(|| crate::figures::NOTHING.into());
            vec![node.name.clone(), zone, node.pods.to_string()]
        })
        .collect();
    if !rows.is_empty() {
        lines.extend(table(2, &["node", "zone", "pods"].map(str::to_owned), &rows));
    }
    lines.extend(paragraph(2, &format!("as told by {}", found.source)));
    lines.extend(found.warnings.iter().flat_map(|warning| warn("", warning)));
    lines
}

fn redis(redis: &Redis) -> Vec<String> {
    let about = [redis.role.clone(), redis.version.clone()].into_iter().flatten();
    let title: Vec<String> = ["Redis".to_owned(), redis.name.clone()].into_iter().chain(about).collect();
    let mut lines = section(&title.join(" · ")).to_vec();
    lines.extend(redis.figures.iter().flat_map(|figure| {
        let line = figure_line(figure);
        line.lines().map(str::to_owned).collect::<Vec<_>>()
    }));
    lines.extend(redis.warnings.iter().flat_map(|warning| warn("", warning)));
    lines
}

fn figure_line(figure: &Figure) -> String {
    match &figure.value {
        Part::Missing(why) => marked(2, Verdict::NoData, figure.name, &why.why),
        Part::Had(value) => {
            let text = format!("{}{}", value.text, cells::over(value.window.as_ref()));
            if figure.warns {
                notice(2, figure.name, &text)
            } else {
                marked(2, Verdict::Pass, figure.name, &text)
            }
        }
    }
}

/// A section that could not be had.
fn without(title: &str, why: &Missing) -> Vec<String> {
    let mut lines = section(title).to_vec();
    lines.extend(missing("could not be had", why));
    lines
}

fn missing(what: &str, why: &Missing) -> Vec<String> {
    marked_missing(2, what, why)
}

fn marked_missing(indent: usize, what: &str, why: &Missing) -> Vec<String> {
    let mut lines = vec![marked(indent, Verdict::NoData, what, "")];
    lines.extend(paragraph(indent + 4, &why.why));
    lines.extend(why.next.iter().flat_map(|next| hint(indent + 2, next)));
    lines
}

fn warn(prefix: &str, warning: &Warning) -> Vec<String> {
    let what = notice(2, &format!("{prefix}{}", warning.what), "");
    let mut lines: Vec<String> = what.lines().map(str::to_owned).collect();
    lines.extend(hint(4, &warning.means));
    lines
}
