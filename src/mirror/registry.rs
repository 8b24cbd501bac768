//! Images from their registries, without Docker: the part of the OCI distribution API that a pull needs.

use std::path::Path;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use futures::StreamExt as _;
use reqwest::header::{ACCEPT, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;

use super::file_name;
use crate::digest::hex;
use crate::error::{Error, Result};
use crate::http_client::{self, Unread};
use crate::target::kubernetes::archive::{self, Whole};
use crate::target::kubernetes::image::full_name;

/// What manifests may be: of several platforms or of one, in OCI's form or Docker's.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// The media type of a manifest that does not name its own.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// How long a registry may say nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// Bytes that a manifest or a token may have: registries themselves take no more than 4 MiB.
const LARGEST_MANIFEST: usize = 4 << 20;

/// How often a request that failed is made again.
const AGAIN: usize = 3;

/// Registries, asked without credentials. One on loopback is asked by plain HTTP, as container runtimes do.
pub struct Registry {
    architecture: String,
}

/// An image's place: which registry, and what it is called there.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    registry: String,
    repository: String,
    reference: String,
}

/// One image's registry, with the token that it gave.
struct Session {
    client: Client,
    address: Address,
    token: Mutex<Option<String>>,
}

impl Registry {
    /// For images of this architecture, as OCI names it: `amd64`.
    pub fn new(architecture: &str) -> Registry {
        Registry { architecture: architecture.into() }
    }

    /// Writes an image's archive. `tell` hears how far it is.
    ///
    /// # Errors
    /// A prerequisite (exit 5): the registry cannot be reached, has no such image or none of this architecture, or gives
    /// something else than its digest says.
    pub async fn pull(&self, image: &str, archive: &Path, tell: &(dyn Fn(&str) + Sync)) -> Result<()> {
        let image = full_name(image);
        self.write(&image, archive, tell).await.map_err(|error| {
            let causes = std::iter::once(error.what()).chain(error.causes().iter().map(String::as_str));
            causes.fold(Error::prerequisite(format!("image {image} cannot be got")), Error::because_of).hint(
                format!(
                    "get it by other means and put it into the mirror: docker save {image} -o images/{}",
                    file_name(&image)
                ),
            )
        })
    }

    async fn write(&self, image: &str, archive: &Path, tell: &(dyn Fn(&str) + Sync)) -> Result<()> {
        let session = Session::new(image)?;
        let manifest = self.manifest(&session).await?;
        let parsed = parse(&manifest)?;
        let unwritten = |e: std::io::Error| {
            Error::prerequisite(format!("{} cannot be written", archive.display())).because(e)
        };
        let folder = tempfile::tempdir_in(archive.parent().unwrap_or(Path::new("."))).map_err(unwritten)?;
        let path_of = |digest: &str| folder.path().join(digest);
        let config = digest_of(&parsed["config"])?;
        session.blob(config, size_of(&parsed["config"])?, &path_of(config)).await?;
        let described = parsed["layers"].as_array().cloned().unwrap_or_default();
        let mut layers = Vec::new();
        for (i, layer) in described.iter().enumerate() {
            let (digest, size) = (digest_of(layer)?, size_of(layer)?);
            tell(&format!(
                "{image}: layer {} of {}, {} MB",
                i + 1,
                described.len(),
                size.div_ceil(1_000_000)
            ));
            session.blob(digest, size, &path_of(digest)).await?;
            layers.push((digest.to_owned(), path_of(digest)));
        }
        let whole = Whole {
            image,
            manifest: &manifest,
            media_type: parsed["mediaType"].as_str().unwrap_or(MANIFEST),
            config: &std::fs::read(path_of(config)).map_err(unwritten)?,
            architecture: &self.architecture,
            layers: &layers,
        };
        archive::write(&whole, archive).map_err(unwritten)
    }

    /// The manifest of this architecture.
    async fn manifest(&self, session: &Session) -> Result<Vec<u8>> {
        let bytes = session.manifest(&session.address.reference).await?;
        let parsed = parse(&bytes)?;
        let Some(all) = parsed["manifests"].as_array() else { return Ok(bytes) };
        let fits = |entry: &&Value| {
            entry["platform"]["os"] == "linux"
                && entry["platform"]["architecture"] == self.architecture.as_str()
        };
        let entry = all
            .iter()
            .find(fits)
            .ok_or_else(|| Error::prerequisite(format!("it is not there for linux/{}", self.architecture)))?;
        session.manifest(&format!("sha256:{}", digest_of(entry)?)).await
    }
}

