//! `sre open` for a lab on a cluster: a port-forward that lives until Ctrl-C.

use std::io::IsTerminal as _;
use std::time::Duration;

use serde::Serialize;
use url::Url;

use super::Context;
use super::logs::unknown_name;
use super::open::{Open, show};
use crate::error::Result;
use crate::exit::Exit;
use crate::stack::ClusterEndpoint;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::forward::Forward;
use crate::target::kubernetes::login::{self, Login};
use crate::target::kubernetes::parts::{LabPod, endpoints, named, names, pods};
use crate::target::kubernetes::profile;
use crate::target::kubernetes::record::ClusterLab;

/// How often is looked whether the part is there still.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Opened {
    name: String,
    url: Url,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Where it may be seen: on a terminal, or where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    /// The command that prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    password_command: Option<String>,
}

impl Opened {
    fn new(name: &str, url: Url, login: Option<Login>, show_password: bool) -> Opened {
        let (user, password, password_command) = match login {
            None => (None, None, None),
            Some(login) if show_password => (Some(login.user), Some(login.password), None),
            Some(login) => (Some(login.user), None, Some(login.command)),
        };
        Opened { name: name.to_owned(), url, user, password, password_command }
    }

    fn screen(&self) -> String {
        let lines = [
            Some(self.url.to_string()),
            self.user.as_ref().map(|user| format!("  user      {user}")),
            self.password.as_ref().map(|password| format!("  password  {password}")),
            self.password_command.as_ref().map(|command| format!("  password  {command}")),
        ];
        lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
    }
}

/// Opens a part, and keeps it open until Ctrl-C.
pub(super) async fn open(asked: &Open, place: &ClusterLab, context: &Context) -> Result<Exit> {
    let cluster = profile::connect(place, &context.interrupt).await?;
    let name = asked.name.as_str();
    let wanted = context.interrupt.or(wanted(name, &cluster, place)).await??;
    // A port that stays the same from one time to the next can be bookmarked.
    let ports = |own: u16| asked.port.map_or(vec![own, 0], |port| vec![port]);
    let forward = match &wanted {
        Wanted::Any(endpoint) => {
            let ports = ports(endpoint.port);
            context.interrupt.or(Forward::listen(&cluster, endpoint, &place.namespace, &ports)).await??
        }
        Wanted::Pod { namespace, name, port } => {
            let ports = ports(*port);
            context.interrupt.or(Forward::to_pod_on(&cluster, namespace, name, *port, &ports)).await??
        }
    };
    let login = match name {
        "grafana" => grafana_login(&cluster, place, context).await,
        _ => None,
    };
    let show_password = asked.show_password || std::io::stdout().is_terminal();
    let opened = Opened::new(name, forward.url(), login, show_password);
    context.terminal.print(&opened, Opened::screen)?;
    context.terminal.say("It is open until Ctrl-C.");
    show(&opened.url, context);
    keep(name, &forward, context).await;
    Ok(Exit::Pass)
}

/// What is opened.
enum Wanted {
    /// Whichever is ready of the pods with these labels.
    Any(ClusterEndpoint),
    /// One pod.
    Pod { namespace: String, name: String, port: u16 },
}

/// What a name stands for: an endpoint of the stack, or any pods of the lab that name a port.
async fn wanted(name: &str, cluster: &Cluster, place: &ClusterLab) -> Result<Wanted> {
    let known = endpoints(&place.endpoints);
    if let Some((_, endpoint)) = known.iter().find(|(known, _)| *known == name) {
        return Ok(Wanted::Any((*endpoint).clone()));
    }
    let pods = pods(cluster, place).await?;
    let of = |pod: &LabPod| match pod.is_called(name) {
        true => pod.endpoint().map(Wanted::Any),
        false => pod.port().map(|port| Wanted::Pod {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            port,
        }),
    };
    named(&pods, name).into_iter().find_map(of).ok_or_else(|| {
        let can = |known: &&str| named(&pods, known).iter().any(|pod| pod.endpoint().is_some());
        let others = names(&pods).into_iter().filter(can);
        let mut all: Vec<&str> = known.iter().map(|(known, _)| *known).collect();
        all.extend(others.filter(|other| !known.iter().any(|(known, _)| known == other)));
        unknown_name(name, all.into_iter())
    })
}

/// Without its login Grafana can be opened all the same.
async fn grafana_login(cluster: &Cluster, place: &ClusterLab, context: &Context) -> Option<Login> {
    let find = async {
        let pods = pods(cluster, place).await?;
        match pods.iter().find(|pod| pod.part == Some("grafana")) {
            Some(pod) => login::of_grafana(cluster, &pod.namespace, &pod.object).await,
            None => Ok(None),
        }
    };
    match context.interrupt.or(find).await.and_then(|found| found) {
        Ok(login) => login,
        Err(error) => {
            context.terminal.warn(format!("Grafana's login: {}", error.what()));
            None
        }
    }
}

/// Comes back on Ctrl-C; tells meanwhile when the part goes and comes back.
async fn keep(name: &str, forward: &Forward, context: &Context) {
    let mut pod = None;
    loop {
        match context.interrupt.or(forward.pod()).await {
            Err(_) => return,
            Ok(Ok(now)) => {
                if pod.as_ref().is_some_and(|before| *before != Some(now.clone())) {
                    context.terminal.say(format!("{name} is pod {now} now"));
                }
                pod = Some(Some(now));
            }
            Ok(Err(error)) => {
                if pod != Some(None) {
                    context.terminal.say(format!("{name}: {}; it is waited for", error.what()));
                }
                pod = Some(None);
            }
        }
        if context.interrupt.or(tokio::time::sleep(LOOK_EVERY)).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_shown_only_where_it_was_asked_for() {
        let login = || {
            let (user, command) = ("admin".to_owned(), "kubectl get secret kps-grafana".to_owned());
            Some(Login { user, password: "hunter2".into(), command })
        };
        let url = || Url::parse("http://127.0.0.1:3000").expect("a URL");
        let shown = Opened::new("grafana", url(), login(), true);
        assert_eq!(shown.screen(), "http://127.0.0.1:3000/\n  user      admin\n  password  hunter2");
        let hidden = Opened::new("grafana", url(), login(), false);
        let text = hidden.screen() + &serde_json::to_string(&hidden).expect("JSON");
        assert!(!text.contains("hunter2") && text.contains("kubectl get secret"), "{text}");
        assert_eq!(Opened::new("prometheus", url(), None, true).screen(), "http://127.0.0.1:3000/");
    }
}
