//! Free loopback ports: each name keeps its port while that is free.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};

use indexmap::IndexMap;

use crate::error::{Error, Result};

/// Which name has which port.
pub type Ports = IndexMap<String, u16>;

/// Gives every name a port: the one that it had, if it is `held` by the name's own live process or
/// free; else a free one. No two names get the same.
pub fn allocate(names: &[String], had: &Ports, held: impl Fn(&str) -> bool) -> Result<Ports> {
    let mut ports = Ports::new();
    let mut taken: BTreeSet<u16> =
        names.iter().filter(|name| held(name)).filter_map(|name| had.get(name.as_str())).copied().collect();
    for name in names {
        let own = had.get(name).copied();
        let port = match own {
            Some(port) if held(name) => port,
            Some(port) if !taken.contains(&port) && is_free(port) => port,
            _ => free_port(&taken)?,
        };
        taken.insert(port);
        ports.insert(name.clone(), port);
    }
    Ok(ports)
}

/// Whether nobody listens on a loopback port.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn free_port(taken: &BTreeSet<u16>) -> Result<u16> {
    let failed = || Error::target("there is no free loopback port");
    // Several are held at once, because the system may give the same one again when it is let go.
    let mut held = Vec::new();
    for _ in 0..=taken.len() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| failed().because(e))?;
        let port = listener.local_addr().map_err(|e| failed().because(e))?.port();
        if !taken.contains(&port) {
            return Ok(port);
        }
        held.push(listener);
    }
    Err(failed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn a_port_stays_while_it_is_free_and_changes_when_it_is_taken() {
        let names = names(&["a", "b"]);
        let first = allocate(&names, &Ports::new(), |_| false).expect("ports");
        assert_ne!(first["a"], first["b"]);
        assert_eq!(allocate(&names, &first, |_| false).expect("ports"), first);

        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first["a"])).expect("it was free");
        let second = allocate(&names, &first, |_| false).expect("ports");
        assert_ne!(second["a"], first["a"]);
        assert_eq!(second["b"], first["b"]);
        let held = allocate(&names, &first, |name| name == "a").expect("ports");
        assert_eq!(held, first, "its own process listens there");
    }
}
