//! The way to a cluster, as kubectl goes it: proxies of the environment and of the kubeconfig, and lists of kubeconfigs.
//! The API server is a double that answers `/version` alone: what counts is by which way it is asked.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

/// Something that listens, and the first lines of what it was asked.
struct Asked {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Asked {
    fn listen(serve: impl Fn(&str, TcpStream) + Clone + Send + 'static) -> Asked {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let told = lines.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (told, serve) = (told.clone(), serve.clone());
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
                    loop {
                        let mut first = String::new();
                        if reader.read_line(&mut first).unwrap_or(0) == 0 {
                            return;
                        }
                        let mut line = String::new();
                        while reader.read_line(&mut line).unwrap_or(0) > 2 {
                            line.clear();
                        }
                        told.lock().expect("a lock").push(first.trim().to_owned());
                        serve(first.trim(), stream.try_clone().expect("a stream"));
                        if first.starts_with("CONNECT") {
                            return;
                        }
                    }
                });
            }
        });
        Asked { address, lines }
    }

    fn server() -> Asked {
        Asked::listen(|first, mut stream| {
            let (status, body) = match first.contains(" /version ") {
                true => (
                    "200 OK",
                    r#"{"major":"1","minor":"35","gitVersion":"v1.35.1","gitCommit":"0","gitTreeState":"clean","buildDate":"2026-01-01T00:00:00Z","goVersion":"go1.24","compiler":"gc","platform":"linux/amd64"}"#,
                ),
                false => (
                    "404 Not Found",
                    r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"NotFound","message":"nothing here","code":404}"#,
                ),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + body).as_bytes());
        })
    }

    fn proxy() -> Asked {
        Asked::listen(|first, mut client| {
            let Some(to) = first.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()) else {
                return;
            };
            let Ok(mut server) = TcpStream::connect(to) else { return };
            let _ = client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
            let mut back = (server.try_clone().expect("a stream"), client.try_clone().expect("a stream"));
            std::thread::spawn(move || std::io::copy(&mut back.0, &mut back.1));
            let _ = std::io::copy(&mut client, &mut server);
        })
    }

    fn count(&self, what: &str) -> usize {
        self.lines.lock().expect("a lock").iter().filter(|line| line.contains(what)).count()
    }
}

fn kubeconfig(folder: &Path, name: &str, server: &Asked, more: &str) -> PathBuf {
    let path = folder.join(name);
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: here, users: [{{name: me, user: {{token: t}}}}], \
          contexts: [{{name: here, context: {{cluster: c, user: me}}}}], \
          clusters: [{{name: c, cluster: {{server: 'http://{}'{more}}}}}]}}",
        server.address
    );
    std::fs::write(&path, text).expect("written");
    path
}

