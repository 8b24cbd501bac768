//! `sre status`, `logs`, `open` and `doctor` against a real cluster, named by `SRE_TEST_KUBECONFIG`, with a stack of
//! the tests' own: busybox's `httpd` in place of a service, and a pod that has Grafana's variables and is none.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{connect, image, kubeconfig};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use sre::target::kubernetes::client::Cluster;

/// How long something may take to be seen.
const BOUND: Duration = Duration::from_secs(180);

const STACK: &str = r#"
name: tiny
description: Two web servers and a program that ends again and again
counter: {metric: requests_total}
parameters:
  namespace: {description: where, default: tiny}
  image: {description: what, default: busybox}
cluster:
  namespace: ${namespace}
  manifests:
    app: {files: [manifests/tiny.yaml], wait: 2m}
  endpoints:
    service: {labels: {app.kubernetes.io/name: tiny}, port: 8080}
    grafana: {labels: {app.kubernetes.io/name: grafana}, port: 8080}
"#;

/// A fragile pod ends after its second line; it is no workload that `up` waits for to be ready for long.
const MANIFESTS: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {admin-user: admin, admin-password: correct-horse}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: tiny}
spec:
  replicas: 2
  selector: {matchLabels: {app.kubernetes.io/name: tiny}}
  template:
    metadata: {labels: {app.kubernetes.io/name: tiny}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: web
          image: ${image}
          imagePullPolicy: IfNotPresent
          command: [sh, -c, 'echo "serving on $HOSTNAME"; mkdir -p /tmp/w; echo $HOSTNAME >/tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w']
          readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
        - name: clock
          image: ${image}
          imagePullPolicy: IfNotPresent
          command: [sh, -c, 'i=0; while :; do i=$((i+1)); echo "tick $i"; sleep 1; done']
          readinessProbe: {exec: {command: ["true"]}, periodSeconds: 1}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: grafana}
spec:
  selector: {matchLabels: {app.kubernetes.io/name: grafana}}
  template:
    metadata: {labels: {app.kubernetes.io/name: grafana}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: grafana
          image: ${image}
          imagePullPolicy: IfNotPresent
          command: [sh, -c, 'mkdir -p /tmp/w; echo stand-in >/tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w']
          env:
            - {name: GF_SECURITY_ADMIN_USER, valueFrom: {secretKeyRef: {name: login, key: admin-user}}}
            - {name: GF_SECURITY_ADMIN_PASSWORD, valueFrom: {secretKeyRef: {name: login, key: admin-password}}}
          readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: fragile, labels: {app.kubernetes.io/name: fragile}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: main
      image: ${image}
      imagePullPolicy: IfNotPresent
      command: [sh, -c, 'echo "born"; sleep 3; echo "last words"; exit 7']
"#;

/// A folder with the stack, and a namespace that is removed at the end, also of a failed test.
struct Place {
    folder: tempfile::TempDir,
    kubeconfig: PathBuf,
    context: String,
    namespace: String,
}

impl Place {
    async fn new() -> Option<(Place, Cluster)> {
        let kubeconfig = kubeconfig()?;
        let cluster = connect().await?;
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in [("stacks/tiny/stack.yaml", STACK), ("manifests/tiny.yaml", MANIFESTS)] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let namespace = format!("sre-test-view-{}", &uuid::Uuid::new_v4().to_string()[..6]);
        Some((Place { folder, kubeconfig, context: cluster.context().to_owned(), namespace }, cluster))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sre"));
        command.args(arguments).current_dir(self.folder.path()).env("KUBECONFIG", &self.kubeconfig);
        for other in ["SRE_TARGET", "SRE_YES", "SRE_MIRROR", "SRE_IMAGE_LOADER", "SRE_IMAGE_BINARY"] {
            command.env_remove(other);
        }
        command
    }

    fn sre(&self, arguments: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (status.code().unwrap_or(-1), text(stdout), text(stderr))
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.sre(arguments);
        assert_eq!(code, 0, "sre {arguments:?}\n{stdout}\n{stderr}");
        stdout
    }

    /// What stays running: it is interrupted and waited for when it goes.
    fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = std::sync::mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Running { child, lines, seen: Vec::new() }
    }

    fn up(&self) {
        let (image, namespace) = (format!("image={}", image()), format!("namespace={}", self.namespace));
        self.ok(&[
            "up",
            "tiny",
            "--target",
            "cluster",
            "--context",
            &self.context,
            "--yes",
            "--set",
            &image,
            "--set",
            &namespace,
        ]);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (code, _, stderr) = self.sre(&["down", "--yes"]);
        if code != 0 {
            eprintln!("not cleaned up: {stderr}");
        }
    }
}

