//! The kubeconfig, read as kubectl reads it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kube::config::Kubeconfig;

use crate::error::{Error, Result};

/// Reads a kubeconfig: a file that is named, else those of `KUBECONFIG`, else `~/.kube/config`.
///
/// # Errors
/// Usage (exit 2) where a file cannot be read, or none is there.
pub fn read(named: Option<&Path>) -> Result<Kubeconfig> {
    match named {
        Some(path) => read_file(path)?.ok_or_else(|| none_of(&[path.to_owned()])),
        None => read_list(&places(std::env::var_os("KUBECONFIG").as_deref(), std::env::home_dir())),
    }
}

/// Where a kubeconfig is looked for. A variable that names nothing is none.
fn places(variable: Option<&std::ffi::OsStr>, home: Option<PathBuf>) -> Vec<PathBuf> {
    let parts = variable.map(std::env::split_paths).into_iter().flatten();
    let mut named: Vec<PathBuf> = Vec::new();
    for path in parts.filter(|path| !path.as_os_str().is_empty()) {
        if !named.contains(&path) {
            named.push(path);
        }
    }
    if named.is_empty() { home.map(|home| home.join(".kube/config")).into_iter().collect() } else { named }
}

/// All files together, the first to say something being right; those that are not there are left out.
fn read_list(paths: &[PathBuf]) -> Result<Kubeconfig> {
    let mut whole: Option<Kubeconfig> = None;
    for path in paths {
        let Some(mut file) = read_file(path)? else { continue };
        // What says nothing hides nothing.
        file.current_context = file.current_context.filter(|current| !current.is_empty());
        let unreadable =
            |e| Error::usage(format!("{} does not go with the others", path.display())).because(e);
        whole = Some(match whole {
            Some(before) => before.merge(file).map_err(unreadable)?,
            None => file,
        });
    }
    whole.ok_or_else(|| none_of(paths))
}

fn none_of(paths: &[PathBuf]) -> Error {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    Error::usage("there is no kubeconfig")
        .because_of(match names.as_slice() {
            [] => "neither KUBECONFIG nor HOME is set".into(),
            [one] => format!("{one} is not there"),
            several => format!("none of {} is there", several.join(", ")),
        })
        .hint("name the file by --kubeconfig or KUBECONFIG")
}

/// A file; `None` where there is none. An empty one says nothing.
fn read_file(path: &Path) -> Result<Option<Kubeconfig>> {
    let failed = || {
        Error::usage(format!("{} can't be read", path.display()))
            .hint("name the file by --kubeconfig or KUBECONFIG")
    };
    if let Err(error) = std::fs::File::open(path) {
        return match error.kind() {
            ErrorKind::NotFound => Ok(None),
            _ => Err(failed().because(error)),
        };
    }
    Kubeconfig::read_from(path).map(Some).map_err(|e| failed().because(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    const HERE: &str = "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
        contexts: [{name: here, context: {cluster: c, user: u}}]\n";

    #[test]
    fn files_that_are_not_there_or_empty_are_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let (here, empty) = (file(folder.path(), "here", HERE), file(folder.path(), "empty", ""));
        let gone = folder.path().join("gone");
        for list in [vec![here.clone(), gone.clone()], vec![gone.clone(), here.clone()], vec![empty, here]] {
            let read = read_list(&list).expect("one is there");
            assert_eq!(read.current_context.as_deref(), Some("here"), "{list:?}");
        }
        let error = read_list(std::slice::from_ref(&gone)).expect_err("none is there");
        assert_eq!(error.exit(), crate::exit::Exit::Usage);
        assert!(error.to_string().contains("gone is not there"), "{error}");
    }

    #[test]
    fn a_first_file_without_a_current_context_does_not_hide_the_seconds() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = file(folder.path(), "first", "apiVersion: v1\nkind: Config\ncurrent-context: \"\"\n");
        let second = file(folder.path(), "second", HERE);
        let read = read_list(&[first, second]).expect("both are there");
        assert_eq!((read.current_context.as_deref(), read.contexts.len()), (Some("here"), 1));
    }

    #[test]
    fn a_file_that_may_not_be_read_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let inside = file(folder.path(), "file", HERE).join("below");
        let error = read_list(std::slice::from_ref(&inside)).expect_err("its folder is a file");
        assert!(error.to_string().contains(&inside.display().to_string()), "{error}");
    }

    #[test]
    fn empty_parts_of_the_variable_name_nothing() {
        let home = || Some(PathBuf::from("/home/me"));
        let of = |text: &str| places(Some(text.as_ref()), home());
        assert_eq!(of(":/a:"), [PathBuf::from("/a")]);
        assert_eq!(of("/a:/b:/a"), [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(of(":"), [PathBuf::from("/home/me/.kube/config")]);
        assert_eq!(places(None, home()), [PathBuf::from("/home/me/.kube/config")]);
    }
}
