//! Digests as text, and lists of them as `sha256sum` writes and reads them.

use std::fs::File;
use std::io;
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// Bytes in hexadecimal.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of a text, in hexadecimal.
pub fn of_text(text: &str) -> String {
    hex(Sha256::digest(text))
}

/// The SHA-256 of what is read to its end, in hexadecimal.
///
/// # Errors
/// What reading says.
pub fn of_reader(mut reader: impl io::Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hex(hash.finalize())),
            Ok(read) => hash.update(&buffer[..read]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// The SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// It cannot be read.
pub fn of_file(path: &Path) -> io::Result<String> {
    of_reader(File::open(path)?)
}

/// Whether this is a SHA-256 in hexadecimal.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A list of names with their SHA-256, as `sha256sum` writes it.
pub fn write_sums(known: &[(String, String)]) -> String {
    known.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect()
}

/// Names with their SHA-256 from such a list; `None` where a line is something else.
pub fn read_sums(text: &str) -> Option<Vec<(String, String)>> {
    text.lines()
        .map(|line| {
            let (sum, name) = line.split_once(' ')?;
            // A star says that the file was read as binary.
            let name = name.strip_prefix([' ', '*'])?;
            (is_sha256(sum) && !name.is_empty()).then(|| (name.to_owned(), sum.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_list_of_sums_is_that_of_sha256sum() {
        assert_eq!(of_reader(io::empty()).ok().as_deref(), Some(NOTHING));
        let known = [("charts/a b.tgz".to_owned(), NOTHING.to_owned())];
        let text = format!("{NOTHING}  charts/a b.tgz\n");
        assert_eq!(write_sums(&known), text);
        assert_eq!(read_sums(&text).as_deref(), Some(&known[..]));
        assert_eq!(read_sums(&text.replace("  ", " *")).as_deref(), Some(&known[..]));
        assert_eq!(read_sums("<html>"), None);
        assert_eq!(read_sums(&text[1..]), None);
    }
}