/// Looks at a cluster, and gives what was told.
fn inspect(folder: &Path, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sre"));
    command.args(["inspect", "default"]).current_dir(folder);
    for name in
        ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy", "KUBECONFIG"]
    {
        command.env_remove(name);
    }
    let output = command.envs(environment.iter().copied()).output().expect("it runs");
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[test]
fn a_proxy_of_the_environment_is_not_asked_about_this_machine() {
    let (server, proxy) = (Asked::server(), Asked::proxy());
    let folder = tempfile::tempdir().expect("a folder");
    let file = kubeconfig(folder.path(), "config", &server, "").display().to_string();
    let url = format!("http://{}", proxy.address);
    let told = inspect(folder.path(), &[("KUBECONFIG", &file), ("HTTPS_PROXY", &url), ("HTTP_PROXY", &url)]);
    assert!(server.count("/version") > 0, "{told}");
    assert_eq!(proxy.count(""), 0, "{told}");
    assert!(!told.contains("feature"), "{told}");
}

#[test]
fn a_clusters_own_proxy_is_used() {
    let (server, proxy) = (Asked::server(), Asked::proxy());
    let folder = tempfile::tempdir().expect("a folder");
    let more = format!(", proxy-url: 'http://{}'", proxy.address);
    let file = kubeconfig(folder.path(), "config", &server, &more).display().to_string();
    let told = inspect(folder.path(), &[("KUBECONFIG", &file), ("NO_PROXY", "*")]);
    assert!(server.count("/version") > 0 && proxy.count("CONNECT") > 0, "{told}");
    let file =
        kubeconfig(folder.path(), "other", &server, ", proxy-url: 'ftp://127.0.0.1:1'").display().to_string();
    let told = inspect(folder.path(), &[("KUBECONFIG", &file)]);
    assert!(told.contains("proxy-url") && told.contains("`ftp`"), "{told}");
}

#[test]
fn files_of_the_list_that_are_not_there_keep_nobody_from_a_cluster() {
    let server = Asked::server();
    let folder = tempfile::tempdir().expect("a folder");
    let here = kubeconfig(folder.path(), "here", &server, "").display().to_string();
    let unset = folder.path().join("unset");
    std::fs::write(&unset, "{apiVersion: v1, kind: Config, current-context: ''}").expect("written");
    let gone = folder.path().join("gone").display().to_string();
    let unset = unset.display().to_string();
    for list in
        [format!("{here}:{gone}"), format!("{gone}:{here}"), format!(":{here}:"), format!("{unset}:{here}")]
    {
        let before = server.count("/version");
        let told = inspect(folder.path(), &[("KUBECONFIG", &list)]);
        assert!(server.count("/version") > before, "{list}: {told}");
    }
    let told = inspect(folder.path(), &[("KUBECONFIG", &gone)]);
    assert!(told.contains("there is no kubeconfig") && told.contains(&gone), "{told}");
}

/// A cluster that takes every connection and never answers, as one behind a VPN that is off, or an API server that hangs.
#[test]
fn who_only_looks_at_a_cluster_that_never_answers_is_interrupted_at_once() {
    use sre::target::{Endpoints, LAB_SCHEMA, Lab, TargetKind};
    use std::time::{Duration, Instant};
    let silent = Asked::listen(|_, _| ());
    let place = tempfile::tempdir().expect("a folder");
    let file = kubeconfig(place.path(), "config", &silent, "");
    let cluster = serde_json::json!({
        "context": "here", "kubeconfig": file, "identity": "1", "namespace": "lab", "endpoints": {},
    });
    let lab = Lab {
        schema: LAB_SCHEMA.into(),
        stack: "users-api".into(),
        target: TargetKind::Cluster,
        parameters: Default::default(),
        complete: true,
        endpoints: Endpoints::default(),
        cluster: Some(serde_json::from_value(cluster).expect("a cluster")),
        processes: Vec::new(),
        versions: Default::default(),
    };
    std::fs::create_dir_all(place.path().join(".sre")).expect("a folder");
    lab.save(&place.path().join(".sre")).expect("written");
    let config = file.display().to_string();
    let commands: [&[&str]; 6] = [
        &["status"],
        &["logs", "app"],
        &["logs", "app", "-f"],
        &["open", "app"],
        &["inspect", "here", "default"],
        &["doctor", "--target", "cluster", "--context", "here"],
    ];
    for command in commands {
        let before = silent.count("");
        let mut child = Command::new(env!("CARGO_BIN_EXE_sre"))
            .args(command)
            .current_dir(place.path())
            .env("KUBECONFIG", &config)
            .env_remove("SRE_TARGET")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("it runs");
        let begun = Instant::now();
        while silent.count("") == before && child.try_wait().expect("a child").is_none() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{command:?} did not ask the cluster");
            std::thread::sleep(Duration::from_millis(10));
        }
        let interrupted = Instant::now();
        let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
        let output = child.wait_with_output().expect("it ends");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(sent.success(), "{command:?} had ended: {told}");
        // Following a log is ended so: that is no failure.
        assert_eq!(output.status.code(), Some(130), "{command:?}: {told}");
        assert!(interrupted.elapsed() < Duration::from_secs(5), "{command:?}: {:?}", interrupted.elapsed());
    }
}
