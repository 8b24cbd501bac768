//! How screens are laid out: marks, figures at the right edge, wrapped sentences, tables; 80 columns.
//!
//! Lines carry colours; whoever prints them strips these where they are not wanted.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use owo_colors::OwoColorize;

use crate::check::Verdict;
use crate::foreign::{one_line, visible};

/// Columns of a screen.
pub(super) const WIDTH: usize = 80;

/// Parts with dots between them, on as many lines as they need; the further ones are indented.
pub(crate) fn dotted(parts: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        let part = one_line(&part).into_owned();
        match lines.last_mut() {
            None => lines.push(part),
            Some(line) if line.chars().count() + part.chars().count() + 3 <= WIDTH => {
                line.push_str(" · ");
                line.push_str(&part);
            }
            Some(_) => lines.push(format!("  {part}")),
        }
    }
    lines
}

/// The mark of a verdict, in its colour.
pub(super) fn mark(verdict: Verdict) -> String {
    match verdict {
        Verdict::Pass => "✔".green().to_string(),
        Verdict::Fail => "✘".red().to_string(),
        Verdict::NoData => "?".yellow().to_string(),
        Verdict::Skipped => "–".yellow().to_string(),
    }
}

/// A line with a verdict's mark, what it is about, and a figure at the right edge:
/// `✔ up                              2.1 s · 6 of 6 targets`.
pub fn status_line(verdict: Verdict, what: &str, figure: &str) -> String {
    marked(0, verdict, what, figure)
}

/// As [`status_line`], indented.
pub(super) fn marked(indent: usize, verdict: Verdict, what: &str, figure: &str) -> String {
    with_mark(indent, &mark(verdict), what, figure)
}

/// A line about something that is neither right nor wrong, but must be known.
pub(super) fn notice(indent: usize, what: &str, figure: &str) -> String {
    with_mark(indent, &"!".yellow().to_string(), what, figure)
}

/// A section's heading, after an empty line.
pub(super) fn section(title: &str) -> [String; 2] {
    [String::new(), one_line(title).bold().to_string()]
}

fn with_mark(indent: usize, mark: &str, what: &str, figure: &str) -> String {
    let (what, figure) = (&one_line(what), &one_line(figure));
    let room = WIDTH - indent - 2;
    let body = if fits(what, figure, room) {
        spread(what, figure, room)
    } else {
        // What does not fit stands below, the figure last.
        let mut lines = wrap(what, room);
        lines.extend(wrap(figure, room - 4).into_iter().map(|line| spread("", &line, room)));
        lines.join(&format!("\n{:1$}", "", indent + 2))
    };
    format!("{:indent$}{mark} {body}", "")
}

/// Whether both stand on one line with a gap between them.
pub(super) fn fits(left: &str, right: &str, width: usize) -> bool {
    columns(left) + 2 + columns(right) <= width
}

/// `left` at the left edge, `right` at the right edge.
pub(super) fn spread(left: &str, right: &str, width: usize) -> String {
    if right.is_empty() {
        return left.to_owned();
    }
    let gap = width.saturating_sub(columns(left) + columns(right));
    format!("{left}{:gap$}{right}", "")
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

/// Breaks text between words; line breaks in it are kept, a word that is too long stands alone.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && columns(&line) + 1 + columns(word) > width {
                lines.push(std::mem::take(&mut line));
            } else if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// Wrapped text, each line indented.
pub(crate) fn paragraph(indent: usize, text: &str) -> Vec<String> {
    wrap(&visible(text), WIDTH - indent).into_iter().map(|line| format!("{:indent$}{line}", "")).collect()
}

/// What to do next, behind an arrow; a section of the documentation at its end goes to the right edge.
pub(super) fn hint(indent: usize, text: &str) -> Vec<String> {
    let text = visible(text);
    let text: &str = &text;
    let room = WIDTH - indent - 2;
    let (sentence, section) = match text.rsplit_once(char::is_whitespace) {
        Some((sentence, section)) if section.starts_with("docs/") => (sentence.trim_end(), section),
        _ => (text, ""),
    };
    let mut lines = wrap(sentence, room);
    match lines.last_mut() {
        Some(last) if fits(last, section, room) => *last = spread(last, section, room),
        _ => lines.push(spread("", section, room)),
    }
    let arrow = "→".cyan().to_string();
    let head = |i: usize| if i == 0 { arrow.as_str() } else { " " };
    lines.iter().enumerate().map(|(i, line)| format!("{:indent$}{} {line}", "", head(i))).collect()
}

/// A table without lines, its figures at the right of their columns; what is too wide is wrapped in its cell.
pub(super) fn table(indent: usize, header: &[String], rows: &[Vec<String>]) -> Vec<String> {
    lay_out(indent, header, rows, ContentArrangement::Dynamic)
}

/// As [`table`], but nothing is wrapped: a figure or an id that is broken is none.
pub(super) fn unwrapped_table(indent: usize, header: &[String], rows: &[Vec<String>]) -> Vec<String> {
    lay_out(indent, header, rows, ContentArrangement::Disabled)
}

fn lay_out(
    indent: usize,
    header: &[String],
    rows: &[Vec<String>],
    arrangement: ContentArrangement,
) -> Vec<String> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| one_line(cell).into_owned()).collect()).collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(arrangement).set_width((WIDTH - indent) as u16);
    if !header.is_empty() {
        table.set_header(header);
    }
    table.add_rows(&rows);
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if i > 0 && rows.iter().all(|row| row.get(i).is_none_or(|cell| is_figure(cell))) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!("{:indent$}{}", "", line.trim_end())).collect()
}

/// As [`unwrapped_table`], for names with their figures: names are cut short where a row would not fit on one line.
pub(super) fn named_table(indent: usize, header: &[String], mut rows: Vec<Vec<String>>) -> Vec<String> {
    let widest =
        |i: usize| rows.iter().chain([&header.to_vec()]).map(|row| columns(&row[i])).max().unwrap_or(0);
    let figures: usize = (1..header.len()).map(|i| 2 + widest(i)).sum();
    let room = WIDTH.saturating_sub(indent + figures + 2).max(8);
    for name in rows.iter_mut().filter_map(|row| row.first_mut()) {
        *name = short(&one_line(name), room);
    }
    unwrapped_table(indent, header, &rows)
}

fn short(name: &str, width: usize) -> String {
    match name.char_indices().nth(width) {
        None => name.to_owned(),
        Some(_) => name.chars().take(width - 1).chain(['…']).collect(),
    }
}

/// Whether a cell is read as a figure: it begins with a digit, a sign aside, or stands for no figure.
fn is_figure(cell: &str) -> bool {
    let first = cell.trim_start_matches(['+', '-', '<', '>', '=', '–', '→', ' ']).chars().next();
    cell == "new" || first.is_none_or(|c| c.is_ascii_digit())
}

/// Screens are for people: colours are cut out of what goes to a file.
pub(super) fn plain(screen: &str) -> String {
    visible(&anstream::adapter::strip_str(screen).to_string()).into_owned()
}
