//! Reads files that people write, and says plainly why one cannot be read.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};

/// More than anybody writes by hand.
const LIMIT: u64 = 1 << 20;

/// The text of a file. What is missing, a folder, too large or no text is an error (exit 2).
pub fn read(path: &Path) -> Result<String> {
    let shown = path.display();
    let refused = |e: std::io::Error| match e.kind() {
        ErrorKind::NotFound => Error::usage(format!("there is no file {shown}")),
        _ => Error::usage(format!("{shown} cannot be read")).because(e),
    };
    let metadata = fs::metadata(path).map_err(refused)?;
    if metadata.is_dir() {
        return Err(Error::usage(format!("{shown} is a folder, not a file")));
    }
    // Reading a pipe or a device might never come to an end.
    if !metadata.is_file() {
        return Err(Error::usage(format!("{shown} is not a regular file")));
    }
    if metadata.len() > LIMIT {
        return Err(Error::usage(format!(
            "{shown} is too large: {} bytes, of at most {LIMIT}",
            metadata.len()
        )));
    }
    let bytes = fs::read(path).map_err(refused)?;
    let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    let text = text.ok_or_else(|| Error::usage(format!("{shown} is not a text file in UTF-8")))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn says_why_a_file_cannot_be_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, content).expect("a file");
            path
        };
        let cases = [
            (dir.path().join("missing.yaml"), "there is no file"),
            (dir.path().to_owned(), "is a folder"),
            (file("binary.yaml", b"\x7fELF\0"), "not a text file"),
            (file("latin1.yaml", b"caf\xe9"), "not a text file"),
            (file("large.yaml", &vec![b' '; 2 << 20]), "too large"),
            ("/dev/zero".into(), "not a regular file"),
        ];
        for (path, why) in cases {
            let error = read(&path).expect_err(why);
            assert!(error.what().contains(why), "{error}");
            assert_eq!(error.exit(), Exit::Usage);
        }
        let text = read(&file("bom.yaml", "\u{feff}a: 1\n".as_bytes())).expect("text");
        assert_eq!(text, "a: 1\n");
    }
}