impl Session {
    fn new(image: &str) -> Result<Session> {
        let address = Address::of(image);
        let builder = http_client::downloader();
        // A proxy cannot reach this machine's loopback.
        let builder = if is_loopback(&address.registry) { builder.no_proxy() } else { builder };
        let client = builder
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(SILENCE)
            .build()
            .map_err(|e| Error::prerequisite("no HTTP client can be made").because(e))?;
        Ok(Session { client, address, token: Mutex::default() })
    }

    /// A manifest to the byte; one that is asked for by its digest is held against it.
    async fn manifest(&self, reference: &str) -> Result<Vec<u8>> {
        let get = || async {
            let answer = self.get(&format!("manifests/{reference}"), ACCEPTED).await?;
            self.small(answer).await
        };
        let bytes = get.retry(again()).when(may_pass).await?;
        match reference.strip_prefix("sha256:") {
            Some(digest) => same(digest, &archive::sha256(&bytes)).map(|()| bytes),
            None => Ok(bytes),
        }
    }

    /// What is no layer is read whole, as far as its kind can be large.
    async fn small(&self, answer: Response) -> Result<Vec<u8>> {
        http_client::read(answer, LARGEST_MANIFEST).await.map_err(|why| match why {
            Unread::Broken(e) => unreachable(&self.address.registry, e),
            Unread::TooLarge(_) => {
                Error::usage(format!("{} gives more than a manifest can be", self.address.registry))
                    .because(why)
            }
        })
    }

    /// Writes a blob to a file, held against its size and its digest.
    async fn blob(&self, digest: &str, size: u64, path: &Path) -> Result<()> {
        let get = || async {
            let unwritten =
                |e: std::io::Error| Error::usage(format!("{} cannot be written", path.display())).because(e);
            let mut file = tokio::fs::File::create(path).await.map_err(unwritten)?;
            let answer = self.get(&format!("blobs/sha256:{digest}"), "*/*").await?;
            let mut body = answer.bytes_stream();
            let mut hash = Sha256::new();
            let mut came = 0;
            while let Some(bytes) = body.next().await {
                let bytes = bytes.map_err(|e| unreachable(&self.address.registry, e))?;
                came += bytes.len() as u64;
                if came > size {
                    return Err(Error::usage(format!(
                        "a part of it is larger than its manifest says: {size} bytes"
                    )));
                }
                hash.update(&bytes);
                file.write_all(&bytes).await.map_err(unwritten)?;
            }
            file.flush().await.map_err(unwritten)?;
            let found = hex(hash.finalize());
            same(digest, &found)
        };
        get.retry(again()).when(may_pass).await
    }

    /// Asks for a part of the image, with the token that the registry wants for it.
    async fn get(&self, part: &str, accept: &str) -> Result<Response> {
        let Address { registry, repository, .. } = &self.address;
        let scheme = if is_loopback(registry) { "http" } else { "https" };
        let url = format!("{scheme}://{registry}/v2/{repository}/{part}");
        let ask = async |token: Option<String>| {
            let request = self.client.get(&url).header(ACCEPT, accept);
            let request = match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            };
            request.send().await.map_err(|e| unreachable(registry, e))
        };
        let mut token = self.token.lock().await;
        let mut answer = ask(token.clone()).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            let wanted = answer.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
            let wanted = wanted.and_then(Challenge::parse).ok_or_else(|| {
                Error::usage(format!("{registry} wants credentials, and does not say of which kind"))
            })?;
            *token = Some(self.token(&wanted).await?);
            answer = ask(token.clone()).await?;
        }
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::NOT_FOUND => Err(Error::usage(format!("{registry} has no {repository} {part}"))),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(Error::usage(format!("{registry} gives {repository} to nobody without credentials")))
            }
            status => Err(Error::prerequisite(format!("{registry} answered {status}"))),
        }
    }

    /// A token that everybody is given.
    async fn token(&self, wanted: &Challenge) -> Result<String> {
        let query: Vec<(&str, &str)> = [("service", &wanted.service), ("scope", &wanted.scope)]
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.as_deref()?)))
            .collect();
        let answer = self.client.get(&wanted.realm).query(&query).send().await;
        let answer = answer.map_err(|e| unreachable(&wanted.realm, e))?;
        let refused = || Error::usage(format!("{} gives no token", wanted.realm));
        let body = self.small(answer).await?;
        let told: Value = serde_json::from_slice(&body).map_err(|e| refused().because(e))?;
        let token = told["token"].as_str().or(told["access_token"].as_str()).ok_or_else(refused)?;
        Ok(token.to_owned())
    }
}

