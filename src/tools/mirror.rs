//! The address of a mirror, which `SRE_MIRROR` names.

use url::Url;

use crate::error::{Error, Result};
use crate::http_client::is_loopback;

/// Where releases, charts and images are taken from instead of their projects' own places: `SRE_MIRROR`.
///
/// # Errors
/// Usage (exit 2) where that is no address of a mirror. It is not repeated: it may hold a password.
pub fn mirror() -> Result<Option<Url>> {
    match std::env::var("SRE_MIRROR") {
        Ok(text) if !text.is_empty() => parse(&text).map(Some),
        _ => Ok(None),
    }
}

fn parse(text: &str) -> Result<Url> {
    const HINT: &str = "write file:///folder or https://host/path";
    let wrong = || Error::usage("SRE_MIRROR is no address of a mirror").hint(HINT);
    let url: Url = text.parse().map_err(|e| wrong().because(e))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::usage("SRE_MIRROR holds a user name or a password")
            .because_of("the address of a mirror is shown, and given to other programs as an argument")
            .hint("serve the mirror without a login, or copy it here: SRE_MIRROR=file:///folder"));
    }
    match url.scheme() {
        "file" | "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(Error::usage("SRE_MIRROR is plain http, and not on this machine")
            .because_of(
                "whoever is between could put other programs, charts and images in place of those asked for",
            )
            .hint("serve it by https, or copy it here: SRE_MIRROR=file:///folder")),
        other => Err(wrong().because_of(format!("{other}:// is none of file:// and https://"))),
    }
}

/// A mirror as paths go on from it: a folder of this machine, or a URL.
pub fn place(mirror: Url) -> String {
    match mirror.to_file_path() {
        Ok(folder) => folder.display().to_string(),
        Err(()) => mirror.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_alone() {
        for right in [
            "file:///media/usb/m",
            "https://files.example.org/m",
            "http://127.0.0.1:8000/",
            "http://[::1]/m",
            "http://localhost/m",
        ] {
            assert!(parse(right).is_ok(), "{right}");
        }
        for wrong in
            ["http://files.example.org/m", "http://127.example.org/", "http://10.0.0.1/", "ftp://x/m", "m"]
        {
            let error = parse(wrong).expect_err(wrong);
            assert_eq!(error.exit(), crate::exit::Exit::Usage, "{wrong}");
        }
    }

    #[test]
    fn a_password_is_refused_and_never_shown() {
        for wrong in
            ["https://ada:hunter2@host/m", "https://hunter2@host/m", "https://ada:hunter2@host:port/m"]
        {
            let error = parse(wrong).expect_err(wrong).to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
