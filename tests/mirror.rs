//! `sre mirror fill` against a registry and a repository of charts on loopback: doubles that speak the OCI distribution
//! API and serve a helm repository's files, because what is filled from is on the internet otherwise.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the double has, by path; and what it was asked.
#[derive(Default)]
struct Store {
    files: BTreeMap<String, Vec<u8>>,
    asked: Vec<String>,
}

#[derive(Clone)]
struct Double {
    address: String,
    store: Arc<Mutex<Store>>,
}

impl Double {
    async fn start() -> Double {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let double = Double { address: listener.local_addr().unwrap().to_string(), store: Arc::default() };
        let router = Router::new().fallback(answer).with_state(double.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        double
    }

    fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.store.lock().unwrap().files.insert(path.into(), bytes.into());
    }

    fn asked(&self) -> usize {
        self.store.lock().unwrap().asked.len()
    }

    /// An image of two platforms; its layers.
    fn image(&self, name: &str, tag: &str) -> Vec<Vec<u8>> {
        let layers = vec![format!("{name} one").into_bytes(), format!("{name} two").into_bytes()];
        let mut entries = Vec::new();
        for architecture in ["arm64", "amd64"] {
            let config = json!({"architecture": architecture, "os": "linux"}).to_string();
            let described: Vec<Value> = layers
                .iter()
                .map(|layer| {
                    self.put(&format!("/v2/{name}/blobs/sha256:{}", sha256(layer)), layer.clone());
                    json!({"digest": format!("sha256:{}", sha256(layer)), "size": layer.len(),
                        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"})
                })
                .collect();
            let manifest =
                json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"digest": format!("sha256:{}", sha256(config.as_bytes())), "size": config.len(),
                    "mediaType": "application/vnd.oci.image.config.v1+json"}, "layers": described})
                .to_string();
            self.put(&format!("/v2/{name}/blobs/sha256:{}", sha256(config.as_bytes())), config);
            let digest = format!("sha256:{}", sha256(manifest.as_bytes()));
            entries.push(json!({"digest": digest, "size": manifest.len(),
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "platform": {"os": "linux", "architecture": architecture}}));
            self.put(&format!("/v2/{name}/manifests/{digest}"), manifest);
        }
        let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries});
        self.put(&format!("/v2/{name}/manifests/{tag}"), index.to_string());
        layers
    }
}

