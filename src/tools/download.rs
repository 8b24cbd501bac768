//! Files from the web or from a folder: no larger than they may be, whole, and held against their checksum.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::time::Duration;

use futures::StreamExt as _;
use url::Url;

use crate::digest;
use crate::error::{Error, Result};
use crate::http_client;

/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// Writes what is at an address, `file://` or `https://`, into a file. `tell` hears how many bytes came.
///
/// # Errors
/// A prerequisite (exit 5): it is not there or cannot be reached, ends early, is larger than `largest` bytes, or the
/// disk is full.
pub async fn download(
    address: &str,
    largest: u64,
    file: &mut File,
    tell: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    let url: Url = address.parse().map_err(|e| failed(address).because(e))?;
    match url.scheme() {
        "file" => copy(address, &url, largest, file),
        _ => fetch(address, &url, largest, file, tell).await,
    }
}

/// What is pinned, a release of about this size, may be so large: sizes may be estimates.
pub fn bound(size: u64) -> u64 {
    size + size / 2
}

fn failed(address: &str) -> Error {
    Error::prerequisite(format!("{address} cannot be downloaded"))
}

fn unwritten(address: &str, cause: std::io::Error) -> Error {
    Error::prerequisite(format!("what comes from {address} cannot be written"))
        .because(cause)
        .hint("free space there, or name another folder: export XDG_CACHE_HOME=/some/folder")
}

fn too_large(address: &str, largest: u64) -> Error {
    failed(address).because_of(format!("it is larger than {largest} bytes: it is not what it should be"))
}

fn copy(address: &str, url: &Url, largest: u64, file: &mut File) -> Result<()> {
    let path =
        url.to_file_path().map_err(|()| failed(address).because_of("it names no file of this machine"))?;
    let mut source = File::open(path).map_err(|e| failed(address).because(e))?;
    let mut buffer = vec![0; 1 << 16];
    let mut copied = 0;
    loop {
        let read = source.read(&mut buffer).map_err(|e| failed(address).because(e))?;
        copied += read as u64;
        if read == 0 {
            return Ok(());
        }
        if copied > largest {
            return Err(too_large(address, largest));
        }
        file.write_all(&buffer[..read]).map_err(|e| unwritten(address, e))?;
    }
}

async fn fetch(
    address: &str,
    url: &Url,
    largest: u64,
    file: &mut File,
    tell: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    let client = http_client::downloader_for(url)
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(SILENCE)
        .build()
        .map_err(|e| failed(address).because(e))?;
    let answer = client.get(address).send().await.and_then(reqwest::Response::error_for_status);
    let answer = answer.map_err(|e| failed(address).because(e.without_url()))?;
    let length = answer.content_length();
    if length.is_some_and(|length| length > largest) {
        return Err(too_large(address, largest));
    }
    let mut body = answer.bytes_stream();
    let mut came: u64 = 0;
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(|e| {
            let of = length.map(|length| format!(" of {length}")).unwrap_or_default();
            failed(address).because_of(format!("it ended after {came}{of} bytes")).because(e.without_url())
        })?;
        came += bytes.len() as u64;
        if came > largest {
            return Err(too_large(address, largest));
        }
        file.write_all(&bytes).map_err(|e| unwritten(address, e))?;
        tell(bytes.len() as u64);
    }
    Ok(())
}

/// Holds a file, from its beginning, against its checksum; leaves it at its beginning.
///
/// # Errors
/// A prerequisite (exit 5): it is something else, or cannot be read.
pub fn verify(file: &mut File, sha256: &str, address: &str) -> Result<()> {
    let failed = |e: std::io::Error| {
        Error::prerequisite(format!("what came from {address} cannot be read")).because(e)
    };
    file.rewind().map_err(failed)?;
    let found = digest::of_reader(&mut *file).map_err(failed)?;
    if found != sha256 {
        return Err(Error::prerequisite(format!(
            "what came from {address} is not what it should be: it was refused"
        ))
        .because_of(format!("its SHA-256 is {found}, pinned is {sha256}"))
        .hint("try again; if it stays so, somebody has changed the file: do not use it"));
    }
    file.rewind().map_err(failed)
}
