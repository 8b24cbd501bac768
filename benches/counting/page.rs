//! The tables, between the marks of docs/counting.md.

use std::fmt::Write as _;
use std::path::Path;

use crate::situations::Table;
use crate::tools::Tool;

const BEGIN: &str = "<!-- written by just bench-counting -->";
const END: &str = "<!-- until here -->";

/// What was measured.
pub struct Page {
    text: String,
}

impl Page {
    pub fn new(tools: &[Tool]) -> Page {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let load = read("/proc/loadavg");
        let mut seen: Vec<&str> = Vec::new();
        let mut versions = Vec::new();
        for tool in tools {
            let name = tool.name.split(' ').next().unwrap_or_default();
            if !seen.contains(&name) {
                seen.push(name);
                versions.push(format!("{name} {}", tool.version));
            }
        }
        Page {
            text: format!(
                "Measured on {} with {cores} cores, Linux {}, load average {} before. {}.\n",
                jiff::Zoned::now().strftime("%Y-%m-%d"),
                read("/proc/sys/kernel/osrelease").trim(),
                load.split_whitespace().next().unwrap_or("?"),
                versions.join(" · "),
            ),
        }
    }

    pub fn add(&mut self, table: &Table, rows: Vec<(&str, Vec<String>)>) {
        let titles: Vec<&str> = table.situations.iter().map(|situation| situation.title).collect();
        let _ = writeln!(
            self.text,
            "\n### {}\n\n{}\n\n| tool | {} |",
            table.title,
            table.how,
            titles.join(" | ")
        );
        let _ = writeln!(self.text, "|---|{}", "---|".repeat(titles.len()));
        for (name, cells) in rows {
            let _ = writeln!(self.text, "| {name} | {} |", cells.join(" | "));
        }
    }

    pub fn markdown(&self) -> &str {
        &self.text
    }

    /// Puts the tables between the marks of a page.
    pub fn write(&self, file: &Path) {
        let page = std::fs::read_to_string(file).expect("the page is there");
        let (before, rest) = page.split_once(BEGIN).expect("the page has its first mark");
        let (_, after) = rest.split_once(END).expect("the page has its second mark");
        let text = format!("{before}{BEGIN}\n\n{}\n{END}{after}", self.text);
        std::fs::write(file, text).expect("the page can be written");
    }
}
