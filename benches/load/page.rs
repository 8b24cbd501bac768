//! The tables, on the screen and as docs/performance.md.

use std::fmt::Write as _;

/// What was measured, section by section.
pub struct Page {
    machine: String,
    sections: Vec<Section>,
}

/// Figures that belong together.
pub struct Section {
    title: String,
    how: String,
    rows: Vec<Row>,
}

/// A figure, and what it should be.
pub struct Row {
    what: String,
    measured: String,
    wanted: String,
    /// Whether it is as wanted; `None` where nothing is wanted or nothing was measured.
    held: Option<bool>,
    required: bool,
}

impl Row {
    /// A figure that is told, and judged by nobody.
    pub fn told(what: &str, measured: String) -> Row {
        Row { what: what.into(), measured, wanted: String::new(), held: None, required: false }
    }

    /// A goal: where it is missed, the table says so.
    pub fn goal(what: &str, measured: String, wanted: &str, held: Option<bool>) -> Row {
        Row { what: what.into(), measured, wanted: wanted.into(), held, required: false }
    }

    /// What must hold: without it the whole measurement fails.
    pub fn required(what: &str, measured: String, wanted: &str, held: bool) -> Row {
        Row { held: Some(held), required: true, ..Row::goal(what, measured, wanted, None) }
    }

    fn verdict(&self) -> &'static str {
        match (self.held, self.wanted.is_empty()) {
            (Some(true), _) => "yes",
            (Some(false), _) => "**no**",
            (None, false) => "no data",
            (None, true) => "",
        }
    }
}

impl Section {
    pub fn new(title: &str, how: &str) -> Section {
        Section { title: title.into(), how: how.into(), rows: Vec::new() }
    }

    pub fn row(&mut self, row: Row) {
        self.rows.push(row);
    }
}

impl Page {
    /// About the machine that this runs on.
    pub fn new(nginx: &str) -> Page {
        Page { machine: machine(nginx), sections: Vec::new() }
    }

    /// Prints a section, and keeps it.
    pub fn add(&mut self, section: Section) {
        println!("\n{}", section.title);
        for row in &section.rows {
            let wanted = if row.wanted.is_empty() {
                String::new()
            } else {
                format!("   {} ({})", row.verdict().trim_matches('*'), row.wanted)
            };
            println!("  {:<34} {}{wanted}", row.what, row.measured);
        }
        self.sections.push(section);
    }

    /// Whether something that must hold does not.
    pub fn required_failed(&self) -> bool {
        self.sections
            .iter()
            .flat_map(|section| &section.rows)
            .any(|row| row.required && row.held == Some(false))
    }

    /// The page, with the section of the page before that `just bench-build` wrote.
    pub fn markdown(&self, before: &str) -> String {
        let mut text = String::from(
            "# Performance\n\nWritten by `just bench`; a figure is worth what the machine under it is worth, so run it on yours.\n\
             Ratios between programs that ran in the same minutes travel better than rates.\n\n",
        );
        let _ = writeln!(text, "{}\n", self.machine);
        for section in &self.sections {
            let _ = writeln!(
                text,
                "## {}\n\n{}\n\n| | measured | wanted | held |\n|---|---|---|---|",
                section.title, section.how
            );
            for row in &section.rows {
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {} |",
                    row.what,
                    row.measured,
                    row.wanted,
                    row.verdict()
                );
            }
            text.push('\n');
        }
        text += built(before).unwrap_or_default();
        text += NOTES;
        text
    }
}

/// The section about the build.
fn built(page: &str) -> Option<&str> {
    let (_, section) = page.split_at_checked(page.find("## A build\n")?)?;
    Some(section.split_at_checked(section.find("## What costs what\n")?)?.0)
}

fn machine(nginx: &str) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let model = model.trim_start_matches([' ', '\t', ':']);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("?");
    let build = if cfg!(debug_assertions) { ", a development build," } else { "" };
    format!(
        "Measured with sre {}{build} on {}: {cores} cores ({model}), Linux {}, load average {load} before. The server is nginx \
         {nginx} with a worker a core, on loopback; it answers `200 ok` and counts what it answered. Client and server share \
         the cores.",
        env!("CARGO_PKG_VERSION"),
        jiff::Zoned::now().strftime("%Y-%m-%d"),
        kernel.trim(),
    )
}

/// What figures alone do not tell.
const NOTES: &str = "\
## What costs what

`sre` is asked for more than it can send, on 50 connections, by the same engine and the same schedule as any other load:
each request has its due time, its id, its place in four histograms, and its fate. wrk and oha know of no due time.

HTTP/1.1 is written and read by `sre` itself, heads by httparse: a request is one write from memory that is used again, an
answer that comes as a whole is one read into a buffer that all connections of a thread share, and nothing is allocated for
either. hyper's client, which was there before, allocates several times a request and moves each between two halves of a
task. While every connection is busy the thread that tells what is due wakes nobody, and it works out due times only.

What requests cost in each part: `cargo bench --bench parts`.
";
