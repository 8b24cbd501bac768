//! The end of a log.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// How many bytes are read first; four times as many where lines are lacking.
const PIECE: u64 = 64 << 10;

/// The last lines of a process' log; none if it has none.
pub fn last_lines(log: &Path, count: usize) -> Vec<String> {
    let text = tail(log, count).map(|(text, _)| text).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
}

/// The last lines of a file as they are, the last one perhaps not at its end, and the byte at which the file ended.
///
/// # Errors
/// The file cannot be read.
pub fn tail(file: &Path, count: usize) -> io::Result<(Vec<u8>, u64)> {
    let mut file = File::open(file)?;
    let end = file.metadata()?.len();
    let mut size = PIECE;
    loop {
        let start = end.saturating_sub(size);
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        (&mut file).take(end - start).read_to_end(&mut text)?;
        if let Some(first) = first_of(&text, count) {
            return Ok((text.split_off(first), end));
        }
        if start == 0 {
            return Ok((text, end));
        }
        size *= 4;
    }
}

/// Where the last so many lines of a text begin; `None` where it may have fewer.
fn first_of(text: &[u8], count: usize) -> Option<usize> {
    let Some(before) = count.checked_sub(1) else { return Some(text.len()) };
    // What ends the last line begins none.
    let lines = text.strip_suffix(b"\n").unwrap_or(text);
    let ends = lines.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(at, _)| at + 1).nth(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tailed(text: &str, count: usize) -> String {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        let (tail, end) = tail(file.path(), count).expect("readable");
        assert_eq!(end, text.len() as u64);
        String::from_utf8(tail).expect("text")
    }

    #[test]
    fn the_last_lines_are_whole_and_as_many_as_asked_for() {
        assert_eq!(tailed("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(tailed("a\nb\nc", 2), "b\nc");
        assert_eq!(tailed("a\nb\n", 9), "a\nb\n");
        assert_eq!(tailed("a\n\n", 1), "\n");
        assert_eq!(tailed("a\n", 0), "");
        assert_eq!(tailed("", 3), "");
    }

    #[test]
    fn many_long_lines_are_read_from_further_back() {
        let lines: Vec<String> = (0..5000).map(|i| format!("{i:0>200}\n")).collect();
        assert_eq!(tailed(&lines.concat(), 4000), lines[1000..].concat());
        assert_eq!(tailed(&lines.concat(), 5000), lines.concat());
    }

    #[test]
    fn a_log_that_is_not_there_has_no_lines() {
        assert_eq!(last_lines(Path::new("/nonexistent/log"), 3), Vec::<String>::new());
    }
}
