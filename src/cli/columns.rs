//! Tables as kubectl and helm print them: titles in capitals, no borders.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

/// The width that screens fit.
pub(super) const WIDTH: u16 = 80;

/// Rows under titles, wrapped to fit a width.
pub(super) fn columns<const N: usize>(
    width: u16,
    titles: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    table.set_header(titles);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use crate::report::dotted;

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
