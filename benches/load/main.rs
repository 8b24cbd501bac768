//! What the load generator promises, measured beside its peers: `just bench`.
//!
//! One server, nginx, answers all of them on the same machine in the same minutes. `sre` sends from a process of
//! its own, as wrk and oha do. Prints tables, and with `--write FILE` writes them as a page, too.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod client;
mod page;
mod peers;
mod process;
mod promises;
mod server;
mod verify;

use std::path::PathBuf;
use std::time::Duration;

use page::Page;
use server::Server;

/// How long each run at saturation lasts, and how many there are of each generator.
const SATURATION: (Duration, usize) = (Duration::from_secs(6), 3);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, order] = arguments.as_slice()
        && mode == client::MODE
    {
        return client::send(order);
    }
    let place = tempfile::tempdir().expect("a folder");
    let server = match Server::start(place.path()) {
        Ok(server) => server,
        Err(why) => {
            eprintln!("the load generator cannot be measured: {why}");
            std::process::exit(1);
        }
    };
    let mut page = Page::new(&server.version);
    // First, while the machine is fresh; what is required comes before what is hoped for.
    page.add(promises::pacing(&server));
    page.add(promises::freeze(&server));
    page.add(promises::merge(&server));
    page.add(peers::saturation(&server, SATURATION.0, SATURATION.1));
    page.add(promises::memory(&server));
    page.add(verify::hundred_checks(place.path()));
    page.add(verify::start_up());
    let write = arguments.iter().position(|argument| argument == "--write");
    if let Some(file) = write.and_then(|place| arguments.get(place + 1)).map(PathBuf::from) {
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        std::fs::write(&file, page.markdown(&before)).expect("the page can be written");
        println!("\nwritten: {}", file.display());
    }
    // Before the end: it runs no destructors.
    drop((server, place));
    if page.required_failed() {
        std::process::exit(1);
    }
}
