//! Free loopback ports: each name keeps its port while that is free.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::PathBuf;

use indexmap::IndexMap;

use crate::error::{Error, Result};
use crate::target::Folder;

/// Which name has which port.
pub type Ports = IndexMap<String, u16>;

/// Below those that systems give to outgoing connections. Of these, load would take the port of a
/// replica that is down for a moment, or even connect to itself there.
const RANGE: Range<u16> = 15_000..32_000;

/// Gives every name a port: the one that it had, if it is `held` by the name's own live process or
/// free; else a free one, for one `place` always the same where it can be. No two names get the same.
pub fn allocate(place: &str, names: &[String], had: &Ports, held: impl Fn(&str) -> bool) -> Result<Ports> {
    let own = |name: &String| had.get(name.as_str()).copied();
    let mut taken: BTreeSet<u16> = names.iter().filter(|name| held(name)).filter_map(own).collect();
    let mut ports = Ports::new();
    for name in names {
        let port = match own(name) {
            Some(port) if held(name) || (!taken.contains(&port) && is_free(port)) => port,
            _ => free_port(place, name, &taken)?,
        };
        taken.insert(port);
        ports.insert(name.clone(), port);
    }
    Ok(ports)
}

/// The ports that a lab had when it was up last; none if it never was.
pub fn load(folder: &Folder) -> Ports {
    std::fs::read(path(folder)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Keeps a lab's ports for the next time.
pub fn save(ports: &Ports, folder: &Folder) -> Result<()> {
    let text = serde_json::to_string_pretty(ports)
        .map_err(|e| Error::target("the ports cannot be written as JSON").because(e))?;
    folder.write(&path(folder), &text)
}

fn path(folder: &Folder) -> PathBuf {
    folder.local().join("ports.json")
}

/// Whether nobody listens on a loopback port.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn free_port(place: &str, name: &str, taken: &BTreeSet<u16>) -> Result<u16> {
    let mut hash = DefaultHasher::new();
    (place, name).hash(&mut hash);
    let first = hash.finish() as usize % RANGE.len();
    RANGE
        .cycle()
        .skip(first)
        .take(RANGE.len())
        .find(|port| !taken.contains(port) && is_free(*port))
        .ok_or_else(|| {
            Error::target(format!("no loopback port from {} to {} is free", RANGE.start, RANGE.end - 1))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_stays_while_it_is_free_and_changes_when_it_is_taken() {
        let place = tempfile::tempdir().expect("a folder").path().display().to_string();
        let names = ["a".to_owned(), "b".to_owned()];
        let first = allocate(&place, &names, &Ports::new(), |_| false).expect("ports");
        assert_ne!(first["a"], first["b"]);
        assert_eq!(allocate(&place, &names, &first, |_| false).expect("ports"), first);

        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first["a"])).expect("it was free");
        let second = allocate(&place, &names, &first, |_| false).expect("ports");
        assert_ne!(second["a"], first["a"]);
        assert_eq!(second["b"], first["b"]);
        let held = allocate(&place, &names, &first, |name| name == "a").expect("ports");
        assert_eq!(held, first, "its own process listens there");
    }
}
