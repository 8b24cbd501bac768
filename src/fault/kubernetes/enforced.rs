//! Whether a cluster's network enforces policies: tried out, because the API accepts them either way.

use std::time::{Duration, Instant};

use kube::api::{Api, PostParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::bodies::{cut, helper_pod, labels, name};
use super::own;
use crate::error::{Error, Result};
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::failure::call;
use crate::target::kubernetes::object::ObjectRef;
use crate::target::kubernetes::readiness::trouble;

/// How long a policy may take to have an effect.
pub const EFFECT: Duration = Duration::from_secs(10);

/// How long the helper pods may take to run.
const START: Duration = Duration::from_secs(60);

/// The port that the helper pod serves on.
const PORT: u16 = 8080;

/// How often a helper pod is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Refuses a cluster whose network does not enforce policies: a pod that another pod can reach is cut off by a policy
/// of its own, and has to be out of reach then.
///
/// # Errors
/// A prerequisite (exit 5) where the pod stays in reach; the target (exit 6) where it could not be tried out.
pub async fn ensure(cluster: &Cluster, namespace: &str, id: &str, image: &str) -> Result<()> {
    let tried = try_out(cluster, namespace, id, image).await;
    let cleared = clear(cluster, namespace, id).await;
    if tried? {
        return cleared;
    }
    Err(Error::prerequisite("the network of this cluster enforces no NetworkPolicy")
        .because_of(format!(
            "a pod in {namespace} that a policy cuts off was still reached by another one {} s later",
            EFFECT.as_secs()
        ))
        .hint("a network plugin such as Calico or Cilium enforces them; minikube start --cni calico"))
}

/// Removes the helpers of this; what is gone already is no error.
///
/// # Errors
/// The target (exit 6) where the cluster refuses.
pub async fn clear(cluster: &Cluster, namespace: &str, id: &str) -> Result<()> {
    let mut cleared = Ok(());
    for object in helpers(namespace, id) {
        cleared = cleared.and(own::remove(cluster, &object, id, |_| true).await);
    }
    cleared
}

fn helpers(namespace: &str, id: &str) -> [ObjectRef; 3] {
    let of = |api_version: &str, kind: &str, part: &str| ObjectRef {
        api_version: api_version.into(),
        kind: kind.into(),
        namespace: Some(namespace.into()),
        name: format!("{}-{part}", name(id)),
    };
    [
        of("v1", "Pod", "reached"),
        of("v1", "Pod", "reaches"),
        of("networking.k8s.io/v1", "NetworkPolicy", "reached"),
    ]
}

async fn try_out(cluster: &Cluster, namespace: &str, id: &str, image: &str) -> Result<bool> {
    let [reached, reaches, policy] = helpers(namespace, id);
    let seconds = START.as_secs() * 3;
    let mut server = helper_pod(
        &reached.name,
        namespace,
        id,
        image,
        &json!(["app", "--listen", format!("0.0.0.0:{PORT}")]),
        seconds,
    );
    server["metadata"]["labels"]["sre.dev/part"] = json!("reached");
    make(cluster, &reached, server).await?;
    let address = until(cluster, &reached, |pod| {
        let running = pod["status"]["phase"] == "Running";
        pod["status"]["podIP"].as_str().filter(|_| running).map(str::to_owned)
    })
    .await?;
    let host = if address.contains(':') { format!("[{address}]") } else { address };
    let arguments = json!(["fault", "reach", format!("{host}:{PORT}")]);
    make(cluster, &reaches, helper_pod(&reaches.name, namespace, id, image, &arguments, seconds)).await?;
    // It ends with a failure unless it has reached the other, so that nothing is concluded from a pod that never could.
    until(cluster, &reaches, |pod| (pod["status"]["phase"] == "Running").then_some(())).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut selector = labels(id);
    selector["sre.dev/part"] = json!("reached");
    make(cluster, &policy, cut(&policy.name, namespace, id, &json!({"matchLabels": selector}))).await?;
    let code = until(cluster, &reaches, |pod| {
        pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"].as_i64()
    })
    .await?;
    match code {
        0 => Ok(true),
        3 => Ok(false),
        other => Err(Error::target("whether the network enforces policies could not be tried out")
            .because_of(format!("the helper that had to reach another pod ended with {other}"))),
    }
}

async fn make(cluster: &Cluster, object: &ObjectRef, body: Value) -> Result<()> {
    let what = || format!("{object} could not be made");
    let body: DynamicObject = serde_json::from_value(body).map_err(|e| Error::target(what()).because(e))?;
    let Some((api, _)) = cluster.api(object, "default").await? else {
        return Err(Error::target(format!("{object}: this cluster serves no such kind")));
    };
    let params = PostParams::default();
    call(what, || api.create(&params, &body)).await.map(|_| ())
}

async fn until<T>(cluster: &Cluster, object: &ObjectRef, look: impl Fn(&Value) -> Option<T>) -> Result<T> {
    let Some((api, _)) = cluster.api(object, "default").await? else {
        return Err(Error::target(format!("{object}: this cluster serves no such kind")));
    };
    let api: Api<DynamicObject> = api;
    let started = Instant::now();
    loop {
        let pod = call(|| format!("{object} could not be read"), || api.get(&object.name)).await?;
        if let Some(seen) = look(&pod.data) {
            return Ok(seen);
        }
        if started.elapsed() > START {
            let why = trouble(&pod).unwrap_or_else(|| "it did not come to its end".into());
            return Err(Error::target(format!("helper {object} did not do its work")).because_of(why));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What the pod does that reaches another one: connects again and again, until it no longer can.
///
/// Comes back with the exit code: 0 cut off, 3 in reach to the end, 1 never in reach.
pub async fn reach(address: &str) -> u8 {
    let (pause, patience) = (Duration::from_millis(200), Duration::from_millis(500));
    let started = Instant::now();
    let (mut reached, mut missed) = (None::<Instant>, 0);
    loop {
        let connected = tokio::time::timeout(patience, tokio::net::TcpStream::connect(address)).await;
        match (matches!(connected, Ok(Ok(_))), reached) {
            (true, _) => {
                reached.get_or_insert_with(Instant::now);
                missed = 0;
            }
            (false, Some(_)) => missed += 1,
            (false, None) if started.elapsed() > START => return 1,
            (false, None) => {}
        }
        if missed >= 3 {
            return 0;
        }
        // The policy comes a second or two after the first connection.
        if reached.is_some_and(|since| since.elapsed() > EFFECT + Duration::from_secs(5)) {
            return 3;
        }
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_stops_to_listen_is_cut_off() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let looking = tokio::spawn(async move { reach(&address).await });
        listener.accept().await.expect("it is reached");
        drop(listener);
        assert_eq!(looking.await.expect("an end"), 0);
    }
}
