//! What a release's history says: whether it is as wanted, and what an interrupted helm left to mend.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::plan::Release;
use crate::digest::hex;
use crate::error::{Error, Result};

/// One revision of a release, as `helm history -o json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Revision {
    /// Its number, from 1.
    pub revision: u64,
    /// `deployed`, `superseded`, `failed`, `pending-install`, `pending-upgrade`, `pending-rollback`, `uninstalling`.
    pub status: String,
    /// The [`fingerprint`] of what was installed, where that succeeded.
    #[serde(default)]
    pub description: String,
}

/// What must be done before a release can be upgraded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing.
    None,
    /// It never was complete: it is uninstalled.
    Uninstall,
    /// It is rolled back to this revision.
    RollBack(u64),
}

/// What must be done before a release with this history can be upgraded. A killed helm leaves a `pending-…`
/// revision, which blocks every further operation.
pub fn recovery(history: &[Revision]) -> Recovery {
    let Some(last) = history.iter().max_by_key(|revision| revision.revision) else { return Recovery::None };
    if last.status == "uninstalling" {
        return Recovery::Uninstall;
    }
    if !last.status.starts_with("pending-") {
        return Recovery::None;
    }
    let latest = |status: &str| {
        history.iter().filter(|revision| revision.status == status).map(|revision| revision.revision).max()
    };
    latest("deployed").or_else(|| latest("superseded")).map_or(Recovery::Uninstall, Recovery::RollBack)
}

/// What the description of each revision begins with that `sre` made.
const MADE_BY: &str = "sre ";

/// Whether a release with this history may be taken for `sre`'s: it is not there, or `sre` made some of it, in this
/// folder or in another.
pub fn may_be_ours(history: &[Revision]) -> bool {
    history.is_empty() || history.iter().any(|revision| revision.description.starts_with(MADE_BY))
}

/// Names a release's chart and values together, so that equal ones need no upgrade: `sre 5d41…`. A chart that is
/// a folder or a file is named by its content.
pub fn fingerprint(release: &Release) -> Result<String> {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        // With its length before it, no part can pass for another.
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(release.values.to_string().as_bytes());
    let path = Path::new(&release.chart);
    if !path.exists() {
        for text in [Some(&release.chart), release.repository.as_ref(), release.version.as_ref()] {
            part(text.map_or("", String::as_str).as_bytes());
        }
    } else {
        let mut add = |name: &Path, content: &[u8]| {
            // Where the chart lies does not matter.
            part(name.strip_prefix(path).unwrap_or(name).to_string_lossy().as_bytes());
            part(content);
        };
        content(path, &mut add)
            .map_err(|e| Error::usage(format!("the chart {} can't be read", path.display())).because(e))?;
    }
    Ok(format!("{MADE_BY}{}", hex(&hash.finalize()[..16])))
}

/// All files below a path, in the order of their names.
fn content(path: &Path, add: &mut impl FnMut(&Path, &[u8])) -> std::io::Result<()> {
    if !path.is_dir() {
        add(path, &fs::read(path)?);
        return Ok(());
    }
    let mut entries: Vec<_> =
        fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    entries.sort();
    entries.iter().try_for_each(|entry| content(entry, add))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(statuses: &[&str]) -> Vec<Revision> {
        let revision = |(i, status): (usize, &&str)| Revision {
            revision: i as u64 + 1,
            status: (*status).into(),
            description: String::new(),
        };
        statuses.iter().enumerate().map(revision).collect()
    }

    #[test]
    fn what_a_killed_helm_leaves_is_mended() {
        for (statuses, expected) in [
            (&[][..], Recovery::None),
            (&["deployed"], Recovery::None),
            (&["failed"], Recovery::None),
            (&["pending-install"], Recovery::Uninstall),
            (&["failed", "pending-upgrade"], Recovery::Uninstall),
            (&["deployed", "pending-upgrade"], Recovery::RollBack(1)),
            (&["superseded", "deployed", "failed", "pending-upgrade"], Recovery::RollBack(2)),
            // The rolled-back revision stays pending in the history.
            (&["superseded", "pending-upgrade", "deployed"], Recovery::None),
            (&["superseded", "superseded", "pending-rollback"], Recovery::RollBack(2)),
            (&["deployed", "uninstalling"], Recovery::Uninstall),
        ] {
            assert_eq!(recovery(&history(statuses)), expected, "{statuses:?}");
        }
    }

    #[test]
    fn a_release_is_ours_when_a_revision_of_it_says_so() {
        let described = |descriptions: &[&str]| {
            let mut history = history(&vec!["superseded"; descriptions.len()]);
            for (revision, description) in history.iter_mut().zip(descriptions) {
                revision.description = (*description).into();
            }
            may_be_ours(&history)
        };
        assert!(described(&[]));
        assert!(described(&["sre 5d41402abc4b2a76", "Rollback to 1"]));
        assert!(described(&["Install complete", "sre 5d41402abc4b2a76"]));
        assert!(!described(&["Install complete"]));
        assert!(!described(&["Install complete", "sresomething else", "Upgrade complete"]));
    }

    #[test]
    fn a_fingerprint_changes_with_the_values_and_with_the_chart_s_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Chart.yaml"), "a").unwrap();
        let mut release = Release {
            name: "x".into(),
            namespace: "lab".into(),
            chart: folder.path().display().to_string(),
            repository: None,
            version: None,
            sha256: None,
            values: serde_json::json!({"a": 1}),
        };
        let first = fingerprint(&release).unwrap();
        assert_eq!(fingerprint(&release).unwrap(), first);
        fs::write(folder.path().join("Chart.yaml"), "b").unwrap();
        let second = fingerprint(&release).unwrap();
        assert_ne!(second, first);
        release.values = serde_json::json!({"a": 2});
        assert_ne!(fingerprint(&release).unwrap(), second);
    }
}