struct Running {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    /// Waits for a line that holds this.
    fn wait_for(&mut self, what: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        while started.elapsed() < BOUND {
            if let Ok(line) = self.lines.recv_timeout(Duration::from_millis(200)) {
                self.seen.push(line.clone());
                if what(&line) {
                    return line;
                }
            }
        }
        panic!("it was not seen within {BOUND:?}: {:?}", self.seen);
    }

    /// Ctrl-C; its exit code and what it told.
    fn interrupt(mut self) -> (Option<i32>, String) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let code = self.child.wait().unwrap().code();
        let mut told = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        (code, told)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The ready pods of an app, by name.
async fn ready(cluster: &Cluster, namespace: &str, app: &str) -> Vec<String> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let params = ListParams::default().labels(&format!("app.kubernetes.io/name={app}"));
    let all = pods.list(&params).await.unwrap().items;
    let mut names: Vec<String> = all
        .into_iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .filter(|pod| {
            let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
        })
        .filter_map(|pod| pod.metadata.name)
        .collect();
    names.sort();
    names
}

async fn get(url: &str) -> Result<String, reqwest::Error> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    client.get(url).send().await?.error_for_status()?.text().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lab_is_seen_read_and_opened() {
    let Some((place, cluster)) = Place::new().await else { return };
    let (code, _, told) = place.sre(&["status"]);
    assert_eq!(code, 3, "nothing is up: {told}");
    place.up();
    let pods: Api<Pod> = Api::namespaced(cluster.client(), &place.namespace);

    // The pod that ends again and again makes the lab ill, and says so.
    let started = Instant::now();
    let status = loop {
        let (code, stdout, stderr) = place.sre(&["status", "-o", "json"]);
        let status: Value = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout}{stderr}"));
        let fragile = status["pods"].as_array().unwrap().iter().find(|pod| pod["name"] == "fragile").cloned();
        if fragile.is_some_and(|pod| pod["restarts"].as_u64() > Some(0) && pod["healthy"] == false) {
            assert_eq!(code, 6);
            break status;
        }
        assert!(started.elapsed() < BOUND, "{status}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    let of_app: Vec<&Value> =
        status["pods"].as_array().unwrap().iter().filter(|pod| pod["part"] == "app").collect();
    assert_eq!(of_app.len(), 2, "{status}");
    assert!(of_app.iter().all(|pod| pod["healthy"] == true && pod["ready"] == 2), "{status}");
    let screen = place.sre(&["status"]).1;
    assert!(screen.contains("→ sre logs fragile"), "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");

    // By part, by number, by container, of the life before.
    let names = ready(&cluster, &place.namespace, "tiny").await;
    let both = place.ok(&["logs", "app"]);
    for name in &names {
        assert!(both.contains(&format!("[pod/{name}/web] serving on {name}")), "{both}");
    }
    assert_eq!(place.ok(&["logs", "tiny-1"]), format!("serving on {}\n", names[1]));
    assert_eq!(place.ok(&["logs", &names[0], "-c", "clock", "-n", "1"]).lines().count(), 1);
    // The kubelet keeps one ended container: there is a life before only while another one goes on.
    let started = Instant::now();
    while place.sre(&["logs", "fragile", "--previous"]).1 != "born\nlast words\n" {
        assert!(started.elapsed() < BOUND, "{}", place.sre(&["logs", "fragile", "--previous"]).2);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let (code, _, told) = place.sre(&["logs", "fragil"]);
    assert!(code == 2 && told.contains("did you mean `fragile`?"), "{told}");
    let (code, _, told) = place.sre(&["logs", "tiny-0", "-c", "nosuch"]);
    assert!(code == 2 && told.contains("web, clock"), "{told}");
    let (code, _, told) = place.sre(&["logs", "tiny-0", "--previous"]);
    assert!(code == 6 && told.contains("previous"), "{told}");

    // Followed over a pod that is replaced.
    let mut following = place.start(&["logs", "app", "-c", "clock", "-f", "-n", "2"]);
    let gone = format!("[pod/{}/clock] tick", names[0]);
    following.wait_for(|line| line.starts_with(&gone));
    pods.delete(&names[0], &DeleteParams::default()).await.unwrap();
    let old: Vec<String> = names.iter().map(|name| format!("[pod/{name}/")).collect();
    let first = following.wait_for(|line| !old.iter().any(|old| line.starts_with(old)));
    assert!(first.ends_with("tick 1"), "the first line of the new pod is there: {first}");
    let (code, told) = following.interrupt();
    assert_eq!(code, Some(130));
    assert!(told.contains("is new"), "{told}");

    // And over a container that is restarted, without a line twice; anew, because restarts come ever more slowly.
    pods.delete("fragile", &DeleteParams::default()).await.unwrap();
    let started = Instant::now();
    while pods.get_opt("fragile").await.unwrap().is_some() {
        assert!(started.elapsed() < BOUND, "it is not gone");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    place.ok(&["up"]);
    let mut following = place.start(&["logs", "fragile", "-f"]);
    for _ in 0..2 {
        following.wait_for(|line| line == "last words");
    }
    let lives: Vec<String> = following.seen.clone();
    following.interrupt();
    assert!(lives.iter().step_by(2).all(|line| line == "born"), "in order, each once: {lives:?}");

    // A part is open until Ctrl-C, also when its pod is replaced.
    let mut open = place.start(&["open", "app"]);
    let url = open.wait_for(|line| line.starts_with("http://127.0.0.1:"));
    let name = get(&url).await.unwrap();
    pods.delete(name.trim(), &DeleteParams::default()).await.unwrap();
    let started = Instant::now();
    loop {
        match get(&url).await {
            Ok(other) if other != name => break,
            _ => assert!(started.elapsed() < BOUND, "the forward did not find another pod"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let taken = url.trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    let (code, _, told) = place.sre(&["open", "app", "--port", &taken]);
    assert!(code == 6 && told.contains(&format!("127.0.0.1:{taken} cannot be listened on")), "{told}");
    assert_eq!(open.interrupt().0, Some(130));
    assert!(get(&url).await.is_err(), "it is closed then");
    let (code, _, told) = place.sre(&["open", "prometheus"]);
    assert!(code == 2 && told.contains("there are: app, grafana"), "{told}");

    // The login of a stand-in that has Grafana's variables; the password is nowhere unless it was asked for.
    for (options, shown) in
        [(&["open", "grafana"][..], false), (&["open", "grafana", "--show-password"][..], true)]
    {
        let mut open = place.start(options);
        let line = open.wait_for(|line| line.contains("password"));
        assert!(open.seen.iter().any(|line| line.contains("admin")), "{:?}", open.seen);
        assert_eq!(line.contains("correct-horse"), shown, "{line}");
        assert_eq!(line.contains("kubectl --context"), !shown, "{line}");
        let (_, told) = open.interrupt();
        assert!(!told.contains("correct-horse"), "{told}");
    }
    assert!(
        !std::fs::read_to_string(place.folder.path().join(".sre/lab.json"))
            .unwrap()
            .contains("correct-horse")
    );
}

const BUILT: &str = r#"
name: built
description: An image with a Dockerfile, and nothing else
counter: {metric: requests_total}
parameters:
  namespace: {description: where, default: built}
cluster:
  namespace: ${namespace}
  images:
    shop: {image: shop, dockerfile: shop}
"#;

/// Docker does not run where this is tested: a program that writes down how it is called stands in for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_with_a_dockerfile_is_built_loaded_and_looked_for() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some((place, _)) = Place::new().await else { return };
    let at = |path: &str| place.folder.path().join(path);
    for (path, text) in [
        ("stacks/built/stack.yaml", BUILT),
        ("shop/Dockerfile", "FROM scratch"),
        ("bin/docker", "#!/bin/sh\necho \"$1\" >>calls\n[ \"$1\" != save ] || echo an archive >\"$3\"\n"),
    ] {
        std::fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        std::fs::write(at(path), text).unwrap();
    }
    std::fs::set_permissions(at("bin/docker"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let namespace = format!("namespace={}", place.namespace);
    let arguments = [
        "up",
        "built",
        "--target",
        "cluster",
        "--context",
        &place.context,
        "--yes",
        "--set",
        &namespace,
        "--image-loader",
        "cp {archive} loaded && echo {image} >>names",
    ];
    let up = |path: &str| {
        let output = place.command(&arguments).env("PATH", path).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let with_docker = format!("{}:/usr/bin:/bin", at("bin").display());
    let read = |path: &str| std::fs::read_to_string(at(path)).unwrap_or_default();

    // Neither Docker nor minikube: both are named, and nothing was loaded.
    let (code, told) = up(&format!("{}:/usr/bin:/bin", at("nothing").display()));
    assert_eq!(code, Some(5), "{told}");
    assert!(told.contains("docker") && told.contains("minikube image build"), "{told}");
    // The stand-in's archive is no image: it is built, saved and loaded, and then no kubelet finds it.
    for times in 1..=2 {
        let (code, told) = up(&with_docker);
        assert!(code == Some(5) && told.contains("their kubelets do not find it"), "{code:?} {told}");
        assert_eq!(read("calls"), "version\nbuild\nsave\n".repeat(times));
        assert_eq!(read("loaded"), "an archive\n");
        std::fs::write(at("shop/Dockerfile"), "FROM scratch\nUSER 1").unwrap();
    }
    assert!(read("names").starts_with("docker.io/library/shop:"), "the kubelet's name: {}", read("names"));
    let names: Vec<String> = read("names").lines().map(str::to_owned).collect();
    assert!(names.len() == 2 && names[0] != names[1], "what changed is another image: {names:?}");
    std::fs::remove_file(at("shop/Dockerfile")).unwrap();
    let (code, told) = up(&with_docker);
    assert!(code == Some(2) && told.contains("no Dockerfile in shop"), "{told}");
}

/// A finding by its name.
fn finding<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["findings"].as_array().unwrap();
    all.iter().find(|finding| finding["name"] == name).unwrap_or_else(|| panic!("no {name}: {report:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_tells_what_a_cluster_lacks() {
    let Some((place, cluster)) = Place::new().await else { return };
    let doctor = |more: &[&str], kubeconfig: Option<&str>| {
        let base = ["doctor", "tiny", "--target", "cluster", "-o", "json"];
        let mut command = place.command(&[&base[..], more].concat());
        if let Some(kubeconfig) = kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let report: Value = serde_json::from_str(&text)
            .unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code(), report)
    };
    let namespace = format!("namespace={}", place.namespace);
    let at = ["--context", &place.context, "--set", &namespace];

    let (code, report) = doctor(&at, None);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(finding(&report, "context")["message"], *place.context);
    assert_eq!(finding(&report, "Kubernetes")["message"], cluster.version());
    assert_eq!(finding(&report, "permissions")["level"], "ok");
    assert_eq!(finding(&report, "room")["level"], "ok");

    // No context is ever guessed; the current one is named.
    let (code, report) = doctor(&[], None);
    assert_eq!(code, Some(5));
    assert!(finding(&report, "context")["hint"].as_str().unwrap().contains(&place.context), "{report:#}");

    // A server that is not there.
    let mut file = Kubeconfig::read_from(&place.kubeconfig).unwrap();
    for named in &mut file.clusters {
        named.cluster.as_mut().unwrap().server = Some("https://127.0.0.1:1".into());
    }
    let nowhere = place.folder.path().join("nowhere");
    std::fs::write(&nowhere, serde_json::to_string(&file).unwrap()).unwrap();
    let (code, report) = doctor(&at, nowhere.to_str());
    assert_eq!(code, Some(5));
    assert_eq!(finding(&report, "API server")["level"], "error", "{report:#}");

    // A user who may do nothing: what the plan needs is told, by resource.
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client(), "default");
    let name = format!("sre-test-{}", &uuid::Uuid::new_v4().to_string()[..6]);
    let account = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(600), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let token = accounts.create_token_request(&name, &PostParams::default(), &request).await;
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let token = token.unwrap().status.unwrap().token;
        let mut file = Kubeconfig::read_from(&place.kubeconfig).unwrap();
        for context in &mut file.contexts {
            context.context.as_mut().unwrap().user = Some("nobody".into());
        }
        let path = place.folder.path().join("nobody");
        let mut text = serde_json::to_value(&file).unwrap();
        text["users"] = json!([{"name": "nobody", "user": {"token": token}}]);
        std::fs::write(&path, text.to_string()).unwrap();
        let (code, report) = doctor(&at, path.to_str());
        assert_eq!(code, Some(5));
        let refused = finding(&report, "permissions");
        assert_eq!(refused["level"], "error");
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains(&name), "who: {message}");
        assert!(
            message.contains("create, delete, get, patch namespaces") && message.contains("list nodes"),
            "{message}"
        );
        assert!(!message.contains("monitoring.coreos.com"), "only what this stack needs: {message}");
    }));
    accounts.delete(&name, &DeleteParams::default()).await.unwrap();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}
