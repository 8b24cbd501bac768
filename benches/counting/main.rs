//! How far each load generator's total is from what a server counted: `just bench-counting`.
//!
//! The server counts requests that it read to the last byte and answers that it wrote to the last byte, each run under a
//! path of its own. Prints the tables, and with `--write FILE` puts them between the marks of that page; `--keep FOLDER`
//! keeps what each tool printed.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod generator;
mod page;
#[path = "../load/process.rs"]
#[allow(dead_code, reason = "shared with benches/load, which uses the rest")]
mod process;
mod server;
mod situations;
mod tools;

use std::path::{Path, PathBuf};

use server::Server;
use situations::{Situation, TABLES};
use tools::Tool;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, order] = arguments.as_slice()
        && mode == generator::MODE
    {
        return generator::send(order);
    }
    let option = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).map(PathBuf::from)
    };
    let keep = option("--keep");
    let home = tempfile::tempdir().expect("a folder");
    let server = Server::start();
    let tools: Vec<Tool> = tools::all(home.path());
    let mut page = page::Page::new(&tools);
    for table in &TABLES {
        let rows = tools.iter().map(|tool| {
            let cells = table.situations.iter().map(|situation| {
                let cell = measure(tool, situation, &server, keep.as_deref());
                println!("{:<22} {:<32} {cell}", tool.name, situation.title);
                cell
            });
            (tool.name, cells.collect())
        });
        page.add(table, rows.collect());
    }
    match option("--write") {
        Some(file) => {
            page.write(&file);
            println!("\nwritten: {}", file.display());
        }
        None => println!("\n{}", page.markdown()),
    }
}

/// Runs a tool in a situation, and tells what came of it.
fn measure(tool: &Tool, situation: &Situation, server: &Server, keep: Option<&Path>) -> String {
    if tool.program.is_none() {
        return "not here".into();
    }
    let mark = format!("{}-{}", tool.name.replace([' ', '-', '.'], ""), situation.name);
    let path = format!("/{}/{mark}", situation.kind);
    let Some(mut command) = tool.command(&format!("{}{path}", server.url), situation) else {
        return "no such mode".into();
    };
    let freeze = situation.frozen.map(|frozen| server.freeze(frozen));
    let ran = command.run();
    if let Some(freeze) = freeze {
        freeze.join().expect("it is thawed");
    }
    let counted = server.settled(&mark);
    let ran = match ran {
        Ok(ran) => ran,
        Err(why) => return why,
    };
    if let Some(folder) = keep {
        std::fs::create_dir_all(folder).expect("a folder");
        std::fs::write(folder.join(format!("{mark}.out")), &ran.stdout).expect("it is kept");
    }
    match tool.read(&ran) {
        Ok(told) => situation.tell(&told, &counted, ran.exit),
        Err(why) => format!("{why}; {} received", sre::figures::count(counted.read)),
    }
}
