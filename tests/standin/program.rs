//! A stand-in for images that a test machine may not be able to get: the guestbook's PHP frontend, whereami, and the
//! controller of ingress-nginx. It has their ports, paths, bodies and metric names, and nothing else of them; Redis
//! behind the frontend is the real one. Nothing but the standard library, so that `rustc` alone makes a static program.
//!
//! What it is follows from how it is started: with `GET_HOSTS_FROM` the frontend, with `/nginx-ingress-controller` as an
//! argument the controller, otherwise whereami.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Counts by method, path and status, as the server's metrics have them.
type Counts = Arc<Mutex<BTreeMap<(String, String, u16), u64>>>;

/// An answer to a request's method, path and query.
type Answer = dyn Fn(&str, &str, &str) -> (u16, String) + Send + Sync;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if std::env::var_os("GET_HOSTS_FROM").is_some() {
        serve(80, Arc::new(frontend), Counts::default());
    } else if arguments.iter().any(|argument| argument == "/nginx-ingress-controller") {
        controller(arguments.iter().any(|argument| argument == "--enable-metrics=true"));
    } else {
        whereami();
    }
}

/// `guestbook.php` as upstream has it: an error of Redis is printed into a page of status 200.
fn frontend(_: &str, path: &str, query: &str) -> (u16, String) {
    let value = |name: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    };
    match (path, value("cmd")) {
        ("/", _) => (200, "<html><title>Guestbook</title></html>".into()),
        ("/guestbook.php", "set") => match redis("redis-leader", &["SET", value("key"), value("value")]) {
            Ok(_) => (200, r#"{"message": "Updated"}"#.into()),
            Err(error) => (200, format!("Fatal error: {error}")),
        },
        ("/guestbook.php", "get") => match redis("redis-follower", &["GET", value("key")]) {
            Ok(value) => (200, format!(r#"{{"data": "{value}"}}"#)),
            Err(error) => (200, format!("Fatal error: {error}")),
        },
        _ => (404, "Not Found".into()),
    }
}

/// One command to Redis, on a connection of its own, as PHP does it; the value of a bulk string, or what was said.
fn redis(host: &str, command: &[&str]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((host, 6379))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let password = std::env::var("REDIS_PASSWORD").unwrap_or_default();
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    for command in [&["AUTH", &password], command] {
        let mut request = format!("*{}\r\n", command.len());
        for part in command {
            request += &format!("${}\r\n{part}\r\n", part.len());
        }
        stream.write_all(request.as_bytes())?;
        line.clear();
        reader.read_line(&mut line)?;
        if line.starts_with('-') || line.is_empty() {
            return Err(std::io::Error::other(line.trim().to_owned()));
        }
    }
    match line.trim().strip_prefix('$').and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => {
            let mut value = vec![0; length];
            reader.read_exact(&mut value)?;
            Ok(String::from_utf8_lossy(&value).into_owned())
        }
        None => Ok(line.trim().to_owned()),
    }
}

/// Every unknown path is 200, and the metrics are on the same port.
fn whereami() {
    let counts = Counts::default();
    let seen = counts.clone();
    let name = |key: &str| std::env::var(key).unwrap_or_default();
    let (pod, node) = (name("POD_NAME"), name("NODE_NAME"));
    serve(
        8080,
        Arc::new(move |_: &str, path: &str, _: &str| match path {
            "/healthz" => (200, "OK".into()),
            "/metrics" => {
                let mut text = "# TYPE flask_http_request_total counter\n".to_owned();
                for ((method, _, status), count) in seen.lock().unwrap().iter() {
                    text += &format!(
                        "flask_http_request_total{{method=\"{method}\",status=\"{status}\"}} {count}\n"
                    );
                }
                // Every answer within a tenth of a second, as far as anybody asks a stand-in.
                text += "# TYPE flask_http_request_duration_seconds histogram\n";
                for ((method, path, status), count) in seen.lock().unwrap().iter() {
                    let labels = format!("method=\"{method}\",path=\"{path}\",status=\"{status}\"");
                    let name = "flask_http_request_duration_seconds";
                    for le in ["0.05", "0.1", "+Inf"] {
                        text += &format!("{name}_bucket{{{labels},le=\"{le}\"}} {count}\n");
                    }
                    text += &format!("{name}_sum{{{labels}}} {}\n", *count as f64 / 100.0);
                    text += &format!("{name}_count{{{labels}}} {count}\n");
                }
                (200, text)
            }
            _ => (200, format!(r#"{{"pod_name": "{pod}", "node_name": "{node}"}}"#)),
        }),
        counts,
    );
}

/// Answers by itself instead of the routes' backends, and counts under the controller's names, in batches of a second as
/// upstream does.
fn controller(counting: bool) {
    let (counts, told) = (Counts::default(), Counts::default());
    if counting {
        let (from, to) = (counts.clone(), told.clone());
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_secs(1));
                to.lock().unwrap().clone_from(&from.lock().unwrap());
            }
        });
        std::thread::spawn(move || {
            serve(
                10254,
                Arc::new(move |_: &str, _: &str, _: &str| {
                    let mut text = "# TYPE nginx_ingress_controller_requests counter\n".to_owned();
                    for ((method, path, status), count) in told.lock().unwrap().iter() {
                        text += &format!(
                            "nginx_ingress_controller_requests{{method=\"{method}\",status=\"{status}\",path=\"{path}\",\
                     host=\"guestbook.lab\",ingress=\"guestbook\",namespace=\"default\",service=\"frontend\"}} {count}\n"
                        );
                    }
                    (200, text)
                }),
                Counts::default(),
            )
        });
    }
    let route = |_: &str, path: &str, query: &str| match path {
        "/broken" => (502, "Bad Gateway".into()),
        "/empty" => (503, "Service Unavailable".into()),
        "/whereami" => (200, r#"{"pod_name": "stand-in"}"#.into()),
        "/guestbook.php" if query.contains("cmd=set") => (200, r#"{"message": "Updated"}"#.into()),
        "/guestbook.php" => (200, r#"{"data": "hello"}"#.into()),
        "/" | "/healthz" => (200, "OK".into()),
        _ => (404, "Not Found".into()),
    };
    serve(80, Arc::new(route), counts);
}

fn serve(port: u16, answer: Arc<Answer>, counts: Counts) {
    let listener = TcpListener::bind(("0.0.0.0", port)).expect("the port is free");
    for stream in listener.incoming().flatten() {
        let (answer, counts) = (answer.clone(), counts.clone());
        std::thread::spawn(move || {
            // A connection that breaks is its client's matter.
            let _ = converse(stream, &*answer, &counts);
        });
    }
}

/// Answers requests on one connection until its client closes it.
fn converse(stream: TcpStream, answer: &Answer, counts: &Counts) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (mut length, mut close) = (0, false);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            close |= header == "connection: close";
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (status, body) = answer(method, path, query);
        if !matches!(path, "/healthz" | "/metrics") {
            *counts.lock().unwrap().entry((method.to_owned(), path.to_owned(), status)).or_default() += 1;
        }
        let kind = if path == "/metrics" { "text/plain; version=0.0.4" } else { "text/html" };
        write!(
            writer,
            "HTTP/1.1 {status} Stand-in\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        if close {
            return Ok(());
        }
    }
}
