//! What is fuzzed: functions that take any bytes, and panic where a promise is broken.
//!
//! `just fuzz` feeds them with libFuzzer (`fuzz/src/main.rs`); the tests feed them with the corpora in `fuzz/corpus/`, a folder
//! for each. What once broke a promise stays there.

mod answers;
mod files;
mod reports;
mod texts;

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: [(&str, Target); 19] = [
    ("http1", answers::http1),
    ("prometheus", answers::prometheus),
    ("verdict", answers::verdict),
    ("alertmanager", answers::alertmanager),
    ("loki", answers::loki),
    ("otlp", answers::otlp),
    ("journal", files::journal),
    ("lab", files::lab),
    ("annotation", files::annotation),
    ("positions", files::positions),
    ("frames", files::frames),
    ("histograms", files::histograms),
    ("chart", files::chart),
    ("events", reports::events),
    ("scenario", texts::scenario),
    ("stack", texts::stack),
    ("placeholders", texts::placeholders),
    ("units", texts::units),
    ("logql", texts::logql),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::TARGETS;

    /// Everything in the corpora keeps its promise.
    #[test]
    fn nothing_in_the_corpora_breaks_a_promise() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let mut folders: Vec<_> =
            std::fs::read_dir(&root).expect("corpora").flatten().map(|e| e.file_name()).collect();
        folders.sort();
        let mut names: Vec<_> = TARGETS.iter().map(|(name, _)| std::ffi::OsString::from(name)).collect();
        names.sort();
        assert_eq!(folders, names, "each target has a corpus, and each corpus a target");
        for (name, target) in TARGETS {
            let mut files: Vec<_> = std::fs::read_dir(root.join(name)).expect("a corpus").flatten().collect();
            files.sort_by_key(std::fs::DirEntry::file_name);
            assert!(!files.is_empty(), "{name} has nothing to begin with");
            for file in files {
                let input = std::fs::read(file.path()).expect("an input");
                let kept = std::panic::catch_unwind(|| target(&input));
                assert!(kept.is_ok(), "{} breaks a promise", file.path().display());
            }
        }
    }

    /// Seeds that get past the parser: a target whose seeds are all refused would test nothing.
    #[test]
    fn the_seeds_of_the_verdict_reach_it() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/verdict");
        let read = |name: &str| std::fs::read(root.join(name)).expect("a seed");
        assert_eq!(super::answers::judged(&read("pass")), Some(true));
        assert_eq!(super::answers::judged(&read("fail")), Some(false));
    }
}
