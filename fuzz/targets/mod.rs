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
#[expect(clippy::print_stdout, reason = "it tells what was tried")]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

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

    /// What stands in an input's place here and there: ends of ranges, what parsers stumble over.
    const PIECES: [&[u8]; 24] = [
        b"\0",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\"",
        b"'",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"-",
        b"0",
        b"-1",
        b"18446744073709551615",
        b"1e309",
        b"NaN",
        b"null",
        b"${a}",
        b"\x1b[31m",
        b"\xff\xfe",
        b"\xe2\x80\xae",
        b"&<>",
    ];

    /// An input that is nearly one of these.
    fn mutated(random: &mut StdRng, pool: &[Vec<u8>]) -> Vec<u8> {
        let mut input = pool[random.random_range(0..pool.len())].clone();
        for _ in 0..random.random_range(1..=6) {
            let at = random.random_range(0..=input.len());
            let end = (at + random.random_range(0..=16)).min(input.len());
            match random.random_range(0..6) {
                0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
                1 if at < input.len() => input[at] = random.random(),
                2 => drop(input.drain(at..end)),
                3 => {
                    drop(input.splice(at..end, PIECES[random.random_range(0..PIECES.len())].iter().copied()))
                }
                4 => {
                    let twice = input[at..end].to_vec();
                    drop(input.splice(at..at, twice));
                }
                _ => {
                    let other = &pool[random.random_range(0..pool.len())];
                    let from = random.random_range(0..=other.len());
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
            }
            input.truncate(16 << 10);
        }
        input
    }

    /// Nothing that is nearly an input of the corpora breaks a promise. `SRE_FUZZ_SECONDS` is how long is tried, all targets
    /// together, and `SRE_SEED` repeats an earlier run; `just fuzz` is guided by what the code does, this is not.
    #[test]
    fn nothing_that_is_nearly_in_the_corpora_breaks_a_promise() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let read = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let each =
            read("SRE_FUZZ_SECONDS").map(|seconds| Duration::from_secs(seconds) / TARGETS.len() as u32);
        // A moment's worth is the same each time.
        let seed = read("SRE_SEED").unwrap_or_else(|| each.map_or(1, |_| rand::random()));
        let only = std::env::var("SRE_FUZZ_TARGET").ok();
        let mut all = 0;
        for (name, target) in
            TARGETS.iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name))
        {
            let files = std::fs::read_dir(root.join("corpus").join(name)).expect("a corpus").flatten();
            let mut paths: Vec<_> = files.map(|file| file.path()).collect();
            paths.sort();
            let mut pool: Vec<Vec<u8>> =
                paths.iter().map(|path| std::fs::read(path).expect("an input")).collect();
            let (seeds, mut random) = (pool.len(), StdRng::seed_from_u64(seed));
            let (started, mut tried) = (Instant::now(), 0_u64);
            while each.map_or(tried < 200, |each| tried % 64 != 0 || started.elapsed() < each) {
                let input = mutated(&mut random, &pool);
                tried += 1;
                if std::panic::catch_unwind(|| target(&input)).is_err() {
                    let folder = root.join("artifacts").join(name);
                    std::fs::create_dir_all(&folder).expect("a folder");
                    let path = folder.join(format!("seed-{seed}-{tried}"));
                    std::fs::write(&path, &input).expect("written");
                    panic!("SRE_SEED={seed}: {name} breaks a promise: {}", path.display());
                }
                // Some are gone on from.
                if random.random_ratio(1, 16) {
                    match pool.len() < seeds + 64 {
                        true => pool.push(input),
                        false => pool[seeds + random.random_range(0..64)] = input,
                    }
                }
            }
            all += tried;
            println!(
                "{name:<14} {tried:>10} inputs {:>8.0}/s",
                tried as f64 / started.elapsed().as_secs_f64()
            );
        }
        println!("{:<14} {all:>10} inputs", "all");
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