impl Address {
    /// Of a full name, as the kubelet asks for it.
    fn of(image: &str) -> Address {
        let (registry, rest) = image.split_once('/').unwrap_or(("docker.io", image));
        let (repository, reference) = match rest.split_once('@') {
            // A tag beside a digest is for people.
            Some((named, digest)) => (named.split_once(':').map_or(named, |(name, _)| name), digest),
            None => rest.rsplit_once(':').unwrap_or((rest, "latest")),
        };
        let registry = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        Address { registry: registry.into(), repository: repository.into(), reference: reference.into() }
    }
}

/// `Bearer realm="https://auth.example/token",service="example",scope="repository:x:pull"`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Challenge {
    realm: String,
    service: Option<String>,
    scope: Option<String>,
}

impl Challenge {
    fn parse(header: &str) -> Option<Challenge> {
        let (kind, mut rest) = header.trim().split_once(' ')?;
        if !kind.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut challenge = Challenge::default();
        while let Some((key, after)) = rest.split_once('=') {
            let (value, next) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            match key.trim_matches([' ', ',']) {
                "realm" => challenge.realm = value.into(),
                "service" => challenge.service = Some(value.into()),
                "scope" => challenge.scope = Some(value.into()),
                _ => {}
            }
            rest = next;
        }
        (!challenge.realm.is_empty()).then_some(challenge)
    }
}

fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn unreachable(registry: &str, error: reqwest::Error) -> Error {
    Error::prerequisite(format!("{registry} cannot be reached")).because(error.without_url())
}

fn same(wanted: &str, found: &str) -> Result<()> {
    if wanted == found {
        return Ok(());
    }
    Err(Error::prerequisite("what came is not what was asked for: it was refused")
        .because_of(format!("its SHA-256 is {found}, asked for was {wanted}")))
}

fn again() -> ExponentialBuilder {
    ExponentialBuilder::default().with_jitter().with_max_times(AGAIN)
}

/// Whether another try may end otherwise: not where the registry said no.
fn may_pass(error: &Error) -> bool {
    error.exit() == crate::exit::Exit::Prerequisite
}

fn parse(manifest: &[u8]) -> Result<Value> {
    serde_json::from_slice(manifest).map_err(|e| Error::prerequisite("its manifest is no JSON").because(e))
}

/// The digest of a descriptor, in hex: it is a file's name, so it must be nothing else.
fn digest_of(descriptor: &Value) -> Result<&str> {
    descriptor["digest"]
        .as_str()
        .and_then(|digest| digest.strip_prefix("sha256:"))
        .filter(|digest| digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()))
        .ok_or_else(|| Error::prerequisite("its manifest names a part by no SHA-256"))
}

/// The size of a descriptor, in bytes: what is got is bound by it.
fn size_of(descriptor: &Value) -> Result<u64> {
    descriptor["size"].as_u64().ok_or_else(|| Error::prerequisite("its manifest names a part by no size"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_an_address() {
        for (image, registry, repository, reference) in [
            ("docker.io/library/busybox:1.37", "registry-1.docker.io", "library/busybox", "1.37"),
            ("quay.io/a/b:v1", "quay.io", "a/b", "v1"),
            ("127.0.0.1:5000/a:v1", "127.0.0.1:5000", "a", "v1"),
            ("quay.io/a/b:v1@sha256:00", "quay.io", "a/b", "sha256:00"),
        ] {
            let address = Address::of(image);
            assert_eq!(
                (address.registry.as_str(), address.repository.as_str(), address.reference.as_str()),
                (registry, repository, reference)
            );
        }
    }

    #[test]
    fn a_challenge_says_where_a_token_is() {
        let header = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let challenge = Challenge::parse(header).unwrap();
        assert_eq!(challenge.realm, "https://auth.docker.io/token");
        assert_eq!(challenge.service.as_deref(), Some("registry.docker.io"));
        assert_eq!(challenge.scope.as_deref(), Some("repository:a/b:pull,push"));
        assert_eq!(Challenge::parse("Basic realm=\"x\""), None);
    }

    #[test]
    fn plain_http_is_for_loopback_alone() {
        assert!(is_loopback("127.0.0.1:5000") && is_loopback("localhost:5000"));
        assert!(!is_loopback("quay.io") && !is_loopback("127.example.org:5000"));
    }

    #[test]
    fn a_digest_is_a_file_s_name_and_nothing_else() {
        let wrong = serde_json::json!({"digest": "sha256:../../x"});
        assert!(digest_of(&wrong).is_err());
    }
}