/// Everybody gets a token, and nobody an image without.
async fn answer(State(double): State<Double>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let mut store = double.store.lock().unwrap();
    store.asked.push(path.clone());
    if path == "/token" {
        return axum::Json(json!({"token": "for-everybody"})).into_response();
    }
    let authorized =
        request.headers().get(header::AUTHORIZATION).is_some_and(|value| value == "Bearer for-everybody");
    if path.starts_with("/v2/") && !authorized {
        let wanted = format!("Bearer realm=\"http://{}/token\",service=\"double\"", double.address);
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, wanted)]).into_response();
    }
    match store.files.get(&path) {
        Some(bytes) => bytes.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A folder with a stack `mine` whose `cluster` has this beside its namespace.
fn stack(cluster: &str, manifest: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(
        "stacks/mine/stack.yaml",
        &format!("name: mine\ncounter: {{metric: requests_total}}\ncluster:\n  namespace: lab\n{cluster}"),
    );
    write("manifests/pods.yaml", manifest);
    folder
}

fn pods(images: &[&str]) -> String {
    let pod = |(i, image): (usize, &&str)| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p{i}}}\nspec: {{containers: [{{name: a, image: \"{image}\"}}]}}\n"
        )
    };
    images.iter().enumerate().map(pod).collect::<Vec<_>>().join("---\n")
}

fn sre(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sre"));
    command.args(arguments).current_dir(folder).env("XDG_CACHE_HOME", folder.join("cache"));
    if arguments.contains(&"mirror") {
        // Registries on loopback are reached past every proxy.
        command.env("HTTP_PROXY", "http://127.0.0.1:9").env("HTTPS_PROXY", "http://127.0.0.1:9");
    }
    for other in ["SRE_TARGET", "SRE_YES", "SRE_MIRROR"] {
        command.env_remove(other);
    }
    command.output().unwrap()
}

/// `sre mirror fill` of the stack `mine` into the folder `lab`.
fn fill(folder: &Path, more: &[&str]) -> Output {
    sre(folder, &[&["mirror", "fill", "lab", "--stack", "mine"], more].concat())
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The files of an archive, by path.
fn unpacked(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(std::fs::File::open(archive).unwrap()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(entry.path().unwrap().display().to_string(), bytes);
    }
    files
}

const PODS: &str = "  manifests: {app: {files: [manifests/pods.yaml]}}\n";

#[tokio::test(flavor = "multi_thread")]
async fn images_come_whole_for_one_platform_and_once() {
    let registry = Double::start().await;
    let layers = registry.image("team/web", "1.2");
    let image = format!("{}/team/web:1.2", registry.address);
    let folder = stack(PODS, &pods(&[&image]));
    let for_amd64 = || fill(folder.path(), &["--only", "images", "--platform", "linux-amd64", "-o", "json"]);
    let first = for_amd64();
    assert_eq!(first.status.code(), Some(0), "{}", text(&first));
    let told: Value = serde_json::from_slice(&first.stdout).unwrap();
    let file = format!("images/{}_team_web_1.2.tar", registry.address.replace(':', "_"));
    assert_eq!((&told[0]["name"], &told[0]["file"]), (&json!(image), &json!(file)));

    let files = unpacked(&folder.path().join("lab").join(&file));
    let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
    assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], image.as_str());
    assert_eq!(index["manifests"][0]["platform"]["architecture"], "amd64");
    for layer in layers {
        assert_eq!(files[&format!("blobs/sha256/{}", sha256(&layer))], layer);
    }
    for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with("blobs/")) {
        assert_eq!(*name, format!("blobs/sha256/{}", sha256(bytes)), "a blob is named by its content");
    }

    let asked = registry.asked();
    let again = for_amd64();
    let told: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(told[0]["kept"], true);
    assert_eq!(registry.asked(), asked, "what is there is asked for no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_got_is_told_and_the_rest_is_there() {
    let registry = Double::start().await;
    registry.image("good", "1");
    let layers = registry.image("changed", "1");
    registry.put(&format!("/v2/changed/blobs/sha256:{}", sha256(&layers[0])), "changeD one");
    let endless = registry.image("endless", "1");
    registry.put(&format!("/v2/endless/blobs/sha256:{}", sha256(&endless[0])), "endless one and more");
    let name = |image: &str| format!("{}/{image}:1", registry.address);
    let images = [name("changed"), name("good"), name("nowhere"), name("endless")];
    let folder = stack(PODS, &pods(&[&images[0], &images[1], &images[2], &images[3]]));
    let images_for = |platform| fill(folder.path(), &["--only", "images", "--platform", platform]);
    let output = images_for("linux-amd64");
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("3 of 4 are missing") && said.contains("has no nowhere"), "{said}");
    assert!(said.contains(&format!("asked for was {}", sha256(&layers[0]))), "{said}");
    assert!(said.contains("larger than its manifest says: 11 bytes"), "{said}");
    let there: Vec<String> = std::fs::read_dir(folder.path().join("lab/images"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(there.len(), 1, "{there:?}");
    assert!(there[0].contains("good"));

    let output = images_for("linux-riscv64");
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(text(&output).contains("not there for linux/riscv64"), "{}", text(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn charts_come_from_their_repository_with_the_images_of_their_pods() {
    if Command::new("helm").arg("version").output().is_err() {
        common::needs::skipped("helm", "helm is not on PATH");
        return;
    }
    let server = Double::start().await;
    server.image("web", "7");
    let charts = tempfile::tempdir().unwrap();
    let packaged = Command::new("helm")
        .args(["package", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/charts/web"), "--destination"])
        .arg(charts.path())
        .output()
        .unwrap();
    assert!(packaged.status.success(), "{}", text(&packaged));
    let indexed = Command::new("helm").args(["repo", "index"]).arg(charts.path()).output().unwrap();
    assert!(indexed.status.success(), "{}", text(&indexed));
    for entry in std::fs::read_dir(charts.path()).unwrap().flatten() {
        let path = format!("/charts/{}", entry.file_name().to_string_lossy());
        server.put(&path, std::fs::read(entry.path()).unwrap());
    }
    let cluster = format!(
        "  charts:\n    web:\n      chart: web\n      repository: http://{0}/charts\n      version: 0.1.0\n      \
         set: {{image: \"{0}/web:7\"}}\n",
        server.address
    );
    let folder = stack(&cluster, "");
    let all = || fill(folder.path(), &["--only", "charts", "--only", "images", "--platform", "linux-arm64"]);
    let output = all();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(folder.path().join("lab/charts/web-0.1.0.tgz").is_file(), "{}", text(&output));
    let image = format!("lab/images/{}_web_7.tar", server.address.replace(':', "_"));
    assert!(folder.path().join(image).is_file(), "{}", text(&output));

    // A version that the repository does not have.
    let path = folder.path().join("stacks/mine/stack.yaml");
    let other = std::fs::read_to_string(&path).unwrap().replace("0.1.0", "9.9.9");
    std::fs::write(&path, other).unwrap();
    let output = all();
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(text(&output).contains("web"), "{}", text(&output));
}

/// The image of `sre` itself as any other image: its archive's blobs, served by the double.
fn serve_archive(registry: &Double, name: &str, tag: &str, archive: &Path) {
    let files = unpacked(archive);
    let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
    for (path, bytes) in files {
        if let Some(digest) = path.strip_prefix("blobs/sha256/") {
            if index["manifests"][0]["digest"] == format!("sha256:{digest}") {
                registry.put(&format!("/v2/{name}/manifests/{tag}"), bytes);
            } else {
                registry.put(&format!("/v2/{name}/blobs/sha256:{digest}"), bytes);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn up_loads_the_images_of_its_pods_from_the_mirror() {
    let Some(kubeconfig) = common::kubeconfig() else { return };
    let Some(program) = common::needs::variable("cluster", "SRE_TEST_STATIC", "static build of sre") else {
        return;
    };
    let Some(loader) = common::needs::variable("cluster", "SRE_TEST_IMAGE_LOADER", "command") else { return };
    let cluster = common::connect().await.unwrap();
    let registry = Double::start().await;
    // Another tag each time: no node has it.
    let tag = uuid::Uuid::new_v4().to_string();
    let image = format!("{}/team/sre:{tag}", registry.address);
    let namespace = format!("sre-test-mirror-{}", &tag[..6]);
    let pod = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  selector: {{matchLabels: {{app: web}}}}\n  \
         template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n      containers:\n        - name: web\n          \
         image: \"{image}\"\n          imagePullPolicy: IfNotPresent\n          args: [app, --listen, \"0.0.0.0:8080\"]\n"
    );
    let folder = stack(&PODS.replace("pods.yaml]", "pods.yaml], wait: 60s"), &pod);
    let stack_file = folder.path().join("stacks/mine/stack.yaml");
    let text_of = std::fs::read_to_string(&stack_file).unwrap();
    std::fs::write(&stack_file, text_of.replace("namespace: lab", &format!("namespace: {namespace}")))
        .unwrap();
    let archive = folder.path().join("image.tar");
    sre::target::kubernetes::image::write_archive(Path::new(&program), &image, &archive).unwrap();
    serve_archive(&registry, "team/sre", &tag, &archive);

    let filled = fill(folder.path(), &["--only", "images"]);
    assert_eq!(filled.status.code(), Some(0), "{}", text(&filled));
    let sre = |arguments: &[&str]| {
        let mirror = format!("file://{}", folder.path().join("lab").display());
        Command::new(env!("CARGO_BIN_EXE_sre"))
            .args(arguments)
            .current_dir(folder.path())
            .env("KUBECONFIG", &kubeconfig)
            .env("SRE_IMAGE_LOADER", &loader)
            .env("SRE_MIRROR", mirror)
            .output()
            .unwrap()
    };
    let up = sre(&["up", "mine", "--target", "cluster", "--context", cluster.context(), "--yes"]);
    let down = sre(&["down", "--yes"]);
    assert_eq!(up.status.code(), Some(0), "{}", text(&up));
    assert!(text(&up).contains("from the mirror"), "{}", text(&up));
    assert_eq!(down.status.code(), Some(0), "{}", text(&down));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_on_the_web_gives_only_what_its_list_says() {
    let server = Double::start().await;
    let place: url::Url = format!("http://{}/lab", server.address).parse().unwrap();
    let mirror = || sre::mirror::Mirror::at(place.clone());
    let name = "images/docker.io_library_web_7.tar";
    server.put(&format!("/lab/{name}"), "an image");
    let error = mirror().image("web:7").await.unwrap_err().to_string();
    assert!(error.contains("SHA256SUMS cannot be downloaded"), "{error}");

    server.put("/lab/SHA256SUMS", format!("{}  {name}\n", sha256(b"an image")));
    let got = mirror().image("web:7").await.unwrap().expect("it is listed");
    assert_eq!(std::fs::read(got.path()).unwrap(), b"an image");
    let path = got.path().to_owned();
    drop(got);
    assert!(!path.exists());
    assert!(mirror().image("other:7").await.unwrap().is_none());

    server.put(&format!("/lab/{name}"), "an imagE");
    let error = mirror().image("web:7").await.unwrap_err().to_string();
    assert!(error.contains("is not what it should be"), "{error}");
}

/// What is pinned is what the projects publish. It asks their own sites, so it runs where `SRE_TEST_PINS` asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn pins_are_those_of_their_projects() {
    use sre::tools::versions::{CHARTS, RELEASES};
    if std::env::var_os("SRE_TEST_PINS").is_none() {
        eprintln!("SKIPPED: SRE_TEST_PINS does not ask for the projects' own lists of checksums");
        return;
    }
    let client = reqwest::Client::new();
    let get = async |url: String| {
        client.get(&url).send().await.unwrap().error_for_status().unwrap().text().await.unwrap()
    };
    for release in RELEASES {
        let list = get(format!("{}/{}", release.base, release.sums)).await;
        for archive in release.archives {
            let file = release.file(archive.platform);
            let line =
                list.lines().find(|line| line.ends_with(&file)).unwrap_or_else(|| panic!("{file}: {list}"));
            assert!(line.starts_with(archive.sha256), "{file}: pinned is {}, listed {line}", archive.sha256);
            let head = client.head(format!("{}/{file}", release.base)).send().await.unwrap();
            let size = head.headers()[header::CONTENT_LENGTH].to_str().unwrap().parse::<u64>().unwrap();
            // A download may be half as large again as is pinned.
            assert!(size * 3 < archive.size * 4 && archive.size * 3 < size * 4, "{file} has {size} bytes");
        }
    }
    for chart in CHARTS {
        let index = get(format!("{}/index.yaml", chart.repository)).await;
        let file = format!("/{}-{}.tgz", chart.name, chart.version);
        let (before, _) = index.split_once(&file).unwrap_or_else(|| panic!("the index has no {file}"));
        let digest = before.rsplit("    digest: ").next().and_then(|rest| rest.lines().next());
        assert_eq!(digest, Some(chart.sha256), "{file}");
    }
}
