//! Tables as kubectl and helm print them: titles in capitals, no borders.

use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width};

/// The width that screens fit.
pub(super) const WIDTH: u16 = 80;

/// What is wrapped has room for so much, or for all of it.
const LEAST_PROSE: usize = 24;

/// Rows under titles. Only the last column is wrapped to fit a width: a name that is cut is none.
pub(super) fn columns<const N: usize>(
    width: u16,
    titles: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let rows: Vec<[String; N]> = rows.into_iter().collect();
    let last = rows.iter().filter_map(|row| row.last()).map(String::as_str).chain(titles.last().copied());
    let widest = last.map(|cell| cell.chars().count()).max().unwrap_or_default().min(LEAST_PROSE);
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    table.set_header(titles);
    table.add_rows(rows);
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        column.set_constraint(match i + 1 == N {
            true => ColumnConstraint::LowerBoundary(Width::Fixed(widest as u16 + 2)),
            false => ColumnConstraint::ContentWidth,
        });
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::dotted;

    #[test]
    fn names_are_whole_and_only_prose_is_wrapped() {
        let pod = "prometheus-users-api-monitoring-kube-p-prometheus-db-prometheus-0";
        let row = |last: &str| [pod, "2/2", "Running", "0 (3m ago)", last].map(String::from);
        let shown = columns(WIDTH, ["POD", "READY", "STATE", "RESTARTS", "AGE"], [row("60m")]);
        assert!(shown.lines().count() == 2 && shown.contains(pod) && shown.ends_with("60m"), "{shown}");
        let sentence = "a sentence that is far too long for what is left of the line, and longer";
        let shown = columns(WIDTH, ["NAME", "DESCRIPTION"], [["errors", sentence].map(String::from)]);
        assert!(shown.lines().count() == 3 && shown.lines().all(|line| line.len() <= 80), "{shown}");
    }

    #[test]
    fn what_does_not_fit_a_line_goes_on_the_next() {
        let parts =
            ["users-api on local", "3 replicas", "prometheus 3.15.0", "alertmanager 0.31.1", "loki 3.7.8"];
        assert_eq!(
            dotted(parts.map(String::from)),
            ["users-api on local · 3 replicas · prometheus 3.15.0 · alertmanager 0.31.1", "  loki 3.7.8"]
        );
    }
}
