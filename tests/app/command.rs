//! The command line.

use std::net::TcpListener;

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;

fn app(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sre"));
    command.arg("app").args(arguments).timeout(std::time::Duration::from_secs(20));
    command
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let told = |option| {
        contains(format!("{address} cannot be listened on")).and(contains("in use")).and(contains(option))
    };
    app(&["--listen", &address]).assert().code(6).stderr(told("--listen"));
    app(&["--listen", "127.0.0.1:0", "--admin", &address]).assert().code(6).stderr(told("--admin"));
}

#[test]
fn an_admin_port_that_others_can_reach_is_refused() {
    let mut app = app(&["--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0"]);
    app.assert().code(2).stderr(contains("loopback only"));
}

#[test]
fn the_environment_sets_what_arguments_do() {
    let mut app = app(&[]);
    app.env("SRE_APP_LISTEN", "127.0.0.1:0").env("SRE_APP_ADMIN", "10.0.0.1:0");
    app.assert().code(2).stderr(contains("--admin 10.0.0.1:0"));
}
